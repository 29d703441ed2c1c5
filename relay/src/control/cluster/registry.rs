//! Who is in the cluster, as the store's registry and its clock say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Bound, RangeInclusive};
use std::time::{Duration, Instant};

use shared::NodeId;
use shared::api::{NodeState, NodeView};
use turn_proto::policy::RelayEndpoint;

use crate::control::process::ProcessUsage;
use crate::store::registry::TURN;
use crate::store::{Glance, Mark, NODE_SILENT, Seen};

/// Silence after which a node counts as stale.
pub(crate) const STALE_AFTER: Duration = NODE_SILENT;

/// How long all figures are read each second after somebody asked for them.
const WATCHED: Duration = Duration::from_secs(10);
/// How old figures may be that somebody is shown without another look.
const FRESH: Duration = Duration::from_millis(1500);

/// The registry as last read. Of many nodes a look brings the records that changed in what matters at
/// once, and figures of some in turn.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    nodes: BTreeMap<NodeId, Known>,
    /// Where the last look at the store ended.
    mark: Option<Mark>,
    /// When all records were read last.
    whole: Option<Instant>,
    /// Whose turn it was last.
    turn: Option<NodeId>,
    /// When somebody asked for figures of all nodes.
    watched: Option<Instant>,
    /// CPU and memory of this process, as last measured.
    pub own_usage: ProcessUsage,
}

#[derive(Debug)]
struct Known {
    view: NodeView,
    /// Age of its heartbeat when the registry was read.
    age: Duration,
    read: Instant,
}

/// A node whose state changed between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The node.
    pub node: NodeId,
    /// Before; `None`: it was not known.
    pub from: Option<NodeState>,
    /// Now; `None`: it was removed.
    pub to: Option<NodeState>,
}

impl Registry {
    /// What the next look needs to know: nothing, where there are few nodes or somebody watches.
    pub(crate) fn seen(&mut self, now: Instant) -> Seen {
        let is_watched = self.watched.is_some_and(|at| now < at + WATCHED);
        if self.nodes.len() <= TURN || is_watched {
            return Seen::default();
        }
        let first = self.turn.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.nodes.range((first, Bound::Unbounded));
        let turn: Vec<NodeId> = after.map(|(id, _)| id.clone()).take(TURN).collect();
        // Behind the last name the next turn begins anew.
        self.turn = turn.last().filter(|_| turn.len() == TURN).cloned();
        Seen {
            mark: self.mark,
            turn,
        }
    }

    /// Somebody looks at the figures of all nodes. `true`: those known are old.
    pub(crate) fn watch(&mut self, now: Instant) -> bool {
        self.watched = Some(now);
        let fresh = self.whole.is_some_and(|at| now < at + FRESH);
        self.nodes.len() > TURN && !fresh
    }

    /// Takes what a look found over and answers what changed.
    pub(crate) fn take(&mut self, glance: Glance, now: Instant) -> Vec<Transition> {
        match glance {
            Glance::Whole { nodes, mark } => {
                (self.mark, self.whole) = (mark, Some(now));
                self.replace(nodes, now)
            }
            Glance::Part {
                nodes,
                gone,
                silent,
                mark,
            } => {
                self.mark = Some(mark);
                let before = self.states(now);
                for id in gone {
                    self.nodes.remove(&id);
                }
                for view in nodes {
                    let known = Known::new(view, Duration::ZERO, now);
                    self.nodes.insert(known.view.id.clone(), known);
                }
                // Whoever is not silent beat since: when, only a look at all tells.
                for known in self.nodes.values_mut() {
                    (known.age, known.read) = (Duration::ZERO, now);
                }
                for (id, age) in silent {
                    if let Some(known) = self.nodes.get_mut(&id) {
                        known.age = age;
                    }
                }
                self.transitions(&before, now)
            }
        }
    }

    /// Takes a reading of all nodes over and answers what changed.
    fn replace(&mut self, nodes: Vec<(NodeView, Duration)>, now: Instant) -> Vec<Transition> {
        let before = self.states(now);
        let known = nodes
            .into_iter()
            .map(|(view, age)| (view.id.clone(), Known::new(view, age, now)));
        self.nodes = known.collect();
        self.transitions(&before, now)
    }

    fn states(&self, now: Instant) -> BTreeMap<NodeId, NodeState> {
        let states = self.nodes.iter();
        states
            .map(|(id, known)| (id.clone(), known.state(now)))
            .collect()
    }

