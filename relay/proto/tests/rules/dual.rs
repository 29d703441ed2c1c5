//! Dual allocations: one session with a relayed address of each family (RFC 8656 §7.2, §8.2).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method, TransactionId};
use turn_proto::{
    AddressFamily, Command, EndCause, Event, Forward, OpenError, RelayId, RelayOpened,
};

const V4: u8 = 1;
const V6: u8 = 2;

fn dual() -> MessageBuilder {
    allocate().attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[V6, 0, 0, 0])
}

fn refresh(family: u8, lifetime: u32) -> MessageBuilder {
    ask_for(Method::Refresh)
        .attribute(A::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
        .number(A::LIFETIME, lifetime)
}

/// A client with a dual allocation, its IPv4 and its IPv6 relay.
fn allocated(net: &mut Net) -> (Client, RelayId, RelayId) {
    let alice = Client::alice().greet(net);
    assert_eq!(alice.code(net, dual()), 0);
    let [.., (v4, _), (v6, _)] = net.requests[..] else {
        panic!("two sockets")
    };
    (alice, v4, v6)
}

fn relayed(answer: &Answer) -> Vec<SocketAddr> {
    let message = answer.message();
    let id = message.transaction();
    let addresses = message.attributes();
    addresses
        .filter(|(kind, _)| *kind == A::XOR_RELAYED_ADDRESS)
        .map(|(_, value)| turn_proto::stun::address::read_xor(value, id).unwrap())
        .collect()
}

/// The relay that a Send indication to this peer leaves from.
fn leaves_from(net: &mut Net, client: &Client, peer: &str) -> Option<RelayId> {
    match net.client(client.tuple, &send_to(peer, b"x")) {
        Some(Forward::ToPeer { relay, .. }) => Some(relay),
        _ => None,
    }
}

fn has_permissions(net: &mut Net, client: &Client) {
    for peer in [PEER, PEER_V6] {
        assert_eq!(client.permit(net, peer), 0);
    }
}

#[test]
fn one_allocation_has_an_address_of_each_family_and_counts_once() {
    for asked in [
        A::ADDITIONAL_ADDRESS_FAMILY,
        A::DRAFT_ADDITIONAL_ADDRESS_FAMILY,
    ] {
        let mut net = Net::new();
        let alice = Client::alice().greet(&mut net);
        let request = allocate().attribute(asked, &[V6, 0, 0, 0]);
        let answer = alice.ask(&mut net, request).unwrap();
        let families: Vec<_> = relayed(&answer)
            .into_iter()
            .map(AddressFamily::of)
            .collect();
        assert_eq!(families, [AddressFamily::V4, AddressFamily::V6]);
        for error in [A::ADDRESS_ERROR_CODE, A::DRAFT_ADDRESS_ERROR_CODE] {
            assert_eq!(answer.message().attribute(error), None);
        }
        assert_eq!(net.server.sessions(), 1);
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 1);
        let Some(Event::SessionCreated(session)) = net.events.last() else {
            panic!("an event")
        };
        let second = session.second_relay.as_ref().unwrap();
        assert_eq!(
            vec![session.relay_external, second.external],
            relayed(&answer)
        );
    }
}

#[test]
fn success_waits_for_both_sockets_whichever_comes_first() {
    for second_first in [false, true] {
        let mut net = Net::new();
        net.hold_opening = true;
        let alice = Client::alice().greet(&mut net);
        let bytes = alice.sign(dual());
        assert_eq!(net.ask(alice.tuple, &bytes), None);
        let mut relays: Vec<_> = net.requests.iter().map(|(relay, _)| *relay).collect();
        let mut locals = vec![addr("198.51.100.1:50000"), addr("[2001:db8::1]:50000")];
        if second_first {
            relays.reverse();
            locals.reverse();
        }
        for (count, (relay, local)) in relays.into_iter().zip(locals).enumerate() {
            assert_eq!(
                net.sent.len(),
                1, /* the challenge */
                "before socket {count}"
            );
            let opened = RelayOpened {
                local,
                external: local,
                reservation: None,
            };
            net.server.handle_relay_opened(net.now, relay, Ok(opened));
            net.drain();
        }
        let first = Answer(net.sent[1].1.clone());
        assert_eq!(relayed(&first).len(), 2);
        assert_eq!(
            net.ask(alice.tuple, &bytes).unwrap(),
            first,
            "retransmitted"
        );
    }
}

