//! ChannelBind (RFC 8656 §12.2).

use std::time::Duration;

use crate::kit::*;
use turn_proto::Command;
use turn_proto::stun::{AttributeType as A, Method};

const OTHER: &str = "9.9.9.9:7001";

#[test]
fn numbers_are_0x4000_to_0x4fff() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    for number in [0, 0x3fff, 0x5000, 0x7fff, 0x8000, 0xffff] {
        assert_eq!(alice.bind(&mut net, number, PEER), 400, "{number:#x}");
    }
    assert_eq!(alice.bind(&mut net, 0x4fff, PEER), 0);
    let malformed = net.server.counters().malformed.total();
    let packet = channel_data(0x5000, b"x");
    assert_eq!(net.client(alice.tuple, &packet), None);
    assert_eq!(net.server.counters().malformed.total(), malformed + 1);
}

#[test]
fn numbers_of_rfc_5766_are_accepted_where_the_node_says_so() {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.rfc5766_channel_numbers = true;
    let mut net = Net::with_policy(policy);
    let (alice, relay) = Client::allocated(&mut net);
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(alice.bind(&mut net, number, PEER), 400, "{number:#x}");
    }
    assert_eq!(alice.bind(&mut net, 0x7fff, PEER), 0);
    let packet = channel_data(0x7fff, b"x");
    assert!(net.client(alice.tuple, &packet).is_some());
    assert!(net.peer(relay, PEER, b"x").is_some());
}

#[test]
fn number_and_peer_are_both_needed() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let request = ask_for(Method::ChannelBind).peer(PEER);
    assert_eq!(alice.code(&mut net, request), 400);
    let request = ask_for(Method::ChannelBind).number(A::CHANNEL_NUMBER, 0x4000_0000);
    assert_eq!(alice.code(&mut net, request), 400);
    let request = ask_for(Method::ChannelBind)
        .attribute(A::CHANNEL_NUMBER, &[0x40, 0])
        .peer(PEER);
    assert_eq!(alice.code(&mut net, request), 400);
}

#[test]
fn a_bound_number_or_peer_keeps_its_partner() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0, "a refresh");
    assert_eq!(alice.bind(&mut net, 0x4000, OTHER), 400);
    assert_eq!(alice.bind(&mut net, 0x4001, PEER), 400);
    assert_eq!(alice.bind(&mut net, 0x4001, OTHER), 0);
}

#[test]
fn an_expired_binding_guards_number_and_peer_for_five_more_minutes() {
    let mut net = Net::new();
    let (mut alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.refresh(&mut net, 3600), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    net.advance(899.0);
    alice = alice.greet(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, OTHER), 400);
    assert_eq!(alice.bind(&mut net, 0x4001, PEER), 400);
    net.advance(1.0);
    assert_eq!(alice.bind(&mut net, 0x4000, OTHER), 0);
    assert_eq!(alice.bind(&mut net, 0x4001, PEER), 0);
}

#[test]
fn the_guard_is_a_setting_and_a_binding_that_exists_keeps_its_own() {
    let with_guard = |secs| {
        let mut policy = policy(vec![realm_policy(REALM)]);
        policy.settings.channel_lifetime = Duration::from_secs(2);
        policy.settings.channel_rebind_guard = Duration::from_secs(secs);
        policy
    };
    let mut net = Net::with_policy(with_guard(3));
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    net.command(Command::SetPolicy(with_guard(30).into()));
    net.advance(4.0);
    assert_eq!(alice.bind(&mut net, 0x4000, OTHER), 400);
    net.advance(1.0);
    assert_eq!(alice.bind(&mut net, 0x4000, OTHER), 0);
    net.advance(31.0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 400);
    net.advance(1.0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
}

#[test]
fn the_guard_does_not_keep_the_same_pair_from_binding_again() {
    let mut net = Net::new();
    let (mut alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.refresh(&mut net, 3600), 0);
    alice.bind(&mut net, 0x4000, PEER);
    net.advance(700.0);
    assert_eq!(net.client(alice.tuple, &channel_data(0x4000, b"x")), None);
    alice = alice.greet(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    assert!(
        net.client(alice.tuple, &channel_data(0x4000, b"x"))
            .is_some()
    );
}

#[test]
fn family_and_policy_are_checked() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER_V6), 443);
    assert_eq!(alice.bind(&mut net, 0x4000, "10.0.0.1:9"), 403);
    assert_eq!(alice.bind(&mut net, 0x4000, "9.9.9.9:0"), 403);
    assert_eq!(
        alice.bind(&mut net, 0x4000, PEER),
        0,
        "no refusal left a binding"
    );
}

#[test]
fn channels_of_a_session_are_bounded() {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.channels_per_session = 2;
    let mut net = Net::with_policy(policy);
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, "9.9.9.9:1"), 0);
    assert_eq!(alice.bind(&mut net, 0x4001, "9.9.9.9:2"), 0);
    assert_eq!(alice.bind(&mut net, 0x4002, "9.9.9.9:3"), 508);
    assert_eq!(alice.bind(&mut net, 0x4001, "9.9.9.9:2"), 0);
}
