//! 300 Try Alternate (RFC 8489 §10): who is sent where, and what exactly is written.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::kit::*;
use shared::Transport;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};
use turn_proto::{Command, Policy, Redirect};

const ELSEWHERE: &str = "203.0.113.9:3479";

fn to(target: &str, weight: u32) -> Redirect {
    Redirect {
        transport: Transport::Udp,
        target: addr(target),
        domain: None,
        realm: None,
        weight,
    }
}

fn redirecting(redirects: Vec<Redirect>) -> Policy {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.redirects = redirects;
    policy
}

/// Where an Allocate is sent; `None`: it is served.
fn sent_to(net: &mut Net, client: &Client) -> Option<SocketAddr> {
    let answer = client.ask(net, allocate()).unwrap();
    assert!(answer.message().verify_integrity(client.key.as_bytes()));
    if answer.code() == 0 {
        return None;
    }
    assert_eq!(answer.code(), 300);
    answer.message().plain_address(A::ALTERNATE_SERVER).unwrap()
}

#[test]
fn the_answer_is_written_as_the_rfc_says() {
    let mut net = Net::with_policy(redirecting(vec![Redirect {
        domain: Some("relay.example".into()),
        ..to("203.0.113.9:3479", 1)
    }]));
    let alice = Client::alice().greet(&mut net);
    let id = TransactionId(*b"transaction!");
    let request = MessageBuilder::request(Method::Allocate, id);
    let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let Answer(bytes) = alice.ask(&mut net, request).unwrap();
    let mut expected = vec![0x01, 0x13, 0x00, 0x40, 0x21, 0x12, 0xa4, 0x42];
    expected.extend(b"transaction!");
    // ERROR-CODE: class 3, number 0.
    expected.extend([0x00, 0x09, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00]);
    // ALTERNATE-SERVER: family 1, port 3479, 203.0.113.9, none of it XORed.
    expected.extend([0x80, 0x23, 0x00, 0x08, 0x00, 0x01, 0x0d, 0x97]);
    expected.extend([203, 0, 113, 9]);
    // ALTERNATE-DOMAIN: 13 bytes, padded to 16.
    expected.extend([0x80, 0x03, 0x00, 0x0d]);
    expected.extend(b"relay.example\0\0\0");
    let message = Message::parse(&bytes).unwrap();
    // REALM and NONCE for the next server, then MESSAGE-INTEGRITY.
    let [realm, nonce] = [A::REALM, A::NONCE].map(|kind| message.attribute(kind).unwrap());
    for (kind, value) in [(0x0014_u16, realm), (0x0015, nonce)] {
        expected.extend(kind.to_be_bytes());
        expected.extend((value.len() as u16).to_be_bytes());
        expected.extend(value);
        expected.resize(expected.len().next_multiple_of(4), 0);
    }
    let length = (expected.len() + 24 - 20) as u16;
    expected[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(bytes[..bytes.len() - 24], expected);
    assert_eq!(bytes[bytes.len() - 24..][..4], [0x00, 0x08, 0x00, 0x14]);
    assert_eq!(message.class(), Class::Error);
    assert!(message.verify_integrity(alice.key.as_bytes()));
}

#[test]
fn a_client_that_has_to_connect_anew_gets_a_nonce_for_that() {
    let tcp = Redirect {
        transport: Transport::Tcp,
        ..to(ELSEWHERE, 1)
    };
    let mut net = Net::with_policy(redirecting(vec![tcp]));
    let mut alice = Client::alice();
    alice.tuple.transport = Transport::Tcp;
    let arrival = turn_proto::Arrival::default();
    net.server.handle_connected(net.now, alice.tuple, &arrival);
    let mut alice = alice.greet(&mut net);
    let answer = alice.ask(&mut net, allocate()).unwrap();
    assert_eq!(answer.code(), 300);
    let message = answer.message();
    assert!(message.verify_integrity(alice.key.as_bytes()));
    assert_eq!(message.attribute(A::REALM).unwrap(), REALM.as_bytes());
    let nonce = String::from_utf8(message.attribute(A::NONCE).unwrap().to_vec()).unwrap();
    // The other server of the cluster, by another connection.
    let mut other = Net::with_policy(policy(vec![realm_policy(REALM)]));
    alice.tuple.client.set_port(40_999);
    other
        .server
        .handle_connected(other.now, alice.tuple, &arrival);
    assert_eq!(
        alice.code(&mut other, allocate()),
        438,
        "its first nonce is for one port"
    );
    alice.nonce = nonce;
    assert_eq!(alice.code(&mut other, allocate()), 0);
    alice.tuple.client = addr("192.0.2.77:40999");
    other
        .server
        .handle_connected(other.now, alice.tuple, &arrival);
    assert_eq!(
        alice.code(&mut other, allocate()),
        438,
        "and this for one address"
    );
}

#[test]
fn an_ipv6_client_is_told_an_ipv6_server() {
    let mut net = Net::with_policy(redirecting(vec![
        to(ELSEWHERE, 1000),
        to("[2a00::7]:443", 1),
    ]));
    let six = Client::at("[2a00::1]:4000", "alice", "secret").greet(&mut net);
    let answer = six.ask(&mut net, allocate()).unwrap();
    let value = answer
        .message()
        .attribute(A::ALTERNATE_SERVER)
        .unwrap()
        .to_vec();
    let mut expected = vec![0x00, 0x02, 0x01, 0xbb, 0x2a, 0x00];
    expected.extend([0; 13]);
    expected.push(7);
    assert_eq!(value, expected);
    let four = Client::alice().greet(&mut net);
    assert_eq!(sent_to(&mut net, &four), Some(addr(ELSEWHERE)));
}

#[test]
fn a_client_whose_family_or_transport_has_no_alternate_is_served() {
    let tls = Redirect {
        transport: Transport::Tls,
        ..to(ELSEWHERE, 1)
    };
    let mut net = Net::with_policy(redirecting(vec![tls, to("[2a00::7]:443", 1)]));
    let alice = Client::alice().greet(&mut net);
    assert_eq!(sent_to(&mut net, &alice), None);
}

#[test]
fn a_client_is_sent_where_its_realm_is_served_or_it_names_it_itself() {
    let of = |target: &str, realm: &str| Redirect {
        realm: Some(realm.parse().unwrap()),
        ..to(target, 1)
    };
    let both = vec![of(ELSEWHERE, "south.gov"), of("203.0.113.10:3478", REALM)];
    let mut net = Net::with_policy(redirecting(both));
    let alice = Client::alice().greet(&mut net);
    for _ in 0..20 {
        assert_eq!(sent_to(&mut net, &alice), Some(addr("203.0.113.10:3478")));
    }
    let elsewhere = || redirecting(vec![of(ELSEWHERE, "south.gov")]);
    let mut net = Net::with_policy(elsewhere());
    let alice = Client::alice().greet(&mut net);
    assert_eq!(sent_to(&mut net, &alice), None);
    // A realm that clients reach by a web origin is found where listeners have the default realm, and only there.
    for (default, found) in [("south.gov", Some(addr(ELSEWHERE))), ("west.gov", None)] {
        let mut policy = elsewhere();
        policy.default_realm = default.parse().unwrap();
        let server = Client::alice().tuple.server;
        policy
            .listener_realms
            .insert(server, REALM.parse().unwrap());
        policy
            .origins
            .insert("https://turn.example:443".into(), REALM.parse().unwrap());
        let mut net = Net::with_policy(policy);
        let alice = Client::alice().greet(&mut net);
        assert_eq!(sent_to(&mut net, &alice), found, "{default}");
    }
}

#[test]
fn only_who_proved_to_be_somebody_is_sent_elsewhere() {
    let mut net = Net::with_policy(redirecting(vec![to(ELSEWHERE, 1)]));
    let alice = Client::alice().greet(&mut net);
    let wrong = Client::at("192.0.2.10:40001", "alice", "wrong").greet(&mut net);
    assert_eq!(wrong.code(&mut net, allocate()), 401);
    let malformed = ask_for(Method::Allocate);
    assert_eq!(alice.code(&mut net, malformed), 400);
    let tcp = ask_for(Method::Allocate).attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, tcp), 442);
    assert_eq!(net.server.counters().redirects, 0);
    assert_eq!(alice.code(&mut net, allocate()), 300);
    assert_eq!(net.server.counters().redirects, 1);
    let refused = net.refused();
    assert!(
        refused
            .iter()
            .all(|row| row.reason.code().unwrap().get() != 300)
    );
    assert_eq!((net.server.sessions(), net.requests.len()), (0, 0));
    assert_eq!(net.quota.held.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_retransmission_gets_the_same_bytes() {
    let targets = (1..100).map(|host| to(&format!("203.0.113.{host}:3478"), host));
    let mut net = Net::with_policy(redirecting(targets.collect()));
    let alice = Client::alice().greet(&mut net);
    for _ in 0..20 {
        let request = alice.sign(allocate());
        let first = net.ask(alice.tuple, &request).unwrap();
        net.advance(0.5);
        assert_eq!(net.ask(alice.tuple, &request).unwrap(), first);
    }
}

#[test]
fn shares_follow_the_weights() {
    let mut net = Net::with_policy(redirecting(vec![
        to("203.0.113.1:1", 1),
        to("203.0.113.2:1", 3),
        to("203.0.113.3:1", 0),
    ]));
    let alice = Client::alice().greet(&mut net);
    let mut counts: HashMap<SocketAddr, u32> = HashMap::new();
    for _ in 0..4000 {
        let target = sent_to(&mut net, &alice).unwrap();
        *counts.entry(target).or_default() += 1;
    }
    assert_eq!(counts.len(), 2, "{counts:?}");
    // 1000 expected; the standard deviation is 27.
    let rare = counts[&addr("203.0.113.1:1")];
    assert!((850..1150).contains(&rare), "{rare}");
}

#[test]
fn a_session_stays_where_it_is() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let mut next = redirecting(vec![to(ELSEWHERE, 1)]);
    next.revision = 2;
    net.command(Command::SetPolicy(Arc::new(next)));
    assert_eq!(alice.refresh(&mut net, 600), 0);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
    assert_eq!(alice.code(&mut net, allocate()), 437);
    assert_eq!(alice.refresh(&mut net, 0), 0);
    assert_eq!(
        alice.code(&mut net, allocate()),
        300,
        "a new one goes elsewhere"
    );
}

#[test]
fn a_reserved_port_is_given_out_here() {
    let mut net = Net::with_policy(redirecting(vec![to(ELSEWHERE, 1)]));
    let alice = Client::alice().greet(&mut net);
    let request = allocate().attribute(A::RESERVATION_TOKEN, b"reserved");
    assert_eq!(alice.code(&mut net, request), 0);
}

#[test]
fn a_node_that_takes_nothing_sends_elsewhere_rather_than_away() {
    let mut policy = redirecting(vec![to(ELSEWHERE, 1)]);
    policy.accepting = false;
    let mut net = Net::with_policy(policy);
    let alice = Client::alice().greet(&mut net);
    assert_eq!(sent_to(&mut net, &alice), Some(addr(ELSEWHERE)));
}

#[test]
fn a_blocked_user_is_refused_and_not_passed_on() {
    let mut policy = redirecting(vec![to(ELSEWHERE, 1)]);
    let alice = (REALM.parse().unwrap(), "alice".into());
    policy.blocks.insert(alice, UNIX + 60);
    let mut net = Net::with_policy(policy);
    let alice = Client::alice().greet(&mut net);
    assert_eq!(alice.code(&mut net, allocate()), 403);
}
