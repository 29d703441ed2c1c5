//! Token buckets that the sessions of several workers share: one per user, per realm and per node.
//!
//! A bucket is one number per [`Lane`], so that taking from it needs no lock. Workers take slices
//! and spend from those; what they hold and have not spent is what a limit may be overshot by.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a [`Budget`] limits, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Bits towards peers.
    ToPeer,
    /// Bits towards clients.
    ToClient,
    /// Peers that were not permitted before.
    NewPeers,
}

/// How much per second, and for how long somebody who was silent may exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Bits or peers; 0 counts as 1.
    pub per_second: u64,
    /// What the bucket holds, as the time in which it fills.
    pub burst: Duration,
}

/// One token bucket per lane, without a rate of its own: the limit comes along with each draw, so
/// that a new one holds from the next draw on.
#[derive(Debug)]
pub struct Budget {
    origin: Instant,
    lanes: [LaneState; 3],
}

#[derive(Debug, Default)]
struct LaneState {
    /// When the bucket will be full again, in nanoseconds since the origin.
    full_at: AtomicU64,
    /// The rate that `full_at` was computed with.
    per_second: AtomicU64,
}

impl Budget {
    /// Full buckets. `origin` is any moment before the first draw.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            lanes: Default::default(),
        }
    }

    /// Gives `returned` back and takes `amount`, all of it, if the bucket is not empty: it may be
    /// overdrawn once, or a limit below one packet would let none pass.
    ///
    /// # Errors
    /// When there will be something again.
    pub fn draw(
        &self,
        lane: Lane,
        limit: RateLimit,
        returned: u64,
        amount: u64,
        now: Instant,
    ) -> Result<(), Instant> {
        let state = &self.lanes[lane as usize];
        let now = nanos(now.saturating_duration_since(self.origin));
        let burst = nanos(limit.burst);
        state.follow(limit.per_second, now);
        let (back, cost) = (limit.time_of(returned), limit.time_of(amount));
        let fill = |full_at: u64| full_at.saturating_sub(back).max(now);
        let taken = state
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let at = fill(full_at);
                (at - now < burst.max(1)).then(|| at.saturating_add(cost))
            });
        taken.map(|_| ()).map_err(|full_at| {
            let empty_until = fill(full_at).saturating_sub(burst.max(1));
            self.origin + Duration::from_nanos(empty_until)
        })
    }
}

impl LaneState {
    /// Keeps what is owed the same amount when the rate changes, whatever time that takes.
    fn follow(&self, per_second: u64, now: u64) {
        if self.per_second.load(Ordering::Relaxed) == per_second {
            return;
        }
        let before = self.per_second.swap(per_second, Ordering::Relaxed);
        if before == 0 || before == per_second {
            return;
        }
        let scale = before as f64 / per_second.max(1) as f64;
        let rescaled = |full_at: u64| {
            let owed = full_at.saturating_sub(now) as f64 * scale;
            Some(now.saturating_add(owed as u64))
        };
        let done = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rescaled);
        debug_assert!(done.is_ok(), "the closure always has an answer");
    }
}

impl RateLimit {
    /// The time in which the bucket fills by that much.
    fn time_of(self, amount: u64) -> u64 {
        let time = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// What flows in a time.
    pub(crate) fn amount_in(self, time: Duration) -> u64 {
        (self.per_second as f64 * time.as_secs_f64()) as u64
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a session draws from besides its own buckets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Its user's; none where the user is empty.
    pub user: Option<Arc<Budget>>,
    /// Its realm's.
    pub realm: Arc<Budget>,
    /// The node's.
    pub node: Arc<Budget>,
}

/// The part of a client's address that limits per source go by: a host has one IPv4 address, but
/// a whole /64 of IPv6.
#[must_use]
pub fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit {
        per_second: 1000,
        burst: Duration::from_millis(500),
    };

    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn take(budget: &Budget, amount: u64, now: Instant) -> bool {
        budget.draw(Lane::ToPeer, LIMIT, 0, amount, now).is_ok()
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_at_its_rate() {
        let now = start();
        let budget = Budget::new(now);
        assert_eq!((0..100).filter(|_| take(&budget, 100, now)).count(), 5);
        assert!(
            budget.draw(Lane::ToClient, LIMIT, 0, 100, now).is_ok(),
            "lanes are apart"
        );
        let later = now + Duration::from_millis(200);
        assert_eq!((0..100).filter(|_| take(&budget, 100, later)).count(), 2);
        let much_later = now + Duration::from_secs(100);
        assert_eq!(
            (0..100).filter(|_| take(&budget, 100, much_later)).count(),
            5
        );
    }

    #[test]
    fn an_empty_bucket_says_when_it_is_worth_asking_again() {
        let now = start();
        let budget = Budget::new(now);
        assert!(take(&budget, 700, now));
        let again = budget.draw(Lane::ToPeer, LIMIT, 0, 1, now).unwrap_err();
        assert_eq!(again, now + Duration::from_millis(200));
        assert!(!take(&budget, 1, again));
        assert!(take(&budget, 1, again + Duration::from_nanos(1)));
    }

    #[test]
    fn what_comes_back_can_be_taken_again_but_does_not_pile_up() {
        let now = start();
        let budget = Budget::new(now);
        assert!(take(&budget, 500, now));
        assert!(!take(&budget, 1, now));
        let back = budget.draw(Lane::ToPeer, LIMIT, 500, 500, now);
        assert!(back.is_ok());
        let full = now + Duration::from_secs(10);
        assert!(budget.draw(Lane::ToPeer, LIMIT, 10_000, 500, full).is_ok());
        assert!(!take(&budget, 1, full));
    }

    #[test]
    fn debts_are_amounts_not_times_when_the_rate_changes() {
        let now = start();
        let budget = Budget::new(now);
        assert!(take(&budget, 100_000, now), "overdrawn once: 100 s of debt");
        let faster = RateLimit {
            per_second: 1_000_000,
            ..LIMIT
        };
        let soon = now + Duration::from_millis(1);
        assert!(budget.draw(Lane::ToPeer, faster, 0, 1, soon).is_ok());
    }

    #[test]
    fn sources_are_hosts() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
