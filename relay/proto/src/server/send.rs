//! From the client to peers: ChannelData and Send indications (RFC 8656 §11.2, §12.6).

use std::net::SocketAddr;
use std::sync::Arc;

use super::refusals::Occurrence;
use super::rejection::Rejection;
use super::{Flaw, Forward, RefusalReason, Server};
use crate::allocation::Identity;
use crate::channel_data::ChannelData;
use crate::five_tuple::{AddressFamily, FiveTuple, RelayId};
use crate::policy::Lane;
use crate::stun::{AttributeType, Message};
use crate::time::Now;

impl Server {
    pub(super) fn channel_data<'b>(
        &mut self,
        now: Now,
        tuple: &FiveTuple,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        let Some(data) = ChannelData::parse(bytes) else {
            self.counters.malformed.count(Flaw::ChannelData);
            return None;
        };
        let Some((relay, allocation)) = self.table.by_tuple(tuple) else {
            self.counters.dropped_packets += 1;
            return None;
        };
        let peer = allocation.channels.peer(data.number, now.mono);
        if allocation.mobility.is_some() {
            self.note_path(relay, tuple);
        }
        let Some(peer) = peer else {
            self.drop_packet(relay, |counters| &mut counters.drop_no_permission);
            return None;
        };
        self.relay_to_peer(now, relay, peer, data.payload, false)
    }

    pub(super) fn send_indication<'b>(
        &mut self,
        now: Now,
        tuple: &FiveTuple,
        message: &Message<'b>,
    ) -> Option<Forward<'b>> {
        let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
        let payload = message.attribute(AttributeType::DATA);
        let (Ok(Some(peer)), Some(payload), Ok(())) =
            (peer, payload, Rejection::unknown_attributes(message))
        else {
            self.counters.malformed.count(Flaw::SendIndication);
            return None;
        };
        let dont_fragment = message.attribute(AttributeType::DONT_FRAGMENT).is_some();
        let Some((relay, allocation)) = self.table.by_tuple(tuple) else {
            self.counters.dropped_packets += 1;
            return None;
        };
        if allocation.mobility.is_some() {
            self.note_path(relay, tuple);
        }
        self.relay_to_peer(now, relay, peer, payload, dont_fragment)
    }

    fn relay_to_peer<'b>(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        payload: &'b [u8],
        dont_fragment: bool,
    ) -> Option<Forward<'b>> {
        let allocation = self.table.get_mut(relay)?;
        // A TCP allocation has no socket that a datagram could leave by.
        let permission = match allocation.is_tcp() {
            true => None,
            false => allocation.permissions.live(peer.ip(), now.mono),
        };
        let Some(permission) = permission else {
            self.drop_packet(relay, |counters| &mut counters.drop_no_permission);
            return None;
        };
        if !permission.allows(peer.port(), &self.policy, &allocation.identity.realm) {
            self.deny_send(now, relay, peer);
            return None;
        }
        let bytes = payload.len() as u64;
        let meter = &mut allocation.meter;
        let admitted = meter.admit(&mut self.shares, Lane::ToPeer, bytes * 8, now.mono);
        if let Err(scope) = admitted {
            self.drop_over_rate(relay, scope);
            return None;
        }
        permission.last_port = Some(peer.port());
        permission.in_bytes += bytes;
        let target = permission.target(peer.port());
        // A permission of this family exists, so a relayed address does; where the client's packets
        // leave from depends on the peer.
        let relay = match allocation.half(AddressFamily::of(peer)) {
            Some(half) => half.relay,
            None => allocation.first.relay,
        };
        allocation.counters.in_packets += 1;
        allocation.counters.in_bytes += bytes;
        self.relayed(relay, bytes);
        Some(Forward::ToPeer {
            relay,
            peer: target,
            payload,
            dont_fragment,
        })
    }

    /// Drops a datagram and keeps that for the next report.
    fn deny_send(&mut self, now: Now, relay: RelayId, peer: SocketAddr) {
        self.drop_packet(relay, |counters| &mut counters.drop_denied_peer);
        let Some(allocation) = self.table.get(relay) else {
            return;
        };
        let Identity {
            realm,
            username,
            user,
            ..
        } = &allocation.identity;
        let one = Occurrence {
            at: now.mono,
            client: allocation.tuple.client,
            realm: &realm.name,
            username: Some(username),
            session: Some(allocation.id),
            peer: Some(peer),
            reason: RefusalReason::DeniedSend,
            times: 1,
        };
        if !self.refusals.tell(one, || Some(Arc::clone(user))) {
            self.refusals.count(Some(&realm.name), one.reason);
            self.counters.untold_refusals += 1;
        }
    }
}
