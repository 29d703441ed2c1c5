//! ChannelData messages (RFC 8656 §12.4).

use std::fmt;

/// A channel number: 0x4000 to 0x4FFF (RFC 8656 §12), or up to 0x7FFF as RFC 5766 had it. Which of
/// them a server takes is its policy's choice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// A number that one of the two RFCs allows.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (0x4000..=0x7fff).contains(&number).then_some(Self(number))
    }

    /// Whether RFC 8656 §12 knows it, too: 0x4000 to 0x4FFF.
    #[must_use]
    pub fn is_current(self) -> bool {
        self.0 <= 0x4fff
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for ChannelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A ChannelData message, borrowed from its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'b> {
    /// The channel.
    pub number: ChannelNumber,
    /// The application data; may be empty.
    pub payload: &'b [u8],
}

impl<'b> ChannelData<'b> {
    /// Bytes in front of the payload.
    pub const HEADER_LEN: usize = 4;

    /// Reads a packet. Bytes behind the stated length are padding and ignored; `None`: shorter than
    /// stated, or no channel number.
    #[must_use]
    pub fn parse(bytes: &'b [u8]) -> Option<Self> {
        let (&[n0, n1, l0, l1], rest) = bytes.split_first_chunk()?;
        let number = ChannelNumber::new(u16::from_be_bytes([n0, n1]))?;
        let payload = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        Some(Self { number, payload })
    }

    /// The header in front of `len` bytes of payload.
    #[must_use]
    pub fn header(number: ChannelNumber, len: u16) -> [u8; 4] {
        let ([n0, n1], [l0, l1]) = (number.0.to_be_bytes(), len.to_be_bytes());
        [n0, n1, l0, l1]
    }
}
