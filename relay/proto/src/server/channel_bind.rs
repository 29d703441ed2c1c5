//! ChannelBind (RFC 8656 §12.2).

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{RefusalReason, Server};
use crate::allocation::Identity;
use crate::channel_data::ChannelNumber;
use crate::five_tuple::AddressFamily;
use crate::stun::{AttributeType, Message};
use crate::time::Now;

impl Server {
    pub(super) fn channel_bind(
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
        // Channels carry datagrams, which a TCP allocation has none of.
        if allocation.is_tcp() {
            return Err(RefusalReason::NotForTcp.into());
        }
        let number = message.number(AttributeType::CHANNEL_NUMBER)?;
        let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS)?;
        let (Some(number), Some(peer)) = (number, peer) else {
            return Err(RefusalReason::MissingAttribute.into());
        };
        // The lower half is reserved and ignored.
        let old = self.policy.settings.rfc5766_channel_numbers;
        let number = ChannelNumber::new((number >> 16) as u16)
            .filter(|number| old || number.is_current())
            .ok_or(RefusalReason::InvalidChannel)?;
        if allocation.half(AddressFamily::of(peer)).is_none() {
            return Err(Rejection::of_peer(RefusalReason::FamilyMismatch, peer));
        }
        let settings = &self.policy.settings;
        allocation
            .channels
            .check(number, peer, settings.channels_per_session, now.mono)
            .map_err(|reason| Rejection::of_peer(reason, peer))?;
        let realm = &allocation.identity.realm;
        if !self.policy.peers.allows(realm, peer) {
            return Err(Rejection::of_peer(RefusalReason::DeniedPeer, peer));
        }
        allocation.permissions.purge(now.mono);
        let with = allocation.permissions.len_with(&[peer.ip()]);
        if with > settings.permissions_per_session {
            return Err(Rejection::of_peer(RefusalReason::TooManyPermissions, peer));
        }
        let new = with - allocation.permissions.len();
        if !allocation.admit_new_peers(&mut self.shares, new, now.mono) {
            return Err(Rejection::of_peer(RefusalReason::NewPeerRate, peer));
        }
        let realm = &allocation.identity.realm;
        let expires = now.mono + self.policy.settings.permission_lifetime;
        let new = allocation
            .permissions
            .install(peer.ip(), expires, &self.policy, realm);
        allocation.counters.new_peers += u64::from(new);
        allocation.channels.purge(now.mono);
        let settings = &self.policy.settings;
        let expires = now.mono + settings.channel_lifetime;
        let guard = settings.channel_rebind_guard;
        allocation.channels.bind(number, peer, expires, guard);
        self.prepare_relays(relay);
        self.reschedule(relay);
        self.respond(exchange, exchange.success());
        self.describe(relay);
        Ok(())
    }
}
