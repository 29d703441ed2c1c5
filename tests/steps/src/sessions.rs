//! The core with sessions that came about as real ones do: challenged, signed, bound.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Transport;
use turn_proto::stun::{AttributeType as A, Class, MessageBuilder, Method, TransactionId};
use turn_proto::{FiveTuple, Forward, Now, Output, RelayId, RelayOpened, Server, ServerConfig};
use turn_sim::client::Client;
use turn_sim::policies::{BEGIN, policy};
use turn_sim::quota::Count;

use crate::{Repeat, Step};

/// What is relayed: a frame of voice.
pub const FRAME: [u8; 160] = [0xa5; 160];
/// Where clients come to.
const LISTENER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 3_478);
/// The channel that each client binds to its peer.
const CHANNEL: u16 = 0x4001;
/// Time between two packets, so that no bucket of the limits per source runs dry.
const TICK: Duration = Duration::from_millis(2);

/// Data by the number of sessions, and answers.
pub const STEPS: &[Step] = &[
    step("ChannelData to a peer, 1 session", || up(1)),
    step("ChannelData to a peer, 50 sessions", || up(50)),
    step("ChannelData to a peer, 1,000 sessions", || up(1_000)),
    step("data to a client, 1 session", || down(1)),
    step("data to a client, 50 sessions", || down(50)),
    step("data to a client, 1,000 sessions", || down(1_000)),
    step("Send indication to a peer, 50 sessions", || send(50)),
    step("answer a Binding request", binding),
    step("answer a Refresh", refresh),
    step("allocate and release", allocate),
];

const fn step(name: &'static str, prepare: fn() -> Box<dyn Repeat>) -> Step {
    Step {
        name,
        datagrams: 1,
        // Each of a thousand sessions has its turn.
        counted: 1_000,
        prepare,
    }
}

/// A client with an allocation and a channel.
#[derive(Debug)]
struct Session {
    client: Client,
    relay: RelayId,
    peer: SocketAddr,
    /// What the step sends.
    message: Vec<u8>,
}

/// A core and the clients it serves, whose turn comes round.
#[derive(Debug)]
pub struct Sessions {
    server: Server,
    now: Now,
    sessions: Vec<Session>,
    next: usize,
    /// What the core opened last.
    opened: Option<RelayId>,
    next_port: u16,
}

impl Sessions {
    /// That many clients, each with one channel.
    ///
    /// # Panics
    /// When the core refuses one of them.
    #[must_use]
    pub fn new(count: u16) -> Self {
        let mono = origin();
        let quota = Arc::new(Count::new(mono, false));
        let server = Server::new(ServerConfig::default(), Arc::new(policy(1, 0)), quota);
        let mut sessions = Self {
            server,
            now: Now { mono, unix: BEGIN },
            sessions: Vec::new(),
            next: 0,
            opened: None,
            next_port: 10_000,
        };
        for index in 0..count {
            let session = sessions.begin(index);
            sessions.sessions.push(session);
        }
        assert_eq!(sessions.server.sessions(), usize::from(count));
        sessions
    }

    fn begin(&mut self, index: u16) -> Session {
        let mut client = Client::with_rest(tuple(index), "4000000000:somebody");
        let request = client.request(Method::Allocate);
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        assert_eq!(self.ask(&mut client, &request), 401);
        assert_eq!(self.ask(&mut client, &request), 0);
        let relay = self.opened.take().expect("a relay was opened");
        let peer = SocketAddr::from(([9, 9, 9, 9], 10_000 + index));
        let bind = client.request(Method::ChannelBind);
        let number = [CHANNEL.to_be_bytes(), [0; 2]].concat();
        let bind = bind
            .attribute(A::CHANNEL_NUMBER, &number)
            .xor_address(A::XOR_PEER_ADDRESS, peer);
        assert_eq!(self.ask(&mut client, &bind), 0);
        Session {
            client,
            relay,
            peer,
            message: Vec::new(),
        }
    }

    /// Signs a request as the client can, and has it answered: the code, 0 for success.
    fn ask(&mut self, client: &mut Client, request: &MessageBuilder) -> u16 {
        let bytes = client.sign(request.clone());
        let answer = self.answer(client.tuple, &bytes);
        client.learn(&answer).expect("a code")
    }

