//! `limits.*`: what the node bounds, whatever the realms say.

use std::time::Duration;

use serde_json::{Value, json};
use shared::units;
use turn_proto::policy::NodeSettings;
use turn_proto::{ServerConfig, ServerLimits};

use super::file;
use super::source::Reader;

/// The least rate that can be set: a packet a second.
const MIN_RATE: u64 = 8000;
/// The most entries of a table that is searched entry by entry.
const MAX_SEARCHED: i64 = 1024;
/// The most entries of a table with an index.
const MAX_INDEXED: i64 = 10_000_000;

/// Reserved ports: each is a bound socket.
const RESERVED_PORTS: usize = 4096;
/// The most of them: a range has twice as many by default.
const MAX_RESERVED_PORTS: i64 = 16_384;

/// How far the limits of users and realms reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitReach {
    /// Over all nodes of the cluster.
    #[default]
    Cluster,
    /// Each node by itself.
    Node,
}

impl LimitReach {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
        }
    }
}

/// Bounds of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Sessions of the node: 508 beyond.
    pub max_sessions: Option<u32>,
    /// Sessions of one source address (of a /64 of IPv6): 486 beyond.
    pub max_sessions_per_source: Option<u32>,
    /// Bits per second of all sessions of the node, in each direction.
    pub max_rate_bps: Option<u64>,
    /// How long somebody who was silent may exceed a rate.
    pub rate_burst: Duration,
    /// New peers per second of all sessions of the node.
    pub max_new_peers_per_sec: Option<u32>,
    /// Permissions of one session.
    pub permissions_per_session: usize,
    /// Channels of one session.
    pub channels_per_session: usize,
    /// Errors per second to a source that proved nothing, over UDP.
    pub unauthorized_ratelimit: Option<u32>,
    /// Binding answers per second to a source, over UDP.
    pub binding_ratelimit: Option<u32>,
    /// ICMP errors that a session is told of per second.
    pub icmp_errors_per_sec: u32,
    /// Connections with peers of one session (RFC 6062).
    pub connections_per_session: usize,
    /// Connections with peers that nobody has bound yet, per worker.
    pub waiting_connections: usize,
    /// Ports that are reserved at once.
    pub reserved_ports: usize,
    /// How long a request waits for the store.
    pub park_deadline: Duration,
    /// Requests that wait for the store, per worker.
    pub parked_requests: usize,
    /// Users whose keys are kept, per worker.
    pub cached_credentials: usize,
    /// How far the limits of users and realms reach.
    pub reach: LimitReach,
}

impl Default for LimitConfig {
    fn default() -> Self {
        let live = NodeSettings::default();
        let fixed = ServerConfig::default();
        Self {
            max_sessions: live.max_sessions,
            max_sessions_per_source: live.max_sessions_per_source,
            max_rate_bps: live.max_rate_bps,
            rate_burst: live.rate_burst,
            max_new_peers_per_sec: live.max_new_peers_per_sec,
            permissions_per_session: live.permissions_per_session,
            channels_per_session: live.channels_per_session,
            unauthorized_ratelimit: live.unauthorized_ratelimit,
            binding_ratelimit: live.binding_ratelimit,
            icmp_errors_per_sec: live.icmp_errors_per_sec,
            connections_per_session: fixed.limits.connections_per_session,
            waiting_connections: fixed.limits.waiting_connections,
            reserved_ports: RESERVED_PORTS,
            park_deadline: fixed.park_deadline,
            parked_requests: fixed.limits.parked_requests,
            cached_credentials: fixed.limits.cached_credentials,
            reach: LimitReach::default(),
        }
    }
}

impl LimitConfig {
    /// What is in force once `later` was read by a node that started with these: what needs a restart
    /// stays.
    #[must_use]
    pub fn after_reload(&self, later: &Self) -> Self {
        Self {
            connections_per_session: self.connections_per_session,
            waiting_connections: self.waiting_connections,
            reserved_ports: self.reserved_ports,
            park_deadline: self.park_deadline,
            parked_requests: self.parked_requests,
            cached_credentials: self.cached_credentials,
            reach: self.reach,
            ..later.clone()
        }
    }

    /// Puts the live ones into the settings of a policy.
    #[must_use]
    pub fn apply(&self, settings: NodeSettings) -> NodeSettings {
        NodeSettings {
            max_sessions: self.max_sessions,
            max_sessions_per_source: self.max_sessions_per_source,
            max_rate_bps: self.max_rate_bps,
            rate_burst: self.rate_burst,
            max_new_peers_per_sec: self.max_new_peers_per_sec,
            permissions_per_session: self.permissions_per_session,
            channels_per_session: self.channels_per_session,
            unauthorized_ratelimit: self.unauthorized_ratelimit,
            binding_ratelimit: self.binding_ratelimit,
            icmp_errors_per_sec: self.icmp_errors_per_sec,
            ..settings
        }
    }

    /// Puts those that need a restart into what a core is told once.
    #[must_use]
    pub fn apply_at_start(&self, config: ServerConfig) -> ServerConfig {
        ServerConfig {
            park_deadline: self.park_deadline,
            limits: ServerLimits {
                connections_per_session: self.connections_per_session,
                waiting_connections: self.waiting_connections,
                parked_requests: self.parked_requests,
                cached_credentials: self.cached_credentials,
            },
            ..config
        }
    }
}

