//! Redirects: the cluster's document of them, which of its rows this node follows, and whether
//! their targets answer; and without any, where clients of a drained or full node go ([`nodes`]).
//!
//! A node that is itself a target of a transport redirects nothing of that transport: no client is
//! passed from server to server, whatever the document says.

mod nodes;
mod probe;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use shared::api::{RedirectHealth, RedirectView};
use shared::{NodeId, Transport};
use turn_proto::policy::Redirect;

use super::cluster::registry::parse_relay;
use super::hub::Hub;
use super::parts::ControlParts;
use crate::store::StoredDocument;
use crate::store::document::REDIRECTS;
use probe::Target;

pub(super) use nodes::{hands_over, note_use, sends_to};
pub(super) use probe::run as run_probes;

/// One redirect as the document has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredRedirect {
    /// Eight hex digits.
    pub id: String,
    /// The client transport that is redirected.
    pub transport: Transport,
    /// Where to.
    pub target: SocketAddr,
    /// ALTERNATE-DOMAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The node that redirects; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Its share.
    pub weight: u32,
    /// For operators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What a newer release says of it: kept as it is when the document is written anew.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

impl StoredRedirect {
    /// The row that is shown.
    #[must_use]
    pub(super) fn view(&self, health: RedirectHealth, health_since_ms: u64) -> RedirectView {
        RedirectView {
            id: self.id.clone(),
            transport: self.transport,
            target: self.target,
            domain: self.domain.clone(),
            node: self.node.clone(),
            weight: self.weight,
            note: self.note.clone(),
            health,
            health_since_ms,
        }
    }
}

/// The body of the document.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    #[serde(default)]
    redirects: Vec<StoredRedirect>,
}

/// What a document says.
///
/// # Errors
/// Another release wrote it, or another hand.
pub(super) fn read(document: &StoredDocument) -> Result<Vec<StoredRedirect>, serde_json::Error> {
    Body::deserialize(&document.body).map(|body| body.redirects)
}

/// A document that says so.
///
/// # Errors
/// None that a redirect could cause.
pub(super) fn body(redirects: Vec<StoredRedirect>) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(Body { redirects })
}

/// The addresses that clients may know a node by: its listeners, and their ports at the addresses
/// where it relays, which differ behind a NAT.
#[must_use]
pub(super) fn addresses(
    listeners: &[SocketAddr],
    relays: impl Iterator<Item = IpAddr>,
) -> Vec<SocketAddr> {
    let mut addresses = listeners.to_vec();
    for ip in relays {
        let mapped = listeners.iter().map(|own| SocketAddr::new(ip, own.port()));
        addresses.extend(mapped);
    }
    addresses
}

/// What this node knows about its redirects.
#[derive(Debug)]
pub(super) struct Redirects {
    node: NodeId,
    own: Vec<SocketAddr>,
    targets: Mutex<HashMap<SocketAddr, Target>>,
    standing: Mutex<Standing>,
}

/// How this node stands towards the others.
#[derive(Debug, Default)]
struct Standing {
    /// It has no room left to speak of.
    is_full: bool,
    /// Who gets its clients.
    sends_to: Vec<NodeId>,
}

impl Redirects {
    /// Nothing probed yet.
    #[must_use]
    pub(super) fn new(parts: &ControlParts) -> Self {
        let relays = parts.relays.iter().map(|relay| relay.external);
        Self::of(&parts.node, addresses(&parts.listeners, relays))
    }

