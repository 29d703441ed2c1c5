//! Third-party authorization (RFC 7635).

use std::collections::HashMap;

use crate::kit::*;
use crate::tcp_relaying::{DATA, allocate_tcp, bind, connect, connection_id, over};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use proptest::prelude::*;
use shared::{OauthAlgorithm, Secret, Transport};
use turn_proto::auth::token::{Token, TokenError};
use turn_proto::policy::{OauthKey, OauthPolicy};
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{Arrival, Command, Event, Policy, RefusalReason};

const KEY: &[u8; 32] = b"HGkj32KJGiuy098sdfaqbNjOiaz71923";
const SERVER_NAME: &str = "blackdow.carleon.gov";
const MAC_KEY: &[u8] = b"ZksjpweoixXmvn67534m";
const DELTA: u64 = 5;

fn key(algorithm: OauthAlgorithm) -> OauthKey {
    OauthKey {
        algorithm,
        key: Secret::new(*KEY),
        since: 0,
        until: None,
        realm: None,
    }
}

fn a256() -> OauthKey {
    key(OauthAlgorithm::A256gcm)
}

fn oauth(keys: &[(&str, OauthKey)]) -> Policy {
    let keys: HashMap<_, _> = keys
        .iter()
        .map(|(kid, key)| (Box::from(*kid), key.clone()))
        .collect();
    Policy {
        oauth: Some(OauthPolicy {
            server_name: Some(SERVER_NAME.into()),
            keys,
        }),
        ..policy(vec![realm_policy(REALM)])
    }
}

fn net() -> Net {
    Net::with_policy(oauth(&[("north", a256())]))
}

fn seal(algorithm: OauthAlgorithm, server_name: &str, plain: &[u8]) -> Vec<u8> {
    let (cipher, len) = match algorithm {
        OauthAlgorithm::A256gcm => (&AES_256_GCM, 32),
        OauthAlgorithm::A128gcm => (&AES_128_GCM, 16),
    };
    let cipher = LessSafeKey::new(UnboundKey::new(cipher, &KEY[..len]).unwrap());
    let nonce = *b"h4j3k2l2n4b5";
    let mut sealed = plain.to_vec();
    let aad = Aad::from(server_name.as_bytes());
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .unwrap();
    [&[0, 12][..], &nonce, &sealed].concat()
}

fn block(mac_key: &[u8], made: u64, lifetime: u32) -> Vec<u8> {
    let mut plain = (mac_key.len() as u16).to_be_bytes().to_vec();
    plain.extend(mac_key);
    plain.extend((made << 16 | 7).to_be_bytes());
    plain.extend(lifetime.to_be_bytes());
    plain
}

fn token(made: u64, lifetime: u32) -> Vec<u8> {
    seal(
        OauthAlgorithm::A256gcm,
        SERVER_NAME,
        &block(MAC_KEY, made, lifetime),
    )
}

/// A client with a token; ACCESS-TOKEN goes into Allocate and Refresh only (§9).
#[derive(Clone)]
struct Holder {
    base: Client,
    token: Vec<u8>,
    mac_key: Vec<u8>,
}

impl Holder {
    fn new(net: &mut Net, token: Vec<u8>) -> Self {
        Self {
            base: Client::at(CLIENT, "north", "").greet(net),
            token,
            mac_key: MAC_KEY.to_vec(),
        }
    }

    fn sign(&self, request: MessageBuilder) -> Vec<u8> {
        request
            .attribute(A::USERNAME, self.base.username.as_bytes())
            .attribute(A::REALM, REALM.as_bytes())
            .attribute(A::NONCE, self.base.nonce.as_bytes())
            .integrity(&self.mac_key)
            .finish()
    }

    fn with_token(&self, net: &mut Net, request: MessageBuilder) -> Answer {
        let request = request.attribute(A::ACCESS_TOKEN, &self.token);
        net.ask(self.base.tuple, &self.sign(request)).unwrap()
    }

