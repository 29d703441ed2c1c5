//! Drains: a node that takes no new sessions until it is empty, or undrained.

use serde::{Deserialize, Serialize};

/// The longest deadline of a drain, in seconds: 30 days.
pub const MAX_DRAIN_SECS: u64 = 30 * 86_400;

/// `PUT /v1/nodes/{id}/drain`: begins a drain, or replaces what was said when it began. Answers the
/// [`DrainView`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct DrainRequest {
    /// Why; kept in the audit, and shown with the node.
    pub reason: String,
    /// Seconds from now, 1 to [`MAX_DRAIN_SECS`], after which the sessions that are left are ended;
    /// absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_secs: Option<u64>,
    /// Ends calls: a Refresh is refused with 508, so that each session ends with the lifetime that it
    /// has.
    pub refuse_refresh: bool,
}

/// The drain of a node, in its [`NodeView`](super::NodeView).
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct DrainView {
    /// When it began.
    pub started_at_ms: u64,
    /// Who ordered it, or changed it last.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When the sessions that are left are ended; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at_ms: Option<u64>,
    /// Ends calls: no session is prolonged.
    #[serde(default)]
    pub refuse_refresh: bool,
    /// Sessions when it began.
    #[serde(default)]
    pub sessions_at_start: u64,
    /// When it will be empty.
    #[serde(default)]
    pub estimate: DrainEstimate,
}

/// When a node will be empty: from the lengths of sessions that ended on it since its start, and the
/// ages of those that it has. What was not observed is absent, never guessed.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct DrainEstimate {
    /// Seconds until half of the sessions have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_secs: Option<u64>,
    /// Seconds until nine of ten have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_secs: Option<u64>,
    /// Seconds until all have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_secs: Option<u64>,
    /// Seconds after which none can be left: the deadline, or the longest lifetime where no session is
    /// prolonged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_secs: Option<u64>,
    /// How many ended sessions it rests on.
    pub observed: u64,
}
