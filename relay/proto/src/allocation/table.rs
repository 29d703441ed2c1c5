//! All allocations of a worker and their indices, kept in step in one place.

use std::hash::BuildHasher;

use shared::SessionId;
use slab::Slab;

use super::Allocation;
use super::index::Index;
use crate::five_tuple::{FiveTuple, RelayId};
use crate::server::Opening;

/// An allocation, or one whose relay sockets are being bound, or the other half of one.
#[derive(Debug)]
pub(crate) enum Slot {
    Opening(Box<Opening>),
    Open(Box<Allocation>),
    /// The second relay socket of the allocation in that slot.
    Second(RelayId),
}

impl Slot {
    /// The 5-tuples that lead here: of a client that moves two, of a second half none.
    fn tuples(&self) -> impl Iterator<Item = FiveTuple> + use<> {
        let tuples = match self {
            Self::Opening(opening) => [Some(opening.exchange.tuple), None],
            Self::Open(allocation) => [Some(allocation.tuple), allocation.pending()],
            Self::Second(_) => [None, None],
        };
        tuples.into_iter().flatten()
    }

    fn is_led_to_by(&self, tuple: &FiveTuple) -> bool {
        match self {
            Self::Opening(opening) => opening.exchange.tuple == *tuple,
            Self::Open(allocation) => allocation.tuple == *tuple || allocation.pending_is(tuple),
            Self::Second(_) => false,
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Open(allocation) => Some(allocation.id),
            Self::Opening(_) | Self::Second(_) => None,
        }
    }

    fn second(&self) -> Option<RelayId> {
        match self {
            Self::Opening(opening) => opening.second(),
            Self::Open(allocation) => Some(allocation.second.as_ref()?.relay),
            Self::Second(_) => None,
        }
    }
}

/// A slab whose keys are the relay ids, with indices by 5-tuple and session. A dual allocation lies
/// in the slot of its first relay; the slot of the second one leads there.
#[derive(Debug, Default)]
pub(crate) struct AllocationTable {
    slots: Slab<Slot>,
    by_tuple: Index,
    by_session: Index,
    hasher: foldhash::fast::RandomState,
}

impl AllocationTable {
    /// Takes a 5-tuple that is free.
    pub(crate) fn insert_opening(&mut self, opening: Opening) -> RelayId {
        let tuple = opening.exchange.tuple;
        let relay = RelayId(self.slots.insert(Slot::Opening(Box::new(opening))) as u32);
        self.link(tuple, relay);
        relay
    }

    /// Takes an allocation in that had no opening, of a 5-tuple that is free and with one relay, which
    /// gets its name here.
    pub(crate) fn insert(&mut self, mut allocation: Allocation) -> RelayId {
        let entry = self.slots.vacant_entry();
        let relay = RelayId(entry.key() as u32);
        allocation.first.relay = relay;
        let (tuple, id) = (allocation.tuple, allocation.id);
        entry.insert(Slot::Open(Box::new(allocation)));
        self.by_session.insert(hash_of(id), relay);
        self.link(tuple, relay);
        relay
    }

    /// A name for the second relay of what is in slot `first`, which then has to know of it.
    pub(crate) fn insert_second(&mut self, first: RelayId) -> RelayId {
        RelayId(self.slots.insert(Slot::Second(first)) as u32)
    }

    /// Puts an allocation in the place of its opening.
    pub(crate) fn open(&mut self, relay: RelayId, allocation: Allocation) {
        self.by_session.insert(hash_of(allocation.id), relay);
        self.slots[relay.0 as usize] = Slot::Open(Box::new(allocation));
    }

    /// Takes out what is in the slot of a first relay, with the slot of its second.
    pub(crate) fn remove(&mut self, relay: RelayId) -> Option<Slot> {
        let slot = self.slots.try_remove(relay.0 as usize)?;
        self.forget(&slot, relay);
        if let Some(second) = slot.second() {
            self.remove_second(second);
        }
        if self.slots.is_empty() {
            self.slots.shrink_to_fit();
        }
        Some(slot)
    }

    /// Frees the slot of a second relay, of which its first must know nothing any more.
    pub(crate) fn remove_second(&mut self, second: RelayId) {
        if let Some(Slot::Second(_)) = self.slots.get(second.0 as usize) {
            self.slots.remove(second.0 as usize);
        }
    }

    /// Moves what is in the slot of a first relay into that of its second one, and frees the first.
    pub(crate) fn promote(&mut self, first: RelayId, second: RelayId) {
        let Some(slot) = self.slots.try_remove(first.0 as usize) else {
            return;
        };
        self.forget(&slot, first);
        for tuple in slot.tuples() {
            self.link(tuple, second);
        }
        if let Some(session) = slot.session() {
            self.by_session.insert(hash_of(session), second);
        }
        self.slots[second.0 as usize] = slot;
    }

    /// Takes what led to a slot out of the indices.
    fn forget(&mut self, slot: &Slot, relay: RelayId) {
        for tuple in slot.tuples() {
            self.by_tuple.remove(self.hasher.hash_one(tuple), relay);
        }
        if let Some(session) = slot.session() {
            self.by_session.remove(hash_of(session), relay);
        }
    }

