//! Data in both directions (RFC 8656 §11 and §12).

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method};
use turn_proto::{Event, Forward};

fn to_peer(forward: Option<Forward<'_>>) -> Option<(String, Vec<u8>, bool)> {
    match forward? {
        Forward::ToPeer {
            peer,
            payload,
            dont_fragment,
            ..
        } => Some((peer.to_string(), payload.to_vec(), dont_fragment)),
        Forward::ToClient { .. } => panic!("a packet to the client"),
    }
}

fn to_client(forward: Option<Forward<'_>>) -> Option<Vec<u8>> {
    match forward? {
        Forward::ToClient {
            header,
            payload,
            pad,
            ..
        } => {
            let mut bytes = [header.as_slice(), payload].concat();
            bytes.resize(bytes.len() + usize::from(pad), 0);
            Some(bytes)
        }
        Forward::ToPeer { .. } => panic!("a packet to a peer"),
    }
}

#[test]
fn allocate_bind_and_channel_data_work_both_ways() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    assert_eq!(client.bind(&mut net, 0x4000, PEER), 0);
    let packet = channel_data(0x4000, b"hello");
    let sent = to_peer(net.client(client.tuple, &packet));
    assert_eq!(sent, Some((PEER.into(), b"hello".to_vec(), false)));
    let back = to_client(net.peer(relay, PEER, b"world"));
    assert_eq!(back, Some(channel_data(0x4000, b"world")));
}

#[test]
fn empty_datagrams_pass_both_ways() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.bind(&mut net, 0x4000, PEER);
    let packet = channel_data(0x4000, b"");
    assert_eq!(to_peer(net.client(client.tuple, &packet)).unwrap().1, b"");
    assert_eq!(to_client(net.peer(relay, PEER, b"")), Some(packet));
    let packet = send_to(PEER, b"");
    assert_eq!(to_peer(net.client(client.tuple, &packet)).unwrap().1, b"");
}

#[test]
fn send_and_data_indications_work_both_ways() {
    for (peer, request_v6) in [(PEER, false), (PEER_V6, true)] {
        let mut net = Net::new();
        let client = Client::alice().greet(&mut net);
        let mut request = allocate();
        if request_v6 {
            request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
        assert_eq!(client.code(&mut net, request), 0);
        let relay = net.requests[0].0;
        assert_eq!(client.permit(&mut net, peer), 0);
        let packet = send_to(peer, b"ping");
        let sent = to_peer(net.client(client.tuple, &packet)).unwrap();
        assert_eq!((sent.0.as_str(), sent.1.as_slice()), (peer, &b"ping"[..]));
        for payload in [&b""[..], b"a", b"abc", b"abcd", &[7; 1400]] {
            let bytes = to_client(net.peer(relay, peer, payload)).unwrap();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(
                (message.class(), message.method()),
                (Class::Indication, Method::Data)
            );
            assert_eq!(
                message.xor_address(A::XOR_PEER_ADDRESS),
                Ok(Some(addr(peer)))
            );
            assert_eq!(message.attribute(A::DATA), Some(payload));
        }
    }
}

#[test]
fn dont_fragment_is_taken_along() {
    let mut net = Net::new();
    let (client, _) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    let indication = MessageBuilder::new(Class::Indication, Method::Send, next_id())
        .peer(PEER)
        .attribute(A::DONT_FRAGMENT, b"")
        .attribute(A::DATA, b"x")
        .finish();
    assert!(to_peer(net.client(client.tuple, &indication)).unwrap().2);
}

#[test]
fn a_send_without_data_without_peer_or_with_an_unknown_attribute_is_dropped() {
    let mut net = Net::new();
    let (client, _) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    let send = || MessageBuilder::new(Class::Indication, Method::Send, next_id());
    for indication in [
        send().peer(PEER),
        send().attribute(A::DATA, b"x"),
        send()
            .peer(PEER)
            .attribute(A::DATA, b"x")
            .attribute(A(0x7777), b""),
        send()
            .attribute(A::XOR_PEER_ADDRESS, &[0; 4])
            .attribute(A::DATA, b"x"),
    ] {
        assert_eq!(net.client(client.tuple, &indication.finish()), None);
    }
    let fine = send()
        .peer(PEER)
        .attribute(A::DATA, b"x")
        .attribute(A(0x8777), b"");
    assert!(net.client(client.tuple, &fine.finish()).is_some());
}

#[test]
fn channel_data_that_is_short_is_dropped_and_what_is_behind_it_ignored() {
    let mut net = Net::new();
    let (client, _) = Client::allocated(&mut net);
    client.bind(&mut net, 0x4000, PEER);
    let mut packet = channel_data(0x4000, b"hello");
    assert_eq!(net.client(client.tuple, &packet[..8]), None);
    packet.extend(b"padding");
    assert_eq!(
        to_peer(net.client(client.tuple, &packet)).unwrap().1,
        b"hello"
    );
    assert_eq!(
        net.client(client.tuple, &channel_data(0x4001, b"unbound")),
        None
    );
    assert_eq!(
        net.client(client.tuple, &channel_data(0x5000, b"reserved")),
        None
    );
}

#[test]
fn a_permission_is_by_address_and_a_peer_without_one_is_dropped() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.permit(&mut net, PEER);
    assert!(net.peer(relay, "9.9.9.9:1", b"any port").is_some());
    assert_eq!(net.peer(relay, "9.9.9.8:7000", b"stranger"), None);
    let packet = send_to("9.9.9.8:7000", b"x");
    assert_eq!(net.client(client.tuple, &packet), None);
    net.advance(1.5);
    let Some(Event::Usage(usage)) = net
        .events
        .iter()
        .rev()
        .find(|e| matches!(e, Event::Usage(_)))
    else {
        panic!("a usage report")
    };
    let counters = usage.sessions[0].1;
    assert_eq!(counters.out_packets, 1);
    assert_eq!(
        (counters.drop_unknown_peer, counters.drop_no_permission),
        (1, 1)
    );
}

