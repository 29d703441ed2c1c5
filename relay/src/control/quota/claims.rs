//! Places among the sessions of all nodes: asked for before a session begins, and told to the store
//! after what is held has changed.
//!
//! One task speaks to the store, one turn at a time, so that what was said last is what is true: each
//! turn takes all claims that came during the one before, and of all else that is to be said a slice, so
//! that no claim waits for more than that. What a turn says is how many sessions are held, so a turn that
//! was lost, or taken and not answered, is put right by the next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use shared::{Realm, WorkerId};
use tokio::time::MissedTickBehavior;
use turn_proto::policy::{PlaceAnswer, Policy, Quota as _, QuotaExceeded};
use turn_proto::server::{Command, PlaceClaim};

use super::{NodeQuota, Refusal};
use crate::control::hub::Hub;
use crate::store::quota::{QUOTA_TURN, QuotaAnswer, QuotaLimit, QuotaTurn, UserAnswer};
use crate::store::{Store, StoreError};

/// How often the lease of what is held is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// In so many renewals the store is told everything once more, whatever it knows.
const SLICES: u64 = 150;
/// Realms spoken about at the same time.
const CONCURRENCY: usize = 32;
/// Of what nobody waits for: users that one turn speaks about.
const SLICE_USERS: usize = QUOTA_TURN;
/// Of what nobody waits for: realms that one turn speaks about.
const SLICE_REALMS: usize = CONCURRENCY;
/// Claims that wait; more are decided without the store.
const MOST: usize = 65_536;

type Asked = (WorkerId, Box<PlaceClaim>);
/// The limits of a realm, and of each user in it.
type Limits = (Option<u32>, Option<u32>);

/// Claims that wait for the store.
#[derive(Debug, Default)]
pub(in crate::control) struct Places(Mutex<Vec<Asked>>);

impl Places {
    fn waiting(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.waiting())
    }
}

/// Asks for a place, or decides at once where the store is away.
pub(in crate::control) fn claim(hub: &Hub, worker: WorkerId, claim: Box<PlaceClaim>) {
    if !hub.health.is_lost() {
        let mut waiting = hub.places.waiting();
        if waiting.len() < MOST {
            waiting.push((worker, claim));
            drop(waiting);
            hub.quota.changed.notify_one();
            return;
        }
    }
    decide(hub, (worker, claim));
}

fn decide(hub: &Hub, (worker, claim): Asked) {
    let answer = hub.quota.decide(&claim);
    tell(hub, worker, claim, answer);
}

fn tell(hub: &Hub, worker: WorkerId, claim: Box<PlaceClaim>, answer: PlaceAnswer) {
    let place = (answer == PlaceAnswer::Granted).then(|| claim.clone());
    let told = hub.workers.send(worker, Command::Place { claim, answer });
    if let Some(claim) = place.filter(|_| !told) {
        hub.quota.give_back(&claim.realm, &claim.user);
    }
}

/// Asks and tells until the node stops.
pub(in crate::control) async fn run(hub: Arc<Hub>) {
    let mut renewal = tokio::time::interval(RENEWAL);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memory = Memory::default();
    loop {
        let is_renewal = tokio::select! {
            () = hub.cancel.cancelled() => false,
            () = hub.quota.changed.notified() => false,
            _ = renewal.tick() => true,
        };
        turn(&hub, &mut memory, is_renewal).await;
        if hub.cancel.is_cancelled() {
            return;
        }
    }
}

/// What the task remembers from turn to turn.
#[derive(Debug, Default)]
struct Memory {
    limits: HashMap<Realm, Limits>,
    /// Realms whose lease is to be renewed.
    due: BTreeSet<Realm>,
    /// How many of the replaced nodes there were at the last turn.
    replaced: usize,
    /// How many of them each realm was told.
    told: HashMap<Realm, usize>,
    refusal: Refusal,
    renewals: u64,
}

/// What there is to say and to ask about one realm.
#[derive(Debug, Default)]
struct Matter {
    users: HashSet<Box<str>>,
    claims: Vec<Asked>,
    replaces: Vec<String>,
    /// How many of the replaced nodes the realm knows of, once this was taken.
    replaced: usize,
}

/// What came of speaking about a realm.
type Settled = (Realm, usize, Option<StoreError>);

