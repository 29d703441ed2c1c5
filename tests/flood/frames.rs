//! What a hostile client writes into a stream: broken messages that leave the framing sound, and
//! endings that do not.

use crate::datagrams::Datagrams;

/// The magic cookie of STUN (RFC 8489 §5).
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// How a connection's last input ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server has to close: the framing is lost.
    Garbage,
    /// The client closes in the middle of a message.
    HalfMessage,
}

/// Puts the next broken message that is a sound frame behind `out`.
///
/// STUN with noise for attributes, unknown types, responses, attributes that overrun; ChannelData for
/// channels that nobody bound, and with numbers that are none.
pub(crate) fn push_frame(datagrams: &mut Datagrams, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(datagrams.next());
    let is_channel = out.get(start).is_some_and(|byte| byte & 0xc0 == 0x40);
    if is_channel {
        out.resize(start + (out.len() - start).max(4).next_multiple_of(4), 0);
        let payload = out.len() - start - 4;
        write_len(&mut out[start + 2..], payload);
    } else {
        out.resize(start + (out.len() - start).max(20).next_multiple_of(4), 0);
        let attributes = out.len() - start - 20;
        out[start] &= 3;
        write_len(&mut out[start + 2..], attributes);
        out[start + 4..start + 8].copy_from_slice(&COOKIE);
    }
}

/// Puts something behind `out` that no message can follow.
pub(crate) fn push_ending(datagrams: &mut Datagrams, out: &mut Vec<u8>) -> Ending {
    let start = out.len();
    match datagrams.choice(8) {
        // First bytes of nothing that is spoken here: 4 to 63 and 128 to 255 (RFC 7983 §7).
        0 => {
            push_frame(datagrams, out);
            out[start] = [0x80, 0xff, 0x05, 0x3f][datagrams.choice(4)];
        }
        1 => out.extend_from_slice(b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n"),
        // Another cookie, as in RFC 3489.
        2 => {
            let noise = [0, 1, 0, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8];
            out.extend_from_slice(&noise);
        }
        // A length that is no multiple of four.
        3 => {
            push_stun_header(8 + 3, out);
            out.extend_from_slice(&[0; 11]);
        }
        // Lengths that nobody without a session may claim.
        4 => push_stun_header(0xfffc, out),
        5 => out.extend_from_slice(&[0x40, 0, 0xff, 0xff]),
        6 => {
            push_stun_header(400, out);
            out.extend_from_slice(&[0x5a; 100]);
            return Ending::HalfMessage;
        }
        _ => {
            out.extend_from_slice(&[0x40, 0, 4, 0, 1, 2, 3]);
            return Ending::HalfMessage;
        }
    }
    Ending::Garbage
}

fn push_stun_header(len: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 3]);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&COOKIE);
    out.extend_from_slice(&[7; 12]);
}

fn write_len(place: &mut [u8], len: usize) {
    let len = u16::try_from(len).expect("frames of the flood are short");
    place[..2].copy_from_slice(&len.to_be_bytes());
}
