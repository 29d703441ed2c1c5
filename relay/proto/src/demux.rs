//! What a packet is, by its first byte (RFC 7983, RFC 8656 §12).

/// The protocols that share a TURN port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 0 to 3.
    Stun,
    /// 20 to 63.
    Dtls,
    /// 64 to 79.
    ChannelData,
    /// 80 to 127: ChannelData in RFC 5766, reserved in RFC 8656.
    OldChannelData,
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
            Some(64..=79) => Self::ChannelData,
            Some(80..=127) => Self::OldChannelData,
            _ => Self::Unknown,
        }
    }
}
