//! TCP relaying (RFC 6062) on real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kit::client::{Login, fresh_id};
use kit::node::{Node, NodeOptions, stored_login};
use serde_json::json;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::framing::{Front, MAX_FRAME, front};
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method};

/// What has to happen happens within this.
const SOON: Duration = Duration::from_secs(10);
/// Nothing happens for this long where nothing is to happen.
const WHILE: Duration = Duration::from_millis(300);

fn relaying(workers: u16, more: &str) -> Node {
    Node::start(NodeOptions {
        workers,
        top: format!("tcp_relay = true\n{more}"),
        ..NodeOptions::default()
    })
}

/// A client's connection to a node: messages, until it is joined with a peer's.
pub(crate) struct Client {
    stream: TcpStream,
    login: Login,
    realm: String,
    nonce: Vec<u8>,
    key: Option<LongTermKey>,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn new(node: &Node, login: Login) -> Self {
        let stream = TcpStream::connect(node.turn).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self {
            stream,
            login,
            realm: String::new(),
            nonce: Vec::new(),
            key: None,
            received: Vec::new(),
        }
    }

    fn message(&mut self) -> Vec<u8> {
        loop {
            if let Front::Frame { message, consumed } = front(&self.received, MAX_FRAME).unwrap() {
                let message = message.to_vec();
                self.received.drain(..consumed);
                return message;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the node closed the connection");
            self.received.extend_from_slice(&bytes[..count]);
        }
    }

    fn sign(&self, request: MessageBuilder) -> Vec<u8> {
        let Some(key) = &self.key else {
            return request.finish();
        };
        request
            .attribute(A::USERNAME, self.login.username.as_bytes())
            .attribute(A::REALM, self.realm.as_bytes())
            .attribute(A::NONCE, &self.nonce)
            .integrity(key.as_bytes())
            .finish()
    }

    fn once(&mut self, request: MessageBuilder) -> (u16, Vec<u8>) {
        let bytes = self.sign(request);
        self.stream.write_all(&bytes).unwrap();
        let answer = self.message();
        let code = Message::parse(&answer).unwrap().error_code();
        (code.map_or(0, |code| code.get()), answer)
    }

    /// Asks, and once more with what a challenge says.
    fn ask(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> (u16, Vec<u8>) {
        let mut last = (0, Vec::new());
        for _ in 0..3 {
            last = self.once(fill(MessageBuilder::request(method, fresh_id())));
            let answer = Message::parse(&last.1).unwrap();
            let Some(nonce) = answer.attribute(A::NONCE) else {
                break;
            };
            if self.key.is_some() && last.0 == 401 {
                break;
            }
            self.nonce = nonce.to_vec();
            let realm = answer.attribute(A::REALM).unwrap();
            self.realm = String::from_utf8(realm.to_vec()).unwrap();
            let Login { username, password } = &self.login;
            self.key = Some(LongTermKey::derive(username, &self.realm, password));
        }
        last
    }

    /// The relayed address of a new TCP allocation.
    pub(crate) fn allocate(&mut self) -> SocketAddr {
        let (code, answer) = self.ask(Method::Allocate, |request| {
            request.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
        });
        assert_eq!(code, 0);
        let answer = Message::parse(&answer).unwrap();
        let relayed = answer.xor_address(A::XOR_RELAYED_ADDRESS);
        relayed.unwrap().unwrap()
    }

    fn permit(&mut self, peer: SocketAddr) {
        let (code, _) = self.ask(Method::CreatePermission, |request| {
            request.xor_address(A::XOR_PEER_ADDRESS, peer)
        });
        assert_eq!(code, 0);
    }

    pub(crate) fn connect(&mut self, peer: SocketAddr) -> Result<u32, u16> {
        let (code, answer) = self.ask(Method::Connect, |request| {
            request.xor_address(A::XOR_PEER_ADDRESS, peer)
        });
        match code {
            0 => Ok(connection_id(&answer)),
            code => Err(code),
        }
    }

    fn bind(&mut self, connection: u32) -> u16 {
        let fill = |request: MessageBuilder| request.number(A::CONNECTION_ID, connection);
        self.ask(Method::ConnectionBind, fill).0
    }

    /// The CONNECTION-ID and the peer of a ConnectionAttempt.
    fn attempt(&mut self) -> (u32, SocketAddr) {
        let bytes = self.message();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(
            (message.class(), message.method()),
            (Class::Indication, Method::ConnectionAttempt)
        );
        let peer = message.xor_address(A::XOR_PEER_ADDRESS).unwrap();
        (connection_id(&bytes), peer.unwrap())
    }

    /// The raw connection, and what came behind the last message.
    fn raw(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }
}

fn connection_id(bytes: &[u8]) -> u32 {
    let message = Message::parse(bytes).unwrap();
    message.number(A::CONNECTION_ID).unwrap().unwrap()
}

fn peer_at(node: &Node) -> TcpListener {
    TcpListener::bind((node.ip, 0)).unwrap()
}

/// A client that is joined with a peer, both as raw connections, with the control connection.
fn joined(node: &Node) -> (Client, TcpStream, TcpStream) {
    let mut control = Client::new(node, stored_login());
    control.allocate();
    let peer = peer_at(node);
    let id = control.connect(peer.local_addr().unwrap()).unwrap();
    let (theirs, _) = peer.accept().unwrap();
    theirs.set_read_timeout(Some(SOON)).unwrap();
    let mut data = Client::new(node, stored_login());
    assert_eq!(data.bind(id), 0);
    let (ours, early) = data.raw();
    assert!(early.is_empty());
    (control, ours, theirs)
}

fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

#[track_caller]
fn expect_end(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("no end but {other:?}"),
    }
}

#[track_caller]
fn expect_silence(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(WHILE)).unwrap();
    let error = stream.read(&mut [0; 16]).expect_err("nothing comes");
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    stream.set_read_timeout(Some(SOON)).unwrap();
}

