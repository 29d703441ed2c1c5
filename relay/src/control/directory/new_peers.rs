//! Peers that a session permitted over the last ten seconds.

use crate::control::clock::Moment;

/// Seconds that the rate is over.
const SECONDS: u64 = 10;

/// Counts by second of the wall clock, in a ring. A clock that is set back or forth loses counts,
/// never makes any.
#[derive(Debug, Default)]
pub(super) struct NewPeers {
    /// The second counted last; the ring holds it and those before it.
    last: u64,
    counts: [u32; SECONDS as usize],
}

impl NewPeers {
    /// Counts peers as permitted now.
    pub(super) fn add(&mut self, count: u64, now: Moment) {
        let second = now.unix_secs();
        if second < self.last || second - self.last >= SECONDS {
            self.counts = Default::default();
        } else {
            for skipped in self.last + 1..=second {
                self.counts[(skipped % SECONDS) as usize] = 0;
            }
        }
        self.last = second;
        let slot = &mut self.counts[(second % SECONDS) as usize];
        *slot = slot.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Per second, over the last ten seconds.
    #[must_use]
    pub(super) fn per_sec(&self, now: Moment) -> f64 {
        let second = now.unix_secs();
        let first = (second + 1).saturating_sub(SECONDS);
        let count: u64 = (first.max((self.last + 1).saturating_sub(SECONDS))..=self.last)
            .filter(|at| *at <= second)
            .map(|at| u64::from(self.counts[(at % SECONDS) as usize]))
            .sum();
        count as f64 / SECONDS as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn second(unix: u64) -> Moment {
        Moment {
            mono: Instant::now(),
            unix_ms: unix * 1000 + 500,
        }
    }

    #[test]
    fn counts_are_forgotten_after_ten_seconds() {
        let mut peers = NewPeers::default();
        peers.add(30, second(1000));
        peers.add(2, second(1000));
        peers.add(8, second(1005));
        assert_eq!(peers.per_sec(second(1005)), 4.0);
        assert_eq!(peers.per_sec(second(1009)), 4.0);
        assert_eq!(peers.per_sec(second(1010)), 0.8);
        assert_eq!(peers.per_sec(second(1015)), 0.0);
        peers.add(1, second(1010));
        assert_eq!(peers.per_sec(second(1010)), 0.9);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_peers() {
        let mut peers = NewPeers::default();
        peers.add(30, second(1000));
        assert_eq!(peers.per_sec(second(500)), 0.0);
    }
}
