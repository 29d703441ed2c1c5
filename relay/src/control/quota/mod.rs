//! Session quotas and the budgets that sessions share: of this node's workers, and, where the store has
//! other nodes, of all of them.
//!
//! What is held here is counted here. Where limits count over all nodes, a place is asked for before
//! a session begins ([`claims`]), and what is held is told to the store after it changed; of rates this
//! node has a share of each limit ([`rates`]).

mod claims;
mod held;
mod rates;
mod stale;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use shared::Realm;
use tokio::sync::Notify;
use turn_proto::policy::{Budget, Budgets, Claimant, Quota, QuotaExceeded, QuotaLimits};

pub use claims::publish;
pub(super) use claims::{Places, claim, run};
pub(super) use rates::share;

use super::clock::Moment;
use super::parts::ControlParts;
use crate::config::LimitReach;
use crate::store::StoreError;
use stale::Stale;

/// Locks that realms, and sources, are spread over.
const SHARDS: usize = 64;
/// Places kept in each table however few are in use.
const LEAST_PLACES: usize = 16;

/// Counts sessions per node, source, realm and user. Touched on Allocate and at the end of a
/// session, by all workers; an entry lives as long as it counts something, here or in the store.
#[derive(Debug)]
pub struct NodeQuota {
    sessions: AtomicU32,
    realms: Vec<Mutex<HashMap<Realm, RealmCount>>>,
    sources: Vec<Mutex<HashMap<IpAddr, u32>>>,
    budget: Arc<Budget>,
    origin: Instant,
    hasher: RandomState,
    reach: Reach,
    /// Who holds what is counted here, for the store: a node and one of its starts. A process that
    /// passed its listeners on keeps the name.
    holder: String,
    /// Whether sessions of other processes count, too.
    counts_together: AtomicBool,
    /// Since when they do not any more, until what they held is forgotten.
    alone: Mutex<Option<Instant>>,
    /// Whether an earlier process of this node goes on beside this one.
    has_elder: AtomicBool,
    /// Nodes whose earlier starts hold nothing any more, since when: it is held here, or over.
    replaces: Mutex<Vec<(String, Instant)>>,
    /// What the store is to be told of.
    stale: Mutex<Stale>,
    /// Budgets that have no share yet.
    fresh: Mutex<HashSet<Name>>,
    changed: Notify,
    shareless: Notify,
}

/// What the store refused for good, so that it is told once and not twice per second.
#[derive(Debug, Default)]
struct Refusal(Option<String>);

impl Refusal {
    /// Takes what a turn came to; `true`: it was refused, and that is news.
    fn is_news(&mut self, error: Option<&StoreError>) -> bool {
        let Some(error) = error else {
            self.0 = None;
            return false;
        };
        let text = error.to_string();
        let is_news = !error.may_pass() && self.0.as_ref() != Some(&text);
        if is_news {
            self.0 = Some(text);
        }
        is_news
    }
}

/// Whose budget it is: a user's, or the realm's.
type Name = (Realm, Option<Box<str>>);

/// How far limits of users and realms reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This node.
    Node,
    /// All processes of this node, where there are several.
    Processes,
    /// All nodes.
    Cluster,
}

#[derive(Debug)]
struct RealmCount {
    count: Count,
    /// In an order, so that whoever goes over all of them can let go of the lock and go on.
    users: BTreeMap<Box<str>, Count>,
}

#[derive(Debug)]
struct Count {
    sessions: u32,
    /// Places that were granted and have no session yet.
    granted: u32,
    /// What the store took as held here.
    confirmed: u32,
    /// What others held when the store was asked last.
    others: u32,
    /// Whether a limit was met, be it the realm's or the user's own.
    is_limited: bool,
    /// Whether the user has a rate of its own.
    has_own_rate: bool,
    /// Whether the store was told something and did not answer: it may count more than is here.
    is_in_doubt: bool,
    budget: Arc<Budget>,
}

impl Count {
    fn new(budget: Budget) -> Self {
        Self {
            sessions: 0,
            granted: 0,
            confirmed: 0,
            others: 0,
            is_limited: false,
            has_own_rate: false,
            is_in_doubt: false,
            budget: Arc::new(budget),
        }
    }

    /// What the store is to know as held.
    fn held(&self) -> u32 {
        self.sessions + self.granted
    }

    /// Whether it counts nothing, and the store knows that.
    fn is_over(&self) -> bool {
        self.held() == 0 && self.confirmed == 0 && !self.is_in_doubt
    }
}

impl NodeQuota {
    /// Counts nothing yet; no session begins before `now`. `holder`: see the field.
    #[must_use]
    pub(super) fn new(now: Instant, reach: Reach, holder: String) -> Self {
        Self {
            reach,
            holder,
            counts_together: AtomicBool::new(reach == Reach::Cluster),
            alone: Mutex::default(),
            has_elder: AtomicBool::new(false),
            replaces: Mutex::default(),
            stale: Mutex::default(),
            fresh: Mutex::default(),
            changed: Notify::new(),
            shareless: Notify::new(),
            sessions: AtomicU32::new(0),
            realms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            sources: (0..SHARDS).map(|_| Mutex::default()).collect(),
            budget: Arc::new(Budget::new(now)),
            origin: now,
            hasher: RandomState::default(),
        }
    }