#[test]
fn a_family_that_is_not_to_be_had_is_answered_with_its_address_error() {
    for (asked, answered) in [
        (A::ADDITIONAL_ADDRESS_FAMILY, A::ADDRESS_ERROR_CODE),
        (
            A::DRAFT_ADDITIONAL_ADDRESS_FAMILY,
            A::DRAFT_ADDRESS_ERROR_CODE,
        ),
    ] {
        for (v4, v6, error) in [(true, false, [V6, 0, 4, 40]), (false, true, [V4, 0, 4, 40])] {
            let mut policy = policy(vec![realm_policy(REALM)]);
            (policy.relay_v4, policy.relay_v6) = (v4, v6);
            let mut net = Net::with_policy(policy);
            let alice = Client::alice().greet(&mut net);
            let request = allocate().attribute(asked, &[V6, 0, 0, 0]);
            let answer = alice.ask(&mut net, request).unwrap();
            assert_eq!(answer.code(), 0);
            assert_eq!(answer.message().attribute(answered), Some(&error[..]));
            assert_eq!(relayed(&answer)[0].is_ipv4(), v4);
            assert_eq!((relayed(&answer).len(), net.requests.len()), (1, 1));
        }
    }
}

#[test]
fn a_family_without_free_port_is_508_beside_the_other_and_a_refusal_without_any() {
    for refused in [[false, true], [true, false], [true, true]] {
        let mut net = Net::new();
        net.hold_opening = true;
        let alice = Client::alice().greet(&mut net);
        assert_eq!(net.ask(alice.tuple, &alice.sign(dual())), None);
        let locals = ["198.51.100.1:50000", "[2001:db8::1]:50000"];
        for (place, refused) in refused.into_iter().enumerate() {
            let local = addr(locals[place]);
            let opened = RelayOpened {
                local,
                external: local,
                reservation: None,
            };
            let opened = if refused {
                Err(OpenError::PortsExhausted)
            } else {
                Ok(opened)
            };
            let relay = net.requests[place].0;
            net.server.handle_relay_opened(net.now, relay, opened);
            net.drain();
        }
        let answer = Answer(net.sent[1].1.clone());
        if refused == [true, true] {
            assert_eq!(answer.code(), 508);
            assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
            continue;
        }
        let missing = if refused[0] { V4 } else { V6 };
        let error = answer.message().attribute(A::ADDRESS_ERROR_CODE);
        assert_eq!(error, Some(&[missing, 0, 5, 8][..]));
        let left = net.requests[usize::from(refused[0])].0;
        assert_eq!(alice.permit(&mut net, PEER) == 443, refused[0]);
        assert_eq!(alice.permit(&mut net, PEER_V6) == 443, refused[1]);
        assert_eq!(alice.refresh(&mut net, 0), 0);
        assert_eq!(net.closed, [left]);
    }
}

#[test]
fn peers_of_each_family_are_reached_from_the_relay_of_theirs_and_come_back() {
    let mut net = Net::new();
    let (alice, v4, v6) = allocated(&mut net);
    has_permissions(&mut net, &alice);
    assert_eq!(leaves_from(&mut net, &alice, PEER), Some(v4));
    assert_eq!(leaves_from(&mut net, &alice, PEER_V6), Some(v6));
    assert_eq!(alice.bind(&mut net, 0x4001, PEER_V6), 0);
    let Some(Forward::ToPeer { relay, .. }) =
        net.client(alice.tuple, &channel_data(0x4001, b"by channel"))
    else {
        panic!("relayed")
    };
    assert_eq!(relay, v6);
    for (relay, peer) in [(v4, PEER), (v6, PEER_V6)] {
        assert!(matches!(
            net.peer(relay, peer, b"back"),
            Some(Forward::ToClient { .. })
        ));
    }
    // Both directions of both families are in the books of the one session.
    net.events.clear();
    net.advance(1.0);
    let usage = net.events.iter().find_map(|event| match event {
        Event::Usage(usage) => usage.sessions.first().map(|(_, counters)| *counters),
        _ => None,
    });
    let counters = usage.unwrap();
    assert_eq!((counters.in_packets, counters.out_packets), (3, 2));
}

#[test]
fn a_refresh_with_a_family_prolongs_that_half_only_and_one_without_both() {
    let mut net = Net::new();
    let (alice, v4, v6) = allocated(&mut net);
    has_permissions(&mut net, &alice);
    assert_eq!(alice.code(&mut net, refresh(V6, 3600)), 0);
    net.advance(599.0);
    assert_eq!(net.closed, []);
    net.advance(1.0);
    assert_eq!(net.closed, [v4], "nobody refreshed that half");
    assert_eq!(net.server.sessions(), 1);
    assert_eq!(alice.permit(&mut net, PEER_V6), 0);
    assert_eq!(leaves_from(&mut net, &alice, PEER_V6), Some(v6));
    assert_eq!(alice.permit(&mut net, PEER), 443);
    net.advance(3000.0);
    assert_eq!(net.closed, [v4, v6]);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);

    let mut net = Net::new();
    let (alice, ..) = allocated(&mut net);
    assert_eq!(alice.refresh(&mut net, 3600), 0);
    net.advance(3599.0);
    assert_eq!(net.closed, []);
    net.advance(1.0);
    assert_eq!((net.closed.len(), net.server.sessions()), (2, 0));
}

