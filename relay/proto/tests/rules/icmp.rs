//! ICMP errors about relayed datagrams (RFC 8656 §11.5, §18.13).

use std::sync::Arc;

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, Class, Message, Method};
use turn_proto::{Command, IcmpError, RelayId};

fn error(destination: &str, kind: u8, code: u8, mtu: u32) -> IcmpError {
    IcmpError {
        destination: addr(destination),
        kind,
        code,
        mtu,
    }
}

/// Tells the server of an error and answers the peer and the value of ICMP that the client got.
fn told(net: &mut Net, relay: RelayId, error: IcmpError) -> Option<(String, Vec<u8>)> {
    let before = net.sent.len();
    net.server.handle_icmp(net.now, relay, error);
    net.drain();
    let (tuple, bytes) = net.sent.get(before)?;
    assert_eq!(*tuple, tuple_of_alice());
    assert_eq!(net.sent.len(), before + 1);
    let message = Message::parse(bytes).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Indication, Method::Data)
    );
    assert_eq!(message.attribute(A::DATA), None);
    let peer = message.xor_address(A::XOR_PEER_ADDRESS).unwrap().unwrap();
    Some((peer.to_string(), message.attribute(A::ICMP)?.to_vec()))
}

fn tuple_of_alice() -> turn_proto::FiveTuple {
    Client::alice().tuple
}

#[test]
fn an_icmp_error_reaches_the_client_with_peer_type_and_code() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    assert_eq!(client.permit(&mut net, PEER), 0);
    let unreachable = told(&mut net, relay, error(PEER, 3, 3, 77));
    assert_eq!(
        unreachable,
        Some((PEER.into(), vec![0, 0, 3, 3, 0, 0, 0, 0]))
    );
    let exceeded = told(&mut net, relay, error(PEER, 11, 0, 77));
    assert_eq!(exceeded, Some((PEER.into(), vec![0, 0, 11, 0, 0, 0, 0, 0])));
    let too_big = told(&mut net, relay, error(PEER, 3, 4, 1280));
    assert_eq!(too_big, Some((PEER.into(), vec![0, 0, 3, 4, 0, 0, 5, 0])));
    assert_eq!(net.server.counters().icmp_errors, 3);
}

#[test]
fn icmpv6_has_types_of_its_own() {
    let mut net = Net::new();
    let client = Client::alice().greet(&mut net);
    let request = allocate().attribute(A::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert_eq!(client.code(&mut net, request), 0);
    let relay = net.requests.last().unwrap().0;
    assert_eq!(client.permit(&mut net, PEER_V6), 0);
    for (kind, value) in [
        (1, Some([0, 0, 1, 4, 0, 0, 0, 0])),
        (2, Some([0, 0, 2, 4, 0, 0, 5, 0])),
        (3, Some([0, 0, 3, 4, 0, 0, 0, 0])),
        (0, None),
        (4, None),
        (11, None),
        (129, None),
    ] {
        let got = told(&mut net, relay, error(PEER_V6, kind, 4, 1280));
        assert_eq!(got, value.map(|v| (PEER_V6.into(), v.to_vec())), "{kind}");
    }
}

#[test]
fn other_types_of_icmp_are_dropped() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    for kind in (0..=255).filter(|kind| ![3, 11].contains(kind)) {
        assert_eq!(told(&mut net, relay, error(PEER, kind, 0, 0)), None);
    }
    assert_eq!(net.server.counters().icmp_dropped, 254);
}

#[test]
fn the_permission_is_looked_up_for_the_quoted_destination_whatever_its_port() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    assert_eq!(told(&mut net, relay, error("9.9.9.10:7000", 3, 1, 0)), None);
    let other_port = told(&mut net, relay, error("9.9.9.9:1", 3, 1, 0));
    assert_eq!(other_port.unwrap().0, "9.9.9.9:1");
    net.advance(301.0);
    assert_eq!(told(&mut net, relay, error(PEER, 3, 1, 0)), None);
}

#[test]
fn a_peer_that_the_policy_denies_meanwhile_is_not_told_of() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    let mut stricter = policy(vec![realm_policy(REALM)]);
    stricter.revision = 2;
    stricter.peers.denied = vec!["9.9.9.0/24".parse().unwrap()];
    net.command(Command::SetPolicy(Arc::new(stricter)));
    assert_eq!(told(&mut net, relay, error(PEER, 3, 1, 0)), None);
}

#[test]
fn a_session_is_told_of_ten_icmp_errors_a_second_or_as_many_as_is_set() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    let burst = |net: &mut Net| {
        let all = (0..1000).filter(|_| told(net, relay, error(PEER, 3, 3, 0)).is_some());
        all.count()
    };
    assert_eq!(burst(&mut net), 10);
    net.advance(1.0);
    assert_eq!(burst(&mut net), 10);
    assert_eq!(net.server.counters().icmp_dropped, 1980);
    for limit in [700, 0] {
        let mut other = policy(vec![realm_policy(REALM)]);
        other.settings.icmp_errors_per_sec = limit;
        net.command(Command::SetPolicy(Arc::new(other)));
        net.advance(1.0);
        assert_eq!(burst(&mut net), limit as usize);
    }
}

#[test]
fn an_icmp_error_about_a_relay_that_is_gone_is_dropped() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    client.refresh(&mut net, 0);
    assert_eq!(told(&mut net, relay, error(PEER, 3, 3, 0)), None);
}
