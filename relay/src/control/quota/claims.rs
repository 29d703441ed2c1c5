//! Places among the sessions of all nodes: asked for before a session begins, and told to the store
//! after what is held has changed.
//!
//! One task speaks to the store, one turn at a time, so that what was said last is what is true: each
//! turn takes all claims that came during the one before. What a turn says is how many sessions are held,
//! so a turn that was lost, or taken and not answered, is put right by the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use shared::{Realm, WorkerId};
use tokio::time::MissedTickBehavior;
use turn_proto::policy::{PlaceAnswer, Policy, Quota as _, QuotaExceeded};
use turn_proto::server::{Command, PlaceClaim};

use super::NodeQuota;
use crate::control::hub::Hub;
use crate::store::quota::{QUOTA_TURN, QuotaLimit, UserAnswer};
use crate::store::{Store, StoreError};

/// How often the lease of what is held is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// In so many renewals the store is told everything once more, whatever it knows.
const SLICES: u64 = 150;
/// Realms spoken about at the same time.
const CONCURRENCY: usize = 16;
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
    /// How many of the replaced nodes each realm was told.
    replaced: HashMap<Realm, usize>,
    renewals: u64,
}

/// What there is to say and to ask about one realm.
#[derive(Debug, Default)]
struct Matter {
    users: HashSet<Box<str>>,
    claims: Vec<Asked>,
    replaces: Vec<String>,
}

async fn turn(hub: &Hub, memory: &mut Memory, is_renewal: bool) {
    hub.quota.follow(hub.store.counts_together());
    let together = hub.quota.counts_together();
    if !together || hub.fenced() || hub.health.is_lost() {
        let claims = std::mem::take(&mut *hub.places.waiting());
        claims.into_iter().for_each(|claim| decide(hub, claim));
        let mut stale = hub.quota.stale();
        // Asked under the lock: when the store is back, everything is put in again.
        if !together || hub.health.is_lost() {
            stale.clear();
        }
        return;
    }
    let policy = hub.keeper.current();
    if is_renewal {
        memory.compare(hub, &policy);
    }
    let mut matters: BTreeMap<Realm, Matter> = BTreeMap::new();
    for (realm, user) in std::mem::take(&mut *hub.quota.stale()) {
        matters.entry(realm).or_default().users.insert(user);
    }
    for (worker, claim) in std::mem::take(&mut *hub.places.waiting()) {
        let matter = matters.entry(claim.realm.clone()).or_default();
        matter.claims.push((worker, claim));
    }
    if is_renewal {
        for realm in hub.quota.held_realms() {
            matters.entry(realm).or_default();
        }
        memory.replace(hub, &policy, &mut matters);
    }
    let turns = matters.into_iter().map(|(realm, matter)| {
        let limits = limits_of(&policy, &realm);
        settle(hub, realm, limits, matter)
    });
    let failures = stream::iter(turns).buffer_unordered(CONCURRENCY);
    let failures: Vec<_> = failures.filter_map(std::future::ready).collect().await;
    for error in failures.into_iter().take(1) {
        tracing::debug!(%error, "limits over all nodes are judged without the store");
    }
}

impl Memory {
    /// Has the store told of realms whose limits changed, and of a slice of everything.
    fn compare(&mut self, hub: &Hub, policy: &Policy) {
        let now: HashMap<_, _> = policy
            .realms
            .keys()
            .map(|realm| (realm.clone(), limits_of(policy, realm)))
            .collect();
        if now != self.limits {
            let before = std::mem::replace(&mut self.limits, now);
            let limits = &self.limits;
            hub.quota
                .note_some(|realm, _| before.get(realm) != limits.get(realm));
        }
        self.renewals += 1;
        let slice = self.renewals % SLICES;
        hub.quota.note_slice(slice, SLICES);
    }

    /// Has the realms told which nodes' sessions are here by now.
    fn replace(&mut self, hub: &Hub, policy: &Policy, matters: &mut BTreeMap<Realm, Matter>) {
        if hub.parts.elder_of.is_some() {
            // What this process said as the node: another one is the node now.
            return;
        }
        let nodes = hub.quota.replaces().clone();
        for realm in policy.realms.keys().filter(|_| !nodes.is_empty()) {
            let told = self.replaced.entry(realm.clone()).or_default();
            if *told < nodes.len() && limits_of(policy, realm) != (None, None) {
                let matter = matters.entry(realm.clone()).or_default();
                matter.replaces = nodes[*told..].to_vec();
                *told = nodes.len();
            }
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
async fn settle(hub: &Hub, realm: Realm, limits: Limits, matter: Matter) -> Option<StoreError> {
    let Matter {
        mut users,
        claims,
        replaces,
    } = matter;
    let mut claims_of: HashMap<Box<str>, Vec<Asked>> = HashMap::new();
    for (worker, claim) in claims {
        users.insert(claim.user.clone());
        let of_user = claims_of.entry(claim.user.clone()).or_default();
        of_user.push((worker, claim));
    }
    let asks: Vec<_> = users
        .into_iter()
        .map(|user| {
            let claims = claims_of.get(&user);
            let limit = claims.and_then(|claims| claims.first()?.1.per_user);
            let asked = claims.map_or(0, Vec::len) as u32;
            (user, asked, limit)
        })
        .collect();
    let limits = match claims_of.values().flatten().next() {
        // The policy that the worker judged by.
        Some((_, claim)) => (claim.per_realm, limits.1),
        None => limits,
    };
    let mut failure = None;
    let chunks = asks.len().div_ceil(QUOTA_TURN).max(1);
    for number in 0..chunks {
        let chunk = asks.chunks(QUOTA_TURN).nth(number).unwrap_or_default();
        let mut turn = hub.quota.turn(&realm, limits, chunk);
        if number + 1 == chunks {
            turn.replaces.clone_from(&replaces);
        }
        let is_idle = turn.users.is_empty() && turn.sessions == 0 && turn.replaces.is_empty();
        if failure.is_none() && !is_idle {
            match hub.noted(hub.store.settle_quota(&turn).await) {
                Ok(answer) => {
                    hub.quota.settled(&turn, &answer);
                    if answer.is_new {
                        // What was said before may be forgotten.
                        hub.quota.note_some(|other, _| *other == realm);
                    }
                    for (said, answer) in turn.users.iter().zip(&answer.users) {
                        let claims = claims_of.remove(&*said.user).unwrap_or_default();
                        grant(hub, claims, *answer);
                    }
                    continue;
                }
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_some() {
            for (user, ..) in chunk {
                hub.quota.note_later(&realm, user);
                let claims = claims_of.remove(user).unwrap_or_default();
                claims.into_iter().for_each(|claim| decide(hub, claim));
            }
        }
    }
    failure
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
    let mut realms: BTreeMap<Realm, Vec<_>> = BTreeMap::new();
    for (realm, user) in std::mem::take(&mut *quota.stale()) {
        realms.entry(realm).or_default().push((user, 0, None));
    }
    for (realm, users) in realms {
        for chunk in users.chunks(QUOTA_TURN) {
            // Whether they are limited, the next control plane says.
            let turn = quota.turn(&realm, (None, Some(u32::MAX)), chunk);
            match store.settle_quota(&turn).await {
                Ok(answer) => quota.settled(&turn, &answer),
                Err(error) => {
                    tracing::warn!(%realm, %error, "sessions that stay here are not counted for some seconds");
                    return;
                }
            }
        }
    }
}
