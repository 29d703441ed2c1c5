//! Where clients come to, and what is spoken there.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use kit::address::fresh_ip;
use kit::certificate::{HOST, TestCertificate};
use kit::client::{TurnClient, fresh_id};
use kit::dtls_client::DtlsClient;
use kit::netns::{ip, isolated};
use kit::stream::{StreamClient, tls_config};
use kit::wait::wait_until;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::north::{
    FLAGS, NORTH, OPEN, SOON, alice, assert_no_udp_at, assert_nobody_at, assert_uclient_relays,
    exchange, node, open_node, peer_on,
};
use crate::start::Migrated;

#[test]
fn the_listening_port_is_the_only_plain_one() {
    let node = open_node("listening-port=3999");
    assert_uclient_relays(SocketAddr::new(node.ip, 3999), &["-c"]);
    assert_uclient_relays(SocketAddr::new(node.ip, 3999), &["-c", "-t"]);
    assert_nobody_at(node.turn());
    drop(node);
    let flags = [OPEN, &["-p", "3998"]].concat();
    let short = Migrated::start(NORTH, &flags);
    assert_uclient_relays(SocketAddr::new(short.ip, 3998), &["-c"]);
}

#[test]
fn clients_reach_every_listening_ip_and_no_other() {
    let (second, third) = (fresh_ip(), fresh_ip());
    let third_text = third.to_string();
    let flags = [FLAGS, &["-L", &third_text]].concat();
    let text = format!("{NORTH}listening-ip={second}\n");
    let node = Migrated::start(&text, &flags);
    for server in [node.ip, second, third] {
        let server = SocketAddr::new(server, 3478);
        TurnClient::new(server, alice())
            .unwrap()
            .allocate()
            .unwrap();
        StreamClient::tcp(server, alice())
            .unwrap()
            .allocate()
            .unwrap();
    }
    assert_nobody_at(SocketAddr::new(fresh_ip(), 3478));
    let both = Migrated::start(
        &format!("{NORTH}listening-ip=::1\nlistening-port=3997\n"),
        FLAGS,
    );
    let v6 = SocketAddr::new("::1".parse().unwrap(), 3997);
    TurnClient::new(v6, alice()).unwrap().allocate().unwrap();
    drop(both);
}

#[test]
fn no_udp_and_no_tcp_leave_the_other() {
    let streams = node("no-udp");
    assert_no_udp_at(streams.turn());
    StreamClient::tcp(streams.turn(), alice())
        .unwrap()
        .allocate()
        .unwrap();
    let datagrams = node("no-tcp");
    datagrams.client(&alice()).allocate().unwrap();
    assert!(StreamClient::tcp(datagrams.turn(), alice()).is_err());
}

#[test]
fn no_udp_with_a_certificate_leaves_tcp_tls_and_dtls() {
    let node = with_certificate("no-udp");
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    let secure = SocketAddr::new(node.ip, 5349);
    let mut dtls =
        DtlsClient::over(UdpSocket::bind("127.0.0.1:0").unwrap(), secure, alice()).unwrap();
    allocate(&mut dtls);
    // The same listener heard this one before, and said nothing.
    plain
        .send_to(
            &MessageBuilder::request(Method::Binding, fresh_id()).finish(),
            secure,
        )
        .unwrap();
    let late = DtlsClient::over(UdpSocket::bind("127.0.0.1:0").unwrap(), secure, alice());
    allocate(&mut late.unwrap());
    plain.set_nonblocking(true).unwrap();
    assert!(plain.recv(&mut [0; 600]).is_err(), "plain UDP is answered");
    StreamClient::tcp(node.turn(), alice())
        .unwrap()
        .allocate()
        .unwrap();
    assert!(reaches_tls(secure));
}