    /// For a node whose limits reach as far as its configuration and its store have it.
    #[must_use]
    pub(super) fn of(parts: &ControlParts) -> Self {
        let reach = match (parts.config.limits.reach, parts.store.kind()) {
            (LimitReach::Node, _) => Reach::Node,
            (LimitReach::Cluster, "sqlite") => Reach::Processes,
            (LimitReach::Cluster, _) => Reach::Cluster,
        };
        let holder = format!("{}/{:08x}", parts.node, parts.session_base);
        let quota = Self::new(Moment::now().mono, reach, holder);
        // Workers serve before the control plane runs.
        quota.follow(parts.store.counts_together());
        quota
    }

    /// Sessions that a user has on this node; 0 for the empty user, who is not counted.
    #[must_use]
    pub fn user_sessions(&self, realm: &Realm, user: &str) -> u32 {
        let shard = self.realm(realm);
        let count = shard.get(realm).and_then(|count| count.users.get(user));
        count.map_or(0, |count| count.sessions)
    }

    /// Sessions that a realm has on this node.
    #[must_use]
    pub fn realm_sessions(&self, realm: &Realm) -> u32 {
        let shard = self.realm(realm);
        shard.get(realm).map_or(0, |count| count.count.sessions)
    }

    fn realm(&self, realm: &Realm) -> MutexGuard<'_, HashMap<Realm, RealmCount>> {
        self.shard(&self.realms, realm)
    }

    fn source(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.shard(&self.sources, &source)
    }

    fn shard<'a, T>(&self, shards: &'a [Mutex<T>], key: &impl Hash) -> MutexGuard<'a, T> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        let shard = shards[index].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve_source(&self, source: IpAddr, limit: Option<u32>) -> Result<(), QuotaExceeded> {
        let mut shard = self.source(source);
        let of_source = shard.get(&source).copied().unwrap_or(0);
        if limit.is_some_and(|limit| of_source >= limit) {
            return Err(QuotaExceeded::Source);
        }
        shard.insert(source, of_source + 1);
        Ok(())
    }

    fn release_source(&self, source: IpAddr) {
        let mut shard = self.source(source);
        if let Some(of_source) = shard.get_mut(&source) {
            *of_source -= 1;
            if *of_source == 0 {
                shard.remove(&source);
                give_back(&mut shard);
            }
        }
    }

    fn reserve_realm(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded> {
        let Claimant { realm, user, .. } = claimant;
        let mut shard = self.realm(realm);
        // What has a place was judged where all sessions are counted.
        if !limits.granted {
            let (in_realm, of_user) = shard.get(realm).map_or((0, 0), |count| {
                let of_user = count.users.get(user).map_or(0, |count| count.sessions);
                (count.count.sessions, of_user)
            });
            if !user.is_empty() && limits.per_user.is_some_and(|limit| of_user >= limit) {
                return Err(QuotaExceeded::User);
            }
            if limits.per_realm.is_some_and(|limit| in_realm >= limit) {
                return Err(QuotaExceeded::Realm);
            }
        }
        let of_realm = self.of_realm(&mut shard, realm);
        of_realm.count.begin(limits.granted);
        of_realm.count.is_limited |= limits.granted;
        let of_user = (!user.is_empty()).then(|| {
            let count = self.of_user(of_realm, realm, user);
            count.begin(limits.granted);
            count.is_limited |= limits.per_user.is_some();
            let is_news = limits.has_own_rate && !count.has_own_rate;
            count.has_own_rate |= limits.has_own_rate;
            if is_news {
                self.wants_share(realm, Some(user));
            }
            Arc::clone(&count.budget)
        });
        Ok(Budgets {
            user: of_user,
            realm: Arc::clone(&of_realm.count.budget),
            node: Arc::clone(&self.budget),
        })
    }
}

/// Gives memory back when little is used of it.
fn give_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 8 * map.len().max(LEAST_PLACES) {
        map.shrink_to(2 * map.len());
    }
}

impl Quota for NodeQuota {
    fn try_reserve(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded> {
        // The user's limit is named before the node's: more is known then about what to do.
        self.reserve_source(claimant.source, limits.per_source)?;
        let budgets = self.reserve_realm(claimant, limits).inspect_err(|_| {
            self.release_source(claimant.source);
        })?;
        let before = self.sessions.fetch_add(1, Ordering::Relaxed);
        if limits.per_node.is_some_and(|limit| before >= limit) {
            if limits.granted {
                // It still is somebody's, who gives it back.
                self.keep_place(claimant.realm, claimant.user);
            }
            self.release(claimant);
            return Err(QuotaExceeded::Node);
        }
        if !limits.granted {
            self.note(claimant.realm, claimant.user);
        }
        Ok(budgets)
    }

    fn asks(&self, claimant: Claimant<'_>, limits: QuotaLimits) -> bool {
        let of_user = limits.per_user.filter(|_| !claimant.user.is_empty());
        self.counts_together() && (of_user.is_some() || limits.per_realm.is_some())
    }

    fn give_back(&self, realm: &Realm, user: &str) {
        let known = self.lessen(realm, user, |count| {
            count.granted = count.granted.saturating_sub(1);
        });
        if known {
            self.note(realm, user);
        }
    }

    fn release(&self, claimant: Claimant<'_>) {
        let Claimant { realm, user, .. } = claimant;
        let known = self.lessen(realm, user, |count| {
            count.sessions = count.sessions.saturating_sub(1);
        });
        if !known {
            return;
        }
        self.note(realm, user);
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.release_source(claimant.source);
    }
}
