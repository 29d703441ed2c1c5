//! Statistics for what reads coturn's: which session is told of when.
//!
//! The books are told anyway what the workers do; what Redis is to hear of it is queued here and
//! written by a task of its own. Nobody waits for that Redis: what does not fit the queue is dropped
//! and counted.

mod teller;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::SessionId;
use tokio::sync::Notify;
use turn_proto::server::{EndCause, Security, SessionCounters, SessionTally};

use super::clock::Moment;
use super::directory::{Directory, Ended, IdHash, Row};
use super::health::{StoreHealth, Turn};
use crate::store::redis::{StatsDb, Told};
use crate::store::statsdb::{DELETED, StatsNames, StatsStatus, StatsWrite, Traffic};

pub(super) use teller::run;

/// Writes that wait at most; the oldest go first.
const MAX_WRITES: usize = 32_768;
/// Packets, counted as they come and as they go, after which traffic is told.
const TRAFFIC_STEPS: u64 = 4096;
/// How much longer than its session a status key is kept.
const MARGIN: Duration = Duration::from_secs(60);

/// What is to be told, and to whom.
#[derive(Debug)]
pub(super) struct Statsdb {
    db: StatsDb,
    queue: Mutex<Queue>,
    /// Something is queued.
    queued: Notify,
    health: StoreHealth,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    writes: VecDeque<StatsWrite>,
    /// What was relayed when traffic was told last.
    told: HashMap<SessionId, Traffic, IdHash>,
}

/// The figures of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsdbMetrics {
    /// Whether Redis answers.
    pub connected: bool,
    /// Commands that it took.
    pub written: u64,
    /// Commands that it never got, or refused.
    pub dropped: u64,
    /// Commands that wait.
    pub queued: u64,
}

