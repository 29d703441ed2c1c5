//! PASSWORD-ALGORITHMS, MESSAGE-INTEGRITY-SHA256 and USERHASH (RFC 8489 §9.2, §14.4 to §14.12).

use crate::kit::*;
use shared::PasswordAlgorithm::{self, Md5, Sha256};
use turn_proto::auth::credential::{
    CredentialAnswer, IntegrityKey, LongTermKey, UserCredential, UserhashAnswer, userhash,
};
use turn_proto::auth::rest;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method, password_algorithm};
use turn_proto::{Command, RealmPolicy, RefusalReason};

const BOTH: [PasswordAlgorithm; 2] = [Sha256, Md5];

fn offering(algorithms: &[PasswordAlgorithm]) -> RealmPolicy {
    RealmPolicy {
        password_algorithms: algorithms.to_vec(),
        ..realm_policy(REALM)
    }
}

fn net(algorithms: &[PasswordAlgorithm]) -> Net {
    Net::with_policy(policy(vec![offering(algorithms)]))
}

fn anonymous() -> Net {
    let realm = RealmPolicy {
        username_anonymity: true,
        ..offering(&BOTH)
    };
    Net::with_policy(policy(vec![realm]))
}

/// A client of RFC 8489 and all that it puts into a request.
#[derive(Clone)]
struct Modern {
    base: Client,
    chosen: Option<PasswordAlgorithm>,
    list: Option<Vec<u8>>,
    key: IntegrityKey,
    by_hash: bool,
    sha1_too: bool,
}

impl Modern {
    fn new(net: &mut Net, chosen: PasswordAlgorithm, name: &str, password: &str) -> Self {
        let base = Client::at(CLIENT, name, password);
        let challenge = net.ask(base.tuple, &allocate().finish()).unwrap();
        assert_eq!(challenge.code(), 401);
        let list = challenge.message().attribute(A::PASSWORD_ALGORITHMS);
        Self {
            chosen: Some(chosen),
            list: list.map(<[u8]>::to_vec),
            key: IntegrityKey::derive(chosen, name, REALM, password),
            by_hash: false,
            sha1_too: false,
            base: Client {
                nonce: challenge.text(A::NONCE).unwrap(),
                ..base
            },
        }
    }

    fn alice(net: &mut Net) -> Self {
        Self::new(net, Sha256, "alice", "secret")
    }

    fn sign(&self, request: MessageBuilder) -> Vec<u8> {
        let mut request = if self.by_hash {
            let hash = userhash(&self.base.username, REALM);
            request.attribute(A::USERHASH, &hash)
        } else {
            request.attribute(A::USERNAME, self.base.username.as_bytes())
        }
        .attribute(A::REALM, REALM.as_bytes())
        .attribute(A::NONCE, self.base.nonce.as_bytes());
        if let Some(list) = &self.list {
            request = request.attribute(A::PASSWORD_ALGORITHMS, list);
        }
        if let Some(one) = self.chosen {
            request = request.attribute(A::PASSWORD_ALGORITHM, &password_algorithm::entry(one));
        }
        if self.sha1_too {
            request = request.integrity(self.key.as_bytes());
        }
        request
            .integrity_of(IntegrityKind::Sha256, self.key.as_bytes())
            .finish()
    }

    fn ask(&self, net: &mut Net, request: MessageBuilder) -> Answer {
        net.ask(self.base.tuple, &self.sign(request)).unwrap()
    }

    /// The code; whatever is behind authentication carries MESSAGE-INTEGRITY-SHA256 alone.
    fn code(&self, net: &mut Net, request: MessageBuilder) -> u16 {
        let answer = self.ask(net, request);
        let message = answer.message();
        if !matches!(answer.code(), 400 | 401 | 438) {
            assert_eq!(message.integrity_kind(), Some(IntegrityKind::Sha256));
            assert_eq!(message.attribute(A::MESSAGE_INTEGRITY), None);
            assert!(message.verify_integrity(self.key.as_bytes()));
        }
        answer.code()
    }
}

fn last_reason(net: &mut Net) -> Option<RefusalReason> {
    net.refused().last().map(|refused| refused.reason)
}

