//! What fuzzers call besides the whole server: the codec, the framing, and access tokens.

use shared::WebOrigin;
use turn_proto::auth::token::Token;
use turn_proto::channel_data::ChannelData;
use turn_proto::demux::Protocol;
use turn_proto::framing::{self, Front, MAX_FRAME, Partial};
use turn_proto::stun::{AttributeType, Message, MessageBuilder, password_algorithm};

use crate::access::{KIDS, seal};
use crate::policies::{BEGIN, REALM, oauth};

/// Reads bytes as a STUN message; what can be read can be written again and read back alike.
///
/// # Panics
/// When it cannot: a finding.
pub fn codec(bytes: &[u8]) {
    let _ = Protocol::of(bytes);
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let _ = message.verify_integrity(b"a key of some length");
    let mut again = MessageBuilder::new(message.class(), message.method(), message.transaction());
    for (kind, value) in message.attributes() {
        again = again.attribute(kind, value);
        let _ = message.number(kind);
        let _ = message.xor_address(kind);
        let _ = message.plain_address(kind);
        let _ = password_algorithm::read_list(value).count();
        let text = std::str::from_utf8(value).ok();
        if let Some(origin) = text.and_then(WebOrigin::parse_foreign) {
            let again = WebOrigin::parse_foreign(&origin.with_port());
            assert_eq!(again, Some(origin), "an origin is read back");
        }
    }
    let _ = message.error_code();
    let written = again.finish();
    let read = Message::parse(&written).expect("what was written can be read");
    let pairs = |m: &Message<'_>| -> Vec<(AttributeType, Vec<u8>)> {
        m.attributes().map(|(k, v)| (k, v.to_vec())).collect()
    };
    assert_eq!(pairs(&read), pairs(&message));
    assert_eq!(read.transaction(), message.transaction());
}

/// Reads bytes as ChannelData, from a datagram and from a stream.
///
/// # Panics
/// On a finding.
pub fn channel_data(bytes: &[u8]) {
    if let Some(data) = ChannelData::parse(bytes) {
        assert!(data.payload.len() + 4 <= bytes.len());
        let header = ChannelData::header(data.number, data.payload.len() as u16);
        assert_eq!(header, bytes[..4]);
    }
}

/// Cuts bytes into frames twice: in one piece, and in pieces whose lengths the first bytes say.
///
/// # Panics
/// When the frames differ.
pub fn framing(bytes: &[u8]) {
    let (cuts, stream) = bytes.split_at(bytes.len().min(16));
    let whole = frames(stream, &[]);
    let pieces = frames(stream, cuts);
    assert_eq!(whole, pieces, "frames depend on how the bytes arrive");
}

/// The frames of a stream that arrives in pieces, and whether it ended as garbage.
fn frames(mut stream: &[u8], cuts: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut buffer = vec![0; 2 * MAX_FRAME];
    let (mut partial, mut found) = (Partial::default(), Vec::new());
    let mut cuts = cuts.iter().cycle();
    while !stream.is_empty() {
        let cut = cuts.next().map_or(MAX_FRAME, |cut| usize::from(*cut) + 1);
        let (piece, rest) = stream.split_at(cut.min(stream.len()));
        stream = rest;
        let kept = partial.take(&mut buffer);
        let end = kept + piece.len();
        buffer[kept..end].copy_from_slice(piece);
        let mut at = 0;
        loop {
            match framing::front(&buffer[at..end], MAX_FRAME) {
                Ok(Front::Frame { message, consumed }) => {
                    found.push(message.to_vec());
                    at += consumed;
                }
                Ok(Front::Incomplete) => break,
                Err(_) => return (found, true),
            }
        }
        partial.keep(&buffer[at..end]);
    }
    (found, false)
}

/// Opens bytes as an access token, and as what an authorization server with the right key put into
/// one. The first byte says under which key.
///
/// # Panics
/// On a finding.
pub fn token(bytes: &[u8]) {
    let Some((&flags, bytes)) = bytes.split_first() else {
        return;
    };
    let second = flags & 1 != 0;
    let known = oauth(None);
    let key = &known.keys[KIDS[usize::from(second)]];
    let opened = Token::open(bytes, key, REALM);
    assert!(opened.is_err(), "a token out of nothing");
    let sealed = seal(second, REALM, [flags; 12], bytes.to_vec());
    assert!(
        Token::open(&sealed, key, "elsewhere.example").is_err(),
        "a token of another server"
    );
    let Ok(token) = Token::open(&sealed, key, REALM) else {
        return;
    };
    assert!((16..=64).contains(&token.mac_key.as_bytes().len()));
    assert!(token.span.end() >= token.span.made);
    for now in [0, BEGIN, token.span.made, token.span.end(), u64::MAX] {
        let left = token.span.left(now).map_or(0, |left| left.as_secs());
        assert!(left <= u64::from(token.span.lifetime) + 5, "{left} s");
    }
}
