//! What the rows of each list show to filters.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Row, Value};
use crate::api::{
    AlertView, AuditView, BlockView, EventView, GroupView, NodeRole, NodeView, RealmView,
    RedirectHealth, RedirectView, RefusalCount, RefusalView, SessionView, SettingView, Severity,
    UserView,
};

type Visit<'v> = &'v mut dyn FnMut(Value<'_>);

fn text(visit: Visit<'_>, text: &str) {
    visit(Value::Text(text));
}

fn number(visit: Visit<'_>, number: u64) {
    visit(Value::Number(number as f64));
}

fn socket(visit: Visit<'_>, address: SocketAddr) {
    visit(Value::Address(address.ip(), Some(address.port())));
}

fn label(visit: Visit<'_>, labels: &BTreeMap<String, String>, column: &str) {
    if let Some(value) = column
        .strip_prefix("label.")
        .and_then(|name| labels.get(name))
    {
        visit(Value::Text(value));
    }
}

impl Row for SessionView {
    const WORDS: &'static [&'static str] = &["id", "user", "username", "client", "node"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "id" => text(visit, &self.id.to_string()),
            "user" => text(visit, &self.user),
            "username" => text(visit, &self.username),
            "realm" => text(visit, self.realm.as_str()),
            "node" => text(visit, self.node.as_str()),
            "software" => self
                .software
                .iter()
                .for_each(|software| text(visit, software)),
            "worker" => number(visit, self.worker.0.into()),
            "transport" => text(visit, self.transport.as_str()),
            "relay_transport" => text(visit, self.relay_transport.as_str()),
            "mobile" => visit(Value::Flag(self.mobile)),
            "client" => socket(visit, self.client),
            "server" => socket(visit, self.server),
            "relay" => [Some(self.relay), self.second_relay]
                .into_iter()
                .flatten()
                .for_each(|relay| socket(visit, relay)),
            "peer" => self
                .peers
                .iter()
                .filter_map(|peer| address(peer))
                .for_each(visit),
            "peers" => number(visit, self.peer_count.into()),
            "rate" => number(visit, self.rate_bps()),
            "in" => number(visit, self.rate_in_bps),
            "out" => number(visit, self.rate_out_bps),
            "age" => number(visit, self.age_secs),
            "ttl" => number(visit, self.ttl_secs),
            "in_packets" => number(visit, self.in_packets),
            "out_packets" => number(visit, self.out_packets),
            "in_bytes" => number(visit, self.in_bytes),
            "out_bytes" => number(visit, self.out_bytes),
            "packets" => number(visit, self.in_packets.saturating_add(self.out_packets)),
            "bytes" => number(visit, self.in_bytes.saturating_add(self.out_bytes)),
            "drops" => number(visit, self.drops),
            "throttled" => number(visit, self.throttled),
            "newpeers" => visit(Value::Number(self.new_peers_per_sec)),
            "maxrate" => self
                .max_rate_bps
                .into_iter()
                .for_each(|rate| number(visit, rate)),
            "secret" => self.secret_id.iter().for_each(|id| text(visit, id)),
            "stale" => visit(Value::Flag(self.stale)),
            _ => {}
        }
    }
}

/// A peer as a list shows it: `address:port` or `address`.
fn address(peer: &str) -> Option<Value<'static>> {
    if let Ok(socket) = peer.parse::<SocketAddr>() {
        return Some(Value::Address(socket.ip(), Some(socket.port())));
    }
    peer.parse::<IpAddr>()
        .ok()
        .map(|ip| Value::Address(ip, None))
}

/// A session together with the labels of its node, which the row itself does not carry.
#[derive(Clone, Copy, Debug)]
pub struct LabelledSession<'a> {
    /// The row.
    pub session: &'a SessionView,
    /// Labels of the node that relays it.
    pub labels: &'a BTreeMap<String, String>,
}

impl Row for LabelledSession<'_> {
    const WORDS: &'static [&'static str] = SessionView::WORDS;

    fn values(&self, column: &str, visit: Visit<'_>) {
        if column.starts_with("label.") {
            label(visit, self.labels, column);
        } else {
            self.session.values(column, visit);
        }
    }
}

