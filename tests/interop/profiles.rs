//! Nine configurations side by side on one machine, each shown by how it treats a real client.
//!
//! The files are in `profiles/`, and are what an operator would write: addresses and the state
//! directory come by the environment, which wins over the file.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::client::{AllocateOptions, ClientError, From, Login, TurnClient, fresh_id};
use kit::coturn::{Totals, Uclient, Way};
use kit::node::{Node, NodeOptions, SECRET, rest_login, stored_login, unix_now};
use kit::program;
use kit::stream::StreamClient;
use kit::wait::{wait_for, wait_until};
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::oauth::{SERVER_NAME, add_keys};
use crate::uclient::{assert_at_least, in_turn};

/// What happens by itself happens within this, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);
/// A run of coturn's client.
const RUN: Duration = Duration::from_secs(120);
/// How long data may take on the loopback.
const MOMENT: Duration = Duration::from_millis(200);

macro_rules! profile {
    ($file:literal) => {
        include_str!(concat!("profiles/", $file, ".toml"))
    };
}

fn start(name: &str, profile: &'static str) -> Node {
    start_on(name, profile, Vec::new())
}

fn start_on(name: &str, profile: &'static str, environment: Vec<(String, String)>) -> Node {
    Node::start(NodeOptions {
        id: name.to_owned(),
        profile: Some(profile),
        environment,
        ..NodeOptions::default()
    })
}

#[test]
fn nine_profiles_run_side_by_side_and_each_shows_by_what_it_does() {
    let first = free_port(fresh_ip());
    let second = SocketAddr::new(fresh_ip(), first.port());
    let both = vec![("RELAYD_LISTEN".to_owned(), format!("{first},{second}"))];
    let rest = start("rest-secret", profile!("rest-secret"));
    let defaults = start("defaults", profile!("defaults"));
    let seconds = start("seconds", profile!("seconds"));
    let two = start("two-sessions", profile!("two-sessions"));
    let four = start("four-ports", profile!("four-ports"));
    let redirect = start("redirect", profile!("redirect"));
    // Clients are sent to public addresses only, or to one of the node's own.
    let target = free_port(redirect.ip);
    let there = vec![("RELAYD_LISTEN".to_owned(), target.to_string())];
    let mut users = start_on("static-users", profile!("static-users"), there);
    users.turn = target;
    let oauth = start("oauth", profile!("oauth"));
    let discovery = start_on("nat-discovery", profile!("nat-discovery"), both);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            static_users(&users);
            redirect_by_300(&redirect, &users);
            rest_secret(&rest);
            tokens(&oauth);
        });
        scope.spawn(|| all_defaults(&defaults));
        scope.spawn(|| lifetimes_of_seconds(&seconds));
        scope.spawn(|| {
            two_sessions_per_user(&two);
            four_relay_ports(&four);
            nat_discovery(first, second);
        });
    });
    let all = [
        users, rest, defaults, seconds, two, four, redirect, oauth, discovery,
    ];
    for node in &all {
        let ready = kit::http::get(node.metrics, "/readyz");
        assert_eq!(ready.map(|(status, _)| status), Some(200), "{}", node.id());
    }
}

fn uclient(server: SocketAddr, way: Way, flags: &'static [&'static str]) -> Totals {
    let _turn = in_turn();
    let uclient = Uclient {
        server,
        login: stored_login(),
        way,
        clients: 1,
        messages: 20,
        flags,
        peer: None,
    };
    uclient.run(RUN)
}

/// The code that an Allocate is refused with; `None`: it is granted, and released again.
fn refused(node: &Node, login: &Login) -> Option<u16> {
    let mut client = node.client(login);
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            None
        }
        Err(error) => Some(error.code().unwrap_or_else(|| panic!("{error}"))),
    }
}

fn static_users(node: &Node) {
    assert_at_least(20, &uclient(node.turn, Way::Channels, &[]));
    assert_eq!(refused(node, &Login::new("bob", "builder")), None, "by key");
    assert_eq!(refused(node, &Login::new("alice", "guess")), Some(401));
    assert_eq!(refused(node, &rest_login("alice")), Some(401));
}

fn redirect_by_300(node: &Node, target: &Node) {
    let to = target.turn.to_string();
    let add = ["redirect", "add", "--transport", "udp", &to, "--yes"];
    let added = node.ctl().run(&add);
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    wait_until("clients to be sent elsewhere", SOON, || {
        let mut client = node.client(&stored_login());
        let sent = matches!(client.allocate(), Err(ClientError::Refused(300)));
        sent && client.alternate() == Some(target.turn)
    });
    let before = target.metric("relayd_allocations_total");
    assert_at_least(20, &uclient(node.turn, Way::Channels, &[]));
    assert!(target.metric("relayd_allocations_total") > before);
    let up = || node.ctl().items(&["redirect", "list"])[0]["health"] == "up";
    wait_until("the target to be known as up", SOON, up);
}

