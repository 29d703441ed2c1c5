//! Sessions that move between transports and workers while they relay (RFC 8016).

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kit::certificate::{HOST, TestCertificate};
use kit::client::{ClientError, Login, TurnClient};
use kit::dtls_client::DtlsClient;
use kit::node::{Node, NodeOptions, SECRET, stored_login};
use kit::stream::{StreamClient, tls_config};
use relay::udp::selector::worker_of;
use shared::Transport;
use socket2::{Domain, Socket, Type};
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::SOON;

const WORKERS: u16 = 4;
const CHANNEL: u16 = 0x4000;
/// Datagrams of the peer that may be on their way: fewer than any socket on it has room for.
const WINDOW: u32 = 50;
/// How long one look at a path waits.
const GLANCE: Duration = Duration::from_millis(2);
const TRANSPORTS: [Transport; 4] = [
    Transport::Udp,
    Transport::Tcp,
    Transport::Tls,
    Transport::Dtls,
];
/// From UDP once over each ordered pair of transports, and back to UDP.
const TOUR: [Transport; 16] = {
    let [udp, tcp, tls, dtls] = TRANSPORTS;
    [
        udp, tcp, udp, tls, udp, dtls, tcp, tcp, tls, tcp, dtls, tls, tls, dtls, dtls, udp,
    ]
};

/// A client over any transport.
enum Path {
    Udp(TurnClient),
    Stream(StreamClient),
    Dtls(Box<DtlsClient>),
}

impl Path {
    /// A client whose packets reach this worker.
    fn open(node: &Node, transport: Transport, home: u16, login: Login) -> Self {
        let is_home = |local: SocketAddr| worker_of(local, WORKERS).0 == home;
        let bind = |kind| loop {
            let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            socket.bind(&any.into()).unwrap();
            if is_home(socket.local_addr().unwrap().as_socket().unwrap()) {
                return socket;
            }
        };
        match transport {
            Transport::Udp => loop {
                let client = TurnClient::new(node.turn, login.clone()).unwrap();
                if is_home(client.local()) {
                    return Self::Udp(client);
                }
            },
            Transport::Dtls => {
                let socket = UdpSocket::from(bind(Type::DGRAM));
                Self::Dtls(Box::new(
                    DtlsClient::over(socket, node.turn, login).unwrap(),
                ))
            }
            Transport::Tcp | Transport::Tls => {
                let socket = bind(Type::STREAM);
                socket.connect(&node.turn.into()).unwrap();
                let socket = TcpStream::from(socket);
                let client = if transport == Transport::Tcp {
                    StreamClient::over(socket, login)
                } else {
                    let config = tls_config(rustls::ALL_VERSIONS, &[]);
                    StreamClient::tls_over(socket, login, &config, HOST)
                };
                Self::Stream(client.unwrap())
            }
        }
    }

    fn request(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Udp(client) => client.request(method, fill),
            Self::Stream(client) => client.request(method, fill),
            Self::Dtls(client) => client.request(method, fill),
        }
    }

    /// Takes the session of a ticket along to here; the next ticket.
    fn take_along(&mut self, ticket: &[u8]) -> Result<Vec<u8>, ClientError> {
        let answer = self.request(Method::Refresh, |request| {
            request.attribute(A::MOBILITY_TICKET, ticket)
        })?;
        Ok(ticket_of(&answer))
    }

    fn send(&mut self, payload: &[u8]) {
        let sent = match self {
            Self::Udp(client) => client.send_channel(CHANNEL, payload),
            Self::Stream(client) => client.send_channel(CHANNEL, payload),
            Self::Dtls(client) => client.send_channel(CHANNEL, payload),
        };
        sent.unwrap();
    }

    /// The next number of the peer, if one comes at once.
    fn number(&mut self) -> Option<u32> {
        let payload = match self {
            Self::Udp(client) => client.recv(GLANCE).unwrap().map(|(_, payload)| payload),
            Self::Stream(client) => client.recv_channel(GLANCE).unwrap().map(|(_, p)| p),
            Self::Dtls(client) => client.recv_channel(GLANCE).unwrap().map(|(_, p)| p),
        };
        Some(u32::from_be_bytes(payload?.try_into().unwrap()))
    }
}

fn ticket_of(answer: &[u8]) -> Vec<u8> {
    let answer = Message::parse(answer).unwrap();
    answer.attribute(A::MOBILITY_TICKET).unwrap().to_vec()
}

fn code<T: std::fmt::Debug>(refused: Result<T, ClientError>) -> u16 {
    refused.unwrap_err().code().expect("a STUN error")
}

/// A peer that sends numbers to a relay as long as they are received, and tells what comes.
struct Peer {
    address: SocketAddr,
    sent: Arc<AtomicU32>,
    received: Arc<AtomicU32>,
    heard: Receiver<Vec<u8>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// One that will be told its relay.
    fn start() -> (Self, Sender<SocketAddr>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(GLANCE)).unwrap();
        let (told, relay) = channel::<SocketAddr>();
        let (tell, heard) = channel();
        let mut peer = Self {
            address: socket.local_addr().unwrap(),
            sent: Arc::default(),
            received: Arc::default(),
            heard,
            stop: Arc::default(),
            thread: None,
        };
        let (sent, received) = (Arc::clone(&peer.sent), Arc::clone(&peer.received));
        let stop = Arc::clone(&peer.stop);
        let thread = std::thread::spawn(move || {
            let Ok(relay) = relay.recv() else { return };
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(count) = socket.recv(&mut buffer) {
                    let _ = tell.send(buffer[..count].to_vec());
                }
                let number = sent.load(Ordering::Relaxed);
                if number - received.load(Ordering::Relaxed) < WINDOW {
                    sent.store(number + 1, Ordering::Relaxed);
                    let _ = socket.send_to(&number.to_be_bytes(), relay);
                }
            }
        });
        peer.thread = Some(thread);
        (peer, told)
    }

    /// Waits for these bytes.
    #[track_caller]
    fn hears(&self, payload: &[u8]) {
        let heard = self.heard.recv_timeout(SOON);
        assert_eq!(heard.as_deref(), Ok(payload));
    }
}

