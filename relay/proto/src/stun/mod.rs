//! STUN messages (RFC 8489): a zero-copy view of what arrives and a builder for what leaves.

pub mod address;
pub mod attribute;
pub mod builder;
pub mod error_code;
pub mod integrity;
pub mod message;
pub mod method;
pub mod password_algorithm;

pub use attribute::AttributeType;
pub use builder::MessageBuilder;
pub use error_code::ErrorCode;
pub use message::{Message, ParseError};
pub use method::{Class, Method, TransactionId};

/// The magic cookie (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Bytes of a STUN header.
pub const HEADER_LEN: usize = 20;
