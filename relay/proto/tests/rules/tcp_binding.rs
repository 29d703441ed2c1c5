//! Connections of peers, ConnectionBind and joined pairs by the rules of RFC 6062.

use std::sync::atomic::Ordering;

use shared::Transport;
use turn_proto::stun::{AttributeType as A, Class, Message, Method};
use turn_proto::{
    Arrival, Command, Direction, EndCause, Event, LinkId, LinkState, RelayId, ServerConfig,
    ServerLimits,
};

use crate::kit::*;
use crate::tcp_relaying::*;

/// A session with a TCP relay where a peer may connect.
fn permitted() -> (Net, Client, RelayId) {
    let mut net = net();
    let (alice, relay) = allocated(&mut net);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    (net, alice, relay)
}

/// A worker with other bounds.
fn net_with(limits: ServerLimits) -> Net {
    let config = ServerConfig {
        limits,
        ..ServerConfig::default()
    };
    Net::with(config, switched_on())
}

/// The peer connects to a relay.
fn incoming(net: &mut Net, relay: RelayId) -> Option<LinkId> {
    let link = net
        .server
        .handle_peer_incoming(net.now, relay, addr(PEER), 5);
    net.drain();
    link
}

#[test]
fn a_peer_without_permission_is_closed_and_the_client_hears_nothing() {
    let mut net = net();
    let (_, relay) = allocated(&mut net);
    let sent = net.sent.len();
    let link = incoming(&mut net, relay);
    assert_eq!((link, net.sent.len()), (None, sent));
}

#[test]
fn a_peer_whose_permission_expired_is_closed() {
    let (mut net, _, relay) = permitted();
    net.advance(300.0);
    let link = incoming(&mut net, relay);
    assert_eq!(link, None);
}

#[test]
fn a_permitted_peer_that_the_policy_denies_is_closed() {
    let (mut net, _, relay) = permitted();
    let mut denying = switched_on();
    denying.revision = 2;
    denying.peers.denied = vec!["9.9.9.9".parse().unwrap()];
    net.command(Command::SetPolicy(denying.into()));
    let link = incoming(&mut net, relay);
    assert_eq!(link, None);
}

#[test]
fn a_permitted_peer_is_announced_on_the_control_connection() {
    let (mut net, alice, relay) = permitted();
    let link = incoming(&mut net, relay);
    let (to, bytes) = net.sent.last().unwrap().clone();
    let attempt = Message::parse(&bytes).unwrap();
    assert_eq!(to, alice.tuple);
    assert_eq!(
        (attempt.class(), attempt.method()),
        (Class::Indication, Method::ConnectionAttempt)
    );
    assert_eq!(
        attempt.xor_address(A::XOR_PEER_ADDRESS),
        Ok(Some(addr(PEER)))
    );
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(connection_id(&bytes))), 0);
    assert_eq!(net.splices, [(link.unwrap(), data.tuple)]);
}

#[test]
fn an_announced_peer_is_closed_after_thirty_seconds() {
    let (mut net, _, relay) = permitted();
    let link = incoming(&mut net, relay);
    net.advance(30.0);
    assert_eq!(net.closed_peers, [link.unwrap()]);
}

#[test]
fn success_of_connection_bind_comes_before_the_pair_is_joined() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (link, data) = joined(&mut net, &alice);
    assert_eq!(net.splices, [(link, data.tuple)]);
    let (to, answer) = net.sent.last().unwrap();
    assert_eq!(*to, data.tuple);
    assert!(
        Message::parse(answer)
            .unwrap()
            .verify_integrity(alice.key.as_bytes())
    );
}

#[test]
fn connection_bind_over_udp_or_dtls_is_a_bad_request() {
    for transport in [Transport::Udp, Transport::Dtls] {
        let mut net = net();
        let (alice, _) = allocated(&mut net);
        let (_, id) = connected(&mut net, &alice, PEER);
        let mut data = Client::at(DATA, "alice", "secret");
        data.tuple.transport = transport;
        let data = data.greet(&mut net);
        assert_eq!(data.code(&mut net, bind(id)), 400, "{transport}");
        assert!(net.splices.is_empty());
    }
}

