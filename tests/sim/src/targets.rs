//! What fuzzers call besides the whole server: the codec and the framing.

use turn_proto::channel_data::ChannelData;
use turn_proto::demux::Protocol;
use turn_proto::framing::{self, Front, MAX_FRAME, Partial};
use turn_proto::stun::{AttributeType, Message, MessageBuilder};

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