    fn without_token(&self, net: &mut Net, request: MessageBuilder) -> Answer {
        net.ask(self.base.tuple, &self.sign(request)).unwrap()
    }

    /// The code; what is behind authorization is signed with the session key.
    fn allocate(&self, net: &mut Net) -> u16 {
        let answer = self.with_token(net, allocate());
        if !matches!(answer.code(), 401 | 420 | 438) {
            assert!(
                answer
                    .message()
                    .attribute(A::MESSAGE_INTEGRITY_SHA256)
                    .is_none()
            );
            assert!(answer.message().verify_integrity(&self.mac_key));
        }
        answer.code()
    }
}

fn last_reason(net: &mut Net) -> Option<RefusalReason> {
    net.refused().last().map(|refused| refused.reason)
}

fn granted(answer: &Answer) -> u32 {
    assert_eq!(answer.code(), 0);
    answer.message().number(A::LIFETIME).unwrap().unwrap()
}

#[test]
fn the_sample_tickets_of_rfc_7635_open() {
    let samples = [
        (
            OauthAlgorithm::A256gcm,
            "000c68346a336b326c326e346235617ef134a3d5e44e9a19cc7dc104b0c03d03\
             b2a551d8fdf5cd3b6dca6f10cfb77e5b2ddec84d293a5c50499359f0c2e26f76",
        ),
        (
            OauthAlgorithm::A128gcm,
            "000c68346a336b326c326e3462357fb9e99f0827be3df1e1bd651493d3031d36\
             df57079784aee5eacb65fad4f27fab1a3f97974b69f851b24bf5af09eda357e0",
        ),
    ];
    for (algorithm, hex) in samples {
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let opened = Token::open(&bytes, &key(algorithm), SERVER_NAME).unwrap();
        assert_eq!(opened.mac_key.as_bytes(), MAC_KEY);
        assert_eq!(opened.span.made, 92_470_300_704_768 >> 16);
        assert_eq!(opened.span.lifetime, 3600);
        let elsewhere = Token::open(&bytes, &key(algorithm), "other.gov");
        assert_eq!(
            elsewhere,
            Err(TokenError::NotAuthentic),
            "bound to its server"
        );
    }
}

#[test]
fn the_challenge_names_the_server_where_third_party_authorization_is_on_and_only_there() {
    let mut net = Net::new();
    let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    assert_eq!(answer.text(A::THIRD_PARTY_AUTHORIZATION), None);
    let mut policy = oauth(&[]);
    let mut net = Net::with_policy(oauth(&[]));
    let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    assert_eq!(answer.code(), 401);
    assert_eq!(
        answer.text(A::THIRD_PARTY_AUTHORIZATION).as_deref(),
        Some(SERVER_NAME)
    );
    policy.oauth.as_mut().unwrap().server_name = None;
    net.command(Command::SetPolicy(policy.into()));
    let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    assert_eq!(
        answer.text(A::THIRD_PARTY_AUTHORIZATION).as_deref(),
        Some(REALM)
    );
}

#[test]
fn an_unexpected_access_token_is_420() {
    let mut net = Net::new();
    let holder = Holder::new(&mut net, token(UNIX, 3600));
    let answer = holder.with_token(&mut net, allocate());
    assert_eq!(answer.code(), 420);
    let list = answer.message().attribute(A::UNKNOWN_ATTRIBUTES);
    assert_eq!(list, Some(&[0x00, 0x1b][..]));
    assert!(net.lookups.is_empty());
}

