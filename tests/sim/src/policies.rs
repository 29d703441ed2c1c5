//! The policies of the simulation, and the users that they are about.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::{OauthAlgorithm, PasswordAlgorithm, Realm, Secret, Transport};
use turn_proto::auth::credential::{CredentialAnswer, LongTermKey, Sha256Key, UserCredential};
use turn_proto::policy::{Drain, NodeSettings, OauthKey, OauthPolicy, RestSecret};
use turn_proto::{NatDiscovery, Policy, RealmPolicy, Redirect, RelayEndpoint};

use crate::access::{KEY, KIDS, SERVER_NAME};

/// The realm of the world.
pub const REALM: &str = "example.org";
/// Another one, for who comes by another door.
pub const OTHER_REALM: &str = "example.net";
/// The origin that leads to it.
pub const ORIGIN: &str = "https://a.example";
/// The server name that leads to it.
pub const SERVER_ALIAS: &str = "turn.example.net";
/// The shared secret of the realm.
pub const SECRET: &str = "a secret of the simulation";
/// Users with a password.
pub const USERS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];
/// A user with limits of its own, and with the key alone that coturn keeps.
pub const LIMITED: (&str, &str) = ("erin", "limited");
/// When the world begins, in Unix seconds.
pub const BEGIN: u64 = 1_800_000_000;
/// The policy without time-limited credentials: users may hide their names (USERHASH).
pub const ANONYMOUS: u8 = 6;
/// How many policies there are.
pub const KINDS: u8 = 19;

/// What the store knows about a user.
#[must_use]
pub fn user(realm: &Realm, name: &str) -> CredentialAnswer {
    let mut known = USERS.iter().chain([&LIMITED]);
    let Some((_, password)) = known.find(|(known, _)| *known == name) else {
        return CredentialAnswer::Unknown;
    };
    let limited = name == LIMITED.0;
    CredentialAnswer::Known(UserCredential {
        key: LongTermKey::derive(name, realm.as_str(), password),
        key_id: 0,
        sha256: (!limited).then(|| Sha256Key::derive(name, realm.as_str(), password)),
        max_sessions: limited.then_some(1),
        max_rate_bps: limited.then_some(20_000),
    })
}

