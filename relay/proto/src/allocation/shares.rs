//! What a worker holds of the budgets that its sessions share with those of other workers.
//!
//! A slice is [`SLICES`] of the limit at most, over all workers, so that is what a limit may be
//! overshot by besides its burst. Per packet only the worker's own memory is touched: the budget
//! itself comes in when a slice is used up, and never twice before it has something again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use slab::Slab;

use crate::policy::{Budget, Budgets, Lane, RateLimit};

/// What the slices of all workers hold together, as the time in which a budget fills by that much.
const SLICES: Duration = Duration::from_millis(80);
/// The longest slice of one worker.
const LONGEST_SLICE: Duration = Duration::from_millis(10);

/// The longest time that nothing is asked of an empty budget.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// How long a session that found a budget empty goes before the one that emptied it. Without that
/// two clients whose packets come in step would not share: the first one would have it all.
const PRECEDENCE: Duration = Duration::from_millis(50);

/// Budgets that memory is kept for however few are in use.
const LEAST_KEPT: usize = 64;

/// Whose limit bites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Session,
    User,
    Realm,
    Node,
}

/// The names of a session's budgets in [`Shares`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareIds {
    /// Tells the sessions of a worker apart.
    session: u32,
    /// One more than its place.
    user: Option<NonZeroU32>,
    realm: u32,
    node: u32,
}

impl ShareIds {
    fn user(&self) -> Option<u32> {
        self.user.map(|user| user.get() - 1)
    }

    /// Whether there is a user to share with; the empty one is nobody.
    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }
}

/// The limits in force for a session, besides its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SharedLimits {
    pub(crate) user: Option<RateLimit>,
    pub(crate) realm: Option<RateLimit>,
    pub(crate) node: Option<RateLimit>,
}

impl SharedLimits {
    /// Whether nobody is limited.
    pub(crate) fn is_none(&self) -> bool {
        self.user.is_none() && self.realm.is_none() && self.node.is_none()
    }
}

/// All slices of a worker.
#[derive(Debug)]
pub(crate) struct Shares {
    shares: Slab<Share>,
    /// By the address of the budget, which the share keeps alive.
    by_budget: HashMap<usize, u32>,
    slice: Duration,
    joined: u32,
}

#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    sessions: u32,
    /// Made when a limit is met first.
    slices: Option<Box<[Slice; 3]>>,
}

/// What is held of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    held: u64,
    /// The rate that the next two were found under.
    per_second: u64,
    /// Not worth asking the budget before.
    empty_until: Option<Instant>,
    /// The session that the last slice was taken for.
    fed: Option<u32>,
    /// Another one that found nothing since, and until when it goes first.
    next: Option<(u32, Instant)>,
    /// The share of the limit that `empty_until` was found under.
    share: u32,
    /// What there was no room for and the budget was not told of.
    refused: u64,
}

impl Shares {
    /// Nothing held, by one of so many workers.
    pub(crate) fn new(workers: u32) -> Self {
        Self {
            shares: Slab::new(),
            by_budget: HashMap::default(),
            slice: (SLICES / workers.max(1)).min(LONGEST_SLICE),
            joined: 0,
        }
    }

    /// Budgets in use.
    pub(crate) fn len(&self) -> usize {
        self.shares.len()
    }

    /// Takes part in the budgets of a new session.
    pub(crate) fn join(&mut self, budgets: &Budgets) -> ShareIds {
        self.joined = self.joined.wrapping_add(1);
        ShareIds {
            session: self.joined,
            user: budgets.user.as_ref().and_then(|budget| {
                let place = self.join_one(budget);
                NonZeroU32::new(place + 1)
            }),
            realm: self.join_one(&budgets.realm),
            node: self.join_one(&budgets.node),
        }
    }

    fn join_one(&mut self, budget: &Arc<Budget>) -> u32 {
        let address = Arc::as_ptr(budget) as usize;
        let shares = &mut self.shares;
        let id = *self.by_budget.entry(address).or_insert_with(|| {
            shares.insert(Share {
                budget: Arc::clone(budget),
                sessions: 0,
                slices: None,
            }) as u32
        });
        self.shares[id as usize].sessions += 1;
        id
    }

