//! What the control plane changes while sessions run, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::kit::*;
use turn_proto::server::{EndCause, Revocation};
use turn_proto::stun::Method;
use turn_proto::{Command, Event, Policy, RealmPolicy, ServerConfig};

fn set(net: &mut Net, revision: u64, change: impl Fn(&mut RealmPolicy, &mut Vec<(String, u64)>)) {
    let mut realm = realm_policy(REALM);
    let mut blocks = Vec::new();
    change(&mut realm, &mut blocks);
    let mut next: Policy = policy(vec![realm]);
    next.revision = revision;
    for (user, until) in blocks {
        next.blocks
            .insert((REALM.parse().unwrap(), user.into()), until);
    }
    net.command(Command::SetPolicy(Arc::new(next)));
}

#[test]
fn a_blocked_user_gets_403_until_the_block_ends() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    set(&mut net, 2, |_, blocks| {
        blocks.push(("alice".into(), UNIX + 60))
    });
    assert_eq!(alice.refresh(&mut net, 600), 403);
    let second = Client::at("192.0.2.10:40001", "alice", "secret").greet(&mut net);
    assert_eq!(second.code(&mut net, allocate()), 403);
    let bob = Client::at("192.0.2.10:40002", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 0);
    assert_eq!(alice.refresh(&mut net, 0), 0, "leaving is always allowed");
    net.advance(60.0);
    assert_eq!(second.code(&mut net, allocate()), 0);
}

#[test]
fn a_rate_limit_counts_bits_per_direction_with_a_burst() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    alice.bind(&mut net, 0x4000, PEER);
    set(&mut net, 2, |realm, _| realm.max_rate_bps = Some(200_000));
    let packet = channel_data(0x4000, &[0; 1000]);
    let burst = |net: &mut Net| {
        (0..50)
            .filter(|_| net.client(alice.tuple, &packet).is_some())
            .count()
    };
    assert_eq!(
        burst(&mut net),
        10,
        "400 ms of it are ten packets of 8 kbit"
    );
    let back = (0..50)
        .filter(|_| net.peer(relay, PEER, &[0; 1000]).is_some())
        .count();
    assert_eq!(back, 10, "the other direction has its own");
    net.advance(0.2);
    assert_eq!(burst(&mut net), 5);
    set(&mut net, 3, |_, _| {});
    assert_eq!(burst(&mut net), 50, "the limit is gone at once");
    net.advance(2.0);
    let usage = net.events.iter().rev().find_map(|event| match event {
        Event::Usage(usage) if !usage.sessions.is_empty() => Some(usage.sessions[0].1),
        _ => None,
    });
    assert_eq!(usage.unwrap().drop_over_rate, 40 + 40 + 45);
}

#[test]
fn usage_is_told_once_a_second_and_only_of_sessions_that_changed() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    let bob = Client::at("192.0.2.10:40002", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 0);
    alice.bind(&mut net, 0x4000, PEER);
    net.advance(3.0);
    net.events.clear();
    for _ in 0..10 {
        net.client(alice.tuple, &channel_data(0x4000, b"four"));
        net.peer(relay, PEER, b"sixsix");
        net.advance(0.01);
    }
    net.advance(10.0);
    let reports: Vec<_> = net
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Usage(usage) => Some(usage),
            _ => None,
        })
        .collect();
    assert_eq!(reports.len(), 1, "silence needs no report");
    assert_eq!(reports[0].sessions.len(), 1);
    let counters = reports[0].sessions[0].1;
    assert_eq!((counters.in_packets, counters.in_bytes), (10, 40));
    assert_eq!((counters.out_packets, counters.out_bytes), (10, 60));
    assert_eq!(reports[0].server.relayed_bytes, 100);
}

