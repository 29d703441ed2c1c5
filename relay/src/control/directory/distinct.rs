//! How many different names several nodes have, without sending all of them around.
//!
//! Each node tells the smallest hashes of its names. As long as it tells all of them the count over
//! the nodes is exact; beyond that the largest hash told says how densely they lie (the estimator of
//! k minimum values), which is right within a few percent.

use serde::{Deserialize, Serialize};

/// Hashes kept of one set at most: an error of about 3 percent beyond it.
const MOST: usize = 1024;
/// And at least, where many sets share a message.
const LEAST: usize = 64;
/// Hashes in one message.
const IN_A_MESSAGE: usize = 20_000;

/// A set of names, as far as its size goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Distinct {
    /// The smallest hashes, in order, each once.
    smallest: Vec<u64>,
    /// There are larger ones that are not kept.
    cut: bool,
}

impl Distinct {
    /// The set of these names, one of so many `sets` in a message.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>, sets: usize) -> Self {
        let most = (IN_A_MESSAGE / sets.max(1)).clamp(LEAST, MOST);
        let mut smallest: Vec<u64> = names.map(hash).collect();
        let cut = smallest.len() > most;
        if cut {
            smallest.select_nth_unstable(most);
            smallest.truncate(most);
        }
        smallest.sort_unstable();
        smallest.dedup();
        Self { smallest, cut }
    }

    /// The names of both.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Above the end of a set that was cut nothing is known.
        let end = |set: &Self| set.smallest.last().copied().filter(|_| set.cut);
        let known = [end(self), end(other)].into_iter().flatten().min();
        self.smallest.extend(&other.smallest);
        self.smallest.sort_unstable();
        self.smallest.dedup();
        if let Some(known) = known {
            self.smallest.retain(|hash| *hash <= known);
            self.cut = true;
        }
    }

    /// How many there are: exact unless the set was cut.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        let kept = self.smallest.len();
        let last = self.smallest.last().copied().unwrap_or(0);
        if !self.cut || last == 0 {
            return kept as u64;
        }
        let share = last as f64 / u64::MAX as f64;
        ((kept.saturating_sub(1)) as f64 / share).round() as u64
    }
}

/// The same on every node: FNV-1a, its bits spread by the end of SplitMix64.
fn hash(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(range: std::ops::Range<u32>, sets: usize) -> Distinct {
        let names: Vec<String> = range.map(|number| format!("user-{number}")).collect();
        Distinct::of(names.iter().map(String::as_str), sets)
    }

    #[test]
    fn users_of_several_nodes_are_counted_once() {
        let mut sum = set(0..6, 2);
        sum.merge(&set(3..8, 2));
        sum.merge(&Distinct::default());
        assert_eq!(sum.count(), 8);
    }

    #[test]
    fn large_sets_are_counted_within_some_percent() {
        for (sets, percent) in [(1, 8), (40, 12)] {
            let mut sum = set(0..60_000, sets);
            sum.merge(&set(40_000..100_000, sets));
            // One that is told whole says nothing of the rest of the others.
            sum.merge(&set(99_990..100_010, sets));
            let off = sum.count().abs_diff(100_010) * 100 / 100_010;
            assert!(off < percent, "{} is off by {off} percent", sum.count());
        }
    }
}
