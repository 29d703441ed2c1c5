//! What the options are tried with: a file with one realm, its user, and a packet of theirs both ways.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kit::client::{ClientError, From, Login, TurnClient};
use kit::coturn::{Uclient, Way};
use kit::wait::wait_until;

use crate::start::Migrated;

/// One address to listen on and to relay from, and a user.
pub(crate) const NORTH: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
/// The file alone.
pub(crate) const FLAGS: &[&str] = &["-c", "turnserver.conf"];
/// The file, and peers on this machine.
pub(crate) const OPEN: &[&str] = &[
    "-c",
    "turnserver.conf",
    "--allow-loopback-peers",
    "--accept-open-peers",
];
/// A run of uclient on a busy machine.
const RUN: Duration = Duration::from_secs(60);
/// How long a datagram may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The user.
pub(crate) fn alice() -> Login {
    Login::new("alice", "wonderland-wonder")
}

/// A node with these lines besides.
pub(crate) fn node(lines: &str) -> Migrated {
    Migrated::start(&format!("{NORTH}{lines}\n"), FLAGS)
}

/// A node with these lines besides, whose clients have their peers on this machine.
pub(crate) fn open_node(lines: &str) -> Migrated {
    Migrated::start(&format!("{NORTH}{lines}\n"), OPEN)
}

/// The error code of a refusal.
#[track_caller]
pub(crate) fn code(result: Result<impl std::fmt::Debug, ClientError>) -> Option<u16> {
    result.unwrap_err().code()
}

/// Has coturn's client send 40 messages with these flags; all of them come back.
#[track_caller]
pub(crate) fn assert_uclient_relays(server: SocketAddr, flags: &'static [&'static str]) {
    let totals = Uclient {
        server,
        login: alice(),
        way: Way::Channels,
        clients: 2,
        messages: 20,
        flags,
        peer: None,
    }
    .run(RUN);
    // With RTCP (no -c) each client has two sessions.
    assert!(totals.sent >= 40, "{}", totals.text);
    if flags.contains(&"-t") {
        assert_eq!(totals.received, totals.sent, "{}", totals.text);
    }
    // A busy machine may drop a datagram.
    assert!(totals.received >= totals.sent * 9 / 10, "{}", totals.text);
}

/// A peer on this address, and where it is.
pub(crate) fn peer_on(ip: &str) -> (UdpSocket, SocketAddr) {
    let peer = UdpSocket::bind((ip, 0)).unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    let address = peer.local_addr().unwrap();
    (peer, address)
}

/// One payload to a permitted peer and one back; answers where the peer saw it come from.
#[track_caller]
pub(crate) fn exchange(client: &mut TurnClient, peer: &UdpSocket) -> SocketAddr {
    let address = peer.local_addr().unwrap();
    client.send(address, b"to the peer").unwrap();
    let mut buffer = [0; 64];
    let (len, relay) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"to the peer");
    peer.send_to(b"to the client", relay).unwrap();
    let (from, payload) = client.recv(SOON).unwrap().expect("what the peer sent");
    assert_eq!(
        (from, &payload[..]),
        (From::Peer(address), &b"to the client"[..])
    );
    relay
}

/// Nobody listens there, neither for UDP nor for TCP.
#[track_caller]
pub(crate) fn assert_nobody_at(address: SocketAddr) {
    let tcp = std::net::TcpStream::connect_timeout(&address, SOON);
    assert!(tcp.is_err(), "{address} takes connections");
    assert_no_udp_at(address);
}

/// Nobody listens there for UDP: the kernel answers itself.
#[track_caller]
pub(crate) fn assert_no_udp_at(address: SocketAddr) {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let client = UdpSocket::bind(any).unwrap();
    client.connect(address).unwrap();
    let pause = Some(Duration::from_millis(20));
    client.set_read_timeout(pause).unwrap();
    wait_until("the kernel to say that nobody is there", SOON, || {
        let refused = std::io::ErrorKind::ConnectionRefused;
        let sent = client.send(&[0; 20]);
        let got = client.recv(&mut [0; 64]);
        let is_refused = |error: &std::io::Error| error.kind() == refused;
        assert!(got.is_err(), "{address} answers datagrams");
        sent.err().as_ref().is_some_and(is_refused) || got.err().as_ref().is_some_and(is_refused)
    });
}
