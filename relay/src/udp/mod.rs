//! UDP as the workers use it: batched receive and send, and the selector that spreads clients.

pub mod batch;
pub mod datagram;
pub mod interfaces;
pub mod selector;
pub mod socket;
pub mod sys;
