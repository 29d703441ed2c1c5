//! Server-side jobs: whatever touches many sessions.

use serde::{Deserialize, Serialize};

use super::MissingNode;
use crate::{NodeId, SessionId};

/// A job and its progress.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct JobView {
    /// The id.
    pub id: String,
    /// The node that runs it.
    pub node: NodeId,
    /// What it does, as in `kill 214 sessions`.
    pub title: String,
    /// Who started it.
    pub actor: String,
    /// Where it is.
    pub state: JobState,
    /// Items in all.
    pub total: u64,
    /// Items that are done, well or not.
    pub done: u64,
    /// Items that did not work.
    pub failed: u64,
    /// One entry per finished item, at most 10,000.
    pub items: Vec<JobItem>,
    /// Nodes that did not answer when the sessions were looked up: theirs are not in this job.
    #[serde(default)]
    pub missing: Vec<MissingNode>,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Working.
    Running,
    /// All items were tried.
    Done,
    /// Stopped before the end.
    Stopped,
}

/// What happened to one session of a job.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct JobItem {
    /// The session.
    pub id: SessionId,
    /// The user it belongs to, where known.
    pub user: String,
    /// The result.
    pub outcome: ItemOutcome,
}

/// Results of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome {
    /// The session has ended.
    Killed,
    /// It had ended before.
    NotFound,
    /// Its node did not answer in time; it may have happened.
    Unconfirmed,
    /// A dry run: it would have been killed.
    WouldKill,
}
