//! Somebody who tries names and passwords.

use std::net::UdpSocket;
use std::time::Duration;

use kit::client::fresh_id;
use kit::node::{Node, NodeOptions, REALM, USER};
use turn_proto::auth::credential::LongTermKey;
use turn_proto::stun::{AttributeType, Message, MessageBuilder, Method, TransactionId};

/// A request and its answer.
fn ask(socket: &UdpSocket, id: TransactionId, guess: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut request = MessageBuilder::request(Method::Allocate, id)
        .number(AttributeType::REQUESTED_TRANSPORT, 17 << 24);
    if let Some((name, nonce)) = guess {
        let key = LongTermKey::derive(name, REALM, "a guess");
        request = request
            .attribute(AttributeType::USERNAME, name.as_bytes())
            .attribute(AttributeType::REALM, REALM.as_bytes())
            .attribute(AttributeType::NONCE, nonce)
            .integrity(key.as_bytes());
    }
    socket.send(&request.finish()).unwrap();
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

/// Everything of an answer but the value of NONCE, which has the time in it.
fn without_nonce(answer: &[u8]) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let nonce = Message::parse(answer)
        .unwrap()
        .attribute(AttributeType::NONCE)
        .unwrap();
    let at = answer
        .windows(nonce.len())
        .position(|part| part == nonce)
        .unwrap();
    bytes[at..at + nonce.len()].fill(0);
    bytes
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_bytes_first_and_later() {
    let node = Node::start(NodeOptions::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(node.turn).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let challenge = ask(&socket, fresh_id(), None);
    let challenge = Message::parse(&challenge).unwrap();
    let nonce = challenge.attribute(AttributeType::NONCE).unwrap();
    // As long as the name that exists: the store is asked about each the first time, then no more.
    let unknown = USER.0.replace('a', "o");
    for _ in 0..3 {
        let id = fresh_id();
        let wrong = ask(&socket, id, Some((USER.0, nonce)));
        let nobody = ask(&socket, id, Some((&unknown, nonce)));
        let code = Message::parse(&wrong)
            .unwrap()
            .error_code()
            .map(|code| code.get());
        assert_eq!(code, Some(401));
        assert_eq!(without_nonce(&wrong), without_nonce(&nobody));
    }
}
