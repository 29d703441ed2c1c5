//! A fleet of clients and peers over a bad network, played from a seed.
//!
//! Every client allocates, binds a channel or a permission, talks, refreshes, and releases or goes
//! silent. Peers send back what they get. The network loses, doubles, delays and reorders. What
//! arrives must be what was sent, where it was sent, and nothing may be left at the end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::Transport;
use turn_proto::channel_data::ChannelData;
use turn_proto::demux::Protocol;
use turn_proto::stun::{AttributeType as A, Class, Message, Method};
use turn_proto::{Command, EndCause, FiveTuple};

use crate::client::{Client, Habit, tuple};
use crate::policies::{ANONYMOUS, USERS};
use crate::world::{Habits, Passed, World};

/// How a network treats packets.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a hundred packets, so many are lost.
    pub lost: u32,
    /// And so many arrive twice.
    pub doubled: u32,
    /// Each takes at most this long.
    pub delay: Duration,
}

impl Weather {
    /// Nothing happens to any packet.
    pub const FAIR: Self = Self {
        lost: 0,
        doubled: 0,
        delay: Duration::from_millis(1),
    };
    /// Five of a hundred lost, as many doubled, up to 200 ms.
    pub const BAD: Self = Self {
        lost: 5,
        doubled: 5,
        delay: Duration::from_millis(200),
    };
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Payloads that clients sent.
    pub sent: u64,
    /// Those that reached a peer.
    pub reached: u64,
    /// Those that came back to their client.
    pub returned: u64,
    /// Sessions that were made.
    pub sessions: u64,
}

/// Steps of one run, 100 ms each.
const STEPS: u32 = 1200;
/// A step.
const STEP: Duration = Duration::from_millis(100);
/// Clients of a run.
const CLIENTS: usize = 8;
/// Retransmission of requests, in steps (RFC 8489 §6.2.1: 500 ms at first).
const RETRANSMIT: u32 = 5;

/// A packet under way: when it arrives, its number for order among equals, and what it is.
type Flight = Reverse<(Duration, u64, usize)>;

#[derive(Clone, Debug)]
enum Packet {
    ToServer {
        tuple: FiveTuple,
        bytes: Vec<u8>,
    },
    ToClient {
        tuple: FiveTuple,
        bytes: Vec<u8>,
    },
    ToPeer {
        from: SocketAddr,
        peer: SocketAddr,
        payload: Vec<u8>,
    },
    FromPeer {
        to: SocketAddr,
        peer: SocketAddr,
        payload: Vec<u8>,
    },
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Allocating,
    Binding,
    Talking,
    Releasing,
    Silent,
}

struct Person {
    client: Client,
    phase: Phase,
    peer: SocketAddr,
    channel: Option<u16>,
    /// The request in flight and when it was sent last.
    request: Option<(Vec<u8>, Method, u32)>,
    sent: HashSet<Vec<u8>>,
    refresh_at: u32,
    ends_at: u32,
}

struct Play {
    world: World,
    people: Vec<Person>,
    random: StdRng,
    weather: Weather,
    clock: Duration,
    flights: BinaryHeap<Flight>,
    packets: HashMap<usize, Packet>,
    count: usize,
    /// The policy between troubles.
    usual: u8,
    report: Report,
}

/// Plays a run. Same seed and weather, same run.
///
/// # Panics
/// When a payload arrives changed, at the wrong place or from the wrong relay, or when something is
/// left at the end. The seed is in whoever's hands called.
#[must_use]
pub fn run(seed: u64, weather: Weather) -> Report {
    let mut play = Play {
        world: World::new(Habits::default()),
        people: (0..CLIENTS).map(person).collect(),
        random: StdRng::seed_from_u64(seed),
        weather,
        clock: Duration::ZERO,
        flights: BinaryHeap::new(),
        packets: HashMap::new(),
        count: 0,
        usual: if seed.is_multiple_of(2) { 0 } else { ANONYMOUS },
        report: Report::default(),
    };
    play.world.change_policy(play.usual);
    for step in 0..STEPS {
        for index in 0..CLIENTS {
            play.act(step, index);
        }
        play.trouble();
        play.world.advance(STEP);
        play.clock += STEP;
        play.deliver();
    }
    play.report.sessions = play.world.server.counters().allocations;
    play.world.finish();
    play.report
}

