//! Mobility (RFC 8016): tickets, moves, and what coturn's advisories taught.

use std::sync::atomic::Ordering;

use crate::kit::*;
use shared::Transport;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{Event, Forward, Policy, RelayId};

const ELSEWHERE: &str = "203.0.113.77:5000";
const THIRD: &str = "203.0.113.78:5000";

pub(crate) fn mobile_policy() -> Policy {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.mobility = true;
    policy
}

fn mobile_net() -> Net {
    Net::with_policy(mobile_policy())
}

pub(crate) fn allocate_mobile() -> MessageBuilder {
    allocate().attribute(A::MOBILITY_TICKET, b"")
}

pub(crate) fn ticket(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.code(), 0);
    answer
        .message()
        .attribute(A::MOBILITY_TICKET)
        .unwrap()
        .to_vec()
}

/// A client with a mobile session, a permission and a channel; its relay and its ticket.
fn allocated(net: &mut Net) -> (Client, RelayId, Vec<u8>) {
    let alice = Client::alice().greet(net);
    let answer = alice.ask(net, allocate_mobile()).unwrap();
    let relay = net.requests.last().unwrap().0;
    assert_eq!(alice.bind(net, 0x4000, PEER), 0);
    (alice, relay, ticket(&answer))
}

pub(crate) fn refresh(ticket: &[u8]) -> MessageBuilder {
    ask_for(Method::Refresh).attribute(A::MOBILITY_TICKET, ticket)
}

/// The same client at another address.
fn at(net: &mut Net, client: &Client, address: &str) -> Client {
    let mut moved = client.clone();
    moved.tuple.client = addr(address);
    moved.greet(net)
}

