//! All workers of a node, as control sees them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use shared::WorkerId;
use tokio::sync::mpsc;
use turn_proto::policy::{Policy, Quota};
use turn_proto::server::Command;
use turn_proto::{Server, ServerConfig};

use super::mailbox::{Mail, MailSender, MailboxFull, NewsSender, Post, WorkerNews, mailbox};
use super::ports::PortPool;
use super::restore::Restore;
use super::run::Worker;
use super::succession::{Freeze, Inheritance, WorkerEstate};
use super::token;
use crate::listener::{ListenerGroup, Listening};

/// News of all workers waiting for control: several seconds of the busiest churn.
const NEWS: usize = 65_536;

/// How long a worker may take to say what it has.
const FREEZE: Duration = Duration::from_secs(5);

/// The news of all workers, each with its sender.
pub type News = mpsc::Receiver<(WorkerId, WorkerNews)>;

/// Workers that do not run yet, with what they have to restore before they do.
type Workers = Vec<(WorkerId, Worker, Inheritance, Restore)>;

/// What all workers of a node have in common.
#[derive(Debug)]
pub struct WorkerSetup {
    /// Settings of the core; `worker` and the session counters are filled in per worker.
    pub server: ServerConfig,
    /// The first policy.
    pub policy: Arc<Policy>,
    /// The node's session quotas.
    pub quota: Arc<dyn Quota>,
    /// The node's relay ports.
    pub ports: Arc<PortPool>,
    /// Where clients come to.
    pub listeners: Vec<ListenerGroup>,
    /// What the workers' listeners have in common.
    pub listening: Arc<Listening>,
    /// Sessions of an earlier start, by the worker that their clients' packets reach.
    pub restore: Vec<Restore>,
    /// What the process before this one passed on, by worker.
    pub inheritance: Vec<Inheritance>,
}

/// Workers that stand still. Dropping it lets them go on as if nothing had been.
#[derive(Debug)]
pub struct Frozen {
    /// What they pass on, by worker.
    pub estates: Vec<WorkerEstate>,
    resume: Vec<SyncSender<UnixDatagram>>,
}

impl Frozen {
    /// Another process serves: the workers go on with what could not move, and hear their DTLS clients
    /// through these.
    pub fn part(self, doorways: Vec<UnixDatagram>) {
        for (resume, doorway) in self.resume.into_iter().zip(doorways) {
            // A worker that is gone has ended the process.
            let _ = resume.send(doorway);
        }
    }
}

/// The workers of a node. Cheap to share; both queues are bounded.
#[derive(Debug)]
pub struct WorkerPool {
    mailboxes: Vec<MailSender>,
    overflows: Arc<AtomicU64>,
}

/// The threads behind a [`WorkerPool`].
#[derive(Debug)]
pub struct WorkerThreads {
    pool: Arc<WorkerPool>,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts `workers` threads and answers the pool, its threads, and the news.
    ///
    /// # Errors
    /// When the system gives no epoll instance or thread.
    pub fn start(workers: u16, setup: WorkerSetup) -> io::Result<(Arc<Self>, WorkerThreads, News)> {
        let ports = Arc::clone(&setup.ports);
        let (pool, workers, news) = Self::prepare(workers, setup)?;
        // A new session must not get the port, or a share of the quota, of one that comes back.
        let all_restored = Arc::new(Barrier::new(workers.len()));
        let spawned = workers
            .into_iter()
            .map(|(id, mut worker, inheritance, sessions)| {
                let (all_restored, ports) = (Arc::clone(&all_restored), Arc::clone(&ports));
                spawn(id, move || {
                    worker.restore(inheritance, sessions);
                    if all_restored.wait().is_leader() {
                        ports.forget_inherited();
                    }
                    worker.run()
                })
            });
        let threads = WorkerThreads {
            pool: Arc::clone(&pool),
            threads: spawned.collect::<io::Result<_>>()?,
        };
        Ok((pool, threads, news))
    }

