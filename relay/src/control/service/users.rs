//! Users: those of the store, those of the config file, and whoever has sessions or is blocked.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::api::{
    ApiError, CredentialKinds, ErrorKind, EventKind, ListQuery, MissingNode, Page, RealmDocument,
    Role, Severity, UserPatch, UserPut, UserView,
};
use shared::filter::USER_COLUMNS;
use shared::{PasswordAlgorithm, Realm, Secret, Username, display_safe, opaque_string};

use super::list::ListOf;
use super::{Caller, MAX_TEXT, Service, bad, need, need_realm, not_found};
use crate::control::clock::Moment;
use crate::control::cluster::answer::MAX_USERS;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::credentials;
use crate::control::directory::aggregate::Load;
use crate::control::hub::Hub;
use crate::store::{StoreError, StoredUser, UserKeys};

/// Stored users that a page is made from at most.
const MAX_STORED: usize = 200_000;
/// Users in one conversation with the store.
const CHUNK: usize = 1000;
/// How long the index is good without a message that something changed.
const FRESH: Duration = Duration::from_secs(5);

type Name = (Realm, String);

/// What the store says about a user, without its key.
#[derive(Clone, Debug)]
struct Stored {
    realm: Realm,
    name: String,
    disabled: bool,
    max_sessions: Option<u32>,
    max_rate_bps: Option<u64>,
    note: String,
    algorithms: Vec<PasswordAlgorithm>,
}

/// The stored users, read as a whole when somebody pages, so that filter, order and counts are
/// exact.
#[derive(Debug, Default)]
pub(crate) struct UserIndex(Mutex<Index>);

#[derive(Debug, Default)]
struct Index {
    users: Arc<Vec<Stored>>,
    read: Option<Instant>,
    /// Counts changes: what was read before one is not kept as fresh.
    changes: u64,
}

impl UserIndex {
    /// Something changed: the next page reads again.
    pub(crate) fn forget(&self) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        index.read = None;
        index.changes += 1;
    }

    /// The stored users of a realm that have a limit of their own.
    pub(super) async fn with_own_limit(&self, hub: &Hub, realm: &Realm) -> HashSet<String> {
        let (users, _) = self.get(hub).await;
        let limited = users.iter();
        let limited = limited.filter(|user| user.realm == *realm && user.max_sessions.is_some());
        limited.map(|user| user.name.clone()).collect()
    }

    /// The stored users; with the error when the store is away and these are the last known.
    async fn get(&self, hub: &Hub) -> (Arc<Vec<Stored>>, Option<StoreError>) {
        let changes = {
            let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if index.read.is_some_and(|read| read.elapsed() < FRESH) {
                return (Arc::clone(&index.users), None);
            }
            index.changes
        };
        let read = read_all(hub).await;
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(users) => {
                let users = Arc::new(users);
                index.users = Arc::clone(&users);
                index.read = (index.changes == changes).then(Instant::now);
                (users, None)
            }
            Err(error) => (Arc::clone(&index.users), Some(error)),
        }
    }
}

async fn read_all(hub: &Hub) -> Result<Vec<Stored>, StoreError> {
    let mut users: Vec<Stored> = Vec::new();
    loop {
        let after = users
            .last()
            .map(|user| (user.realm.clone(), user.name.clone()));
        let after = after.as_ref().map(|(realm, name)| (realm, name.as_str()));
        let chunk = hub.noted(hub.store.users(None, after, CHUNK).await)?;
        let last = chunk.len() < CHUNK;
        users.extend(chunk.into_iter().map(|user| Stored {
            algorithms: user.keys.algorithms(),
            realm: user.realm,
            name: user.name,
            disabled: user.record.disabled,
            max_sessions: user.record.max_sessions,
            max_rate_bps: user.record.max_rate_bps,
            note: user.record.note,
        }));
        if last || users.len() >= MAX_STORED {
            return Ok(users);
        }
    }
}

