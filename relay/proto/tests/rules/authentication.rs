//! Long-term and time-limited credentials (RFC 8489 §9.2).

use crate::kit::*;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::auth::rest;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{Event, RefusalReason};

fn rest_client(username: &str, secret: &str) -> Client {
    let mut client = Client::at(CLIENT, username, "");
    let password = rest::password(secret.as_bytes(), username);
    client.key = LongTermKey::derive(username, REALM, &password);
    client
}

fn rest_net(secrets: &[&str]) -> Net {
    let mut realm = realm_policy(REALM);
    realm.secrets = secrets
        .iter()
        .map(|secret| rest_secret(secret, secret))
        .collect();
    Net::with_policy(policy(vec![realm]))
}

fn last_reason(net: &mut Net) -> Option<RefusalReason> {
    net.refused().last().map(|refused| refused.reason)
}

#[test]
fn the_challenge_has_realm_and_nonce_and_nothing_else() {
    let mut net = Net::new();
    let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    let kinds: Vec<_> = answer
        .message()
        .attributes()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, [A::ERROR_CODE, A::REALM, A::NONCE]);
    assert_eq!(answer.message().integrity_kind(), None);
    assert_eq!(answer.text(A::REALM).unwrap(), REALM);
    assert!(answer.text(A::NONCE).unwrap().starts_with("obMatJos2AAAA"));
    assert_eq!(net.server.counters().challenges, 1);
    assert!(net.events.is_empty(), "a challenge is no news");
}

#[test]
fn integrity_without_username_realm_or_nonce_is_400() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let all = [
        (A::USERNAME, "alice"),
        (A::REALM, REALM),
        (A::NONCE, &alice.nonce),
    ];
    for missing in 0..3 {
        let mut request = allocate();
        for (index, (kind, value)) in all.iter().enumerate() {
            if index != missing {
                request = request.attribute(*kind, value.as_bytes());
            }
        }
        let request = request.integrity(alice.key.as_bytes()).finish();
        assert_eq!(net.ask(alice.tuple, &request).unwrap().code(), 400);
    }
}

#[test]
fn a_stale_nonce_is_438_with_a_fresh_one_that_works() {
    let mut net = Net::new();
    let mut alice = Client::alice().greet(&mut net);
    net.advance(606.0);
    let stale = alice.ask(&mut net, allocate()).unwrap();
    assert_eq!(stale.code(), 438);
    assert_eq!(stale.text(A::REALM).unwrap(), REALM);
    assert!(net.lookups.is_empty(), "a stale nonce costs no look-up");
    alice.nonce = stale.text(A::NONCE).unwrap();
    assert_eq!(alice.code(&mut net, allocate()), 0);
}

#[test]
fn a_nonce_from_another_source_is_438() {
    let mut net = Net::new();
    let mut alice = Client::alice().greet(&mut net);
    alice.tuple.client.set_port(40_001);
    assert_eq!(alice.code(&mut net, allocate()), 438);
}

#[test]
fn wrong_password_and_unknown_user_get_the_same_answer() {
    let mut net = Net::new();
    let wrong = Client::at(CLIENT, "alice", "wrong").greet(&mut net);
    let nobody = Client::at(CLIENT, "alicf", "wrong").greet(&mut net);
    let id = next_id();
    let request = || {
        let request = MessageBuilder::request(Method::Allocate, id);
        request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    };
    let first = wrong.ask(&mut net, request()).unwrap();
    let second = nobody.ask(&mut net, request()).unwrap();
    let reasons: Vec<_> = net.refused().iter().map(|row| row.reason).collect();
    assert_eq!(
        reasons,
        [RefusalReason::WrongPassword, RefusalReason::UnknownUser]
    );
    assert_eq!((first.code(), &first), (401, &second));
}

