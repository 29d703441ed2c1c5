//! An index into the slab of allocations that holds no keys: they lie in the allocations already.

use hashbrown::HashTable;

use crate::five_tuple::RelayId;

/// Places kept however few are in use.
const LEAST_PLACES: usize = 64;

/// Names by the hash of a key that whoever asks compares with what the name leads to: 8 bytes per
/// entry, where a map of 5-tuples takes 80.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashTable<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Half of the hash: enough to tell entries apart, and all that moving them needs.
    hash: u32,
    relay: RelayId,
}

impl Entry {
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

/// The table looks at both ends of 64 bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Index {
    /// The name with this hash that `is_it` says is the one.
    pub(crate) fn find(
        &self,
        hash: u64,
        mut is_it: impl FnMut(RelayId) -> bool,
    ) -> Option<RelayId> {
        let hash = hash as u32;
        let hit = |entry: &Entry| entry.hash == hash && is_it(entry.relay);
        self.entries
            .find(spread(hash), hit)
            .map(|entry| entry.relay)
    }

    /// Files a name, which is not filed under this hash yet.
    pub(crate) fn insert(&mut self, hash: u64, relay: RelayId) {
        let entry = Entry {
            hash: hash as u32,
            relay,
        };
        self.entries
            .insert_unique(entry.spread(), entry, Entry::spread);
    }

    /// Forgets that a name is filed under this hash, and gives memory back when little is used.
    pub(crate) fn remove(&mut self, hash: u64, relay: RelayId) {
        let hash = hash as u32;
        let hit = |entry: &Entry| entry.hash == hash && entry.relay == relay;
        if let Ok(entry) = self.entries.find_entry(spread(hash), hit) {
            entry.remove();
        }
        let used = self.entries.len().max(LEAST_PLACES);
        if self.entries.capacity() > 8 * used {
            self.entries.shrink_to(2 * used, Entry::spread);
        }
    }

    /// How many names are filed.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Checks that memory comes back as entries go.
    pub(crate) fn check(&self) {
        let used = self.entries.len().max(LEAST_PLACES);
        assert!(
            self.entries.capacity() <= 16 * used,
            "memory that nobody uses"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_equal_hashes_are_told_apart_by_what_they_lead_to() {
        let mut index = Index::default();
        for relay in 0..3 {
            index.insert(7, RelayId(relay));
        }
        // The other half of the hash does not count.
        let found = index.find(7 | 5 << 32, |relay| relay.0 == 1);
        assert_eq!(found, Some(RelayId(1)));
        index.remove(7, RelayId(1));
        assert_eq!(index.find(7, |relay| relay.0 == 1), None);
        assert_eq!(index.find(7, |relay| relay.0 == 2), Some(RelayId(2)));
        assert_eq!(index.find(8, |_| true), None);
    }

    #[test]
    fn memory_comes_back_with_the_entries() {
        let mut index = Index::default();
        for relay in 0..100_000 {
            index.insert(u64::from(relay) << 3, RelayId(relay));
        }
        index.check();
        for relay in 0..100_000 {
            index.remove(u64::from(relay) << 3, RelayId(relay));
            if relay % 1000 == 0 {
                index.check();
            }
        }
        index.check();
        assert_eq!(index.len(), 0);
    }
}
