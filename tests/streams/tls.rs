//! TLS 1.2 and 1.3 on the port of plain TCP (RFC 8446, RFC 8489 §6.2.3, RFC 7443).

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use kit::address::fresh_ip;
use kit::certificate::{HOST, TestCertificate};
use kit::node::{Node, NodeOptions, stored_login};
use kit::s_client::handshake;
use kit::stream::{StreamClient, closes, connect_from, tls_config};
use kit::wait::wait_until;

use crate::{Echo, SOON, closed, wait_closed, wait_none_left};

fn start(certificate: &TestCertificate, connections: &str) -> Node {
    Node::start(NodeOptions {
        end: format!("{}[connections]\n{connections}\n", certificate.section()),
        ..NodeOptions::default()
    })
}

fn relays(node: &Node, versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&str]) {
    let echo = Echo::start();
    let config = tls_config(versions, alpn);
    let mut client = StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap();
    client.allocate().unwrap();
    client.bind_channel(0x4000, echo.address).unwrap();
    for len in [0, 1, 1200, 9000] {
        let payload = vec![5; len];
        client.send_channel(0x4000, &payload).unwrap();
        assert_eq!(client.recv_channel(SOON).unwrap(), Some((0x4000, payload)));
    }
}

#[test]
fn both_versions_work_with_both_kinds_of_keys() {
    for certificate in [TestCertificate::ecdsa(), TestCertificate::rsa()] {
        let node = start(&certificate, "");
        relays(&node, &[&rustls::version::TLS12], &[]);
        relays(&node, &[&rustls::version::TLS13], &[]);
        let mut plain = StreamClient::tcp(node.turn, stored_login()).unwrap();
        plain.binding().unwrap();
    }
}

#[test]
fn a_session_over_tls_is_shown_as_such() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "");
    let config = tls_config(rustls::ALL_VERSIONS, &["stun.turn"]);
    let mut client = StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap();
    client.allocate().unwrap();
    wait_until("the session to be listed", SOON, || {
        let list = ["session", "list", "-f", "transport=tls"];
        let items = node.ctl().items(&list);
        items.len() == 1
    });
    assert_eq!(node.metric("relayd_connections"), Some(1.0));
    drop(client);
    wait_none_left(&node);
}

#[test]
fn application_protocols_are_those_of_rfc_7443_or_none() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "");
    relays(&node, rustls::ALL_VERSIONS, &["stun.turn"]);
    relays(&node, rustls::ALL_VERSIONS, &["h2", "stun.nat-discovery"]);
    // RFC 7301 §3.2: who names only foreign ones is refused with no_application_protocol.
    let config = tls_config(rustls::ALL_VERSIONS, &["h2", "http/1.1"]);
    let error = StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    wait_closed(&node, "tls", 1.0);
}

#[test]
fn an_independent_client_negotiates_and_nothing_older_is_served() {
    let certificate = TestCertificate::rsa();
    let node = start(&certificate, "");
    let talk = |version: &str| {
        let cipher = "DEFAULT@SECLEVEL=0";
        let flags = [
            version,
            "-alpn",
            "stun.turn",
            "-servername",
            HOST,
            "-cipher",
            cipher,
        ];
        handshake(node.turn, &flags)
    };
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let text = talk(version);
        assert!(text.contains(&format!("New, {name}")), "{text}");
        assert!(text.contains("ALPN protocol: stun.turn"), "{text}");
        assert!(!text.contains("Early data was accepted"), "{text}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let text = talk(version);
        assert!(text.contains("Cipher is (NONE)"), "{text}");
    }
}

#[test]
fn a_handshake_that_does_not_end_is_closed() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "handshake_timeout = \"1s\"");
    let mut half = TcpStream::connect(node.turn).unwrap();
    // A record that claims 512 bytes of a ClientHello.
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc])
        .unwrap();
    assert!(closes(&mut half, SOON));
    wait_closed(&node, "handshake_timeout", 1.0);
    wait_none_left(&node);
}

#[test]
fn a_client_that_says_nothing_or_half_a_message_after_its_handshake_is_closed() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "first_message_timeout = \"1s\"");
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let connect = || StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap();
    let (mut silent, mut half) = (connect(), connect());
    half.write(&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]).unwrap();
    assert!(silent.is_closed(SOON) && half.is_closed(SOON));
    wait_closed(&node, "first_message_timeout", 2.0);
    wait_none_left(&node);
}

#[test]
fn a_source_with_its_share_of_connections_is_refused_before_any_handshake() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "max_per_source = 3");
    let hello = client_hello();
    // Handshakes that stand still, and one that has not begun.
    let held: Vec<_> = (0..3)
        .map(|number| {
            let mut socket = TcpStream::connect(node.turn).unwrap();
            socket.write_all(&hello[..number * 20]).unwrap();
            socket
        })
        .collect();
    wait_until("all to be accepted", SOON, || {
        node.metric("relayd_connections") == Some(3.0)
    });
    let mut surplus = TcpStream::connect(node.turn).unwrap();
    // It is closed although it has said nothing yet.
    assert!(closes(&mut surplus, SOON));
    wait_closed(&node, "source_limit", 1.0);
    let other = connect_from(fresh_ip(), node.turn).unwrap();
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let mut stranger = StreamClient::tls_over(other, stored_login(), &config, HOST).unwrap();
    stranger.binding().unwrap();
    drop(held);
}