    /// Gives up the part of a session that ended.
    pub(crate) fn leave(&mut self, ids: ShareIds) {
        for id in ids.user().into_iter().chain([ids.realm, ids.node]) {
            let share = &mut self.shares[id as usize];
            share.sessions -= 1;
            if share.sessions == 0 {
                let address = Arc::as_ptr(&share.budget) as usize;
                self.by_budget.remove(&address);
                self.shares.remove(id as usize);
            }
        }
        if self.by_budget.capacity() > 8 * self.by_budget.len().max(LEAST_KEPT) {
            self.by_budget.shrink_to(2 * self.by_budget.len());
            self.shares.shrink_to_fit();
        }
    }

    /// Takes an amount out of every budget that has a limit, or out of none.
    pub(crate) fn take(
        &mut self,
        ids: ShareIds,
        limits: &SharedLimits,
        lane: Lane,
        amount: u64,
        now: Instant,
    ) -> Result<(), Scope> {
        let of_user = ids.user().zip(limits.user);
        let of_realm = limits.realm.map(|limit| (ids.realm, limit));
        let of_node = limits.node.map(|limit| (ids.node, limit));
        let all = [
            (Scope::User, of_user),
            (Scope::Realm, of_realm),
            (Scope::Node, of_node),
        ];
        for (scope, limited) in all {
            if let Some((id, limit)) = limited
                && !self.shares[id as usize].ready(
                    ids.session,
                    lane,
                    limit,
                    self.slice,
                    amount,
                    now,
                )
            {
                return Err(scope);
            }
        }
        for (_, limited) in all {
            if let Some((id, _)) = limited {
                self.shares[id as usize].slices()[lane as usize].held -= amount;
            }
        }
        Ok(())
    }
}

impl Share {
    fn slices(&mut self) -> &mut [Slice; 3] {
        self.slices.get_or_insert_default()
    }

    /// Makes sure that the slice holds the amount.
    fn ready(
        &mut self,
        session: u32,
        lane: Lane,
        limit: RateLimit,
        slice: Duration,
        amount: u64,
        now: Instant,
    ) -> bool {
        let held = &mut self.slices.get_or_insert_default()[lane as usize];
        if held.per_second != limit.per_second {
            // What is held was taken under another limit: at once means at once.
            *held = Slice {
                per_second: limit.per_second,
                ..Slice::default()
            };
        }
        if held.held >= amount {
            return true;
        }
        let share = self.budget.share(lane);
        let is_empty = held.share == share && held.empty_until.is_some_and(|until| now < until);
        if is_empty || held.must_yield(session, now) {
            held.refused = held.refused.saturating_add(amount);
            held.queue(session, now);
            return false;
        }
        let wanted = match lane {
            Lane::ToPeer | Lane::ToClient => amount.max(limit.shared(share).amount_in(slice)),
            Lane::NewPeers => amount,
        };
        held.share = share;
        let refused = std::mem::take(&mut held.refused);
        match self.budget.draw(lane, limit, held.held, wanted, now) {
            Ok(()) => {
                self.budget.want(lane, refused + (wanted - held.held));
                held.held = wanted;
                held.empty_until = None;
                held.fed = Some(session);
                held.next = None;
                true
            }
            Err(until) => {
                self.budget.want(lane, refused.saturating_add(amount));
                // Looked at again soon however little flows: the budget is to hear what is wanted.
                held.empty_until = Some(until.min(now + LONGEST_WAIT));
                held.queue(session, now);
                false
            }
        }
    }
}

impl Slice {
    fn must_yield(&self, session: u32, now: Instant) -> bool {
        self.fed == Some(session) && self.next.is_some_and(|(_, until)| now < until)
    }

