//! Who a client is: long-term credentials, time-limited usernames, nonces, and what is cached.

pub mod cache;
pub mod credential;
pub mod nonce;
pub mod parking;
pub mod rest;
pub(crate) mod ticket;
pub mod token;