#[test]
fn the_challenge_lists_the_algorithms_in_order_and_its_nonce_says_so() {
    for (algorithms, features, list) in [
        (&[][..], "AAAA", None),
        (&[Sha256, Md5], "gAAA", Some(&[0, 2, 0, 0, 0, 1, 0, 0][..])),
        (&[Md5], "gAAA", Some(&[0, 1, 0, 0])),
    ] {
        let mut net = net(algorithms);
        let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
        assert_eq!(answer.message().attribute(A::PASSWORD_ALGORITHMS), list);
        assert_eq!(
            &answer.text(A::NONCE).unwrap()[..13],
            &format!("obMatJos2{features}")
        );
    }
    let mut net = anonymous();
    let answer = net.ask(tuple(CLIENT), &allocate().finish()).unwrap();
    assert!(answer.text(A::NONCE).unwrap().starts_with("obMatJos2wAAA"));
}

#[test]
fn a_sha256_key_opens_an_allocation_and_every_answer_carries_sha256_only() {
    let mut net = net(&BOTH);
    let alice = Modern::alice(&mut net);
    assert_eq!(alice.code(&mut net, allocate()), 0);
    assert_eq!(alice.code(&mut net, ask_for(Method::Refresh)), 0);
    let nobody = ask_for(Method::ChannelBind).number(A::CHANNEL_NUMBER, 1 << 16);
    assert_eq!(alice.ask(&mut net, nobody).code(), 400);
    // An error behind authentication, too (§6.3.1.1).
    assert_eq!(alice.code(&mut net, allocate()), 437);
    assert_eq!(
        alice.code(&mut net, allocate().attribute(A(0x7001), b"")),
        420
    );
}

#[test]
fn the_md5_key_may_be_chosen_with_sha256_integrity() {
    for algorithms in [&BOTH[..], &[Md5]] {
        let mut net = net(algorithms);
        let alice = Modern::new(&mut net, Md5, "alice", "secret");
        assert_eq!(alice.code(&mut net, allocate()), 0);
    }
}

#[test]
fn a_client_that_knows_md5_only_is_served_and_answered_with_message_integrity() {
    let mut net = net(&BOTH);
    let alice = Client::alice().greet(&mut net);
    let answer = alice.ask(&mut net, allocate()).unwrap();
    assert_eq!(answer.code(), 0);
    let kind = answer.message().integrity_kind();
    assert_eq!(kind, Some(IntegrityKind::Sha1));
}

#[test]
fn where_both_integrity_attributes_are_present_sha256_alone_decides() {
    let mut net = net(&BOTH);
    let mut alice = Modern::alice(&mut net);
    // As libjuice sends it: both under the SHA-256 key.
    alice.sha1_too = true;
    assert_eq!(alice.code(&mut net, allocate()), 0);
    let wrong_sha1 = |key: &[u8]| {
        ask_for(Method::Refresh)
            .attribute(A::USERNAME, b"alice")
            .attribute(A::REALM, REALM.as_bytes())
            .attribute(A::NONCE, alice.base.nonce.as_bytes())
            .attribute(A::PASSWORD_ALGORITHMS, alice.list.as_ref().unwrap())
            .attribute(A::PASSWORD_ALGORITHM, &password_algorithm::entry(Sha256))
            .integrity(if key.is_empty() {
                b"wrong"
            } else {
                alice.key.as_bytes()
            })
            .integrity_of(
                IntegrityKind::Sha256,
                if key.is_empty() {
                    alice.key.as_bytes()
                } else {
                    key
                },
            )
            .finish()
    };
    assert_eq!(
        net.ask(alice.base.tuple, &wrong_sha1(b"")).unwrap().code(),
        0
    );
    let wrong_sha256 = wrong_sha1(b"wrong");
    assert_eq!(
        net.ask(alice.base.tuple, &wrong_sha256).unwrap().code(),
        401
    );
}

#[test]
fn a_shortened_sha256_value_never_verifies() {
    // §14.6: 32 bytes unless the usage allows less, and RFC 8656 does not.
    let mut net = net(&BOTH);
    let alice = Modern::alice(&mut net);
    let whole = alice.sign(allocate());
    let start = whole.len() - 32;
    for len in [0, 4, 12, 16, 20, 24, 28] {
        let mut short = whole[..start + len].to_vec();
        short[start - 1] = len as u8;
        let total = (short.len() - 20) as u16;
        short[2..4].copy_from_slice(&total.to_be_bytes());
        assert_eq!(
            net.ask(alice.base.tuple, &short).unwrap().code(),
            401,
            "{len}"
        );
    }
}

