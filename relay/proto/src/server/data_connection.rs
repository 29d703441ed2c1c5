//! Data connections at work and their end (RFC 6062 §5.5).
//!
//! The driver moves the bytes of a joined pair by itself; the core admits them, keeps the books and
//! ends what must not go on.

use super::{Output, RefusalReason, Server};
use crate::allocation::Stage;
use crate::five_tuple::{LinkId, RelayId};
use crate::policy::Lane;
use crate::time::Now;

/// Which way the bytes of a joined pair go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the peer.
    ToPeer,
    /// From the peer to the client.
    ToClient,
}

impl Server {
    /// Admits bytes that the driver has read from one side of a joined pair, and counts them. When
    /// it says no, the limit of the session is used up: the driver keeps them, reads no more of
    /// that side, and asks again later (TCP's own flow control slows the sender down).
    pub fn handle_stream(
        &mut self,
        now: Now,
        link: LinkId,
        direction: Direction,
        len: usize,
    ) -> bool {
        self.touch(now);
        let Some(link) = self.links.get_mut(link) else {
            return false;
        };
        let relay = link.relay;
        let Some(allocation) = self.table.get_mut(relay) else {
            return false;
        };
        let lane = match direction {
            Direction::ToPeer => Lane::ToPeer,
            Direction::ToClient => Lane::ToClient,
        };
        let bytes = len as u64;
        let meter = &mut allocation.meter;
        let admitted = meter.admit(&mut self.shares, lane, bytes * 8, now.mono);
        if admitted.is_err() {
            return false;
        }
        let permission = allocation.permissions.live(link.peer.ip(), now.mono);
        let counters = &mut allocation.counters;
        match direction {
            Direction::ToPeer => {
                link.in_bytes += bytes;
                counters.in_bytes += bytes;
                counters.in_packets += 1;
            }
            Direction::ToClient => {
                link.out_bytes += bytes;
                counters.out_bytes += bytes;
                counters.out_packets += 1;
            }
        }
        if let Some(permission) = permission {
            permission.last_port = Some(link.peer.port());
            match direction {
                Direction::ToPeer => permission.in_bytes += bytes,
                Direction::ToClient => permission.out_bytes += bytes,
            }
        }
        self.relayed(relay, bytes);
        true
    }

    /// A connection to a peer is over: it could not be made, or it ended while it waited for its
    /// ConnectionBind, or both sides of a joined pair are closed. The driver forgets it.
    pub fn handle_peer_closed(&mut self, now: Now, link: LinkId) {
        self.touch(now);
        self.forget_link(now, link, RefusalReason::ConnectionFailed);
    }

    /// Ends the waits that took too long.
    pub(super) fn expire_links(&mut self, now: Now) {
        while let Some(link) = self.links.pop_due(now.mono) {
            self.outputs.push_back(Output::ClosePeer { link });
            self.forget_link(now, link, RefusalReason::ConnectionTimeout);
        }
    }

    /// Closes every connection of a session that ends.
    pub(super) fn close_links(&mut self, links: Vec<LinkId>) {
        for link in links {
            self.links.remove(link);
            self.outputs.push_back(Output::ClosePeer { link });
        }
    }

    /// Closes the connections that a new policy forbids.
    pub(super) fn judge_links(&mut self, now: Now) {
        let mut forbidden = Vec::new();
        for (id, link) in self.links.iter() {
            let Some(allocation) = self.table.get(link.relay) else {
                continue;
            };
            let realm = &allocation.identity.realm;
            if !self.policy.peers.allows_stream(realm, link.peer) {
                forbidden.push((id, link.relay));
            }
        }
        for (link, relay) in forbidden {
            self.drop_packet(relay, |counters| &mut counters.drop_denied_peer);
            self.outputs.push_back(Output::ClosePeer { link });
            self.forget_link(now, link, RefusalReason::DeniedPeer);
        }
    }

    fn forget_link(&mut self, now: Now, id: LinkId, reason: RefusalReason) {
        let Some(link) = self.links.remove(id) else {
            return;
        };
        if let Some(allocation) = self.table.get_mut(link.relay) {
            allocation.links.retain(|other| *other != id);
        }
        if let Stage::Connecting(exchange) = &link.stage {
            let rejection = super::rejection::Rejection::of_peer(reason, link.peer);
            self.refuse(now, exchange, rejection);
        }
        self.tell_links(now, link.relay);
    }

    fn tell_links(&mut self, now: Now, relay: RelayId) {
        self.want_report(now);
        self.describe(relay);
    }
}
