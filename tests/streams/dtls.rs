//! DTLS on the port of UDP, by a foreign client (RFC 7350): what an operator sees, and what is refused.

use std::process::Command;

use kit::address::free_port;
use kit::certificate::{HOST, TestCertificate};
use kit::client::fresh_id;
use kit::node::{Node, NodeOptions, REALM, USER, stored_login};
use kit::program::{Sinks, finish, ours, spawn, text};
use kit::s_client::{DtlsTunnel, handshake};
use kit::stream::{StreamClient, tls_config};
use kit::wait::wait_until;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method};

use crate::{SOON, wait_closed};

fn start(certificate: &TestCertificate, connections: &str) -> Node {
    Node::start(NodeOptions {
        end: format!("{}[connections]\n{connections}\n", certificate.section()),
        ..NodeOptions::default()
    })
}

fn binding() -> Vec<u8> {
    MessageBuilder::request(Method::Binding, fresh_id()).finish()
}

/// Asks once and waits for the answer to that.
fn ask(tunnel: &mut DtlsTunnel, request: &[u8]) -> Option<Vec<u8>> {
    tunnel.send(request).unwrap();
    tunnel
        .recv(SOON)
        .filter(|answer| answer[8..20] == request[8..20])
}

#[test]
fn messages_of_rfc_3489_are_not_answered() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "");
    let mut tunnel = DtlsTunnel::start(node.turn, HOST);
    // Sixteen bytes of transaction id where RFC 8489 has the cookie and twelve.
    let mut old = binding();
    old[4..8].copy_from_slice(&[1, 2, 3, 4]);
    tunnel.send(&old).unwrap();
    wait_until("it to be dropped", SOON, || {
        node.sample("relayd_malformed_total{flaw=\"cookie\"}") == Some(1.0)
    });
    // What comes first answers what was sent last.
    assert!(ask(&mut tunnel, &binding()).is_some());
    // Workers report once per second.
    wait_until("both to be counted", SOON, || {
        node.sample("relayd_messages_received_total{transport=\"dtls\"}") == Some(2.0)
    });
    assert_eq!(node.sample("relayd_bindings_total"), Some(1.0));
}

#[test]
fn the_bound_of_connections_holds_for_tcp_tls_and_dtls_together() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "max = 3");
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let mut over_tcp = StreamClient::tcp(node.turn, stored_login()).unwrap();
    over_tcp.binding().unwrap();
    let mut over_tls = StreamClient::tls(node.turn, stored_login(), &config, HOST).unwrap();
    over_tls.binding().unwrap();
    let mut over_dtls = DtlsTunnel::start(node.turn, HOST);
    assert!(ask(&mut over_dtls, &binding()).is_some());
    assert_eq!(
        node.sample("relayd_dtls_associations{stage=\"open\"}"),
        Some(1.0)
    );
    let surplus = DtlsTunnel::start(node.turn, HOST);
    wait_until("the surplus to be dropped", SOON, || {
        node.sample("relayd_dtls_dropped_total{reason=\"node_limit\"}") >= Some(1.0)
    });
    drop(surplus);
    assert!(StreamClient::tls(node.turn, stored_login(), &config, HOST).is_err());
    wait_closed(&node, "node_limit", 1.0);
    node.client(&stored_login()).allocate().unwrap();
    drop(over_tcp);
    let mut late = DtlsTunnel::start(node.turn, HOST);
    assert!(ask(&mut late, &binding()).is_some());
    over_tls.binding().unwrap();
}

#[test]
fn a_source_has_so_many_clients_without_a_session_over_tcp_and_dtls_together() {
    let certificate = TestCertificate::ecdsa();
    let node = start(&certificate, "max_per_source = 2");
    let mut over_tcp = StreamClient::tcp(node.turn, stored_login()).unwrap();
    over_tcp.binding().unwrap();
    let mut over_dtls = DtlsTunnel::start(node.turn, HOST);
    assert!(ask(&mut over_dtls, &binding()).is_some());
    let mut surplus = DtlsTunnel::start(node.turn, HOST);
    wait_until("the surplus to be dropped", SOON, || {
        node.sample("relayd_dtls_dropped_total{reason=\"source_limit\"}") >= Some(1.0)
    });
    let refused = StreamClient::tcp(node.turn, stored_login())
        .and_then(|mut client| client.binding().map_err(std::io::Error::other));
    assert!(refused.is_err());
    wait_closed(&node, "source_limit", 1.0);
    // With a session it counts no more, and the next one gets in.
    allocate(&mut over_dtls);
    assert!(ask(&mut surplus, &binding()).is_some());
    assert_eq!(
        node.sample("relayd_dtls_associations{stage=\"open\"}"),
        Some(2.0)
    );
}

