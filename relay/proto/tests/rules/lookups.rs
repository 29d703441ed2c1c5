//! Requests that wait for a user to be looked up.

use crate::kit::*;
use shared::Transport;
use turn_proto::auth::credential::CredentialAnswer;
use turn_proto::stun::AttributeType as A;
use turn_proto::{Command, ServerConfig, ServerLimits};

fn waiting() -> Net {
    let mut net = Net::new();
    net.answer_lookups = false;
    net
}

fn answer(net: &mut Net, name: &str, answer: CredentialAnswer) {
    let (realm, username) = (REALM.parse().unwrap(), name.parse().unwrap());
    net.command(Command::Credential {
        realm,
        username,
        answer,
    });
}

#[test]
fn the_first_allocate_is_answered_as_soon_as_the_user_is_known() {
    let mut net = waiting();
    let alice = Client::alice().greet(&mut net);
    assert_eq!(alice.ask(&mut net, allocate()), None);
    assert_eq!(net.lookups, ["alice"]);
    let known = net.users["alice"].clone();
    let before = net.sent.len();
    answer(&mut net, "alice", known);
    assert_eq!(Answer(net.sent[before].1.clone()).code(), 0);
    assert_eq!(net.server.sessions(), 1);
}

#[test]
fn a_name_is_asked_for_once_and_a_retransmission_parks_once() {
    let mut net = waiting();
    let alice = Client::alice().greet(&mut net);
    let bytes = alice.sign(allocate());
    for _ in 0..5 {
        assert_eq!(net.ask(alice.tuple, &bytes), None);
    }
    let other = Client::at("192.0.2.10:40001", "alice", "secret").greet(&mut net);
    assert_eq!(other.ask(&mut net, allocate()), None);
    assert_eq!(net.lookups, ["alice"]);
    let (known, before) = (net.users["alice"].clone(), net.sent.len());
    answer(&mut net, "alice", known);
    assert_eq!(net.sent.len(), before + 2);
    assert_eq!(net.server.sessions(), 2);
}

#[test]
fn no_answer_in_time_is_500() {
    let mut net = waiting();
    let alice = Client::alice().greet(&mut net);
    alice.ask(&mut net, allocate());
    let before = net.sent.len();
    net.advance(1.9);
    assert_eq!(net.sent.len(), before);
    net.advance(0.2);
    assert_eq!(Answer(net.sent[before].1.clone()).code(), 500);
    alice.ask(&mut net, allocate());
    assert_eq!(
        net.lookups,
        ["alice", "alice"],
        "the next request asks again"
    );
}

#[test]
fn an_unavailable_store_is_500_at_once_and_not_remembered() {
    let mut net = Net::new();
    net.users
        .insert("alice".into(), CredentialAnswer::Unavailable);
    let alice = Client::alice().greet(&mut net);
    assert_eq!(alice.ask(&mut net, allocate()).map(|a| a.code()), Some(500));
    net.add_user("alice", "secret");
    assert_eq!(alice.code(&mut net, allocate()), 0);
}

#[test]
fn an_unknown_name_is_not_asked_for_again_within_a_second() {
    let mut net = Net::new();
    let carol = Client::at(CLIENT, "carol", "x").greet(&mut net);
    for _ in 0..3 {
        assert_eq!(carol.code(&mut net, allocate()), 401);
    }
    assert_eq!(net.lookups.len(), 1);
    net.add_user("carol", "x");
    net.advance(1.1);
    assert_eq!(carol.code(&mut net, allocate()), 0);
}

#[test]
fn a_known_user_is_not_asked_for_until_forgotten() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let fresh = |net: &mut Net, port| {
        let mut client = alice.clone();
        client.tuple.client.set_port(port);
        let client = client.greet(net);
        client.code(net, allocate())
    };
    assert_eq!(fresh(&mut net, 41_000), 0);
    assert_eq!(net.lookups.len(), 1);
    net.users.remove("alice");
    let (realm, username) = (REALM.parse().unwrap(), "alice".parse().unwrap());
    net.command(Command::ForgetCredentials {
        realm: Some(realm),
        username: Some(username),
    });
    assert_eq!(fresh(&mut net, 41_001), 401);
    assert_eq!(
        alice.refresh(&mut net, 600),
        0,
        "the session has its own key"
    );
}