    /// Gives precedence to a session that found nothing, unless another one has it.
    fn queue(&mut self, session: u32, now: Instant) {
        let is_free = self.next.is_none_or(|(_, until)| until <= now);
        if is_free && self.fed != Some(session) {
            self.next = Some((session, now + PRECEDENCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;
    const BURST: Duration = Duration::from_millis(400);
    const PACKET: u64 = 8 * 1200;

    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn budgets(now: Instant) -> Budgets {
        let new = || Arc::new(Budget::new(now));
        Budgets {
            user: Some(new()),
            realm: new(),
            node: new(),
        }
    }

    fn limits(per_second: u64) -> SharedLimits {
        SharedLimits {
            user: Some(RateLimit {
                per_second,
                burst: BURST,
            }),
            ..SharedLimits::default()
        }
    }

    /// Sends packets on all workers for so long, each every `step`, and answers the bits that
    /// passed in each millisecond.
    fn flood(workers: &mut [(Shares, ShareIds)], limits: &SharedLimits, ms: u64) -> Vec<u64> {
        let begin = start();
        let of_ms = |ms: u64| {
            let now = begin + Duration::from_millis(ms);
            let mut passed = 0;
            for (shares, ids) in workers.iter_mut() {
                for _ in 0..8 {
                    let taken = shares.take(*ids, limits, Lane::ToPeer, PACKET, now);
                    passed += u64::from(taken.is_ok()) * PACKET;
                }
            }
            passed
        };
        (0..ms).map(of_ms).collect()
    }

    #[test]
    fn a_flood_on_many_workers_overshoots_a_limit_by_a_tenth_at_most_over_any_five_seconds() {
        for workers in [1, 2, 7, 64] {
            for rate in [100_000, RATE, 50 * RATE] {
                let budgets = budgets(start());
                let mut all: Vec<_> = (0..workers)
                    .map(|_| {
                        let mut shares = Shares::new(workers);
                        let ids = shares.join(&budgets);
                        (shares, ids)
                    })
                    .collect();
                let passed = flood(&mut all, &limits(rate), 8000);
                for window in passed.windows(5000).step_by(10) {
                    let sum: u64 = window.iter().sum();
                    let bound = 5 * rate + rate / 10 * 5 + PACKET;
                    assert!(sum <= bound, "{sum} of {rate} with {workers} workers");
                }
                let steady: u64 = passed[3000..].iter().sum();
                assert!(steady >= 49 * rate / 10, "{steady}: nothing is wasted");
            }
        }
    }

    #[test]
    fn what_idle_workers_hold_is_little() {
        let begin = start();
        let budgets = budgets(begin);
        let limits = limits(RATE);
        let mut held = 0;
        for _ in 0..50 {
            let mut shares = Shares::new(50);
            let ids = shares.join(&budgets);
            // One small packet each, long before the rest: all else of the slices is put by.
            let taken = shares.take(ids, &limits, Lane::ToPeer, 8, begin);
            held += u64::from(taken.is_ok()) * shares.shares[0].slices()[0].held;
        }
        assert!(held <= RATE / 10, "{held}");
    }

    #[test]
    fn the_scope_that_bites_is_named_and_the_others_lose_nothing() {
        let now = start();
        let budgets = budgets(now);
        let mut shares = Shares::new(1);
        let ids = shares.join(&budgets);
        let limit = |per_second| {
            Some(RateLimit {
                per_second,
                burst: BURST,
            })
        };
        let limits = SharedLimits {
            user: limit(RATE),
            realm: limit(RATE / 2),
            node: limit(RATE),
        };
        let mut passed = 0;
        let scope = loop {
            match shares.take(ids, &limits, Lane::ToClient, PACKET, now) {
                Ok(()) => passed += PACKET,
                Err(scope) => break scope,
            }
        };
        assert_eq!(scope, Scope::Realm);
        let wide = SharedLimits {
            realm: None,
            ..limits
        };
        while shares.take(ids, &wide, Lane::ToClient, PACKET, now).is_ok() {
            passed += PACKET;
        }
        let burst = RATE * 4 / 10;
        let slice = RATE / 100;
        assert!(
            (burst - PACKET..=burst + slice + PACKET).contains(&passed),
            "{passed}"
        );
    }

    #[test]
    fn another_limit_holds_from_the_next_packet_on() {
        let now = start();
        let budgets = budgets(now);
        let mut shares = Shares::new(1);
        let ids = shares.join(&budgets);
        let slow = limits(8000);
        // Overdrawn by far: at this rate there would be nothing for 24 s.
        assert!(shares.take(ids, &slow, Lane::ToPeer, 200_000, now).is_ok());
        assert!(shares.take(ids, &slow, Lane::ToPeer, 8, now).is_err());
        let soon = now + Duration::from_millis(700);
        assert!(shares.take(ids, &slow, Lane::ToPeer, 8, soon).is_err());
        assert!(
            shares
                .take(ids, &limits(RATE), Lane::ToPeer, 8, soon)
                .is_ok()
        );
    }

    #[test]
    fn budgets_are_let_go_with_their_last_session() {
        let budgets = budgets(start());
        let mut shares = Shares::new(1);
        let first = shares.join(&budgets);
        let second = shares.join(&budgets);
        assert_eq!(shares.len(), 3);
        shares.leave(first);
        assert_eq!(shares.len(), 3);
        shares.leave(second);
        assert_eq!(shares.len(), 0);
        assert!(shares.by_budget.is_empty());
        assert_eq!(Arc::strong_count(&budgets.realm), 1);
    }
}
