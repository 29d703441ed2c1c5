//! Look-ups: which key a name has, while its request is parked in a worker.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::{Realm, Username, WorkerId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use turn_proto::auth::credential::{CredentialAnswer, LongTermKey, Sha256Key, UserCredential};
use turn_proto::server::Command;

use super::hub::Hub;
use crate::store::{Change, StoredUser, UserKeys};

/// Conversations with the store at the same time.
const CONCURRENCY: usize = 64;
/// Names being looked up at the same time; what exceeds this is answered as unavailable.
const MAX_IN_FLIGHT: usize = 4096;
/// Answers kept for the time when the store is away.
const MAX_KEPT: usize = 65_536;
/// How often a name is read again because it changed while it was read.
const MAX_READS: usize = 3;

type Name = (Realm, Username);

/// Look-ups under way, and earlier answers.
#[derive(Debug)]
pub(super) struct Credentials {
    state: Mutex<State>,
    permits: Semaphore,
    /// USERHASHes being looked up.
    hashes: Arc<Semaphore>,
    /// Counts the changes of users: an answer read before one is not given.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    in_flight: HashMap<Name, HashSet<WorkerId>>,
    /// Positive answers only, for the time when the store is away.
    kept: HashMap<Name, UserCredential>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            permits: Semaphore::new(CONCURRENCY),
            hashes: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            changes: AtomicU64::new(0),
        }
    }
}

impl Credentials {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more USERHASH to be looked up.
    pub(super) fn hash_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hashes).try_acquire_owned().ok()
    }

    /// Drops what is known about a name.
    fn forget(&self, name: &Name) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.state().kept.remove(name);
    }

    fn keep(&self, name: &Name, answer: &CredentialAnswer) {
        let mut state = self.state();
        match answer {
            CredentialAnswer::Known(credential) => {
                if state.kept.len() >= MAX_KEPT && !state.kept.contains_key(name) {
                    let any = state.kept.keys().next().cloned();
                    any.and_then(|any| state.kept.remove(&any));
                }
                state.kept.insert(name.clone(), credential.clone());
            }
            CredentialAnswer::Unknown => {
                state.kept.remove(name);
            }
            CredentialAnswer::Unavailable => {}
        }
    }
}

/// Answers a worker's question: from the config file at once, else from the store. A second worker
/// that asks for the same name shares the answer.
pub(super) fn look_up(hub: &Arc<Hub>, worker: WorkerId, realm: Realm, username: Username) {
    if !hub.config().credentials.has_users() {
        return answer(hub, worker, (realm, username), CredentialAnswer::Unknown);
    }
    if let Some(credential) = configured(hub, &realm, username.as_str()) {
        answer(
            hub,
            worker,
            (realm, username),
            CredentialAnswer::Known(credential),
        );
        return;
    }
    let name = (realm, username);
    {
        let mut state = hub.credentials.state();
        if let Some(workers) = state.in_flight.get_mut(&name) {
            workers.insert(worker);
            return;
        }
        if state.in_flight.len() < MAX_IN_FLIGHT {
            state
                .in_flight
                .insert(name.clone(), HashSet::from([worker]));
            drop(state);
            tokio::spawn(read(Arc::clone(hub), name));
            return;
        }
    }
    answer(hub, worker, name, CredentialAnswer::Unavailable);
}

async fn read(hub: Arc<Hub>, name: Name) {
    let mut result = read_until_stable(&hub, &name).await;
    hub.credentials.keep(&name, &result);
    // The setting may be another one by now.
    if !hub.config().credentials.has_users() {
        result = CredentialAnswer::Unknown;
    }
    let workers = hub
        .credentials
        .state()
        .in_flight
        .remove(&name)
        .unwrap_or_default();
    for worker in workers {
        answer(&hub, worker, name.clone(), result.clone());
    }
}

async fn read_until_stable(hub: &Hub, name: &Name) -> CredentialAnswer {
    let Ok(_permit) = hub.credentials.permits.acquire().await else {
        return CredentialAnswer::Unavailable;
    };
    for _ in 0..MAX_READS {
        let changes = hub.credentials.changes.load(Ordering::Relaxed);
        match hub.noted(hub.store.user(&name.0, name.1.as_str()).await) {
            Ok(user) => {
                if changes == hub.credentials.changes.load(Ordering::Relaxed) {
                    return judge(hub, user);
                }
            }
            Err(error) => {
                let kept = hub.credentials.state().kept.get(name).cloned();
                if kept.is_none() {
                    tracing::debug!(%error, realm = %name.0, "a user cannot be looked up");
                }
                return kept.map_or(CredentialAnswer::Unavailable, CredentialAnswer::Known);
            }
        }
    }
    CredentialAnswer::Unavailable
}