#[test]
fn unfinished_handshakes_are_bounded_and_the_next_one_begins_when_some_end() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        workers: 1,
        end: format!(
            "{}[connections]\nmax_per_source = 5000\nhandshake_timeout = \"1m\"\n",
            certificate.section()
        ),
        ..NodeOptions::default()
    });
    // 1024 of one worker, each with a hello that does not end.
    let hello = client_hello();
    let mut held: Vec<_> = (0..1034)
        .map(|_| {
            let mut socket = TcpStream::connect(node.turn).unwrap();
            socket.write_all(&hello[..100]).unwrap();
            socket
        })
        .collect();
    wait_closed(&node, "handshake_limit", 10.0);
    assert_eq!(closed(&node, "handshake_limit"), 10.0);
    node.client(&stored_login()).allocate().unwrap();
    held.truncate(500);
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    wait_until("a handshake to be done", SOON, || {
        StreamClient::tls(node.turn, stored_login(), &config, HOST).is_ok()
    });
}

#[test]
fn broken_handshakes_are_closed_and_leave_nothing_behind() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "");
    for seed in 0..200_u32 {
        let mut socket = TcpStream::connect(node.turn).unwrap();
        let mut bytes = vec![0x16, 0x03, 0x01, 0x00, 0x80];
        bytes.extend((0..128_u32).map(|i| (seed.wrapping_mul(2_654_435_761) >> (i % 24)) as u8));
        let _ = socket.write_all(&bytes);
        assert!(closes(&mut socket, SOON));
    }
    wait_none_left(&node);
    assert!(closed(&node, "tls") >= 199.0);
    relays(&node, rustls::ALL_VERSIONS, &[]);
}

#[test]
fn without_a_certificate_tls_is_closed_and_plain_served() {
    let node = Node::start(NodeOptions::default());
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    assert!(StreamClient::tls(node.turn, stored_login(), &config, HOST).is_err());
    wait_closed(&node, "not_served", 1.0);
    let mut plain = StreamClient::tcp(node.turn, stored_login()).unwrap();
    plain.binding().unwrap();
    assert!(!plain.is_closed(Duration::from_millis(100)));
}

#[test]
fn a_flood_of_handshakes_does_not_keep_others_waiting() {
    let certificate = TestCertificate::rsa();
    let node = Node::start(NodeOptions {
        workers: 1,
        end: format!(
            "{}[connections]\nmax_per_source = 2000\n",
            certificate.section()
        ),
        ..NodeOptions::default()
    });
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    let hello = client_hello();
    let mut flood: Vec<_> = (0..800)
        .map(|_| TcpStream::connect(node.turn).unwrap())
        .collect();
    wait_until("all to be accepted", SOON, || {
        node.metric("relayd_connections") == Some(800.0)
    });
    for socket in &mut flood {
        socket.write_all(&hello).unwrap();
    }
    client.refresh(600).unwrap();
    // The request came after all those hellos, and most of them still wait for their answer.
    let waits = |socket: &&TcpStream| {
        socket.set_nonblocking(true).unwrap();
        socket.peek(&mut [0]).is_err()
    };
    let waiting = flood.iter().filter(waits).count();
    assert!(waiting > 400, "{waiting} of 800");
    drop(flood);
    wait_none_left(&node);
}

/// The first flight of a TLS client.
fn client_hello() -> Vec<u8> {
    let config = tls_config(rustls::ALL_VERSIONS, &["stun.turn"]);
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The certificate that a new client is shown, as `openssl` prints it.
fn shown(node: &Node) -> String {
    handshake(node.turn, &["-servername", HOST])
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_no_connection_drops() {
    let (first, second) = (TestCertificate::ecdsa(), TestCertificate::ecdsa());
    let node = start(&first, "");
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let mut client = StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap();
    client.allocate().unwrap();
    let body = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
    assert!(shown(&node).contains(&body(&first.pem)));
    second.replace(&first);
    node.signal("HUP");
    wait_until("the new certificate", Duration::from_secs(20), || {
        shown(&node).contains(&body(&second.pem))
    });
    client.refresh(600).unwrap();

    // What cannot be read leaves the one that is in force.
    std::fs::write(first.certificate(), "no certificate").unwrap();
    node.signal("HUP");
    wait_until("the log to say so", Duration::from_secs(20), || {
        node.log().contains("certificate.pem")
    });
    assert!(shown(&node).contains(&body(&second.pem)));
    client.refresh(600).unwrap();
}

#[test]
fn a_certificate_that_ends_soon_is_an_alert_until_it_is_renewed() {
    let (old, new) = (TestCertificate::for_days(5), TestCertificate::ecdsa());
    let node = start(&old, "");
    let ctl = node.ctl();
    let soon = Duration::from_secs(30);
    let severity = || {
        let alerts = ctl.items(&["alert", "list", "-f", "rule=certificate-expiring"]);
        let alert = alerts.first()?;
        let text = alert["text"].as_str().unwrap_or_default();
        assert!(
            text.contains("certificate of ams1 expires in 4 days"),
            "{text}"
        );
        Some(alert["severity"].as_str()?.to_owned())
    };
    wait_until("the warning", soon, || {
        severity().as_deref() == Some("warn")
    });
    let set = [
        "alert",
        "set",
        "certificate-expiring",
        "--crit",
        "6",
        "--yes",
    ];
    let set = ctl.run(&set);
    assert_eq!(set.code, 0, "{}{}", set.stdout, set.stderr);
    wait_until("it to be critical", soon, || {
        severity().as_deref() == Some("crit")
    });
    new.replace(&old);
    node.signal("HUP");
    wait_until("it to be over", soon, || severity().is_none());
}
