//! The fields of everything that is shown.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::json;
use shared::api::{
    AuditView, BlockView, Credential, DrainView, EventView, ItemOutcome, JobView, NodeView,
    OauthKeyCreated, OauthKeyView, Overview, RealmView, RefusalCount, SecretCreated, SecretUsage,
    SecretUser, SecretView, SessionDetail, SessionView, TokenCreated, TokenView, UserView, WhoAmI,
};
use shared::{NodeId, Realm, SessionId};

use super::Shown::{Detail, Table, Wide};
use super::Style::{Age, Bytes, Count, Percent, Rate, Text, Time};
use super::shows::shows;
use super::{Field, Shows};

fn address(address: SocketAddr) -> String {
    address.to_string()
}

shows!(SessionView, "sessions/1", |row| row.id.to_string(), {
    "id" Table Text row.id;
    "user" Table Text row.user;
    "realm" Table Text row.realm;
    "node" Table Text row.node;
    "transport" Table Text row.transport;
    "client" Table Text address(row.client);
    "rate" Table Rate row.rate_bps();
    "age" Table Age row.age_secs;
    "ttl" Table Age row.ttl_secs;
    "relay" Wide Text address(row.relay);
    "peers" Wide Text row.peers;
    "in" Wide Rate row.rate_in_bps;
    "out" Wide Rate row.rate_out_bps;
    "drops" Wide Count row.drops;
    "throttled" Wide Count row.throttled;
    "maxrate" Wide Rate row.max_rate_bps;
    "secret" Wide Text row.secret_id;
    "stale" Wide Text row.stale;
    "username" Detail Text row.username;
    "worker" Detail Count row.worker;
    "server" Detail Text address(row.server);
    "relay_local" Detail Text row.relay_local.map(address);
    "second_relay" Detail Text row.second_relay.map(address);
    "relay_transport" Wide Text row.relay_transport;
    "mobile" Detail Text row.mobile;
    "started" Detail Time row.started_at_ms;
    "peer_count" Detail Count row.peer_count;
    "in_packets" Detail Count row.in_packets;
    "in_bytes" Detail Bytes row.in_bytes;
    "out_packets" Detail Count row.out_packets;
    "out_bytes" Detail Bytes row.out_bytes;
});

shows!(SessionDetail, "sessions/1", |row| row.session.id.to_string(), {
    "id" Table Text row.session.id;
    "user" Table Text row.session.user;
    "realm" Table Text row.session.realm;
    "node" Table Text row.session.node;
    "transport" Table Text row.session.transport;
    "client" Table Text address(row.session.client);
    "rate" Table Rate row.session.rate_bps();
    "age" Table Age row.session.age_secs;
    "ttl" Table Age row.session.ttl_secs;
    "relay" Wide Text address(row.session.relay);
    "peers" Wide Text row.session.peers;
    "in" Wide Rate row.session.rate_in_bps;
    "out" Wide Rate row.session.rate_out_bps;
    "drops" Wide Count row.session.drops;
    "throttled" Wide Count row.session.throttled;
    "maxrate" Wide Rate row.session.max_rate_bps;
    "max_user_rate" Detail Rate row.rate_limits.user_bps;
    "max_realm_rate" Detail Rate row.rate_limits.realm_bps;
    "max_node_rate" Detail Rate row.rate_limits.node_bps;
    "refused_new_peers" Detail Count row.refused_new_peers;
    "secret" Wide Text row.session.secret_id;
    "stale" Wide Text row.session.stale;
    "username" Detail Text row.session.username;
    "worker" Detail Count row.session.worker;
    "server" Detail Text address(row.session.server);
    "relay_local" Detail Text row.session.relay_local.map(address);
    "second_relay" Detail Text row.session.second_relay.map(address);
    "relay_transport" Wide Text row.session.relay_transport;
    "mobile" Detail Text row.session.mobile;
    "started" Detail Time row.session.started_at_ms;
    "peer_count" Detail Count row.session.peer_count;
    "in_packets" Detail Count row.session.in_packets;
    "in_bytes" Detail Bytes row.session.in_bytes;
    "out_packets" Detail Count row.session.out_packets;
    "out_bytes" Detail Bytes row.session.out_bytes;
    "lifetime" Detail Age row.lifetime_secs;
    "credential_expires" Detail Time row.credential_expires_at_ms;
    "permissions" Detail Text permissions(row);
    "channels" Detail Text channels(row);
    "peer_connections" Detail Text peer_connections(row);
    "drops_by_reason" Detail Text row.drops_by_reason;
    "user_sessions" Detail Count row.user_sessions;
    "user_limit" Detail Count row.user_limit;
});

