//! The read model: every session of this node, with its counters and rates.
//!
//! Fed by the events of the workers, healed by their snapshots. A list looks at every session, under
//! the lock that the workers' news need too: it goes through memory in order, allocates nothing for
//! rows that are not on the page, and puts no more in order than the page needs.

pub(super) mod aggregate;
pub(super) mod distinct;
mod entry;
mod field;
pub(super) mod groups;
mod kept;
mod new_peers;
pub(super) mod query;
mod ranking;
mod scan;
mod secrets;
mod slots;
pub(super) mod tally;
mod top;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{NodeId, Realm, SessionId, SessionIdPrefix, Transport, Username, WorkerId};
use turn_proto::server::{
    RefusalReason, Security, ServerCounters, SessionCounters, SessionSnapshot, SessionTally,
    UsageReport,
};

use entry::Entry;
pub(super) use entry::Row;
use kept::Homes;
pub(super) use kept::Kept;
use ranking::Rankings;
pub(super) use secrets::SecretUse;
use secrets::SecretsInUse;
pub(super) use slots::IdHash;
use slots::Slots;

use super::clock::Moment;
use super::drain::Lengths;

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
    /// What relays them, where that is not this program.
    software: Option<Arc<str>>,
    entries: Slots,
    /// Realms of sessions: equal ones share their text.
    realms: HashSet<Realm>,
    homes: Homes,
    /// How many sessions there are of each transport.
    transports: [u64; Transport::ALL.len()],
    secrets: SecretsInUse,
    workers: BTreeMap<WorkerId, WorkerBooks>,
    rankings: Rankings,
}

/// A session that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its id.
    pub id: SessionId,
    /// Its realm.
    pub realm: Realm,
    /// Its user; may be empty.
    pub user: Arc<str>,
    /// The full STUN USERNAME.
    pub username: Username,
    /// How the client's messages came.
    pub transport: Transport,
    /// What TLS or DTLS agreed on.
    pub security: Option<Security>,
    /// The client.
    pub client: SocketAddr,
    /// The listener that it came to.
    pub server: SocketAddr,
    /// What it relayed.
    pub tally: SessionTally,
    /// How long it lasted.
    pub age: Duration,
}

/// What one worker reported last.
#[derive(Debug)]
struct WorkerBooks {
    /// Counts its reports: a session whose own number is older relayed nothing since.
    report: u64,
    at: Instant,
    /// Bits per second in and out of all sessions in that report that have not ended.
    rates: (u64, u64),
    server: ServerCounters,
    refusals: HashMap<RefusalKey, u64>,
}

impl Ended {
    /// Bytes relayed in both directions.
    #[must_use]
    pub(super) fn bytes(&self) -> u64 {
        self.tally.in_bytes + self.tally.out_bytes
    }
}

impl Directory {
    /// Knows no session yet.
    #[must_use]
    pub(super) fn new(node: NodeId, labels: BTreeMap<String, String>) -> Self {
        Self {
            node,
            labels,
            software: None,
            entries: Slots::default(),
            realms: HashSet::new(),
            homes: Homes::default(),
            transports: Default::default(),
            secrets: SecretsInUse::default(),
            workers: BTreeMap::new(),
            rankings: Rankings::default(),
        }
    }

    /// Replaces the node's labels after a reload.
    pub(super) fn set_labels(&mut self, labels: BTreeMap<String, String>) {
        self.labels = labels;
    }

    /// Names what relays the sessions in the place of this program.
    pub(super) fn set_software(&mut self, software: &str) {
        if self.software.as_deref() != Some(software) {
            self.software = Some(software.into());
        }
    }

    /// The node, and what relays its sessions where that is not this program.
    fn whose(&self) -> (&NodeId, Option<&str>) {
        (&self.node, self.software.as_deref())
    }