#[test]
fn a_token_opens_an_allocation_and_its_key_signs_everything() {
    let mut net = net();
    let holder = Holder::new(&mut net, token(UNIX, 3600));
    assert_eq!(holder.allocate(&mut net), 0);
    let Some(Event::SessionCreated(session)) = net.events.last() else {
        panic!()
    };
    assert_eq!((&*session.user, session.username.as_str()), ("", "north"));
    assert_eq!(session.secret_id.as_deref(), Some("oauth:north"));
    assert_eq!(session.credential_expiry, Some(UNIX + 3600));
    // Requests without the token, as the client must send them.
    let permission = ask_for(Method::CreatePermission).peer(PEER);
    let answer = holder.without_token(&mut net, permission);
    assert_eq!(answer.code(), 0);
    assert!(answer.message().verify_integrity(MAC_KEY));
    assert!(net.lookups.is_empty(), "a kid is no user");
    // A user with a password is served beside it.
    let mut alice = Client::alice();
    alice.tuple.client.set_port(41_000);
    let alice = alice.greet(&mut net);
    assert_eq!(alice.code(&mut net, allocate()), 0);
}

#[test]
fn the_first_16_bytes_of_a_20_byte_key_sign_as_coturns_client_does() {
    let mut net = net();
    let mut holder = Holder::new(&mut net, token(UNIX, 3600));
    for len in [15, 17, 19] {
        holder.mac_key = MAC_KEY[..len].to_vec();
        assert_eq!(holder.allocate(&mut net), 401, "{len}");
    }
    holder.mac_key = MAC_KEY[..16].to_vec();
    assert_eq!(holder.allocate(&mut net), 0);
    let long = vec![7; 32];
    let plain = block(&long, UNIX, 3600);
    holder.token = seal(OauthAlgorithm::A256gcm, SERVER_NAME, &plain);
    holder.mac_key = long[..16].to_vec();
    assert_eq!(holder.allocate(&mut net), 401, "of no other key");
}

#[test]
fn a_token_for_another_server_key_or_kid_or_a_wrong_signature_is_401() {
    let plain = block(MAC_KEY, UNIX, 3600);
    let good = token(UNIX, 3600);
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    let cases = [
        (seal(OauthAlgorithm::A256gcm, "other.gov", &plain), "north"),
        (seal(OauthAlgorithm::A128gcm, SERVER_NAME, &plain), "north"),
        (flipped, "north"),
        (good.clone(), "south"),
        (Vec::new(), "north"),
    ];
    let mut net = net();
    for (token, kid) in cases {
        let mut holder = Holder::new(&mut net, token);
        holder.base.username = kid.into();
        assert_eq!(holder.allocate(&mut net), 401, "{kid}");
        assert_eq!(last_reason(&mut net), Some(RefusalReason::TokenRefused));
    }
    let mut holder = Holder::new(&mut net, good);
    holder.mac_key = b"another session key!".to_vec();
    assert_eq!(holder.allocate(&mut net), 401);
    assert_eq!(last_reason(&mut net), Some(RefusalReason::WrongPassword));
}

#[test]
fn a_token_is_good_for_its_lifetime_and_five_seconds_around_its_timestamp() {
    for (made, good) in [
        (UNIX, true),
        (UNIX - 60 - DELTA + 1, true),
        (UNIX - 60 - DELTA, false),
        (UNIX + 60 + DELTA - 1, true),
        (UNIX + 60 + DELTA, false),
    ] {
        let mut net = net();
        let holder = Holder::new(&mut net, token(made, 60));
        let code = holder.allocate(&mut net);
        assert_eq!(code, if good { 0 } else { 401 }, "{made}");
        if !good {
            assert_eq!(last_reason(&mut net), Some(RefusalReason::TokenExpired));
        }
    }
}