fn permissions(row: &SessionDetail) -> Vec<String> {
    let one = |p: &shared::api::PermissionView| format!("{} ({} s)", p.peer, p.ttl_secs);
    row.permissions.iter().map(one).collect()
}

fn channels(row: &SessionDetail) -> Vec<String> {
    let one =
        |c: &shared::api::ChannelView| format!("{:#06x}={} ({} s)", c.number, c.peer, c.ttl_secs);
    row.channels.iter().map(one).collect()
}

fn peer_connections(row: &SessionDetail) -> Vec<String> {
    let one = |c: &shared::api::PeerConnectionView| {
        let way = if c.incoming { " incoming" } else { "" };
        format!("{} {}{way}", c.peer, c.state.as_str())
    };
    row.peer_connections.iter().map(one).collect()
}

fn certificate(row: &shared::api::CertificateView) -> String {
    let end = i64::try_from(row.not_after_ms).ok();
    let end = end.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let end = end.map_or_else(|| "for ever".to_owned(), |end| end.to_string());
    let refused = row.problem.as_ref();
    let refused = refused.map_or(String::new(), |why| {
        format!("; the new one is refused: {why}")
    });
    format!(
        "{} {} {} until {end}{refused}",
        row.purpose, row.key, row.file
    )
}

fn upgrade(row: &shared::api::UpgradeView) -> String {
    match &row.failed {
        None => format!("process {} prepares to take over", row.pid),
        Some(how) => format!("failed: process {} ended ({how})", row.pid),
    }
}

/// With a mark where most nodes run another one.
fn version(row: &NodeView) -> String {
    let mark = if row.version_skew { " (differs)" } else { "" };
    format!("{}{mark}", row.version)
}

shows!(NodeView, "nodes/1", |row| row.id.to_string(), {
    "node" Table Text row.id;
    "state" Table Text row.state;
    "software" Table Text crate::coturn::software(row);
    "sessions" Table Count row.sessions;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "cap" Table Percent row.capacity.percent;
    "bound" Table Text row.capacity.bound_by;
    "cpu" Table Percent row.cpu_percent;
    "version" Wide Text version(row);
    "mem" Wide Bytes row.memory_bytes;
    "drops" Wide Count row.drops;
    "uptime" Wide Age row.uptime_secs;
    "heartbeat" Wide Age row.heartbeat_age_secs;
    "labels" Wide Text row.labels;
    "store" Wide Text row.store.kind;
    "connected" Wide Text row.store.connected;
    "drain" Wide Text row.drain.as_ref().map(|drain| crate::drain::progress(row, drain));
    "store_troubles" Detail Text row.store.troubles.join("; ");
    "beside" Detail Text row.beside.as_ref().map(crate::coturn::condition);
    "elder_of" Detail Text row.elder_of.as_ref().map(NodeId::as_str);
    "upgrade" Detail Text row.upgrade.as_ref().map(upgrade);
    "roles" Detail Text row.roles;
    "epoch" Detail Count row.epoch;
    "session_base" Detail Text row.session_base;
    "listeners" Detail Text row.listeners;
    "urls" Detail Text row.urls;
    "relays" Detail Text row.relays;
    "credentials" Detail Text row.credentials.as_str();
    "sends_to" Detail Text row.sends_to;
    "workers" Detail Count row.workers;
    "created" Detail Count row.created_per_sec;
    "ended" Detail Count row.ended_per_sec;
    "packets" Detail Count row.packets_per_sec;
    "ports_used" Detail Count row.capacity.ports_used;
    "ports_total" Detail Count row.capacity.ports_total;
    "realm_revisions" Detail Text row.realm_revisions;
    "refusals" Detail Text row.refusals;
    "connections" Detail Count row.connections;
    "connections_closed" Detail Text row.connections_closed;
    "control_overflows" Detail Count row.control_overflows;
    "certificates" Detail Text row.certificates.iter().map(certificate).collect::<Vec<_>>();
});

