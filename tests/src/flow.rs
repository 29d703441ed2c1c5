//! A session over UDP and its peer, which know what has to arrive: every payload once, whole, in order.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method};
use turn_udp::batch::SendQueue;
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::RecvBuffers;
use turn_udp::sys;

use crate::client::{AllocateOptions, Login, TurnClient, fresh_id};

/// How long what was sent may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The channel of flows that have one.
const CHANNEL: u16 = 0x4abc;

/// How a flow is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// ChannelData; otherwise Send and Data indications.
    pub channel: bool,
    /// Runs of equal size leave client and peer as one message of the kernel (`UDP_SEGMENT`).
    pub sends_runs: bool,
    /// Both take what the kernel put together (`UDP_GRO`).
    pub takes_runs: bool,
}

impl Manner {
    /// All eight.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self {
            channel: bits & 1 == 0,
            sends_runs: bits & 2 == 0,
            takes_runs: bits & 4 == 0,
        })
    }
}

/// One direction: what was sent and has not arrived.
#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    expected: VecDeque<Vec<u8>>,
}

impl Lane {
    /// The next payload, unlike those of all other flows wherever there is room for a difference.
    fn next(&mut self, flow: u16, salt: u8, len: usize) -> Vec<u8> {
        self.sent += 1;
        let mut state = self.sent << 24 | u64::from(flow) << 8 | u64::from(salt);
        let payload: Vec<u8> = (0..len)
            .map(|_| {
                // One step of a linear generator (Knuth's MMIX): plain, and the same everywhere.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        self.expected.push_back(payload.clone());
        payload
    }

    /// Holds what arrived against what was sent next.
    fn take(&mut self, what: &str, payload: &[u8]) {
        let expected = self.expected.pop_front();
        let Some(expected) = expected else {
            panic!("{what}: {} bytes that nobody sent", payload.len());
        };
        let place = self.sent - self.expected.len() as u64;
        assert!(
            expected == payload,
            "{what}: number {place} should have {} bytes and came with {}, or with others",
            expected.len(),
            payload.len()
        );
    }
}

/// A client with an allocation, and the only peer that it talks to.
#[derive(Debug)]
pub struct Flow {
    number: u16,
    manner: Manner,
    client: TurnClient,
    server: SocketAddr,
    peer: UdpSocket,
    relay: SocketAddr,
    queue: SendQueue,
    buffers: RecvBuffers,
    up: Lane,
    down: Lane,
}

impl Flow {
    /// A session whose payloads differ from those of flows with other numbers.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    pub fn open(server: SocketAddr, login: Login, number: u16, manner: Manner) -> Self {
        let mut client = TurnClient::new(server, login).expect("a socket");
        // A server that only relays IPv6 gives no IPv4 (RFC 8656 §7.2).
        let options = AllocateOptions {
            family: server.is_ipv6().then_some(2),
            ..AllocateOptions::default()
        };
        let allocated = client.allocate_with(options).expect("an allocation");
        let relay = allocated.relay;
        // Not on the relay's address, whose ports are no peers.
        let peer = UdpSocket::bind((client.local().ip(), 0)).expect("a socket");
        let address = peer.local_addr().expect("a bound socket");
        if manner.channel {
            client.bind_channel(CHANNEL, address).expect("a channel");
        } else {
            client.permit(&[address.ip()]).expect("a permission");
        }
        for socket in [client.socket(), &peer] {
            let timeout = socket.set_read_timeout(Some(PATIENCE));
            timeout.expect("a timeout above zero");
            if manner.takes_runs {
                sys::set_receive_segments(socket.as_fd()).expect("Linux 5.0");
            }
        }
        Self {
            number,
            manner,
            client,
            server,
            peer,
            relay,
            queue: if manner.sends_runs {
                SendQueue::new()
            } else {
                SendQueue::without_runs()
            },
            buffers: RecvBuffers::new(),
            up: Lane::default(),
            down: Lane::default(),
        }
    }

    /// The client sends payloads of these lengths to its peer, all at once.
    ///
    /// # Panics
    /// When the kernel does not take them.
    pub fn up(&mut self, lengths: &[usize]) {
        let peer = self.peer.local_addr().expect("a bound socket");
        let datagrams: Vec<Vec<u8>> = lengths
            .iter()
            .map(|&len| {
                let payload = self.up.next(self.number, 1, len);
                if self.manner.channel {
                    channel_data(&payload)
                } else {
                    MessageBuilder::new(Class::Indication, Method::Send, fresh_id())
                        .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                        .attribute(AttributeType::DATA, &payload)
                        .finish()
                }
            })
            .collect();
        send(
            &mut self.queue,
            self.client.socket(),
            self.server,
            &datagrams,
        );
    }

    /// The peer sends payloads of these lengths to the client, all at once.
    ///
    /// # Panics
    /// When the kernel does not take them.
    pub fn down(&mut self, lengths: &[usize]) {
        let payloads = lengths
            .iter()
            .map(|&len| self.down.next(self.number, 2, len));
        let payloads: Vec<_> = payloads.collect();
        send(&mut self.queue, &self.peer, self.relay, &payloads);
    }

    /// Takes everything that is on its way, and holds it against what was sent.
    ///
    /// # Panics
    /// When something is missing, doubled, changed, or out of order.
    #[track_caller]
    pub fn settle(&mut self) {
        let Self {
            number,
            manner,
            client,
            server,
            peer,
            relay,
            buffers,
            up,
            down,
            ..
        } = self;
        let what = format!("flow {number}, {manner:?}, up");
        receive(&what, &mut *buffers, peer, *relay, up, |bytes| Some(bytes));
        let what = format!("flow {number}, {manner:?}, down");
        let address = peer.local_addr().expect("a bound socket");
        receive(&what, buffers, client.socket(), *server, down, |bytes| {
            payload_of(bytes, address, manner.channel)
        });
    }

    /// As [`Self::settle`], and nothing more came than was sent.
    ///
    /// # Panics
    /// When something did.
    #[track_caller]
    pub fn finish(mut self) {
        // Whatever was sent twice stands in front of these.
        self.up(&[8]);
        self.down(&[8]);
        self.settle();
    }

    /// Payloads that arrived, in both directions.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        let lanes = [&self.up, &self.down].into_iter();
        lanes
            .map(|lane| lane.sent - lane.expected.len() as u64)
            .sum()
    }
}

