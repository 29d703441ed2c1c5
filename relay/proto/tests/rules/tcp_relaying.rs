//! TCP relaying by the rules of RFC 6062.

use std::time::Duration;

use shared::{RelayTransport, Transport};
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};
use turn_proto::{Arrival, Event, FiveTuple, LinkId, Policy, RelayId};

use crate::kit::*;

pub(crate) const DATA: &str = "192.0.2.10:41000";

pub(crate) fn switched_on() -> Policy {
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.settings.tcp_relay.enabled = true;
    policy
}

pub(crate) fn over(transport: Transport, client: &str) -> FiveTuple {
    FiveTuple {
        transport,
        ..tuple(client)
    }
}

pub(crate) fn allocate_tcp() -> MessageBuilder {
    ask_for(Method::Allocate).attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
}

/// A client that came by TCP, with a nonce.
pub(crate) fn stream(net: &mut Net, at: &str, user: &str, password: &str) -> Client {
    let mut client = Client::at(at, user, password);
    client.tuple.transport = Transport::Tcp;
    let arrival = Arrival::default();
    net.server.handle_connected(net.now, client.tuple, &arrival);
    client.greet(net)
}

/// A client with a TCP allocation.
pub(crate) fn allocated(net: &mut Net) -> (Client, RelayId) {
    let alice = stream(net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(net, allocate_tcp()), 0);
    (alice, net.requests.last().unwrap().0)
}

pub(crate) fn connect(peer: &str) -> MessageBuilder {
    ask_for(Method::Connect).peer(peer)
}

pub(crate) fn bind(connection: u32) -> MessageBuilder {
    ask_for(Method::ConnectionBind).number(A::CONNECTION_ID, connection)
}

pub(crate) fn connection_id(bytes: &[u8]) -> u32 {
    let message = Message::parse(bytes).unwrap();
    message.number(A::CONNECTION_ID).unwrap().unwrap()
}

/// Connects to the peer, which accepts; answers the link and the CONNECTION-ID.
pub(crate) fn connected(net: &mut Net, client: &Client, peer: &str) -> (LinkId, u32) {
    assert_eq!(
        client.ask(net, connect(peer)),
        None,
        "no answer before the peer's"
    );
    let (_, link, _) = *net.connects.last().unwrap();
    net.server.handle_peer_connected(net.now, link, 0x9e37_79b9);
    net.drain();
    let (to, answer) = net.sent.last().unwrap();
    assert_eq!(*to, client.tuple);
    assert_eq!(Answer(answer.clone()).code(), 0);
    (link, connection_id(answer))
}

/// A pair that is joined.
pub(crate) fn joined(net: &mut Net, client: &Client) -> (LinkId, Client) {
    let (link, id) = connected(net, client, PEER);
    let data = stream(net, DATA, "alice", "secret");
    assert_eq!(data.code(net, bind(id)), 0);
    (link, data)
}

pub(crate) fn net() -> Net {
    Net::with_policy(switched_on())
}

#[test]
fn tcp_is_an_unsupported_transport_unless_it_is_switched_on() {
    let mut net = Net::new();
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(&mut net, allocate_tcp()), 442);
}

#[test]
fn udp_is_an_unsupported_transport_where_it_is_switched_off() {
    let mut policy = switched_on();
    policy.settings.udp_relay = false;
    let mut net = Net::with_policy(policy);
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(&mut net, allocate()), 442);
    assert_eq!(alice.code(&mut net, allocate_tcp()), 0);
}

#[test]
fn a_realm_has_the_last_word_on_tcp() {
    for (node, realm, code) in [
        (false, Some(true), 0),
        (true, Some(false), 442),
        (true, None, 0),
        (false, None, 442),
    ] {
        let mut policy = switched_on();
        policy.settings.tcp_relay.enabled = node;
        for realm_policy in policy.realms.values_mut() {
            std::sync::Arc::get_mut(realm_policy).unwrap().tcp_relay = realm;
        }
        let mut net = Net::with_policy(policy);
        let alice = stream(&mut net, CLIENT, "alice", "secret");
        assert_eq!(
            alice.code(&mut net, allocate_tcp()),
            code,
            "{node} {realm:?}"
        );
    }
}

