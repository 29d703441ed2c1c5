//! Data of all sizes and in all company: every payload arrives once, whole, in order, at its own session.

use std::time::Duration;

use kit::client::{From, Login};
use kit::flow::{Flow, Manner};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use turn_udp::receive::MAX_DATAGRAM;

use crate::{Rig, SECRET, peer};

/// The longest payload that fits into a frame of Ethernet over IPv4.
const FULL: usize = 1_472;
/// Payloads that are on their way at once: what a socket's buffer holds of the longest of them.
const BURST: usize = 32;
/// Rounds of mixed runs.
const ROUNDS: usize = 60;

fn login(number: u16) -> Login {
    Login::rest(&format!("4000000000:user-{number}"), SECRET)
}

fn flows(rig: &Rig) -> Vec<Flow> {
    let numbered = (0..).zip(Manner::all());
    numbered
        .map(|(number, manner)| Flow::open(rig.server, login(number), number, manner))
        .collect()
}

fn every_length(rig: &Rig) {
    let mut flows = flows(rig);
    let lengths: Vec<usize> = (0..=FULL).collect();
    for lengths in lengths.chunks(BURST) {
        for flow in &mut flows {
            flow.up(lengths);
            flow.down(lengths);
        }
        flows.iter_mut().for_each(Flow::settle);
    }
    for flow in flows {
        assert_eq!(flow.arrived(), 2 * (FULL as u64 + 1));
        flow.finish();
    }
}

#[test]
fn every_length_from_nothing_to_a_full_frame_arrives_over_ipv4() {
    every_length(&Rig::start(2));
}

#[test]
fn every_length_from_nothing_to_a_full_frame_arrives_over_ipv6() {
    every_length(&Rig::at("::1", 2));
}

/// A run of equal lengths and how it ends: with a shorter one, a longer one, nothing, or not at all.
fn run(random: &mut StdRng) -> Vec<usize> {
    let length = [1, 160, 159, 1_000, 1_200, 1_448, 1_449, 1_452, 1_453, FULL]
        [random.random_range(0..10_usize)];
    let mut lengths = vec![length; random.random_range(1..=8)];
    lengths.extend(match random.random_range(0..5) {
        0 => vec![length / 2],
        1 => vec![length + 1],
        2 => vec![0],
        3 => vec![0, length, length],
        _ => Vec::new(),
    });
    lengths
}

fn mixed_runs(rig: &Rig, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut flows = flows(rig);
    for _ in 0..ROUNDS {
        // Two runs of each flow and direction, with those of all others between them.
        for _ in 0..2 {
            for flow in &mut flows {
                flow.up(&run(&mut random));
                flow.down(&run(&mut random));
            }
        }
        flows.iter_mut().for_each(Flow::settle);
    }
    flows.into_iter().for_each(Flow::finish);
}

#[test]
fn runs_that_begin_and_end_in_all_ways_stay_apart_over_ipv4() {
    // With one worker all flows share its batches; with two, they do not.
    mixed_runs(&Rig::start(1), 1);
    mixed_runs(&Rig::start(2), 2);
}

#[test]
fn runs_that_begin_and_end_in_all_ways_stay_apart_over_ipv6() {
    mixed_runs(&Rig::at("::1", 1), 3);
}

#[test]
fn the_longest_datagram_is_relayed_and_a_longer_one_is_dropped() {
    let rig = Rig::start(1);
    let mut client = rig.client();
    let peer = peer();
    let relay = client.allocate().unwrap().relay;
    client
        .bind_channel(0x4001, peer.local_addr().unwrap())
        .unwrap();
    let header = 4;
    let longest = vec![1; MAX_DATAGRAM - header];
    client.send_channel(0x4001, &longest).unwrap();
    client
        .send_channel(0x4001, &[&longest[..], &[2]].concat())
        .unwrap();
    client.send_channel(0x4001, b"behind").unwrap();
    let mut buffer = vec![0; 65_536];
    let len = peer.recv(&mut buffer).unwrap();
    assert!(buffer[..len] == longest, "{len}");
    let len = peer.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"behind");

    let longest = vec![3; MAX_DATAGRAM];
    peer.send_to(&longest, relay).unwrap();
    peer.send_to(&[&longest[..], &[4]].concat(), relay).unwrap();
    peer.send_to(b"behind", relay).unwrap();
    let mut next = || client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert!(next() == (From::Channel(0x4001), longest));
    assert_eq!(next(), (From::Channel(0x4001), b"behind".to_vec()));
}
