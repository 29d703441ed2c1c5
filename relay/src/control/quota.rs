//! Session quotas of this node, counted over its workers, and the budgets that sessions share.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::HashMap;
use foldhash::fast::RandomState;
use shared::Realm;
use turn_proto::policy::{Budget, Budgets, Claimant, Quota, QuotaExceeded, QuotaLimits};

/// Locks that realms, and sources, are spread over.
const SHARDS: usize = 64;
/// Places kept in each table however few are in use.
const LEAST_PLACES: usize = 16;

/// Counts sessions per node, source, realm and user. Touched on Allocate and at the end of a
/// session, by all workers; an entry lives as long as it counts something.
#[derive(Debug)]
pub struct NodeQuota {
    sessions: AtomicU32,
    realms: Vec<Mutex<HashMap<Realm, RealmCount>>>,
    sources: Vec<Mutex<HashMap<IpAddr, u32>>>,
    budget: Arc<Budget>,
    origin: Instant,
    hasher: RandomState,
}

#[derive(Debug)]
struct RealmCount {
    count: Count,
    users: HashMap<Box<str>, Count>,
}

#[derive(Debug)]
struct Count {
    sessions: u32,
    budget: Arc<Budget>,
}

impl Count {
    fn new(origin: Instant) -> Self {
        Self {
            sessions: 0,
            budget: Arc::new(Budget::new(origin)),
        }
    }
}