#[test]
fn connection_bind_over_tls_joins() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    let mut data = Client::at(DATA, "alice", "secret");
    data.tuple.transport = Transport::Tls;
    let data = data.greet(&mut net);
    assert_eq!(data.code(&mut net, bind(id)), 0);
}

#[test]
fn an_unknown_missing_or_used_connection_id_is_a_bad_request() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id ^ 1)), 400);
    assert_eq!(data.code(&mut net, ask_for(Method::ConnectionBind)), 400);
    assert_eq!(data.code(&mut net, bind(id)), 0);
    let second = stream(&mut net, "192.0.2.10:41001", "alice", "secret");
    assert_eq!(second.code(&mut net, bind(id)), 400);
}

#[test]
fn the_control_connection_cannot_become_a_data_connection() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    assert_eq!(alice.code(&mut net, bind(id)), 400);
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(
        data.code(&mut net, bind(id)),
        0,
        "the connection is still there"
    );
}

#[test]
fn a_stranger_neither_takes_nor_breaks_a_pending_connection() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    // Without credentials: a challenge, and nothing else.
    let stranger = over(Transport::Tcp, "203.0.113.66:666");
    let arrival = Arrival::default();
    net.server.handle_connected(net.now, stranger, &arrival);
    for _ in 0..3 {
        let answer = net.ask(stranger, &bind(id).finish()).unwrap();
        assert_eq!(answer.code(), 401);
    }
    // With another user's: what an unknown id gets.
    let bob = stream(&mut net, "203.0.113.66:667", "bob", "hunter2");
    assert_eq!(bob.code(&mut net, bind(id)), 400);
    // With a wrong password and the right name.
    let mallory = stream(&mut net, "203.0.113.66:668", "alice", "guess");
    let answer = mallory.ask(&mut net, bind(id)).unwrap();
    assert_eq!(answer.code(), 401);
    // With a nonce of somebody else's address.
    let mut thief = stream(&mut net, "203.0.113.66:669", "alice", "secret");
    thief.nonce.clone_from(&alice.nonce);
    assert_eq!(thief.code(&mut net, bind(id)), 438);
    assert!(net.splices.is_empty() && net.closed_peers.is_empty());
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id)), 0);
}

#[test]
fn the_nonce_of_the_control_connection_is_good_at_connection_bind() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    let mut data = Client::at(DATA, "alice", "secret");
    data.tuple.transport = Transport::Tcp;
    data.nonce = alice.nonce;
    // For anything else it is that of another port, as it is for an id that is none of this session's.
    assert_eq!(data.code(&mut net, ask_for(Method::Allocate)), 438);
    assert_eq!(data.code(&mut net, bind(id ^ 1)), 438);
    // Whoever forges a source gets nowhere with it.
    let mut datagram = Client::at(DATA, "alice", "secret");
    datagram.nonce.clone_from(&data.nonce);
    assert_eq!(datagram.code(&mut net, bind(id)), 438);
    assert_eq!(data.code(&mut net, bind(id)), 0);
    assert!(net.disconnected.is_empty());
}

#[test]
fn a_stale_nonce_at_connection_bind_is_renewed_on_the_same_connection() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    let mut data = Client::at(DATA, "alice", "secret");
    data.tuple.transport = Transport::Tcp;
    // That of a third connection.
    let third = format!("{}:41999", data.tuple.client.ip());
    data.nonce = stream(&mut net, &third, "alice", "secret").nonce;
    let stale = data.ask(&mut net, bind(id)).unwrap();
    assert_eq!(stale.code(), 438);
    data.nonce = stale.text(A::NONCE).unwrap();
    assert_eq!(data.code(&mut net, bind(id)), 0);
    assert!(net.disconnected.is_empty());
}

