//! What a packet is, by its first byte (RFC 7983, RFC 8656 §12).

/// The protocols that share a TURN port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 0 to 3.
    Stun,
    /// 20 to 63.
    Dtls,
    /// 64 to 127: RFC 8656 uses the first sixteen, RFC 5766 used all.
    ChannelData,
    /// Everything else, and the empty packet.
    Unknown,
}

impl Protocol {
    /// The protocol of a packet.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63) => Self::Dtls,
            Some(64..=127) => Self::ChannelData,
            _ => Self::Unknown,
        }
    }
}
