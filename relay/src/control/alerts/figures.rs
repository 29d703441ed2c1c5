//! What is judged: figures that a gateway knows anyway, with words on what to do about them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use shared::api::{CertificateView, NodeRole, NodeState, NodeView, usual_version};
use shared::{NodeId, Realm};

use super::condition::Reading;
use super::rules::{
    AUTH_FAILURES, CERTIFICATE_EXPIRING, CONFIG_LAG, CONTROL_OVERFLOWS, COTURN_AWAY, NO_READY_NODE,
    NODE_CAPACITY, NODE_DRAINED, NODE_DROPS, NODE_SILENT, PORTS_EXHAUSTED, QUOTA_REFUSALS,
    REALM_SESSIONS, SERVER_ERRORS, STORE_AWAY, VERSION_SKEW,
};
use crate::control::cluster::heartbeat;
use crate::control::hub::Hub;
use crate::store::document::CONFIG;

/// Milliseconds of an hour and of a day.
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How far back lost news count.
const MINUTE_MS: u64 = 60_000;
/// Nodes whose lost news are remembered.
const MAX_NODES: usize = 4096;

/// One figure.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// The rule that judges it.
    pub rule: &'static str,
    /// The node concerned.
    pub node: Option<NodeId>,
    /// The realm concerned.
    pub realm: Option<Realm>,
    /// How much.
    pub reading: Reading,
    /// What it means and what to do.
    pub text: String,
}

impl Figure {
    /// The rule and what it is about.
    pub(super) fn id(&self) -> String {
        let mut id = self.rule.to_owned();
        if let Some(node) = &self.node {
            id = format!("{id}/{node}");
        }
        if let Some(realm) = &self.realm {
            id = format!("{id}/{realm}");
        }
        id
    }
}

/// What has to be remembered between two readings.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When each node had lost how many news.
    overflows: BTreeMap<NodeId, VecDeque<(u64, u64)>>,
    /// Since when each node is behind the configuration, by this node's own clock.
    behind: BTreeMap<NodeId, u64>,
    /// Since when each node runs another version than most, by this node's own clock.
    skewed: BTreeMap<NodeId, u64>,
}

impl Memory {
    /// News that a node lost during the last minute.
    fn lost(&mut self, node: &NodeView, now: u64) -> u64 {
        if !self.overflows.contains_key(&node.id) && self.overflows.len() >= MAX_NODES {
            return 0;
        }
        let seen = self.overflows.entry(node.id.clone()).or_default();
        let total = node.control_overflows;
        if seen.back().is_some_and(|(_, last)| *last > total) {
            // It started anew.
            seen.clear();
        }
        if seen.is_empty() || seen.back().is_some_and(|(_, last)| *last != total) {
            seen.push_back((now, total));
        }
        while seen.len() > 1 && seen.get(1).is_some_and(|(at, _)| at + MINUTE_MS <= now) {
            seen.pop_front();
        }
        total - seen.front().map_or(total, |(_, first)| *first)
    }
}

/// All figures of this moment. While the store is away, only this node is known.
pub(super) fn measure(hub: &Hub, memory: &mut Memory, now: u64) -> Vec<Figure> {
    let own = heartbeat::own_view(hub);
    let mut figures = Vec::new();
    if !own.store.connected {
        figures.push(of_node(
            STORE_AWAY,
            &own,
            seconds_since(own.store.since_ms, now),
            format!(
                "{} does not reach its {} store: running sessions go on, users and realms cannot \
                 change; check the store and the network to it",
                own.id, own.store.kind
            ),
        ));
        judge_node(&mut figures, memory, &own, now);
        return figures;
    }
    let mut nodes = hub.cluster.registry().views(Instant::now());
    nodes.retain(|node| node.id != own.id);
    nodes.push(own);
    let known = |id: &NodeId| nodes.iter().any(|node| node.id == *id);
    memory.overflows.retain(|id, _| known(id));
    memory.behind.retain(|id, _| known(id));
    let ready =
        |node: &NodeView| node.state == NodeState::Ready && node.roles.contains(&NodeRole::Relay);
    let relays = nodes
        .iter()
        .any(|node| node.roles.contains(&NodeRole::Relay));
    if relays && !nodes.iter().any(ready) {
        let text = "no relay takes new sessions: start one, or see in the list of nodes why they \
                    do not";
        figures.push(Figure {
            rule: NO_READY_NODE,
            node: None,
            realm: None,
            reading: Reading::of(1.0),
            text: text.to_owned(),
        });
    }
    skewed(&mut figures, memory, &nodes, now);
    let config = hub.documents.get(CONFIG);
    for node in &nodes {
        match node.state {
            NodeState::Gone => continue,
            NodeState::Stale => figures.push(silent(node, now)),
            NodeState::Joining | NodeState::Ready | NodeState::Draining => {
                judge_node(&mut figures, memory, node, now);
                match config.as_deref() {
                    Some(config) if node.config_revision < config.revision => {
                        let since = *memory.behind.entry(node.id.clone()).or_insert(now);
                        figures.push(lagging(node, config.revision, since, now));
                    }
                    _ => {
                        memory.behind.remove(&node.id);
                    }
                }
            }
        }
    }
    figures
}