/// A session that moves, and everything that its client received.
struct Traveller {
    node: Node,
    peer: Peer,
    ticket: Vec<u8>,
    path: Path,
    received: HashSet<u32>,
}

impl Traveller {
    fn start(node: Node, owner: u16) -> Self {
        let mut path = Path::open(&node, Transport::Udp, owner, stored_login());
        let answer = path.request(Method::Allocate, |request| {
            request
                .number(A::REQUESTED_TRANSPORT, 17 << 24)
                .attribute(A::MOBILITY_TICKET, b"")
        });
        let answer = answer.unwrap();
        let message = Message::parse(&answer).unwrap();
        let relay = message.xor_address(A::XOR_RELAYED_ADDRESS);
        let (peer, told) = Peer::start();
        let address = peer.address;
        let bound = path.request(Method::ChannelBind, |request| {
            request
                .number(A::CHANNEL_NUMBER, u32::from(CHANNEL) << 16)
                .xor_address(A::XOR_PEER_ADDRESS, address)
        });
        bound.unwrap();
        told.send(relay.unwrap().unwrap()).unwrap();
        Self {
            node,
            peer,
            ticket: ticket_of(&answer),
            path,
            received: HashSet::new(),
        }
    }

    fn go(&mut self, transport: Transport, home: u16) {
        let way = format!("to {transport:?} on worker {home}");
        let mut new = Path::open(&self.node, transport, home, stored_login());
        let next = new.take_along(&self.ticket).expect(&way);
        let used = std::mem::replace(&mut self.ticket, next);
        // Confirmed, and the old path goes on until data comes on the new one.
        self.path.send(b"by the old path");
        self.peer.hears(b"by the old path");
        let told = self.received.len();
        self.receive(&mut None, |at| at.received.len() > told + 3);
        for round in 0..20_u8 {
            new.send(&[round; 100]);
        }
        for round in 0..20_u8 {
            self.peer.hears(&[round; 100]);
        }
        let mut old = Some(std::mem::replace(&mut self.path, new));
        let sent = self.peer.sent.load(Ordering::Relaxed);
        self.receive(&mut old, |at| {
            (0..sent + 3).all(|number| at.received.contains(&number))
        });
        let mut old = old.unwrap();
        assert_eq!(code(old.request(Method::Refresh, |r| r)), 437, "{way}");
        assert_eq!(code(old.take_along(&used)), 400, "{way}");
    }

    /// Reads on the path and the old one until that is enough.
    #[track_caller]
    fn receive(&mut self, old: &mut Option<Path>, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + SOON;
        while !enough(self) {
            let missing = || {
                let sent = self.peer.sent.load(Ordering::Relaxed);
                let missing = (0..sent).filter(|number| !self.received.contains(number));
                missing.collect::<Vec<_>>()
            };
            assert!(Instant::now() < end, "missing: {:?}", missing());
            let paths = [Some(&mut self.path), old.as_mut()];
            let numbers: Vec<_> = paths.into_iter().flatten().map(Path::number).collect();
            for number in numbers.into_iter().flatten() {
                assert!(self.received.insert(number), "{number} came twice");
                self.peer.received.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(certificate: &TestCertificate) -> Node {
    Node::start(NodeOptions {
        workers: WORKERS,
        top: "mobility = true\n".to_owned(),
        end: certificate.section(),
        ..NodeOptions::default()
    })
}

#[test]
fn a_session_that_relays_moves_over_all_transports_and_workers_and_loses_nothing() {
    let certificate = TestCertificate::ecdsa();
    for owner in 0..WORKERS {
        let mut traveller = Traveller::start(start(&certificate), owner);
        for (step, transport) in (0..).zip(TOUR) {
            // Over all owners each pair of transports meets each pair of workers.
            traveller.go(transport, (owner + step) % WORKERS);
        }
        let held = traveller.node.metric("relayd_sessions");
        assert_eq!(held, Some(1.0));
    }
}

#[test]
fn whoever_has_a_ticket_and_not_its_password_is_refused_on_every_worker() {
    let certificate = TestCertificate::ecdsa();
    let mut traveller = Traveller::start(start(&certificate), 0);
    for transport in TRANSPORTS {
        for home in 0..WORKERS {
            let (node, used) = (&traveller.node, traveller.ticket.clone());
            let bob = Login::rest("4102444800:bob", SECRET);
            let mut bob = Path::open(node, transport, home, bob);
            assert_eq!(code(bob.take_along(&used)), 441, "{transport:?} {home}");
            let mut forged = used.clone();
            forged[7] ^= 1;
            let mut forger = Path::open(node, transport, home, stored_login());
            assert_eq!(code(forger.take_along(&forged)), 400);
            traveller.go(transport, home);
            assert_eq!(code(forger.take_along(&used)), 400, "used up");
            assert_eq!(code(bob.take_along(&used)), 441);
            traveller.path.send(b"still here");
            traveller.peer.hears(b"still here");
        }
    }
}
