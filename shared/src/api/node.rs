//! Nodes and the cluster as a whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::api::{BesideView, DrainView, MissingNode, UpgradeView};
use crate::{NodeId, Realm};

/// A node as the registry and its own counters describe it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct NodeView {
    /// The id.
    pub id: NodeId,
    /// Counts the starts of this id; a higher epoch fences the ones before.
    pub epoch: u64,
    /// The version of `relayd`.
    pub version: String,
    /// What it does.
    pub roles: Vec<NodeRole>,
    /// Operator's labels (region, provider, ring, ...).
    pub labels: BTreeMap<String, String>,
    /// Its state, as seen by whoever answers.
    pub state: NodeState,
    /// Upper half of its session ids, as eight hex digits.
    pub session_base: String,
    /// Upper halves of the ids of sessions that an earlier start began and this one took up; at most
    /// 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored_bases: Vec<String>,
    /// TURN listeners.
    pub listeners: Vec<SocketAddr>,
    /// Where clients reach them, as URIs (RFC 7065), one for each transport of each listener;
    /// without those behind a proxy, whose address is the proxy's affair.
    #[serde(default)]
    pub urls: Vec<String>,
    /// The realm that clients are told at each of `urls`, as the listener or else the node's
    /// `default_realm` has it; empty from a version that does not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub url_realms: BTreeMap<String, Realm>,
    /// Which credentials it accepts; of a version that does not tell: either.
    #[serde(default)]
    pub credentials: CredentialKinds,
    /// Relay addresses as clients are told, each with its port range, as in `192.0.2.1:49152-65535`.
    pub relays: Vec<String>,
    /// Worker threads.
    pub workers: u16,
    /// Seconds since its start.
    pub uptime_secs: u64,
    /// Seconds since its last heartbeat, as seen by whoever answers.
    pub heartbeat_age_secs: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Sessions created per second, over the last seconds.
    pub created_per_sec: f64,
    /// Sessions ended per second.
    pub ended_per_sec: f64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
    /// Packets relayed per second, both directions.
    pub packets_per_sec: u64,
    /// Packets dropped since the start, all reasons.
    pub drops: u64,
    /// Sessions by client transport.
    pub transports: BTreeMap<String, u64>,
    /// How full it is.
    pub capacity: Capacity,
    /// CPU of the process in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// Its connection to the store.
    pub store: StoreState,
    /// Highest realm revision it applies, per realm.
    #[serde(default)]
    pub realm_revisions: BTreeMap<String, u64>,
    /// Revision of the configuration overrides for all nodes that it applies (see
    /// [`ConfigView`](super::ConfigView)).
    #[serde(default)]
    pub config_revision: u64,
    /// Refusals since the start, per STUN error code.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Refusals per second, per STUN error code, over the last seconds.
    #[serde(default)]
    pub refusals_per_sec: BTreeMap<String, f64>,
    /// Wrong or expired credentials per second: refused with 401 or 441 after a user was named.
    #[serde(default)]
    pub auth_failures_per_sec: f64,
    /// Packets dropped per second, all reasons.
    #[serde(default)]
    pub drops_per_sec: f64,
    /// Realms that use at least half of their session limit, in percent, as far as this node knows of the
    /// others: the fullest.
    #[serde(default)]
    pub realm_use: BTreeMap<String, f64>,
    /// Client connections over TCP and TLS, with and without a session.
    #[serde(default)]
    pub connections: u64,
    /// Client connections closed since the start, by reason: `client`, `garbage`, `source_limit` and
    /// so on.
    #[serde(default)]
    pub connections_closed: BTreeMap<String, u64>,
    /// Worst packet loss in its own queues: events dropped between workers and control.
    #[serde(default)]
    pub control_overflows: u64,
    /// Certificates of its listeners.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// Whether its version is another one than most nodes run, as seen by whoever answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub version_skew: bool,
    /// The nodes that it sends new clients to by itself, being drained or full, the most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sends_to: Vec<NodeId>,
    /// The node whose former process this is: it was restarted without an end, and what cannot move to
    /// the new process (TLS and DTLS clients) goes on here until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elder_of: Option<NodeId>,
    /// The process that is to take over from this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeView>,
    /// Its drain, while it is drained; `sessions` is what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
    /// The coturn that it speaks for; its sessions are coturn's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<BesideView>,
}

/// A certificate that a node shows to clients of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// `tls` for TURN clients (TLS and DTLS), `admin` for the admin API.
    pub purpose: String,
    /// The file of its chain.
    pub file: String,
    /// What its key signs with: `ECDSA`, `RSA` or `EdDSA`.
    pub key: String,
    /// When its life ends.
    pub not_after_ms: u64,
    /// The DNS names that it is for, in lower case; `*.example.org` among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Why the files that are there now are not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Relays packets.
    Relay,
    /// Answers the admin API for the whole cluster and changes users, secrets and realms.
    Gateway,
}