#[test]
fn no_lifetime_is_longer_than_what_is_left_of_the_token() {
    let mut net = net();
    let holder = Holder::new(&mut net, token(UNIX - 10, 100));
    let answer = holder.with_token(&mut net, allocate().number(A::LIFETIME, 1800));
    assert_eq!(granted(&answer), 95);
    net.advance(30.0);
    let refresh = || ask_for(Method::Refresh).number(A::LIFETIME, 600);
    assert_eq!(granted(&holder.without_token(&mut net, refresh())), 65);
    assert_eq!(granted(&holder.with_token(&mut net, refresh())), 65);
    // A new token, with a session key of its own, keeps the allocation.
    let mut later = holder.clone();
    later.mac_key = b"the second session key".to_vec();
    let plain = block(&later.mac_key, net.now.unix, 3600);
    later.token = seal(OauthAlgorithm::A256gcm, SERVER_NAME, &plain);
    let answer = later.with_token(&mut net, refresh());
    assert_eq!(granted(&answer), 600);
    assert!(answer.message().verify_integrity(&later.mac_key));
    net.advance(300.0);
    assert_eq!(granted(&later.without_token(&mut net, refresh())), 600);
    assert_eq!(holder.without_token(&mut net, refresh()).code(), 401);
}

/// A server with two keys for the realm, one for another, and mobility.
fn net_of_three_keys() -> Net {
    let elsewhere = OauthKey {
        realm: Some("north.gov".parse().unwrap()),
        ..a256()
    };
    let mut policy = oauth(&[
        ("north", a256()),
        ("union", a256()),
        ("elsewhere", elsewhere),
    ]);
    policy.settings.mobility = true;
    Net::with_policy(policy)
}

/// The same client with a token that another key sealed, and another session key.
fn with_key_of(holder: &Holder, kid: &str, mac_key: &[u8]) -> Holder {
    let mut other = holder.clone();
    other.base.username = kid.into();
    other.mac_key = mac_key.to_vec();
    other.token = seal(
        OauthAlgorithm::A256gcm,
        SERVER_NAME,
        &block(mac_key, UNIX, 3600),
    );
    other
}

#[test]
fn a_session_goes_on_with_a_token_of_another_key_of_its_realm() {
    let mut net = net_of_three_keys();
    let holder = Holder::new(&mut net, token(UNIX, 3600));
    assert_eq!(holder.allocate(&mut net), 0);
    let refresh = || ask_for(Method::Refresh).number(A::LIFETIME, 600);
    let later = with_key_of(&holder, "union", b"the second session key");
    let answer = later.with_token(&mut net, refresh());
    assert_eq!(granted(&answer), 600);
    assert!(
        answer.message().verify_integrity(&later.mac_key),
        "an answer is signed with the key of its request"
    );
    let Some(Event::SessionChanged(session)) = net.events.last() else {
        panic!()
    };
    assert_eq!(session.username.as_str(), "union");
    assert_eq!(session.secret_id.as_deref(), Some("oauth:union"));
    let permission = || ask_for(Method::CreatePermission).peer(PEER);
    let answer = later.without_token(&mut net, permission());
    assert_eq!(answer.code(), 0);
    assert!(answer.message().verify_integrity(&later.mac_key));
    // The key before is no longer the session's; a token of another realm's key never was.
    assert_eq!(holder.without_token(&mut net, permission()).code(), 401);
    let stranger = with_key_of(&holder, "elsewhere", b"a key of another realm");
    assert_eq!(stranger.with_token(&mut net, refresh()).code(), 401);
    assert_eq!(stranger.without_token(&mut net, refresh()).code(), 401);
    assert_eq!(net.server.sessions(), 1);
}

#[test]
fn passwords_and_tokens_do_not_share_a_session_whatever_the_names_are() {
    let mut net = net_of_three_keys();
    net.add_user("north", "secret");
    let holder = Holder::new(&mut net, token(UNIX, 3600));
    let user = Client::at(CLIENT, "north", "secret").greet(&mut net);
    let release = || ask_for(Method::Refresh).number(A::LIFETIME, 0);
    assert_eq!(holder.allocate(&mut net), 0);
    assert_eq!(user.code(&mut net, release()), 441);
    assert_eq!(holder.without_token(&mut net, release()).code(), 0);
    assert_eq!(user.code(&mut net, allocate()), 0);
    assert_eq!(holder.with_token(&mut net, release()).code(), 441);
    assert_eq!(user.code(&mut net, release()), 0);
}

