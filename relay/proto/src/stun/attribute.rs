//! Attribute types (RFC 8489 §18.3, RFC 8656 §18, RFC 5780 §7, RFC 6062 §6.2, RFC 7635 §6, RFC 8016 §4).

use std::fmt;

/// The type of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

macro_rules! attributes {
    ($($name:ident = $number:literal, $word:literal;)*) => {
        impl AttributeType {
            $(#[doc = concat!($word, ".")] pub const $name: Self = Self($number);)*

            /// The name in the RFCs, of those we know.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($word),)*
                    _ => None,
                }
            }
        }
    };
}

attributes! {
    MAPPED_ADDRESS = 0x0001, "MAPPED-ADDRESS";
    CHANGE_REQUEST = 0x0003, "CHANGE-REQUEST";
    USERNAME = 0x0006, "USERNAME";
    MESSAGE_INTEGRITY = 0x0008, "MESSAGE-INTEGRITY";
    ERROR_CODE = 0x0009, "ERROR-CODE";
    UNKNOWN_ATTRIBUTES = 0x000a, "UNKNOWN-ATTRIBUTES";
    CHANNEL_NUMBER = 0x000c, "CHANNEL-NUMBER";
    LIFETIME = 0x000d, "LIFETIME";
    XOR_PEER_ADDRESS = 0x0012, "XOR-PEER-ADDRESS";
    DATA = 0x0013, "DATA";
    REALM = 0x0014, "REALM";
    NONCE = 0x0015, "NONCE";
    XOR_RELAYED_ADDRESS = 0x0016, "XOR-RELAYED-ADDRESS";
    REQUESTED_ADDRESS_FAMILY = 0x0017, "REQUESTED-ADDRESS-FAMILY";
    EVEN_PORT = 0x0018, "EVEN-PORT";
    REQUESTED_TRANSPORT = 0x0019, "REQUESTED-TRANSPORT";
    DONT_FRAGMENT = 0x001a, "DONT-FRAGMENT";
    ACCESS_TOKEN = 0x001b, "ACCESS-TOKEN";
    MESSAGE_INTEGRITY_SHA256 = 0x001c, "MESSAGE-INTEGRITY-SHA256";
    PASSWORD_ALGORITHM = 0x001d, "PASSWORD-ALGORITHM";
    USERHASH = 0x001e, "USERHASH";
    XOR_MAPPED_ADDRESS = 0x0020, "XOR-MAPPED-ADDRESS";
    RESERVATION_TOKEN = 0x0022, "RESERVATION-TOKEN";
    PADDING = 0x0026, "PADDING";
    RESPONSE_PORT = 0x0027, "RESPONSE-PORT";
    CONNECTION_ID = 0x002a, "CONNECTION-ID";
    ADDITIONAL_ADDRESS_FAMILY = 0x8000, "ADDITIONAL-ADDRESS-FAMILY";
    ADDRESS_ERROR_CODE = 0x8001, "ADDRESS-ERROR-CODE";
    PASSWORD_ALGORITHMS = 0x8002, "PASSWORD-ALGORITHMS";
    ALTERNATE_DOMAIN = 0x8003, "ALTERNATE-DOMAIN";
    ICMP = 0x8004, "ICMP";
    SOFTWARE = 0x8022, "SOFTWARE";
    ALTERNATE_SERVER = 0x8023, "ALTERNATE-SERVER";
    FINGERPRINT = 0x8028, "FINGERPRINT";
    RESPONSE_ORIGIN = 0x802b, "RESPONSE-ORIGIN";
    OTHER_ADDRESS = 0x802c, "OTHER-ADDRESS";
    THIRD_PARTY_AUTHORIZATION = 0x802e, "THIRD-PARTY-AUTHORIZATION";
    ORIGIN = 0x802f, "ORIGIN";
    MOBILITY_TICKET = 0x8030, "MOBILITY-TICKET";
    DRAFT_ADDITIONAL_ADDRESS_FAMILY = 0x8032, "ADDITIONAL-ADDRESS-FAMILY of the drafts, still sent by coturn's client";
    DRAFT_ADDRESS_ERROR_CODE = 0x8033, "ADDRESS-ERROR-CODE of the drafts";
}

impl AttributeType {
    /// Whether a receiver that does not know it must refuse the message (RFC 8489 §14).
    #[must_use]
    pub fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}