    /// Those of the node `node` with the addresses `own`.
    #[must_use]
    fn of(node: &NodeId, own: Vec<SocketAddr>) -> Self {
        Self {
            node: node.clone(),
            own,
            targets: Mutex::default(),
            standing: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<SocketAddr, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The redirects that this node follows. While it is drained nobody is sent to it, and so it may
    /// send on whoever comes all the same.
    fn followed(&self, all: Vec<StoredRedirect>, is_drained: bool) -> Vec<StoredRedirect> {
        let is_own = |redirect: &StoredRedirect| self.own.contains(&redirect.target);
        let own = all.iter().filter(|one| !is_drained && is_own(one));
        let served: Vec<_> = own.map(|one| one.transport).collect();
        let mut followed = all;
        followed.retain(|redirect| {
            let here = redirect.node.as_ref().is_none_or(|node| *node == self.node);
            here && !is_own(redirect) && !served.contains(&redirect.transport)
        });
        followed
    }
}

/// How the target of a redirect is, as this node sees it. Only UDP is probed.
fn health_of(
    targets: &HashMap<SocketAddr, Target>,
    redirect: &StoredRedirect,
) -> (RedirectHealth, u64) {
    let target = targets.get(&redirect.target);
    let probed = target.filter(|_| redirect.transport == Transport::Udp);
    probed.map_or((RedirectHealth::Unknown, 0), |target| {
        (target.health, target.since_ms)
    })
}

/// All redirects of the cluster, as last read. A document that cannot be read redirects nobody.
#[must_use]
pub(super) fn known(hub: &Hub) -> Vec<StoredRedirect> {
    let document = hub.documents.get(REDIRECTS);
    let read = document.and_then(|document| read(&document).ok());
    read.unwrap_or_default()
}

/// Those that this node follows: none where it has no listeners.
fn followed(hub: &Hub) -> Vec<StoredRedirect> {
    if hub.workers.count() == 0 {
        return Vec::new();
    }
    let is_drained = hub.drain.mode().is_some();
    hub.redirects.followed(known(hub), is_drained)
}

/// The addresses of nodes that take no new sessions: nobody is sent there.
fn closed(hub: &Hub) -> Vec<SocketAddr> {
    let registry = hub.cluster.registry();
    let closed = registry.closed(&hub.node).flat_map(|view| {
        let relays = view.relays.iter().filter_map(|text| parse_relay(text));
        addresses(&view.listeners, relays.map(|relay| relay.address))
    });
    closed.collect()
}

/// How the targets of this node are, by the id of the redirect.
#[must_use]
pub(super) fn own_health(hub: &Hub) -> Vec<(String, RedirectHealth, u64)> {
    let followed = followed(hub);
    let targets = hub.redirects.targets();
    let row = |redirect: StoredRedirect| {
        let (health, since_ms) = health_of(&targets, &redirect);
        (redirect.id, health, since_ms)
    };
    followed.into_iter().map(row).collect()
}

/// Brings the policy in line with document and health; `true` when it has to be built anew.
pub(super) fn apply(hub: &Hub) -> bool {
    // Held to the end: whoever comes last has read the newest document.
    let mut targets = hub.redirects.targets();
    let mut usable = followed(hub);
    let probed = usable.iter().filter(|one| one.transport == Transport::Udp);
    let probed: Vec<SocketAddr> = probed.map(|one| one.target).collect();
    targets.retain(|target, _| probed.contains(target));
    for target in probed {
        targets.entry(target).or_default();
    }
    let closed = closed(hub);
    usable.retain(|redirect| {
        let is_down = health_of(&targets, redirect).0 == RedirectHealth::Down;
        !is_down && !closed.contains(&redirect.target)
    });
    let usable = usable.into_iter().map(|redirect| Redirect {
        transport: redirect.transport,
        target: redirect.target,
        domain: redirect.domain.map(String::into_boxed_str),
        realm: None,
        weight: redirect.weight,
    });
    let mut usable: Vec<Redirect> = usable.collect();
    let to_nodes = nodes::redirects(hub, &known(hub), &usable);
    usable.extend(to_nodes);
    hub.keeper.set_redirects(usable)
}

/// Follows the document until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut changed = hub.documents.subscribe();
    loop {
        if let Some(Err(error)) = hub.documents.get(REDIRECTS).map(|document| read(&document)) {
            tracing::warn!(%error, "the redirects in the store cannot be read: nobody is redirected");
        }
        if apply(&hub) {
            hub.policy_stale.notify_one();
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            changed = changed.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(transport: Transport, target: &str, node: Option<&str>) -> StoredRedirect {
        StoredRedirect {
            id: "00000001".to_owned(),
            transport,
            target: target.parse().unwrap(),
            domain: None,
            node: node.map(|node| node.parse().unwrap()),
            weight: 1,
            note: String::new(),
            rest: serde_json::Map::new(),
        }
    }

    fn node() -> Redirects {
        let listeners = ["10.0.0.1:3478".parse().unwrap()];
        let relays = ["192.0.2.1".parse().unwrap()];
        Redirects::of(
            &"n1".parse().unwrap(),
            addresses(&listeners, relays.into_iter()),
        )
    }

    #[test]
    fn a_node_follows_its_own_redirects_and_those_of_all() {
        let all = vec![
            redirect(Transport::Udp, "198.51.100.1:3478", None),
            redirect(Transport::Udp, "198.51.100.2:3478", Some("n1")),
            redirect(Transport::Udp, "198.51.100.3:3478", Some("n2")),
        ];
        assert_eq!(node().followed(all.clone(), false), all[..2]);
    }

    #[test]
    fn a_target_serves_what_comes_to_it_also_behind_a_nat() {
        for own in ["10.0.0.1:3478", "192.0.2.1:3478"] {
            let all = vec![
                redirect(Transport::Udp, "198.51.100.1:3478", None),
                redirect(Transport::Udp, own, Some("n2")),
                redirect(Transport::Tls, "198.51.100.1:5349", None),
            ];
            assert_eq!(node().followed(all.clone(), false), all[2..], "{own}");
        }
        let other_port = vec![redirect(Transport::Udp, "192.0.2.1:3479", None)];
        assert_eq!(node().followed(other_port, false).len(), 1);
    }

    #[test]
    fn a_target_that_is_drained_sends_on_and_never_to_itself() {
        let all = vec![
            redirect(Transport::Udp, "192.0.2.1:3478", None),
            redirect(Transport::Udp, "198.51.100.1:3478", None),
        ];
        assert_eq!(node().followed(all.clone(), true), all[1..]);
        assert_eq!(node().followed(all, false), []);
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let all = vec![
            redirect(Transport::Udp, "198.51.100.1:3478", None),
            StoredRedirect {
                domain: Some("relay.example".to_owned()),
                note: "to\u{1b}[31m".to_owned(),
                ..redirect(Transport::Dtls, "[2a00::1]:5349", Some("n2"))
            },
        ];
        let document = |body| StoredDocument {
            revision: 1,
            changed_at_ms: 0,
            changed_by: String::new(),
            body,
        };
        assert_eq!(read(&document(body(all.clone()).unwrap())).unwrap(), all);
        let newer = serde_json::json!({"redirects": [{
            "id": "00000002", "transport": "udp", "target": "198.51.100.1:3478", "weight": 3,
            "hours": {"from": 8},
        }]});
        let kept = read(&document(newer.clone())).unwrap();
        assert_eq!(body(kept).unwrap(), newer);
        assert_eq!(read(&document(serde_json::json!({}))).unwrap(), []);
        assert!(read(&document(serde_json::json!({"redirects": [{"id": 7}]}))).is_err());
        assert!(read(&document(serde_json::json!(null))).is_err());
    }
}
