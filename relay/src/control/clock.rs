//! The two clocks, read once per piece of work.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment that a piece of work sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Monotonic.
    pub mono: Instant,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub(super) fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            mono: Instant::now(),
            unix_ms: since.as_millis() as u64,
        }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub(super) fn unix_secs(self) -> u64 {
        self.unix_ms / 1000
    }

    /// Milliseconds since the Unix epoch of a monotonic moment near this one.
    #[must_use]
    pub(super) fn wall_ms(self, at: Instant) -> u64 {
        let ahead = at.saturating_duration_since(self.mono).as_millis() as u64;
        let behind = self.mono.saturating_duration_since(at).as_millis() as u64;
        (self.unix_ms + ahead).saturating_sub(behind)
    }
}
