//! STUN messages (RFC 8489): a zero-copy view of what arrives and a builder for what leaves.

pub mod error_code;