impl Statsdb {
    /// Nothing told yet.
    #[must_use]
    pub(super) fn new(db: StatsDb) -> Self {
        Self {
            db,
            queue: Mutex::default(),
            queued: Notify::new(),
            health: StoreHealth::new(false, Moment::now().unix_ms),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// A session has begun.
    pub(super) fn begun(&self, row: &Row<'_>) {
        let mut queue = self.queue();
        queue.told.insert(row.id(), Traffic::default());
        self.status(&mut queue, row, true);
    }

    /// A session was refreshed, if it expires at another moment than before.
    pub(super) fn changed(&self, row: &Row<'_>, expired: Instant) {
        if row.kept().expires != expired {
            self.status(&mut self.queue(), row, false);
        }
    }

    fn status(&self, queue: &mut Queue, row: &Row<'_>, is_new: bool) {
        let (key, value, ttl) = status(row, is_new);
        let publish = StatsWrite::Publish {
            channel: key.clone(),
            message: value.clone(),
        };
        self.push(queue, [StatsWrite::Set { key, value, ttl }, publish]);
    }

    /// A session goes on that was told of before this start: only its key is written.
    pub(super) fn goes_on(&self, row: &Row<'_>) {
        let mut queue = self.queue();
        let sofar = Traffic::from(&row.kept().tally);
        queue.told.entry(row.id()).or_insert(sofar);
        self.push(&mut queue, [key_of(row)]);
    }

    /// These sessions have relayed so much by now.
    pub(super) fn counted(
        &self,
        books: &Directory,
        sessions: &[(SessionId, SessionCounters)],
        now: Moment,
    ) {
        let mut queue = self.queue();
        for (id, counters) in sessions {
            let traffic = Traffic::from(&SessionTally::from(counters));
            let before = queue.told.get(id).copied().unwrap_or_default();
            if traffic.since(before).steps() < TRAFFIC_STEPS {
                continue;
            }
            // One that is not in the books has ended, and that was told with all it relayed.
            if let Some(row) = books.row(*id, now) {
                queue.told.insert(*id, traffic);
                let names = names(&row);
                self.push(&mut queue, names.traffic(traffic.since(before), false));
            }
        }
    }

    /// A session is over; `None`: nobody knows why.
    pub(super) fn ended(&self, ended: &Ended, cause: Option<EndCause>) {
        let names = StatsNames::new(&ended.realm, &ended.username, ended.id);
        let mut queue = self.queue();
        let before = queue.told.remove(&ended.id).unwrap_or_default();
        let key = names.status();
        if cause == Some(EndCause::Released) {
            let status = StatsStatus {
                is_new: false,
                lifetime_secs: 0,
                transport: ended.transport,
                security: ended.security.map(words),
                local: ended.server,
                remote: ended.client,
            };
            let publish = StatsWrite::Publish {
                channel: key.clone(),
                message: status.to_string(),
            };
            self.push(&mut queue, [publish]);
        }
        let total = Traffic::from(&ended.tally);
        self.push(&mut queue, names.traffic(total.since(before), false));
        let deleted = StatsWrite::Publish {
            channel: key.clone(),
            message: DELETED.to_owned(),
        };
        self.push(&mut queue, [StatsWrite::Delete { key }, deleted]);
        self.push(&mut queue, names.traffic(total, true));
    }

    /// Figures.
    #[must_use]
    pub(super) fn metrics(&self) -> StatsdbMetrics {
        StatsdbMetrics {
            connected: self.health.connected(),
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            queued: self.queue().writes.len() as u64,
        }
    }

    /// What is wrong with it, in words.
    #[must_use]
    pub(super) fn trouble(&self) -> Option<String> {
        if self.health.is_lost() {
            let dropped = self.dropped.load(Ordering::Relaxed);
            return Some(format!(
                "the statistics database is out of reach ({dropped} messages dropped so far)"
            ));
        }
        let refusal = self.health.refuses()?;
        Some(format!("the statistics database refuses: {refusal}"))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push<const N: usize>(&self, queue: &mut Queue, writes: [StatsWrite; N]) {
        for write in writes {
            if queue.writes.len() == MAX_WRITES {
                queue.writes.pop_front();
                self.drop(1);
            }
            queue.writes.push_back(write);
        }
        self.queued.notify_one();
    }

    fn drop(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// At most so many writes, the oldest first.
    fn take(&self, most: usize) -> Vec<StatsWrite> {
        let mut queue = self.queue();
        let count = queue.writes.len().min(most);
        queue.writes.drain(..count).collect()
    }

    /// Of what may not have got through only removals are tried again: a message told twice would be
    /// counted twice by whoever adds them up, and keys of sessions that live are written again anyway.
    fn give_up(&self, writes: Vec<StatsWrite>) {
        let count = writes.len() as u64;
        let removals: Vec<_> = writes
            .into_iter()
            .filter(|write| matches!(write, StatsWrite::Delete { .. }))
            .collect();
        self.drop(count - removals.len() as u64);
        let mut queue = self.queue();
        for removal in removals.into_iter().rev() {
            if queue.writes.len() < MAX_WRITES {
                queue.writes.push_front(removal);
            } else {
                self.drop(1);
            }
        }
    }

    /// Takes note of what Redis said to so many writes; `Some`: it refuses as it did not before.
    fn note(&self, told: Told, writes: usize) -> Option<String> {
        self.written
            .fetch_add(writes as u64 - told.refused, Ordering::Relaxed);
        self.drop(told.refused);
        let now = Moment::now().unix_ms;
        let reason = told.reason?;
        self.health.refused(&reason, now).then_some(reason)
    }

    fn noted(&self, connected: bool) -> Turn {
        self.health.note(connected, Moment::now().unix_ms)
    }
}

fn names(row: &Row<'_>) -> StatsNames {
    StatsNames::new(row.realm(), &row.kept().username, row.id())
}

/// The status key, what it holds and how long.
fn status(row: &Row<'_>, is_new: bool) -> (String, String, Duration) {
    let kept = row.kept();
    let status = StatsStatus {
        is_new,
        lifetime_secs: kept.lifetime_secs,
        transport: kept.transport,
        security: kept.security().map(words),
        local: kept.server(),
        remote: row.client(),
    };
    let ttl = Duration::from_secs(row.ttl_secs()) + MARGIN;
    (names(row).status(), status.to_string(), ttl)
}

fn words(security: Security) -> (&'static str, &'static str) {
    (security.version, security.cipher)
}

/// The key of a session that was told of before.
fn key_of(row: &Row<'_>) -> StatsWrite {
    let (key, value, ttl) = status(row, false);
    StatsWrite::Set { key, value, ttl }
}

impl From<&SessionTally> for Traffic {
    fn from(tally: &SessionTally) -> Self {
        Self {
            in_packets: tally.in_packets,
            in_bytes: tally.in_bytes,
            out_packets: tally.out_packets,
            out_bytes: tally.out_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::RedisOptions;

    fn stats() -> Statsdb {
        let options = RedisOptions::new("redis://127.0.0.1:1/0");
        Statsdb::new(StatsDb::new(&options).unwrap())
    }

    fn message(number: usize) -> StatsWrite {
        StatsWrite::Publish {
            channel: "turn".to_owned(),
            message: number.to_string(),
        }
    }

    #[test]
    fn the_queue_is_bounded_and_the_oldest_go_first() {
        let stats = stats();
        for number in 0..MAX_WRITES + 5 {
            stats.push(&mut stats.queue(), [message(number)]);
        }
        let metrics = stats.metrics();
        assert_eq!((metrics.queued, metrics.dropped), (MAX_WRITES as u64, 5));
        assert_eq!(stats.take(1), [message(5)]);
    }

    #[test]
    fn of_what_may_not_have_got_through_only_removals_are_tried_again() {
        let stats = stats();
        let removal = StatsWrite::Delete {
            key: "turn".to_owned(),
        };
        stats.push(&mut stats.queue(), [message(3)]);
        stats.give_up(vec![message(1), removal.clone(), message(2)]);
        assert_eq!(stats.take(10), [removal, message(3)]);
        assert_eq!(stats.metrics().dropped, 2);
    }

    #[test]
    fn an_absence_and_a_refusal_are_said() {
        let stats = stats();
        assert_eq!(stats.trouble(), None);
        stats.noted(true);
        let told = Told {
            refused: 1,
            reason: Some("OOM".to_owned()),
        };
        assert_eq!(stats.note(told.clone(), 3).as_deref(), Some("OOM"));
        assert_eq!(stats.note(told, 3), None);
        assert!(stats.trouble().is_some_and(|text| text.contains("OOM")));
        assert_eq!((stats.metrics().written, stats.metrics().dropped), (4, 2));
        stats.noted(false);
        assert!(
            stats
                .trouble()
                .is_some_and(|text| text.contains("out of reach"))
        );
    }
}