#[test]
fn data_refreshes_neither_permission_nor_channel() {
    let mut net = Net::new();
    let (client, relay) = Client::allocated(&mut net);
    client.bind(&mut net, 0x4000, PEER);
    for _ in 0..29 {
        net.advance(10.0);
        assert!(
            net.client(client.tuple, &channel_data(0x4000, b"x"))
                .is_some()
        );
        assert!(net.peer(relay, PEER, b"x").is_some());
    }
    net.advance(10.0);
    assert_eq!(
        net.client(client.tuple, &channel_data(0x4000, b"x")),
        None,
        "300 s are over"
    );
    assert_eq!(net.peer(relay, PEER, b"x"), None);
    assert_eq!(client.permit(&mut net, PEER), 0);
    assert_eq!(
        to_client(net.peer(relay, PEER, b"x")),
        Some(channel_data(0x4000, b"x"))
    );
    net.advance(299.0);
    assert_eq!(client.refresh(&mut net, 600), 0);
    assert_eq!(client.permit(&mut net, PEER), 0);
    net.advance(2.0);
    assert_eq!(
        net.client(client.tuple, &channel_data(0x4000, b"x")),
        None,
        "600 s are over"
    );
    let bytes = to_client(net.peer(relay, PEER, b"x")).unwrap();
    assert_eq!(Message::parse(&bytes).unwrap().method(), Method::Data);
}

#[test]
fn nothing_passes_without_an_allocation() {
    let mut net = Net::new();
    assert_eq!(net.client(tuple(CLIENT), &channel_data(0x4000, b"x")), None);
    let packet = send_to(PEER, b"x");
    assert_eq!(net.client(tuple(CLIENT), &packet), None);
    assert!(net.sent.is_empty());
    assert_eq!(net.server.counters().dropped_packets, 2);
}

#[test]
fn channel_data_to_stream_clients_is_padded_to_four_bytes_and_to_datagram_clients_not() {
    use shared::Transport;
    for (transport, padded) in [
        (Transport::Udp, false),
        (Transport::Dtls, false),
        (Transport::Tcp, true),
        (Transport::Tls, true),
    ] {
        let mut net = Net::new();
        let mut alice = Client::alice();
        alice.tuple.transport = transport;
        if transport != Transport::Udp {
            let arrival = turn_proto::Arrival::default();
            net.server.handle_connected(net.now, alice.tuple, &arrival);
        }
        let alice = alice.greet(&mut net);
        assert_eq!(alice.code(&mut net, allocate()), 0);
        let relay = net.requests[0].0;
        assert_eq!(alice.bind(&mut net, 0x4000, PEER), 0);
        for len in 0..9_usize {
            let Some(Forward::ToClient { header, pad, .. }) =
                net.peer(relay, PEER, &[7; 16][..len])
            else {
                panic!("relayed")
            };
            let stated = &header.as_slice()[2..];
            assert_eq!(
                stated,
                (len as u16).to_be_bytes(),
                "the padding does not count"
            );
            let wanted = if padded {
                len.next_multiple_of(4) - len
            } else {
                0
            };
            assert_eq!(usize::from(pad), wanted, "{transport:?} {len}");
            // And the other way, with padding and without.
            for extra in [0, len.next_multiple_of(4) - len] {
                let mut packet = channel_data(0x4000, &[7; 16][..len]);
                packet.resize(packet.len() + extra, 0);
                let Some(Forward::ToPeer { payload, .. }) = net.client(alice.tuple, &packet) else {
                    panic!("relayed")
                };
                assert_eq!(payload.len(), len);
            }
        }
    }
}
