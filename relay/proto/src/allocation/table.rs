//! All allocations of a worker and their indices, kept in step in one place.

use std::collections::HashMap;

use shared::SessionId;
use slab::Slab;

use super::Allocation;
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
    by_tuple: HashMap<FiveTuple, RelayId>,
    by_session: HashMap<SessionId, RelayId>,
}

impl AllocationTable {
    /// Takes a 5-tuple that is free.
    pub(crate) fn insert_opening(&mut self, opening: Opening) -> RelayId {
        let tuple = opening.exchange.tuple;
        let relay = RelayId(self.slots.insert(Slot::Opening(Box::new(opening))) as u32);
        self.by_tuple.insert(tuple, relay);
        relay
    }

    /// A name for the second relay of what is in slot `first`, which then has to know of it.
    pub(crate) fn insert_second(&mut self, first: RelayId) -> RelayId {
        RelayId(self.slots.insert(Slot::Second(first)) as u32)
    }

    /// Puts an allocation in the place of its opening.
    pub(crate) fn open(&mut self, relay: RelayId, allocation: Allocation) {
        self.by_session.insert(allocation.id, relay);
        self.slots[relay.0 as usize] = Slot::Open(Box::new(allocation));
    }

    /// Takes out what is in the slot of a first relay, with the slot of its second.
    pub(crate) fn remove(&mut self, relay: RelayId) -> Option<Slot> {
        let slot = self.slots.try_remove(relay.0 as usize)?;
        for tuple in slot.tuples() {
            self.by_tuple.remove(&tuple);
        }
        if let Slot::Open(allocation) = &slot {
            self.by_session.remove(&allocation.id);
        }
        if let Some(second) = slot.second() {
            self.remove_second(second);
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
        for tuple in slot.tuples() {
            self.by_tuple.insert(tuple, second);
        }
        if let Slot::Open(allocation) = &slot {
            self.by_session.insert(allocation.id, second);
        }
        self.slots[second.0 as usize] = slot;
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
        self.slots.get(self.by_tuple.get(tuple)?.0 as usize)
    }

    /// What a 5-tuple leads to.
    pub(crate) fn relay_of(&self, tuple: &FiveTuple) -> Option<RelayId> {
        self.by_tuple.get(tuple).copied()
    }

    /// Lets another 5-tuple, which is free, lead to an allocation that knows of it.
    pub(crate) fn link(&mut self, tuple: FiveTuple, relay: RelayId) {
        self.by_tuple.insert(tuple, relay);
    }

    /// Lets a 5-tuple lead nowhere, of which no allocation knows any more.
    pub(crate) fn unlink(&mut self, tuple: &FiveTuple) {
        self.by_tuple.remove(tuple);
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
        let relay = *self.by_tuple.get(tuple)?;
        self.get_mut(relay).map(|allocation| (relay, allocation))
    }

    pub(crate) fn by_session(&self, id: SessionId) -> Option<RelayId> {
        self.by_session.get(&id).copied()
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
        let mut tuples = 0;
        for (key, slot) in &self.slots {
            let relay = RelayId(key as u32);
            for tuple in slot.tuples() {
                tuples += 1;
                assert_eq!(self.by_tuple.get(&tuple), Some(&relay));
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
            assert_eq!(self.by_session.get(&allocation.id), Some(&relay));
        }
    }
}