impl Service {
    /// A page of users: stored and configured ones, those that only have sessions, and those that are blocked.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn users(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<UserView>, ApiError> {
        need(caller, Role::Viewer)?;
        let question = NodeQuestion::Users { limit: MAX_USERS };
        let ((stored, error), asked) = tokio::join!(
            self.hub.user_index.get(&self.hub),
            self.ask(caller, query.scope, question),
        );
        let mut missing = asked.missing;
        if let Some(error) = error {
            let reason = format!("stored users are as last known: {error}");
            missing.push(MissingNode {
                node: self.hub.node.clone(),
                reason,
            });
        }
        let mut rows: BTreeMap<Name, UserView> = BTreeMap::new();
        for user in stored.iter().filter(|user| caller.sees(&user.realm)) {
            let name = (user.realm.clone(), user.name.clone());
            rows.insert(name, self.stored_view(user));
        }
        for user in self
            .configured_users()
            .into_iter()
            .filter(|user| caller.sees(&user.realm))
        {
            rows.entry((user.realm.clone(), user.name.clone()))
                .or_insert(user);
        }
        for (realm, name) in self.blocked_users(caller) {
            rows.entry((realm.clone(), name.clone()))
                .or_insert_with(|| self.bare_view(&realm, &name));
        }
        for (_, answer) in asked.answers {
            let NodeAnswer::Users { loads, .. } = answer else {
                continue;
            };
            for load in loads {
                let row = rows
                    .entry((load.realm.clone(), load.user.clone()))
                    .or_insert_with(|| self.bare_view(&load.realm, &load.user));
                add(row, load.load);
            }
        }
        let list = ListOf {
            schema: "users/1",
            columns: USER_COLUMNS,
            default_sort: "realm:asc",
            rows: rows.into_values().collect(),
            missing,
            query,
        };
        list.page(|user| format!("{}/{}", user.realm.as_str(), user.name))
    }

    /// One user.
    ///
    /// # Errors
    /// Neither stored nor configured nor blocked nor with sessions.
    pub async fn user(
        &self,
        caller: &Caller,
        realm: &Realm,
        name: &str,
    ) -> Result<UserView, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, realm)?;
        let stored = self.store(self.hub.store.user(realm, name).await);
        let mut view = match &stored {
            Ok(Some(user)) => Some(self.stored_view(&without_key(user))),
            _ => self
                .configured_users()
                .into_iter()
                .find(|user| is(user, realm, name)),
        };
        if view.is_none()
            && self
                .blocked_users(caller)
                .contains(&(realm.clone(), name.to_owned()))
        {
            view = Some(self.bare_view(realm, name));
        }
        let question = NodeQuestion::Users { limit: MAX_USERS };
        for (_, answer) in self.ask(caller, None, question).await.answers {
            let NodeAnswer::Users { loads, .. } = answer else {
                continue;
            };
            let load = loads
                .into_iter()
                .find(|load| load.realm == *realm && load.user == name);
            if let Some(load) = load {
                add(
                    view.get_or_insert_with(|| self.bare_view(realm, name)),
                    load.load,
                );
            }
        }
        match (view, stored) {
            (Some(view), _) => Ok(view),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(not_found(format!("user {} in {realm}", display_safe(name)))),
        }
    }

    /// Creates a user or sets its password, which becomes a key at once and is kept nowhere.
    ///
    /// # Errors
    /// An impossible name or password; a user of the config file; the store is away.
    pub async fn put_user(
        &self,
        caller: &Caller,
        realm: &Realm,
        name: &str,
        put: UserPut,
    ) -> Result<UserView, ApiError> {
        let UserPut { password, reason } = put;
        let password = Secret::new(password);
        let work = async {
            self.may_change(caller, realm, name)?;
            if password.expose().is_empty() || password.expose().len() > Username::MAX_LEN {
                return Err(bad(format!("password: 1 to {} bytes", Username::MAX_LEN)));
            }
            if let Err(error) = opaque_string(password.expose()) {
                return Err(bad(format!("password: {error}")));
            }
            let name = &*self.written_name(realm, name).await?;
            let keys = UserKeys::derive(name, realm.as_str(), password.expose());
            self.store(self.hub.store.put_user(realm, name, &keys).await)?;
            self.user_changed(caller, realm, name, "was given a password");
            self.user(caller, realm, name).await
        };
        self.audited(caller, "user.put", target(realm, name), &reason, work)
            .await
    }

    /// The name as clients send it, prepared with OpaqueString (RFC 8489 §14.3), unless another tool
    /// has written a user by the very name that was given.
    async fn written_name(&self, realm: &Realm, name: &str) -> Result<String, ApiError> {
        let prepared = opaque_string(name).map_err(|error| bad(format!("user: {error}")))?;
        let same = prepared == name;
        if !same
            && self
                .store(self.hub.store.user(realm, name).await)?
                .is_some()
        {
            return Ok(name.to_owned());
        }
        self.may_be_written(realm, &prepared)?;
        Ok(prepared)
    }

    /// Changes what is given and keeps the rest.
    ///
    /// # Errors
    /// No such stored user; the store is away.
    pub async fn patch_user(
        &self,
        caller: &Caller,
        realm: &Realm,
        name: &str,
        patch: UserPatch,
    ) -> Result<UserView, ApiError> {
        let reason = patch.reason.clone();
        let work = async {
            self.may_change(caller, realm, name)?;
            if patch
                .note
                .as_ref()
                .is_some_and(|note| note.len() > MAX_TEXT)
            {
                return Err(bad(format!("note: at most {MAX_TEXT} bytes")));
            }
            let least = RealmDocument::MIN_RATE_BPS;
            let rate = patch.max_rate_bps.filter(|&rate| rate > 0);
            if rate.is_some_and(|rate| rate < least) {
                let range = format!("max_rate_bps: bits per second, at least {least}");
                return Err(bad(format!("{range}; 0 removes it")));
            }
            let missing = || not_found(format!("stored user {} in {realm}", display_safe(name)));
            let user = self
                .store(self.hub.store.user(realm, name).await)?
                .ok_or_else(missing)?;
            let mut record = user.record;
            record.disabled = patch.disabled.unwrap_or(record.disabled);
            if let Some(limit) = patch.max_sessions {
                record.max_sessions = (limit > 0).then_some(limit);
            }
            if let Some(limit) = patch.max_rate_bps {
                record.max_rate_bps = (limit > 0).then_some(limit);
            }
            record.note = patch.note.unwrap_or(record.note);
            let written = self.hub.store.put_user_record(realm, name, &record).await;
            if !self.store(written)? {
                return Err(missing());
            }
            let word = match patch.disabled {
                Some(true) => "was disabled",
                Some(false) => "was enabled",
                None => "was changed",
            };
            self.user_changed(caller, realm, name, word);
            self.user(caller, realm, name).await
        };
        self.audited(caller, "user.patch", target(realm, name), &reason, work)
            .await
    }

    /// Deletes a stored user. New sessions are refused; those that it has go on, unless its realm has
    /// `revoke_on_user_removal`.
    ///
    /// # Errors
    /// No such stored user; the store is away.
    pub async fn delete_user(
        &self,
        caller: &Caller,
        realm: &Realm,
        name: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            self.may_change(caller, realm, name)?;
            if !self.store(self.hub.store.delete_user(realm, name).await)? {
                return Err(not_found(format!(
                    "stored user {} in {realm}",
                    display_safe(name)
                )));
            }
            self.user_changed(caller, realm, name, "was deleted");
            Ok(())
        };
        self.audited(caller, "user.delete", target(realm, name), reason, work)
            .await
    }

    fn may_change(&self, caller: &Caller, realm: &Realm, name: &str) -> Result<(), ApiError> {
        need(caller, Role::Admin)?;
        need_realm(caller, realm)?;
        self.need_gateway()?;
        self.may_be_written(realm, name)
    }

    pub(super) fn may_be_written(&self, realm: &Realm, name: &str) -> Result<(), ApiError> {
        // What STUN accepts and coturn's keys can hold.
        let legal = name.parse::<Username>().is_ok() && !name.contains(['/', '"']);
        if !legal || name.chars().any(char::is_control) {
            return Err(bad(
                "user: 1 to 508 bytes without '/', '\"' or control characters",
            ));
        }
        if credentials::configured(&self.hub, realm, name).is_some() {
            let message = "this user stands in the node's config file: change it there";
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        Ok(())
    }

    /// Takes effect here at once; the other nodes hear it from the store.
    fn user_changed(&self, caller: &Caller, realm: &Realm, name: &str, word: &str) {
        self.hub.user_index.forget();
        credentials::forget_user(&self.hub, realm, name);
        credentials::meet_realm(&self.hub, realm);
        let note = match word.starts_with("was given") {
            true => self.note_of_refusal(CredentialKinds::Users),
            false => String::new(),
        };
        let text = format!(
            "{} {word} by {}{note}",
            display_safe(&target(realm, name)),
            caller.actor
        );
        let mut event = self
            .hub
            .new_event(EventKind::UserChanged, Severity::Notice, text);
        event.realm = Some(realm.clone());
        event.user = Some(name.to_owned());
        self.hub.recorder.event(event);
    }

    fn stored_view(&self, user: &Stored) -> UserView {
        let bare = self.bare_view(&user.realm, &user.name);
        UserView {
            stored: true,
            disabled: user.disabled,
            max_sessions: user.max_sessions,
            limit: user.max_sessions.or(bare.limit),
            max_rate_bps: user.max_rate_bps,
            rate_limit_bps: user.max_rate_bps.or(bare.rate_limit_bps),
            note: user.note.clone(),
            algorithms: user.algorithms.clone(),
            ..bare
        }
    }

    fn configured_users(&self) -> Vec<UserView> {
        let config = self.hub.config();
        let realms = config.realms.iter();
        let users = realms.flat_map(|realm| realm.users.iter().map(move |user| (realm, user)));
        users
            .map(|(realm, user)| UserView {
                note: "config file".to_owned(),
                algorithms: user.keys.algorithms(),
                ..self.bare_view(&realm.name, &user.name)
            })
            .collect()
    }

    /// Who is refused for a while. One that comes with time-limited credentials is known nowhere else once the last
    /// session ended, and could not be let in again from a list.
    fn blocked_users(&self, caller: &Caller) -> HashSet<Name> {
        let now = Moment::now().unix_ms;
        let blocks = self.hub.keeper.sources(|sources| sources.blocks(now));
        let seen = blocks.into_iter().filter(|block| caller.sees(&block.realm));
        seen.map(|block| (block.realm, block.user)).collect()
    }

    fn bare_view(&self, realm: &Realm, name: &str) -> UserView {
        let now = Moment::now().unix_ms;
        let policy = self.hub.keeper.current();
        let limit = policy
            .realms
            .get(realm)
            .and_then(|realm| realm.max_sessions_per_user);
        let rate_limit = policy
            .realms
            .get(realm)
            .and_then(|realm| realm.max_user_rate_bps);
        UserView {
            realm: realm.clone(),
            name: name.to_owned(),
            stored: false,
            disabled: false,
            max_sessions: None,
            limit: limit.filter(|_| !name.is_empty()),
            max_rate_bps: None,
            rate_limit_bps: rate_limit.filter(|_| !name.is_empty()),
            note: String::new(),
            algorithms: Vec::new(),
            blocked_until_ms: self
                .hub
                .keeper
                .sources(|s| s.blocked_until(realm, name, now)),
            sessions: 0,
            rate_in_bps: 0,
            rate_out_bps: 0,
        }
    }
}

fn without_key(user: &StoredUser) -> Stored {
    Stored {
        realm: user.realm.clone(),
        name: user.name.clone(),
        disabled: user.record.disabled,
        max_sessions: user.record.max_sessions,
        max_rate_bps: user.record.max_rate_bps,
        note: user.record.note.clone(),
        algorithms: user.keys.algorithms(),
    }
}

fn add(view: &mut UserView, load: Load) {
    view.sessions += load.sessions;
    view.rate_in_bps += load.rate_in_bps;
    view.rate_out_bps += load.rate_out_bps;
}

fn is(user: &UserView, realm: &Realm, name: &str) -> bool {
    user.realm == *realm && user.name == name
}

/// How users are named in audit and events.
pub(super) fn target(realm: &Realm, name: &str) -> String {
    format!("{}/{name}", realm.as_str())
}