#[test]
fn the_tls_port_serves_tls_and_dtls_and_so_does_the_plain_one() {
    let certificate = TestCertificate::ecdsa();
    let mut node = Migrated::prepare(&format!("{NORTH}tls-listening-port=5999\n{FILES}"), OPEN);
    node.furnish(&certificate);
    node.launch();
    node.wait_ready();
    let secure = SocketAddr::new(node.ip, 5999);
    assert_uclient_relays(secure, &["-c", "-S", "-t"]);
    assert_uclient_relays(secure, &["-c", "-S"]);
    assert!(reaches_tls(node.turn()), "TLS is told from TCP on one port");
    StreamClient::tcp(secure, alice())
        .unwrap()
        .allocate()
        .unwrap();
    assert_nobody_at(SocketAddr::new(node.ip, 5349));
}

#[test]
fn no_tls_and_no_dtls_leave_the_other() {
    let datagrams = with_certificate("no-tls");
    let secure = SocketAddr::new(datagrams.ip, 5349);
    assert!(reaches_dtls(secure) && !reaches_tls(secure));
    StreamClient::tcp(datagrams.turn(), alice())
        .unwrap()
        .allocate()
        .unwrap();
    let streams = with_certificate("no-dtls");
    let secure = SocketAddr::new(streams.ip, 5349);
    assert!(reaches_tls(secure) && !reaches_dtls(secure));
    streams.client(&alice()).allocate().unwrap();
    let plain = with_certificate("no-tls\nno-dtls");
    assert_nobody_at(SocketAddr::new(plain.ip, 5349));
    assert!(!reaches_tls(plain.turn()) && !reaches_dtls(plain.turn()));
    plain.client(&alice()).allocate().unwrap();
}

#[test]
fn the_alternate_ports_answer_for_the_first_ones() {
    let second = fresh_ip();
    let lines = format!(
        "listening-ip={second}\nrfc5780\nalt-listening-port=3555\nalt-tls-listening-port=5777"
    );
    let node = with_certificate(&lines);
    for (port, alternate) in [(3478, 3555), (5349, 5777)] {
        let first = SocketAddr::new(node.ip, port);
        let other = SocketAddr::new(second, alternate);
        assert_eq!(discovered(first, 0), (first, Some(other)));
        // Another address, another port, both (RFC 5780 §7.2).
        assert_eq!(discovered(first, 4).0, SocketAddr::new(second, port));
        assert_eq!(discovered(first, 2).0, SocketAddr::new(node.ip, alternate));
        assert_eq!(discovered(first, 6).0, other);
        assert!(reaches_tls(other) && reaches_dtls(other), "{other}");
        StreamClient::tcp(other, alice())
            .unwrap()
            .binding()
            .unwrap();
    }
    drop(node);
    let unsaid = with_certificate(&format!("listening-ip={second}\nrfc5780"));
    assert!(
        reaches_tls(SocketAddr::new(second, 5350)),
        "the port behind the first one"
    );
    assert_eq!(
        discovered(unsaid.turn(), 6).0,
        SocketAddr::new(second, 3479)
    );
    drop(unsaid);
    let off = with_certificate("alt-listening-port=3555\nalt-tls-listening-port=5777");
    for port in [3555, 5777] {
        assert_nobody_at(SocketAddr::new(off.ip, port));
    }
}

#[test]
fn relay_threads_are_the_workers_that_serve() {
    let cores = std::thread::available_parallelism().unwrap().get();
    for (given, expected) in [("0", 1), ("1", 1), ("2", 2.min(cores)), ("100", cores)] {
        let node = open_node(&format!("relay-threads={given}"));
        wait_until("as many workers as that", SOON, || {
            workers(&node) == expected
        });
        // Spread by their ports, some for each worker.
        let mut clients: Vec<_> = (0..8).map(|_| node.client(&alice())).collect();
        let (peer, address) = peer_on("127.0.0.1");
        for client in &mut clients {
            client.allocate().unwrap();
            client.permit(&[address.ip()]).unwrap();
            exchange(client, &peer);
        }
    }
}

/// The threads of a node that serve.
fn workers(node: &Migrated) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.filter_map(|task| name(task.ok()?));
    names.filter(|name| name.starts_with("worker-")).count()
}