#[test]
fn a_ticket_that_somebody_else_read_moves_no_session_with_a_token() {
    let mut net = net_of_three_keys();
    let holder = Holder::new(&mut net, token(UNIX, 3600));
    let mobile = allocate().attribute(A::MOBILITY_TICKET, b"");
    let answer = holder.with_token(&mut net, mobile);
    let ticket = answer.message().attribute(A::MOBILITY_TICKET).unwrap();
    let with_ticket = || ask_for(Method::Refresh).attribute(A::MOBILITY_TICKET, ticket);
    let mut moved = holder.clone();
    moved.base.tuple.client = addr("203.0.113.77:5000");
    moved.base = moved.base.greet(&mut net);
    for kid in ["north", "union"] {
        let thief = with_key_of(&moved, kid, b"the key of a thief's token");
        assert_eq!(
            thief.with_token(&mut net, with_ticket()).code(),
            441,
            "{kid}"
        );
    }
    assert_eq!(moved.with_token(&mut net, with_ticket()).code(), 0);
}

#[test]
fn a_connection_id_that_somebody_else_read_joins_nothing_with_a_token() {
    let mut net = net_of_three_keys();
    let mut policy = oauth(&[("north", a256()), ("union", a256())]);
    policy.settings.tcp_relay.enabled = true;
    net.command(Command::SetPolicy(policy.into()));
    let by_tcp = |net: &mut Net, address: &str| {
        let tuple = over(Transport::Tcp, address);
        net.server
            .handle_connected(net.now, tuple, &Arrival::default());
        let mut holder = Holder::new(net, token(UNIX, 3600));
        holder.base.tuple = tuple;
        holder.base = holder.base.greet(net);
        holder
    };
    let control = by_tcp(&mut net, CLIENT);
    assert_eq!(control.with_token(&mut net, allocate_tcp()).code(), 0);
    let request = control.sign(connect(PEER));
    assert_eq!(net.ask(control.base.tuple, &request), None);
    let (_, link, _) = *net.connects.last().unwrap();
    net.server.handle_peer_connected(net.now, link, 0x9e37_79b9);
    net.drain();
    let id = connection_id(&net.sent.last().unwrap().1);
    let data = by_tcp(&mut net, DATA);
    let thief = with_key_of(&data, "union", b"the key of a thief's token");
    assert_eq!(thief.with_token(&mut net, bind(id)).code(), 400);
    assert_eq!(thief.without_token(&mut net, bind(id)).code(), 401);
    assert_eq!(data.without_token(&mut net, bind(id)).code(), 0);
}

#[test]
fn a_session_ends_with_its_token() {
    let mut net = net();
    let holder = Holder::new(&mut net, token(UNIX, 60));
    assert_eq!(holder.allocate(&mut net), 0);
    net.advance(64.0);
    assert_eq!(net.server.sessions(), 1);
    net.advance(2.0);
    assert_eq!(net.server.sessions(), 0);
}

#[test]
fn a_key_is_good_in_its_time_and_realm_only() {
    for (change, good) in [
        (
            OauthKey {
                since: UNIX,
                until: Some(UNIX + 1),
                ..a256()
            },
            true,
        ),
        (
            OauthKey {
                since: UNIX + 1,
                ..a256()
            },
            false,
        ),
        (
            OauthKey {
                until: Some(UNIX),
                ..a256()
            },
            false,
        ),
        (
            OauthKey {
                realm: Some(REALM.parse().unwrap()),
                ..a256()
            },
            true,
        ),
        (
            OauthKey {
                realm: Some("north.gov".parse().unwrap()),
                ..a256()
            },
            false,
        ),
    ] {
        let mut net = Net::with_policy(oauth(&[("north", change)]));
        let holder = Holder::new(&mut net, token(UNIX, 3600));
        assert_eq!(holder.allocate(&mut net), if good { 0 } else { 401 });
    }
}

