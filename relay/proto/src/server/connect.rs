//! Connect (RFC 6062 §5.2).

use std::net::SocketAddr;

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{Output, RefusalReason, Server};
use crate::allocation::{Identity, Link, Stage};
use crate::five_tuple::{AddressFamily, ConnectionId, LinkId, RelayId};
use crate::stun::{AttributeType, Message};
use crate::time::Now;

impl Server {
    pub(super) fn connect(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        let relay = self.own_allocation(exchange, identity)?;
        let allocation = self.table.get(relay);
        let allocation = allocation.filter(|a| a.is_tcp());
        let allocation = allocation.ok_or(RefusalReason::NoTcpAllocation)?;
        let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS)?;
        let peer = peer.ok_or(RefusalReason::MissingAttribute)?;
        let named = |id: &LinkId| self.links.get(*id).is_some_and(|link| link.peer == peer);
        if allocation.links.iter().any(named) {
            return Err(Rejection::of_peer(RefusalReason::ConnectionExists, peer));
        }
        if allocation.half(AddressFamily::of(peer)).is_none() {
            return Err(Rejection::of_peer(RefusalReason::FamilyMismatch, peer));
        }
        if let Some(reason) = self.barred(now, exchange, identity) {
            return Err(Rejection::of_peer(reason, peer));
        }
        let rules = &self.policy.peers;
        if !rules.allows_stream(&allocation.identity.realm, peer) {
            return Err(Rejection::of_peer(RefusalReason::DeniedPeer, peer));
        }
        if !self.room_for_link(relay) {
            return Err(Rejection::of_peer(RefusalReason::TooManyConnections, peer));
        }
        // A scan by TCP is a scan.
        let shares = &mut self.shares;
        let allocation = self.table.get_mut(relay);
        if allocation.is_some_and(|a| !a.admit_new_peers(shares, 1, now.mono)) {
            return Err(Rejection::of_peer(RefusalReason::NewPeerRate, peer));
        }
        let target = rules.to_local(peer);
        let deadline = now.mono + self.policy.settings.tcp_relay.connect_timeout;
        let stage = Stage::Connecting(Box::new(exchange.clone()));
        let link = self.add_link(relay, peer, false, stage, deadline);
        self.outputs.push_back(Output::ConnectPeer {
            relay,
            link,
            peer: target,
        });
        Ok(())
    }

    /// Takes the success of [`Output::ConnectPeer`]. `entropy` is unpredictable: the CONNECTION-ID
    /// is made of it.
    pub fn handle_peer_connected(&mut self, now: Now, link: LinkId, entropy: u32) {
        self.touch(now);
        let connecting = |l: &&Link| matches!(l.stage, Stage::Connecting(_));
        let Some(relay) = self.links.get(link).filter(connecting).map(|l| l.relay) else {
            return;
        };
        let connection = self.new_connection_id(entropy);
        let deadline = now.mono + self.policy.settings.tcp_relay.bind_timeout;
        if let Some(exchange) = self.links.await_bind(link, connection, deadline) {
            let answer = exchange
                .success()
                .number(AttributeType::CONNECTION_ID, connection.0);
            self.respond(&exchange, answer);
        }
        self.describe(relay);
    }

    /// Whether a session, and the worker, may have one more connection.
    pub(super) fn room_for_link(&self, relay: RelayId) -> bool {
        let limits = &self.config.limits;
        let of_session = self.table.get(relay).map_or(0, |a| a.links.len());
        of_session < limits.connections_per_session
            && self.links.waiting() < limits.waiting_connections
    }

    pub(super) fn add_link(
        &mut self,
        relay: RelayId,
        peer: SocketAddr,
        incoming: bool,
        stage: Stage,
        deadline: std::time::Instant,
    ) -> LinkId {
        let link = self.links.insert(Link {
            relay,
            peer,
            incoming,
            stage,
            deadline,
            in_bytes: 0,
            out_bytes: 0,
        });
        if let Some(allocation) = self.table.get_mut(relay) {
            allocation.links.push(link);
            allocation.counters.new_peers += u64::from(!incoming);
        }
        self.mark_changed(relay);
        link
    }

    /// An id that no pending connection of this worker has and that names this worker.
    pub(super) fn new_connection_id(&self, entropy: u32) -> ConnectionId {
        let step = self.config.session_step.max(1);
        let own = self.config.session_first % step;
        let mut id = (entropy - entropy % step).checked_add(own).unwrap_or(own);
        // Bounded by the connections that wait at the same time.
        while self.links.pending(ConnectionId(id)).is_some() {
            id = id.checked_add(step).unwrap_or(own);
        }
        ConnectionId(id)
    }
}
