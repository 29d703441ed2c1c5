//! The server by RFC rule: RFC 8489 for messages and credentials, RFC 8656 for relaying.

mod kit;
mod relaying;
