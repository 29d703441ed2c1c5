//! Bans of networks.

use std::net::IpAddr;

use shared::IpRange;
use shared::api::{
    ApiError, BanCreate, BanKind, BanResult, BanView, ErrorKind, EventKind, GroupBy, GroupQuery,
    ListQuery, MissingNode, NodeState, Page, Role, Severity,
};

use super::{Caller, MAX_TEXT, Service, bad, need, need_all_realms, not_found};
use crate::control::bans::{self, MAX_BANS, StoredBan};
use crate::control::clock::Moment;

/// The longest ban: a year.
const MAX_SECS: u64 = 365 * 86_400;
/// The shortest prefixes that may be banned: what is more is a mistake, or a job for a firewall.
const WIDEST: (u32, u32) = (8, 19);

impl Service {
    /// The bans in force.
    ///
    /// # Errors
    /// Denied to callers who are confined to realms.
    pub async fn bans(&self, caller: &Caller) -> Result<Page<BanView>, ApiError> {
        need(caller, Role::Viewer)?;
        need_all_realms(caller)?;
        bans::apply(&self.hub).await;
        let items = bans::known(&self.hub);
        let count = items.len() as u64;
        Ok(Page {
            schema: "bans/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing: Vec::new(),
        })
    }

    /// Bans a network on every node, or only tells what that would hit. With the store away the ban
    /// holds on this node and reaches the others when the store is back.
    ///
    /// # Errors
    /// A net that is too wide, an impossible time, too many bans; more sessions than expected.
    pub async fn create_ban(
        &self,
        caller: &Caller,
        create: BanCreate,
    ) -> Result<BanResult, ApiError> {
        if create.dry_run {
            return self.ban(caller, &create).await;
        }
        let target = format!("{} {}", create.kind.as_str(), create.net);
        let work = self.ban(caller, &create);
        self.audited(caller, "ban.create", target, &create.reason, work)
            .await
    }

    async fn ban(&self, caller: &Caller, create: &BanCreate) -> Result<BanResult, ApiError> {
        need(caller, Role::Operator)?;
        need_all_realms(caller)?;
        check(create)?;
        let column = create.kind.as_str();
        let filter = Some(format!("{column}={}", create.net));
        let query = ListQuery {
            filter: filter.clone(),
            limit: Some(1),
            ..ListQuery::default()
        };
        let page = self.sessions(caller, &query).await?;
        let groups = GroupQuery {
            filter,
            limit: Some(1),
            ..GroupQuery::new(GroupBy::User)
        };
        let users = self.session_groups(caller, &groups).await?.matched;
        if create.expected.is_some_and(|most| page.matched > most) {
            let message = format!(
                "{} sessions are hit, more than were expected: look again",
                page.matched
            );
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let now = Moment::now().unix_ms;
        let ban = StoredBan {
            kind: create.kind,
            net: create.net,
            until_ms: now + create.secs * 1000,
            reason: create.reason.clone(),
            by: caller.actor.clone(),
            rest: serde_json::Map::new(),
        };
        let known = bans::known(&self.hub);
        if known.len() >= MAX_BANS && known.iter().all(|other| other.id != ban.id()) {
            let message = format!("{MAX_BANS} networks are banned: remove some, or use a firewall");
            return Err(ApiError::new(ErrorKind::Unavailable, message));
        }
        let mut view = BanView {
            id: ban.id(),
            kind: ban.kind,
            net: ban.net,
            until_ms: ban.until_ms,
            reason: ban.reason.clone(),
            by: ban.by.clone(),
            stored: false,
        };
        if !create.dry_run {
            let added = bans::add(&self.hub, ban).await;
            view.stored = added.map_err(|error| super::store_error(&error))?;
            self.ban_event(caller, &view, "was banned");
        }
        Ok(BanResult {
            ban: view,
            dry_run: create.dry_run,
            sessions: page.matched,
            users,
            missing: page.missing,
            partly: self.partly(caller, "ban.create"),
        })
    }

    /// Nodes that do this otherwise than ours, and how.
    fn partly(&self, caller: &Caller, action: &str) -> Vec<MissingNode> {
        let nodes = self.node_views(caller).into_iter();
        let live = nodes.filter(|node| !matches!(node.state, NodeState::Gone | NodeState::Stale));
        let told = live.filter_map(|node| {
            let how = node.beside?.differs.remove(action)?;
            Some(MissingNode {
                node: node.id,
                reason: how,
            })
        });
        told.collect()
    }

    /// Takes a ban back.
    ///
    /// # Errors
    /// No such ban; the store is away.
    pub async fn delete_ban(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            need(caller, Role::Operator)?;
            need_all_realms(caller)?;
            let view = bans::known(&self.hub).into_iter().find(|ban| ban.id == id);
            let removed = bans::remove(&self.hub, id, &caller.actor).await;
            if !removed.map_err(|error| super::store_error(&error))? {
                return Err(not_found(format!("ban {}", shared::display_safe(id))));
            }
            if let Some(view) = view {
                self.ban_event(caller, &view, "is banned no more");
            }
            Ok(())
        };
        self.audited(caller, "ban.delete", id.to_owned(), reason, work)
            .await
    }

    fn ban_event(&self, caller: &Caller, ban: &BanView, word: &str) {
        let text = format!(
            "the {} network {} {word} by {}",
            ban.kind.as_str(),
            ban.net,
            caller.actor
        );
        self.hub
            .event(EventKind::BanChanged, Severity::Notice, text);
    }
}

fn check(create: &BanCreate) -> Result<(), ApiError> {
    if !(1..=MAX_SECS).contains(&create.secs) {
        return Err(bad(format!("secs: 1 to {MAX_SECS} (a year)")));
    }
    if create.reason.len() > MAX_TEXT {
        return Err(bad(format!("reason: at most {MAX_TEXT} bytes")));
    }
    let (v4, v6) = WIDEST;
    let too_wide = |net: &IpRange| match (net.first(), net.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            u32::from(last) - u32::from(first) >= 1 << (32 - v4)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            u128::from(last) - u128::from(first) >= 1 << (128 - v6)
        }
        _ => true,
    };
    if too_wide(&create.net) {
        let kind = match create.kind {
            BanKind::Client => "clients",
            BanKind::Peer => "peers (`denied_peers` has room for them)",
        };
        return Err(bad(format!(
            "net: at most a /{v4} of IPv4 or a /{v6} of IPv6; a firewall keeps out more {kind}"
        )));
    }
    Ok(())
}
