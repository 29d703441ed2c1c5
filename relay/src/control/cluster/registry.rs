//! Who is in the cluster, as the store's registry and its clock say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use shared::NodeId;
use shared::api::{NodeState, NodeView};
use turn_proto::policy::RelayEndpoint;

use crate::control::process::ProcessUsage;
use crate::store::NODE_SILENT;

/// Silence after which a node counts as stale.
pub(crate) const STALE_AFTER: Duration = NODE_SILENT;

/// The registry as last read.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    nodes: BTreeMap<NodeId, Known>,
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
    /// Takes a new reading over and answers what changed.
    pub(crate) fn replace(
        &mut self,
        nodes: Vec<(NodeView, Duration)>,
        now: Instant,
    ) -> Vec<Transition> {
        let before: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|(id, known)| (id.clone(), known.state(now)))
            .collect();
        self.nodes = nodes
            .into_iter()
            .map(|(view, age)| {
                (
                    view.id.clone(),
                    Known {
                        view,
                        age,
                        read: now,
                    },
                )
            })
            .collect();
        let after: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|(id, known)| (id.clone(), known.state(now)))
            .collect();
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
