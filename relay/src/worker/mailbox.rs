//! The two bounded queues where workers and control meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::Waker;
use shared::{Realm, SessionId, Username, WorkerId};
use tokio::sync::mpsc;
use turn_proto::auth::parking::Userhash;
use turn_proto::five_tuple::FiveTuple;
use turn_proto::server::{
    Command, Errand, Event, PlaceClaim, RestoredSession, ServerCounters, SessionCounters,
    SessionSnapshot,
};

use super::restore::{NotRestored, Restore};
use super::succession::Freeze;
use crate::dtls;
use crate::listener::Moved;

/// Commands waiting for one worker: policy swaps, kills and credential answers of one busy second.
const MAILBOX: usize = 8192;

/// What a worker has to tell.
#[derive(Debug)]
pub enum WorkerNews {
    /// From the core.
    Event(Event),
    /// A user has to be looked up; answer with [`Command::Credential`].
    Lookup {
        /// The realm.
        realm: Realm,
        /// The full STUN USERNAME.
        username: Username,
    },
    /// A session is to be counted with those of all nodes; answer with [`Command::Place`].
    Claim(Box<PlaceClaim>),
    /// The user with a USERHASH has to be found; answer with [`Command::Userhash`].
    LookupHash {
        /// The realm.
        realm: Realm,
        /// What is asked for.
        hash: Userhash,
    },
    /// What became of sessions of an earlier start: once before anything else is served, and once
    /// for each [`WorkerPool::restore`](super::WorkerPool::restore).
    Restored {
        /// Those that go on.
        sessions: Vec<SessionSnapshot>,
        /// Those that do not.
        refused: Vec<(RestoredSession, NotRestored)>,
    },
    /// Totals, and bits per second in and out, as somebody else measured them: of all sessions that
    /// relay something, and of the server since its start.
    Measured {
        /// Sessions.
        sessions: Vec<(SessionId, SessionCounters, (u64, u64))>,
        /// The server.
        server: Box<ServerCounters>,
    },
    /// News were lost because the queue was full; answer with [`Command::Snapshot`].
    Overflowed,
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Mail {
    Command(Command),
    /// What a client sent that moved (RFC 8016).
    PassedOn(PassedOn),
    /// A client's connection that another worker handed over.
    Adopt(Box<Adopted>),
    /// Sessions of an earlier start that the store told late.
    Restore(Box<Restore>),
    /// Everything that can move is to be passed on to another process.
    Freeze(Box<Freeze>),
    Stop,
}

/// Something about a client whose datagrams reach a worker that does not serve it.
#[derive(Debug)]
pub(super) struct PassedOn {
    pub(super) from: WorkerId,
    pub(super) tuple: FiveTuple,
    pub(super) message: Vec<u8>,
    pub(super) errand: Errand,
}

/// A client's connection and the message that this worker has to answer.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) carrier: Carrier,
    pub(super) message: Vec<u8>,
}

/// What a client's messages go over.
#[derive(Debug)]
pub(super) enum Carrier {
    Stream(Moved),
    Dtls(dtls::Moved),
}

/// The sending end of a worker's mailbox.
#[derive(Clone, Debug)]
pub(super) struct MailSender {
    queue: SyncSender<Mail>,
    waker: Arc<Waker>,
}

impl MailSender {
    pub(super) fn send(&self, mail: Mail) -> Result<(), MailboxFull> {
        self.try_send(mail).map_err(|_| MailboxFull)
    }

    /// Sends, or gives the mail back.
    pub(super) fn try_send(&self, mail: Mail) -> Result<(), Mail> {
        let result = self.queue.try_send(mail);
        // Woken in any case: a full mailbox wants draining.
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "A worker cannot be woken.");
        }
        result.map_err(|error| match error {
            TrySendError::Full(mail) | TrySendError::Disconnected(mail) => mail,
        })
    }
}

/// All queues that a worker has an end of.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) inbox: Receiver<Mail>,
    pub(super) news: NewsSender,
    /// The mailboxes of all workers, by number.
    pub(super) colleagues: Arc<[MailSender]>,
}

/// A mailbox and its receiving end.
pub(super) fn mailbox(waker: Arc<Waker>) -> (MailSender, Receiver<Mail>) {
    let (queue, receiver) = sync_channel(MAILBOX);
    (MailSender { queue, waker }, receiver)
}

/// The worker's mailbox is full, or the worker is gone; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's mailbox is full")]
pub struct MailboxFull;

/// The sending end of the news of one worker. Never blocks: what does not fit is counted, and
/// control is told that its books are incomplete.
#[derive(Debug)]
pub(super) struct NewsSender {
    pub(super) worker: WorkerId,
    pub(super) queue: mpsc::Sender<(WorkerId, WorkerNews)>,
    pub(super) overflows: Arc<AtomicU64>,
    pub(super) incomplete: AtomicBool,
}

impl NewsSender {
    pub(super) fn send(&self, news: WorkerNews) {
        if self.incomplete.load(Ordering::Relaxed) && !self.try_send(WorkerNews::Overflowed) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.incomplete.store(false, Ordering::Relaxed);
        if !self.try_send(news) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            self.incomplete.store(true, Ordering::Relaxed);
        }
    }

    fn try_send(&self, news: WorkerNews) -> bool {
        self.queue.try_send((self.worker, news)).is_ok()
    }
}
