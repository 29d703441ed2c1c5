//! Sessions by group: who makes the load.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ListQuery, Scope};
use crate::Realm;

/// What sessions are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// The user in its realm.
    User,
    /// The realm.
    Realm,
    /// The network of the client: /24 of IPv4, /48 of IPv6.
    Client,
    /// The network of each peer, in the same sizes; a session counts in each of its peers' networks.
    Peer,
    /// The node.
    Node,
}

impl GroupBy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Realm,
        Self::Client,
        Self::Peer,
        Self::Node,
    ];

    /// The word in queries and on screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Realm => "realm",
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word names no grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: group by user, realm, client, peer or node")]
pub struct GroupByError(pub String);

impl FromStr for GroupBy {
    type Err = GroupByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let by = Self::ALL.into_iter().find(|by| by.as_str() == text);
        by.ok_or_else(|| GroupByError(text.to_owned()))
    }
}

/// The query string of `GET /v1/sessions/groups`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct GroupQuery {
    /// What to group by.
    pub by: GroupBy,
    /// Only sessions that match this expression over the columns of sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// `rate:desc` (the default), `sessions:desc`, `refusals:desc` or another column of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Groups wanted, 1 to 1000; absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Whether to ask the whole cluster (the default) or this node only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

impl GroupQuery {
    /// The largest groups by rate.
    #[must_use]
    pub fn new(by: GroupBy) -> Self {
        Self {
            by,
            filter: None,
            sort: None,
            limit: None,
            scope: None,
        }
    }

    /// The number of groups in force.
    #[must_use]
    pub fn size(&self) -> usize {
        self.limit
            .unwrap_or(ListQuery::DEFAULT_LIMIT)
            .clamp(1, ListQuery::MAX_LIMIT) as usize
    }
}

/// One group of sessions. The page has no further pages: it is a top list. `matched` counts groups.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct GroupView {
    /// User, realm, network (as in `192.0.2.0/24`) or node.
    pub key: String,
    /// The realm of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// Live sessions.
    pub sessions: u64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
    /// Payload bytes from clients, of the sessions that live.
    pub in_bytes: u64,
    /// Payload bytes to clients, of the sessions that live.
    pub out_bytes: u64,
    /// Packets dropped, of the sessions that live.
    pub drops: u64,
    /// Refusals among the last that the nodes keep (see [`RefusalView`](super::RefusalView)).
    pub refusals: u64,
    /// Whether some node told of its largest groups only, and this was not one of them: the figures
    /// are at least these.
    #[serde(default)]
    pub approximate: bool,
    /// An expression over the columns of sessions that selects this group, within the filter that was
    /// asked for.
    pub filter: String,
}