/// Which credentials clients may show. Access tokens (RFC 7635) are neither and have a switch of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKinds {
    /// Users, and what was made with a shared secret.
    #[default]
    Both,
    /// Users of the file and the store alone: secrets that are there open nothing.
    Users,
    /// Time-limited credentials made with a shared secret alone: users that are there are refused.
    Secrets,
}

impl CredentialKinds {
    /// Whether users of the file and the store are served.
    #[must_use]
    pub fn has_users(self) -> bool {
        self != Self::Secrets
    }

    /// Whether credentials made with shared secrets are accepted.
    #[must_use]
    pub fn has_secrets(self) -> bool {
        self != Self::Users
    }

    /// Whether whoever is accepted by `other` is accepted here.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == Self::Both || self == other
    }

    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Users => "users",
            Self::Secrets => "secrets",
        }
    }
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Started, not yet serving.
    Joining,
    /// Serving and taking new sessions.
    Ready,
    /// Serving, taking no new sessions.
    Draining,
    /// No heartbeat for a while; what is shown is the last that is known.
    Stale,
    /// Stopped cleanly or removed.
    Gone,
}

impl NodeState {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }
}

/// The version that most of these nodes run; nodes that are gone run none. Of two that are as
/// frequent it is the newer one: an upgrade is half done.
#[must_use]
pub fn usual_version(nodes: &[NodeView]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let live = nodes.iter().filter(|node| node.state != NodeState::Gone);
    for node in live {
        *counts.entry(&node.version).or_default() += 1;
    }
    // Numbers count as numbers: 0.10 is newer than 0.9.
    let age = |version: &str| -> Vec<u64> {
        let parts = version.split(|c: char| !c.is_ascii_digit());
        parts.map(|part| part.parse().unwrap_or(0)).collect()
    };
    let most = counts
        .into_iter()
        .max_by_key(|(version, count)| (*count, age(version)));
    most.map(|(version, _)| version.to_owned())
}

/// A node's connection to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreState {
    /// `sqlite` or `redis`.
    pub kind: String,
    /// Whether the last operation worked.
    pub connected: bool,
    /// Since when it is in that state.
    pub since_ms: u64,
    /// What is wrong although it answers: what it refuses for now, settings under which it may lose
    /// data. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

/// How full a node is: the binding one of several limits, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Percent of the binding limit in use, 0 to 100.
    pub percent: f64,
    /// Which limit binds: `ports`, `descriptors`, `cpu` or `sessions` (`limits.max_sessions`).
    pub bound_by: String,
    /// The same of all limits but `cpu`, of which some is there again a moment later; absent from a version
    /// that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<f64>,
    /// Relay ports in use.
    pub ports_used: u64,
    /// Relay ports in all.
    pub ports_total: u64,
}

/// `GET /v1/overview`: the cluster in figures.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Overview {
    /// Name and version of this type: `overview/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// Name of the cluster from the configuration of the node that answers.
    pub cluster: String,
    /// Nodes that are ready or draining.
    pub nodes_live: u32,
    /// Nodes in the registry.
    pub nodes_total: u32,
    /// Live sessions.
    pub sessions: u64,
    /// Sessions created per second.
    pub created_per_sec: f64,
    /// Sessions ended per second.
    pub ended_per_sec: f64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
    /// Packets relayed per second.
    pub packets_per_sec: u64,
    /// Sessions by client transport.
    pub transports: BTreeMap<String, u64>,
    /// Refusals per second by STUN error code, and `malformed` for packets that were not STUN.
    pub refusals_per_sec: BTreeMap<String, f64>,
    /// Nodes that did not answer.
    pub missing: Vec<MissingNode>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, version: &str, state: &str) -> NodeView {
        serde_json::from_value(serde_json::json!({
            "id": id, "epoch": 1, "version": version, "roles": [], "labels": {}, "state": state,
            "session_base": "", "listeners": [], "relays": [], "workers": 1, "uptime_secs": 1,
            "heartbeat_age_secs": 0, "sessions": 0, "created_per_sec": 0.0, "ended_per_sec": 0.0,
            "rate_in_bps": 0, "rate_out_bps": 0, "packets_per_sec": 0, "drops": 0,
            "transports": {}, "cpu_percent": 0.0, "memory_bytes": 0,
            "capacity": {"percent": 0.0, "bound_by": "", "ports_used": 0, "ports_total": 0},
            "store": {"kind": "redis", "connected": true, "since_ms": 0},
        }))
        .unwrap()
    }

    #[test]
    fn most_nodes_say_what_is_usual_and_the_newer_version_where_they_are_even() {
        let nodes = [
            node("a", "0.9.0", "ready"),
            node("b", "0.10.0", "draining"),
            node("c", "0.9.0", "gone"),
        ];
        assert_eq!(usual_version(&nodes).as_deref(), Some("0.10.0"));
        let more = [&nodes[..], &[node("d", "0.9.0", "stale")]].concat();
        assert_eq!(usual_version(&more).as_deref(), Some("0.9.0"));
        assert_eq!(usual_version(&nodes[2..]), None);
    }
}