fn person(index: usize) -> Person {
    let (name, password) = USERS[index % USERS.len()];
    let transport = if index % 4 == 3 {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let habit = [Habit::Classic, Habit::Modern, Habit::Anonymous][index % 3];
    let address = format!("192.0.2.{}:4000", 10 + index);
    Person {
        client: Client::new(tuple(&address, transport), name, password).signing(habit),
        phase: Phase::Allocating,
        peer: SocketAddr::from(([9, 9, 9, 1 + (index / 2) as u8], 7000 + index as u16)),
        channel: index.is_multiple_of(2).then_some(0x4000 + index as u16),
        request: None,
        sent: HashSet::new(),
        refresh_at: 0,
        ends_at: u32::MAX,
    }
}

impl Play {
    /// What a client does in one step.
    fn act(&mut self, step: u32, index: usize) {
        let (say, end) = (
            self.random.random_range(0..10),
            self.random.random_range(200..900),
        );
        let person = &mut self.people[index];
        if let Some((bytes, _, since)) = &mut person.request {
            if step >= *since + RETRANSMIT {
                *since = step;
                let (tuple, bytes) = (person.client.tuple, bytes.clone());
                self.post(Packet::ToServer { tuple, bytes }, tuple.transport);
            }
            return;
        }
        let method = match person.phase {
            Phase::Allocating => Method::Allocate,
            Phase::Binding if person.channel.is_some() => Method::ChannelBind,
            Phase::Binding => Method::CreatePermission,
            Phase::Talking if step >= person.ends_at => {
                person.phase = if index == 0 {
                    Phase::Silent
                } else {
                    Phase::Releasing
                };
                return;
            }
            Phase::Talking if step >= person.refresh_at => {
                person.refresh_at = step + 300;
                Method::Refresh
            }
            Phase::Talking => {
                person.ends_at = person.ends_at.min(step + end);
                return if say < 3 {
                    self.talk(index)
                };
            }
            Phase::Releasing => Method::Refresh,
            Phase::Silent => return,
        };
        self.ask(step, index, method);
    }

    fn ask(&mut self, step: u32, index: usize, method: Method) {
        let person = &mut self.people[index];
        let mut request = person.client.request(method);
        match method {
            Method::Allocate => {
                request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            }
            Method::ChannelBind => {
                let channel = u32::from(person.channel.unwrap_or(0x4000));
                request = request
                    .number(A::CHANNEL_NUMBER, channel << 16)
                    .xor_address(A::XOR_PEER_ADDRESS, person.peer);
            }
            Method::CreatePermission => {
                request = request.xor_address(A::XOR_PEER_ADDRESS, person.peer);
            }
            _ if person.phase == Phase::Releasing => request = request.number(A::LIFETIME, 0),
            _ => {}
        }
        let (tuple, bytes) = (person.client.tuple, person.client.sign(request));
        person.request = Some((bytes.clone(), method, step));
        self.post(Packet::ToServer { tuple, bytes }, tuple.transport);
    }

    /// Sends a payload that no other is like.
    fn talk(&mut self, index: usize) {
        self.report.sent += 1;
        let mut payload = vec![0; self.random.random_range(12..200)];
        self.random.fill(&mut payload[..]);
        payload[..4].copy_from_slice(&(index as u32).to_be_bytes());
        payload[4..12].copy_from_slice(&self.report.sent.to_be_bytes());
        let person = &mut self.people[index];
        person.sent.insert(payload.clone());
        let tuple = person.client.tuple;
        let bytes = match person.channel {
            Some(channel) => {
                let mut bytes = channel.to_be_bytes().to_vec();
                bytes.extend((payload.len() as u16).to_be_bytes());
                bytes.extend(&payload);
                bytes
            }
            None => {
                let id = person.client.transaction();
                turn_proto::stun::MessageBuilder::new(Class::Indication, Method::Send, id)
                    .xor_address(A::XOR_PEER_ADDRESS, person.peer)
                    .attribute(A::DATA, &payload)
                    .finish()
            }
        };
        self.post(Packet::ToServer { tuple, bytes }, tuple.transport);
    }

    /// What operators do now and then.
    fn trouble(&mut self) {
        match self.random.random_range(0..2000) {
            0 if self.weather.lost > 0 => {
                let kind = self.random.random();
                self.world.change_policy(kind);
                self.world.change_policy(self.usual);
            }
            1 if self.weather.lost > 0 && !self.world.sessions.is_empty() => {
                let index = self.random.random_range(0..self.world.sessions.len());
                let session = self.world.sessions[index];
                let cause = EndCause::Killed;
                self.world.command(Command::Kill { session, cause });
            }
            2 => self.world.command(Command::Snapshot),
            _ => {}
        }
    }

    /// Puts a packet on its way; streams lose nothing.
    fn post(&mut self, packet: Packet, transport: Transport) {
        let reliable = matches!(transport, Transport::Tcp | Transport::Tls);
        let percent = self.random.random_range(0..100);
        let copies = match percent {
            _ if reliable => 1,
            p if p < self.weather.lost => 0,
            p if p < self.weather.lost + self.weather.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if reliable {
                self.weather.delay
            } else {
                let most = self.weather.delay.as_micros() as u64;
                Duration::from_micros(self.random.random_range(0..=most))
            };
            self.count += 1;
            self.packets.insert(self.count, packet.clone());
            let flight = (self.clock + delay, self.count as u64, self.count);
            self.flights.push(Reverse(flight));
        }
    }

    /// Delivers what has arrived by now.
    fn deliver(&mut self) {
        while let Some(Reverse((when, _, number))) = self.flights.peek().copied()
            && when <= self.clock
        {
            self.flights.pop();
            if let Some(packet) = self.packets.remove(&number) {
                self.arrive(packet);
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer { tuple, bytes } => {
                let passed = self.world.client(tuple, &bytes);
                self.pass(passed);
            }
            Packet::ToClient { tuple, bytes } => self.read(tuple, &bytes),
            Packet::ToPeer {
                from,
                peer,
                payload,
            } => {
                self.report.reached += 1;
                let index = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                let person = &self.people[index as usize];
                assert!(person.sent.contains(&payload), "a payload nobody sent");
                assert_eq!(peer, person.peer, "at the wrong peer");
                let back = Packet::FromPeer {
                    to: from,
                    peer,
                    payload,
                };
                self.post(back, Transport::Udp);
            }
            Packet::FromPeer { to, peer, payload } => {
                let relay = self.world.relays.iter().find(|(_, local)| **local == to);
                let Some((&relay, _)) = relay else { return };
                let passed = self.world.peer(relay, peer, &payload);
                self.pass(passed);
            }
        }
        while let Some((tuple, bytes)) = self.world.sent.pop_front() {
            self.post(Packet::ToClient { tuple, bytes }, tuple.transport);
        }
        while let Some(tuple) = self.world.disconnected.pop_front() {
            self.world.disconnect(tuple);
        }
    }

    fn pass(&mut self, passed: Option<Passed>) {
        match passed {
            Some(Passed::ToPeer {
                from,
                peer,
                payload,
            }) => {
                self.post(
                    Packet::ToPeer {
                        from,
                        peer,
                        payload,
                    },
                    Transport::Udp,
                );
            }
            Some(Passed::ToClient { tuple, bytes }) => {
                self.post(Packet::ToClient { tuple, bytes }, tuple.transport);
            }
            None => {}
        }
    }

    /// What a client makes of what it receives.
    fn read(&mut self, tuple: FiveTuple, bytes: &[u8]) {
        let index = self.people.iter().position(|p| p.client.tuple == tuple);
        let index = index.expect("every client is one of ours");
        if Protocol::of(bytes) == Protocol::ChannelData {
            let data = ChannelData::parse(bytes).expect("whole ChannelData");
            assert_eq!(Some(data.number.get()), self.people[index].channel);
            return self.returned(index, data.payload);
        }
        let message = Message::parse(bytes).expect("a whole message");
        if message.method() == Method::Data {
            let from = message
                .xor_address(A::XOR_PEER_ADDRESS)
                .expect("an address");
            assert_eq!(from, Some(self.people[index].peer));
            let data = message.attribute(A::DATA).unwrap_or_default();
            return self.returned(index, data);
        }
        self.answered(index, &message, bytes);
    }

    fn returned(&mut self, index: usize, payload: &[u8]) {
        self.report.returned += 1;
        let person = &self.people[index];
        assert!(
            person.sent.contains(payload),
            "{index} gets what it never sent"
        );
    }

    fn answered(&mut self, index: usize, message: &Message<'_>, bytes: &[u8]) {
        let person = &mut self.people[index];
        let Some((request, method, _)) = &person.request else {
            return;
        };
        let asked = Message::parse(request).expect("our own request");
        if asked.transaction() != message.transaction() {
            return;
        }
        let method = *method;
        let code = person.client.learn(bytes);
        person.request = None;
        person.phase = match (code, method, person.phase) {
            (Some(401 | 438), _, phase) => phase,
            (Some(0), Method::Allocate, _) => Phase::Binding,
            (Some(0), Method::ChannelBind | Method::CreatePermission, _) => Phase::Talking,
            (Some(0), _, Phase::Releasing) => Phase::Silent,
            (Some(0), _, phase) => phase,
            // Its session is gone, or it may have none now: from the beginning.
            (_, _, Phase::Releasing) => Phase::Silent,
            _ => Phase::Allocating,
        };
    }
}
