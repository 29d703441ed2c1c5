//! Third-party authorization (RFC 7635) with coturn's tool: tokens of `turnutils_oauth`.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::client::{Login, fresh_id};
use kit::coturn::{FOR_UCLIENT, Uclient, Way};
use kit::node::{Node, NodeOptions, REALM, stored_login, unix_now};
use relayctl::client::AdminApi;
use serde_json::Value;
use shared::OauthAlgorithm;
use shared::api::OauthKeyPut;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::uclient::{assert_at_least, in_turn};

/// Runs of uclient take a few seconds of its own pacing.
const DEADLINE: Duration = Duration::from_secs(120);
/// What uclient makes its tokens for.
pub(crate) const SERVER_NAME: &str = "blackdow.carleon.gov";
/// The keys that are built into uclient.
const KEYS: [(&str, &str, OauthAlgorithm); 3] = [
    (
        "north",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEK",
        OauthAlgorithm::A256gcm,
    ),
    ("union", "MTIzNDU2Nzg5MDEyMzQ1Ngo=", OauthAlgorithm::A128gcm),
    (
        "oldempire",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK",
        OauthAlgorithm::A256gcm,
    ),
];

fn node() -> Node {
    let node = Node::start(NodeOptions {
        top: format!("{FOR_UCLIENT}oauth = true\nserver_name = \"{SERVER_NAME}\"\n"),
        max_sessions_per_user: Some(2),
        ..NodeOptions::default()
    });
    add_keys(&node);
    node
}

/// Gives a node the keys of uclient.
pub(crate) fn add_keys(node: &Node) {
    for (kid, key, algorithm) in KEYS {
        let put = OauthKeyPut {
            key: Some(key.to_owned()),
            algorithm,
            ..OauthKeyPut::default()
        };
        let put = &put;
        let created = node
            .admin()
            .call(|api| async move { api.put_oauth_key(kid, put).await });
        assert_eq!(
            created.unwrap().key,
            None,
            "a key that was given is not shown"
        );
    }
}

/// Base64 of a token made by coturn's tool, with its session key.
fn made_by_coturn(
    kid: &str,
    key: &str,
    algorithm: OauthAlgorithm,
    name: &str,
) -> (Vec<u8>, Vec<u8>) {
    let mac_key = STANDARD.encode("ZksjpweoixXmvn67534m");
    let now = unix_now().to_string();
    let arguments = [
        ["--server-name", name],
        ["--auth-key-id", kid],
        ["--auth-key", key],
        ["--auth-key-timestamp", &now],
        ["--auth-key-lifetime", "21600"],
        ["--auth-key-as-rs-alg", algorithm.as_str()],
        ["--token-mac-key", &mac_key],
        ["--token-lifetime", "3600"],
        ["--hmac-alg", "SHA1"],
    ];
    let output = Command::new("turnutils_oauth")
        .args(["-e", "-v"])
        .args(arguments.as_flattened())
        .output()
        .expect("turnutils_oauth runs (Debian package: coturn)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let start = text.find('{').unwrap_or_else(|| panic!("{text}"));
    let json: Value = serde_json::from_str(&text[start..]).unwrap_or_else(|_| panic!("{text}"));
    let token = STANDARD
        .decode(json["access_token"].as_str().unwrap())
        .unwrap();
    (token, json["key"].as_str().unwrap().as_bytes().to_vec())
}

/// The error code of an Allocate with a token, and the lifetime of its success.
fn allocate(node: &Node, kid: &str, token: &[u8], mac_key: &[u8]) -> Result<u32, u16> {
    let client = node.client(&Login::new(kid, ""));
    let mut buffer = [0; 2048];
    let socket = client.socket();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut ask = |request: Vec<u8>| {
        socket.send_to(&request, node.turn).unwrap();
        let (len, _) = socket.recv_from(&mut buffer).unwrap();
        buffer[..len].to_vec()
    };
    let request = || {
        MessageBuilder::request(Method::Allocate, fresh_id())
            .attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    };
    let challenge = ask(request().finish());
    let challenge = Message::parse(&challenge).unwrap();
    let name = challenge.attribute(A::THIRD_PARTY_AUTHORIZATION);
    assert_eq!(name, Some(SERVER_NAME.as_bytes()));
    let nonce = challenge.attribute(A::NONCE).unwrap();
    let signed = request()
        .number(A::LIFETIME, 600)
        .attribute(A::USERNAME, kid.as_bytes())
        .attribute(A::REALM, REALM.as_bytes())
        .attribute(A::NONCE, nonce)
        .attribute(A::ACCESS_TOKEN, token)
        .integrity(mac_key)
        .finish();
    let answer = ask(signed);
    let answer = Message::parse(&answer).unwrap();
    match answer.error_code() {
        Some(code) => Err(code.get()),
        None => {
            assert!(answer.verify_integrity(mac_key));
            Ok(answer.number(A::LIFETIME).unwrap().unwrap())
        }
    }
}

#[test]
fn tokens_of_coturns_tool_are_accepted_for_this_server_alone() {
    let node = node();
    for (kid, key, algorithm) in KEYS {
        let (token, mac_key) = made_by_coturn(kid, key, algorithm, SERVER_NAME);
        // A key that was added is good within a second.
        kit::wait::wait_until("the key to be good", Duration::from_secs(5), || {
            allocate(&node, kid, &token, &mac_key) == Ok(600)
        });
        let (other, mac_key) = made_by_coturn(kid, key, algorithm, "other.gov");
        assert_eq!(allocate(&node, kid, &other, &mac_key), Err(401), "{kid}");
    }
    // A key that is gone opens nothing, within a second.
    let (kid, key, algorithm) = KEYS[0];
    let (token, mac_key) = made_by_coturn(kid, key, algorithm, SERVER_NAME);
    let deleted = node.ctl().run(&["--yes", "oauth", "key", "delete", kid]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    kit::wait::wait_until("the key to be forgotten", Duration::from_secs(5), || {
        allocate(&node, kid, &token, &mac_key) == Err(401)
    });
    let listed = node.ctl().run(&["oauth", "key", "list"]).stdout;
    assert!(
        listed.contains("union") && !listed.contains("MTIz"),
        "{listed}"
    );
}

/// Each Allocate and Refresh of uclient brings a new token, of a key that it draws.
#[test]
fn coturns_client_loses_nothing_with_tokens_of_three_keys_in_turn() {
    let _turn = in_turn();
    let node = node();
    for way in [Way::Channels, Way::Indications] {
        let uclient = Uclient {
            server: node.turn,
            login: stored_login(),
            way,
            clients: 5,
            messages: 50,
            flags: &["-J"],
            peer: None,
        };
        let totals = uclient.run(DEADLINE);
        assert_at_least(250, &totals);
        assert_eq!(totals.refusals, [0_u16; 0], "{}", totals.text);
    }
}