/// What a stored user amounts to.
fn judge(hub: &Hub, user: Option<StoredUser>) -> CredentialAnswer {
    match user {
        Some(user) if !user.record.disabled => CredentialAnswer::Known(UserCredential {
            max_sessions: user.record.max_sessions,
            max_rate_bps: user.record.max_rate_bps,
            ..of_keys(hub, &user.keys)
        }),
        _ => CredentialAnswer::Unknown,
    }
}

/// A user of the config file.
#[must_use]
pub(super) fn configured(hub: &Hub, realm: &Realm, name: &str) -> Option<UserCredential> {
    let config = hub.config();
    let realm = config
        .realms
        .iter()
        .find(|candidate| candidate.name == *realm)?;
    let user = realm.users.iter().find(|user| user.name == name)?;
    Some(of_keys(hub, &user.keys))
}

fn of_keys(hub: &Hub, keys: &UserKeys) -> UserCredential {
    let sha256 = keys.sha256.as_ref();
    UserCredential {
        key: LongTermKey::from_bytes(*keys.md5.expose()),
        key_id: hub.keeper.key_id(keys.md5.expose()),
        sha256: sha256.map(|key| Sha256Key::from_bytes(*key.expose())),
        max_sessions: None,
        max_rate_bps: None,
    }
}

fn answer(hub: &Hub, worker: WorkerId, name: Name, answer: CredentialAnswer) {
    let (realm, username) = name;
    // A worker whose queue is full times the parked request out by itself.
    let _ = hub.workers.send(
        worker,
        Command::Credential {
            realm,
            username,
            answer,
        },
    );
}

/// Passes changes of the store on: users to the workers, the rest to whoever keeps it.
pub(super) async fn watch_changes(hub: Arc<Hub>) {
    let mut changes = hub.store.changes();
    loop {
        let change = tokio::select! {
            () = hub.cancel.cancelled() => return,
            change = changes.recv() => change,
        };
        match change {
            Ok(change) => apply(&hub, &change),
            Err(RecvError::Lagged(_)) => apply(&hub, &Change::Everything),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Obeys one change.
pub(super) fn apply(hub: &Hub, change: &Change) {
    match change {
        Change::User { realm, name } => {
            hub.user_index.forget();
            forget_user(hub, realm, name);
            meet_realm(hub, realm);
        }
        Change::Secrets { realm } => {
            meet_realm(hub, realm);
            hub.keeper.want_secrets(realm.clone());
            hub.policy_stale.notify_one();
        }
        Change::Realm { .. } => {
            hub.keeper.want_realms();
            hub.policy_stale.notify_one();
        }
        Change::OauthKeys => {
            hub.keeper.want_oauth_keys();
            hub.policy_stale.notify_one();
        }
        Change::Document { .. } => hub.documents.stale.notify_one(),
        Change::Blocks => {
            hub.keeper.want_blocks();
            hub.policy_stale.notify_one();
        }
        Change::Tokens => hub.tokens.stale.notify_one(),
        Change::Nodes => hub.cluster.look.notify_one(),
        Change::Events => hub.tail.wake.notify_waiters(),
        Change::Everything => {
            hub.user_index.forget();
            hub.credentials.changes.fetch_add(1, Ordering::Relaxed);
            forget(hub, None, None);
            hub.running_users.want_all();
            hub.keeper.want_everything();
            hub.policy_stale.notify_one();
            hub.documents.stale.notify_one();
            hub.tokens.stale.notify_one();
            hub.tail.wake.notify_waiters();
            hub.dirty().doubt();
        }
    }
}

/// A user or secret of a realm that is not known yet makes it one.
pub(super) fn meet_realm(hub: &Hub, realm: &Realm) {
    if !hub.keeper.current().realms.contains_key(realm) {
        hub.keeper.want_realms();
        hub.policy_stale.notify_one();
    }
}

/// A user changed: whoever cached its key reads it again before its next allocation.
pub(super) fn forget_user(hub: &Hub, realm: &Realm, name: &str) {
    let Ok(username) = name.parse::<Username>() else {
        return;
    };
    hub.credentials.forget(&(realm.clone(), username.clone()));
    hub.running_users.want(realm, name);
    forget(hub, Some(realm), Some(&username));
}

fn forget(hub: &Hub, realm: Option<&Realm>, username: Option<&Username>) {
    let command = || Command::ForgetCredentials {
        realm: realm.cloned(),
        username: username.cloned(),
    };
    if !hub.workers.broadcast(&command) {
        tracing::warn!("a worker is too busy to forget a credential; asking again");
        hub.keeper.want_forgetting();
        hub.policy_stale.notify_one();
    }
}

/// Forgets all cached keys in the workers; `false` when one was too busy.
pub(super) fn forget_all(hub: &Hub) -> bool {
    hub.workers.broadcast(&|| Command::ForgetCredentials {
        realm: None,
        username: None,
    })
}
