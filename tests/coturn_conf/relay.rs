//! Where is relayed from, what clients are told of it, and what is relayed at all.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};

use kit::address::fresh_ip;
use kit::client::{AllocateOptions, ClientError, TurnClient};
use kit::stream::StreamClient;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::north::{
    FLAGS, NORTH, OPEN, SOON, alice, assert_uclient_relays, code, exchange, node, open_node,
    peer_on,
};
use crate::start::Migrated;

/// A file without an address to relay from.
const BARE: &str = "listening-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";

/// Has a client relay to a peer on this machine: what it is told, and what the peer sees.
#[track_caller]
fn relayed(client: &mut TurnClient, family: u8) -> (SocketAddr, SocketAddr) {
    let options = AllocateOptions {
        family: Some(family),
        ..AllocateOptions::default()
    };
    let told = client.allocate_with(options).unwrap().relay;
    let (peer, address) = peer_on(if family == 1 { "127.0.0.1" } else { "::1" });
    client.permit(&[address.ip()]).unwrap();
    (told, exchange(client, &peer))
}

#[test]
fn clients_are_relayed_from_the_relay_ips() {
    let ips = [fresh_ip(), fresh_ip()];
    let text = format!("{BARE}relay-ip={}\nrelay-ip=::1\n", ips[0]);
    let second = ips[1].to_string();
    let flags = [OPEN, &["-E", &second]].concat();
    let node = Migrated::start(&text, &flags);
    let mut seen = BTreeSet::new();
    // Drawn among two: 40 times the same one happens to nobody.
    for _ in 0..40 {
        let (told, from) = relayed(&mut node.client(&alice()), 1);
        assert_eq!(told, from);
        seen.insert(told.ip());
    }
    assert_eq!(seen, BTreeSet::from(ips));
    let (told, from) = relayed(&mut node.client(&alice()), 2);
    assert_eq!((told, told.ip().to_string()), (from, "::1".to_owned()));
    drop(node);
    let own = Migrated::start(BARE, OPEN);
    let (told, from) = relayed(&mut own.client(&alice()), 1);
    assert_eq!(
        (told, told.ip()),
        (from, own.ip),
        "where the client came to"
    );
}

#[test]
fn a_plain_external_ip_stands_for_all_addresses_of_its_family() {
    let lines = "relay-ip=::1\nexternal-ip=198.51.100.9\nexternal-ip=2001:db8::9";
    let node = open_node(lines);
    let (told, from) = relayed(&mut node.client(&alice()), 1);
    assert_eq!(told.ip().to_string(), "198.51.100.9");
    assert_eq!((from.ip(), from.port()), (node.ip, told.port()));
    let (told, from) = relayed(&mut node.client(&alice()), 2);
    assert_eq!(told.ip().to_string(), "2001:db8::9");
    assert_eq!(
        (from.ip().to_string(), from.port()),
        ("::1".to_owned(), told.port())
    );
    // Both at once, which coturn refuses behind plain addresses.
    let mut client = node.client(&alice());
    let wish = |request: MessageBuilder| {
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        request.attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
    };
    let answer = client.request(Method::Allocate, wish).unwrap();
    let answer = Message::parse(&answer).unwrap();
    let relays = answer
        .attributes()
        .filter(|one| one.0 == A::XOR_RELAYED_ADDRESS);
    assert_eq!(relays.count(), 2);
    drop(node);
    let short = Migrated::start(NORTH, &[OPEN, &["-X", "198.51.100.8"]].concat());
    let (told, _) = relayed(&mut short.client(&alice()), 1);
    assert_eq!(told.ip().to_string(), "198.51.100.8");
}

#[test]
fn each_external_ip_with_a_local_one_stands_for_that_one() {
    let second = fresh_ip();
    let lines = format!(
        "listening-ip={second}\nrelay-ip={second}\nexternal-ip=198.51.100.1/192.0.2.30\n\
         external-ip=198.51.100.2/{second}"
    );
    let node = open_node(&lines);
    for (local, public) in [(node.ip, "198.51.100.1"), (second, "198.51.100.2")] {
        let server = SocketAddr::new(local, 3478);
        let mut client = TurnClient::new(server, alice()).unwrap();
        let (told, from) = relayed(&mut client, 1);
        let public: IpAddr = public.parse().unwrap();
        assert_eq!(
            (told.ip(), from),
            (public, SocketAddr::new(local, told.port()))
        );
    }
    // Two behind one NAT reach each other by what they were told, as their peers would.
    let (mut one, mut other) = (node.client(&alice()), node.client(&alice()));
    let (a, b) = (
        one.allocate().unwrap().relay,
        other.allocate().unwrap().relay,
    );
    one.permit(&[b.ip()]).unwrap();
    other.permit(&[a.ip()]).unwrap();
    one.send(b, b"hairpin").unwrap();
    let (from, payload) = other
        .recv(SOON)
        .unwrap()
        .expect("what the other client sent");
    assert_eq!(
        (from, &payload[..]),
        (kit::client::From::Peer(a), &b"hairpin"[..])
    );
}

