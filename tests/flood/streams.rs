//! A million broken inputs over TCP, and as many over TLS.
//!
//! An input is a message that is broken within a sound frame, or a connection that ends by losing its
//! framing, in the middle of a message, or with TLS that is none.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::address::fresh_ip;
use kit::certificate::{HOST, TestCertificate};
use kit::node::{Node, NodeOptions, stored_login};
use kit::stream::{StreamClient, connect_from, tls_config};
use kit::wait::wait_until;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::datagrams::Datagrams;
use crate::frames::{Ending, push_ending, push_frame};
use crate::{Over, assert_flat, settled_memory};

const FIRST: u64 = 100_000;
const ALL: u64 = 1_000_000;
/// Connections that break at the same time.
const THREADS: u64 = 2;
/// Messages of one connection: a handshake costs as much as a thousand of them.
const PER_TCP_CONNECTION: u64 = 99;
const PER_TLS_CONNECTION: u64 = 1_499;
/// Connections whose TLS is none, for each with a handshake.
const BROKEN_HANDSHAKES: u64 = 4;
/// How long the node may take to close what it cannot read, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_million_bad_inputs_over_tcp_cost_no_memory_and_no_descriptor() {
    let node = Node::start(NodeOptions::default());
    flood(&node, &Carrier::Tcp);
}

#[test]
fn a_million_bad_inputs_over_tls_cost_no_memory_and_no_descriptor() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    });
    flood(&node, &Carrier::Tls(tls_config(rustls::ALL_VERSIONS, &[])));
}

/// What the streams are carried by.
enum Carrier {
    Tcp,
    Tls(Arc<ClientConfig>),
}

fn flood(node: &Node, carrier: &Carrier) {
    let descriptors = settled_descriptors(node);
    genuine_session(node, carrier);
    let (first, mut sessions) = run(node, carrier, FIRST);
    let before = at_rest(node, &descriptors);
    let (second, more) = run(node, carrier, ALL - FIRST);
    let after = at_rest(node, &descriptors);
    sessions += more;
    let (counted, sent) = (counted(node, carrier), first + second);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let share = counted / sent as f64;
    assert!(share >= 0.9, "{counted} of {sent} counted");
    assert_flat(before, after);
    assert!(sessions > 10, "only {sessions} sessions meanwhile");
    genuine_session(node, carrier);
}

/// Sends at least so many inputs, beside genuine sessions; how many there were of either.
fn run(node: &Node, carrier: &Carrier, inputs: u64) -> (u64, u32) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let genuine = scope.spawn(|| {
            let mut sessions = 0;
            while !done.load(Ordering::Relaxed) {
                genuine_session(node, carrier);
                sessions += 1;
            }
            sessions
        });
        let over = Over(&done);
        let flood = || break_connections(node, carrier, inputs / THREADS);
        let floods: Vec<_> = (0..THREADS).map(|_| scope.spawn(flood)).collect();
        let sent = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
        drop(over);
        (sent, genuine.join().unwrap())
    })
}

