//! Whom clients may talk to, and that Debian's `turnserver` says the same.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use kit::client::{AllocateOptions, TurnClient};
use kit::netns::{ip, isolated};
use kit::program::{self, Sinks, spawn};
use kit::wait::wait_until;

use crate::north::{FLAGS, SOON, alice, code, exchange, peer_on};
use crate::start::Migrated;

const LINES: &str = "listening-ip=192.0.2.30\nrelay-ip=10.9.0.1\nrelay-ip=2a00:9::1\nrealm=north.gov\nlt-cred-mech\n\
    user=alice:wonderland-wonder\nno-tls\nno-dtls\nno-cli\nuserdb=/var/db/turndb\npidfile=/var/run/coturn.pid\n\
    log-file=/var/tmp/turn.log\nsimple-log\nno-multicast-peers\n\
    denied-peer-ip=8.8.1.0-8.8.2.255\nallowed-peer-ip=8.8.1.7\nallowed-peer-ip=8.8.2.10-8.8.2.20\n\
    denied-peer-ip=8.8.2.15\ndenied-peer-ip=9.9.9.9\n\
    allowed-peer-ip=10.2.0.0-10.2.0.255\nallowed-peer-ip=223.0.0.0-239.255.255.255\n\
    denied-peer-ip=2a00:1::-2a00:1::ff\nallowed-peer-ip=2a00:1::7\nallowed-peer-ip=ff00::-ff02::ffff\n";

/// Peers by what both servers say of them.
const ALLOWED: &[&str] = &[
    "8.8.0.255", // Next to a range that is denied.
    "8.8.3.0",
    "8.8.1.7",  // A single address is let out of a denied range,
    "8.8.2.10", // and a range is, with both of its ends,
    "8.8.2.20",
    "8.8.2.15", // even where the deny list has one of it.
    "9.9.9.8",
    "10.2.0.255",
    "223.255.255.255",
    "2a00:1::7",
    "2a00:1::100",
    "2a00::ffff",
];
const DENIED: &[&str] = &[
    "8.8.1.0", // Both ends of a range, and what is between.
    "8.8.1.6",
    "8.8.1.8",
    "8.8.2.9",
    "8.8.2.21",
    "8.8.2.255",
    "9.9.9.9",
    "224.0.0.1", // Multicast, even where it is allowed.
    "239.255.255.255",
    "ff02::1",
    "2a00:1::",
    "2a00:1::6",
    "2a00:1::ff",
];
/// Denied here alone, where nothing allows them; coturn would let clients reach them.
const PRIVATE: &[&str] = &["10.3.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1"];

fn client(node: &Migrated, family: u8) -> TurnClient {
    let mut client = node.client(&alice());
    let options = AllocateOptions {
        family: Some(family),
        ..AllocateOptions::default()
    };
    client.allocate_with(options).unwrap();
    client
}

/// Asks about each of them, by CreatePermission and ChannelBind.
#[track_caller]
fn assert_all(node: &Migrated, peers: &[&str], expected: Option<u16>) {
    let mut clients = [client(node, 1), client(node, 2)];
    for (number, peer) in (0x4000..).zip(peers) {
        let ip: IpAddr = peer.parse().unwrap();
        let client = &mut clients[usize::from(ip.is_ipv6())];
        let answers = [
            client.permit(&[ip]),
            client.bind_channel(number, SocketAddr::new(ip, 9)),
        ];
        for answer in answers {
            match expected {
                None => answer.unwrap_or_else(|error| panic!("{peer}: {error}")),
                expected => assert_eq!(code(answer), expected, "{peer}"),
            }
        }
    }
}

/// A network in which public addresses are ours.
fn world() {
    ip("link add world0 type veth peer name world1");
    ip("link set world1 up");
    ip("link set world0 up");
    let addresses = ALLOWED.iter().chain(DENIED).chain(PRIVATE);
    let unicast = addresses.filter(|ip| !ip.parse::<IpAddr>().unwrap().is_multicast());
    for address in unicast.chain(&["10.9.0.1", "2a00:9::1"]) {
        match address.contains(':') {
            true => ip(&format!("address add {address}/128 dev world0 nodad")),
            false => ip(&format!("address add {address}/32 dev world0")),
        }
    }
}

#[test]
fn peers_are_denied_and_allowed_as_by_coturn() {
    isolated("peers::peers_are_denied_and_allowed_as_by_coturn", || {
        world();
        let mut node = Migrated::prepare(LINES, FLAGS);
        let mut command = Command::new("turnserver");
        command.arg("-c").arg(node.file("turnserver.conf"));
        let mut coturn = spawn("coturn", command, &Sinks::File(&node.file("terminal.log")));
        wait_until("turnserver to answer its user", 6 * SOON, || {
            node.client(&alice()).allocate().is_ok()
        });
        assert_all(&node, ALLOWED, None);
        assert_all(&node, DENIED, Some(403));
        assert_all(&node, PRIVATE, None);
        program::signal(&coturn, "TERM");
        if program::ended(&mut coturn, 3 * SOON).is_none() {
            let _ = coturn.kill();
            let _ = coturn.wait();
        }
        node.launch();
        node.wait_ready();
        assert_all(&node, ALLOWED, None);
        assert_all(&node, DENIED, Some(403));
        assert_all(&node, PRIVATE, Some(403));
        // What the answers say, packets do.
        let mut clients = [client(&node, 1), client(&node, 2)];
        let mut denied = Vec::new();
        for peer in DENIED.iter().chain(PRIVATE) {
            let ip: IpAddr = peer.parse().unwrap();
            if ip.is_multicast() {
                continue;
            }
            let (socket, address) = peer_on(peer);
            clients[usize::from(ip.is_ipv6())]
                .send(address, b"never")
                .unwrap();
            denied.push(socket);
        }
        for peer in ALLOWED {
            let (socket, address) = peer_on(peer);
            let client = &mut clients[usize::from(address.is_ipv6())];
            client.permit(&[address.ip()]).unwrap();
            exchange(client, &socket);
        }
        // Sent before all that arrived.
        for socket in denied {
            socket.set_nonblocking(true).unwrap();
            assert!(
                socket.recv(&mut [0; 64]).is_err(),
                "{socket:?} heard of a client"
            );
        }
    });
}

#[test]
fn private_and_multicast_peers_are_denied_without_a_word() {
    let text = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
    let node = Migrated::start(text, FLAGS);
    let mut client = node.client(&alice());
    client.allocate().unwrap();
    for peer in [
        "127.0.0.1",
        "10.2.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "0.0.0.0",
    ] {
        let peer: IpAddr = peer.parse().unwrap();
        assert_eq!(code(client.permit(&[peer])), Some(403), "{peer}");
    }
    assert_eq!(
        node.said().matches("denied-peer-ip: is not given").count(),
        1
    );
}
