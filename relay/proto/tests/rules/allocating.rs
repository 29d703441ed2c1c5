//! Allocate (RFC 8656 §7.2), in the order of its checks.

use std::sync::atomic::Ordering;

use crate::kit::*;
use turn_proto::policy::Drain;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{Event, OpenError, PortRequest, RelayOpened, ReservationToken};

fn code_of(build: impl Fn(MessageBuilder) -> MessageBuilder) -> u16 {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    alice.code(&mut net, build(ask_for(Method::Allocate)))
}

fn udp(request: MessageBuilder) -> MessageBuilder {
    request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

#[test]
fn success_names_relayed_and_mapped_address_and_lifetime_and_is_signed() {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.software = Some("relayd".into());
    let mut net = Net::with_policy(policy);
    let alice = Client::alice().greet(&mut net);
    let answer = alice.ask(&mut net, allocate()).unwrap();
    let message = answer.message();
    assert_eq!(
        message.xor_address(A::XOR_RELAYED_ADDRESS),
        Ok(Some(addr("198.51.100.1:50002")))
    );
    assert_eq!(
        message.xor_address(A::XOR_MAPPED_ADDRESS),
        Ok(Some(addr(CLIENT)))
    );
    assert_eq!(message.number(A::LIFETIME), Ok(Some(600)));
    assert_eq!(answer.text(A::SOFTWARE).as_deref(), Some("relayd"));
    assert!(message.verify_integrity(alice.key.as_bytes()));
    let Some(Event::SessionCreated(session)) = net.events.last() else {
        panic!("an event")
    };
    assert_eq!(
        (session.username.as_str(), &*session.user),
        ("alice", "alice")
    );
}

#[test]
fn success_comes_only_when_the_socket_is_bound_and_names_its_external_address() {
    let mut net = Net::new();
    net.hold_opening = true;
    let alice = Client::alice().greet(&mut net);
    let bytes = alice.sign(allocate());
    assert_eq!(net.ask(alice.tuple, &bytes), None);
    assert_eq!(
        net.ask(alice.tuple, &bytes),
        None,
        "a retransmission waits too"
    );
    assert_eq!(net.requests.len(), 1);
    assert_eq!(
        alice.code(&mut net, allocate()),
        437,
        "another one does not"
    );
    let (local, external) = (addr("10.0.0.5:50000"), addr("198.51.100.7:50000"));
    let opened = RelayOpened {
        local,
        external,
        reservation: None,
    };
    let before = net.sent.len();
    net.server
        .handle_relay_opened(net.now, net.requests[0].0, Ok(opened));
    net.drain();
    let answer = Answer(net.sent[before].1.clone());
    assert_eq!(
        answer.message().xor_address(A::XOR_RELAYED_ADDRESS),
        Ok(Some(external))
    );
}

#[test]
fn a_retransmission_gets_the_same_bytes_and_another_transaction_437() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let bytes = alice.sign(allocate());
    let first = net.ask(alice.tuple, &bytes).unwrap();
    net.advance(5.0);
    assert_eq!(net.ask(alice.tuple, &bytes).unwrap(), first);
    assert_eq!(alice.code(&mut net, allocate()), 437);
    assert_eq!(net.server.sessions(), 1);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 1);
    assert_eq!(net.requests.len(), 1);
}

#[test]
fn requested_transport_must_be_udp() {
    assert_eq!(code_of(|r| r), 400);
    assert_eq!(code_of(|r| r.attribute(A::REQUESTED_TRANSPORT, &[17])), 400);
    assert_eq!(
        code_of(|r| r.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])),
        442
    );
    assert_eq!(
        code_of(|r| r.attribute(A::REQUESTED_TRANSPORT, &[99, 0, 0, 0])),
        442
    );
    assert_eq!(code_of(udp), 0);
    assert_eq!(code_of(|r| udp(r).attribute(A::DONT_FRAGMENT, b"")), 0);
}

