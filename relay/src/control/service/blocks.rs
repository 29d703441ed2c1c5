//! Blocks: users that are refused for a while.

use shared::api::{
    ApiError, BlockRequest, BlockView, ErrorKind, EventKind, ListQuery, Page, Role, Severity,
};
use shared::filter::BLOCK_COLUMNS;
use shared::{Realm, display_safe};

use super::list::ListOf;
use super::users::target;
use super::{Caller, MAX_TEXT, Service, bad, need, need_realm, not_found};
use crate::control::clock::Moment;
use crate::control::policy;

/// The longest block: 30 days.
const MAX_SECS: u64 = 30 * 86_400;
/// Blocks in force at most.
const MAX_BLOCKS: usize = 100_000;
/// Blocks that are written before the next ones are set.
const CHUNK: usize = 500;

impl Service {
    /// A page of the blocks in force.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn blocks(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<BlockView>, ApiError> {
        need(caller, Role::Viewer)?;
        if self.hub.health.connected() {
            self.hub.keeper.want_blocks();
            policy::refresh(&self.hub).await;
        }
        let now = Moment::now().unix_ms;
        let mut rows = self.hub.keeper.sources(|sources| sources.blocks(now));
        rows.retain(|block| caller.sees(&block.realm));
        let list = ListOf {
            schema: "blocks/1",
            columns: BLOCK_COLUMNS,
            default_sort: "realm:asc",
            rows,
            missing: Vec::new(),
            query,
        };
        list.page(|block| target(&block.realm, &block.user))
    }

    /// Refuses a user for a while, on every node. With the store away the block holds on this node
    /// and reaches the others when the store is back.
    ///
    /// # Errors
    /// An impossible time; an empty user.
    pub async fn put_block(
        &self,
        caller: &Caller,
        realm: &Realm,
        user: &str,
        request: BlockRequest,
    ) -> Result<BlockView, ApiError> {
        let work = self.block(caller, realm, user, &request);
        self.audited(
            caller,
            "block.put",
            target(realm, user),
            &request.reason,
            work,
        )
        .await
    }

    /// The same without audit, for calls that have their own.
    pub(super) async fn block(
        &self,
        caller: &Caller,
        realm: &Realm,
        user: &str,
        request: &BlockRequest,
    ) -> Result<BlockView, ApiError> {
        let users = [(realm.clone(), user.to_owned())];
        let until_ms = self.block_all(caller, &users, request).await?;
        self.block_event(
            caller,
            realm,
            user,
            &format!("blocked for {} s", request.secs),
        );
        Ok(BlockView {
            realm: realm.clone(),
            user: user.to_owned(),
            until_ms,
            reason: request.reason.clone(),
            by: caller.actor.clone(),
        })
    }

    /// Blocks several users and answers until when.
    pub(super) async fn block_all(
        &self,
        caller: &Caller,
        users: &[(Realm, String)],
        request: &BlockRequest,
    ) -> Result<u64, ApiError> {
        need(caller, Role::Operator)?;
        if !(1..=MAX_SECS).contains(&request.secs) {
            return Err(bad(format!("secs: 1 to {MAX_SECS} (30 days)")));
        }
        let now = Moment::now().unix_ms;
        let until_ms = now + request.secs * 1000;
        let known = self.hub.keeper.sources(|sources| sources.blocks(now).len());
        let full = || {
            let message = format!("{known} users are blocked already, or wait for the store");
            ApiError::new(ErrorKind::Unavailable, message)
        };
        if known + users.len() > MAX_BLOCKS {
            return Err(full());
        }
        for chunk in users.chunks(CHUNK) {
            for (realm, user) in chunk {
                check(caller, realm, user, request)?;
                let block = BlockView {
                    realm: realm.clone(),
                    user: user.clone(),
                    until_ms,
                    reason: request.reason.clone(),
                    by: caller.actor.clone(),
                };
                if !self.hub.keeper.block_locally(block) {
                    return Err(full());
                }
            }
            policy::refresh(&self.hub).await;
        }
        Ok(until_ms)
    }

    /// Takes a block back.
    ///
    /// # Errors
    /// No such block; the store is away.
    pub async fn delete_block(
        &self,
        caller: &Caller,
        realm: &Realm,
        user: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            need(caller, Role::Operator)?;
            need_realm(caller, realm)?;
            let local = self.hub.keeper.unblock_locally(realm, user);
            let stored = self.store(self.hub.store.delete_block(realm, user).await)?;
            if !local && !stored {
                return Err(not_found(format!(
                    "block of {}",
                    display_safe(&target(realm, user))
                )));
            }
            self.hub.keeper.want_blocks();
            policy::refresh(&self.hub).await;
            self.block_event(caller, realm, user, "unblocked");
            Ok(())
        };
        self.audited(caller, "block.delete", target(realm, user), reason, work)
            .await
    }

    fn block_event(&self, caller: &Caller, realm: &Realm, user: &str, word: &str) {
        let text = format!(
            "{} {word} by {}",
            display_safe(&target(realm, user)),
            caller.actor
        );
        let mut event = self
            .hub
            .new_event(EventKind::UserChanged, Severity::Notice, text);
        event.realm = Some(realm.clone());
        event.user = Some(user.to_owned());
        self.hub.recorder.event(event);
    }
}

fn check(
    caller: &Caller,
    realm: &Realm,
    user: &str,
    request: &BlockRequest,
) -> Result<(), ApiError> {
    need_realm(caller, realm)?;
    if user.is_empty() {
        return Err(bad(
            "user: the empty user stands for many people and cannot be blocked",
        ));
    }
    if user.len() > shared::Username::MAX_LEN || request.reason.len() > MAX_TEXT {
        return Err(bad(format!(
            "user, reason: at most 508 and {MAX_TEXT} bytes"
        )));
    }
    Ok(())
}
