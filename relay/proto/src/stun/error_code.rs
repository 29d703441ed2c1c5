//! ERROR-CODE values (RFC 8489 §14.8, RFC 8656 §18.13).

/// The number of a STUN error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(u16);

impl ErrorCode {
    /// Another server is to be asked.
    pub const TRY_ALTERNATE: Self = Self(300);
    /// Malformed request.
    pub const BAD_REQUEST: Self = Self(400);
    /// Credentials missing or wrong.
    pub const UNAUTHENTICATED: Self = Self(401);
    /// Refused by policy.
    pub const FORBIDDEN: Self = Self(403);
    /// Mobility is not offered (RFC 8016 §4.1.2).
    pub const MOBILITY_FORBIDDEN: Self = Self(405);
    /// Unknown comprehension-required attributes.
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
    /// No allocation where one is needed, or the other way round.
    pub const ALLOCATION_MISMATCH: Self = Self(437);
    /// The nonce is too old or not ours.
    pub const STALE_NONCE: Self = Self(438);
    /// The address family is not relayed here.
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self(440);
    /// The allocation belongs to another user.
    pub const WRONG_CREDENTIALS: Self = Self(441);
    /// REQUESTED-TRANSPORT is not one that is relayed.
    pub const UNSUPPORTED_TRANSPORT: Self = Self(442);
    /// The peer's family is not the allocation's.
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self(443);
    /// There is a connection to that peer already (RFC 6062 §6.3).
    pub const CONNECTION_ALREADY_EXISTS: Self = Self(446);
    /// The peer did not accept the connection (RFC 6062 §6.3).
    pub const CONNECTION_TIMEOUT_OR_FAILURE: Self = Self(447);
    /// Too many allocations.
    pub const ALLOCATION_QUOTA_REACHED: Self = Self(486);
    /// The server cannot answer now.
    pub const SERVER_ERROR: Self = Self(500);
    /// Out of ports or of another resource.
    pub const INSUFFICIENT_CAPACITY: Self = Self(508);

    /// A code between 300 and 699.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        (300..700).contains(&code).then_some(Self(code))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// The value of ERROR-CODE without a reason phrase.
    ///
    /// We send none: whoever is asked is not yet known, and every byte amplifies a spoofed request.
    #[must_use]
    pub fn to_value(self) -> [u8; 4] {
        [0, 0, (self.0 / 100) as u8, (self.0 % 100) as u8]
    }

    /// Reads the value of ERROR-CODE; the reason phrase is ignored.
    #[must_use]
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let &[_, _, class, number, ..] = value else {
            return None;
        };
        let code = u16::from(class & 7) * 100 + u16::from(number);
        (number < 100).then(|| Self::new(code)).flatten()
    }
}