#[test]
fn clients_of_one_kid_are_not_one_user() {
    let mut realm = realm_policy(REALM);
    realm.max_sessions_per_user = Some(1);
    let policy = Policy {
        oauth: oauth(&[("north", a256())]).oauth,
        ..policy(vec![realm])
    };
    let mut net = Net::with_policy(policy);
    for port in 41_000..41_005 {
        let mut holder = Holder::new(&mut net, token(UNIX, 3600));
        holder.base.tuple.client.set_port(port);
        holder.base = holder.base.greet(&mut net);
        assert_eq!(holder.allocate(&mut net), 0);
    }
}

#[test]
fn lengths_are_checked_before_anything_is_decrypted_or_copied() {
    // CVE-2026-43994: a nonce length of 16 bits, copied into 256 bytes.
    let good = token(UNIX, 3600);
    for len in [0_u16, 1, 11, 13, 16, 255, 256, 735, 0xffff] {
        let mut bad = good.clone();
        bad[..2].copy_from_slice(&len.to_be_bytes());
        // What is behind it would decrypt, or is too long for any block.
        for size in [good.len(), 1000] {
            bad.resize(size, 0x41);
            assert_eq!(
                Token::open(&bad, &a256(), SERVER_NAME),
                Err(TokenError::Malformed),
                "{len} in {size}"
            );
        }
    }
    for cut in 0..good.len() {
        assert!(
            Token::open(&good[..cut], &a256(), SERVER_NAME).is_err(),
            "{cut}"
        );
    }
    // Authentic blocks whose own lengths lie.
    let open = |plain: &[u8]| {
        let sealed = seal(OauthAlgorithm::A256gcm, SERVER_NAME, plain);
        Token::open(&sealed, &a256(), SERVER_NAME)
    };
    for len in [0, 4, 15, 65, 100] {
        let plain = block(&vec![7; len], UNIX, 60);
        assert_eq!(open(&plain), Err(TokenError::Malformed), "{len}");
    }
    for len in [16, 20, 32, 64] {
        let mac_key = vec![7; len];
        let token = open(&block(&mac_key, UNIX, 60)).unwrap();
        assert_eq!(token.mac_key.as_bytes(), mac_key);
    }
    let mut lying = block(MAC_KEY, UNIX, 60);
    for len in [0, 19, 21, 32, 33, 0xffff] {
        lying[..2].copy_from_slice(&u16::to_be_bytes(len));
        assert_eq!(open(&lying), Err(TokenError::Malformed), "{len}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_token_parser_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        nonce_is_right in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if nonce_is_right && bytes.len() > 1 {
            bytes[..2].copy_from_slice(&[0, 12]);
        }
        prop_assert!(Token::open(&bytes, &a256(), SERVER_NAME).is_err());
    }

    #[test]
    fn no_authentic_block_makes_it_panic_and_what_is_read_is_what_was_written(
        plain in proptest::collection::vec(any::<u8>(), 0..100),
        mac_key in proptest::collection::vec(any::<u8>(), 16..=64),
        made in 0..1_u64 << 48,
        lifetime in any::<u32>(),
    ) {
        let sealed = seal(OauthAlgorithm::A256gcm, SERVER_NAME, &plain);
        let _ = Token::open(&sealed, &a256(), SERVER_NAME);
        let plain = block(&mac_key, made, lifetime);
        let sealed = seal(OauthAlgorithm::A256gcm, SERVER_NAME, &plain);
        let token = Token::open(&sealed, &a256(), SERVER_NAME).unwrap();
        prop_assert_eq!(token.mac_key.as_bytes(), &mac_key[..]);
        prop_assert_eq!((token.span.made, token.span.lifetime), (made, lifetime));
    }

    #[test]
    fn one_flipped_bit_anywhere_in_a_token_is_noticed(bit in 0..64 * 8_usize) {
        let mut bytes = token(UNIX, 3600);
        prop_assert_eq!(bytes.len(), 64);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Token::open(&bytes, &a256(), SERVER_NAME).is_err());
    }
}
