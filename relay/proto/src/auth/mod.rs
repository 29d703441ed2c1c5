//! Who a client is: long-term credentials, time-limited usernames, nonces, and what is cached.

pub mod credential;
pub mod rest;