#[test]
fn other_protocols_are_unsupported_where_tcp_is_switched_on() {
    let mut net = net();
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    let sctp = ask_for(Method::Allocate).attribute(A::REQUESTED_TRANSPORT, &[132, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, sctp), 442);
}

#[test]
fn a_tcp_allocation_listens_on_tcp() {
    let mut net = net();
    allocated(&mut net);
    assert_eq!(net.requests[0].1.transport, RelayTransport::Tcp);
    let Some(Event::SessionCreated(session)) = net.events.last() else {
        panic!("an event")
    };
    assert_eq!(session.relay_transport, RelayTransport::Tcp);
}

#[test]
fn a_client_by_tcp_still_gets_udp_when_it_asks_for_it() {
    let mut net = net();
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(&mut net, allocate()), 0);
    assert_eq!(net.requests[0].1.transport, RelayTransport::Udp);
}

#[test]
fn a_tcp_allocation_over_udp_or_dtls_is_a_bad_request() {
    for transport in [Transport::Udp, Transport::Dtls] {
        let mut net = net();
        let mut alice = Client::alice();
        alice.tuple = over(transport, CLIENT);
        if transport == Transport::Dtls {
            let arrival = Arrival::default();
            net.server.handle_connected(net.now, alice.tuple, &arrival);
        }
        let alice = alice.greet(&mut net);
        assert_eq!(alice.code(&mut net, allocate_tcp()), 400, "{transport}");
    }
}

#[test]
fn attributes_of_udp_allocations_are_bad_requests() {
    let extras: [(A, &[u8]); 3] = [
        (A::DONT_FRAGMENT, &[]),
        (A::EVEN_PORT, &[0]),
        (A::RESERVATION_TOKEN, b"reserved"),
    ];
    for (kind, value) in extras {
        let mut net = net();
        let alice = stream(&mut net, CLIENT, "alice", "secret");
        let request = allocate_tcp().attribute(kind, value);
        assert_eq!(alice.code(&mut net, request), 400, "{kind:?}");
    }
}

#[test]
fn connect_without_an_allocation_is_a_mismatch() {
    let mut net = net();
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(&mut net, connect(PEER)), 437);
}

#[test]
fn connect_on_a_udp_allocation_is_a_mismatch() {
    let mut net = net();
    let alice = stream(&mut net, CLIENT, "alice", "secret");
    assert_eq!(alice.code(&mut net, allocate()), 0);
    assert_eq!(alice.code(&mut net, connect(PEER)), 437);
}

#[test]
fn connect_goes_to_the_peer_from_the_relay_and_succeeds_when_the_peer_accepts() {
    let mut net = net();
    let (alice, relay) = allocated(&mut net);
    let (link, _) = connected(&mut net, &alice, PEER);
    assert_eq!(net.connects, [(relay, link, addr(PEER))]);
    let (_, answer) = net.sent.last().unwrap();
    let answer = Message::parse(answer).unwrap();
    assert!(answer.verify_integrity(alice.key.as_bytes()));
}

#[test]
fn connect_needs_no_permission_and_gives_none() {
    let mut net = net();
    let (alice, relay) = allocated(&mut net);
    connected(&mut net, &alice, PEER);
    let other_port = addr("9.9.9.9:7001");
    let incoming = net
        .server
        .handle_peer_incoming(net.now, relay, other_port, 1);
    assert_eq!(incoming, None);
}

#[test]
fn a_second_connect_to_a_peer_is_refused_while_one_is_under_way_pending_or_bound() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.ask(&mut net, connect(PEER)), None);
    assert_eq!(alice.code(&mut net, connect(PEER)), 446, "under way");
    let (_, link, _) = net.connects[0];
    net.server.handle_peer_connected(net.now, link, 77);
    net.drain();
    let id = connection_id(&net.sent.last().unwrap().1);
    assert_eq!(alice.code(&mut net, connect(PEER)), 446, "pending");
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id)), 0);
    assert_eq!(alice.code(&mut net, connect(PEER)), 446, "bound");
    net.server.handle_peer_closed(net.now, link);
    net.drain();
    connected(&mut net, &alice, PEER);
}

