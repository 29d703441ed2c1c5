//! Bans of networks: of clients that are refused, or of peers that nobody talks to.

use serde::{Deserialize, Serialize};

use crate::IpRange;

/// Whose network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BanKind {
    /// Of clients: their sessions end, and new ones are refused with 403.
    Client,
    /// Of peers: no data passes to or from there, and permissions are refused with 403. Calls go on
    /// with their other peers.
    Peer,
}

impl BanKind {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }
}

/// One row of `GET /v1/bans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanView {
    /// What it is called: 12 hex digits, the same for the same net.
    pub id: String,
    /// Whose network.
    pub kind: BanKind,
    /// The network.
    pub net: IpRange,
    /// Until when.
    pub until_ms: u64,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// Whether the store has it; else it holds on the answering node only, until the store is back.
    pub stored: bool,
}

/// `POST /v1/bans`. A net that is banned already gets the new end and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanCreate {
    /// Whose network.
    pub kind: BanKind,
    /// The network: CIDR, one address, or `first-last`; at most a /8 of IPv4 or a /19 of IPv6.
    pub net: IpRange,
    /// For how long, in seconds: 1 to 31,536,000 (a year).
    pub secs: u64,
    /// Only tell what it would hit.
    #[serde(default)]
    pub dry_run: bool,
    /// Refuse (409) to hit more sessions than that; absent: however many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// Why; kept with the ban and in the audit.
    #[serde(default)]
    pub reason: String,
}

/// The answer: the ban, and what it hits, or would hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BanResult {
    /// The ban; not in force after a dry run.
    #[serde(flatten)]
    pub ban: BanView,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Live sessions of clients there, or with a permission for a peer there.
    pub sessions: u64,
    /// Distinct users among them: many are behind one address of a big NAT.
    pub users: u64,
    /// Nodes that did not answer: theirs are not counted.
    #[serde(default)]
    pub missing: Vec<super::MissingNode>,
    /// Nodes on which it holds in part only, and what does: those that speak for a coturn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly: Vec<super::MissingNode>,
}