/// Bytes that differ from place to place.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i / 251) as u8 ^ (i as u8).wrapping_mul(31) ^ seed)
        .collect()
}

#[test]
fn by_default_tcp_is_an_unsupported_transport() {
    let node = Node::start(NodeOptions::default());
    let mut client = Client::new(&node, stored_login());
    let (code, _) = client.ask(Method::Allocate, |request| {
        request.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
    });
    assert_eq!(code, 442);
}

#[test]
fn a_realm_allows_and_denies_tcp_while_the_node_runs() {
    let node = Node::start(NodeOptions::default());
    let ctl = node.ctl();
    let mut client = Client::new(&node, stored_login());
    let code = |client: &mut Client| {
        let tcp =
            |request: MessageBuilder| request.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        client.ask(Method::Allocate, tcp).0
    };
    assert_eq!(code(&mut client), 442);
    for (value, expected) in [("true", 0), ("false", 442)] {
        let setting = format!("tcp_relay={value}");
        // A disk that is too slow for the moment refuses an edit, and says so.
        kit::wait::wait_until(&setting, SOON, || {
            let set = ctl.run(&["realm", "set", "north.gov", &setting, "--yes"]);
            let is_late = set.stderr.contains("too slow");
            assert!(set.code == 0 || is_late, "{}{}", set.stdout, set.stderr);
            set.code == 0
        });
        if expected == 442 {
            client = Client::new(&node, stored_login());
        }
        kit::wait::wait_until(&setting, SOON, || code(&mut client) == expected);
    }
}

#[test]
fn connections_to_peers_leave_from_the_relayed_address() {
    let node = relaying(2, "");
    let mut control = Client::new(&node, stored_login());
    let relayed = control.allocate();
    let peer = peer_at(&node);
    control.connect(peer.local_addr().unwrap()).unwrap();
    let (_theirs, from) = peer.accept().unwrap();
    assert_eq!(from, relayed);
}

/// Four workers: most of the eight data connections reach another one than the control connection.
#[test]
fn pairs_carry_megabytes_both_ways_whichever_worker_the_client_reaches() {
    let node = relaying(4, "");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    for round in 0..8 {
        let peer = peer_at(&node);
        let id = control.connect(peer.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = peer.accept().unwrap();
        // Before the client has bound it.
        theirs.write_all(b"early words").unwrap();
        let mut data = Client::new(&node, stored_login());
        assert_eq!(data.bind(id), 0);
        let (mut ours, mut early) = data.raw();
        while early.len() < b"early words".len() {
            let mut bytes = [0; 16];
            let count = ours.read(&mut bytes).unwrap();
            early.extend_from_slice(&bytes[..count]);
        }
        assert_eq!(early, b"early words");
        let (up, down) = (pattern(3 << 20, round), pattern(2 << 20, !round));
        let (mut to_node, mut to_relay) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| to_node.write_all(&up).unwrap());
            scope.spawn(|| to_relay.write_all(&down).unwrap());
            scope.spawn(|| expect(&mut theirs, &up));
            expect(&mut ours, &down);
        });
    }
}

