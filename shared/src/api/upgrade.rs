//! Planned restarts: another process takes over from the one that runs.

use serde::{Deserialize, Serialize};

/// `POST /v1/nodes/{id}/upgrade`: has the node start its program again, as it was started, and pass
/// everything on to the new process. Answers the [`UpgradeView`] at once; the node's `epoch` is a higher
/// one when the new process serves.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct UpgradeRequest {
    /// Why; kept in the audit.
    pub reason: String,
}

/// A process that is to take over, in the [`NodeView`](super::NodeView) of the one that runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct UpgradeView {
    /// When it was started.
    pub started_at_ms: u64,
    /// Its process id.
    pub pid: u32,
    /// Why it did not take over: it has ended. The node's log has its last words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
