//! CreatePermission (RFC 8656 §10.2).

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, Method};
use turn_proto::{Command, Event};

fn permissions(net: &mut Net) -> Vec<String> {
    net.command(Command::Snapshot);
    let Some(Event::Snapshot(sessions)) = net.events.last() else {
        panic!("a snapshot")
    };
    sessions[0]
        .permissions
        .iter()
        .map(|permission| permission.peer.to_string())
        .collect()
}

#[test]
fn several_peers_are_permitted_at_once() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let request = ask_for(Method::CreatePermission)
        .peer("9.9.9.9:1")
        .peer("8.8.8.8:0");
    assert_eq!(alice.code(&mut net, request), 0);
    assert_eq!(permissions(&mut net), ["9.9.9.9", "8.8.8.8"]);
}

#[test]
fn one_bad_address_refuses_them_all() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let good = || ask_for(Method::CreatePermission).peer(PEER);
    for bad in [
        &[][..],
        &[0; 4],
        &[0, 9, 0, 0, 1, 2, 3, 4],
        &[0, 1, 0, 0, 1, 2, 3],
        &[0; 20],
    ] {
        let request = good().attribute(A::XOR_PEER_ADDRESS, bad);
        assert_eq!(alice.code(&mut net, request), 400, "{bad:?}");
    }
    let request = good().peer(PEER_V6);
    assert_eq!(alice.code(&mut net, request), 443);
    let request = good().peer("127.0.0.1:9");
    assert_eq!(alice.code(&mut net, request), 403);
    let request = ask_for(Method::CreatePermission);
    assert_eq!(alice.code(&mut net, request), 400, "none at all");
    assert_eq!(permissions(&mut net), [""; 0]);
}

#[test]
fn a_permission_lasts_300_seconds_from_its_last_request() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    alice.permit(&mut net, PEER);
    net.advance(200.0);
    alice.permit(&mut net, PEER);
    net.advance(200.0);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    net.advance(99.0);
    assert!(net.peer(relay, PEER, b"x").is_some());
    net.advance(1.0);
    assert_eq!(net.peer(relay, PEER, b"x"), None);
    assert_eq!(permissions(&mut net), [""; 0]);
}

#[test]
fn permissions_of_a_session_are_bounded_and_room_comes_back() {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.permissions_per_session = 3;
    let mut net = Net::with_policy(policy);
    let (alice, _) = Client::allocated(&mut net);
    let peers = ["8.8.8.1:1", "8.8.8.2:1", "8.8.8.3:1", "8.8.8.4:1"];
    let mut request = ask_for(Method::CreatePermission);
    for peer in peers {
        request = request.peer(peer);
    }
    assert_eq!(alice.code(&mut net, request), 508);
    assert_eq!(permissions(&mut net), [""; 0]);
    for peer in &peers[..3] {
        assert_eq!(alice.permit(&mut net, peer), 0);
    }
    assert_eq!(alice.permit(&mut net, peers[3]), 508);
    assert_eq!(alice.bind(&mut net, 0x4000, peers[3]), 508);
    assert_eq!(
        alice.permit(&mut net, peers[0]),
        0,
        "a refresh needs no room"
    );
    net.advance(300.0);
    assert_eq!(alice.permit(&mut net, peers[3]), 0);
}

#[test]
fn a_peer_counts_as_new_when_it_had_no_permission() {
    fn new_peers(net: &mut Net) -> u64 {
        net.command(Command::Snapshot);
        let Some(Event::Snapshot(sessions)) = net.events.last() else {
            panic!("a snapshot")
        };
        sessions[0].counters.new_peers
    }
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(new_peers(&mut net), 0);
    let two = ask_for(Method::CreatePermission)
        .peer("9.9.9.9:1")
        .peer("8.8.8.8:0");
    assert_eq!(alice.code(&mut net, two), 0);
    assert_eq!(new_peers(&mut net), 2);
    // Refreshed, named with another port, and bound: the same peer.
    alice.permit(&mut net, "9.9.9.9:2");
    alice.bind(&mut net, 0x4000, "9.9.9.9:2");
    assert_eq!(new_peers(&mut net), 2);
    alice.bind(&mut net, 0x4001, "7.7.7.7:7");
    assert_eq!(new_peers(&mut net), 3);
    let refused = ask_for(Method::CreatePermission).peer("127.0.0.1:9");
    assert_eq!(alice.code(&mut net, refused), 403);
    assert_eq!(new_peers(&mut net), 3);
}

#[test]
fn a_relay_socket_is_made_ready_once_and_before_the_client_may_use_it() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    assert_eq!(alice.permit(&mut net, "127.0.0.1:9"), 403);
    assert_eq!(net.prepared, [], "most are never used");
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(net.prepared, [relay]);
    assert_eq!(alice.permit(&mut net, "8.8.8.8:0"), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    assert_eq!(net.prepared, [relay]);
    let (bob, relay) = {
        let bob = Client::at("192.0.2.9:5000", "alice", "secret").greet(&mut net);
        assert_eq!(bob.code(&mut net, allocate()), 0);
        (bob, net.requests[1].0)
    };
    assert_eq!(bob.bind(&mut net, 0x4000, PEER), 0);
    assert_eq!(net.prepared[1..], [relay]);
}
