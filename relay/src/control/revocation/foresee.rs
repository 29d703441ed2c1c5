//! Which sessions of a realm would end if it began to revoke. Nothing is ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use shared::Realm;
use tokio::time::Instant;

use super::mark::{self, Evidence};
use super::verdict::{UserVerdict, Verdicts};
use super::verdict_on;
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

/// Sessions that only the store can judge.
#[derive(Debug, Default)]
pub(in crate::control) struct Sessions {
    /// Of stored users.
    pub of_users: HashMap<Arc<str>, ByKey>,
    /// Of secrets that are accepted no more, by their id.
    pub of_secrets: HashMap<Arc<str>, u64>,
}

/// What would happen to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Foreseen {
    /// They end.
    pub revoked: u64,
    /// Nobody can tell.
    pub unjudged: u64,
}

/// Judges sessions by the rules of their realm as they would be: each user is read once, and the
/// store's mark after them.
pub(in crate::control) async fn judge(
    hub: &Hub,
    realm: &Realm,
    sessions: &Sessions,
    rules: RealmRules,
) -> Foreseen {
    let mut foreseen = Foreseen::default();
    if sessions.of_users.is_empty() && sessions.of_secrets.is_empty() {
        return foreseen;
    }
    let end = Instant::now() + PATIENCE;
    let read = read(hub, realm, sessions.of_users.keys(), rules, end).await;
    // Asked before the mark is read, as all that it is to vouch for.
    let can_tell_secrets = hub.keeper.was_read();
    let looked = tokio::time::timeout_at(end, mark::read_now(hub)).await;
    let has_evidence = matches!(looked, Ok(Evidence::Good));
    let mut verdicts = Verdicts::default();
    for (name, verdict) in &read {
        if let Some(verdict) = verdict {
            verdicts.add_user(realm, name, *verdict);
        }
    }
    let secrets = sessions.of_secrets.keys();
    secrets.for_each(|id| verdicts.add_secret(realm, id));
    // Who vanished with an emptied store is not revoked.
    let verdicts = hub.revocation.mark().believe(verdicts);
    for (name, by_key) in &sessions.of_users {
        let is_gone = verdicts.on_user(realm, name) == Some(UserVerdict::Gone);
        let is_judged = read.contains_key(name) && (has_evidence || !is_gone);
        for (key_id, count) in by_key {
            if !is_judged {
                foreseen.unjudged += count;
            } else if ends(&verdicts, realm, name, *key_id) {
                foreseen.revoked += count;
            }
        }
    }
    for (id, count) in &sessions.of_secrets {
        if !has_evidence || !can_tell_secrets {
            foreseen.unjudged += count;
        } else if verdicts.on_secret(realm, id) {
            foreseen.revoked += count;
        }
    }
    foreseen
}

/// What the rules make of users; who could not be read is left out.
async fn read(
    hub: &Hub,
    realm: &Realm,
    names: impl Iterator<Item = &Arc<str>>,
    rules: RealmRules,
    end: Instant,
) -> HashMap<Arc<str>, Option<UserVerdict>> {
    let names: Vec<Arc<str>> = names.take(MAX_USERS).cloned().collect();
    let read = stream::iter(names).map(|name| async move {
        let read = tokio::time::timeout_at(end, hub.store.user(realm, &name)).await;
        let configured = configured(hub, realm, &name).map(|user| user.key_id);
        let user = match read {
            Ok(Ok(user)) => user,
            // A user of the config file is none of the store's.
            _ if configured.is_some() => None,
            _ => return None,
        };
        let verdict = verdict_on(hub, configured, user.as_ref(), rules);
        Some((name, verdict))
    });
    let read = read.buffer_unordered(CONCURRENCY);
    read.filter_map(std::future::ready).collect().await
}

fn ends(verdicts: &Verdicts, realm: &Realm, name: &str, key_id: u32) -> bool {
    match verdicts.on_user(realm, name) {
        None => false,
        Some(UserVerdict::Gone | UserVerdict::Disabled) => true,
        Some(UserVerdict::Has { key_id: present }) => present != key_id,
    }
}
