//! Reading messages, and checking who sent them.

use std::hint::black_box;
use std::net::SocketAddr;

use turn_proto::channel_data::ChannelData;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};

use crate::sessions::FRAME;
use crate::{Repeat, Step};

/// An MD5 key is that long.
const KEY: [u8; 16] = *b"sixteen bytes of";
/// Bytes of an answer: header, two addresses, a number, integrity.
const ANSWER: usize = 20 + 12 + 12 + 8 + 24;

/// One message of each kind that comes often.
pub const STEPS: &[Step] = &[
    step("read an Allocate", read_allocate),
    step("read a Send indication", read_send),
    step("read a ChannelData message", read_channel_data),
    step("check MESSAGE-INTEGRITY", check_integrity),
    step("write and sign an answer", write_answer),
];

const fn step(name: &'static str, prepare: fn() -> Box<dyn Repeat>) -> Step {
    Step {
        name,
        datagrams: 1,
        counted: 1_000,
        prepare,
    }
}

fn transaction() -> TransactionId {
    TransactionId(*b"transaction.")
}

fn peer() -> SocketAddr {
    SocketAddr::from(([9, 9, 9, 9], 7_000))
}

/// As a browser sends it when it knows realm and nonce.
fn allocate() -> Vec<u8> {
    MessageBuilder::request(Method::Allocate, transaction())
        .attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        .attribute(A::USERNAME, b"1800003600:somebody")
        .attribute(A::REALM, b"example.org")
        .attribute(A::NONCE, &[b'n'; 40])
        .integrity(&KEY)
        .fingerprint()
        .finish()
}

fn read_allocate() -> Box<dyn Repeat> {
    let bytes = allocate();
    Box::new(move || {
        let message = Message::parse(black_box(&bytes));
        assert!(black_box(message).is_ok_and(|message| message.has_fingerprint()));
    })
}

fn read_send() -> Box<dyn Repeat> {
    let bytes = MessageBuilder::new(Class::Indication, Method::Send, transaction())
        .xor_address(A::XOR_PEER_ADDRESS, peer())
        .attribute(A::DATA, &FRAME)
        .finish();
    Box::new(move || {
        let message = Message::parse(black_box(&bytes));
        let found = message.ok().map(|message| {
            let peer = message.xor_address(A::XOR_PEER_ADDRESS);
            (peer, message.attribute(A::DATA))
        });
        assert_eq!(black_box(found), Some((Ok(Some(peer())), Some(&FRAME[..]))));
    })
}

fn read_channel_data() -> Box<dyn Repeat> {
    let bytes = [&[0x40, 1, 0, FRAME.len() as u8], &FRAME[..]].concat();
    Box::new(move || {
        let data = ChannelData::parse(black_box(&bytes));
        assert!(black_box(data).is_some_and(|data| data.payload.len() == FRAME.len()));
    })
}

fn check_integrity() -> Box<dyn Repeat> {
    let bytes = allocate();
    Box::new(move || {
        let message = Message::parse(&bytes);
        assert!(message.is_ok_and(|message| message.verify_integrity(black_box(&KEY))));
    })
}

fn write_answer() -> Box<dyn Repeat> {
    Box::new(move || {
        let answer = MessageBuilder::new(Class::Success, Method::Allocate, transaction())
            .xor_address(A::XOR_RELAYED_ADDRESS, black_box(peer()))
            .xor_address(A::XOR_MAPPED_ADDRESS, peer())
            .number(A::LIFETIME, 600)
            .integrity(&KEY)
            .finish();
        assert_eq!(black_box(answer).len(), ANSWER);
    })
}
