//! The quota of the simulation: one number for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use shared::Realm;
use turn_proto::policy::{PlaceAnswer, Quota, QuotaExceeded, QuotaLimits};
use turn_proto::{Budget, Budgets, Claimant, PlaceClaim};

/// Counts sessions, says no at a limit, and has budgets to draw from.
#[derive(Debug)]
pub struct Count {
    held: AtomicI64,
    granted: AtomicI64,
    asks: bool,
    budgets: Budgets,
}

impl Count {
    /// Nothing is held, and budgets are full. `asks`: places are asked for where a limit is.
    #[must_use]
    pub fn new(origin: Instant, asks: bool) -> Self {
        let budget = || Arc::new(Budget::new(origin));
        Self {
            held: AtomicI64::new(0),
            granted: AtomicI64::new(0),
            asks,
            budgets: Budgets {
                user: Some(budget()),
                realm: budget(),
                node: budget(),
            },
        }
    }

    /// Places that were granted and have no session.
    #[must_use]
    pub fn granted(&self) -> i64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Grants a place, unless there are no more or nobody can be asked.
    #[must_use]
    pub fn answer(&self, claim: &PlaceClaim, available: bool) -> PlaceAnswer {
        let held = self.held() + self.granted();
        let over = |limit: Option<u32>| limit.is_some_and(|limit| held >= limit.into());
        if over(claim.per_user) {
            return PlaceAnswer::Exceeded(QuotaExceeded::User);
        }
        if over(claim.per_realm) || !available {
            return PlaceAnswer::Exceeded(QuotaExceeded::Realm);
        }
        self.granted.fetch_add(1, Ordering::Relaxed);
        PlaceAnswer::Granted
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> i64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Quota for Count {
    fn try_reserve(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded> {
        let held = self.held.load(Ordering::Relaxed);
        let over = |limit: Option<u32>| limit.is_some_and(|limit| held >= limit.into());
        if !limits.granted && !claimant.user.is_empty() && over(limits.per_user) {
            return Err(QuotaExceeded::User);
        }
        if !limits.granted && over(limits.per_realm) {
            return Err(QuotaExceeded::Realm);
        }
        if over(limits.per_source) {
            return Err(QuotaExceeded::Source);
        }
        if over(limits.per_node) {
            return Err(QuotaExceeded::Node);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        self.granted
            .fetch_sub(limits.granted.into(), Ordering::Relaxed);
        Ok(self.budgets.clone())
    }

    fn release(&self, _: Claimant<'_>) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    fn asks(&self, claimant: Claimant<'_>, limits: QuotaLimits) -> bool {
        let of_user = limits.per_user.filter(|_| !claimant.user.is_empty());
        self.asks && (of_user.is_some() || limits.per_realm.is_some())
    }

    fn give_back(&self, _: &Realm, _: &str) {
        self.granted.fetch_sub(1, Ordering::Relaxed);
    }
}
