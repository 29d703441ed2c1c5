//! The quota of the simulation: one number for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use turn_proto::policy::{Quota, QuotaExceeded, QuotaLimits};
use turn_proto::{Budget, Budgets, Claimant};

/// Counts sessions, says no at a limit, and has budgets to draw from.
#[derive(Debug)]
pub struct Count {
    held: AtomicI64,
    budgets: Budgets,
}

impl Count {
    /// Nothing is held, and budgets are full.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        let budget = || Arc::new(Budget::new(origin));
        Self {
            held: AtomicI64::new(0),
            budgets: Budgets {
                user: Some(budget()),
                realm: budget(),
                node: budget(),
            },
        }
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
        if !claimant.user.is_empty() && over(limits.per_user) {
            return Err(QuotaExceeded::User);
        }
        if over(limits.per_realm) {
            return Err(QuotaExceeded::Realm);
        }
        if over(limits.per_source) {
            return Err(QuotaExceeded::Source);
        }
        if over(limits.per_node) {
            return Err(QuotaExceeded::Node);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(self.budgets.clone())
    }

    fn release(&self, _: Claimant<'_>) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}