#[test]
fn a_connection_bind_for_another_worker_goes_there_as_it_is() {
    let config = ServerConfig {
        session_first: 1,
        session_step: 4,
        ..ServerConfig::default()
    };
    let mut net = Net::with(config, switched_on());
    let data = stream(&mut net, DATA, "alice", "secret");
    let request = data.sign(bind(0x1234_5670 | 2));
    assert_eq!(net.ask(data.tuple, &request), None);
    assert_eq!(net.handed_over, [(data.tuple, 2, request)]);
    // Without credentials it is challenged where it is.
    let second = stream(&mut net, "192.0.2.10:41001", "alice", "secret");
    let answer = net.ask(second.tuple, &bind(2).finish()).unwrap();
    assert_eq!((answer.code(), net.handed_over.len()), (401, 1));
}

#[test]
fn connection_ids_name_their_worker_and_follow_the_entropy() {
    let config = ServerConfig {
        session_first: 3,
        session_step: 7,
        ..ServerConfig::default()
    };
    let mut net = Net::with(config, switched_on());
    let (alice, _) = allocated(&mut net);
    let mut seen = Vec::new();
    for (port, entropy) in [
        (1, 0),
        (2, u32::MAX),
        (3, u32::MAX),
        (4, 0xdead_beef),
        (5, 0),
    ] {
        let peer = format!("9.9.9.9:{port}");
        assert_eq!(alice.ask(&mut net, connect(&peer)), None);
        let (_, link, _) = *net.connects.last().unwrap();
        net.server.handle_peer_connected(net.now, link, entropy);
        net.drain();
        let id = connection_id(&net.sent.last().unwrap().1);
        assert_eq!(id % 7, 3);
        assert!(!seen.contains(&id), "{id} is taken");
        seen.push(id);
    }
    assert!(seen[3].abs_diff(0xdead_beef) < 14);
}

#[test]
fn the_key_of_the_session_is_good_for_its_connection_bind() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, PEER);
    net.add_user("alice", "changed");
    net.command(Command::ForgetCredentials {
        realm: None,
        username: None,
    });
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id)), 0);
}

#[test]
fn bytes_are_counted_per_session_permission_and_connection() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    let (link, data) = joined(&mut net, &alice);
    assert!(
        net.server
            .handle_stream(net.now, link, Direction::ToPeer, 100)
    );
    assert!(
        net.server
            .handle_stream(net.now, link, Direction::ToClient, 250)
    );
    net.drain();
    net.command(Command::Snapshot);
    let Some(Event::Snapshot(sessions)) = net.events.last() else {
        panic!("a snapshot")
    };
    let session = &sessions[0];
    let totals = (session.counters.in_bytes, session.counters.out_bytes);
    assert_eq!(totals, (100, 250));
    let permission = session.permissions[0];
    assert_eq!((permission.in_bytes, permission.out_bytes), (100, 250));
    assert_eq!(permission.last_port, Some(7000));
    let link = session.links[0];
    assert_eq!((link.peer, link.state), (addr(PEER), LinkState::Bound));
    assert_eq!((link.in_bytes, link.out_bytes), (100, 250));
    assert_eq!(link.client, Some(data.tuple.client));
    assert_eq!(net.server.counters().relayed_bytes, 350);
}

#[test]
fn the_rate_limit_of_the_session_slows_a_stream_and_drops_nothing() {
    let mut realm = realm_policy(REALM);
    realm.max_rate_bps = Some(8_000);
    let mut policy = policy(vec![realm]);
    policy.settings.tcp_relay.enabled = true;
    let mut net = Net::with_policy(policy);
    let (alice, _) = allocated(&mut net);
    let (link, _) = joined(&mut net, &alice);
    assert!(
        net.server
            .handle_stream(net.now, link, Direction::ToPeer, 2_000)
    );
    assert!(
        !net.server
            .handle_stream(net.now, link, Direction::ToPeer, 2_000)
    );
    assert!(
        net.server
            .handle_stream(net.now, link, Direction::ToClient, 10),
        "its own"
    );
    net.advance(2.0);
    assert!(
        net.server
            .handle_stream(net.now, link, Direction::ToPeer, 2_000)
    );
    assert_eq!(net.server.counters().dropped_packets, 0);
}

