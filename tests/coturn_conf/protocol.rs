//! What messages look like, and which of the two protocols are spoken.

use std::net::UdpSocket;

use kit::client::{Login, fresh_id};
use kit::coturn::{Uclient, Way};
use kit::stream::StreamClient;
use kit::wait::wait_until;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method};

use crate::north::{FLAGS, NORTH, OPEN, SOON, alice, code, node};
use crate::start::Migrated;

/// What uclient makes its tokens for, and one of its keys: both are built into it.
const SERVER_NAME: &str = "blackdow.carleon.gov";
const KEYS: [(&str, &str, &str); 3] = [
    (
        "north",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEK",
        "A256GCM",
    ),
    ("union", "MTIzNDU2Nzg5MDEyMzQ1Ngo=", "A128GCM"),
    (
        "oldempire",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK",
        "A256GCM",
    ),
];

/// Whether answers to a Binding and to an Allocate without credentials have FINGERPRINT, where the requests
/// have one or not.
fn fingerprints(node: &Migrated, is_asked: bool) -> [bool; 2] {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    [Method::Binding, Method::Allocate].map(|method| {
        let request = MessageBuilder::request(method, fresh_id());
        let request = if is_asked {
            request.fingerprint()
        } else {
            request
        };
        client.send_to(&request.finish(), node.turn()).unwrap();
        let mut buffer = [0; 600];
        let len = client.recv(&mut buffer).unwrap();
        Message::parse(&buffer[..len]).unwrap().has_fingerprint()
    })
}

#[test]
fn fingerprint_is_in_all_answers_or_in_those_to_requests_that_have_one() {
    let plain = node("");
    assert_eq!(fingerprints(&plain, false), [false; 2]);
    assert_eq!(fingerprints(&plain, true), [true; 2]);
    drop(plain);
    let always = node("fingerprint");
    assert_eq!(fingerprints(&always, false), [true; 2]);
    assert_eq!(fingerprints(&always, true), [true; 2]);
    // In signed answers it stands behind the signature.
    let wish = |request: MessageBuilder| request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let answer = always
        .client(&alice())
        .request(Method::Allocate, wish)
        .unwrap();
    assert!(Message::parse(&answer).unwrap().has_fingerprint());
    drop(always);
    let short = Migrated::start(NORTH, &[FLAGS, &["-f"]].concat());
    assert_eq!(fingerprints(&short, false), [true; 2]);
}

#[test]
fn stun_only_answers_binding_and_grants_nothing() {
    for (text, flags) in [
        (
            "listening-ip=192.0.2.30\n",
            &["-S", "-c", "turnserver.conf"][..],
        ),
        ("listening-ip=192.0.2.30\nstun-only\n", FLAGS),
    ] {
        let node = Migrated::start(text, flags);
        let mut stream = StreamClient::tcp(node.turn(), alice()).unwrap();
        unanswered_before_binding(&mut stream);
        node.client(&alice()).binding().unwrap();
    }
}

/// Sends an Allocate, then a Binding: what comes first answers the Binding.
fn unanswered_before_binding(stream: &mut StreamClient) {
    let allocate = MessageBuilder::request(Method::Allocate, fresh_id());
    let allocate = allocate.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    stream.write(&allocate.finish()).unwrap();
    let binding = MessageBuilder::request(Method::Binding, fresh_id());
    stream.write(&binding.finish()).unwrap();
    let answer = stream
        .message(SOON)
        .unwrap()
        .expect("an answer to the Binding");
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(
        (answer.method(), answer.class()),
        (Method::Binding, Class::Success)
    );
}

#[test]
fn no_stun_grants_sessions_and_answers_no_binding() {
    let node = node("no-stun");
    let mut stream = StreamClient::tcp(node.turn(), alice()).unwrap();
    let binding = MessageBuilder::request(Method::Binding, fresh_id());
    stream.write(&binding.finish()).unwrap();
    let allocate = MessageBuilder::request(Method::Allocate, fresh_id());
    stream.write(&allocate.finish()).unwrap();
    let answer = stream
        .message(SOON)
        .unwrap()
        .expect("an answer to the Allocate");
    assert_eq!(Message::parse(&answer).unwrap().method(), Method::Allocate);
    stream.allocate().unwrap();
    node.client(&alice()).allocate().unwrap();
}

#[test]
fn access_tokens_are_made_for_the_server_name() {
    let with_name = |name: &str| {
        let text = format!("{NORTH}oauth\nserver-name={name}\nuser-quota=100\n");
        let node = Migrated::start(&text, OPEN);
        for (kid, key, algorithm) in KEYS {
            let file = node.file(kid);
            std::fs::write(&file, key).unwrap();
            let words = [
                "--yes",
                "oauth",
                "key",
                "add",
                kid,
                "--algorithm",
                algorithm,
                "--key-stdin",
            ];
            let added = node.ctl().run_with_input(&words, Some(&file));
            assert_eq!(added.code, 0, "{}", added.stderr);
        }
        node
    };
    let run = |node: &Migrated| {
        Uclient {
            server: node.turn(),
            login: alice(),
            way: Way::Channels,
            clients: 1,
            messages: 20,
            flags: &["-c", "-J"],
            peer: None,
        }
        .run(std::time::Duration::from_secs(60))
    };
    let named = with_name(SERVER_NAME);
    let challenge = challenge_of(&named);
    assert_eq!(challenge.as_deref(), Some(SERVER_NAME.as_bytes()));
    // A key is good within a second of being added.
    let mut totals = run(&named);
    wait_until("the keys to be good", SOON, || {
        let is_good = totals.received == 20;
        if !is_good {
            totals = run(&named);
        }
        is_good
    });
    drop(named);
    let other = with_name("turn.south.gov");
    assert_eq!(
        challenge_of(&other).as_deref(),
        Some(&b"turn.south.gov"[..])
    );
    let totals = run(&other);
    assert_eq!(totals.received, 0, "{}", totals.text);
    // Users with passwords are served beside tokens.
    other.client(&alice()).allocate().unwrap();
    assert_eq!(
        code(other.client(&Login::new("alice", "wrong")).allocate()),
        Some(401)
    );
}

/// THIRD-PARTY-AUTHORIZATION of a challenge (RFC 7635 §6.1).
fn challenge_of(node: &Migrated) -> Option<Vec<u8>> {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let request = MessageBuilder::request(Method::Allocate, fresh_id());
    let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    client.send_to(&request.finish(), node.turn()).unwrap();
    let mut buffer = [0; 1000];
    let len = client.recv(&mut buffer).unwrap();
    let answer = Message::parse(&buffer[..len]).unwrap();
    answer
        .attribute(A::THIRD_PARTY_AUTHORIZATION)
        .map(<[u8]>::to_vec)
}
