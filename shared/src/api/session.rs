//! Sessions: TURN allocations as operators see them.
//!
//! Directions are the relay's: `in` is what the client sent, `out` is what the client was sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{NodeId, Realm, RelayTransport, SessionId, Transport, WorkerId};

/// One row of the session list.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SessionView {
    /// The id.
    pub id: SessionId,
    /// The node that relays it.
    pub node: NodeId,
    /// The worker thread inside the node.
    pub worker: WorkerId,
    /// The id part of a time-limited username (may be empty), else the name itself.
    pub user: String,
    /// The full STUN USERNAME.
    pub username: String,
    /// The realm it authenticated in.
    pub realm: Realm,
    /// How the client reaches the relay.
    pub transport: Transport,
    /// How the relay reaches its peers: `tcp` for an allocation of RFC 6062.
    #[serde(default)]
    pub relay_transport: RelayTransport,
    /// Its client may change its address (RFC 8016).
    #[serde(default)]
    pub mobile: bool,
    /// The client's address.
    pub client: SocketAddr,
    /// The listener's address.
    pub server: SocketAddr,
    /// The relayed transport address as the client was told (the external one behind NAT).
    pub relay: SocketAddr,
    /// The local address of the relay socket, where it differs from `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_local: Option<SocketAddr>,
    /// The relayed address of the other family, in a dual allocation (RFC 8656 §7.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_relay: Option<SocketAddr>,
    /// When it was created.
    pub started_at_ms: u64,
    /// Seconds since then.
    pub age_secs: u64,
    /// Seconds until it expires unless refreshed.
    pub ttl_secs: u64,
    /// Peers, `address:port` for bound channels and where the port was seen, else the address; at
    /// most eight in lists.
    pub peers: Vec<String>,
    /// How many permissions there are.
    pub peer_count: u32,
    /// Bits per second from the client, over the last second.
    pub rate_in_bps: u64,
    /// Bits per second to the client, over the last second.
    pub rate_out_bps: u64,
    /// Packets relayed from the client.
    pub in_packets: u64,
    /// Payload bytes relayed from the client.
    pub in_bytes: u64,
    /// Packets relayed to the client.
    pub out_packets: u64,
    /// Payload bytes relayed to the client.
    pub out_bytes: u64,
    /// Packets of this session that were dropped, all reasons.
    pub drops: u64,
    /// Those among them that were over a rate limit: its own, its user's, its realm's or the node's.
    #[serde(default)]
    pub throttled: u64,
    /// Peers that were permitted for the first time, per second, over the last ten seconds: a client
    /// that scans through the relay shows here.
    #[serde(default)]
    pub new_peers_per_sec: f64,
    /// Its own limit in bits per second and direction, where one applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate_bps: Option<u64>,
    /// Which shared secret signed a time-limited credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// What relays it where its node only speaks for another server, as in `coturn 4.6.1`. Such a session
    /// counts in no quota of the cluster, and its rates are those between the server's last two figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// The last known row of a node that did not answer.
    #[serde(default)]
    pub stale: bool,
}

impl SessionView {
    /// Both directions together: the column RATE.
    #[must_use]
    pub fn rate_bps(&self) -> u64 {
        self.rate_in_bps.saturating_add(self.rate_out_bps)
    }

    /// The share of its packets that were over a rate limit, in percent; `None` without any.
    #[must_use]
    pub fn throttled_percent(&self) -> Option<f64> {
        let passed = self.in_packets.saturating_add(self.out_packets);
        let all = passed.saturating_add(self.throttled);
        (self.throttled > 0).then(|| self.throttled as f64 * 100.0 / all as f64)
    }
}