#[test]
fn several_connects_to_different_peers_run_at_once() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.ask(&mut net, connect(PEER)), None);
    assert_eq!(alice.ask(&mut net, connect("9.9.9.9:7001")), None);
    assert_eq!(net.connects.len(), 2);
}

#[test]
fn connect_without_or_with_a_malformed_peer_is_a_bad_request() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.code(&mut net, ask_for(Method::Connect)), 400);
    let short = ask_for(Method::Connect).attribute(A::XOR_PEER_ADDRESS, &[0, 1, 2]);
    assert_eq!(alice.code(&mut net, short), 400);
}

#[test]
fn connect_to_a_denied_peer_is_forbidden() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    for peer in [
        "127.0.0.1:80",
        "169.254.169.254:80",
        "10.0.0.1:80",
        "9.9.9.9:0",
    ] {
        assert_eq!(alice.code(&mut net, connect(peer)), 403, "{peer}");
    }
    assert!(net.connects.is_empty());
}

#[test]
fn connect_to_relay_ports_of_the_cluster_needs_a_rule() {
    let endpoint = turn_proto::RelayEndpoint {
        address: "9.9.9.9".parse().unwrap(),
        ports: 1..=65_535,
    };
    let mut policy = switched_on();
    policy.peers.relays = vec![endpoint];
    let mut net = Net::with_policy(policy);
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.code(&mut net, connect(PEER)), 403);
}

#[test]
fn connect_to_the_other_family_is_a_mismatch() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.code(&mut net, connect(PEER_V6)), 443);
}

#[test]
fn connect_by_another_user_is_refused() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let mut bob = Client::at(CLIENT, "bob", "hunter2");
    bob.tuple = alice.tuple;
    bob.nonce = alice.nonce;
    assert_eq!(bob.code(&mut net, connect(PEER)), 441);
}

#[test]
fn a_peer_that_refuses_is_a_failure_at_once() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.ask(&mut net, connect(PEER)), None);
    let (_, link, _) = net.connects[0];
    net.server.handle_peer_closed(net.now, link);
    net.drain();
    let answer = Answer(net.sent.last().unwrap().1.clone());
    assert_eq!(answer.code(), 447);
    assert!(answer.message().verify_integrity(alice.key.as_bytes()));
    assert_eq!(alice.ask(&mut net, connect(PEER)), None, "another try");
}

#[test]
fn a_peer_has_thirty_seconds_to_answer() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.ask(&mut net, connect(PEER)), None);
    let answers = net.sent.len();
    net.advance(29.9);
    assert_eq!(net.sent.len(), answers);
    net.advance(0.2);
    assert_eq!(Answer(net.sent.last().unwrap().1.clone()).code(), 447);
    assert_eq!(net.closed_peers, [net.connects[0].1]);
}

#[test]
fn an_unbound_connection_is_closed_after_thirty_seconds() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (link, id) = connected(&mut net, &alice, PEER);
    net.advance(29.9);
    assert!(net.closed_peers.is_empty());
    net.advance(0.2);
    assert_eq!(net.closed_peers, [link]);
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id)), 400, "it is unknown now");
    connected(&mut net, &alice, PEER);
}

#[test]
fn a_bound_connection_outlives_the_thirty_seconds() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    joined(&mut net, &alice);
    net.advance(100.0);
    assert!(net.closed_peers.is_empty());
}

#[test]
fn the_waits_are_settings() {
    let mut policy = switched_on();
    policy.settings.tcp_relay.connect_timeout = Duration::from_secs(40);
    policy.settings.tcp_relay.bind_timeout = Duration::from_secs(3);
    let mut net = Net::with_policy(policy);
    let (alice, _) = allocated(&mut net);
    let (link, _) = connected(&mut net, &alice, PEER);
    assert_eq!(alice.ask(&mut net, connect("9.9.9.9:7001")), None);
    net.advance(3.1);
    assert_eq!(net.closed_peers, [link]);
    net.advance(36.0);
    assert_eq!(net.closed_peers.len(), 1);
    net.advance(1.0);
    assert_eq!(net.closed_peers.len(), 2);
}
