//! Peer data connections (RFC 6062 §3): what a TCP allocation has instead of channels.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use slab::Slab;

use crate::expiry::ExpiryQueue;
use crate::five_tuple::{ConnectionId, FiveTuple, LinkId, RelayId};
use crate::server::{Exchange, LinkSnapshot, LinkState};

/// How far a peer data connection has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// A Connect waits for the peer.
    Connecting(Box<Exchange>),
    /// The client knows its CONNECTION-ID and has not bound it yet.
    Pending(ConnectionId),
    /// Joined with a client data connection.
    Bound(FiveTuple),
}

/// One connection between a relayed transport address and a peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) relay: RelayId,
    /// As the client knows it.
    pub(crate) peer: SocketAddr,
    pub(crate) incoming: bool,
    pub(crate) stage: Stage,
    /// The end of the wait; means nothing once it is bound.
    pub(crate) deadline: Instant,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
}

impl Link {
    fn is_waiting(&self) -> bool {
        !matches!(self.stage, Stage::Bound(_))
    }

    pub(crate) fn snapshot(&self) -> LinkSnapshot {
        let (state, client) = match self.stage {
            Stage::Connecting(_) => (LinkState::Connecting, None),
            Stage::Pending(_) => (LinkState::Pending, None),
            Stage::Bound(tuple) => (LinkState::Bound, Some(tuple.client)),
        };
        LinkSnapshot {
            peer: self.peer,
            incoming: self.incoming,
            state,
            client,
            in_bytes: self.in_bytes,
            out_bytes: self.out_bytes,
        }
    }
}

/// All peer data connections of a worker and their indices, kept in step in one place.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Slab<Link>,
    pending: HashMap<ConnectionId, LinkId>,
    waiting: usize,
    deadlines: ExpiryQueue<LinkId>,
}

impl Links {
    pub(crate) fn insert(&mut self, link: Link) -> LinkId {
        debug_assert!(link.is_waiting(), "a connection begins with a wait");
        let deadline = link.deadline;
        let entry = self.slots.vacant_entry();
        let id = LinkId(entry.key() as u32);
        if let Stage::Pending(connection) = link.stage {
            self.pending.insert(connection, id);
        }
        entry.insert(link);
        self.waiting += 1;
        self.deadlines.push(deadline, id);
        id
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.0 as usize)
    }

    /// The connection that waits for a ConnectionBind with that id.
    pub(crate) fn pending(&self, id: ConnectionId) -> Option<LinkId> {
        self.pending.get(&id).copied()
    }

    /// Connections that are not bound yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lets a connection wait for its ConnectionBind; answers the Connect that it came from.
    pub(crate) fn await_bind(
        &mut self,
        id: LinkId,
        connection: ConnectionId,
        deadline: Instant,
    ) -> Option<Box<Exchange>> {
        let link = self.slots.get_mut(id.0 as usize)?;
        link.deadline = deadline;
        let before = std::mem::replace(&mut link.stage, Stage::Pending(connection));
        self.pending.insert(connection, id);
        self.deadlines.push(deadline, id);
        match before {
            Stage::Connecting(exchange) => Some(exchange),
            Stage::Pending(_) | Stage::Bound(_) => None,
        }
    }

    /// Joins a pending connection with the client's.
    pub(crate) fn bind(&mut self, id: LinkId, tuple: FiveTuple) {
        let Some(link) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        if let Stage::Pending(connection) = link.stage {
            self.pending.remove(&connection);
            self.waiting -= 1;
            link.stage = Stage::Bound(tuple);
        }
        self.sweep();
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.slots.try_remove(id.0 as usize)?;
        self.waiting -= usize::from(link.is_waiting());
        if let Stage::Pending(connection) = link.stage {
            self.pending.remove(&connection);
        }
        self.sweep();
        Some(link)
    }

    /// When the nearest wait may end.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// One connection whose wait has ended.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<LinkId> {
        while let Some((when, id)) = self.deadlines.pop_due(now) {
            if self
                .get(id)
                .is_some_and(|l| l.is_waiting() && l.deadline == when)
            {
                return Some(id);
            }
        }
        None
    }

    fn sweep(&mut self) {
        let slots = &self.slots;
        self.deadlines.sweep(self.waiting, |when, id| {
            slots
                .get(id.0 as usize)
                .is_some_and(|link| link.is_waiting() && link.deadline == when)
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.slots
            .iter()
            .map(|(key, link)| (LinkId(key as u32), link))
    }

    /// Checks the indices against the slab.
    pub(crate) fn check(&self) {
        let waiting = self.slots.iter().filter(|(_, link)| link.is_waiting());
        assert_eq!(waiting.count(), self.waiting, "waits are counted");
        let pending = |link: &Link| matches!(link.stage, Stage::Pending(_));
        let listed = self.slots.iter().filter(|(_, link)| pending(link));
        assert_eq!(listed.count(), self.pending.len(), "each under its id");
        for (connection, id) in &self.pending {
            let stage = self.get(*id).map(|link| &link.stage);
            assert!(
                matches!(stage, Some(Stage::Pending(other)) if other == connection),
                "a pending id names a pending connection"
            );
        }
        assert!(self.deadlines.len() >= self.waiting, "every wait ends");
    }
}
