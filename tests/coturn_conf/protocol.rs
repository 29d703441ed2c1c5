//! What messages look like, and which of the two protocols are spoken.

use std::net::UdpSocket;

use kit::client::fresh_id;
use kit::oauth::{KEYS, Token};
use kit::stream::StreamClient;
use kit::wait::wait_until;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method};

use crate::north::{FLAGS, NORTH, SOON, alice, node};
use crate::start::Migrated;

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
    const NAMES: [&str; 2] = ["turn.north.gov", "turn.south.gov"];
    for name in NAMES {
        let text = format!("{NORTH}oauth\nserver-name={name}\n");
        let node = Migrated::start(&text, FLAGS);
        let (kid, key, algorithm) = KEYS[0];
        let file = node.file("key");
        std::fs::write(&file, key).unwrap();
        let add = ["--yes", "oauth", "key", "add", kid, "--key-stdin"];
        let add = [&add[..], &["--algorithm", algorithm.as_str()]].concat();
        let added = node.ctl().run_with_input(&add, Some(&file));
        assert_eq!(added.code, 0, "{}", added.stderr);
        let [good, bad] = {
            let other = NAMES.into_iter().find(|other| *other != name).unwrap();
            [name, other].map(|name| Token::made_by_coturn(KEYS[0], name))
        };
        wait_until("the key to be good", SOON, || {
            good.allocate(node.turn(), "north.gov", name) == Ok(600)
        });
        assert_eq!(bad.allocate(node.turn(), "north.gov", name), Err(401));
        // Users with passwords are served beside tokens.
        node.client(&alice()).allocate().unwrap();
    }
}
