//! Deadlines of many things, the nearest in O(1).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Stale entries that are tolerated before a sweep, besides as many as there are live ones.
const SLACK: usize = 1024;

/// A heap of deadlines. Entries are never removed early: their owner tells a stale one by its key.
#[derive(Debug)]
pub struct ExpiryQueue<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for ExpiryQueue<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }
}

impl<K: Ord> ExpiryQueue<K> {
    /// Adds a deadline.
    pub fn push(&mut self, when: Instant, key: K) {
        self.heap.push(Reverse((when, key)));
    }

    /// The nearest deadline, perhaps a stale one.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _))| *when)
    }

    /// Takes out one entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Throws stale entries out where there are more of them than of the `live` ones.
    pub fn sweep(&mut self, live: usize, is_live: impl Fn(Instant, &K) -> bool) {
        if self.heap.len() > 2 * live + SLACK {
            self.heap.retain(|Reverse((when, key))| is_live(*when, key));
        }
    }

    /// Entries, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
