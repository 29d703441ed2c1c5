//! The workers as the control plane sees them.

use std::fmt::Debug;
use std::sync::Arc;

use shared::WorkerId;
use turn_proto::server::Command;

use crate::beside::Coturn;
use crate::config::ConnectionLimits;
use crate::listener::{ConnectionTotals, Listening};
use crate::worker::ports::PortPool;
use crate::worker::{Restore, WorkerPool};

/// Takes commands for workers and knows how many relay ports are in use.
///
/// A trait so that the control plane can be tested without sockets and threads.
pub trait Workers: Send + Sync + Debug {
    /// How many there are; 0 on a gateway without TURN listeners.
    fn count(&self) -> u16;
    /// Queues a command for one worker; `false` when its queue is full.
    fn send(&self, worker: WorkerId, command: Command) -> bool;
    /// Queues a command for all workers; `false` when some queue was full.
    fn broadcast(&self, make: &dyn Fn() -> Command) -> bool;
    /// Has a worker take up sessions of an earlier start; `false` when its queue is full.
    fn restore(&self, worker: WorkerId, restore: Restore) -> bool;
    /// Relay ports in use, and in all.
    fn ports(&self) -> (u64, u64);
    /// News that were lost because the control plane was behind.
    fn overflows(&self) -> u64;
    /// Client connections over TCP, TLS and DTLS: those there are, and what became of others.
    fn connections(&self) -> ConnectionTotals;
    /// Holds client connections to these limits from now on.
    fn set_connection_limits(&self, limits: &ConnectionLimits);
    /// The coturn that stands in their place, if one does.
    fn coturn(&self) -> Option<&Coturn> {
        None
    }
}

/// The real thing.
#[derive(Debug)]
pub struct RunningWorkers {
    /// The worker threads.
    pub pool: Arc<WorkerPool>,
    /// The node's relay ports.
    pub ports: Arc<PortPool>,
    /// What the workers' listeners have in common.
    pub listening: Arc<Listening>,
}

impl Workers for RunningWorkers {
    fn count(&self) -> u16 {
        self.pool.workers()
    }

    fn send(&self, worker: WorkerId, command: Command) -> bool {
        self.pool.send(worker, command).is_ok()
    }

    fn broadcast(&self, make: &dyn Fn() -> Command) -> bool {
        self.pool.broadcast(make) == self.pool.workers()
    }

    fn restore(&self, worker: WorkerId, restore: Restore) -> bool {
        self.pool.restore(worker, restore).is_ok()
    }

    fn ports(&self) -> (u64, u64) {
        let usage = self.ports.usage();
        (usage.used, usage.total)
    }

    fn overflows(&self) -> u64 {
        self.pool.overflows()
    }

    fn connections(&self) -> ConnectionTotals {
        self.listening.totals()
    }

    fn set_connection_limits(&self, limits: &ConnectionLimits) {
        self.listening.set_limits(limits);
    }
}

/// A gateway's: none, or the coturn that stands in their place.
#[derive(Debug, Default)]
pub struct NoWorkers {
    /// The coturn that the gateway speaks for.
    pub coturn: Option<Arc<Coturn>>,
}

impl Workers for NoWorkers {
    /// None that anything could be asked of besides sessions.
    fn count(&self) -> u16 {
        0
    }

    fn send(&self, _: WorkerId, command: Command) -> bool {
        let coturn = self.coturn.as_ref();
        coturn.is_some_and(|coturn| coturn.send(command))
    }

    /// Nothing of ours reaches a coturn that way.
    fn broadcast(&self, _: &dyn Fn() -> Command) -> bool {
        true
    }

    fn restore(&self, _: WorkerId, _: Restore) -> bool {
        false
    }

    fn ports(&self) -> (u64, u64) {
        (0, 0)
    }

    fn overflows(&self) -> u64 {
        0
    }

    fn connections(&self) -> ConnectionTotals {
        ConnectionTotals::default()
    }

    fn set_connection_limits(&self, _: &ConnectionLimits) {}

    fn coturn(&self) -> Option<&Coturn> {
        self.coturn.as_deref()
    }
}