#[test]
fn another_realm_is_challenged_with_the_listeners_own() {
    let mut both = policy(vec![realm_policy(REALM), realm_policy("north.example")]);
    both.listener_realms
        .insert(addr("198.51.100.1:3479"), "north.example".parse().unwrap());
    let mut net = Net::with_policy(both);
    let mut alice = Client::alice().greet(&mut net);
    alice.realm = "north.example".into();
    alice.key = LongTermKey::derive("alice", "north.example", "secret");
    let answer = alice.ask(&mut net, allocate()).unwrap();
    assert_eq!(
        (answer.code(), answer.text(A::REALM).unwrap().as_str()),
        (401, REALM)
    );
    alice.tuple.server = addr("198.51.100.1:3479");
    let challenge = net.ask(alice.tuple, &allocate().finish()).unwrap();
    assert_eq!(challenge.text(A::REALM).unwrap(), "north.example");
}

#[test]
fn attributes_behind_the_integrity_do_not_count() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let request = ask_for(Method::Refresh)
        .attribute(A::USERNAME, b"alice")
        .attribute(A::REALM, REALM.as_bytes())
        .attribute(A::NONCE, alice.nonce.as_bytes())
        .integrity(alice.key.as_bytes())
        .number(A::LIFETIME, 0)
        .attribute(A(0x7001), b"injected")
        .finish();
    let answer = net.ask(alice.tuple, &request).unwrap();
    assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(600)));
    assert_eq!(net.server.sessions(), 1);
}

#[test]
fn of_equal_attributes_the_first_counts() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    let request = ask_for(Method::Refresh)
        .number(A::LIFETIME, 1200)
        .number(A::LIFETIME, 0);
    let answer = alice.ask(&mut net, request).unwrap();
    assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(1200)));
}

#[test]
fn unknown_attributes_are_told_after_authentication_only() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let request = allocate().attribute(A(0x7001), b"");
    assert_eq!(
        net.ask(alice.tuple, &request.clone().finish())
            .unwrap()
            .code(),
        401
    );
    assert_eq!(alice.code(&mut net, request), 420);
}

#[test]
fn sha256_integrity_is_verified_and_answered_in_kind() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let signed = || {
        allocate()
            .attribute(A::USERNAME, b"alice")
            .attribute(A::REALM, REALM.as_bytes())
            .attribute(A::NONCE, alice.nonce.as_bytes())
    };
    let wrong_sha256 = signed()
        .integrity(alice.key.as_bytes())
        .integrity_of(IntegrityKind::Sha256, b"another key")
        .finish();
    assert_eq!(
        net.ask(alice.tuple, &wrong_sha256).unwrap().code(),
        401,
        "it alone decides"
    );
    let request = signed()
        .integrity_of(IntegrityKind::Sha256, alice.key.as_bytes())
        .finish();
    let answer = net.ask(alice.tuple, &request).unwrap();
    assert_eq!(answer.code(), 0);
    assert_eq!(
        answer.message().integrity_kind(),
        Some(IntegrityKind::Sha256)
    );
    assert!(answer.message().verify_integrity(alice.key.as_bytes()));
}

#[test]
fn a_shortened_integrity_value_never_verifies() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let whole = alice.sign(allocate());
    let start = whole.len() - 20;
    for len in [0, 4, 16] {
        let mut short = whole[..start + len].to_vec();
        short[start - 1] = len as u8;
        let total = (short.len() - 20) as u16;
        short[2..4].copy_from_slice(&total.to_be_bytes());
        assert_eq!(
            net.ask(alice.tuple, &short).unwrap().code(),
            401,
            "{len} bytes"
        );
    }
}

#[test]
fn every_secret_of_the_realm_signs_time_limited_credentials() {
    let mut net = rest_net(&["old", "new"]);
    for (port, secret) in [(41_001, "old"), (41_002, "new")] {
        let mut client = rest_client(&format!("{}:carol", UNIX + 60), secret);
        client.tuple.client.set_port(port);
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0);
        let Some(Event::SessionCreated(session)) = net.events.last() else {
            panic!()
        };
        assert_eq!(&*session.user, "carol");
        assert_eq!(session.username.as_str(), client.username);
        assert_eq!(session.credential_expiry, Some(UNIX + 60));
        assert_eq!(session.secret_id.as_deref(), Some(secret));
    }
    assert!(net.lookups.is_empty());
}

