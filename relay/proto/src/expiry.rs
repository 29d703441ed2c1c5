//! Deadlines of many things, the nearest in O(1).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Stale entries that are tolerated before a sweep, besides as many as there are live ones.
const SLACK: usize = 1024;

/// A heap of deadlines. Entries are never removed early: their owner tells a stale one by its key.
#[derive(Debug)]
pub struct ExpiryQueue<K: Ord> {
    /// The first deadline that was added. Others are kept as nanoseconds after it, in half the
    /// memory of an [`Instant`].
    origin: Option<Instant>,
    heap: BinaryHeap<Reverse<(i64, K)>>,
}

impl<K: Ord> Default for ExpiryQueue<K> {
    fn default() -> Self {
        Self {
            origin: None,
            heap: BinaryHeap::new(),
        }
    }
}

impl<K: Ord> ExpiryQueue<K> {
    /// Adds a deadline.
    pub fn push(&mut self, when: Instant, key: K) {
        let origin = *self.origin.get_or_insert(when);
        self.heap.push(Reverse((ticks(origin, when), key)));
    }

    /// The nearest deadline, perhaps a stale one.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let Reverse((when, _)) = self.heap.peek()?;
        Some(instant(self.origin?, *when))
    }

    /// Takes out one entry that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((when, key)) = self.heap.pop()?;
        Some((instant(self.origin?, when), key))
    }

    /// Throws stale entries out where there are more of them than of the `live` ones, and gives
    /// their memory back.
    pub fn sweep(&mut self, live: usize, is_live: impl Fn(Instant, &K) -> bool) {
        let Some(origin) = self.origin else { return };
        if self.heap.len() > 2 * live + SLACK {
            self.heap
                .retain(|Reverse((when, key))| is_live(instant(origin, *when), key));
            self.heap.shrink_to(2 * self.heap.len() + SLACK);
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

/// Nanoseconds from one moment to another, which may be before it: 292 years either way.
fn ticks(origin: Instant, when: Instant) -> i64 {
    let count = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match when.checked_duration_since(origin) {
        Some(after) => count(after),
        None => -count(origin.saturating_duration_since(when)),
    }
}

fn instant(origin: Instant, ticks: i64) -> Instant {
    let span = Duration::from_nanos(ticks.unsigned_abs());
    if ticks < 0 {
        origin.checked_sub(span).unwrap_or(origin)
    } else {
        origin + span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn deadlines_come_back_to_the_nanosecond_whichever_was_first() {
        let middle = Instant::now() + Duration::from_secs(100);
        let offsets = [7_i64, -3, 0, 1_000_000_007, -99_999_999_999, 1];
        let at = |offset: i64| instant(middle, offset);
        let mut queue = ExpiryQueue::default();
        for offset in offsets {
            queue.push(at(offset), offset);
        }
        let mut sorted = offsets;
        sorted.sort_unstable();
        for offset in sorted {
            assert_eq!(queue.next(), Some(at(offset)));
            assert_eq!(queue.pop_due(at(offset - 1)), None);
            assert_eq!(queue.pop_due(at(offset)), Some((at(offset), offset)));
        }
        assert!(queue.is_empty());
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn stale_entries_and_their_memory_go_when_they_are_the_most() {
        let now = Instant::now();
        let mut queue = ExpiryQueue::default();
        for key in 0..100_000 {
            queue.push(now, key);
        }
        queue.sweep(50_000, |_, _| false);
        assert_eq!(queue.len(), 100_000, "not yet the most");
        queue.sweep(10, |_, key| *key < 10);
        assert_eq!(queue.len(), 10);
        assert!(queue.heap.capacity() <= 2 * 10 + SLACK);
    }
}
