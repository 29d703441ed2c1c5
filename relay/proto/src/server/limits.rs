//! Limits that bite: counted per packet, explained once per session and interval.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Transport;

use super::exchange::Exchange;
use super::refusals::{Occurrence, Refusals};
use super::source_limit::Kind;
use super::{RefusalReason, Server};
use crate::allocation::{Allocation, Scope};
use crate::five_tuple::RelayId;
use crate::time::Now;

/// How often a session whose packets are dropped is told of.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(10);

const RATES: [(Scope, RefusalReason); 4] = [
    (Scope::Session, RefusalReason::SessionRate),
    (Scope::User, RefusalReason::UserRate),
    (Scope::Realm, RefusalReason::RealmRate),
    (Scope::Node, RefusalReason::NodeRate),
];

impl Server {
    /// Drops a packet over a limit.
    pub(super) fn drop_over_rate(&mut self, relay: RelayId, scope: Scope) {
        self.drop_packet(relay, |counters| match scope {
            Scope::Session => &mut counters.drop_over_rate,
            Scope::User => &mut counters.drop_over_user_rate,
            Scope::Realm => &mut counters.drop_over_realm_rate,
            Scope::Node => &mut counters.drop_over_node_rate,
        });
        if let Some(allocation) = self.table.get_mut(relay) {
            allocation.meter.note_drop(scope);
        }
    }

    /// Whether an error may go to a source that has not proved itself. Over UDP only: elsewhere a
    /// source cannot be forged, and a client would not ask again.
    pub(super) fn may_refuse_unproven(&mut self, now: Now, exchange: &Exchange) -> bool {
        let limit = self.policy.settings.unauthorized_ratelimit;
        let may = self.source_may(now, exchange, Kind::Error, limit);
        if !may {
            self.counters.limited_errors += 1;
            self.refusals
                .count(Some(&exchange.realm), RefusalReason::SourceErrorLimit);
        }
        may
    }

    /// Whether a Binding request may be answered.
    pub(super) fn may_answer_binding(&mut self, now: Now, exchange: &Exchange) -> bool {
        let limit = self.policy.settings.binding_ratelimit;
        let may = self.source_may(now, exchange, Kind::Binding, limit);
        if !may {
            self.counters.limited_bindings += 1;
            self.refusals
                .count(Some(&exchange.realm), RefusalReason::SourceBindingLimit);
        }
        may
    }

    fn source_may(
        &mut self,
        now: Now,
        exchange: &Exchange,
        kind: Kind,
        limit: Option<u32>,
    ) -> bool {
        let (Some(limit), Transport::Udp) = (limit, exchange.tuple.transport) else {
            return true;
        };
        let source: SocketAddr = exchange.tuple.client;
        self.sources.admit(source.ip(), kind, limit, now.mono)
    }
}

/// Counts what a session's packets lost to limits since the last report, and explains it unless
/// that was done a moment ago. Answers the rows that did not fit.
pub(super) fn report_over_rate(
    refusals: &mut Refusals,
    allocation: &mut Allocation,
    now: Instant,
) -> u64 {
    count_over_rate(refusals, allocation);
    let Some(drops) = allocation.meter.drops() else {
        return 0;
    };
    let is_recent = |at: Instant| now.saturating_duration_since(at) < TELL_EVERY;
    if drops.untold == [0; 4] || drops.told.is_some_and(is_recent) {
        return 0;
    }
    drops.told = Some(now);
    let dropped = std::mem::take(&mut drops.untold);
    let identity = &allocation.identity;
    let mut untold = 0;
    for (scope, reason) in RATES {
        let times = dropped[scope as usize];
        if times == 0 {
            continue;
        }
        let one = Occurrence {
            at: now,
            client: allocation.tuple.client,
            realm: &identity.realm.name,
            username: Some(&identity.username),
            session: Some(allocation.id),
            peer: None,
            reason,
            times: times.into(),
        };
        let fits = refusals.tell(one, || Some(Arc::clone(&identity.user)));
        untold += u64::from(!fits);
    }
    untold
}

/// Adds a session's drops to the counters by realm and reason.
pub(super) fn count_over_rate(refusals: &mut Refusals, allocation: &mut Allocation) {
    let Some(drops) = allocation.meter.drops() else {
        return;
    };
    let dropped = std::mem::take(&mut drops.dropped);
    for (scope, reason) in RATES {
        let times = dropped[scope as usize];
        if times > 0 {
            let untold = &mut drops.untold[scope as usize];
            *untold = untold.saturating_add(times);
            let realm = &allocation.identity.realm.name;
            refusals.count_many(Some(realm), reason, times.into());
        }
    }
}
