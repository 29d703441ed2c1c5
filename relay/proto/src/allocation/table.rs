//! All allocations of a worker and their indices, kept in step in one place.

use std::collections::HashMap;

use shared::SessionId;
use slab::Slab;

use super::Allocation;
use crate::five_tuple::{FiveTuple, RelayId};
use crate::server::Opening;

/// An allocation, or one whose relay socket is being bound.
#[derive(Debug)]
pub(crate) enum Slot {
    Opening(Box<Opening>),
    Open(Box<Allocation>),
}

impl Slot {
    fn tuple(&self) -> FiveTuple {
        match self {
            Self::Opening(opening) => opening.exchange.tuple,
            Self::Open(allocation) => allocation.tuple,
        }
    }
}

/// A slab whose keys are the relay ids, with indices by 5-tuple and session.
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

    /// Puts an allocation in the place of its opening.
    pub(crate) fn open(&mut self, relay: RelayId, allocation: Allocation) {
        self.by_session.insert(allocation.id, relay);
        self.slots[relay.0 as usize] = Slot::Open(Box::new(allocation));
    }

    pub(crate) fn remove(&mut self, relay: RelayId) -> Option<Slot> {
        let slot = self.slots.try_remove(relay.0 as usize)?;
        self.by_tuple.remove(&slot.tuple());
        if let Slot::Open(allocation) = &slot {
            self.by_session.remove(&allocation.id);
        }
        Some(slot)
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

    /// The opening itself, to be replaced by [`Self::open`].
    pub(crate) fn opening(&self, relay: RelayId) -> Option<&Opening> {
        match self.slots.get(relay.0 as usize) {
            Some(Slot::Opening(opening)) => Some(opening),
            _ => None,
        }
    }

    pub(crate) fn slot(&self, tuple: &FiveTuple) -> Option<&Slot> {
        self.slots.get(self.by_tuple.get(tuple)?.0 as usize)
    }

    pub(crate) fn get(&self, relay: RelayId) -> Option<&Allocation> {
        match self.slots.get(relay.0 as usize) {
            Some(Slot::Open(allocation)) => Some(allocation),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        match self.slots.get_mut(relay.0 as usize) {
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
            Slot::Opening(_) => None,
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Allocation> {
        self.slots.iter_mut().filter_map(|(_, slot)| match slot {
            Slot::Open(allocation) => Some(&mut **allocation),
            Slot::Opening(_) => None,
        })
    }

    /// Checks the indices against the slab.
    pub(crate) fn check(&self) {
        assert_eq!(
            self.slots.len(),
            self.by_tuple.len(),
            "one 5-tuple per slot"
        );
        for (key, slot) in &self.slots {
            assert_eq!(self.by_tuple.get(&slot.tuple()), Some(&RelayId(key as u32)));
        }
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
