//! What is due by itself: expiry, look-ups that take too long, the usage report.

use std::time::{Duration, Instant};

use shared::SessionId;

use super::{EndCause, Event, Output, RefusalReason, Revocation, Server, UsageReport, limits};
use crate::allocation::Half;
use crate::five_tuple::RelayId;
use crate::time::Now;

/// Between usage reports.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Whose deadline it is: the half of a session's id that its server counts is enough beside the
/// slot, because ids come round after 2^32 sessions.
pub(super) type Due = (RelayId, u32);

/// The name of a session in the queue of deadlines.
pub(super) fn due(relay: RelayId, session: SessionId) -> Due {
    (relay, session.0 as u32)
}

impl Server {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.catch_up(now);
        for parked in self.parking.take_due(now.mono) {
            self.give_up(now, &parked, RefusalReason::LookupTimeout);
        }
        if self.report_at.is_some_and(|at| at <= now.mono) {
            self.report_at = None;
            if self.guests.len() > 0 {
                self.guests.sweep(now.mono, self.longest_lifetime());
            }
            self.report(now.mono);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called at the latest. It may have nothing to do
    /// then, because deadlines that moved away are not searched for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [
            self.expiry.next(),
            self.links.next_deadline(),
            self.parking.next_deadline(),
            self.report_at,
        ];
        due.into_iter().flatten().min()
    }

    /// Expires what is due, so that no packet meets a session, permission or channel that is over.
    pub(super) fn catch_up(&mut self, now: Now) {
        while let Some((when, key)) = self.expiry.pop_due(now.mono) {
            let (relay, _) = key;
            let Some(allocation) = self.table.get_mut(relay) else {
                continue;
            };
            let id = allocation.id;
            if due(relay, id) != key || allocation.scheduled != when {
                continue;
            }
            if allocation.expires() <= now.mono {
                self.end(relay, EndCause::Expired);
                continue;
            }
            if allocation
                .credential_end()
                .is_some_and(|end| end <= now.mono)
            {
                self.end(relay, EndCause::Revoked(Revocation::CredentialExpired));
                continue;
            }
            let over = allocation.halves().find(|half| half.expires <= now.mono);
            if let Some(family) = over.map(Half::family) {
                // Puts the next deadline into the queue, too.
                self.end_half(relay, family);
                continue;
            }
            allocation.permissions.purge(now.mono);
            allocation.channels.purge(now.mono);
            let next = allocation.next_deadline();
            allocation.scheduled = next;
            self.expiry.push(next, due(relay, id));
        }
        self.expire_links(now);
    }

    /// Makes sure that the queue knows the nearest deadline of a session. One that lies behind the
    /// queued one needs nothing: it is found when that comes up.
    pub(super) fn reschedule(&mut self, relay: RelayId) {
        let Some(allocation) = self.table.get_mut(relay) else {
            return;
        };
        let next = allocation.next_deadline();
        if next < allocation.scheduled {
            allocation.scheduled = next;
            self.expiry.push(next, due(relay, allocation.id));
        }
        self.sweep_expiry();
    }

    pub(super) fn sweep_expiry(&mut self) {
        let table = &self.table;
        self.expiry.sweep(table.len(), |when, key| {
            table
                .get(key.0)
                .is_some_and(|a| due(key.0, a.id) == *key && a.scheduled == when)
        });
    }

    fn report(&mut self, now: Instant) {
        let mut sessions = Vec::with_capacity(self.changed.len());
        for relay in self.changed.drain(..) {
            let Some(allocation) = self.table.get_mut(relay) else {
                continue;
            };
            if std::mem::take(&mut allocation.changed) {
                sessions.push((allocation.id, allocation.counters.counters()));
                let untold = limits::report_over_rate(&mut self.refusals, allocation, now);
                self.counters.untold_refusals += untold;
            }
        }
        // Before the counters: this adds to them.
        let refused = self.refusals.take_told();
        let report = UsageReport {
            sessions,
            server: self.counters,
            refusals: self.refusals.rows(),
            refused,
        };
        self.outputs
            .push_back(Output::Event(Event::Usage(Box::new(report))));
    }
}