#[test]
fn an_expired_time_limited_credential_is_401_but_keeps_its_session() {
    let mut net = rest_net(&["s"]);
    let mut client = rest_client(&format!("{}:carol", UNIX + 60), "s").greet(&mut net);
    assert_eq!(client.code(&mut net, allocate()), 0);
    net.advance(120.0);
    assert_eq!(client.refresh(&mut net, 600), 0);
    client.tuple.client.set_port(42_000);
    let client = client.greet(&mut net);
    assert_eq!(client.code(&mut net, allocate()), 401);
    assert_eq!(
        last_reason(&mut net),
        Some(RefusalReason::CredentialExpired)
    );
}

#[test]
fn a_credential_is_good_in_the_second_it_ends() {
    let mut net = rest_net(&["s"]);
    let client = rest_client(&UNIX.to_string(), "s").greet(&mut net);
    assert_eq!(client.code(&mut net, allocate()), 0);
}

#[test]
fn stored_users_log_in_beside_secrets_even_with_names_of_digits() {
    let mut net = rest_net(&["s"]);
    net.add_user("1001", "pin");
    for (port, name, password) in [(41_001, "alice", "secret"), (41_002, "1001", "pin")] {
        let mut client = Client::at(CLIENT, name, password);
        client.tuple.client.set_port(port);
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0, "{name}");
    }
}

#[test]
fn a_thousand_usernames_that_are_only_an_expiry_all_get_sessions_under_a_user_quota() {
    let mut realm = realm_policy(REALM);
    realm.secrets = vec![rest_secret("s", "s")];
    realm.max_sessions_per_user = Some(1);
    let mut net = Net::with_policy(policy(vec![realm]));
    for port in 10_000..11_000 {
        let mut client = rest_client(&(UNIX + 60).to_string(), "s");
        client.tuple.client.set_port(port);
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0);
        net.events.clear();
    }
    assert_eq!(net.server.sessions(), 1000);
}

#[test]
fn a_realm_that_asks_for_no_credentials_serves_everybody_and_signs_nothing() {
    let mut open = realm_policy(REALM);
    open.anonymous = true;
    let mut net = Net::with_policy(policy(vec![open]));
    let bare = |net: &mut Net, client: &str, request: MessageBuilder| {
        net.ask(tuple(client), &request.finish()).unwrap()
    };
    let answer = bare(&mut net, CLIENT, allocate());
    assert_eq!(
        (answer.code(), answer.message().integrity_kind()),
        (0, None)
    );
    let channel = ask_for(Method::ChannelBind)
        .number(A::CHANNEL_NUMBER, 0x4000 << 16)
        .xor_address(A::XOR_PEER_ADDRESS, addr(PEER));
    assert_eq!(bare(&mut net, CLIENT, channel).code(), 0);
    // Another one has the session of its own 5-tuple only.
    let elsewhere = "192.0.2.77:4000";
    let refresh = || ask_for(Method::Refresh);
    assert_eq!(bare(&mut net, elsewhere, refresh()).code(), 437);
    assert_eq!(bare(&mut net, elsewhere, allocate()).code(), 0);
    assert_eq!(net.server.sessions(), 2);
    // Credentials are not looked at.
    let signed = Client::at("192.0.2.78:4000", "alice", "wrong").sign(allocate());
    let answer = net.ask(tuple("192.0.2.78:4000"), &signed).unwrap();
    assert_eq!(
        (answer.code(), answer.message().integrity_kind()),
        (0, None)
    );
    let nothing = refresh().number(A::LIFETIME, 0);
    assert_eq!(bare(&mut net, CLIENT, nothing).code(), 0);
    assert_eq!(net.server.sessions(), 2);
}