async fn turn(hub: &Hub, memory: &mut Memory, is_renewal: bool) {
    hub.quota.follow(hub.store.counts_together());
    let together = hub.quota.counts_together();
    if !together || hub.fenced() || hub.health.is_lost() {
        let claims = hub.places.take();
        claims.into_iter().for_each(|claim| decide(hub, claim));
        let mut stale = hub.quota.stale();
        // Asked under the lock: when the store is back, everything is put in again. Whoever is fenced
        // says nothing any more.
        if !together || hub.fenced() || hub.health.is_lost() {
            stale.clear();
        }
        return;
    }
    let policy = hub.keeper.current();
    if is_renewal {
        memory.renew(hub, &policy);
    }
    let matters = memory.matters(hub, &policy);
    let turns = matters.into_iter().map(|(realm, matter)| {
        let limits = limits_of(&policy, &realm);
        settle(hub, realm, limits, matter)
    });
    let settled = stream::iter(turns).buffer_unordered(CONCURRENCY);
    let settled: Vec<Settled> = settled.collect().await;
    let mut failure = None;
    for (realm, replaced, error) in settled {
        match error {
            None => memory.knows(hub, realm, replaced),
            error => failure = failure.or(error),
        }
    }
    if failure.is_some() {
        // Realms that were not told of them, and of which nothing is held, have no other turn.
        memory.replaced = 0;
    }
    let is_news = memory.refusal.is_news(failure.as_ref());
    match failure {
        Some(error) if is_news => {
            tracing::warn!(
                %error,
                "the store does not count sessions: limits of users and realms hold on each node by itself"
            );
        }
        Some(error) => {
            tracing::debug!(%error, "limits over all nodes are judged without the store");
        }
        // What failed waits for a while.
        None if !memory.due.is_empty() || !hub.quota.stale().is_empty() => {
            hub.quota.changed.notify_one();
        }
        None => {}
    }
}

impl Memory {
    /// Has the store told of realms whose limits changed, of a slice of everything, and that all that is
    /// held still is.
    fn renew(&mut self, hub: &Hub, policy: &Policy) {
        let now: HashMap<_, _> = policy
            .realms
            .keys()
            .map(|realm| (realm.clone(), limits_of(policy, realm)))
            .collect();
        let held = hub.quota.held_realms();
        if now != self.limits {
            for realm in &held {
                if self.limits.get(realm) != now.get(realm) {
                    hub.quota.note_some(realm, |_| true);
                }
            }
            self.limits = now;
        }
        self.renewals += 1;
        let slice = self.renewals % SLICES;
        hub.quota.note_slice(slice, SLICES);
        self.due.extend(held);
    }

    /// What this turn is about: all claims, and a slice of the rest.
    fn matters(&mut self, hub: &Hub, policy: &Policy) -> BTreeMap<Realm, Matter> {
        let (replaced, _) = hub.quota.replaced_after(usize::MAX);
        if replaced > self.replaced && hub.parts.elder_of.is_none() {
            let limited = policy.realms.keys();
            let limited = limited.filter(|realm| limits_of(policy, realm) != (None, None));
            self.due.extend(limited.cloned());
            self.replaced = replaced;
        }
        let mut matters: BTreeMap<Realm, Matter> = BTreeMap::new();
        for (worker, claim) in hub.places.take() {
            let matter = matters.entry(claim.realm.clone()).or_default();
            matter.claims.push((worker, claim));
        }
        let some = hub.quota.stale().take(SLICE_USERS, SLICE_REALMS);
        for (realm, users) in some {
            matters.entry(realm).or_default().users.extend(users);
        }
        let due = std::iter::from_fn(|| self.due.pop_first());
        for realm in due.take(SLICE_REALMS) {
            matters.entry(realm).or_default();
        }
        for (realm, matter) in &mut matters {
            self.due.remove(realm);
            if limits_of(policy, realm) != (None, None) {
                self.replace(hub, realm, matter);
            }
        }
        matters
    }

    /// Has a realm told which nodes' sessions are here by now: after all that is to be said of it.
    fn replace(&self, hub: &Hub, realm: &Realm, matter: &mut Matter) {
        let told = self.told.get(realm).copied().unwrap_or_default();
        matter.replaced = told;
        // Before the look at what is left to be said: sessions that are here are noted first.
        let (replaced, nodes) = hub.quota.replaced_after(told);
        // What this process said as the node stays said: another one is the node now.
        if hub.parts.elder_of.is_none() && !hub.quota.stale().has(realm) {
            (matter.replaced, matter.replaces) = (replaced, nodes);
        }
    }

    /// Notes that a realm was taken, and how many of the replaced nodes it was told.
    fn knows(&mut self, hub: &Hub, realm: Realm, replaced: usize) {
        let is_back = hub.quota.stale().is_taken(&realm);
        if is_back {
            hub.quota.note_some(&realm, |_| true);
            // It was not told of replaced nodes while there was more to say.
            self.due.insert(realm.clone());
        }
        if replaced > 0 {
            self.told.insert(realm, replaced);
        }
    }
}

