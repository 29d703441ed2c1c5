//! Workers without sockets: they keep generated sessions, report on them each second, and obey.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use relay::control::Workers;
use relay::worker::WorkerNews;
use shared::{SessionId, Transport, WorkerId};
use tokio::sync::mpsc;
use turn_proto::server::{
    ByCause, Command, EndCause, Event, RefusalReason, ServerCounters, SessionSnapshot, UsageReport,
};

use super::generate::{Generator, REALMS, WORKERS, counters, realm_name};

/// Relay ports that a fake node claims to have.
const PORTS: u64 = 200_000;

/// The workers of one fake node.
#[derive(Debug)]
pub(super) struct PaperWorkers {
    news: mpsc::Sender<(WorkerId, WorkerNews)>,
    generator: Generator,
    books: Mutex<Books>,
}

/// Who lives, and what they relayed.
#[derive(Debug, Default)]
struct Books {
    /// The count of the oldest session in `totals`.
    first: u32,
    /// Bytes from and to each client, oldest session first.
    totals: VecDeque<(u64, u64)>,
    /// Killed ones among them.
    killed: HashSet<u32>,
    /// Sessions from this count on were created while the node ran.
    born_from: u32,
    /// Reports so far.
    second: u64,
    created: u64,
    ended: u64,
}

impl Books {
    fn counts(&self) -> impl Iterator<Item = (u32, (u64, u64))> {
        let all = (self.first..).zip(self.totals.iter().copied());
        all.filter(|(count, _)| !self.killed.contains(count))
    }

    fn totals_of(&self, count: u32) -> Option<(u64, u64)> {
        let at = count.checked_sub(self.first)? as usize;
        let totals = self.totals.get(at).copied()?;
        (!self.killed.contains(&count)).then_some(totals)
    }
}

