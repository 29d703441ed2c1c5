//! Token buckets that the sessions of several workers share: one per user, per realm and per node.
//!
//! A bucket is one number per [`Lane`], so that taking from it needs no lock. Workers take slices
//! and spend from those; what they hold and have not spent is what a limit may be overshot by.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// The share of a limit that is all of it.
pub const WHOLE: u32 = 1_000_000;

/// What was wanted of one lane of a [`Budget`] since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Bits or peers, whether there was room for them or not.
    pub amount: u64,
    /// The limit that was in force, per second; 0: none was met yet.
    pub per_second: u64,
}

/// One token bucket per lane, without a rate of its own: the limit comes along with each draw, so
/// that a new one holds from the next draw on. Where several nodes share a limit, each has a share
/// of it that changes with time.
#[derive(Debug)]
pub struct Budget {
    origin: Instant,
    lanes: [LaneState; 3],
}

#[derive(Debug)]
struct LaneState {
    /// When the bucket will be full again, in nanoseconds since the origin.
    full_at: AtomicU64,
    /// The rate that `full_at` was computed with.
    per_second: AtomicU64,
    /// The share that it was computed with.
    followed: AtomicU32,
    /// The part of the limit that may be drawn here, in millionths.
    share: AtomicU32,
    /// What was wanted, taken or not.
    wanted: AtomicU64,
}

impl LaneState {
    fn new(share: u32) -> Self {
        Self {
            full_at: AtomicU64::new(0),
            per_second: AtomicU64::new(0),
            followed: AtomicU32::new(share),
            share: AtomicU32::new(share),
            wanted: AtomicU64::new(0),
        }
    }
}

impl Budget {
    /// Full buckets. `origin` is any moment before the first draw.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            lanes: [WHOLE; 3].map(LaneState::new),
        }
    }

    /// As [`new`](Self::new), with nothing to draw of rates until there is a
    /// [share](Self::set_share); new peers are counted here alone.
    #[must_use]
    pub fn without_share(origin: Instant) -> Self {
        Self {
            origin,
            lanes: [0, 0, WHOLE].map(LaneState::new),
        }
    }

    /// The part of the limit that may be drawn here, in millionths ([`WHOLE`] is all of it).
    #[must_use]
    pub fn share(&self, lane: Lane) -> u32 {
        self.lanes[lane as usize].share.load(Ordering::Relaxed)
    }

    /// Sets it. What is in the bucket stays as far as there is room for it: more of a limit does not
    /// come with another burst, or shares that move between nodes would let pass more than the limit.
    pub fn set_share(&self, lane: Lane, share: u32) {
        let share = share.min(WHOLE);
        self.lanes[lane as usize]
            .share
            .store(share, Ordering::Relaxed);
    }

    /// What was wanted since this was asked last.
    #[must_use]
    pub fn take_demand(&self, lane: Lane) -> Demand {
        let lane = &self.lanes[lane as usize];
        Demand {
            amount: lane.wanted.swap(0, Ordering::Relaxed),
            per_second: lane.per_second.load(Ordering::Relaxed),
        }
    }

    /// Notes what was wanted, taken or not.
    pub(crate) fn want(&self, lane: Lane, amount: u64) {
        let lane = &self.lanes[lane as usize];
        lane.wanted.fetch_add(amount, Ordering::Relaxed);
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
        let share = state.share.load(Ordering::Relaxed);
        state.follow(limit.per_second, now);
        state.follow_share(limit, share, now);
        let limit = limit.shared(share);
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

impl LaneState {
    /// Keeps the amount that is in the bucket when the share changes, as far as it has room.
    fn follow_share(&self, limit: RateLimit, share: u32, now: u64) {
        if self.followed.load(Ordering::Relaxed) == share {
            return;
        }
        let before = self.followed.swap(share, Ordering::Relaxed);
        if before == share {
            return;
        }
        let rate = |share| limit.shared(share).per_second as f64;
        let (burst, scale) = (nanos(limit.burst) as f64, rate(before) / rate(share));
        let moved = |full_at: u64| {
            let in_bucket = burst - full_at.saturating_sub(now) as f64;
            // In floats, whose casts saturate: a debt at no rate lasts for ever.
            Some(now.saturating_add((burst - in_bucket * scale).max(0.0) as u64))
        };
        let done = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
        debug_assert!(done.is_ok(), "the closure always has an answer");
    }
}

impl RateLimit {
    /// That part of it, in millionths; a bit per second at least.
    pub(crate) fn shared(self, share: u32) -> Self {
        if share >= WHOLE {
            return self;
        }
        let part = u128::from(self.per_second) * u128::from(share) / u128::from(WHOLE);
        Self {
            per_second: u64::try_from(part).unwrap_or(u64::MAX).max(1),
            ..self
        }
    }

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
    fn a_share_that_moves_brings_no_burst_along() {
        let now = start();
        let (here, there) = (Budget::new(now), Budget::without_share(now));
        // The bucket here is full; the other one has nothing to fill with.
        assert!(take(&there, 100, now), "overdrawn once");
        let later = now + Duration::from_secs(10);
        assert!(!take(&there, 1, later));
        here.set_share(Lane::ToPeer, 0);
        there.set_share(Lane::ToPeer, WHOLE);
        assert!(!take(&there, 1, later), "the debt came along");
        let drawn = |from: Instant, steps: u64| {
            let at = |n| from + Duration::from_millis(n);
            let all = (0..steps).map(|n| u64::from(take(&there, 1, at(n))));
            all.sum::<u64>()
        };
        let in_a_second = drawn(later, 1000);
        assert!((890..=910).contains(&in_a_second), "{in_a_second}");
        assert!(!take(&here, 1, later) || !take(&here, 1, later));
    }

    #[test]
    fn half_a_share_is_half_the_rate_and_half_the_burst() {
        let now = start();
        let budget = Budget::new(now);
        budget.set_share(Lane::ToPeer, WHOLE / 2);
        assert_eq!((0..100).filter(|_| take(&budget, 50, now)).count(), 5);
        let later = now + Duration::from_millis(200);
        assert_eq!((0..100).filter(|_| take(&budget, 50, later)).count(), 2);
    }

    #[test]
    fn what_is_wanted_is_told_once() {
        let budget = Budget::new(start());
        budget.want(Lane::ToClient, 700);
        assert_eq!(budget.take_demand(Lane::ToClient).amount, 700);
        assert_eq!(budget.take_demand(Lane::ToClient), Demand::default());
    }

    #[test]
    fn sources_are_hosts() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