fn rest_secret(node: &Node) {
    // Peers of this machine are closed: clients among themselves, over relay addresses.
    let totals = uclient(node.turn, Way::ClientToClient, &["-W", SECRET]);
    assert!(totals.sent >= 20, "{}", totals.text);
    assert_eq!(
        (totals.received, totals.lost),
        (totals.sent, 0),
        "{}",
        totals.text
    );
    assert_eq!(refused(node, &rest_login("anna")), None);
    let next = Login::rest(
        &format!("{}:anna", unix_now() + 60),
        "the-secret-that-comes-next",
    );
    assert_eq!(refused(node, &next), None);
    let past = Login::rest(&format!("{}:anna", unix_now() - 60), SECRET);
    assert_eq!(refused(node, &past), Some(401));
    assert_eq!(refused(node, &stored_login()), Some(401));
}

fn tokens(node: &Node) {
    add_keys(node);
    assert_at_least(20, &uclient(node.turn, Way::Channels, &["-J"]));
    let challenge = ask(node.turn, udp_allocate());
    let challenge = Message::parse(&challenge).unwrap();
    let name = challenge.attribute(A::THIRD_PARTY_AUTHORIZATION);
    assert_eq!(name, Some(SERVER_NAME.as_bytes()));
}

fn two_sessions_per_user(node: &Node) {
    let mut clients: Vec<_> = (0..2).map(|_| node.client(&stored_login())).collect();
    for client in &mut clients {
        client.allocate().unwrap();
    }
    assert_eq!(refused(node, &stored_login()), Some(486));
    assert_eq!(refused(node, &Login::new("bob", "builder")), None);
    clients[0].refresh(0).unwrap();
    assert_eq!(refused(node, &stored_login()), None);
}

fn four_relay_ports(node: &Node) {
    let mut clients: Vec<_> = (0..4).map(|_| node.client(&stored_login())).collect();
    let relays = clients
        .iter_mut()
        .map(|client| client.allocate().unwrap().relay.port());
    let mut ports: Vec<_> = relays.collect();
    ports.sort_unstable();
    assert_eq!(ports, [20_000, 20_001, 20_002, 20_003]);
    assert_eq!(refused(node, &stored_login()), Some(508));
    clients[2].refresh(0).unwrap();
    wait_until("the port to be free again", SOON, || {
        refused(node, &stored_login()).is_none()
    });
}

fn nat_discovery(first: SocketAddr, second: SocketAddr) {
    let (ip, port) = (first.ip().to_string(), first.port().to_string());
    for (options, words) in [
        (&["-m", "-L", "127.0.0.1"][..], "No NAT!"),
        (&["-f"], "NAT with Endpoint Independent Filtering!"),
        (&["-m", "-P"], "RFC 5780 response 2"),
    ] {
        let arguments = [options, &["-p", &port, &ip]].concat();
        let output = program::run("coturn", "turnutils_natdiscovery", &arguments, RUN);
        let text = program::text(&output);
        assert!(text.contains(words), "{options:?}: {text}");
    }
    let answer = ask(first, MessageBuilder::request(Method::Binding, fresh_id()));
    let other = Message::parse(&answer)
        .unwrap()
        .plain_address(A::OTHER_ADDRESS);
    assert_eq!(
        other.unwrap(),
        Some(SocketAddr::new(second.ip(), first.port() + 1))
    );
}