#[test]
fn a_refresh_with_lifetime_zero_ends_that_half_only_and_443_names_one_that_is_gone() {
    for (ended, left) in [(V4, V6), (V6, V4)] {
        let mut net = Net::new();
        let (alice, v4, v6) = allocated(&mut net);
        has_permissions(&mut net, &alice);
        let bytes = alice.sign(refresh(ended, 0));
        let answer = net.ask(alice.tuple, &bytes).unwrap();
        assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(0)));
        let (gone, kept) = if ended == V4 { (v4, v6) } else { (v6, v4) };
        assert_eq!(net.closed, [gone]);
        assert_eq!(
            net.ask(alice.tuple, &bytes).unwrap(),
            answer,
            "its answer was lost"
        );
        assert_eq!(alice.code(&mut net, refresh(ended, 0)), 443);
        assert_eq!(alice.code(&mut net, refresh(ended, 600)), 443);
        assert_eq!(alice.code(&mut net, refresh(left, 600)), 0);
        let (peer, other) = if ended == V4 {
            (PEER_V6, PEER)
        } else {
            (PEER, PEER_V6)
        };
        assert_eq!(leaves_from(&mut net, &alice, peer), Some(kept));
        assert_eq!(leaves_from(&mut net, &alice, other), None);
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 1);
        assert_eq!(alice.code(&mut net, refresh(left, 0)), 0);
        assert_eq!(net.closed, [gone, kept]);
        assert_eq!(alice.code(&mut net, refresh(left, 0)), 437);
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn what_a_session_relayed_is_told_although_its_first_half_ended_meanwhile() {
    let mut net = Net::new();
    let (alice, ..) = allocated(&mut net);
    has_permissions(&mut net, &alice);
    assert!(leaves_from(&mut net, &alice, PEER).is_some());
    assert_eq!(alice.code(&mut net, refresh(V4, 0)), 0);
    for _ in 0..2 {
        net.events.clear();
        net.advance(1.0);
        let told = net
            .events
            .iter()
            .any(|event| matches!(event, Event::Usage(usage) if usage.sessions.len() == 1));
        assert!(told);
        assert!(leaves_from(&mut net, &alice, PEER_V6).is_some());
    }
}

#[test]
fn a_kill_closes_both_halves() {
    let mut net = Net::new();
    let (alice, v4, v6) = allocated(&mut net);
    let Some(Event::SessionCreated(session)) = net.events.last() else {
        panic!("an event")
    };
    let session = session.id;
    net.command(Command::Kill {
        session,
        cause: EndCause::Killed,
    });
    assert_eq!(net.closed, [v4, v6]);
    assert_eq!(alice.refresh(&mut net, 600), 437);
}

#[test]
fn a_single_allocation_is_443_for_peers_of_the_other_family() {
    for (family, own, other) in [(V4, PEER, PEER_V6), (V6, PEER_V6, PEER)] {
        let mut net = Net::new();
        let alice = Client::alice().greet(&mut net);
        let request = allocate().attribute(A::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        assert_eq!(alice.code(&mut net, request), 0);
        assert_eq!(alice.permit(&mut net, other), 443);
        assert_eq!(alice.bind(&mut net, 0x4000, other), 443);
        assert_eq!(alice.permit(&mut net, own), 0);
        assert_eq!(alice.bind(&mut net, 0x4000, own), 0);
        assert_eq!(leaves_from(&mut net, &alice, other), None);
    }
}

#[test]
fn an_even_port_is_asked_for_in_both_families() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    assert_eq!(
        alice.code(&mut net, dual().attribute(A::EVEN_PORT, &[0])),
        0
    );
    assert_eq!(net.requests.len(), 2);
    for (_, request) in &net.requests {
        assert_eq!(request.port, turn_proto::PortRequest::Even);
    }
}

#[test]
fn transactions_are_what_tells_a_retransmission() {
    // The id of a deletion that is answered again must be its own.
    let mut net = Net::new();
    let (alice, ..) = allocated(&mut net);
    let id = TransactionId([9; 12]);
    let request = || {
        MessageBuilder::request(Method::Refresh, id)
            .attribute(A::REQUESTED_ADDRESS_FAMILY, &[V6, 0, 0, 0])
            .number(A::LIFETIME, 0)
    };
    assert_eq!(alice.code(&mut net, request()), 0);
    assert_eq!(alice.code(&mut net, request()), 0);
    assert_eq!(net.closed.len(), 1);
}
