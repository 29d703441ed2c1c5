//! The 14 bits of a message type, and the transaction id (RFC 8489 §5).

use std::fmt;

/// The methods this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// 0x001.
    Binding,
    /// 0x003.
    Allocate,
    /// 0x004.
    Refresh,
    /// 0x006, indications only.
    Send,
    /// 0x007, indications only.
    Data,
    /// 0x008.
    CreatePermission,
    /// 0x009.
    ChannelBind,
    /// 0x00a (RFC 6062).
    Connect,
    /// 0x00b (RFC 6062).
    ConnectionBind,
    /// 0x00c (RFC 6062), indications only.
    ConnectionAttempt,
}

impl Method {
    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Binding => 0x001,
            Self::Allocate => 0x003,
            Self::Refresh => 0x004,
            Self::Send => 0x006,
            Self::Data => 0x007,
            Self::CreatePermission => 0x008,
            Self::ChannelBind => 0x009,
            Self::Connect => 0x00a,
            Self::ConnectionBind => 0x00b,
            Self::ConnectionAttempt => 0x00c,
        }
    }

    /// The method with that number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0x001 => Self::Binding,
            0x003 => Self::Allocate,
            0x004 => Self::Refresh,
            0x006 => Self::Send,
            0x007 => Self::Data,
            0x008 => Self::CreatePermission,
            0x009 => Self::ChannelBind,
            0x00a => Self::Connect,
            0x00b => Self::ConnectionBind,
            0x00c => Self::ConnectionAttempt,
            _ => return None,
        })
    }
}

/// The classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers: done.
    Success,
    /// Answers: refused.
    Error,
}

/// Packs method and class as they stand on the wire: the class sits at bits 4 and 8.
#[must_use]
pub fn message_type(class: Class, method: Method) -> u16 {
    let m = method.number();
    let bits = match class {
        Class::Request => 0,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    (m & 0x000f) | (m & 0x0070) << 1 | (m & 0x0f80) << 2 | bits
}

/// Takes a message type apart; `None`: unknown method or leading bits set.
#[must_use]
pub fn split_message_type(value: u16) -> Option<(Class, Method)> {
    if value & 0xc000 != 0 {
        return None;
    }
    let class = match value & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    let number = (value & 0x000f) | (value & 0x00e0) >> 1 | (value & 0x3e00) >> 2;
    Method::from_number(number).map(|method| (class, method))
}

/// 96 bits that tie an answer to its request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_types_stand_on_the_wire_as_in_the_rfcs() {
        assert_eq!(message_type(Class::Request, Method::Binding), 0x0001);
        assert_eq!(message_type(Class::Success, Method::Binding), 0x0101);
        assert_eq!(message_type(Class::Error, Method::Allocate), 0x0113);
        assert_eq!(message_type(Class::Indication, Method::Data), 0x0017);
        assert_eq!(split_message_type(0x0115), None);
        assert_eq!(split_message_type(0x4001), None);
        for value in 0..=u16::MAX {
            if let Some((class, method)) = split_message_type(value) {
                assert_eq!(message_type(class, method), value);
            }
        }
    }
}
