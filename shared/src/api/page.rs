//! Lists: keyset pages with their honesty fields.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One page of a list.
///
/// `total` and `matched` come from counters or a full evaluation in the nodes, never from the rows
/// of this page.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Page<T> {
    /// Name and version of the row type, as in `sessions/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// The rows.
    pub items: Vec<T>,
    /// Cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many rows match the filter, over all pages.
    pub matched: u64,
    /// How many rows exist without the filter.
    pub total: u64,
    /// Nodes that did not answer, so that what they know is missing or old here.
    #[serde(default)]
    pub missing: Vec<MissingNode>,
}

/// A node whose answer is absent from a merged result.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct MissingNode {
    /// The node.
    pub node: NodeId,
    /// Why, in words for an operator.
    pub reason: String,
}

/// The query string of every list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct ListQuery {
    /// A filter expression (see [`crate::filter`]); empty or absent matches everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Column and direction, as in `rate:desc` or `user:asc`; absent: the list's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Rows per page, 1 to 1000; absent: 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Whether to ask the whole cluster (the default) or this node only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

impl ListQuery {
    /// Rows per page when the query names none.
    pub const DEFAULT_LIMIT: u32 = 200;
    /// The largest page.
    pub const MAX_LIMIT: u32 = 1000;

    /// The page size in force.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit
            .unwrap_or(Self::DEFAULT_LIMIT)
            .clamp(1, Self::MAX_LIMIT) as usize
    }
}

/// How far a question reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every live node.
    #[default]
    Cluster,
    /// Only the node that was asked.
    Node,
}
