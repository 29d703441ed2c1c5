//! Walks over all that is counted here. Workers begin and end sessions meanwhile: a lock is held for a
//! slice at a time, and what is made of a slice is done without.

use std::ops::Bound;
use std::sync::PoisonError;

use shared::Realm;

use super::{Count, NodeQuota};

/// Users looked at under one lock.
pub(super) const SLICE: usize = 128;

impl NodeQuota {
    /// Users with sessions on this node, by realm.
    #[must_use]
    pub fn users(&self) -> Vec<(Realm, String)> {
        let mut all = Vec::new();
        for realm in self.held_realms() {
            let name = |user: &str, count: &mut Count| {
                (count.sessions > 0 && !user.is_empty()).then(|| user.to_owned())
            };
            self.walk(&realm, name, |users| {
                all.extend(users.into_iter().map(|user| (realm.clone(), user)));
            });
        }
        all
    }

    /// Realms of which something is held.
    pub(super) fn held_realms(&self) -> Vec<Realm> {
        let mut realms = Vec::new();
        for shard in &self.realms {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            realms.extend(shard.keys().cloned());
        }
        realms
    }

    /// Has the store told everything.
    pub(in crate::control) fn note_all(&self) {
        for realm in self.held_realms() {
            self.note_some(&realm, |_| true);
        }
    }

    /// Has the store told about one of so many parts of what is held.
    pub(super) fn note_slice(&self, slice: u64, slices: u64) {
        use std::hash::BuildHasher as _;
        for realm in self.held_realms() {
            self.note_some(&realm, |user| self.hasher.hash_one(user) % slices == slice);
        }
    }

    /// Has the store told what is held of the users of a realm that `pick` chooses.
    pub(super) fn note_some(&self, realm: &Realm, pick: impl Fn(&str) -> bool) {
        if !self.counts_together() {
            return;
        }
        let name = |user: &str, _: &mut Count| pick(user).then(|| Box::<str>::from(user));
        self.walk(realm, name, |users| {
            let mut stale = self.stale();
            users.iter().for_each(|user| stale.insert(realm, user));
        });
        self.changed.notify_one();
    }

    /// Forgets what others hold and what the store knows: this process is the only one.
    pub(super) fn forget_others(&self) {
        for realm in self.held_realms() {
            let forget = |user: &str, count: &mut Count| {
                (count.confirmed, count.others, count.is_in_doubt) = (0, 0, false);
                (!user.is_empty() && count.is_over()).then(|| Box::<str>::from(user))
            };
            self.walk(&realm, forget, |over| {
                for user in &over {
                    self.lessen(&realm, user, |_| {});
                }
            });
            self.lessen(&realm, "", |_| {});
        }
    }

    /// Shows the counts of a realm, for the empty user, and of all its users, and hands on what `see`
    /// makes of them, some at a time and without the lock. Users who come meanwhile may be left out.
    pub(super) fn walk<T>(
        &self,
        realm: &Realm,
        mut see: impl FnMut(&str, &mut Count) -> Option<T>,
        mut take: impl FnMut(Vec<T>),
    ) {
        let mut after: Option<Box<str>> = None;
        loop {
            let mut shard = self.realm(realm);
            let Some(of_realm) = shard.get_mut(realm) else {
                return;
            };
            let mut seen = Vec::new();
            if after.is_none() {
                seen.extend(see("", &mut of_realm.count));
            }
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let users = of_realm.users.range_mut::<str, _>((from, Bound::Unbounded));
            let (mut looked_at, mut last) = (0, None);
            for (user, count) in users.take(SLICE) {
                seen.extend(see(user, count));
                (looked_at, last) = (looked_at + 1, Some(user));
            }
            let last = last.cloned();
            drop(shard);
            take(seen);
            if looked_at < SLICE {
                return;
            }
            after = last;
        }
    }
}
