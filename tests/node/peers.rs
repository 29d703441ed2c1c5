//! What a client cannot reach through the relay, whatever an operator allows.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::client::{AllocateOptions, From, TurnClient, fresh_id};
use kit::cluster::cluster_key;
use kit::node::{Node, NodeOptions, REALM, stored_login};
use kit::redis::RedisServer;
use kit::wait::wait_until;
use turn_proto::stun::{MessageBuilder, Method};

use crate::tcp_relaying::Client;

const SOON: Duration = Duration::from_secs(5);
/// What is to happen within a second, on a machine that is busy.
const SECOND: Duration = Duration::from_secs(1);

/// Every special-use range of IPv4, one address of each.
const SPECIAL_V4: &str = "0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.0.0.8 \
    192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.1.1 192.175.48.1 198.18.0.1 198.51.100.1 \
    203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255";
/// The same of IPv6, with every form that embeds an IPv4 address; without ::1, where the node relays.
const SPECIAL_V6: &str = ":: ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:7f00:1 \
    64:ff9b::7f00:1 64:ff9b:1::7f00:1 100::1 2001::7f00:1 2001:db8::1 2002:7f00:1::1 2620:4f:8000::1 \
    3fff::1 5f00::1 2a00::5efe:127.0.0.1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1";

fn refused(node: &Node, reason: &str) -> f64 {
    let (_, text) = kit::http::get(node.metrics, "/metrics").unwrap();
    let wanted = format!("reason=\"{reason}\"");
    let lines = text.lines().filter(|line| line.contains(&wanted));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn default_settings_refuse_every_special_use_address_and_count_it() {
    let node = Node::prepare(NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    });
    let config = std::fs::read_to_string(node.config_path()).unwrap();
    let both = format!("relay_addresses = [\"{}\", \"::1\"]\n{config}", node.ip);
    std::fs::write(node.config_path(), both).unwrap();
    let mut node = node;
    node.launch();
    node.wait_ready();
    let mut expected = 0.0;
    for (family, list) in [(1, SPECIAL_V4), (2, SPECIAL_V6)] {
        let mut client = node.client(&stored_login());
        let options = AllocateOptions {
            family: Some(family),
            ..AllocateOptions::default()
        };
        client.allocate_with(options).unwrap();
        for (number, ip) in (0x4000..).zip(list.split_whitespace()) {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(client.permit(&[ip]).unwrap_err().code(), Some(403), "{ip}");
            let bound = client.bind_channel(number, SocketAddr::new(ip, 9));
            assert_eq!(bound.unwrap_err().code(), Some(403), "{ip}");
            expected += 2.0;
        }
    }
    wait_until("all of them to be counted", SOON, || {
        (refused(&node, "denied_peer") - expected).abs() < 0.5
    });
}

/// A node with everything that an operator may switch on, and loopback open to peers.
struct Open {
    node: Node,
    /// One port on two addresses, for NAT behaviour discovery: a second port of each listens, too.
    listeners: [SocketAddr; 2],
    admin: SocketAddr,
    redis: RedisServer,
    _folder: tempfile::TempDir,
}

impl Open {
    fn start() -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let admin = free_port(fresh_ip());
        let first = free_port(fresh_ip());
        let second = SocketAddr::new(fresh_ip(), first.port());
        let mut node = Node::start(NodeOptions {
            redis: Some(redis.url()),
            cluster_key: Some(cluster_key(&folder)),
            top: "tcp_relay = true\nrfc5780 = true\n".to_owned(),
            environment: vec![("RELAYD_LISTEN".to_owned(), format!("{first},{second}"))],
            end: format!("[admin]\nlisten = \"{admin}\"\n"),
            ..NodeOptions::default()
        });
        node.turn = first;
        Self {
            listeners: [first, second],
            node,
            admin,
            redis,
            _folder: folder,
        }
    }

    /// Everything that the node listens on and talks to.
    fn services(&self) -> Vec<SocketAddr> {
        let redis = SocketAddr::from(([127, 0, 0, 1], self.redis.port));
        let mut services = vec![self.admin, self.node.metrics, redis];
        for listener in self.listeners {
            let second_port = listener.port() + 1;
            services.extend([listener, SocketAddr::new(listener.ip(), second_port)]);
        }
        services
    }
}

