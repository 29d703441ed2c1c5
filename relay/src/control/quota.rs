//! Session quotas of this node, counted over its workers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::Realm;
use turn_proto::policy::{Quota, QuotaExceeded, QuotaLimits};

/// Locks that realms are spread over.
const SHARDS: usize = 64;

/// Counts sessions per realm and user. Touched on Allocate and at the end of a session, by all
/// workers; an entry lives as long as it counts something.
#[derive(Debug)]
pub struct NodeQuota {
    shards: Vec<Mutex<HashMap<Realm, RealmCount>>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct RealmCount {
    sessions: u32,
    users: HashMap<Box<str>, u32>,
}

impl NodeQuota {
    /// Counts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            hasher: RandomState::new(),
        }
    }

    /// Sessions that a user has on this node; 0 for the empty user, who is not counted.
    #[must_use]
    pub fn user_sessions(&self, realm: &Realm, user: &str) -> u32 {
        let shard = self.shard(realm);
        shard
            .get(realm)
            .and_then(|count| count.users.get(user))
            .copied()
            .unwrap_or(0)
    }

    /// Sessions that a realm has on this node.
    #[must_use]
    pub fn realm_sessions(&self, realm: &Realm) -> u32 {
        self.shard(realm)
            .get(realm)
            .map_or(0, |count| count.sessions)
    }

    fn shard(&self, realm: &Realm) -> MutexGuard<'_, HashMap<Realm, RealmCount>> {
        let index = self.hasher.hash_one(realm) as usize % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for NodeQuota {
    fn default() -> Self {
        Self::new()
    }
}

impl Quota for NodeQuota {
    fn try_reserve(
        &self,
        realm: &Realm,
        user: &str,
        limits: QuotaLimits,
    ) -> Result<(), QuotaExceeded> {
        let mut shard = self.shard(realm);
        let (in_realm, of_user) = shard.get(realm).map_or((0, 0), |count| {
            (count.sessions, count.users.get(user).copied().unwrap_or(0))
        });
        if !user.is_empty() && limits.per_user.is_some_and(|limit| of_user >= limit) {
            return Err(QuotaExceeded::User);
        }
        if limits.per_realm.is_some_and(|limit| in_realm >= limit) {
            return Err(QuotaExceeded::Realm);
        }
        let count = shard.entry(realm.clone()).or_default();
        count.sessions += 1;
        if !user.is_empty() {
            *count.users.entry(user.into()).or_default() += 1;
        }
        Ok(())
    }

    fn release(&self, realm: &Realm, user: &str) {
        let mut shard = self.shard(realm);
        let Some(count) = shard.get_mut(realm) else {
            return;
        };
        count.sessions = count.sessions.saturating_sub(1);
        if let Some(of_user) = count.users.get_mut(user) {
            *of_user = of_user.saturating_sub(1);
            if *of_user == 0 {
                count.users.remove(user);
            }
        }
        if count.sessions == 0 {
            shard.remove(realm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_user: u32, per_realm: u32) -> QuotaLimits {
        QuotaLimits {
            per_user: Some(per_user),
            per_realm: Some(per_realm),
        }
    }

    #[test]
    fn the_limit_that_is_reached_is_named_and_nothing_is_counted_then() {
        let quota = NodeQuota::new();
        let realm: Realm = "acme".parse().unwrap();
        assert_eq!(quota.try_reserve(&realm, "a", limits(1, 2)), Ok(()));
        assert_eq!(
            quota.try_reserve(&realm, "a", limits(1, 2)),
            Err(QuotaExceeded::User)
        );
        assert_eq!(quota.try_reserve(&realm, "b", limits(1, 2)), Ok(()));
        assert_eq!(
            quota.try_reserve(&realm, "c", limits(1, 2)),
            Err(QuotaExceeded::Realm)
        );
        assert_eq!(quota.user_sessions(&realm, "c"), 0);
    }

    #[test]
    fn the_empty_user_has_no_limit_of_its_own() {
        let quota = NodeQuota::new();
        let realm: Realm = "acme".parse().unwrap();
        for _ in 0..100 {
            assert_eq!(quota.try_reserve(&realm, "", limits(1, 100)), Ok(()));
        }
        assert_eq!(
            quota.try_reserve(&realm, "", limits(1, 100)),
            Err(QuotaExceeded::Realm)
        );
    }

    #[test]
    fn entries_disappear_at_zero() {
        let quota = NodeQuota::new();
        let realm: Realm = "acme".parse().unwrap();
        quota.try_reserve(&realm, "a", limits(1, 1)).unwrap();
        quota.release(&realm, "a");
        quota.release(&realm, "a");
        assert!(
            quota
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }
}
