//! UDP as the workers use it: batched receive and send, and the selector that spreads clients.

pub mod batch;
pub mod datagram;
pub mod grouping;
pub mod interfaces;
pub mod receive;
pub mod selector;
pub mod socket;
pub mod sys;

/// How often a call is made again that failed: an ICMP error about an earlier datagram, perhaps to
/// another peer, is reported on the next call, and more may come meanwhile.
const RETRIES: u32 = 3;
