//! The other nodes: who they are, and how they are asked.

pub(super) mod answer;
pub(super) mod heartbeat;
pub(super) mod known;
pub(super) mod mailbox;
pub(super) mod message;
pub(super) mod registry;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::NodeId;
use shared::api::MissingNode;
use tokio::sync::{Notify, mpsc};

use super::sampler::Sampler;
use known::KnownRows;
use message::{NodeAnswer, ReplayGuard};
use registry::Registry;

/// What this node knows about the others, and the questions it has put to them.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    registry: Mutex<Registry>,
    known: Mutex<KnownRows>,
    replay: Mutex<ReplayGuard>,
    /// Questions under way, by id.
    asked: Mutex<HashMap<String, mpsc::Sender<(NodeId, NodeAnswer)>>>,
    /// Counters of this node over the last seconds.
    sampler: Mutex<Sampler>,
    /// Wakes the heartbeat to look at the registry.
    pub look: Notify,
    /// Wakes the heartbeat to write the record before its time.
    pub beat_soon: Notify,
    /// Held for a heartbeat: the newest record is written last, and a start is counted once.
    pub beating: tokio::sync::Mutex<()>,
    /// Held for a look at the registry.
    pub looking: tokio::sync::Mutex<()>,
    /// Whether the store has listed this process.
    pub listed: AtomicBool,
    /// Heartbeats that the store refused.
    pub complaints: AtomicU32,
}

impl Cluster {
    /// The registry as last read.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last known rows of other nodes.
    pub(super) fn known(&self) -> MutexGuard<'_, KnownRows> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counters of this node over the last seconds.
    pub(super) fn sampler(&self) -> MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replay(&self) -> MutexGuard<'_, ReplayGuard> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<(NodeId, NodeAnswer)>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a question to the cluster: answers by node, and who did not answer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Who answered what, this node included.
    pub answers: Vec<(NodeId, NodeAnswer)>,
    /// Who did not.
    pub missing: Vec<MissingNode>,
}
