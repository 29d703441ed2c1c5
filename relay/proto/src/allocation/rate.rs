//! The limits that are a session's own.

use std::time::Instant;

use crate::policy::RateLimit;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    limit: RateLimit,
    level: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            level: capacity(limit),
            filled: now,
        }
    }

    /// Puts another limit in force; one that stays as it is keeps what is in its bucket.
    pub(crate) fn follow(bucket: &mut Option<Self>, limit: Option<RateLimit>, now: Instant) {
        if bucket.as_ref().map(|bucket| bucket.limit) != limit {
            *bucket = limit.map(|limit| Self::new(limit, now));
        }
    }

    /// Whether something may pass. The last one may overdraw the bucket, or a limit below one
    /// packet would never let any pass.
    pub(crate) fn ready(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        let level = self.level + elapsed * self.limit.per_second as f64;
        self.level = level.min(capacity(self.limit));
        self.level > 0.0
    }

    /// Takes what [`ready`](Self::ready) let pass.
    pub(crate) fn spend(&mut self, amount: u64) {
        self.level -= amount as f64;
    }
}

fn capacity(limit: RateLimit) -> f64 {
    limit.per_second as f64 * limit.burst.as_secs_f64()
}
