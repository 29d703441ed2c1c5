//! CreatePermission (RFC 8656 §10): all or nothing.

use std::net::{IpAddr, SocketAddr};

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{RefusalReason, Server};
use crate::allocation::Identity;
use crate::five_tuple::AddressFamily;
use crate::policy::AddressVerdict;
use crate::stun::{AttributeType, Message, address};
use crate::time::Now;

impl Server {
    pub(super) fn create_permission(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        let relay = self.own_allocation(exchange, identity)?;
        let Some(allocation) = self.table.get_mut(relay) else {
            return Err(RefusalReason::NoAllocation.into());
        };
        let named = |(kind, value)| {
            (kind == AttributeType::XOR_PEER_ADDRESS)
                .then(|| address::read_xor(value, exchange.transaction))
        };
        let peers: Option<Vec<_>> = message.attributes().filter_map(named).collect();
        let peers = peers.ok_or(RefusalReason::MalformedAttribute)?;
        if peers.is_empty() {
            return Err(RefusalReason::MissingAttribute.into());
        }
        let foreign = |peer: &&SocketAddr| allocation.half(AddressFamily::of(**peer)).is_none();
        if let Some(peer) = peers.iter().find(foreign) {
            return Err(about(RefusalReason::FamilyMismatch, peer.ip()));
        }
        let peers: Vec<IpAddr> = peers.iter().map(|peer| peer.ip()).collect();
        let realm = &allocation.identity.realm;
        let rules = &self.policy.peers;
        let denied = |ip: &&IpAddr| rules.judge_address(realm, **ip) == AddressVerdict::Denied;
        if let Some(peer) = peers.iter().find(denied) {
            return Err(about(RefusalReason::DeniedPeer, *peer));
        }
        allocation.permissions.purge(now.mono);
        let with = allocation.permissions.len_with(&peers);
        if with > self.policy.settings.permissions_per_session {
            return Err(about(RefusalReason::TooManyPermissions, peers[0]));
        }
        let new = with - allocation.permissions.len();
        if !allocation.admit_new_peers(&mut self.shares, new, now.mono) {
            return Err(about(RefusalReason::NewPeerRate, peers[0]));
        }
        let realm = &allocation.identity.realm;
        let expires = now.mono + self.policy.settings.permission_lifetime;
        for peer in peers {
            let new = allocation
                .permissions
                .install(peer, expires, &self.policy, realm);
            allocation.counters.new_peers += u64::from(new);
        }
        self.prepare_relays(relay);
        self.reschedule(relay);
        self.respond(exchange, exchange.success());
        self.describe(relay);
        Ok(())
    }
}

/// A refusal because of an address; a permission has no port.
fn about(reason: RefusalReason, peer: IpAddr) -> Rejection {
    Rejection::of_peer(reason, SocketAddr::new(peer, 0))
}