/// One of a few policies: the first is generous, the others take something away or add something.
#[must_use]
pub fn policy(revision: u64, kind: u8) -> Policy {
    let mut realm = RealmPolicy::new(name(REALM));
    realm.secrets = vec![RestSecret {
        id: "s".into(),
        value: Secret::new(SECRET.as_bytes().to_vec()),
    }];
    realm.password_algorithms = vec![PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
    realm.username_anonymity = true;
    let mut settings = NodeSettings::default();
    settings.tcp_relay.enabled = true;
    settings.mobility = true;
    settings.permissions_per_session = 6;
    settings.channels_per_session = 4;
    let kind = kind % KINDS;
    restrict(kind, &mut realm, &mut settings);
    let other = RealmPolicy::new(name(OTHER_REALM));
    let mut policy = Policy {
        revision,
        settings,
        ..Policy::new(vec![realm, other], Secret::new([7; 32]))
    };
    change(kind, &mut policy);
    policy
}

/// What a policy says about the realm and the node.
fn restrict(kind: u8, realm: &mut RealmPolicy, settings: &mut NodeSettings) {
    match kind {
        1 => {
            realm.max_rate_bps = Some(4_000);
            realm.max_user_rate_bps = Some(6_000);
            realm.max_new_peers_per_sec = Some(1);
            realm.max_user_new_peers_per_sec = Some(1);
        }
        2 => realm.denied_peers = vec!["9.9.9.0/24".parse().expect("a range")],
        3 => {
            realm.max_sessions_per_user = Some(2);
            settings.max_sessions_per_source = Some(3);
            settings.unauthorized_ratelimit = Some(2);
            settings.binding_ratelimit = Some(2);
            settings.rfc5766_channel_numbers = true;
        }
        4 => {
            realm.max_lifetime = Duration::from_secs(700);
            realm.password_algorithms.clear();
        }
        ANONYMOUS => realm.secrets.clear(),
        8 => {
            settings.software = Some("a relay".to_owned());
            settings.min_lifetime = Some(Duration::from_secs(30));
        }
        9 => {
            realm.max_realm_rate_bps = Some(5_000);
            realm.max_realm_new_peers_per_sec = Some(2);
            realm.max_sessions = Some(1);
        }
        10 => {
            settings.max_rate_bps = Some(5_000);
            settings.max_new_peers_per_sec = Some(2);
            settings.max_sessions = Some(2);
        }
        11 => {
            settings.mobility = false;
            settings.tcp_relay.enabled = false;
        }
        12 => {
            settings.max_sessions_per_source = Some(1);
            realm.tcp_relay = Some(false);
        }
        // Whatever is embedded in an address is judged for itself.
        18 => realm.allowed_peers = vec!["::/0".parse().expect("a range")],
        _ => {}
    }
}

/// What a policy says besides.
fn change(kind: u8, policy: &mut Policy) {
    match kind {
        // A node that is drained.
        5 => policy.drain = Some(Drain::EndByLifetime),
        7 => policy.oauth = Some(oauth(None)),
        8 => policy.oauth = Some(oauth(Some(SERVER_NAME.into()))),
        11 => policy.relay_v4 = false,
        12 => {
            policy.relay_v6 = false;
            let until = BEGIN + 100_000;
            policy.blocks = [((name(REALM), "alice".into()), until)].into();
        }
        13 => policy.nat_discovery = Some(Arc::new(nat_discovery())),
        14 => policy.redirects = redirects(),
        15 => {
            policy.server_names = [(SERVER_ALIAS.into(), name(OTHER_REALM))].into();
            policy.origins = [(format!("{ORIGIN}:443").into(), name(OTHER_REALM))].into();
            let listener = "[2001:db8::1]:3478".parse().expect("an address");
            policy.listener_realms = [(listener, name(OTHER_REALM))].into();
        }
        16 => cluster(policy),
        17 => {
            policy.nonce_key = Secret::new([8; 32]);
            policy.realms.remove(&name(OTHER_REALM));
            policy.default_realm = name(OTHER_REALM);
        }
        _ => {}
    }
}

fn name(realm: &str) -> Realm {
    realm.parse().expect("a realm's name")
}

/// What access tokens are checked with.
#[must_use]
pub fn oauth(server_name: Option<Box<str>>) -> OauthPolicy {
    let key = |algorithm, until, realm| OauthKey {
        algorithm,
        key: Secret::new(KEY),
        since: BEGIN,
        until,
        realm,
    };
    OauthPolicy {
        server_name,
        keys: HashMap::from([
            (KIDS[0].into(), key(OauthAlgorithm::A256gcm, None, None)),
            (
                KIDS[1].into(),
                key(
                    OauthAlgorithm::A128gcm,
                    Some(BEGIN + 5_000),
                    Some(name(REALM)),
                ),
            ),
        ]),
    }
}

fn nat_discovery() -> NatDiscovery {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let pairs = [
        ("192.0.2.1:3478", "192.0.2.2:3479"),
        ("192.0.2.2:3479", "192.0.2.1:3478"),
    ];
    NatDiscovery {
        others: pairs
            .map(|(one, other)| (address(one), address(other)))
            .into(),
        public: vec![([192, 0, 2, 2].into(), [203, 0, 113, 2].into())],
        padding: true,
        response_port: true,
    }
}

fn redirects() -> Vec<Redirect> {
    let to = |transport, target: &str, domain: Option<&str>, weight| Redirect {
        transport,
        target: target.parse().expect("an address"),
        domain: domain.map(Into::into),
        realm: None,
        weight,
    };
    vec![
        to(Transport::Udp, "192.0.2.98:3478", None, 1),
        to(Transport::Udp, "192.0.2.99:3478", None, 3),
        to(Transport::Tcp, "192.0.2.99:3478", None, 0),
        to(Transport::Tls, "192.0.2.99:5349", Some("b.example"), 2),
    ]
}

/// Services, relays and external addresses of a cluster among the peers of the scripts.
fn cluster(policy: &mut Policy) {
    let rules = &mut policy.peers;
    rules.services = ["9.9.9.2:7000", "0.0.0.0:6379"]
        .map(|service| service.parse().expect("an address"))
        .into();
    rules.relays = vec![RelayEndpoint {
        address: [9, 9, 9, 1].into(),
        ports: 7000..=7000,
    }];
    rules.external_to_local = vec![([8, 8, 4, 4].into(), [10, 0, 0, 4].into())];
    rules.allowed = vec!["9.9.9.4/32".parse().expect("a range")];
    rules.denied = vec!["9.9.9.0/29".parse().expect("a range")];
}
