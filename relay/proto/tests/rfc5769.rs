//! The test vectors of RFC 5769, decoded and built byte for byte.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use hmac::{Hmac, KeyInit, Mac};
use turn_proto::auth::credential::{LongTermKey, Sha256Key, userhash};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const PRIORITY: AttributeType = AttributeType(0x0024);
const ICE_CONTROLLED: AttributeType = AttributeType(0x8029);

const REQUEST: &str = "\
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 \
    5354554e 20746573 7420636c 69656e74 00240004 6e0001ff \
    80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 \
    59202020 00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 \
    c1b571a2 80280004 e57a3bcf";

const IPV4_RESPONSE: &str = "\
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b \
    74657374 20766563 746f7220 00200008 0001a147 e112a643 \
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 \
    80280004 c07d4c96";

const IPV6_RESPONSE: &str = "\
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b \
    74657374 20766563 746f7220 00200014 0002a147 0113a9fa \
    a5d3f179 bc25f4b5 bed2b9d9 00080014 a382954e 4be67bf1 \
    1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c";

const LONG_TERM_REQUEST: &str = "\
    00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 \
    e3839ee3 8388e383 aae38383 e382afe3 82b90000 0015001c \
    662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 \
    36347341 0014000b 6578616d 706c652e 6f726700 00080014 \
    f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn start(class: Class, vector: &[u8]) -> MessageBuilder {
    let id = TransactionId(vector[8..20].try_into().unwrap());
    MessageBuilder::new(class, Method::Binding, id).with_padding(b' ')
}

fn long_term_key() -> LongTermKey {
    LongTermKey::derive(
        "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}",
        "example.org",
        "TheMatrIX",
    )
}

#[test]
fn the_sample_request_decodes_and_verifies() {
    let vector = bytes(REQUEST);
    let message = Message::parse(&vector).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Request, Method::Binding)
    );
    assert_eq!(
        message.attribute(AttributeType::SOFTWARE),
        Some(&b"STUN test client"[..])
    );
    assert_eq!(
        message.attribute(AttributeType::USERNAME),
        Some(&b"evtj:h6vY"[..])
    );
    assert_eq!(message.number(PRIORITY), Ok(Some(0x6e00_01ff)));
    assert!(message.has_fingerprint());
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.verify_integrity(b"another password"));
}

#[test]
fn the_sample_request_is_built_byte_for_byte() {
    let vector = bytes(REQUEST);
    let built = start(Class::Request, &vector)
        .attribute(AttributeType::SOFTWARE, b"STUN test client")
        .number(PRIORITY, 0x6e00_01ff)
        .attribute(ICE_CONTROLLED, &0x932f_f9b1_5126_3b36_u64.to_be_bytes())
        .attribute(AttributeType::USERNAME, b"evtj:h6vY")
        .integrity(PASSWORD)
        .fingerprint();
    assert_eq!(built.finish(), vector);
}

#[test]
fn the_sample_responses_decode_and_are_built_byte_for_byte() {
    for (hex, address) in [
        (IPV4_RESPONSE, "192.0.2.1:32853"),
        (
            IPV6_RESPONSE,
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
        ),
    ] {
        let (vector, address) = (bytes(hex), address.parse().unwrap());
        let message = Message::parse(&vector).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(
            message.xor_address(AttributeType::XOR_MAPPED_ADDRESS),
            Ok(Some(address))
        );
        assert!(message.verify_integrity(PASSWORD));
        let built = start(Class::Success, &vector)
            .attribute(AttributeType::SOFTWARE, b"test vector")
            .xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
            .integrity(PASSWORD)
            .fingerprint();
        assert_eq!(built.finish(), vector);
    }
}

#[test]
fn the_long_term_request_verifies_and_is_built_byte_for_byte() {
    let vector = bytes(LONG_TERM_REQUEST);
    let key = long_term_key();
    assert!(
        Message::parse(&vector)
            .unwrap()
            .verify_integrity(key.as_bytes())
    );
    let built = start(Class::Request, &vector)
        .with_padding(0)
        .attribute(
            AttributeType::USERNAME,
            "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}".as_bytes(),
        )
        .attribute(AttributeType::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .attribute(AttributeType::REALM, b"example.org")
        .integrity(key.as_bytes());
    assert_eq!(built.finish(), vector);
}

#[test]
fn one_flipped_bit_anywhere_fails_the_fingerprint_or_the_frame() {
    let vector = bytes(REQUEST);
    for bit in 0..vector.len() * 8 {
        let mut flipped = vector.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Message::parse(&flipped).map_or(true, |m| !m.has_fingerprint()),
            "bit {bit}"
        );
    }
}

/// RFC 8489 B.1. It is no message: its header says 0x9c bytes where 0x88 follow, and its value was
/// computed with that. Name hash and key are right nevertheless.
const SHA256_REQUEST: &str = "\
    0001009c 2112a442 78ad3433 c6ad72c0 29da412e 001e0020 \
    4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 \
    05c46e41 407f1704 00150029 6f624d61 744a6f73 32414141 \
    43662f2f 3439396b 39353464 364f4c33 346f4c39 46535476 \
    79363473 41000000 0014000b 6578616d 706c652e 6f726700 \
    001c0020 e4686c8f 0edeb590 13e07090 010a93ef ccbccc54 \
    4c0a45d9 f830aa6d 6f735a01";

#[test]
fn the_sample_of_rfc_8489_has_our_userhash_and_sha256_key() {
    let vector = bytes(SHA256_REQUEST);
    assert!(Message::parse(&vector).is_err());
    let name = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    assert_eq!(vector[24..56], userhash(name, "example.org"));
    let key = Sha256Key::derive(name, "example.org", "TheMatrIX");
    let (covered, value) = vector.split_at(vector.len() - 36);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(covered);
    assert_eq!(mac.finalize().into_bytes()[..], value[4..]);
}
