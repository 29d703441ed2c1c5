//! Sessions that a later start of the node takes up again.

use std::sync::atomic::Ordering;

use shared::Transport;
use turn_proto::auth::rest;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{
    Arrival, Command, EndCause, Event, Forward, Policy, RelayId, RestoreRefusal, RestoredRelays,
    RestoredSession, ServerConfig,
};

use crate::kit::*;

const SECRET: &str = "a shared secret";

fn policies() -> Policy {
    let mut realm = realm_policy(REALM);
    realm.secrets = vec![rest_secret("s1", SECRET)];
    policy(vec![realm])
}

/// What is known of the sessions of a server when it stops.
fn known(net: &mut Net) -> Vec<RestoredSession> {
    net.events.clear();
    net.command(Command::Snapshot);
    let snapshot = net.events.drain(..).find_map(|event| match event {
        Event::Snapshot(sessions) => Some(sessions),
        _ => None,
    });
    snapshot.unwrap().iter().map(Into::into).collect()
}

/// The next start, under the same policy, that has restored nothing yet.
fn next_start(net: &Net) -> Net {
    let config = ServerConfig {
        session_base: 8,
        ..ServerConfig::default()
    };
    let mut next = Net::with(config, policies());
    next.now = net.now;
    next
}

fn restore(net: &mut Net, session: RestoredSession) -> Result<RestoredRelays, RestoreRefusal> {
    let relays = net.server.restore(net.now, session);
    net.drain();
    relays
}

/// The node stops and starts again; what its sessions' first relays are called then.
fn restart(mut net: Net) -> (Net, Vec<RelayId>) {
    let sessions = known(&mut net);
    let mut next = next_start(&net);
    let relays = sessions.into_iter().map(|session| {
        let relays = restore(&mut next, session).unwrap();
        relays.first.unwrap()
    });
    let relays = relays.collect();
    (next, relays)
}

fn rest_client(address: &str, expiry: u64) -> Client {
    let name = format!("{expiry}:carol");
    Client::at(address, &name, &rest::password(SECRET.as_bytes(), &name))
}

fn with_channel(net: &mut Net, client: Client) -> Client {
    let client = client.greet(net);
    assert_eq!(client.code(net, allocate()), 0);
    assert_eq!(client.bind(net, 0x4000, PEER), 0);
    client
}

fn relays_both_ways(net: &mut Net, client: &Client, relay: RelayId) -> bool {
    let data = channel_data(0x4000, b"four");
    let up = matches!(net.client(client.tuple, &data), Some(Forward::ToPeer { relay: by, .. }) if by == relay);
    let down = matches!(net.peer(relay, PEER, b"x"), Some(Forward::ToClient { tuple, .. }) if tuple == client.tuple);
    up && down
}