#[test]
fn a_list_that_is_not_the_one_sent_or_half_of_the_pair_is_400() {
    let mut net = net(&BOTH);
    let good = Modern::alice(&mut net);
    let list = |list: &[u8]| Modern {
        list: Some(list.to_vec()),
        ..good.clone()
    };
    let md5_only = |list: &[u8]| Modern {
        chosen: Some(Md5),
        key: IntegrityKey::derive(Md5, "alice", REALM, "secret"),
        list: Some(list.to_vec()),
        ..good.clone()
    };
    let none = Modern {
        list: None,
        ..good.clone()
    };
    let no_choice = Modern {
        chosen: None,
        ..good.clone()
    };
    let cases = [
        none,
        no_choice,
        // What an attacker on the path would leave of it.
        md5_only(&[0, 1, 0, 0]),
        md5_only(&[]),
        list(&[0, 1, 0, 0, 0, 2, 0, 0]),
        list(&[0, 2, 0, 0]),
        list(&[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]),
    ];
    for bad in cases {
        assert_eq!(
            bad.code(&mut net, allocate()),
            400,
            "{:?} {:?}",
            bad.list,
            bad.chosen
        );
        let reason = last_reason(&mut net);
        assert_eq!(reason, Some(RefusalReason::PasswordAlgorithmMismatch));
    }
    assert!(net.lookups.is_empty(), "nobody was looked up for it");
    assert_eq!(good.code(&mut net, allocate()), 0);
}

#[test]
fn an_algorithm_outside_the_list_is_400() {
    let mut net = net(&[Md5]);
    let mut alice = Modern::alice(&mut net);
    assert_eq!(alice.code(&mut net, allocate()), 400);
    alice.chosen = None;
    for value in [
        &[0, 3, 0, 0][..],
        &[0, 1, 0, 4],
        &[0, 1],
        &[0, 1, 0, 0, 0, 1, 0, 0],
        &[],
    ] {
        let request = allocate().attribute(A::PASSWORD_ALGORITHM, value);
        assert_eq!(alice.code(&mut net, request), 400, "{value:?}");
    }
}

#[test]
fn algorithms_that_were_not_offered_are_400() {
    let mut net = net(&[]);
    let mut alice = Modern::alice(&mut net);
    assert_eq!(alice.code(&mut net, allocate()), 400);
    alice.list = Some(password_algorithm::list(&BOTH));
    assert_eq!(alice.code(&mut net, allocate()), 400);
}

#[test]
fn features_written_into_a_nonce_or_taken_out_of_it_make_it_stale() {
    let mut offering = net(&BOTH);
    let mut alice = Client::alice().greet(&mut offering);
    alice.nonce.replace_range(9..13, "AAAA");
    assert_eq!(alice.code(&mut offering, allocate()), 438, "bid-down");
    let mut silent = net(&[]);
    let mut alice = Modern::alice(&mut silent);
    alice.base.nonce.replace_range(9..13, "gAAA");
    alice.list = Some(password_algorithm::list(&BOTH));
    assert_eq!(alice.code(&mut silent, allocate()), 438);
}

#[test]
fn a_changed_offer_makes_nonces_stale_and_the_next_one_works() {
    let mut net = net(&[Md5]);
    let mut alice = Modern::new(&mut net, Md5, "alice", "secret");
    net.command(Command::SetPolicy(policy(vec![offering(&BOTH)]).into()));
    let stale = alice.ask(&mut net, allocate());
    assert_eq!(stale.code(), 438);
    alice.base.nonce = stale.text(A::NONCE).unwrap();
    let list = stale.message().attribute(A::PASSWORD_ALGORITHMS);
    alice.list = list.map(<[u8]>::to_vec);
    assert_eq!(alice.code(&mut net, allocate()), 0);
}