    /// What the core answers to a request.
    fn answer(&mut self, tuple: FiveTuple, request: &[u8]) -> Vec<u8> {
        self.now.mono += TICK;
        let forward = self.server.handle_client(self.now, tuple, request);
        assert_eq!(forward, None);
        let mut answer = None;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { message, .. } => answer = Some(message),
                Output::OpenRelay { relay, .. } => {
                    self.opened = Some(relay);
                    self.next_port = self.next_port.wrapping_add(1).max(10_000);
                    let local = SocketAddr::from(([192, 0, 2, 1], self.next_port));
                    let opened = RelayOpened {
                        local,
                        external: local,
                        reservation: None,
                    };
                    self.server.handle_relay_opened(self.now, relay, Ok(opened));
                }
                _ => {}
            }
        }
        answer.expect("every request is answered")
    }

    /// Whose turn it is.
    fn turn(&mut self) -> usize {
        let turn = self.next;
        self.next = (turn + 1) % self.sessions.len();
        turn
    }

    /// Gives each session what it sends.
    fn sending(mut self, message: impl Fn(&mut Session) -> Vec<u8>) -> Self {
        for session in &mut self.sessions {
            session.message = message(session);
        }
        self
    }

    /// Data of the next client.
    fn data_up(&mut self) {
        self.now.mono += TICK;
        let turn = self.turn();
        let Session {
            client,
            relay,
            peer,
            message,
        } = &self.sessions[turn];
        let forward = self.server.handle_client(self.now, client.tuple, message);
        let expected = Forward::ToPeer {
            relay: *relay,
            peer: *peer,
            payload: &FRAME,
            dont_fragment: false,
        };
        assert_eq!(black_box(forward), Some(expected));
        assert!(self.server.poll_output().is_none());
    }

    /// Data of the next peer.
    fn data_down(&mut self) {
        self.now.mono += TICK;
        let turn = self.turn();
        let Session {
            client,
            relay,
            peer,
            ..
        } = &self.sessions[turn];
        let forward = self
            .server
            .handle_peer(self.now, *relay, *peer, black_box(&FRAME));
        let tuple = match black_box(forward) {
            Some(Forward::ToClient { tuple, .. }) => Some(tuple),
            _ => None,
        };
        assert_eq!(tuple, Some(client.tuple));
        assert!(self.server.poll_output().is_none());
    }

    /// What the next client asks is granted.
    fn grant(&mut self) {
        let turn = self.turn();
        let session = &mut self.sessions[turn];
        let (tuple, request) = (session.client.tuple, std::mem::take(&mut session.message));
        let answer = self.answer(tuple, black_box(&request));
        self.sessions[turn].message = request;
        assert!(is_success(&answer));
    }
}

fn is_success(answer: &[u8]) -> bool {
    // The class of a success, whatever the method: Binding, Allocate, Refresh.
    black_box(answer)[0] == 1
}

fn up(count: u16) -> Box<dyn Repeat> {
    let header = [CHANNEL, FRAME.len() as u16].map(u16::to_be_bytes).concat();
    let message = [&header[..], &FRAME].concat();
    let mut sessions = Sessions::new(count).sending(|_| message.clone());
    Box::new(move || sessions.data_up())
}

fn down(count: u16) -> Box<dyn Repeat> {
    let mut sessions = Sessions::new(count);
    Box::new(move || sessions.data_down())
}

fn send(count: u16) -> Box<dyn Repeat> {
    let mut sessions = Sessions::new(count).sending(|session| {
        let id = session.client.transaction();
        MessageBuilder::new(Class::Indication, Method::Send, id)
            .xor_address(A::XOR_PEER_ADDRESS, session.peer)
            .attribute(A::DATA, &FRAME)
            .finish()
    });
    Box::new(move || sessions.data_up())
}

fn binding() -> Box<dyn Repeat> {
    let id = TransactionId(*b"transaction.");
    let mut sessions =
        Sessions::new(1).sending(|_| MessageBuilder::request(Method::Binding, id).finish());
    Box::new(move || sessions.grant())
}

fn refresh() -> Box<dyn Repeat> {
    let mut sessions = Sessions::new(50).sending(|session| {
        let request = session.client.request(Method::Refresh);
        session.client.sign(request.number(A::LIFETIME, 600))
    });
    Box::new(move || sessions.grant())
}

/// One client more comes and goes, beside 50 others.
fn allocate() -> Box<dyn Repeat> {
    let mut sessions = Sessions::new(50);
    let mut guest = Client::with_rest(tuple(50), "4000000000:somebody");
    let request = guest.request(Method::Allocate);
    let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    assert_eq!(sessions.ask(&mut guest, &request), 401);
    let begin = guest.sign(request);
    let request = guest.request(Method::Refresh).number(A::LIFETIME, 0);
    let end = guest.sign(request);
    let tuple = guest.tuple;
    Box::new(move || {
        for request in [&begin, &end] {
            assert!(is_success(&sessions.answer(tuple, request)));
        }
    })
}

fn tuple(index: u16) -> FiveTuple {
    FiveTuple {
        client: SocketAddr::from(([198, 51, 100, 7], 10_000 + index)),
        server: LISTENER,
        transport: Transport::Udp,
    }
}

fn origin() -> Instant {
    Instant::now()
}