/// Nodes that run another version than most.
fn skewed(figures: &mut Vec<Figure>, memory: &mut Memory, nodes: &[NodeView], now: u64) {
    let usual = usual_version(nodes).unwrap_or_default();
    let differs = |node: &&NodeView| node.state != NodeState::Gone && node.version != usual;
    let others: Vec<_> = nodes.iter().filter(differs).collect();
    let still = |id: &NodeId| others.iter().any(|node| node.id == *id);
    memory.skewed.retain(|id, _| still(id));
    for node in others {
        let since = *memory.skewed.entry(node.id.clone()).or_insert(now);
        let text = format!(
            "{} runs relayd {}, most nodes run {usual}: finish the upgrade, or take it back",
            node.id, node.version
        );
        let reading = seconds_since(since, now);
        figures.push(of_node(VERSION_SKEW, node, reading, text));
    }
}

fn seconds_since(since_ms: u64, now: u64) -> Reading {
    Reading {
        value: now.saturating_sub(since_ms) as f64 / 1000.0,
        since_ms: Some(since_ms),
        falls: false,
    }
}

fn of_node(rule: &'static str, node: &NodeView, reading: Reading, text: String) -> Figure {
    Figure {
        rule,
        node: Some(node.id.clone()),
        realm: None,
        reading,
        text,
    }
}

fn silent(node: &NodeView, now: u64) -> Figure {
    let age = node.heartbeat_age_secs;
    let since = now.saturating_sub(age.saturating_mul(1000));
    let text = format!(
        "{0} has been silent for {age} s: see whether its process and its way to the store live; \
         relayctl node forget {0} removes it for good",
        node.id
    );
    of_node(NODE_SILENT, node, seconds_since(since, now), text)
}

fn lagging(node: &NodeView, revision: u64, since: u64, now: u64) -> Figure {
    let text = format!(
        "{} applies revision {} of the configuration and not {revision}: its events and its log say \
         what does not fit",
        node.id, node.config_revision
    );
    of_node(CONFIG_LAG, node, seconds_since(since, now), text)
}

/// Since when the coturn that a node speaks for does not answer, and why.
fn coturn_away(node: &NodeView) -> Option<(u64, &str)> {
    let beside = node.beside.as_ref()?;
    Some((beside.since_ms, beside.away.as_deref()?))
}

