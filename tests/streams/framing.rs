//! Messages out of a stream (RFC 8489 §6.2.2, RFC 8656 §12.5).

use std::io::Write;
use std::net::TcpStream;

use kit::certificate::{HOST, TestCertificate};
use kit::client::fresh_id;
use kit::node::{Node, NodeOptions, stored_login};
use kit::stream::{StreamClient, closes, tls_config};
use turn_proto::stun::{Message, MessageBuilder, Method};

use crate::{Echo, SOON, wait_closed, wait_none_left};

#[test]
fn messages_cut_anywhere_are_put_together() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    let id = fresh_id();
    let request = MessageBuilder::request(Method::Binding, id).finish();
    for byte in &request {
        client.write(std::slice::from_ref(byte)).unwrap();
    }
    let answer = client.message(SOON).unwrap().unwrap();
    assert_eq!(Message::parse(&answer).unwrap().transaction(), id);
}

#[test]
fn pipelined_messages_are_all_answered_in_order() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    let ids: Vec<_> = (0..500).map(|_| fresh_id()).collect();
    let requests = ids
        .iter()
        .flat_map(|id| MessageBuilder::request(Method::Binding, *id).finish());
    client.write(&requests.collect::<Vec<_>>()).unwrap();
    for id in ids {
        let answer = client.message(SOON).unwrap().unwrap();
        assert_eq!(Message::parse(&answer).unwrap().transaction(), id);
    }
}

#[test]
fn channel_data_is_padded_both_ways_whatever_its_length() {
    let node = Node::start(NodeOptions::default());
    let echo = Echo::start();
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    client.bind_channel(0x4001, echo.address).unwrap();
    for len in [0, 1, 2, 3, 4, 5, 1199, 1200, 9000] {
        let payload = vec![len as u8; len];
        client.send_channel(0x4001, &payload).unwrap();
        let back = client.recv_channel(SOON).unwrap();
        assert_eq!(back, Some((0x4001, payload)), "{len}");
    }
}

#[test]
fn garbage_closes_the_connection_and_is_counted() {
    let node = Node::start(NodeOptions::default());
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: turn.example.org\r\n\r\n",
        &[0xff; 64],
        // A STUN header with the cookie of another protocol.
        &[0; 20],
        // A request that claims 64 KiB from somebody without a session.
        &[0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42],
        &[0x7f, 0xff, 0xff, 0xff],
    ];
    for (count, bytes) in garbage.iter().enumerate() {
        let mut socket = TcpStream::connect(node.turn).unwrap();
        socket.write_all(bytes).unwrap();
        assert!(closes(&mut socket, SOON), "{bytes:02x?}");
        wait_closed(&node, "garbage", (count + 1) as f64);
    }
    wait_none_left(&node);
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.binding().unwrap();
}

/// Cuts bytes into pieces of odd lengths, the same in each run.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lengths = [1, 2, 3, 5, 7, 11, 160, 163, 1_401, 16_384, 4, 9_999];
    let mut rest = bytes;
    let mut lengths = lengths.into_iter().cycle();
    std::iter::from_fn(move || {
        let len = lengths.next()?.min(rest.len());
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        (len > 0).then_some(piece)
    })
}

/// Frames of all kinds of lengths go out in odd pieces and come back, each whole and in order.
fn in_odd_pieces(mut client: StreamClient) {
    let echo = Echo::start();
    client.allocate().unwrap();
    client.bind_channel(0x4001, echo.address).unwrap();
    let lengths = [
        0, 1, 2, 3, 4, 5, 0, 0, 159, 160, 1_200, 0, 1_472, 9_000, 16_380, 1,
    ];
    let payloads: Vec<Vec<u8>> = (0..3 * lengths.len())
        .map(|i| vec![i as u8; lengths[i % lengths.len()]])
        .collect();
    // An echo's buffer does not hold everything: one third at a time.
    for payloads in payloads.chunks(lengths.len()) {
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend([0x40, 1]);
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend(payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0xee);
        }
        for piece in pieces(&bytes) {
            client.write(piece).unwrap();
        }
        for payload in payloads {
            let (channel, back) = client.recv_channel(SOON).unwrap().unwrap();
            assert_eq!((channel, back.len()), (0x4001, payload.len()));
            assert!(back == *payload);
        }
    }
}

#[test]
fn frames_in_odd_pieces_arrive_over_tcp_and_over_both_versions_of_tls() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    });
    in_odd_pieces(StreamClient::tcp(node.turn, stored_login()).unwrap());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = tls_config(&[version], &[]);
        let client = StreamClient::tls(node.turn, stored_login(), &config, HOST);
        in_odd_pieces(client.unwrap());
    }
}
