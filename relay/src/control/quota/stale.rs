//! What the store is to be told of, taken a slice at a time: whoever asks for a place meanwhile waits
//! for a slice, not for all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shared::Realm;

/// Users by realm; the empty one stands for the realm alone.
#[derive(Debug, Default)]
pub(super) struct Stale {
    realms: BTreeMap<Realm, BTreeSet<Box<str>>>,
    /// Realms of which the store took nothing when it was last told: one user of each waits here, to try
    /// it again, and the others are told when it takes that.
    refused: BTreeSet<Realm>,
    /// The realm that had its turn last.
    last: Option<Realm>,
}

impl Stale {
    pub(super) fn insert(&mut self, realm: &Realm, user: &str) {
        match self.realms.get_mut(realm) {
            Some(_) if self.refused.contains(realm) => {}
            Some(users) if users.contains(user) => {}
            Some(users) => drop(users.insert(user.into())),
            None => drop(self.realms.insert(realm.clone(), [user.into()].into())),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }

    /// Whether there is more to tell of a realm.
    pub(super) fn has(&self, realm: &Realm) -> bool {
        self.realms.contains_key(realm) || self.refused.contains(realm)
    }

    pub(super) fn clear(&mut self) {
        self.realms.clear();
        self.refused.clear();
    }

    /// Forgets who was to be told of a realm, but for `user`: the store took nothing of it. However long
    /// that lasts, and whoever comes and goes meanwhile, no more than this is kept.
    pub(super) fn refuse(&mut self, realm: &Realm, user: &str) {
        self.realms.insert(realm.clone(), [user.into()].into());
        self.refused.insert(realm.clone());
    }

    /// The store took something of a realm; `true`: for the first time since it did not, so that all that
    /// is held of it is to be told.
    pub(super) fn is_taken(&mut self, realm: &Realm) -> bool {
        self.refused.remove(realm)
    }

    /// How many users it knows by name.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.realms.values().map(BTreeSet::len).sum()
    }

    /// Takes at most so many users of at most so many realms; realms have their turn one after the
    /// other.
    pub(super) fn take(&mut self, users: usize, realms: usize) -> Vec<(Realm, Vec<Box<str>>)> {
        let (mut taken, mut left) = (Vec::new(), users);
        while left > 0 && taken.len() < realms {
            let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.realms.range((after, Bound::Unbounded)).next();
            let next = next.or_else(|| self.realms.iter().next());
            let Some(realm) = next.map(|(realm, _)| realm.clone()) else {
                break;
            };
            let Some(of_realm) = self.realms.get_mut(&realm) else {
                break;
            };
            let some = std::iter::from_fn(|| of_realm.pop_first());
            let some: Vec<_> = some.take(left).collect();
            left -= some.len();
            if of_realm.is_empty() {
                self.realms.remove(&realm);
            }
            self.last = Some(realm.clone());
            taken.push((realm, some));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_have_their_turn_one_after_the_other_and_nobody_is_told_twice() {
        let mut stale = Stale::default();
        let [a, b]: [Realm; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        for number in 0..600 {
            stale.insert(&a, &format!("user {number}"));
        }
        for _ in 0..2 {
            stale.insert(&b, "bob");
        }
        assert_eq!(stale.take(256, 16)[0].1.len(), 256);
        let taken = stale.take(256, 16);
        assert_eq!(taken[0], (b.clone(), vec![Box::from("bob")]));
        assert_eq!((taken[1].0.clone(), taken[1].1.len()), (a.clone(), 255));
        assert!(stale.has(&a) && !stale.has(&b));
        assert_eq!(stale.take(256, 16)[0].1.len(), 600 - 256 - 255);
        assert!(stale.is_empty() && stale.take(256, 16).is_empty());
        // No more realms at once than are asked for.
        for realm in [&a, &b] {
            stale.insert(realm, "");
        }
        assert_eq!((stale.take(256, 1).len(), stale.take(256, 9).len()), (1, 1));
    }

    #[test]
    fn of_a_realm_that_the_store_refuses_one_user_is_kept() {
        let mut stale = Stale::default();
        let [a, b]: [Realm; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        stale.insert(&a, "ann");
        stale.insert(&a, "bob");
        stale.refuse(&a, "bob");
        for number in 0..600 {
            stale.insert(&a, &format!("user {number}"));
        }
        stale.insert(&b, "cem");
        assert_eq!(stale.len(), 2);
        let taken = stale.take(256, 16);
        assert_eq!(taken[0], (a.clone(), vec![Box::from("bob")]));
        assert!(stale.has(&a) && !stale.has(&b), "all of it is to be told");
        // While that is under way.
        stale.insert(&a, "dan");
        stale.insert(&a, "eve");
        assert_eq!(stale.len(), 1);
        assert!(stale.is_taken(&a) && !stale.is_taken(&a) && !stale.is_taken(&b));
        stale.insert(&a, "eve");
        assert_eq!(stale.len(), 2);
    }
}