pub(super) fn resolve(reader: &mut Reader<'_>) -> LimitConfig {
    let default = LimitConfig::default();
    let burst = reader.integer("limits.rate_burst_ms", 10..=10_000);
    let icmp = reader.integer("limits.icmp_errors_per_sec", 0..=1000);
    let park = reader.integer("limits.park_deadline_ms", 50..=30_000);
    let table = |found: Option<i64>, default: usize| {
        found.map_or(default, |n| usize::try_from(n).unwrap_or(default))
    };
    LimitConfig {
        max_sessions: count(reader, "limits.max_sessions", None),
        max_sessions_per_source: count(reader, "limits.max_sessions_per_source", None),
        max_rate_bps: rate(reader, "limits.max_rate_bps"),
        rate_burst: burst.map_or(default.rate_burst, millis),
        max_new_peers_per_sec: count(reader, "limits.max_new_peers_per_sec", None),
        permissions_per_session: table(
            reader.integer("limits.permissions_per_session", 1..=MAX_SEARCHED),
            default.permissions_per_session,
        ),
        channels_per_session: table(
            reader.integer("limits.channels_per_session", 1..=MAX_SEARCHED),
            default.channels_per_session,
        ),
        unauthorized_ratelimit: count(
            reader,
            "limits.unauthorized_ratelimit_rps",
            default.unauthorized_ratelimit,
        ),
        binding_ratelimit: count(
            reader,
            "limits.binding_ratelimit_rps",
            default.binding_ratelimit,
        ),
        icmp_errors_per_sec: icmp.map_or(default.icmp_errors_per_sec, |n| {
            u32::try_from(n).unwrap_or(default.icmp_errors_per_sec)
        }),
        connections_per_session: table(
            reader.integer("limits.connections_per_session", 1..=MAX_SEARCHED),
            default.connections_per_session,
        ),
        waiting_connections: table(
            reader.integer("limits.waiting_connections", 1..=MAX_INDEXED),
            default.waiting_connections,
        ),
        reserved_ports: table(
            reader.integer("limits.reserved_ports", 0..=MAX_RESERVED_PORTS),
            default.reserved_ports,
        ),
        park_deadline: park.map_or(default.park_deadline, millis),
        parked_requests: table(
            reader.integer("limits.parked_requests", 1..=MAX_INDEXED),
            default.parked_requests,
        ),
        cached_credentials: table(
            reader.integer("limits.cached_credentials", 1..=MAX_INDEXED),
            default.cached_credentials,
        ),
        reach: reach(reader),
    }
}

fn reach(reader: &mut Reader<'_>) -> LimitReach {
    let Some((text, origin)) = reader.text("limits.reach") else {
        return LimitReach::default();
    };
    match text.as_str() {
        "cluster" => LimitReach::Cluster,
        "node" => LimitReach::Node,
        _ => {
            let problem = format!("{:?} is no reach of limits", shared::display_safe(&text));
            let remedy =
                "write \"cluster\", or \"node\" to have each node count by itself, as coturn does";
            reader.error(&origin, "limits.reach", problem, remedy);
            LimitReach::default()
        }
    }
}

/// A count; 0: no limit.
fn count(reader: &mut Reader<'_>, name: &str, default: Option<u32>) -> Option<u32> {
    match reader.integer(name, 0..=i64::from(u32::MAX)) {
        None => default,
        Some(number) => u32::try_from(number).ok().filter(|&limit| limit > 0),
    }
}

/// Bits per second, as `2000000` or `"2M"`; 0: no limit.
fn rate(reader: &mut Reader<'_>, name: &str) -> Option<u64> {
    let item = reader.find(name)?;
    let rate = match &item.value {
        file::Value::Integer(number) => u64::try_from(*number).ok(),
        file::Value::Text(text) => units::parse_number(text),
        _ => None,
    };
    let rate = rate.filter(|&rate| rate == 0 || rate >= MIN_RATE);
    if rate.is_none() {
        let remedy = "write bits per second, at least 8000, as in 2000000 or \"2M\"; 0: no limit";
        reader.error(&item.origin, name, "is no rate", remedy);
    }
    rate.filter(|&rate| rate > 0)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The value of a setting, in one spelling however it was written.
pub(super) fn value_of(limits: &LimitConfig, key: &str) -> Value {
    let count = |limit: Option<u32>| json!(limit.unwrap_or(0));
    match key {
        "max_sessions" => count(limits.max_sessions),
        "max_sessions_per_source" => count(limits.max_sessions_per_source),
        "max_rate_bps" => json!(limits.max_rate_bps.unwrap_or(0).to_string()),
        "rate_burst_ms" => json!(limits.rate_burst.as_millis() as u64),
        "max_new_peers_per_sec" => count(limits.max_new_peers_per_sec),
        "permissions_per_session" => json!(limits.permissions_per_session),
        "channels_per_session" => json!(limits.channels_per_session),
        "unauthorized_ratelimit_rps" => count(limits.unauthorized_ratelimit),
        "binding_ratelimit_rps" => count(limits.binding_ratelimit),
        "icmp_errors_per_sec" => json!(limits.icmp_errors_per_sec),
        "connections_per_session" => json!(limits.connections_per_session),
        "waiting_connections" => json!(limits.waiting_connections),
        "reserved_ports" => json!(limits.reserved_ports),
        "park_deadline_ms" => json!(limits.park_deadline.as_millis() as u64),
        "parked_requests" => json!(limits.parked_requests),
        "cached_credentials" => json!(limits.cached_credentials),
        "reach" => json!(limits.reach.as_str()),
        _ => Value::Null,
    }
}
