//! Messages out of a byte stream: STUN and ChannelData over TCP and TLS (RFC 8489 §6.2.2, RFC 8656
//! §12.5), each with its length in front, ChannelData padded to four bytes.

use crate::channel_data::ChannelData;
use crate::demux::Protocol;
use crate::stun::MAGIC_COOKIE;

/// The longest frame that the two formats can express, padding included, in bytes.
pub const MAX_FRAME: usize = 20 + 65_532;
/// Bytes of a STUN header.
const STUN_HEADER: usize = 20;
/// A partial frame that was larger than this gives its memory back once it is complete, in bytes.
const KEEP: usize = 2048;

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'b> {
    /// A whole message, without padding.
    Frame {
        /// The message.
        message: &'b [u8],
        /// How far to go for the next one.
        consumed: usize,
    },
    /// The beginning of one.
    Incomplete,
}

/// The stream is neither STUN nor ChannelData, or its frame is longer than allowed: where the next
/// one would begin is unknown, so there is nothing to do but to close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has lost its framing")]
pub struct Garbage;

/// Looks at the front of a stream. What cannot become a frame of at most `limit` bytes is found as
/// soon as its header tells, not when it is complete.
///
/// # Errors
/// [`Garbage`].
pub fn front(bytes: &[u8], limit: usize) -> Result<Front<'_>, Garbage> {
    let (len, consumed) = match Protocol::of(bytes) {
        _ if bytes.is_empty() => return Ok(Front::Incomplete),
        Protocol::Stun => match stun_len(bytes)? {
            Some(len) => (len, len),
            None => return Ok(Front::Incomplete),
        },
        Protocol::ChannelData | Protocol::OldChannelData => match declared_len(bytes) {
            Some(payload) => {
                let len = ChannelData::HEADER_LEN + payload;
                (len, len.next_multiple_of(4))
            }
            None => return Ok(Front::Incomplete),
        },
        Protocol::Dtls | Protocol::Unknown => return Err(Garbage),
    };
    if consumed > limit {
        return Err(Garbage);
    }
    Ok(match bytes.get(..consumed) {
        Some(frame) => Front::Frame {
            message: &frame[..len],
            consumed,
        },
        None => Front::Incomplete,
    })
}

/// The length of a STUN message, header included.
fn stun_len(bytes: &[u8]) -> Result<Option<usize>, Garbage> {
    if let Some(cookie) = bytes.get(4..8)
        && cookie != MAGIC_COOKIE.to_be_bytes()
    {
        return Err(Garbage);
    }
    match declared_len(bytes) {
        Some(len) if !len.is_multiple_of(4) => Err(Garbage),
        len => Ok(len.map(|len| STUN_HEADER + len)),
    }
}

/// Both formats have it at the same place.
fn declared_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.get(2..4)?;
    Some(usize::from(u16::from_be_bytes([len[0], len[1]])))
}

/// The incomplete frame at the end of what was read of one connection.
#[derive(Debug, Default)]
pub struct Partial(Vec<u8>);

impl Partial {
    /// Puts it to the front of `buffer`, where the next bytes are read behind it, and tells its
    /// length. `buffer` holds at least [`MAX_FRAME`] bytes.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.0.len();
        buffer[..len].copy_from_slice(&self.0);
        self.0.clear();
        len
    }

    /// Keeps what is left: less than a frame.
    pub fn keep(&mut self, rest: &[u8]) {
        self.0.clear();
        self.0.shrink_to(KEEP.max(rest.len()));
        self.0.extend_from_slice(rest);
    }

    /// What is kept, where it is none of a frame any more.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// What is kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing is kept: the stream stands between two frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