/// Padded as RFC 8656 §12.5 allows it over UDP, every other length; padding is no data.
fn channel_data(payload: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(CHANNEL).expect("a channel number");
    let len = u16::try_from(payload.len()).expect("a datagram");
    let mut bytes = [&ChannelData::header(number, len), payload].concat();
    if payload.len() % 2 == 1 {
        bytes.resize(bytes.len().next_multiple_of(4), 0xee);
    }
    bytes
}

/// The payload of what reached a client; `None`: no data of that peer in that manner.
fn payload_of(bytes: &[u8], peer: SocketAddr, channel: bool) -> Option<&[u8]> {
    if channel {
        let data = ChannelData::parse(bytes)?;
        return (data.number.get() == CHANNEL).then_some(data.payload);
    }
    let message = Message::parse(bytes).ok()?;
    let is_data = message.class() == Class::Indication && message.method() == Method::Data;
    let from = message
        .xor_address(AttributeType::XOR_PEER_ADDRESS)
        .ok()??;
    (is_data && from == peer).then(|| message.attribute(AttributeType::DATA))?
}

fn send(queue: &mut SendQueue, socket: &UdpSocket, to: SocketAddr, datagrams: &[Vec<u8>]) {
    let outlet = Outlet {
        socket: socket.as_raw_fd(),
        device: Device(0),
    };
    let mut batch = queue.batch();
    for datagram in datagrams {
        batch.push(outlet, to, &[], datagram, 0);
    }
    assert_eq!(batch.flush(), 0, "the kernel took everything");
}

fn receive(
    what: &str,
    buffers: &mut RecvBuffers,
    socket: &UdpSocket,
    from: SocketAddr,
    lane: &mut Lane,
    open: impl Fn(&[u8]) -> Option<&[u8]>,
) {
    while !lane.expected.is_empty() {
        // Waits; what is there is taken by the other call, with all of its parts.
        if let Err(error) = socket.peek_from(&mut [0; 1]) {
            panic!("{what}: {} are missing: {error}", lane.expected.len());
        }
        let received = buffers.receive(socket.as_raw_fd(), 64);
        for datagram in received.expect("something to receive").datagrams() {
            let datagram = datagram.expect("nothing longer than the longest");
            assert_eq!(datagram.from, from, "{what}: from elsewhere");
            let payload = open(datagram.bytes);
            lane.take(what, payload.unwrap_or_else(|| panic!("{what}: no data")));
        }
        buffers.give_back();
    }
}
