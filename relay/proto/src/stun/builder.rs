//! Builds messages, answers and requests alike.

use std::net::SocketAddr;

use super::integrity::{self, IntegrityKind};
use super::method::message_type;
use super::{AttributeType, Class, ErrorCode, HEADER_LEN, MAGIC_COOKIE, Message, Method};
use super::{TransactionId, address};

/// Writes a message into fresh bytes, so that padding is always what we say it is.
///
/// Attributes appear in the order of the calls; integrity and fingerprint go last, in that order.
#[derive(Clone, Debug)]
pub struct MessageBuilder {
    bytes: Vec<u8>,
    id: TransactionId,
    padding: u8,
}

impl MessageBuilder {
    /// A message without attributes.
    #[must_use]
    pub fn new(class: Class, method: Method, id: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(&message_type(class, method).to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&id.0);
        Self {
            bytes,
            id,
            padding: 0,
        }
    }

    /// A request.
    #[must_use]
    pub fn request(method: Method, id: TransactionId) -> Self {
        Self::new(Class::Request, method, id)
    }

    /// An answer to `message`.
    #[must_use]
    pub fn answer(class: Class, message: &Message<'_>) -> Self {
        Self::new(class, message.method(), message.transaction())
    }

    /// Pads with this byte instead of zero; receivers ignore it.
    #[must_use]
    pub fn with_padding(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }

    /// Bytes so far, the header included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a message has a header")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends an attribute.
    ///
    /// # Panics
    /// When the message would outgrow the 16 bits of its length: callers bound what they put in.
    #[must_use]
    pub fn attribute(mut self, kind: AttributeType, value: &[u8]) -> Self {
        let len = u16::try_from(value.len()).expect("an attribute value is below 64 KiB");
        self.bytes.extend_from_slice(&kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(value);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, self.padding);
        self.set_len(self.bytes.len());
        self
    }

    /// Appends a 32-bit number, such as LIFETIME.
    #[must_use]
    pub fn number(self, kind: AttributeType, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends an XOR-*-ADDRESS.
    #[must_use]
    pub fn xor_address(self, kind: AttributeType, address: SocketAddr) -> Self {
        let mut value = [0; address::MAX_LEN];
        let len = address::write_xor(address, self.id, &mut value);
        self.attribute(kind, &value[..len])
    }

    /// Appends a plain address, such as ALTERNATE-SERVER.
    #[must_use]
    pub fn plain_address(self, kind: AttributeType, address: SocketAddr) -> Self {
        let mut value = [0; address::MAX_LEN];
        let len = address::write_plain(address, &mut value);
        self.attribute(kind, &value[..len])
    }

    /// Appends ERROR-CODE without a reason phrase.
    #[must_use]
    pub fn error_code(self, code: ErrorCode) -> Self {
        self.attribute(AttributeType::ERROR_CODE, &code.to_value())
    }

    /// Appends MESSAGE-INTEGRITY under a key.
    #[must_use]
    pub fn integrity(self, key: &[u8]) -> Self {
        self.integrity_of(IntegrityKind::Sha1, key)
    }

    /// Appends the integrity attribute of that kind.
    #[must_use]
    pub fn integrity_of(self, kind: IntegrityKind, key: &[u8]) -> Self {
        self.integrity_by(kind, |covered| integrity::compute(kind, key, covered))
    }

    /// Appends the integrity attribute of that kind as `compute` works it out: the value is the
    /// first bytes of the array, as many as it says.
    pub(crate) fn integrity_by(
        self,
        kind: IntegrityKind,
        compute: impl FnOnce(&[u8]) -> ([u8; 32], usize),
    ) -> Self {
        let (value, len) = compute(&self.bytes);
        let attribute = match kind {
            IntegrityKind::Sha1 => AttributeType::MESSAGE_INTEGRITY,
            IntegrityKind::Sha256 => AttributeType::MESSAGE_INTEGRITY_SHA256,
        };
        self.attribute(attribute, &value[..len])
    }

    /// Appends FINGERPRINT; nothing may follow.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        self.set_len(self.bytes.len() + 8);
        let value = integrity::fingerprint(&self.bytes);
        self.number(AttributeType::FINGERPRINT, value)
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn set_len(&mut self, total: usize) {
        let len = u16::try_from(total - HEADER_LEN).expect("a message is below 64 KiB");
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
    }
}