#[test]
fn every_401_and_438_includes_the_list_and_no_name() {
    let mut net = net(&BOTH);
    let alice = Modern::alice(&mut net);
    let wrong = Modern::new(&mut net, Sha256, "alice", "wrong");
    let nobody = Modern::new(&mut net, Sha256, "nobody", "wrong");
    let mut answers = vec![
        wrong.ask(&mut net, allocate()),
        nobody.ask(&mut net, allocate()),
    ];
    net.advance(606.0);
    answers.push(alice.ask(&mut net, allocate()));
    let codes: Vec<_> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes, [401, 401, 438]);
    for answer in answers {
        let kinds: Vec<_> = answer
            .message()
            .attributes()
            .map(|(kind, _)| kind)
            .collect();
        assert_eq!(
            kinds,
            [A::ERROR_CODE, A::REALM, A::NONCE, A::PASSWORD_ALGORITHMS]
        );
        let list = answer.message().attribute(A::PASSWORD_ALGORITHMS);
        assert_eq!(list, Some(&password_algorithm::list(&BOTH)[..]));
    }
}

#[test]
fn a_user_with_coturns_key_only_gets_in_with_md5_and_not_with_sha256() {
    let mut net = net(&BOTH);
    let old = UserCredential {
        key: LongTermKey::derive("alice", REALM, "secret"),
        key_id: 0,
        sha256: None,
        max_sessions: None,
        max_rate_bps: None,
    };
    net.users
        .insert("alice".into(), CredentialAnswer::Known(old));
    assert_eq!(Modern::alice(&mut net).code(&mut net, allocate()), 401);
    assert_eq!(last_reason(&mut net), Some(RefusalReason::NoSuchKey));
    let modern = Modern::new(&mut net, Md5, "alice", "secret");
    assert_eq!(modern.code(&mut net, allocate()), 0);
    let mut legacy = Client::alice();
    legacy.tuple.client.set_port(41_000);
    let legacy = legacy.greet(&mut net);
    assert_eq!(legacy.code(&mut net, allocate()), 0);
}

#[test]
fn time_limited_credentials_work_with_either_key() {
    let realm = RealmPolicy {
        secrets: vec![rest_secret("s", "s")],
        ..offering(&BOTH)
    };
    let mut net = Net::with_policy(policy(vec![realm]));
    let name = format!("{}:carol", UNIX + 60);
    let password = rest::password(b"s", &name);
    for (port, algorithm) in [(41_001, Sha256), (41_002, Md5)] {
        let mut carol = Modern::new(&mut net, algorithm, &name, &password);
        carol.base.tuple.client.set_port(port);
        let challenge = net.ask(carol.base.tuple, &allocate().finish()).unwrap();
        carol.base.nonce = challenge.text(A::NONCE).unwrap();
        assert_eq!(carol.code(&mut net, allocate()), 0);
    }
}

#[test]
fn a_userhash_is_looked_up_once_and_stands_for_its_name() {
    let mut net = anonymous();
    let mut alice = Modern::alice(&mut net);
    alice.by_hash = true;
    assert_eq!(alice.code(&mut net, allocate()), 0);
    assert_eq!(
        net.lookups.len(),
        2,
        "the hash, then its user: {:?}",
        net.lookups
    );
    assert_eq!(net.lookups[1], "alice");
    assert_eq!(alice.code(&mut net, ask_for(Method::Refresh)), 0);
    let mut other = alice.clone();
    other.base.tuple.client.set_port(41_000);
    let challenge = net.ask(other.base.tuple, &allocate().finish()).unwrap();
    other.base.nonce = challenge.text(A::NONCE).unwrap();
    assert_eq!(other.code(&mut net, allocate()), 0);
    assert_eq!(net.lookups.len(), 2);
    // The name itself is as good, and names the same owner.
    alice.by_hash = false;
    assert_eq!(alice.code(&mut net, ask_for(Method::Refresh)), 0);
}

#[test]
fn a_session_keeps_its_userhash_when_its_user_is_forgotten() {
    let mut net = anonymous();
    let mut alice = Modern::alice(&mut net);
    alice.by_hash = true;
    assert_eq!(alice.code(&mut net, allocate()), 0);
    net.users.clear();
    net.command(Command::ForgetCredentials {
        realm: None,
        username: None,
    });
    assert_eq!(alice.code(&mut net, ask_for(Method::Refresh)), 0);
    assert_eq!(net.lookups.len(), 2);
}