/// The figures of a node that speaks.
fn judge_node(figures: &mut Vec<Figure>, memory: &mut Memory, node: &NodeView, now: u64) {
    let id = &node.id;
    if let Some((since, why)) = coturn_away(node) {
        let text = format!("{id}: coturn is away: {why}");
        figures.push(of_node(COTURN_AWAY, node, seconds_since(since, now), text));
    }
    let mut add = |rule, value: f64, text: String| {
        figures.push(of_node(rule, node, Reading::of(value), text));
    };
    let capacity = &node.capacity;
    let text = format!(
        "{id} uses {:.1} % of its {}: send new clients elsewhere or add a node",
        capacity.percent, capacity.bound_by
    );
    add(NODE_CAPACITY, capacity.percent, text);
    let refused = |code: &str| node.refusals_per_sec.get(code).copied().unwrap_or(0.0);
    // A drained node says 508 to whoever comes, and has ports.
    let rate = match node.state {
        NodeState::Draining => 0.0,
        _ => refused("508"),
    };
    let text =
        format!("{id} answers 508 to {rate:.1}/s: no relay ports left, or none can be bound");
    add(PORTS_EXHAUSTED, rate, text);
    let rate = node.auth_failures_per_sec;
    let text = format!(
        "{id} sees {rate:.1}/s wrong or expired credentials: the latest refusals name users and \
         sources"
    );
    add(AUTH_FAILURES, rate, text);
    let rate = refused("486");
    let text = format!(
        "{id} answers 486 to {rate:.1}/s: sessions exceed the limit of a user or realm; see the \
         latest refusals, raise the limit or block the user"
    );
    add(QUOTA_REFUSALS, rate, text);
    let rate = refused("500");
    let text =
        format!("{id} answers 500 to {rate:.1}/s: users cannot be looked up; check the store");
    add(SERVER_ERRORS, rate, text);
    let rate = node.drops_per_sec;
    let text = format!(
        "{id} drops {rate:.0} packets/s: the sessions with most drops show whether permissions, \
         peer rules or rate limits are why"
    );
    add(NODE_DROPS, rate, text);
    let lost = memory.lost(node, now);
    let text = format!(
        "{id} lost {lost} news of its workers within a minute: it is overloaded; its lists may lag \
         for a second"
    );
    add(CONTROL_OVERFLOWS, lost as f64, text);
    for (realm, percent) in &node.realm_use {
        let Ok(realm) = realm.parse::<Realm>() else {
            continue;
        };
        figures.push(Figure {
            rule: REALM_SESSIONS,
            node: Some(id.clone()),
            reading: Reading::of(*percent),
            text: format!(
                "realm {realm} has {percent:.0} % of its sessions, as {id} counts: raise max_sessions \
                 or see who holds them"
            ),
            realm: Some(realm),
        });
    }
    dated(figures, node, now);
}

/// Figures that only time moves: how long a drain has lasted, what is left of certificates.
fn dated(figures: &mut Vec<Figure>, node: &NodeView, now: u64) {
    let id = &node.id;
    if let Some(drain) = &node.drain {
        let text = format!(
            "{id} takes no new sessions and has {} left: undrain it, or stop it for good",
            node.sessions
        );
        let reading = seconds_since(drain.started_at_ms, now);
        figures.push(of_node(NODE_DRAINED, node, reading, text));
    }
    if let Some((days, text)) = first_to_end(id, &node.certificates, now) {
        let reading = Reading {
            value: days,
            ..Reading::calm(true)
        };
        figures.push(of_node(CERTIFICATE_EXPIRING, node, reading, text));
    }
}

/// Days left of the certificate that ends first, and what to do; nothing without any.
fn first_to_end(id: &NodeId, all: &[CertificateView], now: u64) -> Option<(f64, String)> {
    let first = all.iter().min_by_key(|one| one.not_after_ms)?;
    let left = first.not_after_ms.saturating_sub(now);
    let (purpose, file) = (&first.purpose, &first.file);
    let ends = match left {
        0 => "has expired, clients refuse it".to_owned(),
        left if left < 2 * DAY_MS => format!("expires in {} hours", left / HOUR_MS),
        left => format!("expires in {} days", left / DAY_MS),
    };
    let stuck = first.problem.as_ref().map_or_else(String::new, |problem| {
        format!(", but this one is not taken: {problem}")
    });
    let text = format!(
        "the {purpose} certificate of {id} {ends}: renew {file}; a new one is read by itself{stuck}"
    );
    Some((left as f64 / DAY_MS as f64, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_that_ends_first_is_told_with_what_to_do() {
        let now = 1_800_000_000_000;
        let certificate = |purpose: &str, days: u64, problem: Option<&str>| CertificateView {
            purpose: purpose.to_owned(),
            file: format!("/etc/{purpose}.pem"),
            key: "ECDSA".to_owned(),
            not_after_ms: now + days * DAY_MS,
            names: Vec::new(),
            problem: problem.map(str::to_owned),
        };
        let id = "fra1".parse().unwrap();
        assert_eq!(first_to_end(&id, &[], now), None);
        let all = [
            certificate("tls", 60, None),
            certificate("admin", 10, Some("the key is of another certificate")),
        ];
        let (days, text) = first_to_end(&id, &all, now).unwrap();
        assert_eq!(days, 10.0);
        for word in [
            "fra1",
            "/etc/admin.pem",
            "in 10 days",
            "is not taken: the key",
        ] {
            assert!(text.contains(word), "{text}");
        }
        let (_, text) = first_to_end(&id, &all, now + 10 * DAY_MS - HOUR_MS).unwrap();
        assert!(text.contains("in 1 hours"), "{text}");
        let (days, text) = first_to_end(&id, &all, now + 11 * DAY_MS).unwrap();
        assert_eq!(days, 0.0);
        assert!(text.contains("has expired"), "{text}");
    }
}