#[test]
fn connections_of_a_session_are_bounded() {
    let mut net = net_with(ServerLimits {
        connections_per_session: 2,
        ..ServerLimits::default()
    });
    let (alice, relay) = allocated(&mut net);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    let (link, _) = connected(&mut net, &alice, "9.9.9.9:1");
    connected(&mut net, &alice, "9.9.9.9:2");
    assert_eq!(alice.code(&mut net, connect("9.9.9.9:3")), 508);
    let sent = net.sent.len();
    assert_eq!(incoming(&mut net, relay), None);
    net.drain();
    assert_eq!(net.sent.len(), sent);
    net.server.handle_peer_closed(net.now, link);
    net.drain();
    connected(&mut net, &alice, "9.9.9.9:3");
}

#[test]
fn unbound_connections_of_a_worker_are_bounded() {
    let mut net = net_with(ServerLimits {
        waiting_connections: 1,
        ..ServerLimits::default()
    });
    let (alice, _) = allocated(&mut net);
    let (_, id) = connected(&mut net, &alice, "9.9.9.9:1");
    assert_eq!(alice.code(&mut net, connect("9.9.9.9:2")), 508);
    let data = stream(&mut net, DATA, "alice", "secret");
    assert_eq!(data.code(&mut net, bind(id)), 0);
    connected(&mut net, &alice, "9.9.9.9:2");
}

#[test]
fn every_end_of_the_session_closes_its_connections() {
    type End = fn(&mut Net, &Client);
    let ends: [(&str, End); 4] = [
        ("release", |net, alice| assert_eq!(alice.refresh(net, 0), 0)),
        ("expiry", |net, _| net.advance(601.0)),
        ("disconnect", |net, alice| {
            net.server.handle_disconnected(net.now, alice.tuple);
            net.drain();
        }),
        ("kill", |net, _| {
            let Some(Event::SessionChanged(session)) = net.events.last() else {
                panic!("an event")
            };
            let session = session.id;
            let cause = EndCause::Killed;
            net.command(Command::Kill { session, cause });
        }),
    ];
    for (name, end) in ends {
        let mut net = net();
        let (alice, relay) = allocated(&mut net);
        let (bound, _) = joined(&mut net, &alice);
        end(&mut net, &alice);
        assert_eq!(net.closed_peers, [bound], "{name}");
        assert_eq!(net.closed, [relay], "{name}");
        assert_eq!(net.quota.held.load(Ordering::Relaxed), 0, "{name}");
        assert!(
            !net.server
                .handle_stream(net.now, bound, Direction::ToPeer, 1)
        );
    }
}

#[test]
fn a_policy_that_denies_the_peer_closes_the_connection() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    let (bound, _) = joined(&mut net, &alice);
    let (other, _) = connected(&mut net, &alice, "8.8.8.8:53");
    let mut denying = switched_on();
    denying.revision = 2;
    denying.peers.denied = vec!["9.9.9.9".parse().unwrap()];
    net.command(Command::SetPolicy(denying.into()));
    assert_eq!(net.closed_peers, [bound]);
    net.server.handle_peer_closed(net.now, other);
    net.drain();
}

#[test]
fn channels_and_datagrams_are_for_udp_allocations() {
    let mut net = net();
    let (alice, _) = allocated(&mut net);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 403);
    assert_eq!(net.client(alice.tuple, &send_to(PEER, b"hello")), None);
    assert_eq!(
        net.client(alice.tuple, &channel_data(0x4000, b"hello")),
        None
    );
}

#[test]
fn a_client_by_tcp_is_told_at_once_that_its_session_was_cut() {
    for cause in [EndCause::Killed, EndCause::Drained] {
        let mut net = net();
        let (alice, relay) = allocated(&mut net);
        let created = net.events.iter().find_map(|event| match event {
            Event::SessionCreated(session) => Some(session.id),
            _ => None,
        });
        let session = created.unwrap();
        net.command(Command::Kill { session, cause });
        assert_eq!(net.closed, [relay], "{cause:?}");
        assert_eq!(net.disconnected, [alice.tuple], "{cause:?}");
    }
}
