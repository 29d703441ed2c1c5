//! A worker without a thread of its own.

use std::io;
use std::sync::Arc;

use mio::Events;

use super::pool::{News, WorkerPool, WorkerSetup};
use super::run::{Buffers, Worker, events};

/// A node's only worker, whose turns happen when they are asked for: for benchmarks, and for tests of
/// what one turn does. Its turns are those of a worker with a thread.
#[derive(Debug)]
pub struct WorkerByHand {
    worker: Worker,
    events: Events,
    buffers: Buffers,
}

impl WorkerByHand {
    /// The worker, the pool that reaches it, and its news.
    ///
    /// # Errors
    /// When the system gives no epoll instance.
    pub fn new(setup: WorkerSetup) -> io::Result<(Self, Arc<WorkerPool>, News)> {
        let (pool, workers, news) = WorkerPool::prepare(1, setup)?;
        let first = workers.into_iter().next();
        let (_, mut worker, inheritance, sessions) = first.ok_or(io::ErrorKind::NotFound)?;
        worker.restore(inheritance, sessions);
        let by_hand = Self {
            worker,
            events: events(),
            buffers: Buffers::default(),
        };
        Ok((by_hand, pool, news))
    }

    /// Waits until there is something to do, and does it: commands, one share of each socket that has
    /// something, timers. `false` when told to stop.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn turn(&mut self) -> io::Result<bool> {
        self.worker.turn(&mut self.events, &mut self.buffers)
    }
}
