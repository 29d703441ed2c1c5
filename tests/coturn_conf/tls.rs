//! What TLS and DTLS clients are shown, and what they agree on.

use std::net::{SocketAddr, UdpSocket};

use kit::certificate::{HOST, TestCertificate};
use kit::dtls_client::DtlsClient;
use kit::s_client::handshake;
use kit::stream::{StreamClient, tls_config};

use crate::north::{FLAGS, NORTH, alice};
use crate::start::Migrated;

/// A node that serves this pair, under the names that coturn has for them, with these lines besides.
fn serving(certificate: &TestCertificate, lines: &str) -> Migrated {
    let names = "cert=/etc/turn_server_cert.pem\npkey=/etc/turn_server_pkey.pem\n";
    let mut node = Migrated::prepare(&format!("{NORTH}{names}{lines}\n"), FLAGS);
    node.furnish(certificate);
    node.launch();
    node.wait_ready();
    node
}

fn secure(node: &Migrated) -> SocketAddr {
    SocketAddr::new(node.ip, 5349)
}

#[test]
fn the_certificate_of_the_file_is_shown_with_its_key() {
    for certificate in [TestCertificate::ecdsa(), TestCertificate::rsa()] {
        let node = serving(&certificate, "");
        let shown = handshake(secure(&node), &["-showcerts"]);
        assert!(shown.contains(certificate.pem.trim()), "{shown}");
        let config = tls_config(rustls::ALL_VERSIONS, &[]);
        let mut client = StreamClient::tls(secure(&node), alice(), &config, HOST).unwrap();
        client.allocate().unwrap();
    }
    let pair = TestCertificate::ecdsa();
    // Where coturn looks: relative to the folder it is started in, and under these names by themselves.
    let mut unnamed = Migrated::prepare(NORTH, FLAGS);
    unnamed.furnish(&pair);
    unnamed.launch();
    unnamed.wait_ready();
    let shown = handshake(secure(&unnamed), &["-dtls1_2", "-showcerts"]);
    assert!(shown.contains(pair.pem.trim()), "{shown}");
}

#[test]
fn a_certificate_without_its_key_leaves_plain_listeners_and_a_warning() {
    for lines in ["", "cert=/etc/turn_server_cert.pem\npkey=/etc/nobody.pem\n"] {
        let mut node = Migrated::prepare(&format!("{NORTH}{lines}"), FLAGS);
        if !lines.is_empty() {
            node.furnish(&TestCertificate::ecdsa());
        }
        node.launch();
        node.wait_ready();
        node.client(&alice()).allocate().unwrap();
        let config = tls_config(rustls::ALL_VERSIONS, &[]);
        assert!(StreamClient::tls(node.turn(), alice(), &config, HOST).is_err());
        let said = node.said();
        assert_eq!(
            said.matches("TLS and DTLS are not served").count(),
            1,
            "{said}"
        );
    }
}

#[test]
fn the_cipher_list_says_which_suites_are_agreed_on() {
    let certificate = TestCertificate::ecdsa();
    let list = "cipher-list=\"ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:!aNULL\"";
    let node = serving(&certificate, list);
    let agrees = |flags: &[&str]| handshake(secure(&node), flags);
    for version in ["-tls1_2", "-dtls1_2"] {
        let agreed = agrees(&[version]);
        assert!(
            agreed.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
            "{agreed}"
        );
        let other = agrees(&[version, "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]);
        assert!(other.contains("Cipher is (NONE)"), "{other}");
    }
    // As of OpenSSL, the list is about TLS 1.2.
    let newer = agrees(&["-tls1_3"]);
    assert!(
        newer.contains("TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        "{newer}"
    );
    let said = node.said();
    assert!(
        said.contains("relayd does not have DHE-RSA-AES256-GCM-SHA384"),
        "{said}"
    );
    drop(node);
    let all = serving(&certificate, "cipher-list=HIGH:!MD5");
    let agreed = handshake(
        secure(&all),
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    );
    assert!(
        agreed.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        "{agreed}"
    );
    drop(all);
    let none = serving(&certificate, "cipher-list=AES:!AES");
    assert!(
        none.said().contains("TLS 1.3 alone is served"),
        "{}",
        none.said()
    );
    assert!(handshake(secure(&none), &["-tls1_2"]).contains("Cipher is (NONE)"));
    assert!(handshake(secure(&none), &["-tls1_3"]).contains("Cipher is TLS_AES"));
    assert!(handshake(secure(&none), &["-dtls1_2"]).contains("Cipher is (NONE)"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    DtlsClient::over(socket, secure(&none), alice()).expect("DTLS 1.3 is left");
}