    /// One session, as of now.
    #[must_use]
    pub(super) fn row(&self, id: SessionId, now: Moment) -> Option<Row<'_>> {
        let entry = self.entries.get(id)?;
        Some(Row {
            entry,
            node: &self.node,
            software: self.software.as_deref(),
            report: current_report(&self.workers, entry.worker, now),
            now,
        })
    }

    /// All sessions, as of now, in no order.
    pub(super) fn rows(&self, now: Moment) -> impl Iterator<Item = Row<'_>> {
        let mut reports = Vec::new();
        for worker in self.workers.keys() {
            let at = usize::from(worker.0);
            reports.resize(reports.len().max(at + 1), None);
            reports[at] = current_report(&self.workers, *worker, now);
        }
        self.entries.iter().map(move |entry| Row {
            entry,
            node: &self.node,
            software: self.software.as_deref(),
            report: reports.get(usize::from(entry.worker.0)).copied().flatten(),
            now,
        })
    }

    /// How many there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Looks at so many sessions from place `below` downwards, and answers the place to go on below;
    /// 0: that was all. A session that is there during the whole walk is seen, whatever else begins
    /// or ends between two slices: who moves into a gap comes from a place that was seen.
    pub(super) fn walk_down(
        &self,
        below: usize,
        count: usize,
        now: Moment,
        mut visit: impl FnMut(Row<'_>),
    ) -> usize {
        let below = below.min(self.len());
        let next = below.saturating_sub(count);
        for entry in self.entries.places(next..below) {
            visit(Row {
                entry,
                node: &self.node,
                software: self.software.as_deref(),
                report: None,
                now,
            });
        }
        next
    }

    /// The shared secrets that signed credentials of live sessions, and keys of third-party
    /// authorization, with what is known about their use.
    pub(super) fn secrets_in_use(&self) -> impl Iterator<Item = (&Realm, &Arc<str>)> {
        self.secrets.in_use()
    }

    /// How much the secrets of a realm are used: sessions, and when the last one began.
    #[must_use]
    pub(crate) fn secret_use(&self, realm: &Realm) -> BTreeMap<String, SecretUse> {
        self.secrets.of_realm(realm)
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.entries.ids()
    }

    /// How old the sessions are; and the longest time, in seconds, that one of them has without being
    /// refreshed, where that is asked for: it takes a look at more memory.
    #[must_use]
    pub(super) fn ages(&self, with_ttl: bool, now: Moment) -> (Lengths, Option<u64>) {
        let mut ages = Lengths::default();
        for entry in self.entries.iter() {
            let age = (now.unix_ms / 1000).saturating_sub(entry.created_unix);
            ages.add(Duration::from_secs(age));
        }
        let longest = || self.rows(now).map(|row| row.ttl_secs()).max();
        (ages, with_ttl.then(|| longest().unwrap_or(0)))
    }

    /// The sessions whose id starts so: at most two of them, and how many there are.
    #[must_use]
    pub(super) fn by_prefix(&self, prefix: SessionIdPrefix) -> (Vec<SessionId>, u64) {
        if let Some(id) = prefix.exact() {
            let known = self.entries.contains(id);
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
    pub(super) fn upsert(&mut self, mut snapshot: SessionSnapshot, now: Moment) -> bool {
        match self.realms.get(&snapshot.realm) {
            Some(realm) => snapshot.realm.clone_from(realm),
            None => {
                self.realms.insert(snapshot.realm.clone());
            }
        }
        if let Some(entry) = self.entries.get_mut(snapshot.id) {
            if entry.kept.secret_id() != snapshot.secret_id.as_deref() {
                self.secrets.leave(&entry.realm, entry.kept.secret_id());
                self.secrets.enter(&snapshot);
            }
            entry.update(snapshot, &mut self.homes, now);
            return false;
        }
        self.transports[place_of(snapshot.tuple.transport)] += 1;
        self.secrets.enter(&snapshot);
        self.entries.insert(Entry::new(snapshot, &mut self.homes));
        true
    }

    /// A session ended. Answers what it was, or `None` when it was not known.
    pub(super) fn remove(
        &mut self,
        id: SessionId,
        counters: &SessionCounters,
        now: Moment,
    ) -> Option<Ended> {
        self.entries.get_mut(id)?.count(counters, now);
        self.take_out(id, now)
    }

    fn take_out(&mut self, id: SessionId, now: Moment) -> Option<Ended> {
        let entry = self.entries.remove(id)?;
        self.transports[place_of(entry.kept.transport)] -= 1;
        self.secrets.leave(&entry.realm, entry.kept.secret_id());
        if let Some(books) = self.workers.get_mut(&entry.worker) {
            let (rate_in, rate_out) = entry.rates(Some(books.report));
            books.rates.0 = books.rates.0.saturating_sub(rate_in);
            books.rates.1 = books.rates.1.saturating_sub(rate_out);
        }
        Some(Ended {
            id,
            transport: entry.kept.transport,
            security: entry.kept.security(),
            client: entry.client,
            server: entry.kept.server(),
            tally: entry.kept.tally,
            age: now.mono.saturating_duration_since(entry.kept.created),
            username: entry.kept.username,
            user: entry.user,
            realm: entry.realm,
        })
    }

    /// These are all that a worker has: sessions it does not name are gone. Answers what they were.
    pub(super) fn keep_only(
        &mut self,
        worker: WorkerId,
        named: &[SessionId],
        now: Moment,
    ) -> Vec<Ended> {
        let named: HashSet<_> = named.iter().copied().collect();
        let own = self.entries.iter().filter(|entry| entry.worker == worker);
        let lost: Vec<_> = own
            .map(|entry| entry.id)
            .filter(|id| !named.contains(id))
            .collect();
        let lost = lost.into_iter().filter_map(|id| self.take_out(id, now));
        lost.collect()
    }

    /// A worker's report of the last second.
    pub(super) fn report(&mut self, worker: WorkerId, usage: UsageReport, now: Moment) {
        let books = self.workers.entry(worker).or_insert_with(|| WorkerBooks {
            report: 0,
            at: now
                .mono
                .checked_sub(Duration::from_secs(1))
                .unwrap_or(now.mono),
            rates: (0, 0),
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
        books.rates = (0, 0);
        for (id, counters) in usage.sessions {
            let own = |entry: &&mut Entry| entry.worker == worker;
            let Some(entry) = self.entries.get_mut(id).filter(own) else {
                continue;
            };
            // None yet, unless the report names it twice.
            let (in_before, out_before) = entry.rates(Some(books.report));
            entry.measure(&counters, books.report, elapsed, now);
            let (rate_in, rate_out) = entry.rates(Some(books.report));
            books.rates.0 = books.rates.0 - in_before + rate_in;
            books.rates.1 = books.rates.1 - out_before + rate_out;
        }
    }

    /// What somebody else measured of a worker's sessions, about once per second.
    pub(super) fn measured(
        &mut self,
        worker: WorkerId,
        sessions: Vec<(SessionId, SessionCounters, (u64, u64))>,
        server: ServerCounters,
        now: Moment,
    ) {
        let none = UsageReport {
            server,
            ..UsageReport::default()
        };
        self.report(worker, none, now);
        let Some(books) = self.workers.get_mut(&worker) else {
            return;
        };
        for (id, counters, rates) in sessions {
            let own = |entry: &&mut Entry| entry.worker == worker;
            let Some(entry) = self.entries.get_mut(id).filter(own) else {
                continue;
            };
            entry.set_measured(&counters, rates, books.report, now);
            books.rates.0 += rates.0;
            books.rates.1 += rates.1;
        }
    }

    /// Counters of all workers together.
    #[must_use]
    pub(super) fn server_counters(&self) -> ServerCounters {
        let mut sum = ServerCounters::default();
        for one in self.workers.values().map(|books| &books.server) {
            sum += *one;
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
}

/// The place of a transport among all of them.
fn place_of(transport: Transport) -> usize {
    let place = Transport::ALL.iter().position(|one| *one == transport);
    place.unwrap_or_default()
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
