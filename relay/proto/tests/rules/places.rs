//! Sessions that need a place among those of all nodes.

use std::sync::atomic::Ordering;

use crate::kit::*;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::{Command, PlaceAnswer, PlaceClaim, QuotaExceeded};

/// One session per user and two per realm, counted elsewhere.
fn asking() -> Net {
    let mut realm = realm_policy(REALM);
    (realm.max_sessions_per_user, realm.max_sessions) = (Some(1), Some(2));
    let net = Net::with_policy(policy(vec![realm]));
    net.quota.asks.store(true, Ordering::Relaxed);
    net
}

fn answer(net: &mut Net, claim: PlaceClaim, answer: PlaceAnswer) {
    let claim = Box::new(claim);
    net.command(Command::Place { claim, answer });
}

#[test]
fn a_session_waits_for_its_place_and_gets_it() {
    let mut net = asking();
    let alice = Client::alice().greet(&mut net);
    let bytes = alice.sign(allocate());
    for _ in 0..3 {
        assert_eq!(net.ask(alice.tuple, &bytes), None, "it is asked for once");
    }
    let [claim] = std::mem::take(&mut net.claims).try_into().unwrap();
    assert_eq!((&*claim.user, claim.per_user), ("alice", Some(1)));
    assert_eq!((claim.tuple, claim.per_realm), (alice.tuple, Some(2)));
    assert_eq!(net.server.sessions(), 0);
    let before = net.sent.len();
    answer(&mut net, claim, PlaceAnswer::Granted);
    assert_eq!(Answer(net.sent[before].1.clone()).code(), 0);
    assert_eq!(net.server.sessions(), 1);
    assert_eq!(net.quota.given_back.load(Ordering::Relaxed), 0);
    // What others have of the limits was judged where they are counted: here they are not.
    let other = Client::at("192.0.2.10:40001", "alice", "secret").greet(&mut net);
    other.ask(&mut net, allocate());
    let claim = net.claims.pop().unwrap();
    answer(&mut net, claim, PlaceAnswer::Granted);
    assert_eq!(net.server.sessions(), 2);
}

#[test]
fn a_refusal_is_signed_and_says_which_limit_it_was() {
    for (which, reason) in [
        (QuotaExceeded::User, "user_quota"),
        (QuotaExceeded::Realm, "realm_quota"),
    ] {
        let mut net = asking();
        let alice = Client::alice().greet(&mut net);
        alice.ask(&mut net, allocate());
        let claim = net.claims.pop().unwrap();
        let before = net.sent.len();
        answer(&mut net, claim, PlaceAnswer::Exceeded(which));
        let refused = Answer(net.sent[before].1.clone());
        assert_eq!(refused.code(), 486);
        let key = LongTermKey::derive("alice", REALM, "secret");
        assert!(refused.message().verify_integrity(key.as_bytes()));
        let rows = net.refused();
        assert!(rows.iter().any(|row| row.reason.as_str() == reason));
        assert_eq!(net.server.sessions(), 0);
    }
}

#[test]
fn a_place_that_nobody_uses_any_more_is_given_back() {
    let given_back = |net: &Net| net.quota.given_back.load(Ordering::Relaxed);
    // The client was told 500 meanwhile.
    let mut net = asking();
    let alice = Client::alice().greet(&mut net);
    alice.ask(&mut net, allocate());
    let claim = net.claims.pop().unwrap();
    let before = net.sent.len();
    net.advance(2.1);
    assert_eq!(Answer(net.sent[before].1.clone()).code(), 500);
    answer(&mut net, claim, PlaceAnswer::Granted);
    assert_eq!((given_back(&net), net.server.sessions()), (1, 0));
    // The node takes nothing any more.
    let mut net = asking();
    let alice = Client::alice().greet(&mut net);
    alice.ask(&mut net, allocate());
    let claim = net.claims.pop().unwrap();
    let mut closed = policy(vec![realm_policy(REALM)]);
    closed.accepting = false;
    net.command(Command::SetPolicy(std::sync::Arc::new(closed)));
    answer(&mut net, claim, PlaceAnswer::Granted);
    assert_eq!((given_back(&net), net.server.sessions()), (1, 0));
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
}

#[test]
fn nobody_without_the_password_asks_for_a_place() {
    let mut net = asking();
    let mallory = Client::at("192.0.2.10:40001", "alice", "guess").greet(&mut net);
    assert_eq!(mallory.code(&mut net, allocate()), 401);
    assert_eq!(net.claims.len(), 0);
}