#[test]
fn a_second_connection_to_a_peer_is_refused_and_an_absent_peer_is_a_failure() {
    let node = relaying(2, "");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    let peer = peer_at(&node);
    let address = peer.local_addr().unwrap();
    control.connect(address).unwrap();
    assert_eq!(control.connect(address), Err(446));
    let absent = peer_at(&node).local_addr().unwrap();
    assert_eq!(control.connect(absent), Err(447));
}

#[test]
fn special_addresses_are_no_peers() {
    let node = Node::start(NodeOptions {
        top: "tcp_relay = true\n".to_owned(),
        allowed_peers: None,
        ..NodeOptions::default()
    });
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    for peer in ["127.0.0.1:22", "169.254.169.254:80", "10.0.0.1:80"] {
        assert_eq!(control.connect(peer.parse().unwrap()), Err(403), "{peer}");
    }
}

#[test]
fn the_node_itself_is_no_peer_although_its_address_is_allowed() {
    let node = relaying(2, "");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    assert_eq!(control.connect(node.turn), Err(403));
    assert_eq!(control.connect(node.metrics), Err(403));
}

#[test]
fn a_peer_without_permission_is_closed_at_once_and_not_announced() {
    let node = relaying(2, "");
    let mut control = Client::new(&node, stored_login());
    let relayed = control.allocate();
    let mut stranger = TcpStream::connect(relayed).unwrap();
    expect_end(&mut stranger);
    expect_silence(&mut control.stream);
}

#[test]
fn a_permitted_peer_is_announced_and_joined() {
    let node = relaying(4, "");
    let mut control = Client::new(&node, stored_login());
    let relayed = control.allocate();
    for _ in 0..4 {
        control.permit(SocketAddr::new([127, 0, 0, 1].into(), 0));
        let mut peer = TcpStream::connect(relayed).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        peer.write_all(b"hello").unwrap();
        let (id, from) = control.attempt();
        assert_eq!(from, peer.local_addr().unwrap());
        let mut data = Client::new(&node, stored_login());
        assert_eq!(data.bind(id), 0);
        let (mut ours, early) = data.raw();
        expect(&mut ours, &b"hello"[early.len()..]);
        ours.write_all(b"welcome").unwrap();
        expect(&mut peer, b"welcome");
    }
}

/// The attack on coturn 4.6.1: a ConnectionBind without credentials broke the connection.
#[test]
fn a_stranger_neither_takes_nor_breaks_a_pending_connection() {
    let node = relaying(4, "");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    let peer = peer_at(&node);
    let id = control.connect(peer.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = peer.accept().unwrap();
    theirs.set_read_timeout(Some(SOON)).unwrap();
    let bind =
        || MessageBuilder::request(Method::ConnectionBind, fresh_id()).number(A::CONNECTION_ID, id);
    for _ in 0..8 {
        let mut stranger = Client::new(&node, Login::new("alice", "guess"));
        assert_eq!(stranger.once(bind()).0, 401, "without credentials");
        assert_eq!(stranger.bind(id), 401, "with a wrong password");
        let mut other = Client::new(&node, kit::node::rest_login("bob"));
        assert_eq!(other.bind(id), 400, "with another user's");
        // A nonce is bound to the connection that it was made for, if that is not the control connection.
        let mut thief = Client::new(&node, stored_login());
        (thief.realm, thief.nonce) = (other.realm.clone(), other.nonce.clone());
        thief.key = control.key.clone();
        assert_eq!(thief.once(bind()).0, 438, "with a stolen nonce");
    }
    expect_silence(&mut theirs);
    let mut data = Client::new(&node, stored_login());
    assert_eq!(data.bind(id), 0);
    let (mut ours, _) = data.raw();
    ours.write_all(b"still there").unwrap();
    expect(&mut theirs, b"still there");
}

#[test]
fn a_connection_that_nobody_binds_is_closed_in_time() {
    let node = relaying(2, "tcp_bind_timeout = \"2s\"\n");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    let peer = peer_at(&node);
    let id = control.connect(peer.local_addr().unwrap()).unwrap();
    let begun = Instant::now();
    let (mut theirs, _) = peer.accept().unwrap();
    expect_end(&mut theirs);
    assert!(begun.elapsed() >= Duration::from_millis(1900));
    let mut late = Client::new(&node, stored_login());
    assert_eq!(late.bind(id), 400);
}

#[test]
fn a_peer_that_does_not_answer_is_a_failure_in_time() {
    let node = relaying(2, "tcp_connect_timeout = \"2s\"\n");
    let mut control = Client::new(&node, stored_login());
    control.allocate();
    // A listener whose queue is full answers nothing.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::new(node.ip, 0).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        waiting.push(socket);
    }
    let begun = Instant::now();
    assert_eq!(control.connect(address), Err(447));
    assert!(begun.elapsed() >= Duration::from_millis(1900));
}

