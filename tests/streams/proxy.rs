//! The PROXY protocol, version 2: believed on listeners that say so, from sources that they list.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use kit::certificate::{HOST, TestCertificate};
use kit::node::{Node, NodeOptions, stored_login};
use kit::stream::{StreamClient, closes, connect_from, tls_config};
use kit::wait::wait_until;

use crate::{SOON, closed, wait_closed, wait_none_left};

/// The proxy of these tests.
const PROXY: &str = "127.0.0.77";

struct Proxied {
    node: Node,
    listener: SocketAddr,
    _certificate: TestCertificate,
}

/// A node with a second listener that believes the proxy.
fn start(transports: &str) -> Proxied {
    let certificate = TestCertificate::ecdsa();
    let listener = kit::address::free_port(kit::address::fresh_ip());
    let node = Node::start(NodeOptions {
        listen_also: format!(
            "{{ address = \"{listener}\", transports = {transports}, proxy_from = [\"{PROXY}\"] }}"
        ),
        end: certificate.section(),
        ..NodeOptions::default()
    });
    Proxied {
        node,
        listener,
        _certificate: certificate,
    }
}

fn connect(proxied: &Proxied) -> TcpStream {
    let from: IpAddr = PROXY.parse().unwrap();
    connect_from(from, proxied.listener).unwrap()
}

/// A header that names this client, with a TLV behind it.
fn header(client: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(client), tlv) = (client, [0x04, 0, 3, 1, 2, 3]) else {
        panic!("IPv4 here");
    };
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12".to_vec();
    bytes.extend(client.ip().octets());
    bytes.extend([10, 0, 0, 1]);
    bytes.extend(client.port().to_be_bytes());
    bytes.extend([0x0d, 0x96]);
    bytes.extend(tlv);
    bytes
}

#[test]
fn the_client_is_whom_the_proxy_names() {
    let proxied = start("[\"tcp\", \"tls\"]");
    let named: SocketAddr = "192.0.2.55:4321".parse().unwrap();
    let mut socket = connect(&proxied);
    for byte in header(named) {
        socket.write_all(&[byte]).unwrap();
    }
    let mut client = StreamClient::over(socket, stored_login()).unwrap();
    assert_eq!(client.binding().unwrap(), named);
    client.allocate().unwrap();
    wait_until("the session", SOON, || {
        let items = proxied.node.ctl().items(&["session", "list"]);
        items.iter().any(|item| {
            let text = item.to_string();
            text.contains("192.0.2.55:4321") && text.contains(&proxied.listener.to_string())
        })
    });
}

#[test]
fn tls_begins_behind_the_header() {
    let proxied = start("[\"tls\"]");
    let named: SocketAddr = "192.0.2.56:4321".parse().unwrap();
    let mut socket = connect(&proxied);
    socket.write_all(&header(named)).unwrap();
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let mut client = StreamClient::tls_over(socket, stored_login(), &config, HOST).unwrap();
    assert_eq!(client.binding().unwrap(), named);
    // The listener serves no plain TCP.
    let mut socket = connect(&proxied);
    socket
        .write_all(&header("192.0.2.57:1".parse().unwrap()))
        .unwrap();
    socket.write_all(&[0, 1, 0, 0]).unwrap();
    assert!(closes(&mut socket, SOON));
    assert_eq!(closed(&proxied.node, "not_served"), 1.0);
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let proxied = start("[\"tcp\"]");
    let mut socket = connect(&proxied);
    let own = socket.local_addr().unwrap();
    socket
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0")
        .unwrap();
    let mut client = StreamClient::over(socket, stored_login()).unwrap();
    assert_eq!(client.binding().unwrap(), own);
}

#[test]
fn strangers_and_broken_headers_are_closed() {
    let proxied = start("[\"tcp\"]");
    let node = &proxied.node;
    // A stranger with a perfect header.
    match connect_from("127.0.0.78".parse().unwrap(), proxied.listener) {
        Ok(mut stranger) => {
            let _ = stranger.write_all(&header("192.0.2.58:1".parse().unwrap()));
            assert!(closes(&mut stranger, SOON));
        }
        // It was closed before the kernel told of the connection.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    wait_closed(node, "proxy", 1.0);
    // The proxy without a header, with version 1, and with a length of 64 KiB.
    let binding = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let broken: [&[u8]; 3] = [
        &binding,
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 3478\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    for (count, bytes) in broken.iter().enumerate() {
        let mut socket = connect(&proxied);
        socket.write_all(bytes).unwrap();
        assert!(closes(&mut socket, SOON), "{bytes:02x?}");
        wait_closed(node, "proxy", (count + 2) as f64);
    }
    wait_none_left(node);
    // A listener without proxies takes a header for what it is there: garbage.
    let mut direct = TcpStream::connect(node.turn).unwrap();
    direct
        .write_all(&header("192.0.2.59:1".parse().unwrap()))
        .unwrap();
    assert!(closes(&mut direct, SOON));
    assert_eq!(closed(node, "garbage"), 1.0);
}

#[test]
fn a_5_tuple_is_claimed_once() {
    let proxied = start("[\"tcp\"]");
    let named: SocketAddr = "192.0.2.60:4321".parse().unwrap();
    let mut first = connect(&proxied);
    first.write_all(&header(named)).unwrap();
    let mut first = StreamClient::over(first, stored_login()).unwrap();
    first.allocate().unwrap();
    let mut second = connect(&proxied);
    second.write_all(&header(named)).unwrap();
    assert!(closes(&mut second, SOON));
    assert_eq!(closed(&proxied.node, "duplicate"), 1.0);
    first.refresh(600).unwrap();
    drop(first);
    wait_none_left(&proxied.node);
    let mut third = connect(&proxied);
    third.write_all(&header(named)).unwrap();
    let mut third = StreamClient::over(third, stored_login()).unwrap();
    third.binding().unwrap();
    assert!(!third.is_closed(Duration::from_millis(200)));
}