#[test]
fn session_ids_step_by_the_number_of_workers() {
    let config = ServerConfig {
        session_base: 0xabcd_0000,
        session_first: 3,
        session_step: 4,
        ..ServerConfig::default()
    };
    let mut net = Net::with(config, policy(vec![realm_policy(REALM)]));
    for port in 41_000..41_003 {
        let mut client = Client::alice();
        client.tuple.client.set_port(port);
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0);
    }
    net.command(Command::Snapshot);
    let Some(Event::Snapshot(sessions)) = net.events.last() else {
        panic!("a snapshot")
    };
    let mut ids: Vec<_> = sessions
        .iter()
        .map(|session| session.id.to_string())
        .collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["abcd000000000003", "abcd000000000007", "abcd00000000000b"]
    );
}

#[test]
fn a_session_is_described_on_demand_and_after_changes() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let Some(Event::SessionCreated(created)) = net.events.last() else {
        panic!()
    };
    let session = created.id;
    alice.bind(&mut net, 0x4000, PEER);
    let Some(Event::SessionChanged(changed)) = net.events.last() else {
        panic!()
    };
    assert_eq!(changed.channels[0].peer, addr(PEER));
    assert_eq!(changed.permissions[0].last_port, None);
    net.client(alice.tuple, &channel_data(0x4000, b"abc"));
    net.command(Command::Describe { session });
    let Some(Event::SessionChanged(changed)) = net.events.last() else {
        panic!()
    };
    assert_eq!(changed.permissions[0].last_port, Some(7000));
    assert_eq!(changed.permissions[0].in_bytes, 3);
}

#[test]
fn a_new_nonce_key_makes_old_nonces_stale() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let mut next = policy(vec![realm_policy(REALM)]);
    next.nonce_key = shared::Secret::new([8; 32]);
    net.command(Command::SetPolicy(next.into()));
    assert_eq!(alice.code(&mut net, allocate()), 438);
}

#[test]
fn another_lifetime_counts_from_the_next_request_and_ends_nothing_that_exists() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    let peer = PEER;
    assert_eq!(alice.permit(&mut net, peer), 0);
    let mut next: Policy = policy(vec![realm_policy(REALM)]);
    next.revision = 2;
    next.settings.permission_lifetime = Duration::from_secs(30);
    next.settings.software = Some("other".into());
    net.command(Command::SetPolicy(Arc::new(next)));
    let passes = |net: &mut Net| net.peer(relay, peer, b"x").is_some();
    net.advance(100.0);
    assert!(passes(&mut net), "it keeps the end that it was given");
    assert_eq!(alice.permit(&mut net, peer), 0);
    net.advance(31.0);
    assert!(!passes(&mut net), "the next one is of the new length");
}

/// A client with a time-limited credential, and its session.
fn guest(net: &mut Net, good_for: u64) -> Client {
    let name = format!("{}:carol", UNIX + good_for);
    let password = turn_proto::auth::rest::password(b"north", &name);
    let client = Client::at("192.0.2.10:40005", &name, &password).greet(net);
    assert_eq!(client.code(net, allocate()), 0);
    client
}

fn credentials_end_sessions(net: &mut Net, revision: u64, whether: bool) {
    set(net, revision, |realm, _| {
        realm.secrets = vec![rest_secret("s", "north")];
        realm.ends_with_credential = whether;
    });
}

fn revoked(net: &Net) -> usize {
    let expired = EndCause::Revoked(Revocation::CredentialExpired);
    let ended = net
        .events
        .iter()
        .filter(|event| matches!(event, Event::SessionEnded { cause, .. } if *cause == expired));
    ended.count()
}

#[test]
fn a_session_ends_with_its_credential_where_the_realm_says_so() {
    let mut net = Net::new();
    credentials_end_sessions(&mut net, 2, true);
    let (alice, _) = Client::allocated(&mut net);
    let carol = guest(&mut net, 300);
    net.advance(300.5);
    assert_eq!(carol.refresh(&mut net, 3600), 0, "in its last second");
    net.advance(0.5);
    assert_eq!((net.server.sessions(), revoked(&net)), (1, 1));
    assert_eq!(net.server.counters().ended.total(), 1);
    assert_eq!(alice.refresh(&mut net, 600), 0, "a password has no end");
}

