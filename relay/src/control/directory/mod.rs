//! The read model: every session of this node, with its counters and rates.
//!
//! Fed by the events of the workers, healed by their snapshots. Queries refresh rows in place and
//! never allocate for rows that do not match.

pub(super) mod aggregate;
mod entry;
mod new_peers;
pub(super) mod query;
mod ranking;
pub(super) mod tally;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use shared::api::SessionView;
use shared::{NodeId, Realm, SessionId, SessionIdPrefix, WorkerId};
use turn_proto::server::{
    RefusalReason, ServerCounters, SessionCounters, SessionSnapshot, UsageReport,
};

pub(super) use entry::Entry;
use ranking::Rankings;

use super::clock::Moment;

/// Refusal counters kept per worker; what exceeds this is counted without its realm.
const MAX_REFUSAL_KEYS: usize = 10_000;
/// A worker whose last report is older relays nothing, as far as rates are concerned.
const REPORT_PATIENCE: Duration = Duration::from_millis(2500);

/// Refusals are told apart by realm, reason and the code that was sent.
pub(super) type RefusalKey = (Option<Realm>, RefusalReason, Option<u16>);

/// All sessions of this node.
#[derive(Debug)]
pub(super) struct Directory {
    node: NodeId,
    labels: BTreeMap<String, String>,
    entries: HashMap<SessionId, Entry>,
    workers: BTreeMap<WorkerId, WorkerBooks>,
    rankings: Rankings,
}

/// What one worker reported last.
#[derive(Debug)]
struct WorkerBooks {
    /// Counts its reports: a session whose own number is older relayed nothing since.
    report: u64,
    at: Instant,
    server: ServerCounters,
    refusals: HashMap<RefusalKey, u64>,
}

impl Directory {
    /// Knows no session yet.
    #[must_use]
    pub(super) fn new(node: NodeId, labels: BTreeMap<String, String>) -> Self {
        Self {
            node,
            labels,
            entries: HashMap::new(),
            workers: BTreeMap::new(),
            rankings: Rankings::default(),
        }
    }

    /// Replaces the node's labels after a reload.
    pub(super) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        self.labels = labels;
    }

    /// One session, with its row as of now.
    pub(super) fn entry(&mut self, id: SessionId, now: Moment) -> Option<&Entry> {
        let entry = self.entries.get_mut(&id)?;
        entry.refresh(current_report(&self.workers, entry.view.worker, now), now);
        Some(entry)
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.entries.keys().copied()
    }

    /// The sessions whose id starts so: at most two of them, and how many there are.
    #[must_use]
    pub(super) fn by_prefix(&self, prefix: SessionIdPrefix) -> (Vec<SessionId>, u64) {
        if let Some(id) = prefix.exact() {
            let known = self.entries.contains_key(&id);
            return (known.then_some(id).into_iter().collect(), u64::from(known));
        }
        let mut found = Vec::new();
        let mut count = 0;
        for id in self.ids().filter(|id| prefix.matches(*id)) {
            count += 1;
            if found.len() < 2 {
                found.push(id);
            }
        }
        (found, count)
    }

    /// A session was created or changed. Answers whether it is new.
    pub(super) fn upsert(&mut self, snapshot: SessionSnapshot, now: Moment) -> bool {
        let id = snapshot.id;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.update(snapshot, now);
            return false;
        }
        self.entries
            .insert(id, Entry::new(&self.node, snapshot, now));
        true
    }

    /// A session ended. Answers its last row, or `None` when it was not known.
    pub(super) fn remove(
        &mut self,
        id: SessionId,
        counters: &SessionCounters,
        now: Moment,
    ) -> Option<SessionView> {
        let mut entry = self.entries.remove(&id)?;
        entry.count(counters, now);
        Some(entry.view)
    }

    /// All that a worker has: sessions it does not name are gone. Answers their rows.
    pub(super) fn replace_worker(
        &mut self,
        worker: WorkerId,
        sessions: Vec<SessionSnapshot>,
        now: Moment,
    ) -> Vec<SessionView> {
        let named: HashSet<_> = sessions.iter().map(|session| session.id).collect();
        for session in sessions {
            self.upsert(session, now);
        }
        let lost =
            |id: &SessionId, entry: &mut Entry| entry.view.worker == worker && !named.contains(id);
        self.entries
            .extract_if(lost)
            .map(|(_, entry)| entry.view)
            .collect()
    }

    /// A worker's report of the last second.
    pub(super) fn report(&mut self, worker: WorkerId, usage: UsageReport, now: Moment) {
        let books = self.workers.entry(worker).or_insert_with(|| WorkerBooks {
            report: 0,
            at: now
                .mono
                .checked_sub(Duration::from_secs(1))
                .unwrap_or(now.mono),
            server: ServerCounters::default(),
            refusals: HashMap::new(),
        });
        let elapsed = now
            .mono
            .saturating_duration_since(books.at)
            .as_secs_f64()
            .max(0.1);
        books.report += 1;
        books.at = now.mono;
        books.server = usage.server;
        books.refusals.clear();
        for (realm, reason, code, count) in usage.refusals {
            let full = books.refusals.len() >= MAX_REFUSAL_KEYS;
            let key = (realm.filter(|_| !full), reason, code);
            *books.refusals.entry(key).or_default() += count;
        }
        for (id, counters) in usage.sessions {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.measure(&counters, books.report, elapsed, now);
            }
        }
    }

    /// Counters of all workers together.
    #[must_use]
    pub(super) fn server_counters(&self) -> ServerCounters {
        let mut sum = ServerCounters::default();
        for one in self.workers.values().map(|books| &books.server) {
            sum.received += one.received;
            sum.malformed += one.malformed;
            sum.bindings += one.bindings;
            sum.challenges += one.challenges;
            sum.redirects += one.redirects;
            sum.allocations += one.allocations;
            sum.ended += one.ended;
            sum.relayed_packets += one.relayed_packets;
            sum.relayed_bytes += one.relayed_bytes;
            sum.dropped_packets += one.dropped_packets;
            sum.untold_refusals += one.untold_refusals;
        }
        sum
    }

    /// Refusals of all workers together.
    #[must_use]
    pub(super) fn refusals(&self) -> BTreeMap<RefusalKey, u64> {
        let mut sum = BTreeMap::new();
        for (key, count) in self.workers.values().flat_map(|books| &books.refusals) {
            *sum.entry(key.clone()).or_default() += count;
        }
        sum
    }

    /// Brings all rows up to date.
    fn refresh_all(&mut self, now: Moment) {
        let reports: HashMap<WorkerId, Option<u64>> = self
            .workers
            .keys()
            .map(|worker| (*worker, current_report(&self.workers, *worker, now)))
            .collect();
        for entry in self.entries.values_mut() {
            let report = reports.get(&entry.view.worker).copied().flatten();
            entry.refresh(report, now);
        }
    }
}

/// The number of a worker's last report, unless that is too old to say anything about now.
fn current_report(
    workers: &BTreeMap<WorkerId, WorkerBooks>,
    worker: WorkerId,
    now: Moment,
) -> Option<u64> {
    let books = workers.get(&worker)?;
    let fresh = now.mono.saturating_duration_since(books.at) <= REPORT_PATIENCE;
    fresh.then_some(books.report)
}