#[test]
fn attributes_that_exclude_each_other_are_400() {
    let token = |r: MessageBuilder| udp(r).attribute(A::RESERVATION_TOKEN, b"12345678");
    let aaf = |r: MessageBuilder| r.attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let raf = |r: MessageBuilder| r.attribute(A::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    assert_eq!(code_of(|r| token(r).attribute(A::EVEN_PORT, &[0])), 400);
    assert_eq!(code_of(|r| raf(token(r))), 400);
    assert_eq!(code_of(|r| aaf(token(r))), 400);
    assert_eq!(code_of(|r| aaf(raf(udp(r)))), 400);
    assert_eq!(
        code_of(|r| aaf(udp(r)).attribute(A::EVEN_PORT, &[0x80])),
        400
    );
    assert_eq!(
        code_of(|r| udp(r).attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])),
        400
    );
    assert_eq!(
        code_of(|r| udp(r).attribute(A::RESERVATION_TOKEN, b"short")),
        400
    );
    assert_eq!(code_of(|r| udp(r).attribute(A::EVEN_PORT, b"")), 400);
    assert_eq!(code_of(|r| udp(r).attribute(A::LIFETIME, b"12")), 400);
}

#[test]
fn families_that_are_not_relayed_are_440() {
    let family = |byte| {
        move |r: MessageBuilder| udp(r).attribute(A::REQUESTED_ADDRESS_FAMILY, &[byte, 0, 0, 0])
    };
    assert_eq!(code_of(family(1)), 0);
    assert_eq!(code_of(family(2)), 0);
    assert_eq!(code_of(family(3)), 440);
    let mut v4_only = policy(vec![realm_policy(REALM)]);
    v4_only.relay_v6 = false;
    let mut net = Net::with_policy(v4_only);
    let alice = Client::alice().greet(&mut net);
    let request = family(2)(ask_for(Method::Allocate));
    assert_eq!(alice.code(&mut net, request), 440);
}

#[test]
fn even_port_and_reservation_token_reach_the_driver() {
    for (flags, port) in [(0, PortRequest::Even), (0x80, PortRequest::EvenReserveNext)] {
        let mut net = Net::new();
        let alice = Client::alice().greet(&mut net);
        let request = allocate().attribute(A::EVEN_PORT, &[flags]);
        let answer = alice.ask(&mut net, request).unwrap();
        assert_eq!(net.requests[0].1.port, port);
        let token = answer.message().attribute(A::RESERVATION_TOKEN);
        assert_eq!(token, (flags != 0).then_some(&b"reserved"[..]));
    }
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let request = allocate().attribute(A::RESERVATION_TOKEN, b"reserved");
    assert_eq!(alice.code(&mut net, request), 0);
    let token = ReservationToken(*b"reserved");
    assert_eq!(net.requests[0].1.port, PortRequest::Reserved(token));
}

#[test]
fn a_socket_that_cannot_be_bound_gives_the_quota_back() {
    for (error, code) in [
        (OpenError::PortsExhausted, 508),
        (OpenError::UnknownToken, 508),
        (OpenError::Failed, 508),
        (OpenError::FamilyUnavailable, 440),
    ] {
        let mut net = Net::new();
        net.open_with = Some(Err(error));
        let alice = Client::alice().greet(&mut net);
        assert_eq!(alice.code(&mut net, allocate()), code);
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
        assert_eq!(net.server.sessions(), 0);
        net.open_with = None;
        assert_eq!(alice.code(&mut net, allocate()), 0);
    }
}

#[test]
fn quotas_are_486_and_come_back_with_the_end_of_a_session() {
    for per_user in [true, false] {
        let mut realm = realm_policy(REALM);
        let limit = if per_user {
            &mut realm.max_sessions_per_user
        } else {
            &mut realm.max_sessions
        };
        *limit = Some(1);
        let mut net = Net::with_policy(policy(vec![realm]));
        let (first, _) = Client::allocated(&mut net);
        let second = Client::at("192.0.2.10:40001", "alice", "secret").greet(&mut net);
        assert_eq!(second.code(&mut net, allocate()), 486);
        assert_eq!(first.refresh(&mut net, 0), 0);
        assert_eq!(second.code(&mut net, allocate()), 0);
    }
}

#[test]
fn a_node_that_takes_nothing_answers_508_and_keeps_its_sessions() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let mut draining = policy(vec![realm_policy(REALM)]);
    (draining.accepting, draining.revision) = (false, 2);
    net.command(turn_proto::Command::SetPolicy(draining.into()));
    let bob = Client::at("192.0.2.11:40000", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 508);
    assert_eq!(alice.refresh(&mut net, 600), 0);
}

#[test]
fn the_lifetime_is_between_the_realms_default_and_maximum() {
    for (asked, granted) in [
        (0, 600),
        (30, 600),
        (600, 600),
        (1800, 1800),
        (u32::MAX, 3600),
    ] {
        let mut net = Net::new();
        let alice = Client::alice().greet(&mut net);
        let request = allocate().number(A::LIFETIME, asked);
        let answer = alice.ask(&mut net, request).unwrap();
        assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(granted)));
    }
}

