//! How the registry is read each second without reading all of it: what a reader knows already, and what
//! it gets to know.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use shared::NodeId;
use shared::api::{Capacity, DrainEstimate, DrainView, NodeView};

use super::StoreError;
use super::record::to_json;

/// Records that a reader asks for in turn, each second: with as many nodes or fewer it reads all.
pub const TURN: usize = 32;

/// What a reader of the registry knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Where the last look ended; `None`: there was none, or everything is wanted.
    pub mark: Option<Mark>,
    /// Nodes whose turn it is: their records are read whether or not anything is said to have changed.
    pub turn: Vec<NodeId>,
}

/// The end of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    /// The time by the store's clock, in Unix milliseconds.
    pub at_ms: f64,
    /// How many nodes were listed.
    pub listed: u64,
}

/// What a look found.
#[derive(Clone, Debug)]
pub enum Glance {
    /// All nodes with the age of their last heartbeat.
    Whole {
        /// All of them.
        nodes: Vec<(NodeView, Duration)>,
        /// Where the look ended; `None`: the next one is whole, too.
        mark: Option<Mark>,
    },
    /// What changed, and whose turn it was.
    Part {
        /// Records as they are now.
        nodes: Vec<NodeView>,
        /// Nodes that have no record any more.
        gone: Vec<NodeId>,
        /// Nodes that were silent for [`NODE_SILENT`](super::NODE_SILENT), and for how long. All others
        /// beat since.
        silent: Vec<(NodeId, Duration)>,
        /// Where the look ended.
        mark: Mark,
    },
}

/// What of a record the other nodes act on at once, as a hash: everything but figures that change each
/// second, which are read in turn.
pub(crate) fn identity(record: &NodeView) -> Result<[u8; 32], StoreError> {
    let still = NodeView {
        uptime_secs: 0,
        heartbeat_age_secs: 0,
        sessions: 0,
        created_per_sec: 0.0,
        ended_per_sec: 0.0,
        rate_in_bps: 0,
        rate_out_bps: 0,
        packets_per_sec: 0,
        drops: 0,
        transports: Default::default(),
        capacity: Capacity::default(),
        cpu_percent: 0.0,
        memory_bytes: 0,
        refusals: Default::default(),
        refusals_per_sec: Default::default(),
        auth_failures_per_sec: 0.0,
        drops_per_sec: 0.0,
        realm_use: Default::default(),
        connections: 0,
        connections_closed: Default::default(),
        control_overflows: 0,
        // That it sends clients on is news; to whom most of them is a figure.
        sends_to: record
            .sends_to
            .first()
            .map(|_| record.id.clone())
            .into_iter()
            .collect(),
        drain: record.drain.clone().map(|drain| DrainView {
            estimate: DrainEstimate::default(),
            ..drain
        }),
        ..record.clone()
    };
    Ok(Sha256::digest(to_json(&still)?).into())
}