/// Makes an allocation for the kit's user.
fn allocate(tunnel: &mut DtlsTunnel) {
    let request = || {
        MessageBuilder::request(Method::Allocate, fresh_id())
            .number(AttributeType::REQUESTED_TRANSPORT, 17 << 24)
    };
    let challenge = ask(tunnel, &request().finish()).unwrap();
    let challenge = Message::parse(&challenge).unwrap();
    let key = LongTermKey::derive(USER.0, REALM, USER.1);
    let signed = request()
        .attribute(AttributeType::USERNAME, USER.0.as_bytes())
        .attribute(AttributeType::REALM, REALM.as_bytes())
        .attribute(
            AttributeType::NONCE,
            challenge.attribute(AttributeType::NONCE).unwrap(),
        )
        .integrity(key.as_bytes());
    let answer = ask(tunnel, &signed.finish()).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().class(), Class::Success);
}

#[test]
fn a_new_certificate_is_shown_over_tls_dtls_and_by_the_admin_api() {
    let (first, second) = (TestCertificate::ecdsa(), TestCertificate::ecdsa());
    let admin = free_port("127.0.0.1".parse().unwrap());
    let (certificate, key) = (first.certificate(), first.key());
    let node = Node::start(NodeOptions {
        end: format!(
            "{}[admin]\nlisten = \"{admin}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
            first.section(),
            certificate.display(),
            key.display()
        ),
        ..NodeOptions::default()
    });
    let doors: [(_, &[&str]); 3] = [(node.turn, &[]), (node.turn, &["-dtls1_2"]), (admin, &[])];
    let shows = |certificate: &TestCertificate| {
        let body = certificate.pem.lines().nth(1).unwrap();
        doors.map(|(address, flags)| handshake(address, flags).contains(body))
    };
    let mut tunnel = DtlsTunnel::start(node.turn, HOST);
    assert!(ask(&mut tunnel, &binding()).is_some());
    assert_eq!(shows(&first), [true; 3]);
    second.replace(&first);
    node.signal("HUP");
    wait_until("the new certificate behind each door", SOON * 3, || {
        shows(&second) == [true; 3]
    });
    assert!(
        ask(&mut tunnel, &binding()).is_some(),
        "who was there stays"
    );
    // One that cannot be used leaves the good one in force.
    std::fs::write(&key, "no key").unwrap();
    node.signal("HUP");
    wait_until("the log to say so", SOON, || node.log().contains("key.pem"));
    assert_eq!(shows(&second), [true; 3]);
}

#[test]
fn an_rsa_pair_alone_serves_tls_and_says_what_dtls_needs() {
    let rsa = TestCertificate::rsa();
    let node = start(&rsa, "");
    let remedy = "give an ECDSA pair besides it as tls.ecdsa_certificate and tls.ecdsa_key";
    assert!(node.log().contains(remedy), "{}", node.log());
    let checked = |node: &Node| {
        let mut command = Command::new(ours("relayd"));
        command
            .args(["check-config", "--config"])
            .arg(node.config_path());
        let output = finish(
            "relayd",
            spawn("this workspace", command, &Sinks::Pipes),
            SOON,
        );
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert!(checked(&node).contains(remedy));
    assert!(handshake(node.turn, &[]).contains("BEGIN CERTIFICATE"));
    // A DTLS client is told at once, rather than left to its timers.
    let refused = handshake(node.turn, &["-dtls1_2"]);
    assert!(refused.contains("handshake failure"), "{refused}");
    assert!(node.sample("relayd_dtls_alerts_total") >= Some(1.0));

    let ecdsa = TestCertificate::ecdsa();
    let (certificate, key) = (ecdsa.certificate(), ecdsa.key());
    let both = format!(
        "{}ecdsa_certificate = \"{}\"\necdsa_key = \"{}\"\n",
        rsa.section(),
        certificate.display(),
        key.display()
    );
    let node = Node::start(NodeOptions {
        end: both,
        ..NodeOptions::default()
    });
    assert!(!checked(&node).contains("DTLS needs"));
    assert!(ask(&mut DtlsTunnel::start(node.turn, HOST), &binding()).is_some());
}

#[test]
fn the_host_asked_for_chooses_the_realm_over_tls_and_dtls() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: format!(
            "server_names = [\"north.example\"]\n[[realm]]\nname = \"south.gov\"\n\
             server_names = [\"south.example\"]\nsecrets = [\"another-secret-of-the-suites\"]\n{}",
            certificate.section()
        ),
        ..NodeOptions::default()
    });
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let asked = [
        ("north.example", REALM),
        ("South.Example", "south.gov"),
        ("unknown.example", REALM),
    ];
    for (host, realm) in asked {
        let request = MessageBuilder::request(Method::Allocate, fresh_id())
            .number(AttributeType::REQUESTED_TRANSPORT, 17 << 24)
            .finish();
        let mut client = StreamClient::tls(node.turn, stored_login(), &config, host).unwrap();
        client.write(&request).unwrap();
        let over_tls = client.message(SOON).unwrap().unwrap();
        let over_dtls = ask(&mut DtlsTunnel::start(node.turn, host), &request).unwrap();
        for challenge in [over_tls, over_dtls] {
            let challenge = Message::parse(&challenge).unwrap();
            assert_eq!(
                challenge.attribute(AttributeType::REALM),
                Some(realm.as_bytes()),
                "{host}"
            );
        }
    }
}
