//! The table of sessions: found by id, and walked in memory order.
//!
//! Entries lie in chunks of a fixed size without gaps, so that a walk reads memory in order, growth
//! never moves what is there, and memory is given back as sessions end.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use shared::SessionId;

use super::entry::Entry;

/// Entries in a chunk.
const CHUNK: usize = 1024;

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Slots {
    places: HashMap<SessionId, u32, IdHash>,
    /// All but the last are full.
    chunks: Vec<Vec<Entry>>,
}

impl Slots {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// All ids, in no order: from the index, a small part of the memory that the entries take.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.places.keys().copied()
    }

    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Entry> {
        let place = *self.places.get(&id)? as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Entry> {
        let place = *self.places.get(&id)? as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    /// All entries, in memory order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten()
    }

    /// The entries at these places, in memory order.
    pub(super) fn places(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = &Entry> {
        range.filter_map(|place| self.chunks.get(place / CHUNK)?.get(place % CHUNK))
    }

    /// Adds one whose id is not there yet.
    pub(super) fn insert(&mut self, entry: Entry) {
        let place = self.len();
        self.places.insert(entry.id, place as u32);
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(entry),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
    }

    /// Takes one out; the last one takes its place.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Entry> {
        let place = self.places.remove(&id)? as usize;
        if self.places.capacity() > 8 * self.places.len().max(CHUNK) {
            self.places.shrink_to(2 * self.places.len());
        }
        let chunk = self.chunks.last_mut()?;
        let last = chunk.pop()?;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        if last.id == id {
            return Some(last);
        }
        self.places.insert(last.id, place as u32);
        let slot = self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?;
        Some(std::mem::replace(slot, last))
    }
}

/// Hashes session ids, which this node made itself: nobody can aim at a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct IdHash;

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(0)
    }
}

#[derive(Debug)]
pub(in crate::control) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        // A product is well mixed in its high half; the table looks at both ends.
        let product = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::{Homes, Kept};
    use super::*;
    use crate::control::testing::snapshot;

    /// A node may have a million of each.
    #[test]
    fn a_session_takes_little_memory_in_the_books() {
        let (entry, kept) = (size_of::<Entry>(), size_of::<Kept>());
        assert!(entry <= 152 && kept <= 168, "{entry} and {kept} bytes");
    }

    #[test]
    fn memory_comes_back_as_sessions_end() {
        let (mut slots, mut homes) = (Slots::default(), Homes::default());
        let ids = || (0..20_000).map(SessionId);
        for id in ids() {
            slots.insert(Entry::new(snapshot(id, "alice", "acme"), &mut homes));
        }
        assert!(slots.places.capacity() >= 20_000);
        for id in ids().filter(|id| id.0 % 100 != 0) {
            assert_eq!(slots.remove(id).map(|entry| entry.id), Some(id));
        }
        assert_eq!((slots.len(), slots.chunks.len()), (200, 1));
        assert!(slots.places.capacity() <= 8 * CHUNK);
        for id in ids() {
            slots.remove(id);
        }
        assert_eq!((slots.len(), slots.chunks.len()), (0, 0));
    }
}
