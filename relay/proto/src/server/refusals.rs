//! Refusals, counted by realm and reason, and told to the books at a bounded rate.

use std::collections::HashMap;
use std::time::Instant;

use shared::Realm;

use super::RefusalReason;

/// Rows kept; what comes on top is counted without its realm.
const MAX_ROWS: usize = 4096;
/// Events at once, and per second afterwards.
const BURST: f64 = 20.0;
const PER_SECOND: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Refusals {
    rows: HashMap<(Option<Realm>, RefusalReason), u64>,
    events: f64,
    filled: Option<Instant>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            events: BURST,
            filled: None,
        }
    }
}

impl Refusals {
    pub(crate) fn count(&mut self, realm: Option<&Realm>, reason: RefusalReason) {
        let mut key = (realm.cloned(), reason);
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            key.0 = None;
        }
        *self.rows.entry(key).or_default() += 1;
    }

    /// Whether one more may be told.
    pub(crate) fn may_report(&mut self, now: Instant) -> bool {
        let last = self.filled.replace(now).unwrap_or(now);
        let refill = now.saturating_duration_since(last).as_secs_f64() * PER_SECOND;
        self.events = (self.events + refill).min(BURST);
        let may = self.events >= 1.0;
        if may {
            self.events -= 1.0;
        }
        may
    }

    pub(crate) fn rows(&self) -> Vec<(Option<Realm>, RefusalReason, Option<u16>, u64)> {
        let row = |((realm, reason), count): (&(Option<Realm>, RefusalReason), &u64)| {
            (
                realm.clone(),
                *reason,
                reason.code().map(|code| code.get()),
                *count,
            )
        };
        self.rows.iter().map(row).collect()
    }
}
