//! The rate limit of one direction of a session.

use std::time::Instant;

/// A token bucket that holds one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    bits_per_second: f64,
    bits: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(bps: u64, now: Instant) -> Self {
        let bits_per_second = bps as f64;
        Self {
            bits_per_second,
            bits: bits_per_second,
            filled: now,
        }
    }

    /// Whether a payload may pass. The last one may overdraw the bucket, or a limit below one
    /// packet a second would never let any pass.
    pub(crate) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.bits = (self.bits + elapsed * self.bits_per_second).min(self.bits_per_second);
        if self.bits <= 0.0 {
            return false;
        }
        self.bits -= bytes as f64 * 8.0;
        true
    }
}
