//! Revocation: sessions end when the credential that they came with is worth nothing any more and
//! their realm says so (`revoke_on_...`).
//!
//! Judged here: users that are gone, off or have another key, and secrets that are gone. A
//! credential's own end is a deadline of the core. Only a store that answers is believed, and only as
//! long as it is the one that knew the user or secret: see [`mark`].

pub(super) mod foresee;
mod mark;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::api::{AuditView, EventKind, Severity};
use shared::{Realm, display_safe};
use tokio::sync::Notify;
use turn_proto::server::{EndCause, Revocation as Why};

use super::clock::Moment;
use super::credentials::configured;
use super::ending::{Sum, Told, end_where};
use super::hub::Hub;
use super::policy::RealmRules;
use super::running_users::Reading;
use crate::store::StoredUser;
use mark::{Evidence, Mark};
use verdict::{UserVerdict, Verdicts};

/// How often secrets in use are compared with those that are accepted, and what nobody could judge
/// is judged again.
const COMPARE: Duration = Duration::from_secs(5);
/// When sessions that began in the very moment of a revocation are looked for: news of them were
/// still on their way.
const AFTERWARDS: Duration = Duration::from_millis(250);
/// Users that are read again at the next comparison, because nobody could tell whether they were
/// removed; beyond, they are met when their sessions are compared.
const MAX_UNJUDGED: usize = 10_000;
/// Sums that are written into the audit and the events, of one revocation.
const MAX_TOLD: usize = 100;

/// What is to be ended.
#[derive(Debug, Default)]
pub(super) struct Revocation {
    waiting: Mutex<Verdicts>,
    stale: Notify,
    mark: Mutex<Mark>,
}

impl Revocation {
    fn waiting(&self) -> MutexGuard<'_, Verdicts> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Secrets, or what realms end sessions for, changed.
    pub(super) fn look(&self) {
        self.stale.notify_one();
    }

    /// Takes what the store says about users with sessions, in a reading that began then.
    pub(super) fn judge_users(&self, hub: &Hub, readings: &[Reading], begun: Instant) {
        let rules = hub.keeper.revoke_rules();
        let mut waiting = self.waiting();
        for Reading { realm, name, user } in readings {
            let Some(rules) = rules.get(realm) else {
                continue;
            };
            // A user of the config file is none of the store's.
            let configured = configured(hub, realm, name.as_str()).map(|user| user.key_id);
            let is_good = user.as_ref().is_some_and(|user| !user.record.disabled);
            if configured.is_some() || is_good {
                self.mark().saw_user(realm, name.as_str(), begun);
            }
            if let Some(verdict) = verdict_on(hub, configured, user.as_ref(), *rules) {
                waiting.add_user(realm, name.as_str(), verdict);
            }
        }
        drop(waiting);
        self.stale.notify_one();
    }

    /// Looks which secrets of live sessions are accepted no more.
    fn judge_secrets(&self, hub: &Hub) {
        let rules = hub.keeper.revoke_rules();
        if !hub.keeper.was_read() || !rules.values().any(|rules| rules.secret_removal) {
            return;
        }
        let in_use: Vec<_> = {
            let books = hub.books();
            let in_use = books.secrets_in_use();
            let follows = |realm| rules.get(realm).is_some_and(|rules| rules.secret_removal);
            let in_use = in_use.filter(|(realm, id)| follows(realm) && !id.starts_with("oauth:"));
            in_use
                .map(|(realm, id)| (realm.clone(), Arc::clone(id)))
                .collect()
        };
        // Before the policy: it may rest on a later reading, never on an earlier one.
        let read = hub.keeper.rests_on();
        let policy = hub.keeper.current();
        for (realm, id) in in_use {
            let accepted = policy.realms.get(&realm).into_iter();
            let mut accepted = accepted.flat_map(|realm| &realm.secrets);
            if accepted.any(|secret| secret.id == id) {
                if let Some(read) = read {
                    self.mark().saw_secret(&realm, &id, read);
                }
            } else {
                self.waiting().add_secret(&realm, &id);
            }
        }
    }
}

/// What the rules of a realm make of a user, by the key of the config file or what the store has.
fn verdict_on(
    hub: &Hub,
    configured: Option<u32>,
    user: Option<&StoredUser>,
    rules: RealmRules,
) -> Option<UserVerdict> {
    let key_id = configured.or_else(|| {
        let user = user.filter(|user| !user.record.disabled)?;
        Some(hub.keeper.key_id(user.keys.md5.expose()))
    });
    match (key_id, user) {
        (Some(key_id), _) => rules.password_change.then_some(UserVerdict::Has { key_id }),
        (None, Some(_)) => rules.user_removal.then_some(UserVerdict::Disabled),
        (None, None) => rules.user_removal.then_some(UserVerdict::Gone),
    }
}

/// Ends sessions until the node stops.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Verdicts::default();
    let mut told = Told::default();
    let mut unjudged: Vec<(Realm, String)> = Vec::new();
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.revocation.stale.notified() => {}
            () = tokio::time::sleep(AFTERWARDS), if !last.is_empty() => {}
            _ = compare.tick() => {
                for (realm, name) in unjudged.drain(..) {
                    hub.running_users.want(&realm, &name);
                }
            }
        }
        hub.revocation.judge_secrets(&hub);
        let mut verdicts = std::mem::take(&mut *hub.revocation.waiting());
        match mark::look(&hub).await {
            Evidence::Good => verdicts = hub.revocation.mark().believe(verdicts),
            Evidence::None => {
                unjudged.extend(verdicts.take_absent());
                unjudged.truncate(MAX_UNJUDGED);
            }
        }
        // What was judged before is not judged again, only looked for once more.
        let both = last.and(&verdicts);
        last = verdicts;
        enforce(&hub, &mut told, &both).await;
    }
}

async fn enforce(hub: &Hub, told: &mut Told, verdicts: &Verdicts) {
    if verdicts.is_empty() {
        return;
    }
    let ended = end_where(hub, told, |row| {
        let (why, whom) = verdicts.of(row)?;
        Some((EndCause::Revoked(why), whom))
    })
    .await;
    tell(hub, &ended);
}

/// Says what was ended, once per user or secret.
fn tell(hub: &Hub, ended: &BTreeMap<Sum, u64>) {
    for (told, (sum, count)) in ended.iter().enumerate() {
        let Sum { realm, whom, cause } = sum;
        let target = format!("{}/{whom}", realm.as_str());
        let sessions = if *count == 1 { "session" } else { "sessions" };
        tracing::info!(target_of = %display_safe(&target), count, cause, "sessions revoked");
        if told >= MAX_TOLD {
            continue;
        }
        let by_secret = *cause == Why::SecretRetired.in_words();
        let kind = if by_secret {
            EventKind::SecretChanged
        } else {
            EventKind::UserChanged
        };
        let text = format!("{count} {sessions} of {}: {cause}", display_safe(&target));
        let mut event = hub.new_event(kind, Severity::Notice, text);
        event.realm = Some(realm.clone());
        event.user = (!by_secret).then(|| whom.as_ref().to_owned());
        hub.recorder.event(event);
        hub.recorder.audit(AuditView {
            id: String::new(),
            at_ms: Moment::now().unix_ms,
            node: hub.node.clone(),
            actor: "realm".to_owned(),
            action: "sessions.revoke".to_owned(),
            target,
            reason: (*cause).to_owned(),
            result: format!("{count} {sessions} ended"),
        });
    }
}
