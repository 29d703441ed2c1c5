//! A client that does not read (security class "slow reader").

use std::net::UdpSocket;
use std::time::Duration;

use kit::certificate::{HOST, TestCertificate};
use kit::client::fresh_id;
use kit::node::{Node, stored_login};
use kit::stream::{StreamClient, tls_config};
use kit::wait::wait_until;
use turn_proto::stun::{MessageBuilder, Method};

use crate::{SOON, node_with, wait_closed, wait_none_left};

/// Drops that `/v1/sessions/{id}` shows for slow reading.
fn slow_drops(node: &Node) -> u64 {
    let ctl = node.ctl();
    let Some(item) = ctl.items(&["session", "list"]).pop() else {
        return 0;
    };
    let id = item["id"].as_str().unwrap().to_owned();
    let detail = ctl.json(&["session", "show", &id]);
    detail["drops_by_reason"]["slow_client"]
        .as_u64()
        .unwrap_or(0)
}

#[test]
fn data_that_a_slow_reader_does_not_take_is_dropped_and_counted_and_answers_still_come() {
    let node = node_with("write_queue_bytes = 16384");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    let relayed = client.allocate().unwrap();
    client
        .bind_channel(0x4000, peer.local_addr().unwrap())
        .unwrap();
    let before = node.resident_bytes().unwrap();
    // Nobody reads: the kernel's buffers fill up, then the queue, then data is dropped.
    wait_until("data to be dropped", Duration::from_secs(60), || {
        for _ in 0..2000 {
            peer.send_to(&[7; 1200], relayed).unwrap();
        }
        slow_drops(&node) > 100
    });
    let grown = node.resident_bytes().unwrap().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for one slow reader");
    // Once it reads again, all is well: whole messages only, and its requests are answered.
    client.refresh(600).unwrap();
    peer.send_to(b"afterwards", relayed).unwrap();
    wait_until("data after the flood", SOON, || {
        let data = client.recv_channel(SOON).unwrap();
        data.is_some_and(|(_, payload)| payload == b"afterwards")
    });
}

#[test]
fn a_client_that_asks_and_never_reads_is_closed() {
    let node = node_with("write_queue_bytes = 16384");
    never_reads(&node, StreamClient::tcp(node.turn, stored_login()).unwrap());
}

#[test]
fn a_client_that_asks_over_tls_and_never_reads_is_closed() {
    let certificate = TestCertificate::ecdsa();
    let node = node_with(&format!(
        "write_queue_bytes = 16384\n{}",
        certificate.section()
    ));
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let client = StreamClient::tls(node.turn, stored_login(), &config, HOST);
    never_reads(&node, client.unwrap());
}

fn never_reads(node: &Node, mut client: StreamClient) {
    client.binding().unwrap();
    let requests: Vec<u8> = (0..1000)
        .flat_map(|_| MessageBuilder::request(Method::Binding, fresh_id()).finish())
        .collect();
    let socket = client.socket();
    socket
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    // Until the connection breaks: what is not read fills both directions.
    wait_until("the connection to break", Duration::from_secs(60), || {
        client.write(&requests).is_err()
    });
    wait_closed(node, "slow", 1.0);
    drop(client);
    wait_none_left(node);
}