#[test]
fn one_client_port_on_two_listeners_has_two_allocations() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let mut other = alice.clone();
    other.tuple.server = addr("198.51.100.1:3479");
    assert_eq!(other.code(&mut net, allocate()), 0);
    assert_eq!(net.server.sessions(), 2);
}

#[test]
fn a_minimum_of_the_node_is_granted_to_whoever_asks_for_less_than_the_default() {
    for (asked, granted) in [
        (Some(1), 5),
        (Some(7), 7),
        (None, 600),
        (Some(u32::MAX), 3600),
    ] {
        let mut policy = policy(vec![realm_policy(REALM)]);
        policy.settings.min_lifetime = Some(std::time::Duration::from_secs(5));
        let mut net = Net::with_policy(policy);
        let alice = Client::alice().greet(&mut net);
        for method in [Method::Allocate, Method::Refresh] {
            let mut request = udp(ask_for(method));
            if let Some(asked) = asked {
                request = request.number(A::LIFETIME, asked);
            }
            let answer = alice.ask(&mut net, request).unwrap();
            assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(granted)));
        }
    }
}

#[test]
fn checks_come_in_the_order_of_7_2() {
    // Each request has everything wrong that comes after, too.
    let mut v4_only = policy(vec![realm_policy(REALM)]);
    v4_only.relay_v6 = false;
    v4_only.accepting = false;
    let mut net = Net::with_policy(v4_only);
    let alice = Client::alice().greet(&mut net);
    let transport =
        |r: MessageBuilder, number| r.attribute(A::REQUESTED_TRANSPORT, &[number, 0, 0, 0]);
    let conflict = |r: MessageBuilder| {
        r.attribute(A::RESERVATION_TOKEN, b"12345678")
            .attribute(A::EVEN_PORT, &[0])
    };
    let raf = |r: MessageBuilder| r.attribute(A::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let aaf = |r: MessageBuilder| r.attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    let request = || ask_for(Method::Allocate);
    let everything = |r: MessageBuilder| aaf(raf(conflict(r)));
    let mut stranger = alice.clone();
    stranger.nonce = "none".into();
    assert_eq!(stranger.code(&mut net, everything(request())), 438);
    assert_eq!(
        alice.code(&mut net, everything(request())),
        400,
        "no transport"
    );
    assert_eq!(
        alice.code(&mut net, everything(transport(request(), 99))),
        442
    );
    assert_eq!(
        alice.code(&mut net, everything(transport(request(), 17))),
        400
    );
    assert_eq!(alice.code(&mut net, aaf(raf(udp(request())))), 400);
    assert_eq!(alice.code(&mut net, raf(udp(request()))), 440);
    assert_eq!(alice.code(&mut net, aaf(udp(request()))), 400);
    assert_eq!(alice.code(&mut net, udp(request())), 508);
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(
        alice.code(&mut net, everything(request())),
        437,
        "before all of them"
    );
}

/// A policy of a node that is drained.
fn drained(drain: Drain) -> turn_proto::policy::Policy {
    let mut policy = policy(vec![realm_policy(REALM)]);
    (policy.drain, policy.revision) = (Some(drain), 2);
    policy
}

#[test]
fn a_drained_node_refuses_new_sessions_and_serves_those_it_has() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let drain = drained(Drain::KeepSessions);
    net.command(turn_proto::Command::SetPolicy(drain.into()));
    let bob = Client::at("192.0.2.11:40000", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 508);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    let token = allocate().attribute(A::RESERVATION_TOKEN, b"reserved");
    assert_eq!(bob.code(&mut net, token), 508, "a kept port is no way in");
    let policy = policy(vec![realm_policy(REALM)]);
    let undrained = turn_proto::policy::Policy {
        revision: 3,
        ..policy
    };
    net.command(turn_proto::Command::SetPolicy(undrained.into()));
    assert_eq!(bob.code(&mut net, allocate()), 0);
}

#[test]
fn a_drain_that_ends_calls_prolongs_nothing_and_takes_sessions_back() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let drain = drained(Drain::EndByLifetime);
    net.command(turn_proto::Command::SetPolicy(drain.into()));
    assert_eq!(alice.refresh(&mut net, 600), 508);
    assert_eq!(alice.permit(&mut net, PEER), 0, "it goes on until its end");
    assert_eq!(alice.refresh(&mut net, 0), 0);
    assert_eq!(alice.refresh(&mut net, 600), 437);
}