shows!(DrainView, "drains/1", |row| row.started_at_ms.to_string(), {
    "started_at" Table Time row.started_at_ms;
    "by" Table Text row.by;
    "reason" Table Text row.reason;
    "deadline_at" Table Time row.deadline_at_ms;
    "ends_calls" Table Text row.refuse_refresh;
    "sessions_at_start" Table Count row.sessions_at_start;
    "estimate" Table Text crate::drain::estimate(row);
});

shows!(UserView, "users/1", |row| format!("{}/{}", row.realm.as_str(), row.name), {
    "user" Table Text row.name;
    "realm" Table Text row.realm;
    "sessions" Table Count row.sessions;
    "limit" Table Count row.limit;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "stored" Table Text row.stored;
    "disabled" Table Text row.disabled;
    "blocked_until" Wide Time row.blocked_until_ms;
    "max_sessions" Wide Count row.max_sessions;
    "max_rate_bps" Wide Rate row.max_rate_bps;
    "rate_limit" Wide Rate row.rate_limit_bps;
    "note" Wide Text row.note;
});

shows!(BlockView, "blocks/1", |row| format!("{}/{}", row.realm.as_str(), row.user), {
    "user" Table Text row.user;
    "realm" Table Text row.realm;
    "until" Table Time row.until_ms;
    "by" Table Text row.by;
    "reason" Table Text row.reason;
});

shows!(RealmView, "realms/1", |row| row.name.as_str().to_owned(), {
    "realm" Table Text row.name;
    "sessions" Table Count row.sessions;
    "users" Table Count row.users;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "max_sessions" Table Count row.document.max_sessions;
    "max_sessions_per_user" Table Count row.document.max_sessions_per_user;
    "max_rate_bps" Table Rate row.document.max_rate_bps;
    "max_user_rate_bps" Wide Rate row.document.max_user_rate_bps;
    "max_realm_rate_bps" Wide Rate row.document.max_realm_rate_bps;
    "secrets" Table Count row.secrets;
    "revision" Table Count row.revision;
    "refusals" Wide Count row.refusals;
    "changed" Wide Time row.changed_at_ms;
    "changed_by" Wide Text row.changed_by;
    "note" Wide Text row.document.note;
    "default_lifetime" Detail Age row.document.default_lifetime_secs;
    "max_lifetime" Detail Age row.document.max_lifetime_secs;
    "allowed_peers" Detail Text row.document.allowed_peers;
    "denied_peers" Detail Text row.document.denied_peers;
    "rest_separator" Detail Text row.document.rest_separator;
    "without_store" Detail Text row.document.new_sessions_without_store.as_str();
    "applied" Detail Text applied(row);
});

/// How many nodes apply the stored revision, and which do not.
fn applied(realm: &RealmView) -> String {
    let (all, lagging) = (realm.applied.len(), realm.lagging().count());
    let mut text = format!("{} of {all} nodes", all - lagging);
    for one in realm.lagging() {
        text.push_str(&format!("; {} has {}", one.node, one.revision));
    }
    text
}

shows!(SecretView, "secrets/1", |row| row.id.clone(), {
    "id" Table Text row.id;
    "realm" Table Text row.realm;
    "state" Table Text row.state.as_str();
    "label" Table Text row.label;
    "created" Table Time row.created_at_ms;
    "sessions" Table Count row.sessions;
});

shows!(SecretUsage, "secret-usage/1", |row| row.secret.id.clone(), {
    "id" Table Text row.secret.id;
    "realm" Wide Text row.secret.realm;
    "state" Table Text row.secret.state.as_str();
    "label" Table Text row.secret.label;
    "sessions" Table Count row.secret.sessions;
    "users" Table Count row.users;
    "last_used" Table Time row.last_used_at_ms;
    "top_users" Table Text named(&row.top_users);
});

/// Users with their sessions, in one cell.
fn named(users: &[SecretUser]) -> String {
    let named = users.iter().map(|one| match one.user.as_str() {
        "" => format!("(no name) {}", one.sessions),
        user => format!("{user} {}", one.sessions),
    });
    named.collect::<Vec<_>>().join(", ")
}

shows!(SecretCreated, "secrets/1", |row| row.secret.id.clone(), {
    "id" Table Text row.secret.id;
    "realm" Table Text row.secret.realm;
    "label" Table Text row.secret.label;
    "value" Table Text row.value;
});