    /// The workers and their queues, before any thread runs.
    pub(super) fn prepare(
        workers: u16,
        setup: WorkerSetup,
    ) -> io::Result<(Arc<Self>, Workers, News)> {
        let (news, receiver) = mpsc::channel(NEWS);
        let overflows = Arc::new(AtomicU64::new(0));
        let (mut mailboxes, mut prepared) = (Vec::new(), Vec::new());
        let shares = setup.listeners.into_iter().map(|g| g.shares(workers));
        let mut groups: Vec<_> = shares.map(Vec::into_iter).collect();
        let mut restore = setup.restore.into_iter();
        let mut inheritance = setup.inheritance.into_iter();
        let mut ends = Vec::new();
        for _ in 0..workers {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), token::MAILBOX)?);
            let (sender, inbox) = mailbox(waker);
            mailboxes.push(sender);
            ends.push((poll, inbox));
        }
        let colleagues: Arc<[MailSender]> = mailboxes.clone().into();
        for (index, (poll, inbox)) in ends.into_iter().enumerate() {
            let id = WorkerId(index as u16);
            let config = ServerConfig {
                worker: id,
                session_first: u32::from(id.0),
                session_step: u32::from(workers),
                ..setup.server.clone()
            };
            let server = Server::new(config, Arc::clone(&setup.policy), Arc::clone(&setup.quota));
            let listeners = groups.iter_mut().filter_map(Iterator::next).collect();
            let news = NewsSender {
                worker: id,
                queue: news.clone(),
                overflows: Arc::clone(&overflows),
                incomplete: AtomicBool::new(false),
            };
            let worker = Worker::new(
                poll,
                server,
                Post {
                    inbox,
                    news,
                    colleagues: Arc::clone(&colleagues),
                },
                Arc::clone(&setup.ports),
                Arc::clone(&setup.listening),
                listeners,
            )?;
            let inheritance = inheritance.next().unwrap_or_default();
            prepared.push((id, worker, inheritance, restore.next().unwrap_or_default()));
        }
        let pool = Arc::new(Self {
            mailboxes,
            overflows,
        });
        Ok((pool, prepared, receiver))
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.mailboxes.len() as u16
    }

    /// Hands a command to one worker.
    ///
    /// # Errors
    /// [`MailboxFull`]: nothing was queued.
    pub fn send(&self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let mailbox = self
            .mailboxes
            .get(usize::from(worker.0))
            .ok_or(MailboxFull)?;
        mailbox.send(Mail::Command(command))
    }

    /// Hands a command to every worker and answers how many could take it.
    pub fn broadcast(&self, make: impl Fn() -> Command) -> u16 {
        self.mailboxes
            .iter()
            .filter(|m| m.send(Mail::Command(make())).is_ok())
            .count() as u16
    }

    /// Has a worker take up sessions of an earlier start while it serves.
    ///
    /// # Errors
    /// When its queue is full.
    pub fn restore(&self, worker: WorkerId, restore: Restore) -> Result<(), MailboxFull> {
        let mailbox = self.mailboxes.get(usize::from(worker.0));
        let mailbox = mailbox.ok_or(MailboxFull)?;
        mailbox.send(Mail::Restore(Box::new(restore)))
    }

    /// Has all workers stand still and tells what they can pass on to another process.
    ///
    /// # Errors
    /// When one does not answer in time, or is out of descriptors; all go on then.
    pub fn freeze(&self) -> io::Result<Frozen> {
        let (mut answers, mut resume) = (Vec::new(), Vec::new());
        for mailbox in &self.mailboxes {
            let (estate, answer) = sync_channel(1);
            let (sender, receiver) = sync_channel(1);
            let freeze = Freeze {
                estate,
                resume: receiver,
            };
            mailbox
                .send(Mail::Freeze(Box::new(freeze)))
                .map_err(io::Error::other)?;
            answers.push(answer);
            resume.push(sender);
        }
        let estates = answers.into_iter().map(|answer| {
            let answer = answer.recv_timeout(FREEZE);
            answer.map_err(|_| io::Error::other("a worker does not answer"))?
        });
        Ok(Frozen {
            estates: estates.collect::<io::Result<_>>()?,
            resume,
        })
    }

    /// News that were lost because control was behind; healed by snapshots.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }
}

impl WorkerThreads {
    /// Ends workers that stand still: none of them does anything more.
    pub fn stop_frozen(self, frozen: Frozen) {
        self.order_stop();
        drop(frozen);
        self.join();
    }

    /// Ends all workers and waits for them.
    pub fn stop(self) {
        self.order_stop();
        self.join();
    }

    fn order_stop(&self) {
        for mailbox in &self.pool.mailboxes {
            // A full mailbox drains within a turn of the worker's loop.
            while mailbox.send(Mail::Stop).is_err()
                && !self.threads.iter().all(JoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
    }

    fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("A worker ended in a panic.");
            }
        }
    }
}

fn spawn(
    id: WorkerId,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("worker-{id}"))
        .spawn(move || {
            let span = tracing::info_span!("worker", %id);
            let _entered = span.enter();
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            if let Err(reason) = end.unwrap_or_else(|_| Err(io::Error::other("panic"))) {
                // The listener group must not shrink while the node serves (clients of other workers
                // would move): better to end and let the supervisor start the node again.
                tracing::error!(%reason, "A worker cannot go on; the node stops.");
                std::process::exit(70);
            }
        })
}
