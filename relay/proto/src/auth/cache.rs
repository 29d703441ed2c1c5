//! What was looked up already, per worker and bounded.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long an unknown name is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// What the cache knows about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached<V> {
    /// What belongs to it.
    Known(V),
    /// Nobody, as of a moment ago.
    Unknown,
    /// Nothing: ask.
    Nothing,
}

#[derive(Debug)]
struct Entry<V> {
    /// `None`: unknown until the instant.
    value: Option<V>,
    until: Option<Instant>,
    stamp: u64,
}

/// Known names until they are forgotten, unknown ones for a second; the oldest go first.
#[derive(Debug)]
pub struct LookupCache<K, V> {
    entries: HashMap<K, Entry<V>>,
    order: VecDeque<(u64, K)>,
    stamp: u64,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> LookupCache<K, V> {
    /// An empty cache for at least one name.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            stamp: 0,
            capacity,
        }
    }

    /// What is known about a name.
    #[must_use]
    pub fn get(&self, name: &K, now: Instant) -> Cached<V> {
        match self.entries.get(name) {
            Some(Entry {
                value: Some(value), ..
            }) => Cached::Known(value.clone()),
            Some(Entry {
                until: Some(until), ..
            }) if now < *until => Cached::Unknown,
            _ => Cached::Nothing,
        }
    }

    /// Remembers what belongs to a name, or that nothing does.
    pub fn put(&mut self, name: K, value: Option<V>, now: Instant) {
        let until = value.is_none().then(|| now + UNKNOWN_FOR);
        self.stamp += 1;
        self.order.push_back((self.stamp, name.clone()));
        self.entries.insert(
            name,
            Entry {
                value,
                until,
                stamp: self.stamp,
            },
        );
        while self.entries.len() > self.capacity {
            let Some((stamp, oldest)) = self.order.pop_front() else {
                break;
            };
            if self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.stamp == stamp)
            {
                self.entries.remove(&oldest);
            }
        }
        if self.order.len() > 2 * self.capacity {
            let entries = &self.entries;
            let live = |(stamp, name): &(u64, K)| {
                entries.get(name).is_some_and(|entry| entry.stamp == *stamp)
            };
            self.order.retain(live);
        }
    }

    /// Forgets the names that `hit` picks.
    pub fn forget(&mut self, hit: impl Fn(&K) -> bool) {
        self.entries.retain(|name, _| !hit(name));
        self.order.retain(|(_, name)| !hit(name));
    }

    /// Names held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