/// Where data of the peer goes.
fn reaches(net: &mut Net, relay: RelayId) -> String {
    match net.peer(relay, PEER, b"x") {
        Some(Forward::ToClient { tuple, .. }) => tuple.client.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ticket_is_given_where_mobility_is_on_and_405_where_it_is_off() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    assert_eq!(alice.code(&mut net, allocate_mobile()), 405);
    assert_eq!(alice.code(&mut net, refresh(b"anything")), 405);
    let mut net = mobile_net();
    let alice = Client::alice().greet(&mut net);
    let full = allocate().attribute(A::MOBILITY_TICKET, b"full");
    assert_eq!(alice.code(&mut net, full), 400);
    let answer = alice.ask(&mut net, allocate_mobile()).unwrap();
    assert!(ticket(&answer).len() >= 16);
    let bob = Client::at("192.0.2.11:40000", "bob", "hunter2").greet(&mut net);
    let plain = bob.ask(&mut net, allocate()).unwrap();
    assert_eq!(
        plain.message().attribute(A::MOBILITY_TICKET),
        None,
        "nobody asked"
    );
}

#[test]
fn the_old_path_carries_data_until_the_client_sends_on_the_new_one() {
    for by_channel in [true, false] {
        let mut net = mobile_net();
        let (alice, relay, first) = allocated(&mut net);
        let moved = at(&mut net, &alice, ELSEWHERE);
        let answer = moved.ask(&mut net, refresh(&first)).unwrap();
        assert_ne!(ticket(&answer), first, "a new one each time");
        assert_eq!(reaches(&mut net, relay), CLIENT);
        let data = channel_data(0x4000, b"old path");
        assert!(net.client(alice.tuple, &data).is_some());
        assert_eq!(moved.permit(&mut net, PEER), 0);
        assert_eq!(reaches(&mut net, relay), CLIENT, "a request moves nothing");
        let data = if by_channel {
            channel_data(0x4000, b"new path")
        } else {
            send_to(PEER, b"new path")
        };
        assert!(net.client(moved.tuple, &data).is_some());
        assert_eq!(reaches(&mut net, relay), ELSEWHERE);
        assert_eq!(net.client(alice.tuple, &data), None, "the old one is gone");
        assert_eq!(alice.refresh(&mut net, 600), 437);
        assert_eq!(moved.refresh(&mut net, 600), 0);
        let Some(Event::SessionChanged(session)) = net.events.last() else {
            panic!("an event")
        };
        assert_eq!(session.tuple.client, addr(ELSEWHERE));
        assert_eq!(net.server.sessions(), 1);
    }
}

#[test]
fn a_ticket_is_good_once_and_its_retransmission_gets_the_same_answer() {
    let mut net = mobile_net();
    let (alice, _, first) = allocated(&mut net);
    let moved = at(&mut net, &alice, ELSEWHERE);
    let bytes = moved.sign(refresh(&first));
    let answer = net.ask(moved.tuple, &bytes).unwrap();
    net.advance(30.0);
    assert_eq!(net.ask(moved.tuple, &bytes).unwrap(), answer);
    let third = at(&mut net, &alice, THIRD);
    assert_eq!(third.code(&mut net, refresh(&first)), 400, "used up");
    assert_eq!(third.code(&mut net, refresh(&ticket(&answer))), 0);
    net.advance(100.0);
    assert_ne!(net.ask(moved.tuple, &bytes).unwrap().code(), 0);
}

#[test]
fn a_ticket_from_the_sessions_own_address_is_400_and_nonsense_too() {
    let mut net = mobile_net();
    let (alice, _, first) = allocated(&mut net);
    assert_eq!(alice.code(&mut net, refresh(&first)), 400);
    let moved = at(&mut net, &alice, ELSEWHERE);
    for nonsense in [&b""[..], b"nonsense", &[0; 30]] {
        assert_eq!(moved.code(&mut net, refresh(nonsense)), 400);
    }
    let mut touched = first.clone();
    touched[20] ^= 1;
    assert_eq!(moved.code(&mut net, refresh(&touched)), 400);
    let next = ticket(&moved.ask(&mut net, refresh(&first)).unwrap());
    assert_eq!(
        moved.code(&mut net, refresh(&next)),
        400,
        "it is there already"
    );
}

#[test]
fn another_user_with_a_ticket_is_441_and_moves_nothing() {
    let mut net = mobile_net();
    let (alice, relay, first) = allocated(&mut net);
    let bob = Client::at(ELSEWHERE, "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, refresh(&first)), 441);
    assert_eq!(net.client(bob.tuple, &channel_data(0x4000, b"x")), None);
    assert_eq!(reaches(&mut net, relay), CLIENT);
    let moved = at(&mut net, &alice, THIRD);
    assert_eq!(
        moved.code(&mut net, refresh(&first)),
        0,
        "the ticket was not used up"
    );
}

#[test]
fn a_ticket_of_a_session_that_ended_is_437() {
    let mut net = mobile_net();
    let (alice, _, first) = allocated(&mut net);
    assert_eq!(alice.refresh(&mut net, 0), 0);
    let moved = at(&mut net, &alice, ELSEWHERE);
    assert_eq!(moved.code(&mut net, refresh(&first)), 437);
}

#[test]
fn an_address_with_a_session_of_its_own_takes_no_other_in() {
    let mut net = mobile_net();
    let (alice, _, first) = allocated(&mut net);
    let other = at(&mut net, &alice, ELSEWHERE);
    assert_eq!(other.code(&mut net, allocate()), 0);
    assert_eq!(other.code(&mut net, refresh(&first)), 437);
}

#[test]
fn an_address_that_a_session_left_may_be_anothers() {
    for by_ticket in [false, true] {
        let mut net = mobile_net();
        let (alice, relay, first) = allocated(&mut net);
        let moved = at(&mut net, &alice, ELSEWHERE);
        assert_eq!(moved.code(&mut net, refresh(&first)), 0);
        // She closed her socket before she sent on the new one, and somebody else got its port.
        let third = Client::at(THIRD, "bob", "hunter2").greet(&mut net);
        let bobs = ticket(&third.ask(&mut net, allocate_mobile()).unwrap());
        let bob = at(&mut net, &third, CLIENT);
        let request = if by_ticket {
            refresh(&bobs)
        } else {
            allocate()
        };
        assert_eq!(bob.code(&mut net, request), 0);
        assert_eq!(reaches(&mut net, relay), ELSEWHERE);
        assert_eq!(moved.refresh(&mut net, 600), 0);
        assert_eq!(bob.refresh(&mut net, 600), 0);
        let data = channel_data(0x4000, b"hers");
        assert_eq!(net.client(bob.tuple, &data), None, "not his channel");
        assert!(net.client(moved.tuple, &data).is_some());
        net.server.check();
    }
}

#[test]
fn whoever_cannot_show_who_he_is_frees_no_address() {
    let mut net = mobile_net();
    let (alice, relay, first) = allocated(&mut net);
    let moved = at(&mut net, &alice, ELSEWHERE);
    assert_eq!(moved.code(&mut net, refresh(&first)), 0);
    let stranger = Client::at(CLIENT, "bob", "wrong").greet(&mut net);
    assert_eq!(stranger.code(&mut net, allocate()), 401);
    assert_eq!(reaches(&mut net, relay), CLIENT, "the old path goes on");
}

#[test]
fn endless_moves_without_data_keep_one_pending_path_and_one_quota() {
    let mut net = mobile_net();
    let (alice, relay, mut ticket_now) = allocated(&mut net);
    for port in 0..200 {
        let moved = at(&mut net, &alice, &format!("203.0.113.7:{}", 6000 + port));
        let answer = moved.ask(&mut net, refresh(&ticket_now)).unwrap();
        ticket_now = ticket(&answer);
    }
    let early = at(&mut net, &alice, "203.0.113.7:6000");
    assert_eq!(early.refresh(&mut net, 600), 437, "only the last one waits");
    assert_eq!(reaches(&mut net, relay), CLIENT);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 1);
    assert_eq!(alice.refresh(&mut net, 0), 0);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    net.server.check();
}

#[test]
fn a_mobile_session_outlives_its_connection_and_keeps_its_quota() {
    let mut net = mobile_net();
    let arrival = turn_proto::Arrival::default();
    let mut alice = Client::alice();
    alice.tuple.transport = Transport::Tcp;
    net.server.handle_connected(net.now, alice.tuple, &arrival);
    let alice = alice.greet(&mut net);
    let first = ticket(&alice.ask(&mut net, allocate_mobile()).unwrap());
    let relay = net.requests[0].0;
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    net.server.handle_disconnected(net.now, alice.tuple);
    net.drain();
    assert_eq!(net.server.sessions(), 1);
    assert_eq!(
        net.quota.held.load(Ordering::Relaxed),
        1,
        "its port is taken, too"
    );
    let mut moved = at(&mut net, &alice, ELSEWHERE);
    moved.tuple.transport = Transport::Udp;
    let moved = moved.greet(&mut net);
    assert_eq!(moved.code(&mut net, refresh(&first)), 0);
    assert_eq!(
        reaches(&mut net, relay),
        ELSEWHERE,
        "nothing is left to wait for"
    );
    net.advance(600.0);
    assert_eq!(net.server.sessions(), 0);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
}

#[test]
fn a_client_whose_new_connection_breaks_stays_on_the_old_path() {
    let mut net = mobile_net();
    let (alice, relay, first) = allocated(&mut net);
    let arrival = turn_proto::Arrival::default();
    let mut moved = alice.clone();
    moved.tuple.client = addr(ELSEWHERE);
    moved.tuple.transport = Transport::Tcp;
    net.server.handle_connected(net.now, moved.tuple, &arrival);
    let moved = moved.greet(&mut net);
    assert_eq!(moved.code(&mut net, refresh(&first)), 0);
    net.server.handle_disconnected(net.now, moved.tuple);
    net.drain();
    assert_eq!(reaches(&mut net, relay), CLIENT);
    assert_eq!(alice.refresh(&mut net, 600), 0);
}

#[test]
fn a_session_with_a_tcp_relay_moves_to_streams_only() {
    let mut policy = mobile_policy();
    policy.settings.tcp_relay.enabled = true;
    let mut net = Net::with_policy(policy);
    let arrival = turn_proto::Arrival::default();
    let mut alice = Client::alice();
    alice.tuple.transport = Transport::Tcp;
    net.server.handle_connected(net.now, alice.tuple, &arrival);
    let alice = alice.greet(&mut net);
    let request = ask_for(Method::Allocate)
        .attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
        .attribute(A::MOBILITY_TICKET, b"");
    let first = ticket(&alice.ask(&mut net, request).unwrap());
    let mut moved = alice.clone();
    moved.tuple.client = addr(ELSEWHERE);
    for (transport, code) in [
        (Transport::Udp, 400),
        (Transport::Dtls, 400),
        (Transport::Tls, 0),
    ] {
        moved.tuple.transport = transport;
        if transport != Transport::Udp {
            net.server.handle_connected(net.now, moved.tuple, &arrival);
        }
        let moved = moved.clone().greet(&mut net);
        assert_eq!(
            moved.code(&mut net, refresh(&first)),
            code,
            "to {transport:?}"
        );
    }
}

#[test]
fn a_move_may_delete_the_session() {
    let mut net = mobile_net();
    let (alice, _, first) = allocated(&mut net);
    let moved = at(&mut net, &alice, ELSEWHERE);
    let request = refresh(&first).number(A::LIFETIME, 0);
    assert_eq!(moved.code(&mut net, request), 0);
    assert_eq!(net.server.sessions(), 0);
}

#[test]
fn a_drain_that_ends_calls_lets_nobody_move_in_order_to_stay() {
    let mut net = mobile_net();
    let (_, relay, ticket) = allocated(&mut net);
    let mut drained = mobile_policy();
    drained.drain = Some(turn_proto::policy::Drain::EndByLifetime);
    drained.revision = 2;
    net.command(turn_proto::Command::SetPolicy(drained.into()));
    let elsewhere = Client::at(ELSEWHERE, "alice", "secret").greet(&mut net);
    let request = ask_for(Method::Refresh).attribute(A::MOBILITY_TICKET, &ticket);
    assert_eq!(elsewhere.code(&mut net, request), 508);
    assert!(!net.closed.contains(&relay), "it goes on where it is");
}
