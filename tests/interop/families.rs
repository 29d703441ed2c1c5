//! IPv6 and dual stack: listeners, relays and peers of both families.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::coturn::{FOR_UCLIENT, Totals, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};

use crate::uclient::{assert_at_least, in_turn};

const DEADLINE: Duration = Duration::from_secs(120);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A node that listens and relays on an address of each family.
fn start() -> (Node, [SocketAddr; 2]) {
    let listeners = [free_port(fresh_ip()), free_port(V6)];
    let listen = listeners.map(|address| address.to_string()).join(",");
    let node = Node::start(NodeOptions {
        allowed_peers: Some("127.0.0.0/8\", \"::1"),
        max_sessions_per_user: Some(100),
        environment: vec![("RELAYD_LISTEN".to_owned(), listen)],
        top: FOR_UCLIENT.to_owned(),
        ..NodeOptions::default()
    });
    (node, listeners)
}

fn run(server: SocketAddr, way: Way, flags: &'static [&'static str], peer: IpAddr) -> Totals {
    let uclient = Uclient {
        server,
        login: stored_login(),
        way,
        clients: 4,
        messages: 50,
        flags,
        peer: Some(peer),
    };
    uclient.run(DEADLINE)
}

#[test]
fn ipv6_relays_lose_nothing_from_listeners_of_either_family() {
    let _turn = in_turn();
    let (_node, listeners) = start();
    for server in listeners {
        for way in [Way::Channels, Way::Indications, Way::ClientToClient] {
            assert_at_least(200, &run(server, way, &["-x"], V6));
        }
    }
}

#[test]
fn dual_allocations_lose_nothing_to_peers_of_either_family() {
    let _turn = in_turn();
    let (_node, listeners) = start();
    for server in listeners {
        for peer in [fresh_ip(), V6] {
            assert_at_least(200, &run(server, Way::Channels, &["-Z"], peer));
        }
    }
    assert_at_least(200, &run(listeners[0], Way::ClientToClient, &["-Z"], V6));
}