/// Whether a datagram that a client sends to `peer` through its relay arrives there.
fn arrives(client: &TurnClient, peer: SocketAddr) -> bool {
    // What is asked for listens on TCP: the port is free for UDP, and shows whatever comes.
    let there = UdpSocket::bind(peer).unwrap();
    there
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    client
        .send(peer, b"GET /v1/sessions HTTP/1.1\r\n\r\n")
        .unwrap();
    there.recv_from(&mut [0; 100]).is_ok()
}

#[test]
fn nothing_of_the_node_is_reached_through_its_own_relay() {
    let open = Open::start();
    let node = &open.node;
    let redis = SocketAddr::from(([127, 0, 0, 1], open.redis.port));
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    let services = open.services();
    for (number, service) in (0x4000..).zip(&services) {
        let bound = client.bind_channel(number, *service);
        assert_eq!(bound.unwrap_err().code(), Some(403), "{service}");
    }
    wait_until("all of them to be counted", SOON, || {
        (refused(node, "denied_peer") - services.len() as f64).abs() < 0.5
    });
    // A permission has no port, and the rest of loopback is open: each datagram is judged.
    for ip in [open.admin.ip(), redis.ip(), node.ip, node.turn.ip()] {
        client.permit(&[ip]).unwrap();
    }
    for service in [open.admin, node.metrics, redis] {
        assert!(!arrives(&client, service), "{service}");
    }
    let binding = MessageBuilder::request(Method::Binding, fresh_id()).finish();
    client.send(node.turn, &binding).unwrap();
    assert_eq!(client.recv(Duration::from_millis(300)).unwrap(), None);
    wait_until("four drops to be counted", SOON, || {
        (refused(node, "denied_send") - 4.0).abs() < 0.5
    });
    // The way there is open otherwise.
    assert!(arrives(&client, free_port(open.admin.ip())));
}

#[test]
fn nothing_of_the_node_is_reached_through_its_own_relay_by_tcp() {
    let open = Open::start();
    let node = &open.node;
    let mut client = Client::new(node, stored_login());
    client.allocate();
    let services = open.services();
    for service in &services {
        assert_eq!(client.connect(*service), Err(403), "{service}");
    }
    wait_until("all of them to be counted", SOON, || {
        (refused(node, "denied_peer") - services.len() as f64).abs() < 0.5
    });
    // The way there is open otherwise.
    for ip in services.iter().map(SocketAddr::ip) {
        let neighbour = TcpListener::bind((ip, 0)).unwrap();
        client.connect(neighbour.local_addr().unwrap()).unwrap();
    }
}

#[test]
fn a_peer_that_is_denied_while_its_channel_runs_gets_nothing_within_a_second() {
    let node = Node::start(NodeOptions::default());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let address = peer.local_addr().unwrap();
    let mut client = node.client(&stored_login());
    let relay = client.allocate().unwrap().relay;
    client.bind_channel(0x4000, address).unwrap();
    let mut both_ways = || {
        client.send_channel(0x4000, b"ping").unwrap();
        let there = peer.recv_from(&mut [0; 10]).is_ok();
        peer.send_to(b"pong", relay).unwrap();
        let back = client.recv(Duration::from_millis(50)).unwrap();
        (
            there,
            back == Some((From::Channel(0x4000), b"pong".to_vec())),
        )
    };
    wait_until("data to pass", SOON, || both_ways() == (true, true));
    let denied = format!("denied_peers={}", address.ip());
    let edited = node.ctl().run(&["realm", "set", REALM, &denied, "--yes"]);
    assert_eq!(edited.code, 0, "{edited:?}");
    // On a busy machine a word may come late, and be none that stopped.
    wait_until("data to stop", SECOND * 5, || {
        (0..5).all(|_| both_ways() == (false, false))
    });
    for _ in 0..5 {
        assert_eq!(both_ways(), (false, false));
    }
}