#[test]
fn a_changed_password_counts_for_sessions_too() {
    let mut net = Net::new();
    let (mut alice, _) = Client::allocated(&mut net);
    net.add_user("alice", "changed");
    let known = net.users["alice"].clone();
    answer(&mut net, "alice", known);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    alice.key = turn_proto::auth::credential::LongTermKey::derive("alice", REALM, "changed");
    assert_eq!(alice.refresh(&mut net, 600), 0);
}

#[test]
fn the_parking_lot_is_bounded_and_what_does_not_fit_is_dropped() {
    let limits = ServerLimits {
        parked_requests: 2,
        ..ServerLimits::default()
    };
    let config = ServerConfig {
        limits,
        ..ServerConfig::default()
    };
    let mut net = Net::with(config, policy(vec![realm_policy(REALM)]));
    net.answer_lookups = false;
    for name in ["a", "b", "c", "d"] {
        let client = Client::at(CLIENT, name, "x").greet(&mut net);
        assert_eq!(client.ask(&mut net, allocate()), None);
    }
    assert_eq!(net.lookups, ["a", "b"]);
    let huge = Client::at(CLIENT, "a", "x").greet(&mut net);
    let request = allocate().attribute(A::SOFTWARE, &[b'x'; 4000]);
    assert_eq!(huge.ask(&mut net, request), None);
    net.advance(3.0);
    net.server.check();
}

#[test]
fn the_cache_is_bounded_and_drops_the_oldest() {
    let limits = ServerLimits {
        cached_credentials: 2,
        ..ServerLimits::default()
    };
    let config = ServerConfig {
        limits,
        ..ServerConfig::default()
    };
    let mut net = Net::with(config, policy(vec![realm_policy(REALM)]));
    for (index, name) in ["a", "b", "c", "c", "a"].iter().enumerate() {
        net.add_user(name, "x");
        let mut client = Client::at(CLIENT, name, "x");
        client.tuple.client.set_port(41_000 + index as u16);
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0);
    }
    assert_eq!(net.lookups, ["a", "b", "c", "a"]);
}

#[test]
fn a_request_whose_connection_is_gone_makes_no_session() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let mut net = waiting();
        let mut alice = Client::alice();
        alice.tuple.transport = transport;
        let arrival = turn_proto::Arrival::default();
        net.server.handle_connected(net.now, alice.tuple, &arrival);
        let alice = alice.greet(&mut net);
        assert_eq!(alice.ask(&mut net, allocate()), None);
        net.server.handle_disconnected(net.now, alice.tuple);
        let known = net.users["alice"].clone();
        answer(&mut net, "alice", known);
        assert_eq!(net.server.sessions(), 0, "{transport}");
        assert!(net.requests.is_empty(), "{transport}: no port was taken");
    }
}

#[test]
fn a_realm_that_needs_the_store_takes_no_new_session_without_it() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let set = |net: &mut Net, revision, away, needs_store| {
        let mut realm = realm_policy(REALM);
        realm.needs_store = needs_store;
        let mut next = policy(vec![realm]);
        next.revision = revision;
        next.store_away = away;
        net.command(Command::SetPolicy(std::sync::Arc::new(next)));
    };
    let second = Client::at("192.0.2.10:40001", "alice", "secret").greet(&mut net);
    let unknown = Client::at("192.0.2.10:40002", "bob", "hunter2").greet(&mut net);
    net.answer_lookups = false;
    let unavailable = |net: &mut Net| {
        assert_eq!(unknown.ask(net, allocate()), None);
        let before = net.sent.len();
        answer(net, "bob", CredentialAnswer::Unavailable);
        Answer(net.sent[before].1.clone()).code()
    };
    set(&mut net, 2, true, true);
    assert_eq!(second.code(&mut net, allocate()), 508);
    assert_eq!(unavailable(&mut net), 508);
    assert_eq!(
        alice.refresh(&mut net, 600),
        0,
        "a session that exists goes on"
    );
    set(&mut net, 3, true, false);
    assert_eq!(unavailable(&mut net), 500);
    assert_eq!(second.code(&mut net, allocate()), 0);
    set(&mut net, 4, false, true);
    let third = Client::at("192.0.2.10:40003", "alice", "secret").greet(&mut net);
    assert_eq!(third.code(&mut net, allocate()), 0);
}