/// Everything about one session.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SessionDetail {
    /// Name and version of this type: `session/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// The row of the list, with all peers.
    #[serde(flatten)]
    pub session: SessionView,
    /// The lifetime granted last.
    pub lifetime_secs: u64,
    /// When a time-limited credential ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires_at_ms: Option<u64>,
    /// Permissions (RFC 8656 §9).
    pub permissions: Vec<PermissionView>,
    /// Milliseconds that the rates of the permissions were measured over; absent: they are not known,
    /// and the zeros in their place say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_rates_ms: Option<u64>,
    /// Channel bindings (RFC 8656 §12).
    pub channels: Vec<ChannelView>,
    /// Connections with peers, in a TCP allocation (RFC 6062).
    #[serde(default)]
    pub peer_connections: Vec<PeerConnectionView>,
    /// The rate limits in force for it.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// Requests refused because their peers were too many new ones at once.
    #[serde(default)]
    pub refused_new_peers: u64,
    /// Dropped packets by reason.
    pub drops_by_reason: BTreeMap<String, u64>,
    /// Refusals that concern this session among the last that its node keeps, newest first, at most
    /// 20.
    #[serde(default)]
    pub refusals: Vec<super::RefusalView>,
    /// Sessions this user has on all nodes, as far as the node knows.
    pub user_sessions: u32,
    /// The session limit of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_limit: Option<u32>,
}

/// Rate limits that hold for a session, in bits per second and direction; absent: none.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct RateLimits {
    /// Its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_bps: Option<u64>,
    /// That of all sessions of its user on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_bps: Option<u64>,
    /// That of all sessions of its realm on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm_bps: Option<u64>,
    /// That of all sessions of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_bps: Option<u64>,
}

/// A permission (RFC 8656 §9).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct PermissionView {
    /// The peer's address; a permission has no port.
    pub peer: IpAddr,
    /// The port last seen in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_port: Option<u16>,
    /// Seconds until it expires.
    pub ttl_secs: u64,
    /// Payload bytes from the client to this peer.
    pub in_bytes: u64,
    /// Payload bytes from this peer to the client.
    pub out_bytes: u64,
    /// Bits per second from the client to this peer.
    #[serde(default)]
    pub rate_in_bps: u64,
    /// Bits per second from this peer to the client.
    #[serde(default)]
    pub rate_out_bps: u64,
}

/// A channel binding (RFC 8656 §12).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ChannelView {
    /// The channel number, 0x4000 to 0x7FFF.
    pub number: u16,
    /// The peer it is bound to.
    pub peer: SocketAddr,
    /// Seconds until it expires.
    pub ttl_secs: u64,
}

/// A connection between the relay and a peer (RFC 6062 §3).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct PeerConnectionView {
    /// The peer, as the client knows it.
    pub peer: SocketAddr,
    /// How far it has come.
    pub state: PeerConnectionState,
    /// The peer made it; else a Connect of the client did.
    pub incoming: bool,
    /// The client's end of the data connection that it is joined with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
    /// Bytes from the client to the peer.
    pub in_bytes: u64,
    /// Bytes from the peer to the client.
    pub out_bytes: u64,
}

/// How far a connection with a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerConnectionState {
    /// The peer has not answered yet.
    Connecting,
    /// The client has not bound it yet (ConnectionBind); nothing is read from the peer meanwhile.
    Pending,
    /// Joined with a connection of the client.
    Bound,
}

impl PeerConnectionState {
    /// The word used in the API and on screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Pending => "pending",
            Self::Bound => "bound",
        }
    }
}

/// `DELETE /v1/sessions/{id}` takes this body.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct KillRequest {
    /// Why; kept in the audit.
    pub reason: String,
    /// Also refuse the session's user for this long, so that the client does not come straight back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_secs: Option<u64>,
}

/// What happened to one session that was to be killed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct KillResult {
    /// The session.
    pub id: SessionId,
    /// The node that owned it.
    pub node: NodeId,
    /// Its user.
    pub user: String,
    /// Its realm.
    pub realm: Realm,
    /// Whether the user is blocked now, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until_ms: Option<u64>,
}

/// `POST /v1/sessions/kill`: many sessions, as a job. Either `ids` or `filter`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct SessionsKill {
    /// The frozen list that the operator saw.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<SessionId>,
    /// Or a filter, resolved once when the job starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many the operator expects; a filter that resolves to more than this is refused (409).
    pub expected: u64,
    /// Kills per second and node, 1 to 10,000.
    pub rate: u32,
    /// Why; kept in the audit.
    pub reason: String,
    /// Also refuse the users of these sessions for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_secs: Option<u64>,
    /// Only tell what would be killed.
    pub dry_run: bool,
}

/// `PUT /v1/realms/{realm}/blocks/{user}`: refuse a user for a while.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct BlockRequest {
    /// For how long, 1 s to 30 days.
    pub secs: u64,
    /// Why; kept in the audit.
    pub reason: String,
}
