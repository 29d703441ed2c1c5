//! Time as an argument.

use std::time::Instant;

/// The two clocks, read once per wake-up by whoever drives the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: lifetimes, permissions, channels, deadlines.
    pub mono: Instant,
    /// Wall clock in seconds since the Unix epoch: credential expiry and nonce age only.
    pub unix: u64,
}