#[test]
fn sessions_of_users_and_of_secrets_go_on_without_a_request() {
    for client in [Client::alice(), rest_client(CLIENT, UNIX + 60)] {
        let mut net = Net::with_policy(policies());
        let client = with_channel(&mut net, client);
        net.advance(100.0);
        let (mut net, relays) = restart(net);
        assert_eq!(net.prepared, relays, "packets may come");
        assert!(relays_both_ways(&mut net, &client, relays[0]));
        assert_eq!(net.lookups, [""; 0], "nobody is looked up for it");
        assert!(net.events.is_empty(), "it is no new session");
        assert_eq!(net.server.counters().restored, 1);
        // With the old nonce; a credential that ended is good for its session.
        assert_eq!(client.refresh(&mut net, 600), 0);
        assert_eq!(client.permit(&mut net, "9.9.9.8:1"), 0);
        assert_eq!(client.bind(&mut net, 0x4001, "9.9.9.7:1"), 0);
        assert_eq!(client.refresh(&mut net, 0), 0);
        assert_eq!(net.server.sessions(), 0);
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_users_session_gets_its_key_from_the_owners_next_request_alone() {
    let mut net = Net::with_policy(policies());
    let alice = with_channel(&mut net, Client::alice());
    let (mut net, _) = restart(net);
    let mut forger = alice.clone();
    forger.key = Client::at(CLIENT, "alice", "guessed").key;
    assert_eq!(forger.refresh(&mut net, 0), 401);
    let bob = Client::at(CLIENT, "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.refresh(&mut net, 0), 441);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    // From now on the session knows it, whatever becomes of the user.
    net.users.clear();
    net.command(Command::ForgetCredentials {
        realm: None,
        username: None,
    });
    assert_eq!(alice.refresh(&mut net, 600), 0);
    assert_eq!(forger.refresh(&mut net, 0), 401);
}

#[test]
fn whoever_is_gone_relays_on_until_the_lifetime_ends() {
    let mut net = Net::with_policy(policies());
    let alice = with_channel(&mut net, Client::alice());
    let (mut net, relays) = restart(net);
    net.users.clear();
    assert_eq!(alice.refresh(&mut net, 600), 401);
    assert!(relays_both_ways(&mut net, &alice, relays[0]));
    net.advance(599.0);
    assert_eq!(net.server.sessions(), 1);
    net.advance(1.0);
    assert_eq!((net.server.sessions(), &net.closed), (0, &relays));
}

#[test]
fn what_ended_meanwhile_has_ended_and_the_rest_ends_in_its_time() {
    let mut net = Net::with_policy(policies());
    let alice = with_channel(&mut net, Client::alice());
    net.advance(200.0);
    assert_eq!(alice.permit(&mut net, "9.9.9.8:1"), 0);
    let sessions = known(&mut net);
    // The permission that came with the channel ends at 300 s, the other at 500, the channel at 600.
    net.advance(101.0);
    let mut next = next_start(&net);
    let relay = restore(&mut next, sessions[0].clone()).unwrap();
    let relay = relay.first.unwrap();
    assert_eq!(next.peer(relay, PEER, b"x"), None);
    assert!(next.peer(relay, "9.9.9.8:1", b"x").is_some());
    next.advance(200.0);
    assert_eq!(next.peer(relay, "9.9.9.8:1", b"x"), None);
    net.advance(300.0);
    let mut next = next_start(&net);
    let late = restore(&mut next, sessions[0].clone());
    assert_eq!(late, Err(RestoreRefusal::Expired));
    assert_eq!(next.quota.held.load(Ordering::Relaxed), 0);
}

#[test]
fn a_channel_that_ended_is_guarded_as_before() {
    let mut net = Net::with_policy(policies());
    let alice = with_channel(&mut net, Client::alice());
    for _ in 0..2 {
        net.advance(299.0);
        assert_eq!(alice.refresh(&mut net, 3600), 0);
    }
    net.advance(10.0);
    let (mut net, _) = restart(net);
    let data = channel_data(0x4000, b"four");
    assert_eq!(net.client(alice.tuple, &data), None);
    let alice = alice.greet(&mut net);
    let other = alice.bind(&mut net, 0x4000, "9.9.9.8:1");
    assert_eq!(other, 400, "not before five minutes are over");
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
}

#[test]
fn a_session_without_permissions_has_its_socket_left_alone() {
    let mut net = Net::with_policy(policies());
    let (alice, _) = Client::allocated(&mut net);
    let (mut net, relays) = restart(net);
    assert_eq!(net.prepared, []);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(net.prepared, relays);
}

#[test]
fn totals_go_on_and_ids_do_not_meet() {
    let mut net = Net::with_policy(policies());
    let alice = with_channel(&mut net, Client::alice());
    assert!(
        net.client(alice.tuple, &channel_data(0x4000, b"four"))
            .is_some()
    );
    let before = known(&mut net).remove(0);
    assert_eq!(before.counters.in_packets, 1);
    let (mut net, _) = restart(net);
    let bob = Client::at("192.0.2.11:5", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 0);
    let after = known(&mut net);
    let hers = after
        .iter()
        .find(|session| session.id == before.id)
        .unwrap();
    assert_eq!(*hers, before, "as it was in everything");
    assert_eq!(after.len(), 2);
}

#[test]
fn a_restored_session_is_killed_like_any_other() {
    let mut net = Net::with_policy(policies());
    with_channel(&mut net, Client::alice());
    let session = known(&mut net)[0].id;
    let (mut net, relays) = restart(net);
    net.command(Command::Kill {
        session,
        cause: EndCause::Killed,
    });
    assert_eq!(net.closed, relays);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
}

#[test]
fn both_addresses_of_a_dual_allocation_come_back_and_end_apart() {
    let mut net = Net::with_policy(policies());
    let alice = Client::alice().greet(&mut net);
    let dual = allocate().attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, dual), 0);
    for peer in [PEER, PEER_V6] {
        assert_eq!(alice.permit(&mut net, peer), 0);
    }
    let mut session = known(&mut net).remove(0);
    let mut next = next_start(&net);
    let both = restore(&mut next, session.clone()).unwrap();
    let (first, second) = (both.first.unwrap(), both.second.unwrap());
    assert_eq!(next.prepared, [first, second]);
    for (relay, peer) in [(first, PEER), (second, PEER_V6)] {
        assert!(next.peer(relay, peer, b"x").is_some());
        let bytes = send_to(peer, b"x");
        let sent = next.client(alice.tuple, &bytes);
        assert!(matches!(sent, Some(Forward::ToPeer { relay: by, .. }) if by == relay));
    }
    assert_eq!(alice.refresh(&mut next, 0), 0);
    assert_eq!(next.closed, [first, second]);
    // One that had expired is left out.
    session.first.expires = net.now.mono;
    let mut next = next_start(&net);
    let one = restore(&mut next, session.clone()).unwrap();
    assert_eq!(one.first, None);
    assert!(next.peer(one.second.unwrap(), PEER_V6, b"x").is_some());
    let mut twins = session;
    twins.first.expires = twins.second.unwrap().expires;
    twins.first.external = twins.second.unwrap().external;
    assert_eq!(
        restore(&mut next_start(&net), twins),
        Err(RestoreRefusal::SameFamily)
    );
}

#[test]
fn what_cannot_come_back_is_refused_and_leaves_no_trace() {
    let mut net = Net::with_policy(policies());
    with_channel(&mut net, Client::alice());
    let session = known(&mut net).remove(0);
    let mut next = next_start(&net);
    for transport in [Transport::Tls, Transport::Dtls] {
        let mut secured = session.clone();
        secured.tuple.transport = transport;
        assert_eq!(restore(&mut next, secured), Err(RestoreRefusal::Secured));
    }
    let mut strange = session.clone();
    strange.realm = "gone.example".parse().unwrap();
    assert_eq!(
        restore(&mut next, strange),
        Err(RestoreRefusal::UnknownRealm)
    );
    assert_eq!(next.quota.held.load(Ordering::Relaxed), 0);
    restore(&mut next, session.clone()).unwrap();
    assert_eq!(
        restore(&mut next, session.clone()),
        Err(RestoreRefusal::Known)
    );
    let mut other = session;
    other.id.0 += 1;
    assert_eq!(restore(&mut next, other), Err(RestoreRefusal::TupleTaken));
    assert_eq!(next.quota.held.load(Ordering::Relaxed), 1);
    assert_eq!(next.server.sessions(), 1);
    next.server.check();
}

#[test]
fn an_allocate_from_before_is_not_answered_as_if_it_were_new() {
    let mut net = Net::with_policy(policies());
    let alice = Client::alice().greet(&mut net);
    let request: MessageBuilder = ask_for(Method::Allocate);
    let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let bytes = alice.sign(request);
    assert_eq!(net.ask(alice.tuple, &bytes).unwrap().code(), 0);
    let (mut net, _) = restart(net);
    assert_eq!(net.ask(alice.tuple, &bytes).unwrap().code(), 437);
}

#[test]
fn a_session_that_is_let_go_leaves_no_trace_and_nobody_is_told() {
    let mut net = Net::with_policy(policies());
    let client = with_channel(&mut net, Client::alice());
    let session = known(&mut net).remove(0);
    let mut heir = next_start(&net);
    let relay = restore(&mut heir, session.clone()).unwrap().first.unwrap();
    net.events.clear();
    net.sent.clear();
    net.server.let_go(session.id);
    net.drain();
    assert_eq!((net.closed.len(), net.server.sessions()), (1, 0));
    assert!(net.events.is_empty() && net.sent.is_empty() && net.disconnected.is_empty());
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    net.server.check();
    // Twice is as good as once, and the client may come anew.
    net.server.let_go(session.id);
    net.drain();
    assert_eq!(net.closed.len(), 1);
    assert!(relays_both_ways(&mut heir, &client, relay));
    with_channel(&mut net, Client::alice());
}

#[test]
fn a_session_over_tcp_goes_on_where_its_connection_came_along() {
    let mut net = Net::with_policy(policies());
    let mut client = Client::alice();
    client.tuple.transport = Transport::Tcp;
    net.server
        .handle_connected(net.now, client.tuple, &Arrival::default());
    let client = with_channel(&mut net, client);
    let session = known(&mut net).remove(0);
    let mut heir = next_start(&net);
    heir.server
        .handle_connected(heir.now, client.tuple, &Arrival::default());
    let relay = restore(&mut heir, session).unwrap().first.unwrap();
    assert!(relays_both_ways(&mut heir, &client, relay));
    heir.server.handle_disconnected(heir.now, client.tuple);
    heir.drain();
    assert_eq!(heir.server.sessions(), 0);
    heir.server.check();
}
