//! What the store is to be told of, taken a slice at a time: whoever asks for a place meanwhile waits
//! for a slice, not for all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shared::Realm;

/// Users by realm; the empty one stands for the realm alone.
#[derive(Debug, Default)]
pub(super) struct Stale {
    realms: BTreeMap<Realm, BTreeSet<Box<str>>>,
    /// The realm that had its turn last.
    last: Option<Realm>,
}

impl Stale {
    pub(super) fn insert(&mut self, realm: &Realm, user: &str) {
        match self.realms.get_mut(realm) {
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
        self.realms.contains_key(realm)
    }

    pub(super) fn clear(&mut self) {
        self.realms.clear();
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
}
