//! A whole turn of a worker: what waits in its sockets is received, judged and sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::config::{Args, Config, ListenerConfig};
use relay::listener::{ListenerGroup, Listening};
use relay::succession::Inherited;
use relay::worker::ports::{PortPool, RelayAddress, Reserving};
use relay::worker::{News, WorkerByHand, WorkerSetup};
use shared::{Secret, Transport};
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{FiveTuple, Policy, RealmPolicy, RestSecret, ServerConfig};
use turn_sim::client::Client;
use turn_sim::policies::{REALM, SECRET};
use turn_sim::quota::Count;
use turn_udp::batch::SendQueue;
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::RecvBuffers;

use crate::sessions::FRAME;
use crate::{Repeat, Step};

/// Sessions that send at once.
const SESSIONS: usize = 50;
/// Datagrams that wait when the turn begins.
const BATCH: usize = 128;
/// The channel of every session.
const CHANNEL: u16 = 0x4001;
/// Turns in which a request is answered, with much to spare.
const MOST_TURNS: usize = 100;

/// Both directions.
pub const STEPS: &[Step] = &[
    step("a turn, 128 datagrams of 50 clients", || {
        Box::new(Turn::new(Way::Up))
    }),
    step("a turn, 128 datagrams of 50 peers", || {
        Box::new(Turn::new(Way::Down))
    }),
];

const fn step(name: &'static str, prepare: fn() -> Box<dyn Repeat>) -> Step {
    Step {
        name,
        datagrams: BATCH as u64,
        counted: 40,
        prepare,
    }
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From clients to peers.
    Up,
    /// From peers to clients.
    Down,
}

/// A client on a socket of its own, and its peer.
#[derive(Debug)]
struct Pair {
    client: UdpSocket,
    peer: UdpSocket,
    relay: SocketAddr,
    channel_data: Vec<u8>,
}

/// A worker over real sockets, with what it is sent.
#[derive(Debug)]
struct Turn {
    way: Way,
    worker: WorkerByHand,
    /// Kept, so that the worker has somebody to tell.
    _news: News,
    server: SocketAddr,
    pairs: Vec<Pair>,
    queue: SendQueue,
    buffers: RecvBuffers,
}

impl Turn {
    fn new(way: Way) -> Self {
        let (worker, news, server) = worker().expect("the host has sockets");
        let mut turn = Self {
            way,
            worker,
            _news: news,
            server,
            pairs: Vec::new(),
            // The kernel hands each of these over by itself, as most networks do.
            queue: SendQueue::without_runs(),
            buffers: RecvBuffers::new(),
        };
        for _ in 0..SESSIONS {
            let pair = turn.begin().expect("the worker serves everybody");
            turn.pairs.push(pair);
        }
        turn
    }

    fn begin(&mut self) -> io::Result<Pair> {
        let [socket, peer] = [socket()?, socket()?];
        let tuple = FiveTuple {
            client: socket.local_addr()?,
            server: self.server,
            transport: Transport::Udp,
        };
        let mut client = Client::with_rest(tuple, "4000000000:somebody");
        let request = client.request(Method::Allocate);
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        assert_eq!(self.ask(&socket, &mut client, &request)?, 401);
        assert_eq!(self.ask(&socket, &mut client, &request)?, 0);
        let number = [CHANNEL.to_be_bytes(), [0; 2]].concat();
        let request = client
            .request(Method::ChannelBind)
            .attribute(A::CHANNEL_NUMBER, &number)
            .xor_address(A::XOR_PEER_ADDRESS, peer.local_addr()?);
        assert_eq!(self.ask(&socket, &mut client, &request)?, 0);
        let header = [CHANNEL, FRAME.len() as u16].map(u16::to_be_bytes).concat();
        Ok(Pair {
            client: socket,
            peer,
            relay: client.relayed.expect("a success names the relay"),
            channel_data: [&header[..], &FRAME].concat(),
        })
    }

    /// Asks the worker and runs its turns until it answers: the code, 0 for success.
    fn ask(
        &mut self,
        socket: &UdpSocket,
        client: &mut Client,
        request: &MessageBuilder,
    ) -> io::Result<u16> {
        socket.send_to(&client.sign(request.clone()), self.server)?;
        let mut buffer = [0; 1_500];
        for _ in 0..MOST_TURNS {
            self.worker.turn()?;
            if let Ok(len) = socket.recv(&mut buffer) {
                return client
                    .learn(&buffer[..len])
                    .ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Repeat for Turn {
    fn ready(&mut self) {
        let mut batch = self.queue.batch();
        for index in 0..BATCH {
            let pair = &self.pairs[index % SESSIONS];
            let (socket, to, bytes) = match self.way {
                Way::Up => (&pair.client, self.server, &pair.channel_data[..]),
                Way::Down => (&pair.peer, pair.relay, &FRAME[..]),
            };
            let outlet = Outlet {
                socket: socket.as_raw_fd(),
                device: Device(0),
            };
            batch.push(outlet, to, &[], bytes, 0);
        }
        assert_eq!(batch.flush(), 0, "everything was sent");
    }

    fn run(&mut self) {
        assert!(self.worker.turn().is_ok_and(|goes_on| goes_on));
    }

    fn check(&mut self) {
        let mut arrived = 0;
        for pair in &self.pairs {
            let (socket, len) = match self.way {
                Way::Up => (&pair.peer, FRAME.len()),
                Way::Down => (&pair.client, pair.channel_data.len()),
            };
            while let Ok(received) = self.buffers.receive(socket.as_raw_fd(), BATCH) {
                let whole = received.datagrams().flatten();
                arrived += whole.filter(|d| d.bytes.len() == len).count();
                self.buffers.give_back();
            }
        }
        assert_eq!(arrived, BATCH, "one turn passes all on");
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn worker() -> io::Result<(WorkerByHand, News, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = ListenerConfig {
        address,
        realm: None,
        transports: vec![Transport::Udp],
        proxy_from: Vec::new(),
    };
    let group = ListenerGroup::bind(&listener, address, 1, &Inherited::default())?;
    let server = group.address;
    let local = server.ip();
    let ports = PortPool::new(
        vec![RelayAddress {
            local,
            external: local,
        }],
        &(10_000..=30_000),
        Reserving {
            lifetime: Duration::from_secs(30),
            most: 16,
        },
    );
    let config =
        Config::load(&Args::default()).map_err(|error| io::Error::other(error.to_string()))?;
    let realm = RealmPolicy {
        secrets: vec![RestSecret {
            id: "s".into(),
            value: Secret::new(SECRET.as_bytes().to_vec()),
        }],
        allowed_peers: ["127.0.0.0/8".parse().expect("a range")].into(),
        ..RealmPolicy::new(REALM.parse().expect("a name"))
    };
    let setup = WorkerSetup {
        inheritance: Vec::new(),
        server: ServerConfig::default(),
        policy: Arc::new(Policy::new(vec![realm], Secret::new([1; 32]))),
        quota: Arc::new(Count::new(Instant::now(), false)),
        ports: Arc::new(ports),
        listeners: vec![group],
        listening: Arc::new(Listening::new(&config).map_err(|e| io::Error::other(e.to_string()))?),
        restore: Vec::new(),
    };
    let (worker, _, news) = WorkerByHand::new(setup)?;
    Ok((worker, news, server))
}