#[test]
fn relay_ports_are_those_of_the_range_and_508_beyond() {
    let node = node("min-port=50100\nmax-port=50103");
    let mut clients: Vec<_> = (0..4).map(|_| node.client(&alice())).collect();
    let ports = clients
        .iter_mut()
        .map(|client| client.allocate().unwrap().relay.port());
    let ports: BTreeSet<u16> = ports.collect();
    assert_eq!(ports, (50_100..=50_103).collect());
    let mut late = node.client(&alice());
    assert_eq!(code(late.allocate()), Some(508));
    clients[1].refresh(0).unwrap();
    let relay = late.allocate().unwrap().relay;
    assert!((50_100..=50_103).contains(&relay.port()), "{relay}");
}

/// An Allocate for TCP (RFC 6062).
fn allocate_tcp(client: &mut StreamClient) -> Result<SocketAddr, ClientError> {
    let wish = |request: MessageBuilder| request.attribute(A::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    let answer = client.request(Method::Allocate, wish)?;
    let answer = Message::parse(&answer).unwrap();
    Ok(answer.xor_address(A::XOR_RELAYED_ADDRESS).unwrap().unwrap())
}

#[test]
fn tcp_is_relayed_unless_switched_off() {
    let on = open_node("");
    let stream = || StreamClient::tcp(on.turn(), alice()).unwrap();
    let mut client = stream();
    let relay = allocate_tcp(&mut client).unwrap();
    let peers = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peers.local_addr().unwrap();
    let wish = |request: MessageBuilder| request.xor_address(A::XOR_PEER_ADDRESS, address);
    let answer = client.request(Method::Connect, wish).unwrap();
    let answer = Message::parse(&answer).unwrap();
    let id = answer.number(A::CONNECTION_ID).unwrap().unwrap();
    let (mut peer, from) = peers.accept().unwrap();
    assert_eq!(from, relay);
    let mut data = stream();
    let wish = |request: MessageBuilder| request.number(A::CONNECTION_ID, id);
    data.request(Method::ConnectionBind, wish).unwrap();
    data.write(b"over TCP").unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0; 8];
    peer.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"over TCP");
    peer.write_all(b"and back").unwrap();
    let mut socket = data.socket().try_clone().unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"and back");
    let off = node("no-tcp-relay");
    let mut client = StreamClient::tcp(off.turn(), alice()).unwrap();
    assert_eq!(code(allocate_tcp(&mut client)), Some(442));
    client.allocate().unwrap();
}

#[test]
fn no_udp_relay_leaves_tcp() {
    let node = node("no-udp-relay");
    assert_eq!(code(node.client(&alice()).allocate()), Some(442));
    let mut client = StreamClient::tcp(node.turn(), alice()).unwrap();
    assert_eq!(code(client.allocate()), Some(442));
    allocate_tcp(&mut client).unwrap();
    let neither = Migrated::prepare(&format!("{NORTH}no-udp-relay\nno-tcp-relay\n"), FLAGS);
    let (code, said) = neither.run_to_end();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("no-udp-relay: leaves nothing to be relayed"),
        "{said}"
    );
}

#[test]
fn a_session_moves_with_its_ticket_where_mobility_is_on() {
    let node = open_node("mobility");
    let wish = |request: MessageBuilder| {
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        request.attribute(A::MOBILITY_TICKET, &[])
    };
    let mut before = node.client(&alice());
    let answer = before.request(Method::Allocate, wish).unwrap();
    let answer = Message::parse(&answer).unwrap();
    let ticket = answer.attribute(A::MOBILITY_TICKET).unwrap();
    let relay = answer.xor_address(A::XOR_RELAYED_ADDRESS).unwrap().unwrap();
    let (peer, address) = peer_on("127.0.0.1");
    before.permit(&[address.ip()]).unwrap();
    assert_eq!(exchange(&mut before, &peer), relay);
    let mut after = node.client(&alice());
    let take = |request: MessageBuilder| request.attribute(A::MOBILITY_TICKET, ticket);
    after.request(Method::Refresh, take).unwrap();
    assert_eq!(
        exchange(&mut after, &peer),
        relay,
        "one relay address before and after"
    );
    assert_uclient_relays(node.turn(), &["-c", "-M"]);
    drop(node);
    let fixed = open_node("");
    assert_eq!(
        code(fixed.client(&alice()).request(Method::Allocate, wish)),
        Some(405)
    );
}
