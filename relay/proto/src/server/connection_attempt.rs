//! Peers that connect to a relayed transport address, and the ConnectionAttempt indication
//! (RFC 6062 §5.3).

use std::net::SocketAddr;

use super::peer_data::indication_id;
use super::{Output, Server};
use crate::allocation::Stage;
use crate::five_tuple::{LinkId, RelayId};
use crate::stun::{AttributeType, Class, MessageBuilder, Method};
use crate::time::Now;

impl Server {
    /// Takes a connection that a peer made to a relayed transport address and that the driver
    /// accepted; `None`: it is to be closed at once. `entropy` is unpredictable: the CONNECTION-ID
    /// is made of it.
    pub fn handle_peer_incoming(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        entropy: u32,
    ) -> Option<LinkId> {
        self.touch(now);
        let allocation = self.table.get_mut(relay).filter(|a| a.is_tcp())?;
        let peer = allocation.presented(&self.policy, peer);
        let Some(permission) = allocation.permissions.live(peer.ip(), now.mono) else {
            self.drop_packet(relay, |counters| &mut counters.drop_unknown_peer);
            return None;
        };
        let realm = &allocation.identity.realm;
        if !self.policy.peers.allows_stream(realm, peer) {
            self.drop_packet(relay, |counters| &mut counters.drop_denied_peer);
            return None;
        }
        permission.last_port = Some(peer.port());
        if !self.room_for_link(relay) {
            self.drop_packet(relay, |counters| &mut counters.drop_connections);
            return None;
        }
        let connection = self.new_connection_id(entropy);
        let deadline = now.mono + self.policy.settings.tcp_relay.bind_timeout;
        let link = self.add_link(relay, peer, true, Stage::Pending(connection), deadline);
        let allocation = self.table.get_mut(relay)?;
        allocation.indications = allocation.indications.wrapping_add(1);
        let id = indication_id(allocation.id, allocation.indications);
        let message = MessageBuilder::new(Class::Indication, Method::ConnectionAttempt, id)
            .number(AttributeType::CONNECTION_ID, connection.0)
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .finish();
        let tuple = allocation.tuple;
        self.outputs.push_back(Output::Transmit { tuple, message });
        self.describe(relay);
        Some(link)
    }
}
