//! A validated, zero-copy view of a received message.

use std::net::SocketAddr;

use super::integrity::{self, IntegrityKind};
use super::method::split_message_type;
use super::{AttributeType, Class, ErrorCode, HEADER_LEN, MAGIC_COOKIE, Method};
use super::{TransactionId, address};

/// The most attributes of one message; a CreatePermission names one peer in each.
pub const MAX_ATTRIBUTES: usize = 1024;

/// Why bytes are no STUN message that we answer; they are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than a header.
    #[error("shorter than a STUN header")]
    TooShort,
    /// Leading bits set, or an unknown method.
    #[error("unknown message type")]
    UnknownType,
    /// Another magic cookie: RFC 3489, or no STUN at all.
    #[error("wrong magic cookie")]
    BadCookie,
    /// The length is not a multiple of four, or not what arrived.
    #[error("wrong message length")]
    BadLength,
    /// An attribute overruns the message, or there are too many.
    #[error("broken attribute")]
    BrokenAttribute,
    /// FINGERPRINT does not fit, or is not last.
    #[error("wrong fingerprint")]
    BadFingerprint,
}

/// A message whose frame is sound: header, attribute bounds and fingerprint.
///
/// Attributes behind an integrity attribute are never yielded, because it does not cover them
/// (RFC 8489 §9). Of equal attributes the first counts (§14).
#[derive(Clone, Copy, Debug)]
pub struct Message<'b> {
    bytes: &'b [u8],
    class: Class,
    method: Method,
    /// Where the attributes that count end.
    end: usize,
    /// The deciding integrity attribute and its value: SHA-256 where both are present (§9.2.4).
    integrity: Option<(IntegrityKind, usize, &'b [u8])>,
    fingerprint: bool,
}

impl<'b> Message<'b> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// What is wrong with it; such a message is dropped in silence (RFC 8489 §6.3).
    pub fn parse(bytes: &'b [u8]) -> Result<Self, ParseError> {
        let header = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(ParseError::TooShort)?;
        if header[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(ParseError::BadCookie);
        }
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let (class, method) = split_message_type(kind).ok_or(ParseError::UnknownType)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if len % 4 != 0 || len + HEADER_LEN != bytes.len() {
            return Err(ParseError::BadLength);
        }
        let end = bytes.len();
        let mut message = Self {
            bytes,
            class,
            method,
            end,
            integrity: None,
            fingerprint: false,
        };
        message.walk()?;
        Ok(message)
    }

    /// Checks the bounds of every attribute, and notes integrity and fingerprint.
    fn walk(&mut self) -> Result<(), ParseError> {
        let mut walk = Attributes {
            bytes: self.bytes,
            offset: HEADER_LEN,
        };
        for _ in 0..=MAX_ATTRIBUTES {
            let start = walk.offset;
            if start == self.bytes.len() {
                return Ok(());
            }
            let (kind, value) = walk.next().ok_or(ParseError::BrokenAttribute)?;
            match kind {
                AttributeType::MESSAGE_INTEGRITY if self.integrity.is_none() => {
                    self.integrity = Some((IntegrityKind::Sha1, start, value));
                    self.end = start;
                }
                AttributeType::MESSAGE_INTEGRITY_SHA256
                    if !matches!(self.integrity, Some((IntegrityKind::Sha256, ..))) =>
                {
                    self.integrity = Some((IntegrityKind::Sha256, start, value));
                    self.end = self.end.min(start);
                }
                AttributeType::FINGERPRINT => {
                    let last = walk.offset == self.bytes.len();
                    let right = integrity::fingerprint(&self.bytes[..start]).to_be_bytes();
                    if !last || value != right {
                        return Err(ParseError::BadFingerprint);
                    }
                    self.fingerprint = true;
                    self.end = self.end.min(start);
                }
                _ => {}
            }
        }
        Err(ParseError::BrokenAttribute)
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The transaction id.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        TransactionId(id)
    }

    /// The whole message.
    #[must_use]
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Whether it carries a FINGERPRINT, which is right then.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// The integrity attribute that decides, where there is one.
    #[must_use]
    pub fn integrity_kind(&self) -> Option<IntegrityKind> {
        self.integrity.map(|(kind, ..)| kind)
    }

    /// Whether the integrity attribute fits this key; `false` without one.
    #[must_use]
    pub fn verify_integrity(&self, key: &[u8]) -> bool {
        self.integrity.is_some_and(|(kind, start, value)| {
            integrity::verify(kind, key, &self.bytes[..start], value)
        })
    }

    /// The integrity attribute that decides: its kind, what it covers, its value.
    pub(crate) fn integrity_parts(&self) -> Option<(IntegrityKind, &'b [u8], &'b [u8])> {
        let (kind, start, value) = self.integrity?;
        Some((kind, &self.bytes[..start], value))
    }

    /// The attributes that count, in order.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'b> {
        Attributes {
            bytes: &self.bytes[..self.end],
            offset: HEADER_LEN,
        }
    }

    /// The value of the first attribute of that type.
    #[must_use]
    pub fn attribute(&self, kind: AttributeType) -> Option<&'b [u8]> {
        self.attributes()
            .find(|&(other, _)| other == kind)
            .map(|(_, value)| value)
    }

    /// An attribute that holds a 32-bit number.
    ///
    /// # Errors
    /// It has another length.
    pub fn number(&self, kind: AttributeType) -> Result<Option<u32>, MalformedAttribute> {
        let read = |value: &[u8]| value.try_into().map(u32::from_be_bytes);
        self.attribute(kind)
            .map(read)
            .transpose()
            .map_err(|_| MalformedAttribute(kind))
    }

    /// An XOR-*-ADDRESS attribute.
    ///
    /// # Errors
    /// Unknown family, or a length that does not belong to it.
    pub fn xor_address(
        &self,
        kind: AttributeType,
    ) -> Result<Option<SocketAddr>, MalformedAttribute> {
        let read = |v| address::read_xor(v, self.transaction()).ok_or(MalformedAttribute(kind));
        self.attribute(kind).map(read).transpose()
    }

    /// A plain address attribute, such as ALTERNATE-SERVER.
    ///
    /// # Errors
    /// Unknown family, or a length that does not belong to it.
    pub fn plain_address(
        &self,
        kind: AttributeType,
    ) -> Result<Option<SocketAddr>, MalformedAttribute> {
        let read = |v| address::read_plain(v).ok_or(MalformedAttribute(kind));
        self.attribute(kind).map(read).transpose()
    }

    /// ERROR-CODE.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.attribute(AttributeType::ERROR_CODE)
            .and_then(ErrorCode::from_value)
    }
}

/// An attribute whose value has no legal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0:?}")]
pub struct MalformedAttribute(pub AttributeType);

/// Iterates over type and value.
#[derive(Clone, Debug)]
pub struct Attributes<'b> {
    bytes: &'b [u8],
    offset: usize,
}

impl<'b> Iterator for Attributes<'b> {
    type Item = (AttributeType, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[t0, t1, l0, l1], rest) = self.bytes.get(self.offset..)?.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(..len)?;
        self.offset += 4 + len.next_multiple_of(4);
        Some((AttributeType(u16::from_be_bytes([t0, t1])), value))
    }
}