impl Row for NodeView {
    const WORDS: &'static [&'static str] = &["node"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "node" => text(visit, self.id.as_str()),
            "state" => text(visit, self.state.as_str()),
            "version" => text(visit, &self.version),
            "software" => {
                let beside = self.beside.iter();
                beside.for_each(|beside| text(visit, &beside.software));
            }
            "away" => {
                let away = self.beside.iter().filter_map(|beside| beside.away.as_ref());
                away.for_each(|why| text(visit, why));
            }
            "skew" => visit(Value::Flag(self.version_skew)),
            "role" => self
                .roles
                .iter()
                .for_each(|role| text(visit, role_name(*role))),
            "listener" => self
                .listeners
                .iter()
                .for_each(|address| socket(visit, *address)),
            "workers" => number(visit, self.workers.into()),
            "sessions" => number(visit, self.sessions),
            "created" => visit(Value::Number(self.created_per_sec)),
            "ended" => visit(Value::Number(self.ended_per_sec)),
            "rate" => number(visit, self.rate_in_bps.saturating_add(self.rate_out_bps)),
            "in" => number(visit, self.rate_in_bps),
            "out" => number(visit, self.rate_out_bps),
            "packets" => number(visit, self.packets_per_sec),
            "drops" => number(visit, self.drops),
            "cap" => visit(Value::Number(self.capacity.percent)),
            "bound" => text(visit, &self.capacity.bound_by),
            "cpu" => visit(Value::Number(self.cpu_percent)),
            "mem" => number(visit, self.memory_bytes),
            "uptime" => number(visit, self.uptime_secs),
            "heartbeat" => number(visit, self.heartbeat_age_secs),
            "store" => text(visit, &self.store.kind),
            "connected" => visit(Value::Flag(self.store.connected)),
            "err" => {
                let sent = self.refusals.iter().filter(|(_, count)| **count > 0);
                sent.for_each(|(code, _)| text(visit, code));
            }
            "confrev" => number(visit, self.config_revision),
            "epoch" => number(visit, self.epoch),
            _ => label(visit, &self.labels, column),
        }
    }
}

fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Relay => "relay",
        NodeRole::Gateway => "gateway",
    }
}

impl Row for UserView {
    const WORDS: &'static [&'static str] = &["user"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "user" => text(visit, &self.name),
            "realm" => text(visit, self.realm.as_str()),
            "sessions" => number(visit, self.sessions),
            "limit" => self
                .limit
                .into_iter()
                .for_each(|limit| number(visit, limit.into())),
            "rate" => number(visit, self.rate_in_bps.saturating_add(self.rate_out_bps)),
            "in" => number(visit, self.rate_in_bps),
            "out" => number(visit, self.rate_out_bps),
            "stored" => visit(Value::Flag(self.stored)),
            "disabled" => visit(Value::Flag(self.disabled)),
            "blocked" => visit(Value::Flag(self.blocked_until_ms.is_some())),
            "keys" => self
                .algorithms
                .iter()
                .for_each(|algorithm| text(visit, algorithm.as_str())),
            "note" => text(visit, &self.note),
            _ => {}
        }
    }
}

impl Row for RealmView {
    const WORDS: &'static [&'static str] = &["realm"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        let document = &self.document;
        if column == "origin" {
            return document
                .origins
                .iter()
                .for_each(|origin| text(visit, origin));
        }
        let mut optional = |value: Option<u64>| value.into_iter().for_each(|n| number(visit, n));
        match column {
            "maxrate" => optional(document.max_rate_bps),
            "max_sessions" => optional(document.max_sessions.map(u64::from)),
            "max_sessions_per_user" => optional(document.max_sessions_per_user.map(u64::from)),
            "realm" => text(visit, self.name.as_str()),
            "revision" => number(visit, self.revision),
            "sessions" => number(visit, self.sessions),
            "users" => number(visit, self.users),
            "secrets" => number(visit, self.secrets.into()),
            "rate" => number(visit, self.rate_in_bps.saturating_add(self.rate_out_bps)),
            "in" => number(visit, self.rate_in_bps),
            "out" => number(visit, self.rate_out_bps),
            "refusals" => number(visit, self.refusals),
            "note" => text(visit, &document.note),
            _ => {}
        }
    }
}

impl Row for EventView {
    const WORDS: &'static [&'static str] = &["text", "user", "node", "session"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "severity" => text(visit, severity_name(self.severity)),
            "kind" => text(visit, self.kind.as_str()),
            "node" => text(visit, self.node.as_str()),
            "text" => text(visit, &self.text),
            "session" => self
                .session
                .iter()
                .for_each(|id| text(visit, &id.to_string())),
            "user" => self.user.iter().for_each(|user| text(visit, user)),
            "realm" => self
                .realm
                .iter()
                .for_each(|realm| text(visit, realm.as_str())),
            _ => {}
        }
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Notice => "notice",
        Severity::Warn => "warn",
        Severity::Crit => "crit",
    }
}