impl NodeQuota {
    /// Counts nothing yet; no session begins before `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            sessions: AtomicU32::new(0),
            realms: (0..SHARDS).map(|_| Mutex::default()).collect(),
            sources: (0..SHARDS).map(|_| Mutex::default()).collect(),
            budget: Arc::new(Budget::new(now)),
            origin: now,
            hasher: RandomState::default(),
        }
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

    /// Users with sessions on this node, by realm.
    #[must_use]
    pub fn users(&self) -> Vec<(Realm, String)> {
        let mut all = Vec::new();
        for shard in &self.realms {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (realm, count) in shard.iter() {
                let names = count.users.keys();
                all.extend(names.map(|name| (realm.clone(), name.to_string())));
            }
        }
        all
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
        let new = || RealmCount {
            count: Count::new(self.origin),
            users: HashMap::default(),
        };
        let of_realm = shard.entry(realm.clone()).or_insert_with(new);
        of_realm.count.sessions += 1;
        let users = &mut of_realm.users;
        let of_user = (!user.is_empty()).then(|| {
            let new = || Count::new(self.origin);
            let count = users.entry(user.into()).or_insert_with(new);
            count.sessions += 1;
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
            self.release(claimant);
            return Err(QuotaExceeded::Node);
        }
        Ok(budgets)
    }

    fn release(&self, claimant: Claimant<'_>) {
        let Claimant { realm, user, .. } = claimant;
        let mut shard = self.realm(realm);
        let Some(of_realm) = shard.get_mut(realm) else {
            return;
        };
        of_realm.count.sessions = of_realm.count.sessions.saturating_sub(1);
        if let Some(of_user) = of_realm.users.get_mut(user) {
            of_user.sessions = of_user.sessions.saturating_sub(1);
            if of_user.sessions == 0 {
                of_realm.users.remove(user);
                give_back(&mut of_realm.users);
            }
        }
        if of_realm.count.sessions == 0 {
            shard.remove(realm);
        }
        drop(shard);
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.release_source(claimant.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::clock::Moment;

    fn quota() -> NodeQuota {
        NodeQuota::new(Moment::now().mono)
    }

    fn limits(per_user: u32, per_realm: u32) -> QuotaLimits {
        QuotaLimits {
            per_user: Some(per_user),
            per_realm: Some(per_realm),
            ..QuotaLimits::default()
        }
    }

    fn acme() -> Realm {
        "acme".parse().unwrap()
    }

    fn claim<'a>(realm: &'a Realm, user: &'a str) -> Claimant<'a> {
        Claimant {
            realm,
            user,
            source: [192, 0, 2, 1].into(),
        }
    }

    fn claim_of<'a>(realm: &'a Realm, (n, user): &'a (u32, String)) -> Claimant<'a> {
        Claimant {
            source: IpAddr::V4((*n).into()),
            ..claim(realm, user)
        }
    }

    fn outcome(result: Result<Budgets, QuotaExceeded>) -> Result<(), QuotaExceeded> {
        result.map(|_| ())
    }

    fn is_empty(quota: &NodeQuota) -> bool {
        quota.realms.iter().all(|s| s.lock().unwrap().is_empty())
            && quota.sources.iter().all(|s| s.lock().unwrap().is_empty())
            && quota.sessions.load(Ordering::Relaxed) == 0
    }

    #[test]
    fn the_limit_that_is_reached_is_named_and_nothing_is_counted_then() {
        let (quota, realm) = (quota(), acme());
        let take = |user, limits| outcome(quota.try_reserve(claim(&realm, user), limits));
        assert_eq!(take("a", limits(1, 2)), Ok(()));
        assert_eq!(take("a", limits(1, 2)), Err(QuotaExceeded::User));
        assert_eq!(take("b", limits(1, 2)), Ok(()));
        assert_eq!(take("c", limits(1, 2)), Err(QuotaExceeded::Realm));
        let of_source = QuotaLimits {
            per_source: Some(2),
            ..QuotaLimits::default()
        };
        assert_eq!(take("c", of_source), Err(QuotaExceeded::Source));
        let of_node = QuotaLimits {
            per_node: Some(2),
            ..QuotaLimits::default()
        };
        assert_eq!(take("c", of_node), Err(QuotaExceeded::Node));
        assert_eq!(quota.user_sessions(&realm, "c"), 0);
        assert_eq!(quota.realm_sessions(&realm), 2);
        quota.release(claim(&realm, "a"));
        assert_eq!(take("c", of_node), Ok(()));
        quota.release(claim(&realm, "b"));
        quota.release(claim(&realm, "c"));
        assert!(is_empty(&quota));
    }

    #[test]
    fn the_empty_user_has_no_limit_of_its_own() {
        let (quota, realm) = (quota(), acme());
        for _ in 0..100 {
            let budgets = quota.try_reserve(claim(&realm, ""), limits(1, 100));
            assert!(budgets.unwrap().user.is_none());
        }
        let one_more = quota.try_reserve(claim(&realm, ""), limits(1, 100));
        assert_eq!(outcome(one_more), Err(QuotaExceeded::Realm));
    }

    #[test]
    fn memory_comes_back_as_sessions_end() {
        let (quota, realm) = (quota(), acme());
        let users: Vec<_> = (0..20_000_u32).map(|n| (n, format!("user {n}"))).collect();
        for user in &users {
            let taken = quota.try_reserve(claim_of(&realm, user), limits(9, 99_999));
            assert_eq!(outcome(taken), Ok(()));
        }
        let places = || {
            let of_users = quota.realm(&realm).get(&realm).map(|r| r.users.capacity());
            let sources = quota.sources.iter().map(|s| s.lock().unwrap().capacity());
            (of_users.unwrap_or_default(), sources.sum::<usize>())
        };
        let (of_users, sources) = places();
        assert!(of_users >= 20_000 && sources >= 20_000);
        for user in &users[10..] {
            quota.release(claim_of(&realm, user));
        }
        let (of_users, sources) = places();
        assert!(of_users <= 8 * LEAST_PLACES, "{of_users} users");
        assert!(sources <= 8 * LEAST_PLACES * SHARDS, "{sources} sources");
        users[..10]
            .iter()
            .for_each(|user| quota.release(claim_of(&realm, user)));
        assert!(is_empty(&quota));
    }

    #[test]
    fn sessions_of_a_user_share_a_budget_that_goes_with_the_last_of_them() {
        let (quota, realm) = (quota(), acme());
        let take = |user| {
            quota
                .try_reserve(claim(&realm, user), limits(9, 9))
                .unwrap()
        };
        let (first, second, other) = (take("a"), take("a"), take("b"));
        let (a, b) = (first.user.unwrap(), other.user.unwrap());
        assert!(Arc::ptr_eq(&a, &second.user.unwrap()) && !Arc::ptr_eq(&a, &b));
        assert!(Arc::ptr_eq(&first.realm, &other.realm));
        for user in ["a", "a", "b", "b"] {
            quota.release(claim(&realm, user));
        }
        assert!(is_empty(&quota), "one release too many counts nothing");
    }
}
