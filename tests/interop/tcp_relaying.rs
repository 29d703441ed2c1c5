//! TCP relaying (RFC 6062) with coturn's client: nothing may be lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use kit::address::fresh_ip;
use kit::certificate::TestCertificate;
use kit::coturn::{Totals, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};

use crate::uclient::{assert_at_least, in_turn};

/// A run takes ten seconds, and longer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);

/// Accepts connections and sends back what comes, as long as the test runs.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((fresh_ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut from, mut to) = (&stream, &stream);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    if to.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn run(way: Way, workers: u16, flags: &'static [&'static str]) -> Totals {
    let _turn = in_turn();
    // Half of the ciphers that uclient tries in turn go with RSA only.
    let tls = TestCertificate::rsa();
    let node = Node::start(NodeOptions {
        workers,
        max_sessions_per_user: Some(100),
        top: "tcp_relay = true\n".to_owned(),
        end: format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            tls.certificate().display(),
            tls.key().display()
        ),
        ..NodeOptions::default()
    });
    let uclient = Uclient {
        server: node.turn,
        login: stored_login(),
        way,
        clients: 6,
        messages: 50,
        flags,
        peer: None,
    };
    uclient.run(DEADLINE)
}

#[test]
fn connections_to_a_peer_lose_nothing_on_one_worker() {
    let way = Way::TcpPeer(echo());
    assert_at_least(300, &run(way, 1, &["-T", "-t"]));
}

#[test]
fn connections_among_clients_lose_nothing_on_four_workers() {
    assert_at_least(300, &run(Way::ClientToClient, 4, &["-T", "-t"]));
}

#[test]
fn connections_over_tls_lose_nothing_on_four_workers() {
    let way = Way::TcpPeer(echo());
    assert_at_least(300, &run(way, 4, &["-T", "-t", "-S"]));
}