/// What the node has open once that stays the same: whoever asked whether it is ready is gone then.
fn settled_descriptors(node: &Node) -> Vec<String> {
    let mut last = (node.descriptors(), Instant::now());
    wait_until("descriptors to stay as they are", PATIENCE, || {
        let open = node.descriptors();
        if open != last.0 {
            last = (open, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(300)
    });
    last.0
}

/// Memory once connections and relay sockets have given their descriptors back.
fn at_rest(node: &Node, descriptors: &[String]) -> u64 {
    let end = Instant::now() + PATIENCE;
    wait_until("descriptors to be closed", PATIENCE * 2, || {
        let open = node.descriptors();
        assert!(open == descriptors || Instant::now() < end, "{open:#?}");
        open == descriptors
    });
    settled_memory(node)
}

/// Inputs that the node says it received: broken messages, and connections that it closed for what
/// came over them.
fn counted(node: &Node, carrier: &Carrier) -> f64 {
    let transport = match carrier {
        Carrier::Tcp => "tcp",
        Carrier::Tls(_) => "tls",
    };
    let messages = format!("relayd_messages_received_total{{transport=\"{transport}\"}}");
    let closed = ["garbage", "truncated", "tls"]
        .map(|reason| format!("relayd_connections_closed_total{{reason=\"{reason}\"}}"));
    closed
        .iter()
        .chain([&messages])
        .map(|name| node.sample(name).unwrap())
        .sum()
}

/// Allocates, relays a message each way, and ends: all of it has to work.
fn genuine_session(node: &Node, carrier: &Carrier) {
    let socket = connect_from(fresh_ip(), node.turn).unwrap();
    let mut client = match carrier {
        Carrier::Tcp => StreamClient::over(socket, stored_login()).unwrap(),
        Carrier::Tls(config) => {
            StreamClient::tls_over(socket, stored_login(), config, HOST).unwrap()
        }
    };
    let relayed = client.allocate().unwrap();
    // Not on the node's address, whose own services are nobody's peers.
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .bind_channel(0x4000, peer.local_addr().unwrap())
        .unwrap();
    client.send_channel(0x4000, b"there").unwrap();
    let mut buffer = [0; 100];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (&b"there"[..], relayed));
    peer.send_to(b"back", relayed).unwrap();
    assert_eq!(
        client.recv_channel(PATIENCE).unwrap(),
        Some((0x4000, b"back".to_vec()))
    );
    client.refresh(0).unwrap();
}

/// Makes connections and breaks them until so many inputs were sent; how many there were.
fn break_connections(node: &Node, carrier: &Carrier, inputs: u64) -> u64 {
    let (from, mut datagrams, mut sent) = (fresh_ip(), Datagrams::seeded(), 0);
    while sent < inputs {
        let broken = match carrier {
            Carrier::Tcp => break_tcp(node, from, &mut datagrams),
            Carrier::Tls(config) => {
                for _ in 0..BROKEN_HANDSHAKES {
                    break_handshake(node, from, &mut datagrams).unwrap();
                    sent += 1;
                }
                break_tls(node, from, config, &mut datagrams)
            }
        };
        sent += broken.unwrap();
    }
    sent
}

fn break_tcp(node: &Node, from: IpAddr, datagrams: &mut Datagrams) -> io::Result<u64> {
    let mut socket = connect_from(from, node.turn)?;
    let mut bytes = Vec::new();
    for _ in 0..PER_TCP_CONNECTION {
        push_frame(datagrams, &mut bytes);
    }
    let ending = push_ending(datagrams, &mut bytes);
    write(&mut socket, &bytes)?;
    if ending == Ending::HalfMessage {
        hang_up(&socket)?;
    }
    wait_for_the_end(&mut socket)?;
    Ok(PER_TCP_CONNECTION + 1)
}

fn break_tls(
    node: &Node,
    from: IpAddr,
    config: &Arc<ClientConfig>,
    datagrams: &mut Datagrams,
) -> io::Result<u64> {
    let mut socket = connect_from(from, node.turn)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    let mut bytes = Vec::new();
    for _ in 0..PER_TLS_CONNECTION {
        push_frame(datagrams, &mut bytes);
        // Some records hold one message, some many, some end within one.
        if datagrams.choice(4) == 0 {
            let cut = bytes.len() - datagrams.choice(bytes.len().min(40));
            secure(&mut tls, &mut socket, &bytes[..cut])?;
            bytes.drain(..cut);
        }
    }
    if datagrams.choice(4) == 0 {
        secure(&mut tls, &mut socket, &bytes)?;
        // A record that nobody has the keys of.
        write(
            &mut socket,
            &[&[0x17, 3, 3, 0, 40][..], &[0x5a; 40]].concat(),
        )?;
    } else {
        let ending = push_ending(datagrams, &mut bytes);
        secure(&mut tls, &mut socket, &bytes)?;
        if ending == Ending::HalfMessage {
            tls.send_close_notify();
            secure(&mut tls, &mut socket, &[])?;
            hang_up(&socket)?;
        }
    }
    wait_for_the_end(&mut socket)?;
    Ok(PER_TLS_CONNECTION + 1)
}

fn secure(tls: &mut ClientConnection, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    tls.writer().write_all(bytes)?;
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records)?;
    }
    write(socket, &records)
}

/// A record of a handshake, with noise for a hello or with less than it says.
fn break_handshake(node: &Node, from: IpAddr, datagrams: &mut Datagrams) -> io::Result<()> {
    let mut socket = connect_from(from, node.turn)?;
    let mut bytes = vec![0x16, 3, 1, 0, 0x80, 1, 0, 0, 0x7c, 3, 3];
    bytes.resize_with(5 + 0x80, || datagrams.choice(256) as u8);
    if datagrams.choice(2) == 0 {
        bytes.truncate(1 + datagrams.choice(100));
        write(&mut socket, &bytes)?;
        hang_up(&socket)?;
    } else {
        write(&mut socket, &bytes)?;
    }
    wait_for_the_end(&mut socket)
}

/// Writes everything, unless the other side has closed: it may know before everything was said.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes).or_else(forgive)
}

fn hang_up(socket: &TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write).or_else(forgive)
}

fn forgive(error: io::Error) -> io::Result<()> {
    let closed = [
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::NotConnected,
    ];
    if closed.contains(&error.kind()) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Reads whatever is answered until the node closes: so nothing of what was sent is lost.
fn wait_for_the_end(socket: &mut TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 16_384];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return forgive(error),
        }
    }
}
