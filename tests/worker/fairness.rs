//! One loud session takes nothing from the quiet ones: they are served in the same turn, whatever waits.

use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};

use kit::client::TurnClient;

use crate::by_hand::Hand;
use crate::peer;

/// Sessions that send a packet now and then.
const QUIET: usize = 20;
/// What a loud one sends at once: several turns' worth of its socket, and less than its buffer holds.
const FLOOD: usize = 200;
/// Messages that a worker takes from one relay socket per turn.
const RELAY_BUDGET: usize = 32;
/// Messages that it takes from a listener per turn.
const LISTENER_BUDGET: usize = 128;
/// Bytes that it takes from one connection per turn.
const STREAM_BUDGET: usize = 64 << 10;
const CHANNEL: u16 = 0x4001;

/// A client, its relayed address and its peer.
type Session = (TurnClient, SocketAddr, UdpSocket);

fn session(hand: &mut Hand) -> Session {
    let peer = peer();
    let (client, relay) = hand.client(CHANNEL, peer.local_addr().unwrap());
    peer.set_nonblocking(true).unwrap();
    client.socket().set_nonblocking(true).unwrap();
    (client, relay, peer)
}

/// Takes all datagrams that are there: how each of them ends, where it says its number.
fn numbers(socket: &UdpSocket) -> Vec<u16> {
    let mut buffer = [0; 2_000];
    let next = || socket.recv(&mut buffer).map(|len| number(&buffer[..len]));
    std::iter::from_fn({
        let mut next = next;
        move || next().ok()
    })
    .collect()
}

fn number(datagram: &[u8]) -> u16 {
    u16::from_be_bytes(*datagram.last_chunk().unwrap())
}

/// Waits until the kernel has delivered what was sent before: loopback goes through one queue per core.
fn delivered() {
    let socket = peer();
    let address = socket.local_addr().unwrap();
    socket.send_to(b"last", address).unwrap();
    socket.recv(&mut [0; 4]).unwrap();
}

fn payload(number: usize) -> [u8; 160] {
    let mut payload = [7; 160];
    payload[158..].copy_from_slice(&(number as u16).to_be_bytes());
    payload
}

fn all(count: usize) -> Vec<u16> {
    (0..count as u16).collect()
}

#[test]
fn peers_of_quiet_sessions_are_heard_in_the_turn_in_which_a_loud_one_floods() {
    let mut hand = Hand::new();
    // More than fit into one turn's receive slots.
    let loud: Vec<Session> = (0..5).map(|_| session(&mut hand)).collect();
    let quiet: Vec<Session> = (0..QUIET).map(|_| session(&mut hand)).collect();
    for (_, relay, peer) in &loud {
        for i in 0..FLOOD {
            peer.send_to(&payload(i), relay).unwrap();
        }
    }
    for (i, (_, relay, peer)) in quiet.iter().enumerate() {
        peer.send_to(&payload(i), relay).unwrap();
    }
    delivered();
    hand.turn();
    for (i, (client, ..)) in quiet.iter().enumerate() {
        assert_eq!(numbers(client.socket()), [i as u16]);
    }
    let mut arrived: Vec<_> = loud.iter().map(|(c, ..)| numbers(c.socket())).collect();
    for arrived in &arrived {
        assert!((1..=RELAY_BUDGET).contains(&arrived.len()));
    }
    // Twice as many turns as their budgets need: the slots of a turn end in the middle of one.
    for _ in 0..2 * FLOOD.div_ceil(RELAY_BUDGET) {
        if arrived.iter().all(|arrived| arrived.len() == FLOOD) {
            break;
        }
        hand.turn();
        for (arrived, (client, ..)) in arrived.iter_mut().zip(&loud) {
            arrived.extend(numbers(client.socket()));
        }
    }
    assert!(arrived.iter().all(|arrived| *arrived == all(FLOOD)));
}

#[test]
fn peers_and_clients_behind_it_are_served_while_one_client_floods_the_listener() {
    let mut hand = Hand::new();
    let (loud, _, loud_peer) = session(&mut hand);
    let quiet: Vec<Session> = (0..QUIET).map(|_| session(&mut hand)).collect();
    for i in 0..FLOOD {
        loud.send_channel(CHANNEL, &payload(i)).unwrap();
    }
    for (i, (client, relay, peer)) in quiet.iter().enumerate() {
        client.send_channel(CHANNEL, &payload(i)).unwrap();
        peer.send_to(&payload(i), relay).unwrap();
    }
    delivered();
    hand.turn();
    for (i, (client, _, peer)) in quiet.iter().enumerate() {
        assert_eq!(numbers(client.socket()), [i as u16]);
        // The listener's socket is one queue: these wait for their turn in it.
        assert_eq!(numbers(peer), all(0));
    }
    let mut arrived = numbers(&loud_peer);
    assert_eq!(arrived.len(), LISTENER_BUDGET);
    for _ in 1..(FLOOD + QUIET).div_ceil(LISTENER_BUDGET) {
        hand.turn();
    }
    arrived.extend(numbers(&loud_peer));
    assert_eq!(arrived, all(FLOOD));
    for (i, (.., peer)) in quiet.iter().enumerate() {
        assert_eq!(numbers(peer), [i as u16]);
    }
}

#[test]
fn quiet_tcp_clients_are_served_in_the_turn_in_which_a_loud_one_floods() {
    let mut hand = Hand::new();
    let loud_peer = peer();
    let loud = hand.stream(CHANNEL, loud_peer.local_addr().unwrap());
    loud_peer.set_nonblocking(true).unwrap();
    let mut quiet: Vec<_> = (0..QUIET)
        .map(|_| {
            let peer = peer();
            let client = hand.stream(CHANNEL, peer.local_addr().unwrap());
            peer.set_nonblocking(true).unwrap();
            (client, peer)
        })
        .collect();
    let payload = [7; 1_000];
    let frame = [&[0x40, 1, 3, 0xe8], &payload[..]].concat();
    // As much as the buffers of both ends hold.
    loud.socket().set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(len) = fill(&mut loud.socket(), &frame) {
        written += len;
        if len < frame.len() || written > 64 * STREAM_BUDGET {
            break;
        }
    }
    assert!(written > 2 * STREAM_BUDGET, "{written}");
    for (client, _) in &mut quiet {
        client.send_channel(CHANNEL, b"now and then").unwrap();
    }
    hand.turn();
    let mut buffer = [0; 2_000];
    for (_, peer) in &quiet {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 12);
        assert!(peer.recv(&mut buffer).is_err());
    }
    let arrived = std::iter::from_fn(|| loud_peer.recv(&mut buffer).ok()).count();
    assert!(
        (1..=STREAM_BUDGET / frame.len()).contains(&arrived),
        "{arrived}"
    );
}

/// Writes what there is room for.
fn fill(socket: &mut &std::net::TcpStream, bytes: &[u8]) -> io::Result<usize> {
    socket.write(bytes)
}
