//! What the books are told about refusals: which ones, what about them, and how much of a flood.

use std::sync::Arc;

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, Method};
use turn_proto::{Command, Event, RefusalReason, Refused, UsageReport};

fn usage(net: &mut Net) -> UsageReport {
    net.events.clear();
    net.advance(1.0);
    let usage = net.events.drain(..).find_map(|event| match event {
        Event::Usage(usage) => Some(*usage),
        _ => None,
    });
    usage.expect("a report")
}

fn one(net: &mut Net) -> Refused {
    let mut rows = net.refused();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

#[test]
fn equal_refusals_are_one_row_with_a_count() {
    let mut net = Net::new();
    let wrong = Client::at(CLIENT, "alice", "wrong").greet(&mut net);
    for _ in 0..100 {
        assert_eq!(wrong.code(&mut net, allocate()), 401);
    }
    let usage = usage(&mut net);
    let [row] = &usage.refused[..] else {
        panic!("{:?}", usage.refused)
    };
    assert_eq!((row.reason, row.count), (RefusalReason::WrongPassword, 100));
    assert_eq!(row.client, addr(CLIENT));
    assert_eq!(row.realm.as_str(), REALM);
    assert_eq!(row.user.as_deref(), Some("alice"));
    assert_eq!((row.session, row.peer), (None, None));
    let counted = (
        Some(REALM.parse().unwrap()),
        RefusalReason::WrongPassword,
        Some(401),
        100,
    );
    assert!(usage.refusals.contains(&counted), "{:?}", usage.refusals);
    assert_eq!(usage.server.untold_refusals, 0);
    assert!(net.refused().is_empty(), "told once");
}

#[test]
fn what_a_forged_source_may_have_sent_is_only_counted() {
    let mut net = Net::new();
    net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    net.ask(tuple(CLIENT), &ask_for(Method::Refresh).finish());
    let stale = Client {
        nonce: "0123456789abcdef".repeat(3),
        ..Client::alice()
    };
    assert_eq!(stale.code(&mut net, allocate()), 438);
    let usage = usage(&mut net);
    assert!(usage.refused.is_empty(), "{:?}", usage.refused);
    assert_eq!(usage.refusals.len(), 2, "{:?}", usage.refusals);
}

#[test]
fn a_denied_peer_is_told_with_its_session_and_as_it_was_asked_for() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let created = net.events.iter().find_map(|event| match event {
        Event::SessionCreated(session) => Some(session.id),
        _ => None,
    });
    assert_eq!(alice.permit(&mut net, "10.0.0.7:53"), 403);
    let row = one(&mut net);
    assert_eq!(row.reason, RefusalReason::DeniedPeer);
    assert_eq!(row.session, created);
    assert_eq!(
        row.peer,
        Some(addr("10.0.0.7:0")),
        "a permission has no port"
    );
    assert_eq!(alice.bind(&mut net, 0x4000, "10.0.0.7:53"), 403);
    assert_eq!(one(&mut net).peer, Some(addr("10.0.0.7:53")));
}

#[test]
fn of_a_time_limited_name_the_user_is_told() {
    let mut realm = realm_policy(REALM);
    realm.secrets = vec![rest_secret("s", "s")];
    let mut net = Net::with_policy(policy(vec![realm]));
    let name = format!("{}:carol", UNIX + 60);
    let claimed = Client::at(CLIENT, &name, "guess").greet(&mut net);
    assert_eq!(claimed.code(&mut net, allocate()), 401);
    let row = one(&mut net);
    assert_eq!(row.user.as_deref(), Some("carol"));
    assert_eq!(row.username.unwrap().as_str(), name);
}

#[test]
fn datagrams_to_a_peer_denied_meanwhile_are_told_and_counted() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert!(net.client(alice.tuple, &send_to(PEER, b"x")).is_some());
    let mut realm = realm_policy(REALM);
    realm.denied_peers = vec![PEER.split(':').next().unwrap().parse().unwrap()];
    let mut next = policy(vec![realm]);
    next.revision = 2;
    net.command(Command::SetPolicy(Arc::new(next)));
    for _ in 0..1000 {
        assert!(net.client(alice.tuple, &send_to(PEER, b"x")).is_none());
    }
    let usage = usage(&mut net);
    assert_eq!(usage.refused.len(), 1);
    let row = &usage.refused[0];
    assert_eq!((row.reason, row.count), (RefusalReason::DeniedSend, 1000));
    assert_eq!(row.peer, Some(addr(PEER)));
    assert_eq!(row.reason.code(), None);
    assert_eq!(usage.refusals[0].3, 1000);
    assert!(
        net.client(alice.tuple, &send_to("9.9.9.8:1", b"x"))
            .is_none()
    );
    assert!(
        net.refused().is_empty(),
        "no permission is a drop, no refusal"
    );
}

#[test]
fn a_flood_is_told_in_part_and_counted_in_full() {
    let mut net = Net::new();
    for host in 0..100 {
        let client = Client::at(&format!("192.0.2.{host}:4000"), "alice", "wrong");
        let client = client.greet(&mut net);
        for name in 0..4 {
            let client = Client {
                username: format!("user{name}"),
                ..client.clone()
            };
            assert_eq!(client.code(&mut net, allocate()), 401);
        }
    }
    let usage = usage(&mut net);
    assert_eq!(usage.refused.len(), 64);
    assert_eq!(usage.server.untold_refusals, 400 - 64);
    let counted: u64 = usage.refusals.iter().map(|row| row.3).sum();
    assert_eq!(counted, 400);
}

#[test]
fn one_loud_source_leaves_room_for_others() {
    let mut net = Net::new();
    let loud = Client::alice().greet(&mut net);
    for name in 0..200 {
        let client = Client {
            username: format!("user{name}"),
            ..loud.clone()
        };
        assert_eq!(client.code(&mut net, allocate()), 401);
    }
    let quiet = Client::at("192.0.2.77:1", "bob", "wrong").greet(&mut net);
    assert_eq!(quiet.code(&mut net, allocate()), 401);
    let rows = net.refused();
    assert_eq!(rows.len(), 17);
    assert_eq!(rows[16].client, addr("192.0.2.77:1"));
}

#[test]
fn whoever_waited_in_vain_for_the_store_is_named() {
    let mut net = Net::new();
    net.answer_lookups = false;
    let alice = Client::alice().greet(&mut net);
    let request = allocate().attribute(A::LIFETIME, &[0, 0, 2, 88]);
    assert!(net.ask(alice.tuple, &alice.sign(request)).is_none());
    net.advance(2.0);
    let row = one(&mut net);
    assert_eq!(row.reason, RefusalReason::LookupTimeout);
    assert_eq!(row.user.as_deref(), Some("alice"));
}