#[test]
fn the_rule_follows_the_policy_both_ways_while_sessions_run() {
    let mut net = Net::new();
    credentials_end_sessions(&mut net, 2, false);
    let carol = guest(&mut net, 100);
    net.advance(50.0);
    credentials_end_sessions(&mut net, 3, true);
    credentials_end_sessions(&mut net, 4, false);
    net.advance(100.0);
    assert_eq!(carol.refresh(&mut net, 600), 0, "long expired");
    credentials_end_sessions(&mut net, 5, true);
    net.advance(0.1);
    assert_eq!((net.server.sessions(), revoked(&net)), (0, 1));
}

#[test]
fn a_credential_without_a_believable_end_ends_nothing() {
    let mut net = Net::new();
    credentials_end_sessions(&mut net, 2, true);
    let carol = guest(&mut net, u64::MAX - UNIX);
    net.advance(500.0);
    assert_eq!(carol.refresh(&mut net, 600), 0);
}

fn ban(net: &mut Net, revision: u64, clients: &[&str], peers: &[&str]) {
    let set = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    let mut next: Policy = policy(vec![realm_policy(REALM)]);
    next.revision = revision;
    next.banned_clients = set(clients);
    next.peers.banned = set(peers);
    // Whatever a list allows.
    next.peers.allowed = peers.iter().map(|net| net.parse().unwrap()).collect();
    net.command(Command::SetPolicy(Arc::new(next)));
}

#[test]
fn a_client_of_a_banned_net_is_challenged_as_all_are_and_gets_403_when_it_proved_itself() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    ban(&mut net, 2, &["192.0.2.0/24"], &[]);
    assert_eq!(alice.refresh(&mut net, 600), 403);
    let second = Client::at("192.0.2.77:4000", "alice", "secret").greet(&mut net);
    assert_eq!(second.code(&mut net, allocate()), 403);
    let guess = Client::at("192.0.2.77:4001", "alice", "a guess").greet(&mut net);
    assert_eq!(
        guess.code(&mut net, allocate()),
        401,
        "no word about the ban"
    );
    let far = Client::at("192.0.3.1:4000", "alice", "secret").greet(&mut net);
    assert_eq!(far.code(&mut net, allocate()), 0);
    assert_eq!(alice.refresh(&mut net, 0), 0, "leaving is always allowed");
}

#[test]
fn a_banned_peer_loses_permission_and_channel_and_the_session_goes_on() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    alice.bind(&mut net, 0x4000, PEER);
    let packet = channel_data(0x4000, b"hello");
    assert!(net.client(alice.tuple, &packet).is_some());
    net.events.clear();
    ban(&mut net, 2, &[], &[PEER.rsplit_once(':').unwrap().0]);
    let Some(Event::SessionChanged(now)) = net.events.last() else {
        panic!("the books are told: {:?}", net.events)
    };
    assert!(now.permissions.is_empty() && now.channels.is_empty());
    assert!(net.client(alice.tuple, &packet).is_none());
    assert!(net.peer(relay, PEER, b"hello").is_none());
    assert_eq!(alice.permit(&mut net, PEER), 403);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 403);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    ban(&mut net, 3, &[], &[]);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
}

#[test]
fn what_is_switched_off_is_dropped_and_sessions_go_on() {
    let without = |stun: bool, turn: bool| {
        let mut policy = policy(vec![realm_policy(REALM)]);
        (policy.settings.stun, policy.settings.turn) = (stun, turn);
        policy
    };
    let mut net = Net::with_policy(without(false, true));
    let binding = ask_for(Method::Binding).finish();
    assert!(net.ask(tuple(CLIENT), &binding).is_none());
    let (alice, _) = Client::allocated(&mut net);
    net.command(Command::SetPolicy(without(true, false).into()));
    let stranger = tuple("192.0.2.99:4000");
    assert!(net.ask(stranger, &allocate().finish()).is_none());
    assert!(net.ask(stranger, &binding).is_some());
    assert_eq!(alice.refresh(&mut net, 600), 0);
}