impl PaperWorkers {
    /// `sessions` of them, which nobody knows of yet.
    pub(super) fn new(
        news: mpsc::Sender<(WorkerId, WorkerNews)>,
        generator: Generator,
        sessions: u32,
    ) -> Self {
        let mut books = Books {
            born_from: sessions,
            created: u64::from(sessions),
            ..Books::default()
        };
        for count in 0..sessions {
            let (inward, outward) = generator.traffic(count, 0);
            let seconds = 60 + u64::from(count % 3000);
            books
                .totals
                .push_back((inward * seconds, outward * seconds));
        }
        Self {
            news,
            generator,
            books: Mutex::new(books),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, books: &Books, count: u32) -> Option<SessionSnapshot> {
        let totals = books.totals_of(count)?;
        let born = count >= books.born_from;
        Some(self.generator.snapshot(count, totals, born))
    }

    /// What one worker answers to a question for all it has.
    fn everything(&self, worker: WorkerId) -> Event {
        let books = self.books();
        let counts = books.counts().map(|(count, _)| count);
        let own = counts.filter(|count| self.generator.worker(*count) == worker);
        Event::Snapshot(own.filter_map(|c| self.describe(&books, c)).collect())
    }

    /// Tells of all sessions, as after an overflow.
    pub(super) async fn introduce(&self) {
        for worker in 0..WORKERS {
            let event = self.everything(WorkerId(worker));
            self.say(WorkerId(worker), event).await;
        }
    }

    /// How many sessions the store is told of.
    pub(super) fn written(&self) -> u64 {
        let books = self.books();
        let by_udp = |count: &u32| self.generator.transport(*count) == Transport::Udp;
        books
            .counts()
            .map(|(count, _)| count)
            .filter(by_udp)
            .count() as u64
    }

    /// A second goes by: everybody relays, `churn` sessions end and as many begin, and a share of all
    /// has made a request, so that each has its turn within `refresh_secs`.
    pub(super) async fn second(&self, churn: u32, refresh_secs: u32) {
        let mut news = Vec::new();
        {
            let mut books = self.books();
            if let Some(turn) = (books.second as u32).checked_rem(refresh_secs) {
                let due = books.counts().map(|(count, _)| count);
                let due = due.filter(|count| count % refresh_secs == turn);
                let refreshed = due.filter_map(|count| self.describe(&books, count));
                news.extend(
                    refreshed.map(|one| (one.worker, Event::SessionChanged(Box::new(one)))),
                );
            }
            for _ in 0..churn.min(books.totals.len() as u32) {
                news.extend(self.turn_over(&mut books));
            }
            news.extend(self.reports(&mut books));
        }
        for (worker, event) in news {
            self.say(worker, event).await;
        }
    }

    /// The oldest session ends and a new one begins.
    fn turn_over(&self, books: &mut Books) -> Vec<(WorkerId, Event)> {
        let mut news = Vec::new();
        let oldest = books.first;
        let Some(totals) = books.totals.pop_front() else {
            return news;
        };
        books.first += 1;
        if !books.killed.remove(&oldest) {
            books.ended += 1;
            let ended = Event::SessionEnded {
                session: self.generator.id(oldest),
                cause: EndCause::Released,
                counters: counters(totals),
            };
            news.push((self.generator.worker(oldest), ended));
        }
        let newest = books.first + books.totals.len() as u32;
        books.totals.push_back((0, 0));
        books.created += 1;
        let created = self.generator.snapshot(newest, (0, 0), true);
        let created = Event::SessionCreated(Box::new(created));
        news.push((self.generator.worker(newest), created));
        news
    }

    fn reports(&self, books: &mut Books) -> Vec<(WorkerId, Event)> {
        books.second += 1;
        let second = books.second;
        let first = books.first;
        let mut reports = vec![UsageReport::default(); usize::from(WORKERS)];
        for (at, totals) in books.totals.iter_mut().enumerate() {
            let count = first + at as u32;
            let (inward, outward) = self.generator.traffic(count, second);
            if inward == 0 || books.killed.contains(&count) {
                continue;
            }
            totals.0 += inward;
            totals.1 += outward;
            let worker = self.generator.worker(count);
            reports[usize::from(worker.0)]
                .sessions
                .push((self.generator.id(count), counters(*totals)));
        }
        let share = |number: u64| number / u64::from(WORKERS);
        let workers = (0..WORKERS).map(WorkerId);
        let events = workers.zip(reports).map(|(worker, mut report)| {
            let mut ended = ByCause::default();
            ended.add(EndCause::Released, share(books.ended));
            report.server = ServerCounters {
                allocations: share(books.created),
                ended,
                relayed_packets: second * share(books.totals.len() as u64) * 40,
                ..ServerCounters::default()
            };
            report.refusals = refusals(second);
            (worker, Event::Usage(Box::new(report)))
        });
        events.collect()
    }

    async fn say(&self, worker: WorkerId, event: Event) {
        // The control plane ends before its workers do.
        let _ = self.news.send((worker, WorkerNews::Event(event))).await;
    }

    /// Queues news from where nothing may wait; lost ones are as lost as a worker's.
    fn say_now(&self, worker: WorkerId, event: Event) -> bool {
        let news = (worker, WorkerNews::Event(event));
        self.news.try_send(news).is_ok()
    }

    fn kill(&self, session: SessionId, cause: EndCause) -> bool {
        let Some(count) = self.generator.count(session) else {
            return true;
        };
        let mut books = self.books();
        let Some(totals) = books.totals_of(count) else {
            return true;
        };
        books.killed.insert(count);
        books.ended += 1;
        let ended = Event::SessionEnded {
            session,
            cause,
            counters: counters(totals),
        };
        self.say_now(self.generator.worker(count), ended)
    }
}

/// Refusals since the start, as one worker counts them.
fn refusals(second: u64) -> Vec<(Option<shared::Realm>, RefusalReason, Option<u16>, u64)> {
    let realm = |number: u64| realm_name(number % REALMS).parse().ok();
    vec![
        (
            realm(0),
            RefusalReason::NoCredentials,
            Some(401),
            second * 30,
        ),
        (
            realm(0),
            RefusalReason::WrongPassword,
            Some(401),
            second * 2,
        ),
        (realm(3), RefusalReason::StaleNonce, Some(438), second * 3),
    ]
}

impl Workers for PaperWorkers {
    fn count(&self) -> u16 {
        WORKERS
    }

    fn send(&self, worker: WorkerId, command: Command) -> bool {
        match command {
            Command::Kill { session, cause } => self.kill(session, cause),
            Command::Describe { session } => {
                let books = self.books();
                let count = self.generator.count(session);
                let described = count.and_then(|count| self.describe(&books, count));
                described.is_none_or(|described| {
                    self.say_now(worker, Event::SessionChanged(Box::new(described)))
                })
            }
            Command::Snapshot => self.say_now(worker, self.everything(worker)),
            // Nobody sends packets that a policy or a credential would judge.
            Command::SetPolicy(_) | Command::Credential { .. } | Command::Userhash { .. } => true,
            Command::SetUserLimits(_) | Command::ForgetCredentials { .. } => true,
            Command::Place { .. } => true,
        }
    }

    fn broadcast(&self, make: &dyn Fn() -> Command) -> bool {
        (0..WORKERS).all(|worker| self.send(WorkerId(worker), make()))
    }

    fn restore(&self, _: WorkerId, _: relay::worker::Restore) -> bool {
        false
    }

    fn ports(&self) -> (u64, u64) {
        let books = self.books();
        let alive = books.totals.len() - books.killed.len();
        (alive as u64, PORTS.max(alive as u64))
    }

    fn overflows(&self) -> u64 {
        0
    }

    fn connections(&self) -> relay::listener::ConnectionTotals {
        relay::listener::ConnectionTotals::default()
    }

    fn set_connection_limits(&self, _: &relay::config::ConnectionLimits) {}
}