    fn transitions(&self, before: &BTreeMap<NodeId, NodeState>, now: Instant) -> Vec<Transition> {
        let after = self.states(now);
        let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let transitions = names.into_iter().map(|id| Transition {
            node: id.clone(),
            from: before.get(id).copied(),
            to: after.get(id).copied(),
        });
        transitions
            .filter(|transition| transition.from != transition.to)
            .collect()
    }

    /// All nodes as seen now.
    #[must_use]
    pub(crate) fn views(&self, now: Instant) -> Vec<NodeView> {
        let views = self.nodes.values().map(|known| {
            let mut view = known.view.clone();
            view.state = known.state(now);
            view.heartbeat_age_secs = known.age(now).as_secs();
            if view.state != NodeState::Gone {
                view.uptime_secs += known.age(now).as_secs();
            }
            view
        });
        views.collect()
    }

    /// The nodes that should answer a question, with their epochs.
    #[must_use]
    pub(crate) fn live(&self, now: Instant) -> Vec<(NodeId, u64)> {
        let live = self
            .nodes
            .values()
            .filter(|known| !matches!(known.state(now), NodeState::Stale | NodeState::Gone));
        live.map(|known| (known.view.id.clone(), known.view.epoch))
            .collect()
    }

    /// The nodes that are silent, and for how long.
    #[must_use]
    pub(crate) fn stale(&self, now: Instant) -> Vec<(NodeId, Duration)> {
        let stale = self
            .nodes
            .values()
            .filter(|known| known.state(now) == NodeState::Stale);
        stale
            .map(|known| (known.view.id.clone(), known.age(now)))
            .collect()
    }

    /// The epoch of a node, and its roles.
    #[must_use]
    pub(crate) fn get(&self, id: &NodeId) -> Option<&NodeView> {
        self.nodes.get(id).map(|known| &known.view)
    }

    /// The node whose sessions have ids that begin with `base`: the one that drew it, or whoever took
    /// its sessions up since. `None` where none is known, or where several share them: a node and the
    /// process before it.
    #[must_use]
    pub(crate) fn owner(&self, base: u32, now: Instant) -> Option<NodeId> {
        let text = format!("{base:08x}");
        let has = |known: &&Known| {
            known.view.session_base == text || known.view.restored_bases.contains(&text)
        };
        let heir = |known: &&Known| {
            let is_dead = matches!(known.state(now), NodeState::Stale | NodeState::Gone);
            (!is_dead, known.view.restored_bases.contains(&text))
        };
        let is_alive = |known: &&Known| heir(known).0;
        if self.nodes.values().filter(has).filter(is_alive).count() > 1 {
            return None;
        }
        let known = self.nodes.values().filter(has).max_by_key(heir)?;
        Some(known.view.id.clone())
    }

    /// The other nodes that said that they take no new sessions. A silent one said nothing: with the
    /// store away all others are silent.
    pub(crate) fn closed(&self, own: &NodeId) -> impl Iterator<Item = &NodeView> {
        let views = self.nodes.values().map(|known| &known.view);
        let is_closed = |view: &&NodeView| {
            matches!(
                view.state,
                NodeState::Joining | NodeState::Draining | NodeState::Gone
            )
        };
        views.filter(move |view| view.id != *own).filter(is_closed)
    }

    /// Where the others relay, and where they listen. Nodes that are gone no longer count.
    #[must_use]
    pub(crate) fn endpoints(&self, own: &NodeId) -> (Vec<RelayEndpoint>, Vec<SocketAddr>) {
        endpoints(self.nodes.values().map(|known| &known.view), own)
    }
}

/// Where nodes other than `own` relay, and where they listen.
pub(crate) fn endpoints<'v>(
    nodes: impl Iterator<Item = &'v NodeView>,
    own: &NodeId,
) -> (Vec<RelayEndpoint>, Vec<SocketAddr>) {
    let others = nodes.filter(|view| view.id != *own && view.state != NodeState::Gone);
    let mut relays = Vec::new();
    let mut listeners = Vec::new();
    for view in others {
        relays.extend(view.relays.iter().filter_map(|text| parse_relay(text)));
        listeners.extend(&view.listeners);
    }
    relays.dedup();
    listeners.sort_unstable();
    listeners.dedup();
    (relays, listeners)
}

impl Known {
    fn new(view: NodeView, age: Duration, read: Instant) -> Self {
        Self { view, age, read }
    }

    fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.read)
    }

    fn state(&self, now: Instant) -> NodeState {
        if self.view.state == NodeState::Gone {
            NodeState::Gone
        } else if self.age(now) >= STALE_AFTER {
            NodeState::Stale
        } else {
            self.view.state
        }
    }
}

/// A relay endpoint as the registry shows it: `192.0.2.1:49152-65535`, IPv6 in brackets.
#[must_use]
pub(crate) fn show_relay(endpoint: &RelayEndpoint) -> String {
    let (first, last) = (endpoint.ports.start(), endpoint.ports.end());
    match endpoint.address {
        std::net::IpAddr::V4(address) => format!("{address}:{first}-{last}"),
        std::net::IpAddr::V6(address) => format!("[{address}]:{first}-{last}"),
    }
}

/// The inverse of [`show_relay`].
#[must_use]
pub(crate) fn parse_relay(text: &str) -> Option<RelayEndpoint> {
    let (address, ports) = text.rsplit_once(':')?;
    let address = address
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()?;
    let (first, last) = ports.split_once('-')?;
    let ports: RangeInclusive<u16> = first.parse().ok()?..=last.parse().ok()?;
    Some(RelayEndpoint { address, ports })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: usize) -> NodeView {
        let json = serde_json::json!({
            "id": format!("n-{number:03}"), "epoch": 1, "version": "0.1.0", "roles": ["gateway"],
            "labels": {}, "state": "ready", "session_base": "deadbeef", "listeners": [], "relays": [],
            "workers": 1, "uptime_secs": 1, "heartbeat_age_secs": 0, "sessions": 2,
            "created_per_sec": 0.5, "ended_per_sec": 0.0, "rate_in_bps": 1, "rate_out_bps": 2,
            "packets_per_sec": 3, "drops": 0, "transports": {"udp": 2},
            "capacity": {"percent": 1.0, "bound_by": "cpu", "ports_used": 0, "ports_total": 0},
            "cpu_percent": 0.0, "memory_bytes": 1,
            "store": {"kind": "redis", "connected": true, "since_ms": 1}
        });
        serde_json::from_value(json).unwrap()
    }

    fn whole(count: usize) -> Glance {
        Glance::Whole {
            nodes: (0..count).map(|n| (named(n), Duration::ZERO)).collect(),
            mark: Some(Mark::default()),
        }
    }

    #[test]
    fn few_nodes_are_all_read_and_of_many_each_has_its_turn() {
        let (mut registry, now) = (Registry::default(), Instant::now());
        assert_eq!(registry.seen(now), Seen::default());
        registry.take(whole(TURN), now);
        assert_eq!(registry.seen(now), Seen::default());
        let count = 2 * TURN + 5;
        registry.take(whole(count), now);
        let mut read: Vec<NodeId> = Vec::new();
        for _ in 0..3 {
            let seen = registry.seen(now);
            assert!(seen.mark.is_some() && seen.turn.len() <= TURN);
            read.extend(seen.turn);
        }
        let all: Vec<_> = (0..count).map(|n| named(n).id).collect();
        assert_eq!(read, all);
        assert_eq!(registry.seen(now).turn, all[..TURN], "and again");
    }

    #[test]
    fn somebody_who_looks_has_all_read_for_a_while() {
        let (mut registry, now) = (Registry::default(), Instant::now());
        registry.take(whole(2 * TURN), now);
        let later = now + FRESH;
        assert!(!registry.watch(now), "all are fresh");
        assert!(registry.watch(later), "they are old by now");
        assert_eq!(registry.seen(later), Seen::default());
        assert!(registry.seen(later + WATCHED).mark.is_some());
    }

    #[test]
    fn a_part_changes_what_it_names_and_says_who_is_silent() {
        let (mut registry, now) = (Registry::default(), Instant::now());
        registry.take(whole(3), now);
        let later = now + STALE_AFTER * 2;
        let part = Glance::Part {
            nodes: vec![NodeView {
                state: NodeState::Draining,
                ..named(0)
            }],
            gone: vec![named(1).id],
            silent: vec![(named(2).id, STALE_AFTER)],
            mark: Mark::default(),
        };
        let mut told = registry.take(part, later);
        told.sort_by(|a, b| a.node.cmp(&b.node));
        let states: Vec<_> = told.iter().map(|turn| turn.to).collect();
        assert_eq!(states, [Some(NodeState::Draining), None]);
        let views = registry.views(later);
        let states: Vec<_> = views.iter().map(|view| view.state).collect();
        assert_eq!(states, [NodeState::Draining, NodeState::Stale]);
    }
}
