//! Refusals: counters, and the latest ones one by one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Realm, SessionId};

/// One row of `GET /v1/refusals`: how often a node refused something.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct RefusalCount {
    /// The node.
    pub node: NodeId,
    /// The realm, where one was known.
    pub realm: Option<Realm>,
    /// The reason, as in `wrong_password`, `user_quota`, `denied_peer`.
    pub reason: String,
    /// The STUN error code that was sent; absent where the packet was dropped silently.
    pub code: Option<u16>,
    /// Since the node's start.
    pub count: u64,
}

/// One row of `GET /v1/refusals/recent`: one refusal, or a run of equal ones. A node keeps the last
/// 1,000; challenges (the 401 that every client gets first) are no refusals.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct RefusalView {
    /// Unique in the cluster; ids of one node sort by time.
    pub id: String,
    /// When, the last time.
    pub at_ms: u64,
    /// The node.
    pub node: NodeId,
    /// Where the request came from.
    pub source: SocketAddr,
    /// The realm, where one was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// The user, where one was named; of a request that did not authenticate it is only a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The peer that was asked for, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The reason, as in `wrong_password`, `user_quota`, `denied_peer`.
    pub reason: String,
    /// The STUN error code that was sent; absent where the packet was dropped silently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// How often in a row.
    pub count: u64,
}