impl Row for RefusalCount {
    const WORDS: &'static [&'static str] = &["node", "realm", "reason"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "node" => text(visit, self.node.as_str()),
            "realm" => self
                .realm
                .iter()
                .for_each(|realm| text(visit, realm.as_str())),
            "reason" => text(visit, &self.reason),
            "err" => self
                .code
                .into_iter()
                .for_each(|code| number(visit, code.into())),
            "count" => number(visit, self.count),
            _ => {}
        }
    }
}

impl Row for BlockView {
    const WORDS: &'static [&'static str] = &["user"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "user" => text(visit, &self.user),
            "realm" => text(visit, self.realm.as_str()),
            "reason" => text(visit, &self.reason),
            "by" => text(visit, &self.by),
            _ => {}
        }
    }
}

impl Row for RefusalView {
    const WORDS: &'static [&'static str] = &["user", "source", "reason", "node", "session"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "time" => number(visit, self.at_ms),
            "node" => text(visit, self.node.as_str()),
            "source" => socket(visit, self.source),
            "realm" => self
                .realm
                .iter()
                .for_each(|realm| text(visit, realm.as_str())),
            "user" => self.user.iter().for_each(|user| text(visit, user)),
            "session" => self
                .session
                .iter()
                .for_each(|id| text(visit, &id.to_string())),
            "peer" => self.peer.iter().for_each(|peer| text(visit, peer)),
            "reason" => text(visit, &self.reason),
            "err" => self
                .code
                .into_iter()
                .for_each(|code| number(visit, code.into())),
            "count" => number(visit, self.count),
            _ => {}
        }
    }
}

impl Row for GroupView {
    const WORDS: &'static [&'static str] = &["key", "realm"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "key" => text(visit, &self.key),
            "realm" => self
                .realm
                .iter()
                .for_each(|realm| text(visit, realm.as_str())),
            "sessions" => number(visit, self.sessions),
            "rate" => number(visit, self.rate_in_bps.saturating_add(self.rate_out_bps)),
            "in" => number(visit, self.rate_in_bps),
            "out" => number(visit, self.rate_out_bps),
            "bytes" => number(visit, self.in_bytes.saturating_add(self.out_bytes)),
            "drops" => number(visit, self.drops),
            "refusals" => number(visit, self.refusals),
            _ => {}
        }
    }
}

impl Row for AuditView {
    const WORDS: &'static [&'static str] = &["actor", "action", "target", "reason", "result"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "time" => number(visit, self.at_ms),
            "node" => text(visit, self.node.as_str()),
            "actor" => text(visit, &self.actor),
            "action" => text(visit, &self.action),
            "target" => text(visit, &self.target),
            "reason" => text(visit, &self.reason),
            "result" => text(visit, &self.result),
            _ => {}
        }
    }
}

impl Row for AlertView {
    const WORDS: &'static [&'static str] = &["rule", "node", "realm", "text"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "severity" => text(visit, severity_name(self.severity)),
            "rule" => text(visit, &self.rule),
            "node" => self.node.iter().for_each(|node| text(visit, node.as_str())),
            "realm" => self
                .realm
                .iter()
                .for_each(|realm| text(visit, realm.as_str())),
            "since" => number(visit, self.since_ms),
            "text" => text(visit, &self.text),
            _ => {}
        }
    }
}

impl Row for RedirectView {
    const WORDS: &'static [&'static str] = &["target", "node", "note", "id"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "id" => text(visit, &self.id),
            "transport" => text(visit, self.transport.as_str()),
            "target" => socket(visit, self.target),
            "node" => self.node.iter().for_each(|node| text(visit, node.as_str())),
            "weight" => number(visit, self.weight.into()),
            "health" => text(
                visit,
                match self.health {
                    RedirectHealth::Unknown => "unknown",
                    RedirectHealth::Up => "up",
                    RedirectHealth::Down => "down",
                },
            ),
            "note" => text(visit, &self.note),
            _ => {}
        }
    }
}

impl Row for SettingView {
    const WORDS: &'static [&'static str] = &["key", "value"];

    fn values(&self, column: &str, visit: Visit<'_>) {
        match column {
            "key" => text(visit, &self.key),
            "value" => text(visit, &self.value_text()),
            "source" => text(visit, self.source.as_str()),
            "applies" => text(visit, self.applies.as_str()),
            "changed" => visit(Value::Flag(!self.secret && self.value != self.default)),
            _ => {}
        }
    }
}