shows!(EventView, "events/1", |row| row.id.clone(), {
    "time" Table Time row.at_ms;
    "severity" Table Text row.severity;
    "node" Table Text row.node;
    "kind" Table Text row.kind;
    "text" Table Text row.text;
    "user" Wide Text row.user;
    "realm" Wide Text row.realm;
    "session" Wide Text row.session;
    "id" Wide Text row.id;
});

shows!(AuditView, "audits/1", |row| row.id.clone(), {
    "time" Table Time row.at_ms;
    "actor" Table Text row.actor;
    "action" Table Text row.action;
    "target" Table Text row.target;
    "result" Table Text row.result;
    "reason" Table Text row.reason;
    "node" Wide Text row.node;
    "id" Wide Text row.id;
});

shows!(RefusalCount, "refusals/1", |row| format!("{}/{}", row.node, row.reason), {
    "node" Table Text row.node;
    "realm" Table Text row.realm;
    "reason" Table Text row.reason;
    "err" Table Text row.code;
    "count" Table Count row.count;
});

shows!(OauthKeyView, "oauth-keys/1", |row| row.kid.clone(), {
    "kid" Table Text row.kid;
    "algorithm" Table Text row.algorithm;
    "realm" Table Text row.realm;
    "since" Table Time row.since_ms;
    "until" Table Time row.until_ms;
});

shows!(OauthKeyCreated, "oauth-keys/1", |row| row.view.kid.clone(), {
    "kid" Table Text row.view.kid;
    "algorithm" Table Text row.view.algorithm;
    "realm" Table Text row.view.realm;
    "until" Table Time row.view.until_ms;
    "key" Table Text row.key;
});

shows!(TokenView, "tokens/1", |row| row.id.clone(), {
    "id" Table Text row.id;
    "role" Table Text row.role;
    "realms" Table Text row.realms;
    "label" Table Text row.label;
    "created" Table Time row.created_at_ms;
    "expires" Table Time row.expires_at_ms;
    "last_used" Table Time row.last_used_at_ms;
    "created_by" Wide Text row.created_by;
});

shows!(TokenCreated, "tokens/1", |row| row.view.id.clone(), {
    "id" Table Text row.view.id;
    "role" Table Text row.view.role;
    "realms" Table Text row.view.realms;
    "label" Table Text row.view.label;
    "expires" Table Time row.view.expires_at_ms;
    "token" Table Text row.token;
});

shows!(Credential, "credentials/1", |row| row.username.clone(), {
    "username" Table Text row.username;
    "credential" Table Text row.credential;
    "ttl" Table Age row.ttl_secs;
    "nodes" Table Text row.nodes;
    "urls" Table Text row.urls;
});

shows!(JobView, "jobs/1", |row| row.id.clone(), {
    "id" Table Text row.id;
    "node" Table Text row.node;
    "title" Table Text row.title;
    "state" Table Text row.state;
    "done" Table Count row.done;
    "total" Table Count row.total;
    "failed" Table Count row.failed;
    "actor" Wide Text row.actor;
});

shows!(WhoAmI, "whoamis/1", |row| row.actor.clone(), {
    "actor" Table Text row.actor;
    "role" Table Text row.role;
    "realms" Table Text row.realms;
    "node" Table Text row.node;
    "cluster" Table Text row.cluster;
    "version" Table Text row.version;
});

shows!(Overview, "overviews/1", |row| row.cluster.clone(), {
    "cluster" Table Text row.cluster;
    "nodes_live" Table Count row.nodes_live;
    "nodes_total" Table Count row.nodes_total;
    "sessions" Table Count row.sessions;
    "created" Table Count row.created_per_sec;
    "ended" Table Count row.ended_per_sec;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "packets" Table Count row.packets_per_sec;
    "transports" Detail Text row.transports;
    "refusals" Detail Text row.refusals_per_sec;
});

/// What happened to one session that was to be killed.
#[derive(Clone, Debug, Serialize)]
pub struct KillRow {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user: String,
    /// Its realm, where the answer names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// The node that owned it, where the answer names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What happened.
    pub outcome: ItemOutcome,
    /// Until when its user is blocked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_until_ms: Option<u64>,
}

shows!(KillRow, "kills/1", |row| row.id.to_string(), {
    "id" Table Text row.id;
    "outcome" Table Text row.outcome;
    "user" Table Text row.user;
    "realm" Table Text row.realm;
    "node" Table Text row.node;
    "blocked_until" Wide Time row.blocked_until_ms;
});