fn limits_of(policy: &Policy, realm: &Realm) -> Limits {
    let realm = policy.realms.get(realm);
    realm.map_or((None, None), |realm| {
        (realm.max_sessions, realm.max_sessions_per_user)
    })
}

/// Speaks about one realm, some users at a time; what the store does not answer is decided here.
async fn settle(hub: &Hub, realm: Realm, limits: Limits, matter: Matter) -> Settled {
    let Matter {
        mut users,
        claims,
        replaces,
        replaced,
    } = matter;
    let mut claims_of: HashMap<Box<str>, Vec<Asked>> = HashMap::new();
    for (worker, claim) in claims {
        users.remove(&claim.user);
        let of_user = claims_of.entry(claim.user.clone()).or_default();
        of_user.push((worker, claim));
    }
    let claimants = claims_of.iter().map(|(user, claims)| {
        let limit = claims.first().and_then(|(_, claim)| claim.per_user);
        (user.clone(), claims.len() as u32, limit)
    });
    // Those first who wait.
    let others = users.into_iter().map(|user| (user, 0, None));
    let asks: Vec<_> = claimants.chain(others).collect();
    let limits = match claims_of.values().flatten().next() {
        // The policy that the worker judged by.
        Some((_, claim)) => (claim.per_realm, limits.1),
        None => limits,
    };
    let mut failure = None;
    let chunks = asks.len().div_ceil(QUOTA_TURN).max(1);
    for number in 0..chunks {
        let chunk = asks.chunks(QUOTA_TURN).nth(number).unwrap_or_default();
        if failure.is_none() {
            let mut turn = hub.quota.turn(&realm, limits, chunk);
            if number + 1 == chunks {
                turn.replaces.clone_from(&replaces);
            }
            match say(hub, &turn).await {
                Ok(answer) => {
                    for (said, answer) in turn.users.iter().zip(&answer.users) {
                        let claims = claims_of.remove(&*said.user).unwrap_or_default();
                        grant(hub, claims, *answer);
                    }
                    continue;
                }
                Err(error) => {
                    // What makes no sense without a user is not asked again without one.
                    let probe = turn.users.first().map_or("", |said| &said.user);
                    hub.quota.stale().refuse(&realm, probe);
                    failure = Some(error);
                }
            }
        }
        for (user, ..) in chunk {
            let claims = claims_of.remove(user).unwrap_or_default();
            claims.into_iter().for_each(|claim| decide(hub, claim));
        }
    }
    (realm, replaced, failure)
}

/// Tells the store, where there is something to tell.
async fn say(hub: &Hub, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
    let is_idle = turn.users.is_empty() && turn.sessions == 0 && turn.replaces.is_empty();
    if is_idle && !hub.quota.owes_word(&turn.realm) {
        return Ok(QuotaAnswer::default());
    }
    let answer = hub.noted(hub.store.settle_quota(turn).await);
    match &answer {
        Ok(answer) => {
            hub.quota.settled(turn, answer);
            if answer.is_new {
                // What was said before may be forgotten.
                hub.quota.note_some(&turn.realm, |_| true);
            }
        }
        Err(StoreError::Unavailable(_)) => hub.quota.doubted(turn),
        // Nothing of it was taken.
        Err(_) => {}
    }
    answer
}

/// Tells the first ones that they have a place, and the others what there is none for.
fn grant(hub: &Hub, claims: Vec<Asked>, answer: UserAnswer) {
    for (number, (worker, claim)) in claims.into_iter().enumerate() {
        let answer = if number < answer.granted as usize {
            PlaceAnswer::Granted
        } else {
            PlaceAnswer::Exceeded(match answer.refused {
                Some(QuotaLimit::User) => QuotaExceeded::User,
                Some(QuotaLimit::Realm) | None => QuotaExceeded::Realm,
            })
        };
        tell(hub, worker, claim, answer);
    }
}

/// Tells the store all that is held here, once: the process that goes on beside this one reads it.
pub async fn publish(store: &dyn Store, quota: &NodeQuota) {
    quota.follow(true);
    loop {
        let some = quota.stale().take(QUOTA_TURN, 1);
        let Some((realm, users)) = some.into_iter().next() else {
            return;
        };
        let users: Vec<_> = users.into_iter().map(|user| (user, 0, None)).collect();
        // Whether they are limited, the next control plane says.
        let turn = quota.turn(&realm, (None, Some(u32::MAX)), &users);
        match store.settle_quota(&turn).await {
            Ok(answer) => quota.settled(&turn, &answer),
            Err(error) => {
                quota.doubted(&turn);
                // The next control plane tells them, with all that was not told yet.
                for (user, ..) in &users {
                    quota.note_later(&realm, user);
                }
                tracing::warn!(%realm, %error, "sessions that stay here are not counted for some seconds");
                return;
            }
        }
    }
}
