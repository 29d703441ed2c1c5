//! Which sessions of a realm would end if it began to revoke. Nothing is ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use shared::Realm;

use super::verdict::{UserVerdict, Verdicts};
use super::{Mark, verdict_on};
use crate::control::credentials::configured;
use crate::control::hub::Hub;
use crate::control::policy::RealmRules;

/// Conversations with the store at the same time.
const CONCURRENCY: usize = 32;
/// Users that are looked up; sessions of more are not judged.
const MAX_USERS: usize = 10_000;
/// How long that may take; what was not looked up by then is not judged.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sessions of a user by the key that they came with.
pub(in crate::control) type ByKey = BTreeMap<u32, u64>;

/// What would happen to sessions of stored users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Foreseen {
    /// They end.
    pub revoked: u64,
    /// Nobody can tell.
    pub unjudged: u64,
}

/// Judges sessions by the rules of their realm as they would be: each user is read once.
pub(in crate::control) async fn users(
    hub: &Hub,
    realm: &Realm,
    sessions: HashMap<Arc<str>, ByKey>,
    rules: RealmRules,
) -> Foreseen {
    let end = tokio::time::Instant::now() + PATIENCE;
    let names: Vec<Arc<str>> = sessions.keys().take(MAX_USERS).cloned().collect();
    let judged = stream::iter(names).map(|name| async move {
        let read = tokio::time::timeout_at(end, hub.store.user(realm, &name)).await;
        let configured = configured(hub, realm, &name).map(|user| user.key_id);
        let user = match read {
            Ok(Ok(user)) => user,
            // A user of the config file is none of the store's.
            _ if configured.is_some() => None,
            _ => return (name, None),
        };
        let verdict = verdict_on(hub, configured, user.as_ref(), rules);
        (name, Some(verdict))
    });
    let judged: Vec<_> = judged.buffer_unordered(CONCURRENCY).collect().await;
    let mut verdicts = Verdicts::default();
    let mut known = HashSet::new();
    for (name, verdict) in judged {
        let Some(verdict) = verdict else { continue };
        if let Some(verdict) = verdict {
            verdicts.add_user(realm, &name, verdict);
        }
        known.insert(name);
    }
    // Who vanished with an emptied store is not revoked.
    let mark: &Mark = &hub.revocation.mark();
    let verdicts = mark.believe(verdicts);
    let mut foreseen = Foreseen::default();
    for (name, by_key) in &sessions {
        for (key_id, count) in by_key {
            if !known.contains(name) {
                foreseen.unjudged += count;
            } else if ends(&verdicts, realm, name, *key_id) {
                foreseen.revoked += count;
            }
        }
    }
    foreseen
}

fn ends(verdicts: &Verdicts, realm: &Realm, name: &str, key_id: u32) -> bool {
    match verdicts.on_user(realm, name) {
        None => false,
        Some(UserVerdict::Gone | UserVerdict::Disabled) => true,
        Some(UserVerdict::Has { key_id: present }) => present != key_id,
    }
}
