//! Third-party authorization (RFC 7635) with coturn's tool: tokens of `turnutils_oauth`.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use shared::OauthAlgorithm;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

use crate::client::fresh_id;
use crate::node::unix_now;

/// The keys that are built into uclient: their names, their values in base64, what they encrypt with.
pub const KEYS: [(&str, &str, OauthAlgorithm); 3] = [
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
/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(10);

/// A token with what its client has to know.
#[derive(Clone, Debug)]
pub struct Token {
    kid: &'static str,
    bytes: Vec<u8>,
    mac_key: Vec<u8>,
}

impl Token {
    /// One that coturn's tool makes with one of [`KEYS`] for the server of that name.
    ///
    /// # Panics
    /// When the tool is not installed, or makes none.
    #[must_use]
    pub fn made_by_coturn(
        (kid, key, algorithm): (&'static str, &str, OauthAlgorithm),
        server_name: &str,
    ) -> Self {
        let mac_key = STANDARD.encode("ZksjpweoixXmvn67534m");
        let now = unix_now().to_string();
        let arguments = [
            ["--server-name", server_name],
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
        let part = |name: &str| json[name].as_str().expect("a text").to_owned();
        Self {
            kid,
            bytes: STANDARD.decode(part("access_token")).expect("base64"),
            mac_key: part("key").into_bytes(),
        }
    }

    /// Asks for a session of a realm with it, at a server whose challenge has to name `server_name`.
    ///
    /// # Errors
    /// The code that it is refused with.
    ///
    /// # Panics
    /// When the server does not answer, or signs its success with another key.
    pub fn allocate(&self, server: SocketAddr, realm: &str, server_name: &str) -> Result<u32, u16> {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let patience = client.set_read_timeout(Some(ANSWER));
        patience.expect("a timeout above zero");
        let ask = |request: Vec<u8>| {
            let mut buffer = [0; 2048];
            client.send_to(&request, server).expect("a socket");
            let (len, _) = client.recv_from(&mut buffer).expect("an answer");
            buffer[..len].to_vec()
        };
        let request = || {
            MessageBuilder::request(Method::Allocate, fresh_id())
                .attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        };
        let challenge = ask(request().finish());
        let challenge = Message::parse(&challenge).expect("a message");
        let named = challenge.attribute(A::THIRD_PARTY_AUTHORIZATION);
        assert_eq!(named, Some(server_name.as_bytes()));
        let nonce = challenge.attribute(A::NONCE).expect("a nonce");
        let signed = request()
            .number(A::LIFETIME, 600)
            .attribute(A::USERNAME, self.kid.as_bytes())
            .attribute(A::REALM, realm.as_bytes())
            .attribute(A::NONCE, nonce)
            .attribute(A::ACCESS_TOKEN, &self.bytes)
            .integrity(&self.mac_key)
            .finish();
        let answer = ask(signed);
        let answer = Message::parse(&answer).expect("a message");
        if let Some(code) = answer.error_code() {
            return Err(code.get());
        }
        assert!(answer.verify_integrity(&self.mac_key));
        let lifetime = answer.number(A::LIFETIME).expect("four bytes");
        Ok(lifetime.expect("a lifetime"))
    }
}
