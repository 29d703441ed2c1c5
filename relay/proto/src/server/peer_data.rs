//! From peers to the client: ChannelData and Data indications (RFC 8656 §11.3, §12.7).

use std::net::SocketAddr;

use shared::{SessionId, Transport};

use super::{Forward, ForwardHeader, Server};
use crate::channel_data::ChannelData;
use crate::five_tuple::{FiveTuple, RelayId};
use crate::policy::Lane;
use crate::stun::method::message_type;
use crate::stun::{AttributeType, Class, MAGIC_COOKIE, Method, TransactionId, address};
use crate::time::Now;

/// The longest payload that fits a Data indication in one UDP datagram (IPv4, with a 48-byte
/// header); the worker's buffers are no longer either.
const MAX_PAYLOAD: usize = 65_507 - ForwardHeader::CAPACITY;

impl Server {
    /// Counts datagrams that came to a relay before it was made ready
    /// ([`Output::PrepareRelay`](crate::server::Output::PrepareRelay)) and that nobody reads: there was
    /// no permission that could have let them through.
    pub fn handle_early(&mut self, relay: RelayId, datagrams: u64) {
        for _ in 0..datagrams {
            self.drop_packet(relay, |counters| &mut counters.drop_unknown_peer);
        }
    }

    pub(super) fn peer_data<'b>(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        payload: &'b [u8],
    ) -> Option<Forward<'b>> {
        let allocation = self.table.get_mut(relay)?;
        let peer = allocation.presented(&self.policy, peer);
        let permission = allocation.permissions.live(peer.ip(), now.mono);
        let Some(permission) = permission.filter(|_| payload.len() <= MAX_PAYLOAD) else {
            self.drop_packet(relay, |counters| &mut counters.drop_unknown_peer);
            return None;
        };
        if !permission.allows(peer.port(), &self.policy, &allocation.identity.realm) {
            self.drop_packet(relay, |counters| &mut counters.drop_denied_peer);
            return None;
        }
        let bytes = payload.len() as u64;
        let meter = &mut allocation.meter;
        let admitted = meter.admit(&mut self.shares, Lane::ToClient, bytes * 8, now.mono);
        if let Err(scope) = admitted {
            self.drop_over_rate(relay, scope);
            return None;
        }
        permission.last_port = Some(peer.port());
        permission.out_bytes += bytes;
        allocation.counters.out_packets += 1;
        allocation.counters.out_bytes += bytes;
        let tuple = allocation.tuple;
        let padding = (payload.len().next_multiple_of(4) - payload.len()) as u8;
        // A bound peer gets ChannelData always (§12.5); UDP needs no padding there.
        let (header, pad) = match allocation.channels.number(peer, now.mono) {
            Some(number) => {
                let header = ChannelData::header(number, payload.len() as u16);
                (ForwardHeader::new(&header), stream_padding(&tuple, padding))
            }
            None => {
                allocation.indications = allocation.indications.wrapping_add(1);
                let id = indication_id(allocation.id, allocation.indications);
                (data_indication(id, peer, payload.len(), padding), padding)
            }
        };
        self.relayed(relay, bytes);
        Some(Forward::ToClient {
            tuple,
            header,
            payload,
            pad,
        })
    }
}

fn stream_padding(tuple: &FiveTuple, padding: u8) -> u8 {
    match tuple.transport {
        Transport::Tcp | Transport::Tls => padding,
        Transport::Udp | Transport::Dtls => 0,
    }
}

/// Nobody answers an indication, so its id need be nothing but different.
pub(super) fn indication_id(session: SessionId, count: u32) -> TransactionId {
    let mut id = [0; 12];
    id[..8].copy_from_slice(&session.0.to_be_bytes());
    id[8..].copy_from_slice(&count.to_be_bytes());
    TransactionId(id)
}

fn data_indication(id: TransactionId, peer: SocketAddr, len: usize, pad: u8) -> ForwardHeader {
    let mut value = [0; address::MAX_LEN];
    let value_len = address::write_xor(peer, id, &mut value);
    let header_len = 20 + 4 + value_len + 4;
    let total = header_len - 20 + len + usize::from(pad);
    let mut header = [0; ForwardHeader::CAPACITY];
    let attribute = |kind: AttributeType, len: usize| {
        let ([k0, k1], [l0, l1]) = (kind.0.to_be_bytes(), (len as u16).to_be_bytes());
        [k0, k1, l0, l1]
    };
    header[..2].copy_from_slice(&message_type(Class::Indication, Method::Data).to_be_bytes());
    header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    header[8..20].copy_from_slice(&id.0);
    header[20..24].copy_from_slice(&attribute(AttributeType::XOR_PEER_ADDRESS, value_len));
    header[24..24 + value_len].copy_from_slice(&value[..value_len]);
    header[header_len - 4..header_len].copy_from_slice(&attribute(AttributeType::DATA, len));
    ForwardHeader::new(&header[..header_len])
}