/// The answer to a request without credentials.
fn ask(server: SocketAddr, request: MessageBuilder) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(&request.finish(), server).unwrap();
    let mut buffer = [0; 2048];
    let (len, _) = socket.recv_from(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn udp_allocate() -> MessageBuilder {
    MessageBuilder::request(Method::Allocate, fresh_id())
        .attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

/// Safe: nobody gets in, nothing is told, nothing of this machine is reached, no extension is on.
fn all_defaults(node: &Node) {
    assert_eq!(refused(node, &stored_login()), Some(401));
    assert_eq!(refused(node, &rest_login("alice")), Some(401));
    let input = node.state_dir().join("password");
    std::fs::write(&input, "wonderland\n").unwrap();
    let add = [
        "user",
        "add",
        "alice",
        "--realm",
        "relayd",
        "--password-stdin",
    ];
    let added = node.ctl().run_with_input(&add, Some(&input));
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    let mut client = node.client(&stored_login());
    let granted = wait_for("the user to be known", SOON, || client.allocate().ok());
    assert_eq!(granted.lifetime, 600);
    assert!((49_152..=65_535).contains(&granted.relay.port()));
    assert_eq!(client.refresh(86_400).unwrap(), 3600);
    assert_eq!(client.refresh(1).unwrap(), 600);
    for peer in ["127.0.0.1", "10.0.0.1", "169.254.169.254"] {
        let peer = peer.parse().unwrap();
        assert_eq!(client.permit(&[peer]).unwrap_err().code(), Some(403));
    }
    let binding = ask(
        node.turn,
        MessageBuilder::request(Method::Binding, fresh_id()),
    );
    let binding = Message::parse(&binding).unwrap();
    let challenge = ask(node.turn, udp_allocate());
    let challenge = Message::parse(&challenge).unwrap();
    for (answer, silent) in [
        (&binding, A::SOFTWARE),
        (&binding, A::OTHER_ADDRESS),
        (&challenge, A::SOFTWARE),
        (&challenge, A::THIRD_PARTY_AUTHORIZATION),
        (&challenge, A::PASSWORD_ALGORITHMS),
    ] {
        assert_eq!(answer.attribute(silent), None, "{silent:?}");
    }
    let mut stream = StreamClient::tcp(node.turn, stored_login()).unwrap();
    let tcp = stream.request(Method::Allocate, |request| {
        request.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
    });
    assert_eq!(tcp.unwrap_err().code(), Some(442), "no TCP relaying");
    let mut other = node.client(&stored_login());
    let mobile = other.request(Method::Allocate, |request| {
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        request.attribute(A::MOBILITY_TICKET, &[])
    });
    assert_eq!(mobile.unwrap_err().code(), Some(405), "no mobility");
}

fn lifetimes_of_seconds(node: &Node) {
    let granted = |lifetime| {
        let mut client = node.client(&stored_login());
        let options = AllocateOptions {
            lifetime,
            ..AllocateOptions::default()
        };
        let granted = client.allocate_with(options).unwrap();
        (granted, client)
    };
    assert_eq!(granted(None).0.lifetime, 3);
    assert_eq!(granted(Some(1)).0.lifetime, 1);
    let (longest, mut client) = granted(Some(600));
    assert_eq!(longest.lifetime, 30);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    permissions_end(&mut client, &peer, longest.relay);
    client.bind_channel(0x4000, address).unwrap();
    let taken = other.local_addr().unwrap();
    let conflict = client.bind_channel(0x4000, taken).unwrap_err();
    assert_eq!(conflict.code(), Some(400));
    wait_until("channel and guard to end", SOON, || {
        client.refresh(600).unwrap();
        client.bind_channel(0x4000, taken).is_ok()
    });
    let stale = || node.metric_of("relayd_refusals_total", "reason=\"stale_nonce\"");
    wait_until("nonces to have gone stale", SOON, || stale() > Some(0.0));
    client.refresh(0).unwrap();
    reservations_end(node);
    let mut silent = node.client(&stored_login());
    silent.allocate().unwrap();
    // A permission does not keep a session.
    let mut ended = || silent.permit(&[address.ip()]).err()?.code();
    wait_until("the session to end", SOON, || ended() == Some(437));
    let mut idle = StreamClient::tcp(node.turn, stored_login()).unwrap();
    assert!(idle.is_closed(SOON), "who says nothing is closed");
}

fn permissions_end(client: &mut TurnClient, peer: &UdpSocket, relay: SocketAddr) {
    let address = peer.local_addr().unwrap();
    let reached = |client: &mut TurnClient| {
        peer.send_to(b"hello", relay).unwrap();
        let data = client.recv(MOMENT).unwrap();
        data == Some((From::Peer(address), b"hello".to_vec()))
    };
    client.permit(&[address.ip()]).unwrap();
    wait_until("the peer to reach the client", SOON, || {
        client.permit(&[address.ip()]).unwrap();
        reached(client)
    });
    wait_until("the permission to end", SOON, || {
        client.refresh(600).unwrap();
        !reached(client)
    });
}

fn reservations_end(node: &Node) {
    let even = |node: &Node| {
        let mut client = node.client(&stored_login());
        let options = AllocateOptions {
            even_port: Some(true),
            ..AllocateOptions::default()
        };
        let token = client.allocate_with(options).unwrap().token.unwrap();
        client.refresh(0).unwrap();
        token
    };
    let claim = |token| {
        let options = AllocateOptions {
            token: Some(token),
            ..AllocateOptions::default()
        };
        let mut client = node.client(&stored_login());
        let claimed = client.allocate_with(options).map(drop);
        let _ = client.refresh(0);
        claimed
    };
    claim(even(node)).unwrap();
    let forgotten = even(node);
    let used = || node.metric("relayd_relay_ports_used");
    wait_until("the reserved port to come back", SOON, || {
        used() == Some(0.0)
    });
    assert_eq!(claim(forgotten).unwrap_err().code(), Some(508));
}