/// Devices that this test makes: clients come to one, and are relayed from the other.
#[test]
fn devices_stand_for_their_addresses() {
    isolated("listeners::devices_stand_for_their_addresses", || {
        for (device, addresses) in [
            ("clients0", &["10.1.0.1/24", "2a00:1::1/64"][..]),
            ("peers0", &["10.2.0.1/24", "2a00:2::1/64"]),
            ("world0", &["8.8.1.1/24", "2a00:8::1/64"]),
        ] {
            ip(&format!(
                "link add {device} type veth peer name {device}end"
            ));
            ip(&format!("link set {device}end up"));
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                ip(&format!("address add {address} dev {device}{nodad}"));
            }
            ip(&format!("link set {device} up"));
        }
        let text = "listening-device=clients0\nrelay-device=peers0\nrealm=north.gov\n\
                    user=alice:wonderland-wonder\n";
        let _node = Migrated::start(text, FLAGS);
        for (server, relay, peer, family) in [
            ("10.1.0.1", "10.2.0.1", "8.8.1.1", 1),
            ("2a00:1::1", "2a00:2::1", "2a00:8::1", 2),
        ] {
            let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 3478);
            let mut client = TurnClient::bound(
                SocketAddr::new(server.parse().unwrap(), 0),
                address(server),
                alice(),
            )
            .unwrap();
            let options = kit::client::AllocateOptions {
                family: Some(family),
                ..kit::client::AllocateOptions::default()
            };
            let allocated = client.allocate_with(options).unwrap();
            assert_eq!(allocated.relay.ip(), relay.parse::<IpAddr>().unwrap());
            let (peer, at) = peer_on(peer);
            client.permit(&[at.ip()]).unwrap();
            assert_eq!(exchange(&mut client, &peer), allocated.relay);
            assert_nobody_at(address(relay));
        }
        assert_nobody_at("127.0.0.1:3478".parse().unwrap());
        let wrong = Migrated::prepare(&text.replace("clients0", "nobody0"), FLAGS);
        let (code, said) = wrong.run_to_end();
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("write listening-ip=ADDRESS instead"),
            "{said}"
        );
    });
}

/// The lines that name the certificate.
const FILES: &str = "cert=/etc/turn_server_cert.pem\npkey=/etc/turn_server_pkey.pem\n";

/// A node with an ECDSA certificate and these lines besides.
fn with_certificate(lines: &str) -> Migrated {
    let mut node = Migrated::prepare(&format!("{NORTH}{FILES}{lines}\n"), FLAGS);
    node.furnish(&TestCertificate::ecdsa());
    node.launch();
    node.wait_ready();
    node
}

/// Whether a client over TLS gets an answer.
fn reaches_tls(server: SocketAddr) -> bool {
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let client = StreamClient::tls(server, alice(), &config, HOST);
    client.is_ok_and(|mut client| client.binding().is_ok())
}

/// Whether a client over DTLS gets an answer.
fn reaches_dtls(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    DtlsClient::over(socket, server, alice()).is_ok_and(|mut client| {
        let request = MessageBuilder::request(Method::Binding, fresh_id());
        client.send(&request.finish()).unwrap();
        client.message(SOON).unwrap().is_some()
    })
}

fn allocate(client: &mut DtlsClient) {
    let wish = |request: MessageBuilder| request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    client.request(Method::Allocate, wish).unwrap();
}

/// Where the answer to a CHANGE-REQUEST with these flags comes from, and OTHER-ADDRESS in it.
fn discovered(server: SocketAddr, flags: u8) -> (SocketAddr, Option<SocketAddr>) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let request = MessageBuilder::request(Method::Binding, fresh_id());
    let request = request.attribute(A::CHANGE_REQUEST, &[0, 0, 0, flags]);
    client.send_to(&request.finish(), server).unwrap();
    let mut buffer = [0; 600];
    let (len, from) = client.recv_from(&mut buffer).unwrap();
    let answer = Message::parse(&buffer[..len]).unwrap();
    (from, answer.plain_address(A::OTHER_ADDRESS).unwrap())
}