    /// Takes an opening out; an open allocation stays.
    pub(crate) fn remove_opening(&mut self, relay: RelayId) -> Option<Box<Opening>> {
        let Some(Slot::Opening(_)) = self.slots.get(relay.0 as usize) else {
            return None;
        };
        match self.remove(relay) {
            Some(Slot::Opening(opening)) => Some(opening),
            _ => None,
        }
    }

    /// The opening of either relay, and the first one.
    pub(crate) fn opening_mut(&mut self, relay: RelayId) -> Option<(RelayId, &mut Opening)> {
        let first = self.first(relay)?;
        match self.slots.get_mut(first.0 as usize) {
            Some(Slot::Opening(opening)) => Some((first, opening)),
            _ => None,
        }
    }

    pub(crate) fn slot(&self, tuple: &FiveTuple) -> Option<&Slot> {
        self.slots.get(self.relay_of(tuple)?.0 as usize)
    }

    /// What a 5-tuple leads to.
    pub(crate) fn relay_of(&self, tuple: &FiveTuple) -> Option<RelayId> {
        let leads_here = |relay: RelayId| {
            let slot = self.slots.get(relay.0 as usize);
            slot.is_some_and(|slot| slot.is_led_to_by(tuple))
        };
        self.by_tuple.find(self.hasher.hash_one(tuple), leads_here)
    }

    /// Lets another 5-tuple, which is free, lead to an allocation that knows of it.
    pub(crate) fn link(&mut self, tuple: FiveTuple, relay: RelayId) {
        self.by_tuple.insert(self.hasher.hash_one(tuple), relay);
    }

    /// Lets a 5-tuple lead nowhere, of which its allocation knows no more.
    pub(crate) fn unlink(&mut self, tuple: &FiveTuple, relay: RelayId) {
        self.by_tuple.remove(self.hasher.hash_one(tuple), relay);
    }

    /// The relay under which an allocation is filed, given either of its two.
    fn first(&self, relay: RelayId) -> Option<RelayId> {
        match self.slots.get(relay.0 as usize)? {
            Slot::Second(first) => Some(*first),
            Slot::Opening(_) | Slot::Open(_) => Some(relay),
        }
    }

    /// The allocation of either relay.
    pub(crate) fn get(&self, relay: RelayId) -> Option<&Allocation> {
        match self.slots.get(self.first(relay)?.0 as usize) {
            Some(Slot::Open(allocation)) => Some(allocation),
            _ => None,
        }
    }

    /// The allocation of either relay.
    pub(crate) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        let first = self.first(relay)?;
        match self.slots.get_mut(first.0 as usize) {
            Some(Slot::Open(allocation)) => Some(allocation),
            _ => None,
        }
    }

    /// The open allocation of a 5-tuple.
    pub(crate) fn by_tuple(&mut self, tuple: &FiveTuple) -> Option<(RelayId, &mut Allocation)> {
        let relay = self.relay_of(tuple)?;
        self.get_mut(relay).map(|allocation| (relay, allocation))
    }

    pub(crate) fn by_session(&self, id: SessionId) -> Option<RelayId> {
        let is_it = |relay: RelayId| {
            let slot = self.slots.get(relay.0 as usize);
            slot.and_then(Slot::session) == Some(id)
        };
        self.by_session.find(hash_of(id), is_it)
    }

    /// Open allocations.
    pub(crate) fn len(&self) -> usize {
        self.by_session.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RelayId, &Allocation)> {
        self.slots.iter().filter_map(|(key, slot)| match slot {
            Slot::Open(allocation) => Some((RelayId(key as u32), &**allocation)),
            Slot::Opening(_) | Slot::Second(_) => None,
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Allocation> {
        self.slots.iter_mut().filter_map(|(_, slot)| match slot {
            Slot::Open(allocation) => Some(&mut **allocation),
            Slot::Opening(_) | Slot::Second(_) => None,
        })
    }

    /// Checks the indices against the slab.
    pub(crate) fn check(&self) {
        self.by_tuple.check();
        self.by_session.check();
        let mut tuples = 0;
        for (key, slot) in &self.slots {
            let relay = RelayId(key as u32);
            for tuple in slot.tuples() {
                tuples += 1;
                assert_eq!(self.relay_of(&tuple), Some(relay));
            }
            if let Slot::Second(first) = slot {
                let of_first = self.slots.get(first.0 as usize).and_then(Slot::second);
                assert_eq!(of_first, Some(relay), "a second half has its first");
            }
            if let Some(second) = slot.second() {
                let there = self.slots.get(second.0 as usize);
                assert!(matches!(there, Some(Slot::Second(first)) if *first == relay));
            }
        }
        assert_eq!(tuples, self.by_tuple.len(), "no 5-tuple leads nowhere");
        assert_eq!(
            self.by_session.len(),
            self.iter().count(),
            "one session per allocation"
        );
        for (relay, allocation) in self.iter() {
            assert_eq!(self.by_session(allocation.id), Some(relay));
        }
    }
}

/// Of a number that a server counts up itself.
fn hash_of(session: SessionId) -> u64 {
    session.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}
