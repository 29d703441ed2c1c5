//! One monotonic clock, read per batch.

use std::time::Instant;

/// Counts from where the run began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts it.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Tenths of a microsecond at `now`, wrapping every seven minutes: no packet takes so long.
    pub(super) fn tenths(self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.0).as_nanos() / 100) as u32
    }
}
