//! Any bytes as orders to a world: what fuzzers drive, and what the corpus is replayed through.
//!
//! The clients know their passwords and follow challenges, so that orders reach what lies behind
//! authentication; some orders spoil what a client made before it is sent.

use std::net::SocketAddr;
use std::time::Duration;

use shared::Transport;
use turn_proto::five_tuple::LinkId;
use turn_proto::server::{Direction, IcmpError};
use turn_proto::stun::{AttributeType as A, Class, MessageBuilder, Method};
use turn_proto::{Command, EndCause, OpenError, RelayId};

use crate::client::{Client, Habit, tuple};
use crate::world::{BEGIN, Habits, Passed, USERS, World};

/// The most orders of one script.
const MAX_ORDERS: usize = 400;
/// What clients and peers send.
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Peers: allowed ones, a special-use one, an IPv6 one, one without a port, and the relay itself.
const PEERS: [&str; 8] = [
    "9.9.9.1:7000",
    "9.9.9.1:7001",
    "9.9.9.2:7000",
    "8.8.4.4:53",
    "127.0.0.1:6379",
    "[2600:1f18::1]:7000",
    "[2600:1f18::2]:7000",
    "9.9.9.3:0",
];
/// Attributes that the general order picks from.
const ATTRIBUTES: [A; 24] = [
    A::REQUESTED_TRANSPORT,
    A::LIFETIME,
    A::EVEN_PORT,
    A::RESERVATION_TOKEN,
    A::REQUESTED_ADDRESS_FAMILY,
    A::ADDITIONAL_ADDRESS_FAMILY,
    A::DONT_FRAGMENT,
    A::CHANNEL_NUMBER,
    A::XOR_PEER_ADDRESS,
    A::DATA,
    A::CONNECTION_ID,
    A::MOBILITY_TICKET,
    A::ACCESS_TOKEN,
    A::USERHASH,
    A::PASSWORD_ALGORITHM,
    A::PASSWORD_ALGORITHMS,
    A::CHANGE_REQUEST,
    A::RESPONSE_PORT,
    A::PADDING,
    A::ORIGIN,
    A::ICMP,
    A::SOFTWARE,
    A::ERROR_CODE,
    A::DRAFT_ADDITIONAL_ADDRESS_FAMILY,
];
/// Methods that the general order picks from.
const METHODS: [Method; 10] = [
    Method::Binding,
    Method::Allocate,
    Method::Refresh,
    Method::Send,
    Method::Data,
    Method::CreatePermission,
    Method::ChannelBind,
    Method::Connect,
    Method::ConnectionBind,
    Method::ConnectionAttempt,
];

/// Plays a script to its end, then ends the world and checks that nothing is left.
///
/// # Panics
/// When the core breaks a promise.
pub fn run(bytes: &[u8]) {
    let mut script = Script { bytes };
    let flags = script.byte();
    let habits = Habits {
        hold_openings: flags & 1 != 0,
        hold_lookups: flags & 2 != 0,
    };
    let mut stage = Stage {
        world: World::new(habits),
        clients: cast(),
        script,
    };
    for _ in 0..MAX_ORDERS {
        if stage.script.bytes.is_empty() {
            break;
        }
        stage.order();
    }
    stage.world.finish();
}

fn cast() -> Vec<Client> {
    let [(alice, wonderland), (bob, builder)] = USERS;
    let far = BEGIN + 1_000_000;
    vec![
        Client::new(tuple("192.0.2.10:4000", Transport::Udp), alice, wonderland),
        Client::new(tuple("192.0.2.10:4001", Transport::Udp), bob, builder).signing(Habit::Modern),
        Client::with_rest(
            tuple("192.0.2.11:4000", Transport::Udp),
            &format!("{far}:carol"),
        ),
        Client::new(
            tuple("[2001:db8::10]:4000", Transport::Udp),
            alice,
            wonderland,
        )
        .signing(Habit::Anonymous),
        Client::new(tuple("192.0.2.12:4000", Transport::Tcp), alice, wonderland),
        Client::new(tuple("192.0.2.12:4001", Transport::Tls), bob, builder),
        Client::new(tuple("192.0.2.12:4002", Transport::Tcp), alice, wonderland),
        Client::with_rest(tuple("192.0.2.13:4000", Transport::Dtls), &far.to_string()),
        Client::new(tuple("192.0.2.14:4000", Transport::Udp), alice, "wrong"),
        Client::with_rest(
            tuple("192.0.2.15:4000", Transport::Udp),
            &format!("{}:dave", BEGIN - 1),
        ),
    ]
}

