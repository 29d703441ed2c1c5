//! Failed calls of operators: recorded one by one up to a rate, counted beyond.
//!
//! The audit keeps the newest records; whoever has any token could push the rest out with calls
//! that are denied. What succeeds is always recorded: that takes the right to do it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failed calls of one actor that are recorded one by one in a window.
const RECORDED: u32 = 30;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Actors kept apart; further ones share a window.
const MAX_ACTORS: usize = 1000;

/// What to do with a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Record it; so many before it were left out.
    Whole {
        /// Since the window before.
        left_out: u64,
    },
    /// Record it and say that more are left out.
    Last,
    /// Leave it out.
    No,
}

/// Windows by actor.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<HashMap<String, Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    recorded: u32,
    left_out: u64,
}

impl Denials {
    /// Counts a failed call.
    pub(super) fn record(&self, actor: &str, now: Instant) -> Record {
        let mut actors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if actors.len() >= MAX_ACTORS {
            actors.retain(|_, window| !is_over(window) || window.left_out > 0);
        }
        let room = actors.len() < MAX_ACTORS || actors.contains_key(actor);
        let key = if room { actor } else { "" };
        let fresh = || Window {
            began: now,
            recorded: 0,
            left_out: 0,
        };
        let window = actors.entry(key.to_owned()).or_insert_with(fresh);
        let left_out = if is_over(window) {
            std::mem::replace(window, fresh()).left_out
        } else {
            0
        };
        window.recorded = window.recorded.saturating_add(1);
        match window.recorded {
            1..RECORDED => Record::Whole { left_out },
            RECORDED => Record::Last,
            _ => {
                window.left_out += 1;
                Record::No
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::clock::Moment;

    #[test]
    fn failed_calls_are_recorded_up_to_a_rate_and_counted_beyond() {
        let denials = Denials::default();
        let begin = Moment::now().mono;
        let all: Vec<_> = (0..100_000)
            .map(|_| denials.record("token:ab", begin))
            .collect();
        let whole = Record::Whole { left_out: 0 };
        assert!(all[..29].iter().all(|record| *record == whole));
        assert_eq!(all[29], Record::Last);
        assert!(all[30..].iter().all(|record| *record == Record::No));
        assert_eq!(denials.record("unix:0", begin), whole, "each has its own");
        let next = denials.record("token:ab", begin + WINDOW);
        assert_eq!(next, Record::Whole { left_out: 99_970 });
    }

    #[test]
    fn actors_are_bounded() {
        let denials = Denials::default();
        let now = Moment::now().mono;
        for n in 0..2 * MAX_ACTORS {
            denials.record(&n.to_string(), now);
        }
        assert_eq!(denials.0.lock().unwrap().len(), MAX_ACTORS + 1);
    }
}
