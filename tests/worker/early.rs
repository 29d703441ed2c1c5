//! What peers send before a session has a permission.

use std::time::Duration;

use kit::client::From;
use turn_proto::server::Event;

use crate::{Rig, peer};

/// More than the buffer of a socket without a permission holds.
const FLOOD: usize = 200;

#[test]
fn what_came_before_the_first_permission_is_counted_and_never_delivered() {
    let mut rig = Rig::start(1);
    let mut client = rig.client();
    let relay = client.allocate().unwrap().relay;
    let peer = peer();
    let address = peer.local_addr().unwrap();
    for _ in 0..FLOOD {
        peer.send_to(b"too early", relay).unwrap();
    }
    client.permit(&[address.ip()]).unwrap();
    for _ in 0..FLOOD {
        peer.send_to(b"in time", relay).unwrap();
        let got = client.recv(Duration::from_secs(5)).unwrap();
        assert_eq!(got, Some((From::Peer(address), b"in time".to_vec())));
    }
    client.refresh(0).unwrap();
    let counters = rig.event(|event| match event {
        Event::SessionEnded { counters, .. } => Some(counters),
        _ => None,
    });
    assert_eq!(counters.out_packets, FLOOD as u64);
    // The kernel held a few, and dropped the rest without a word.
    let early = counters.drop_unknown_peer;
    assert!((1..=16).contains(&early), "{early}");
}

#[test]
fn a_relay_port_kept_for_later_holds_as_little() {
    let rig = Rig::start(1);
    let mut client = rig.client();
    let options = kit::client::AllocateOptions {
        even_port: Some(true),
        ..kit::client::AllocateOptions::default()
    };
    let allocated = client.allocate_with(options).unwrap();
    let mut next = allocated.relay;
    next.set_port(next.port() + 1);
    let peer = peer();
    let address = peer.local_addr().unwrap();
    for _ in 0..FLOOD {
        peer.send_to(b"too early", next).unwrap();
    }
    let mut second = rig.client();
    let options = kit::client::AllocateOptions {
        token: allocated.token,
        ..kit::client::AllocateOptions::default()
    };
    assert_eq!(second.allocate_with(options).unwrap().relay, next);
    second.bind_channel(0x4001, address).unwrap();
    peer.send_to(b"in time", next).unwrap();
    let got = second.recv(Duration::from_secs(5)).unwrap();
    assert_eq!(got, Some((From::Channel(0x4001), b"in time".to_vec())));
}