/// Bytes that are read one order after the other; zeros behind their end.
struct Script<'b> {
    bytes: &'b [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken.to_vec()
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.byte()) % among.len()]
    }

    fn peer(&mut self) -> SocketAddr {
        self.pick(&PEERS).parse().expect("an address")
    }
}

struct Stage<'b> {
    world: World,
    clients: Vec<Client>,
    script: Script<'b>,
}

impl Stage<'_> {
    fn order(&mut self) {
        match self.script.byte() % 20 {
            0 => self.allocate(),
            1 => self.refresh(),
            2 => self.permit(),
            3 => self.bind(),
            4 => self.send(),
            5 => self.channel_data(),
            6 => self.peer_sends(),
            7 => self.raw(),
            8 => self.spoilt(),
            9 => self.wait(),
            10 => self.control(),
            11 => self.connection(),
            12 => self.answer(),
            13 => self.icmp(),
            14 => self.connect(),
            15 => self.link(),
            16 => self.bind_connection(),
            17 => self.stranger(),
            18 => self.move_client(),
            _ => self.general(),
        }
        self.world
            .disconnected
            .drain(..)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|tuple| self.world.disconnect(tuple));
        for client in &mut self.clients {
            client.listen(&mut self.world);
        }
        self.world.sent.clear();
    }

    fn client(&mut self) -> usize {
        usize::from(self.script.byte()) % self.clients.len()
    }

    fn ask(&mut self, client: usize, request: &MessageBuilder) {
        self.clients[client].ask(&mut self.world, request);
    }

    fn request(&mut self, client: usize, method: Method) -> MessageBuilder {
        self.clients[client].request(method)
    }

    fn allocate(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let transport = if flags & 1 != 0 { 6 } else { 17 };
        let mut request = self.request(client, Method::Allocate);
        request = request.attribute(A::REQUESTED_TRANSPORT, &[transport, 0, 0, 0]);
        if flags & 2 != 0 {
            request = request.attribute(A::EVEN_PORT, &[flags & 0x80]);
        }
        if flags & 4 != 0 {
            request = request.attribute(A::RESERVATION_TOKEN, &self.clients[client].token);
        }
        if flags & 8 != 0 {
            let family = 1 + (flags >> 7);
            request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        }
        if flags & 16 != 0 {
            request = request.attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
        if flags & 32 != 0 {
            request = request.number(A::LIFETIME, u32::from(self.script.word()));
        }
        if flags & 64 != 0 {
            request = request.attribute(A::MOBILITY_TICKET, &[]);
        }
        self.ask(client, &request);
    }

    fn refresh(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let mut request = self.request(client, Method::Refresh);
        if flags & 1 != 0 {
            request = request.number(A::LIFETIME, u32::from(self.script.word()));
        }
        if flags & 2 != 0 {
            request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &[1 + (flags >> 7), 0, 0, 0]);
        }
        if flags & 4 != 0 {
            request = request.number(A::LIFETIME, 0);
        }
        if flags & 8 != 0 {
            request = request.attribute(A::MOBILITY_TICKET, &self.clients[client].ticket);
        }
        self.ask(client, &request);
    }

    fn permit(&mut self) {
        let (client, peers) = (self.client(), self.script.byte());
        let mut request = self.request(client, Method::CreatePermission);
        for (bit, peer) in PEERS.iter().enumerate() {
            if peers & (1 << bit) != 0 {
                let peer = peer.parse().expect("an address");
                request = request.xor_address(A::XOR_PEER_ADDRESS, peer);
            }
        }
        self.ask(client, &request);
    }

    fn bind(&mut self) {
        let (client, number, peer) = (self.client(), self.script.byte(), self.script.peer());
        let number = 0x3fff + u32::from(number) % 6;
        let request = self
            .request(client, Method::ChannelBind)
            .number(A::CHANNEL_NUMBER, number << 16)
            .xor_address(A::XOR_PEER_ADDRESS, peer);
        self.ask(client, &request);
    }

    fn send(&mut self) {
        let (client, flags, peer) = (self.client(), self.script.byte(), self.script.peer());
        let id = self.clients[client].transaction();
        let mut indication = MessageBuilder::new(Class::Indication, Method::Send, id);
        if flags & 1 == 0 {
            indication = indication.xor_address(A::XOR_PEER_ADDRESS, peer);
        }
        if flags & 2 == 0 {
            let len = usize::from(flags >> 2);
            indication = indication.attribute(A::DATA, &PAYLOAD[..len]);
        }
        if flags & 0x80 != 0 {
            indication = indication.attribute(A::DONT_FRAGMENT, &[]);
        }
        let tuple = self.clients[client].tuple;
        self.world.client(tuple, &indication.finish());
    }

    fn channel_data(&mut self) {
        let (client, number, len) = (self.client(), self.script.byte(), self.script.byte());
        let len = usize::from(len) % PAYLOAD.len();
        let mut bytes = (0x4000 + u16::from(number) % 6).to_be_bytes().to_vec();
        bytes.extend((len as u16 + u16::from(number >> 7)).to_be_bytes());
        bytes.extend(&PAYLOAD[..len]);
        let passed = self.world.client(self.clients[client].tuple, &bytes);
        if let Some(Passed::ToPeer { payload, .. }) = passed {
            assert_eq!(
                payload,
                &PAYLOAD[..payload.len()],
                "payloads arrive as they were sent"
            );
        }
    }

    fn relay(&mut self) -> Option<RelayId> {
        let mut relays: Vec<RelayId> = self.world.relays.keys().copied().collect();
        relays.sort_unstable();
        let index = usize::from(self.script.byte());
        (!relays.is_empty()).then(|| relays[index % relays.len()])
    }

    fn peer_sends(&mut self) {
        let (relay, peer, len) = (self.relay(), self.script.peer(), self.script.byte());
        // A relay that is not there is no reason to fall.
        let relay = relay.unwrap_or(RelayId(u32::from(len)));
        let len = usize::from(len) % PAYLOAD.len();
        self.world.peer(relay, peer, &PAYLOAD[..len]);
    }

    fn raw(&mut self) {
        let (client, len) = (self.client(), self.script.byte());
        let bytes = self.script.take(usize::from(len));
        self.world.client(self.clients[client].tuple, &bytes);
    }

    /// A genuine request with one byte changed on its way.
    fn spoilt(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let request = self.request(client, method);
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let mut bytes = self.clients[client].sign(request);
        let at = usize::from(self.script.byte()) % bytes.len();
        bytes[at] ^= self.script.byte();
        self.world.client(self.clients[client].tuple, &bytes);
    }

    fn wait(&mut self) {
        let unit = self.script.pick(&[1, 100, 1_000, 30_000, 300_000, 600_000]);
        let count = u64::from(self.script.byte() % 16) + 1;
        self.world.advance(Duration::from_millis(unit * count));
    }

    fn control(&mut self) {
        let (what, which) = (self.script.byte(), self.script.byte());
        let sessions = self.world.sessions.len();
        let session = (sessions > 0).then(|| self.world.sessions[usize::from(which) % sessions]);
        let command = match (what % 6, session) {
            (0, Some(session)) => Command::Kill {
                session,
                cause: EndCause::Killed,
            },
            (1, Some(session)) => Command::Describe { session },
            (2, _) => Command::Snapshot,
            (3, _) => Command::ForgetCredentials {
                realm: None,
                username: None,
            },
            _ => return self.world.change_policy(which),
        };
        self.world.command(command);
    }

    fn connection(&mut self) {
        let client = self.client();
        self.world.disconnect(self.clients[client].tuple);
    }

    fn answer(&mut self) {
        const ERRORS: [Option<OpenError>; 5] = [
            None,
            Some(OpenError::PortsExhausted),
            Some(OpenError::UnknownToken),
            Some(OpenError::FamilyUnavailable),
            Some(OpenError::Failed),
        ];
        let what = self.script.byte();
        if what & 1 == 0 {
            self.world
                .answer_opening(ERRORS[usize::from(what >> 1) % ERRORS.len()]);
        } else {
            self.world.answer_lookup(what & 2 == 0);
        }
    }

    fn icmp(&mut self) {
        let (relay, destination) = (self.relay(), self.script.peer());
        let error = IcmpError {
            destination,
            kind: self.script.byte() % 16,
            code: self.script.byte() % 16,
            mtu: u32::from(self.script.word()),
        };
        if let Some(relay) = relay {
            self.world.server.handle_icmp(self.world.now, relay, error);
            self.world.advance(Duration::ZERO);
        }
    }

    fn connect(&mut self) {
        let (client, peer) = (self.client(), self.script.peer());
        let request = self.request(client, Method::Connect);
        self.ask(client, &request.xor_address(A::XOR_PEER_ADDRESS, peer));
    }

    fn some_link(&mut self) -> Option<LinkId> {
        let (index, links) = (usize::from(self.script.byte()), &self.world.links);
        (!links.is_empty()).then(|| links[index % links.len()])
    }

    /// What happens to connections with peers.
    fn link(&mut self) {
        let (what, link) = (self.script.byte(), self.some_link());
        let entropy = self.world.draw();
        let now = self.world.now;
        match (what % 4, link) {
            (0, Some(link)) => self.world.server.handle_peer_connected(now, link, entropy),
            (1, Some(link)) => {
                self.world.forget_link(link);
                self.world.server.handle_peer_closed(now, link);
            }
            (2, Some(link)) => {
                let direction = if what & 8 == 0 {
                    Direction::ToPeer
                } else {
                    Direction::ToClient
                };
                let len = usize::from(self.script.word());
                self.world.server.handle_stream(now, link, direction, len);
            }
            _ => {
                let (relay, peer) = (self.relay(), self.script.peer());
                let Some(relay) = relay else { return };
                let server = &mut self.world.server;
                if let Some(link) = server.handle_peer_incoming(now, relay, peer, entropy) {
                    self.world.links.push(link);
                }
            }
        }
        self.world.advance(Duration::ZERO);
    }

    /// A ConnectionBind, with the id that some client learnt last.
    fn bind_connection(&mut self) {
        let (client, whose) = (self.client(), self.client());
        let id = self.clients[whose].connection;
        let request = self.request(client, Method::ConnectionBind);
        self.ask(client, &request.number(A::CONNECTION_ID, id));
    }

    /// A request without credentials.
    fn stranger(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let request = self.request(client, method).fingerprint().finish();
        self.world.client(self.clients[client].tuple, &request);
    }

    /// A client goes to another port and takes its ticket along.
    fn move_client(&mut self) {
        let client = self.client();
        let port = 5000 + u16::from(self.script.byte());
        self.clients[client].tuple.client.set_port(port);
        let request = self.request(client, Method::Refresh);
        let ticket = self.clients[client].ticket.clone();
        self.ask(client, &request.attribute(A::MOBILITY_TICKET, &ticket));
    }

    /// Any method with any attributes, well signed.
    fn general(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let mut request = self.request(client, method);
        for _ in 0..self.script.byte() % 6 {
            let kind = self.script.pick(&ATTRIBUTES);
            let len = usize::from(self.script.byte() % 40);
            let value = self.script.take(len);
            request = request.attribute(kind, &value);
        }
        self.ask(client, &request);
    }
}