#[test]
fn a_userhash_of_nobody_gets_the_answer_of_a_wrong_password() {
    let mut net = anonymous();
    let mut wrong = Modern::new(&mut net, Sha256, "alice", "wrong");
    let mut nobody = Modern::new(&mut net, Sha256, "nobody", "wrong");
    (wrong.by_hash, nobody.by_hash) = (true, true);
    let id = next_id();
    let request = || {
        let request = MessageBuilder::request(Method::Allocate, id);
        request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    };
    let answers = (
        wrong.ask(&mut net, request()),
        nobody.ask(&mut net, request()),
    );
    assert_eq!((answers.0.code(), &answers.0), (401, &answers.1));
    for _ in 0..3 {
        assert_eq!(nobody.ask(&mut net, allocate()).code(), 401);
    }
    let asked = net.lookups.iter().filter(|name| name.starts_with('#'));
    assert_eq!(
        asked.count(),
        2,
        "an unknown hash is not asked for again at once"
    );
}

#[test]
fn a_userhash_of_another_length_or_a_store_that_is_away_is_no_surprise() {
    let mut net = anonymous();
    let alice = Modern::alice(&mut net);
    let hash = userhash("alice", REALM);
    for value in [&hash[..31], &[], &[7; 33]] {
        let request = allocate()
            .attribute(A::USERHASH, value)
            .attribute(A::REALM, REALM.as_bytes())
            .attribute(A::NONCE, alice.base.nonce.as_bytes())
            .integrity(alice.key.as_bytes())
            .finish();
        assert_eq!(net.ask(alice.base.tuple, &request).unwrap().code(), 401);
    }
    net.answer_lookups = false;
    let request = Modern {
        by_hash: true,
        ..alice.clone()
    }
    .sign(allocate());
    assert_eq!(net.ask(alice.base.tuple, &request), None);
    let before = net.sent.len();
    net.command(Command::Userhash {
        realm: REALM.parse().unwrap(),
        hash,
        answer: UserhashAnswer::Unavailable,
    });
    assert_eq!(Answer(net.sent[before].1.clone()).code(), 500);
}

#[test]
fn without_the_anonymity_bit_a_userhash_is_no_name() {
    for mut net in [net(&BOTH), {
        // Time-limited names are in no index: the bit is not set where there are secrets.
        let realm = RealmPolicy {
            username_anonymity: true,
            secrets: vec![rest_secret("s", "s")],
            ..offering(&BOTH)
        };
        Net::with_policy(policy(vec![realm]))
    }] {
        let mut alice = Modern::alice(&mut net);
        assert!(alice.base.nonce.starts_with("obMatJos2gAAA"));
        alice.by_hash = true;
        assert_eq!(alice.code(&mut net, allocate()), 400);
    }
}

#[test]
fn names_and_nonces_as_long_as_older_clients_send_them_are_parsed() {
    // §14.3, §14.9, §14.10: 763 bytes.
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    let long = "x".repeat(763);
    let cases = [
        (long.as_str(), REALM, alice.nonce.as_str(), 401),
        ("alice", long.as_str(), alice.nonce.as_str(), 401),
        ("alice", REALM, long.as_str(), 438),
        (&long[..508], REALM, alice.nonce.as_str(), 401),
    ];
    for (name, realm, nonce, code) in cases {
        let request = allocate()
            .attribute(A::USERNAME, name.as_bytes())
            .attribute(A::REALM, realm.as_bytes())
            .attribute(A::NONCE, nonce.as_bytes())
            .integrity(alice.key.as_bytes())
            .finish();
        assert_eq!(net.ask(alice.tuple, &request).unwrap().code(), code);
    }
}

#[test]
fn every_error_behind_authentication_is_signed() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    // `code` checks the signature of each.
    assert_eq!(alice.code(&mut net, ask_for(Method::Refresh)), 437);
    assert_eq!(alice.code(&mut net, ask_for(Method::Allocate)), 400);
    assert_eq!(
        alice.code(&mut net, allocate().attribute(A(0x7001), b"")),
        420
    );
    let tcp = ask_for(Method::Allocate).attribute(A::REQUESTED_TRANSPORT, &[99, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, tcp), 442);
    let nine = allocate().attribute(A::REQUESTED_ADDRESS_FAMILY, &[9, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, nine), 440);
    assert_eq!(alice.code(&mut net, allocate()), 0);
    assert_eq!(alice.permit(&mut net, "127.0.0.1:1"), 403);
    assert_eq!(alice.permit(&mut net, PEER_V6), 443);
    let bob = Client {
        tuple: alice.tuple,
        ..Client::at(CLIENT, "bob", "hunter2").greet(&mut net)
    };
    assert_eq!(bob.refresh(&mut net, 600), 441);
}
