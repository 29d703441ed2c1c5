//! What goes between clients and server: payloads with ChannelData or indications around them, built
//! in place and without a copy but for the payload's own bytes.

use std::net::SocketAddr;

use turn_proto::channel_data::ChannelData;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, TransactionId};

use super::control::Control;
use super::plan::Method;
use super::stamp::{Pattern, Stamp};

/// Messages that are built at once: as many as a batch sends.
pub(super) const BATCH: usize = 256;

/// Builds and opens messages.
#[derive(Debug)]
pub(super) struct Frames {
    /// By client, what stands in front of its payloads.
    heads: Vec<Box<[u8]>>,
    /// By client, its peer as the server names it in a Data indication.
    peers: Vec<SocketAddr>,
    method: Method,
    size: usize,
    /// Whether messages are a multiple of four bytes long.
    padded: bool,
    /// Room for a batch.
    room: Box<[u8]>,
    stride: usize,
}

/// What a message to a client turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened<'b> {
    /// Data of its peer.
    Data(&'b [u8]),
    /// Data that is not for this client, or not of its peer.
    Strange,
    /// Something else: an answer.
    Control,
}

impl Frames {
    /// For clients with these peers. `padded`: messages follow each other in a stream.
    pub(super) fn new(peers: Vec<SocketAddr>, method: Method, size: usize, padded: bool) -> Self {
        let heads = peers.iter().enumerate();
        let heads: Vec<_> = heads
            .map(|(client, peer)| head(client, *peer, method, size))
            .collect();
        let head = heads.iter().map(|head| head.len()).max().unwrap_or(0);
        let stride = (head + size).next_multiple_of(64);
        Self {
            heads,
            peers,
            method,
            size,
            padded: method == Method::Indication || padded,
            room: vec![0; stride * BATCH].into_boxed_slice(),
            stride,
        }
    }

    /// Builds messages of clients to their peers, at most [`BATCH`]; each comes with its client.
    pub(super) fn up<'a>(
        &'a mut self,
        pattern: &'a Pattern,
        packets: impl Iterator<Item = (usize, Stamp)> + 'a,
    ) -> impl Iterator<Item = (usize, &'a [u8])> {
        let (size, align) = (self.size, if self.padded { 4 } else { 1 });
        let (heads, slots) = (&self.heads, self.room.chunks_exact_mut(self.stride));
        packets.zip(slots).map(move |((client, stamp), slot)| {
            let head = &heads[client];
            let slot = &mut slot[..(head.len() + size).next_multiple_of(align)];
            let (front, rest) = slot.split_at_mut(head.len());
            front.copy_from_slice(head);
            pattern.write(&mut rest[..size], stamp);
            (client, &*slot)
        })
    }

    /// Builds payloads of peers to clients, at most [`BATCH`]; each comes with its client.
    pub(super) fn down<'a>(
        &'a mut self,
        pattern: &'a Pattern,
        packets: impl Iterator<Item = (usize, Stamp)> + 'a,
    ) -> impl Iterator<Item = (usize, &'a [u8])> {
        let size = self.size;
        let slots = self.room.chunks_exact_mut(self.stride);
        packets.zip(slots).map(move |((client, stamp), slot)| {
            let payload = &mut slot[..size];
            pattern.write(payload, stamp);
            (client, &*payload)
        })
    }

    /// Looks into a message that came to `client`.
    pub(super) fn open<'b>(&self, client: usize, message: &'b [u8]) -> Opened<'b> {
        match message.first() {
            Some(0x40..=0x7f) => match ChannelData::parse(message) {
                Some(data)
                    if data.number == Control::channel(client)
                        && self.method == Method::Channel =>
                {
                    Opened::Data(data.payload)
                }
                _ => Opened::Strange,
            },
            // The type of a Data indication: 0x0017.
            Some(0) if message.get(1) == Some(&0x17) => self.open_indication(client, message),
            _ => Opened::Control,
        }
    }

    fn open_indication<'b>(&self, client: usize, message: &'b [u8]) -> Opened<'b> {
        let Ok(message) = Message::parse(message) else {
            return Opened::Strange;
        };
        let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
        if peer != Ok(Some(self.peers[client])) || self.method == Method::Channel {
            return Opened::Strange;
        }
        match message.attribute(AttributeType::DATA) {
            Some(payload) => Opened::Data(payload),
            None => Opened::Strange,
        }
    }
}