#[test]
fn the_end_of_either_side_ends_the_other_after_its_last_bytes() {
    let node = relaying(2, "");
    let (_control, mut ours, mut theirs) = joined(&node);
    let last = pattern(1 << 20, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            ours.write_all(&last).unwrap();
            drop(ours);
        });
        expect(&mut theirs, &last);
    });
    expect_end(&mut theirs);
    let (_control, mut ours, mut theirs) = joined(&node);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            theirs.write_all(&last).unwrap();
            drop(theirs);
        });
        expect(&mut ours, &last);
    });
    expect_end(&mut ours);
}

/// What a side sends while the other does not read stays with it, and comes in the end.
#[test]
fn a_side_that_does_not_read_slows_the_other_down() {
    let node = relaying(2, "");
    let (_control, mut ours, mut theirs) = joined(&node);
    let all = pattern(64 << 20, 9);
    ours.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut sent = 0;
    while sent < all.len() {
        match ours.write(&all[sent..]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    assert!(sent < all.len(), "somebody buffered 64 MB");
    let resident = node.resident_bytes().unwrap();
    assert!(resident < 200 << 20, "{resident}");
    drop(ours);
    expect(&mut theirs, &all[..sent]);
    expect_end(&mut theirs);
}

#[test]
fn the_end_of_the_control_connection_ends_everything() {
    let node = relaying(4, "");
    let (control, mut ours, mut theirs) = joined(&node);
    drop(control);
    expect_end(&mut ours);
    expect_end(&mut theirs);
}

#[test]
fn a_killed_session_loses_relay_and_pairs() {
    let node = relaying(4, "");
    let (control, mut ours, mut theirs) = joined(&node);
    let sessions = node.ctl().items(&["session", "list"]);
    let id = sessions[0]["id"].as_str().unwrap().to_owned();
    let relayed: SocketAddr = sessions[0]["relay"].as_str().unwrap().parse().unwrap();
    let killed = node
        .ctl()
        .run(&["session", "kill", &id, "--yes", "--reason", "test"]);
    drop(killed);
    expect_end(&mut ours);
    expect_end(&mut theirs);
    let refused = kit::wait::wait_for("the relay to close", SOON, || {
        TcpStream::connect(relayed).err()
    });
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(control);
}

#[test]
fn bytes_and_connections_are_in_the_books() {
    let node = relaying(2, "");
    let (_control, mut ours, mut theirs) = joined(&node);
    ours.write_all(&pattern(100_000, 0)).unwrap();
    expect(&mut theirs, &pattern(100_000, 0));
    theirs.write_all(b"four").unwrap();
    expect(&mut ours, b"four");
    kit::wait::wait_until("the bytes to be counted", SOON, || {
        let sessions = node.ctl().items(&["session", "list"]);
        (
            sessions[0]["in_bytes"].as_u64(),
            sessions[0]["out_bytes"].as_u64(),
        ) == (Some(100_000), Some(4))
    });
    let found = node
        .ctl()
        .items(&["session", "list", "-f", "relay_transport=tcp mobile=no"]);
    let id = found[0]["id"].as_str().unwrap();
    assert_eq!(found[0]["relay_transport"], "tcp");
    let session = node.ctl().json(&["session", "show", id]);
    let connection = &session["peer_connections"][0];
    let peer = theirs.local_addr().unwrap().to_string();
    let client = ours.local_addr().unwrap().to_string();
    for (field, value) in [
        ("peer", json!(peer)),
        ("state", json!("bound")),
        ("incoming", json!(false)),
        ("client", json!(client)),
        ("in_bytes", json!(100_000)),
        ("out_bytes", json!(4)),
    ] {
        assert_eq!(connection[field], value, "{connection:#}");
    }
    let line = node.ctl().run(&["session", "show", id, "-o", "csv"]);
    let told = format!("{peer} bound");
    assert!(line.stdout.contains(&told), "{}", line.stdout);
    assert!(
        node.ctl()
            .items(&["session", "list", "-f", "relay_transport=udp"])
            .is_empty()
    );
}
