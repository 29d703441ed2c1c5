//! A client that is neither ours nor coturn's through `relayd` (the crate `turn-client-proto`), and
//! our client through a server that is neither (`turn-server-proto`).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::ctl::Ctl;
use kit::foreign_server::ForeignServer;
use kit::node::{Node, NodeOptions, USER};
use turn_client_proto::api::{TurnClientApi, TurnConfig, TurnEvent, TurnRecvRet};
use turn_client_proto::stun::Instant as Moment;
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::TurnCredentials;
use turn_client_proto::types::stun::TransportType;
use turn_client_proto::udp::TurnClientUdp;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one read may take.
const TICK: Duration = Duration::from_millis(20);

/// What carries the client's bytes.
enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send(bytes).unwrap()),
            Self::Tcp(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    fn recv(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let len = match self {
            Self::Udp(socket) => socket.recv(&mut buffer),
            Self::Tcp(stream) => stream.read(&mut buffer),
        };
        buffer.truncate(len.ok()?);
        Some(buffer)
    }
}

/// The client on its wire.
struct Driver<C: TurnClientApi> {
    client: C,
    wire: Wire,
    base: Instant,
    received: Vec<(SocketAddr, Vec<u8>)>,
}

impl<C: TurnClientApi> Driver<C> {
    fn now(&self) -> Moment {
        Moment::from_std(self.base)
    }

    /// Sends what waits, and takes what came.
    fn turn(&mut self) {
        let now = self.now();
        let _ = self.client.poll(now);
        while let Some(transmit) = self.client.poll_transmit(now) {
            self.wire.send(&transmit.data);
        }
        let Some(bytes) = self.wire.recv() else {
            return;
        };
        let (server, local) = (self.client.remote_addr(), self.client.local_addr());
        let transmit = Transmit::new(bytes, self.client.transport(), server, local);
        if let TurnRecvRet::PeerData(data) = self.client.recv(transmit, now) {
            self.received.push((data.peer, data.data().to_vec()));
        }
        while let Some(data) = self.client.poll_recv(now) {
            self.received.push((data.peer, data.data().to_vec()));
        }
    }

    /// Turns until an event is there.
    #[track_caller]
    fn event(&mut self) -> TurnEvent {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if let Some(event) = self.client.poll_event() {
                return event;
            }
            self.turn();
        }
        panic!("no event");
    }

    /// Sends to a peer that sends it back.
    #[track_caller]
    fn echo(&mut self, peer: &UdpSocket, payload: &[u8]) {
        let (to, now) = (peer.local_addr().unwrap(), self.now());
        let sent = self
            .client
            .send_to(TransportType::Udp, to, payload, now)
            .unwrap();
        self.wire
            .send(&sent.expect("something to send").build().data);
        let mut buffer = [0; 2048];
        let (len, relay) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], payload);
        peer.send_to(&buffer[..len], relay).unwrap();
        let end = Instant::now() + DEADLINE;
        while self.received.is_empty() {
            assert!(Instant::now() < end, "nothing came back");
            self.turn();
        }
        assert_eq!(self.received, [(to, payload.to_vec())]);
        self.received.clear();
    }

    /// Allocation, permission, indications, a channel, and the end.
    fn whole_session(&mut self, node: &Node) {
        let event = self.event();
        let TurnEvent::AllocationCreated(TransportType::Udp, relay) = event else {
            panic!("{event:?}");
        };
        assert_eq!(relay.ip(), node.ip);
        let sessions = node.ctl().items(&["session", "list"]);
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert_eq!(sessions[0]["user"], USER.0);

        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(DEADLINE)).unwrap();
        let (address, now) = (peer.local_addr().unwrap(), self.now());
        self.client
            .create_permission(TransportType::Udp, address.ip(), now)
            .unwrap();
        let event = self.event();
        assert!(
            matches!(event, TurnEvent::PermissionCreated(..)),
            "{event:?}"
        );
        self.echo(&peer, b"by indication");
        self.client
            .bind_channel(TransportType::Udp, address, self.now())
            .unwrap();
        let event = self.event();
        assert!(matches!(event, TurnEvent::ChannelCreated(..)), "{event:?}");
        self.echo(&peer, b"by a channel");
        // Over TCP this crate leaves out the padding that RFC 8656 §12.5 demands.
        if matches!(self.wire, Wire::Udp(_)) {
            self.echo(&peer, b"odd");
        }

        self.client.delete(self.now()).unwrap();
        kit::wait::wait_until("the session to end", DEADLINE, || {
            self.turn();
            node.ctl().items(&["session", "list"]).is_empty()
        });
    }
}

fn config() -> TurnConfig {
    TurnConfig::new(TurnCredentials::new(USER.0, USER.1))
}

#[test]
fn turn_client_proto_relays_through_relayd_over_udp() {
    let node = Node::start(NodeOptions::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(node.turn).unwrap();
    socket.set_read_timeout(Some(TICK)).unwrap();
    let local = socket.local_addr().unwrap();
    let mut driver = Driver {
        client: TurnClientUdp::allocate(local, node.turn, config()),
        wire: Wire::Udp(socket),
        base: Instant::now(),
        received: Vec::new(),
    };
    driver.whole_session(&node);
}

#[test]
fn turn_client_proto_relays_through_relayd_over_tcp() {
    let node = Node::start(NodeOptions::default());
    let stream = TcpStream::connect(node.turn).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TICK)).unwrap();
    let local = stream.local_addr().unwrap();
    let mut driver = Driver {
        client: TurnClientTcp::allocate(local, node.turn, config()),
        wire: Wire::Tcp(stream),
        base: Instant::now(),
        received: Vec::new(),
    };
    driver.whole_session(&node);
}

#[test]
fn our_client_relays_through_turn_server_proto() {
    let server = ForeignServer::start("south.gov", USER.0, USER.1);
    let uri = format!("turn:{}", server.address);
    let run = |password: &str| {
        Ctl::new(Path::new("/nowhere/relayd.sock")).run(&[
            "turn",
            "check",
            &uri,
            "--user",
            USER.0,
            "--password",
            password,
            "--packets",
            "20",
            "-o",
            "json",
        ])
    };
    let answer = run(USER.1);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(report["realm"], "south.gov");
    assert_eq!(report["echo"][0]["received"], 20, "{report:#}");
    assert_eq!(run("looking-glass").code, 13);
}