/// What stands in front of a payload of `size` bytes.
fn head(client: usize, peer: SocketAddr, method: Method, size: usize) -> Box<[u8]> {
    let len = size as u16;
    if method == Method::Channel {
        return ChannelData::header(Control::channel(client), len).into();
    }
    let mut id = [0; 12];
    id[..8].copy_from_slice(&(client as u64).to_be_bytes());
    let send = turn_proto::stun::Method::Send;
    let mut head = MessageBuilder::new(Class::Indication, send, TransactionId(id))
        .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        .finish();
    head.extend_from_slice(&AttributeType::DATA.0.to_be_bytes());
    head.extend_from_slice(&len.to_be_bytes());
    let attributes = (head.len() + size).next_multiple_of(4) - 20;
    head[2..4].copy_from_slice(&(attributes as u16).to_be_bytes());
    head.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use turn_proto::stun::Method as StunMethod;

    use super::super::stamp::{Read, Way};
    use super::*;

    fn peers() -> Vec<SocketAddr> {
        vec![
            "127.0.0.1:5000".parse().unwrap(),
            "[::1]:5001".parse().unwrap(),
        ]
    }

    fn stamp(flow: u16) -> Stamp {
        Stamp {
            flow,
            way: Way::Up,
            sequence: 9,
            time: 0,
        }
    }

    #[test]
    fn channel_data_has_the_clients_number_and_is_padded_in_streams() {
        for (padded, len) in [(false, 4 + 13), (true, 20)] {
            let pattern = Pattern::new(13);
            let mut frames = Frames::new(peers(), Method::Channel, 13, padded);
            let packets = [(1, stamp(1))].into_iter();
            let built: Vec<_> = frames
                .up(&pattern, packets)
                .map(|(_, m)| m.to_vec())
                .collect();
            assert_eq!(built[0].len(), len);
            let data = ChannelData::parse(&built[0]).unwrap();
            assert_eq!(data.number.get(), 0x4001);
            assert_eq!(pattern.read(data.payload, 13), Read::Whole(stamp(1)));
            assert_eq!(frames.open(1, &built[0]), Opened::Data(data.payload));
            assert_eq!(frames.open(0, &built[0]), Opened::Strange);
        }
    }

    #[test]
    fn indications_are_sound_whatever_the_size_and_the_peers_family() {
        for size in [0, 1, 13, 160] {
            let pattern = Pattern::new(size);
            let mut frames = Frames::new(peers(), Method::Indication, size, false);
            for client in 0..2 {
                let packets = [(client, stamp(0))].into_iter();
                let built: Vec<_> = frames
                    .up(&pattern, packets)
                    .map(|(_, m)| m.to_vec())
                    .collect();
                let message = Message::parse(&built[0]).unwrap();
                assert_eq!(message.method(), StunMethod::Send);
                assert_eq!(message.attribute(AttributeType::DATA).unwrap().len(), size);
                let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
                assert_eq!(peer, Ok(Some(peers()[client])));
            }
        }
    }

    #[test]
    fn a_data_indication_is_opened_for_its_peer_alone() {
        let frames = Frames::new(peers(), Method::Indication, 5, false);
        let data = |peer| {
            MessageBuilder::new(Class::Indication, StunMethod::Data, TransactionId([7; 12]))
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                .attribute(AttributeType::DATA, b"12345")
                .finish()
        };
        assert_eq!(frames.open(1, &data(peers()[1])), Opened::Data(b"12345"));
        assert_eq!(frames.open(1, &data(peers()[0])), Opened::Strange);
        let answer =
            MessageBuilder::new(Class::Success, StunMethod::Refresh, TransactionId([7; 12]));
        assert_eq!(frames.open(1, &answer.finish()), Opened::Control);
    }
}
