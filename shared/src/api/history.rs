//! Figures over time, so that a graph is not empty when a console opens.

use serde::{Deserialize, Serialize};

use crate::api::MissingNode;

/// `GET .../history`: one thing over the last minutes, oldest sample first.
///
/// Sessions are kept second by second for two minutes while somebody watches them: asking is
/// watching, for 30 seconds. The cluster, nodes, realms and the users with the most traffic are kept
/// in steps of ten seconds for an hour.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct HistoryView {
    /// Name and version of this type: `history/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// Of what, as in `node/fra1` or `user/acme/alice`.
    pub subject: String,
    /// Seconds between samples.
    pub step_secs: u32,
    /// When the last sample was taken.
    pub end_at_ms: u64,
    /// The samples; `None` where nothing is known (before the start, or a gap).
    pub samples: Vec<Option<HistorySample>>,
    /// Nodes whose share is missing.
    #[serde(default)]
    pub missing: Vec<MissingNode>,
}

/// One moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct HistorySample {
    /// Live sessions; 1 for a session.
    pub sessions: u64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
}
