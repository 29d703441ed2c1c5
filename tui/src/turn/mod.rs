//! A TURN client of our own, for `turn check` and the self-test of nodes.
//!
//! Codec and key derivation are `turn-proto`'s; everything else (URIs, resolution, transports,
//! retransmission, authentication) is written from the RFCs, so that it says what any client would
//! meet. It works against any server.

pub mod auth;
pub mod check;
pub mod client;
pub mod error;
pub mod link;
pub mod requests;
pub mod resolve;
pub mod timers;
pub mod uri;

pub use client::{Client, Incoming, Login};
pub use error::TurnError;
pub use link::Link;
pub use uri::{Host, Scheme, TurnUri, UriError};
