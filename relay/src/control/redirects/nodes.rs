//! New clients of a drained or full node go to other nodes of the cluster, without anybody's redirect.
//!
//! One hop and no more: who is sent somewhere must be served there. So only nodes are named that serve
//! what comes to them and have more room than where they would begin to send clients on themselves.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Instant;

use sha2::{Digest, Sha256};
use shared::api::{CertificateView, NodeRole, NodeState, NodeView};
use shared::{NodeId, Transport};
use turn_proto::policy::Redirect;

use super::{Redirects, StoredRedirect, addresses};
use crate::config::{RedirectConfig, ToNodes};
use crate::control::certificates;
use crate::control::cluster::registry::parse_relay;
use crate::control::hub::Hub;
use crate::control::vacancy::{FULL_PERCENT, WEIGHT, share, used_percent};

/// Below this use, in percent, a node may be sent clients, and a full one serves its own again: far
/// enough from [`FULL_PERCENT`] that what was heard a heartbeat ago still holds.
const ROOM_PERCENT: f64 = 90.0;
/// Nodes among which the clients are shared.
const MAX_NODES: usize = 8;
/// Shares are divided among a node's listeners: what most counts of them divide.
const LISTENERS: u32 = 840;

/// This node, as far as it matters to whom its clients may be sent.
struct Own<'a> {
    view: &'a NodeView,
    config: &'a RedirectConfig,
}

/// Takes note of how full this node is; `true`: that it is full, or no longer.
pub(in crate::control) fn note_use(hub: &Hub, own: &NodeView) -> bool {
    let used = used_percent(own);
    let mut standing = hub.redirects.standing();
    let limit = if standing.is_full {
        ROOM_PERCENT
    } else {
        FULL_PERCENT
    };
    let is_full = used >= limit;
    std::mem::replace(&mut standing.is_full, is_full) != is_full
}

/// Whether new clients go to other nodes now, if there are any.
#[must_use]
pub(in crate::control) fn hands_over(hub: &Hub) -> bool {
    let is_full = hub.redirects.standing().is_full;
    match hub.settings.loaded().redirects.to_nodes {
        ToNodes::Never => false,
        ToNodes::Drained => hub.drain.mode().is_some(),
        ToNodes::Full => hub.drain.mode().is_some() || is_full,
    }
}

/// The nodes that this one sends clients to, the most likely first.
#[must_use]
pub(in crate::control) fn sends_to(hub: &Hub) -> Vec<NodeId> {
    hub.redirects.standing().sends_to.clone()
}

/// The redirects to other nodes that are in force now, where `operators` has none for a transport and a
/// family.
pub(super) fn redirects(
    hub: &Hub,
    all: &[StoredRedirect],
    operators: &[Redirect],
) -> Vec<Redirect> {
    let mut found = Vec::new();
    let mut names = Vec::new();
    if hands_over(hub) && hub.workers.count() > 0 {
        let views = hub.cluster.registry().views(Instant::now());
        let config = hub.settings.loaded().redirects.clone();
        let own = views.iter().find(|view| view.id == hub.node);
        if let Some(view) = own {
            // Its record may be older than its certificates and its settings.
            let mut view = view.clone();
            view.certificates = certificates::views(hub);
            view.credentials = hub.config().credentials;
            let own = Own {
                view: &view,
                config: &config,
            };
            (names, found) = own.choose(&views, all);
        }
    }
    hub.redirects.standing().sends_to = names;
    let is_named = |one: &Redirect| {
        let mut named = operators.iter();
        named.any(|operators| {
            operators.transport == one.transport
                && operators.target.is_ipv4() == one.target.is_ipv4()
        })
    };
    found.retain(|one| !is_named(one));
    found
}

impl Own<'_> {
    /// The nodes that take this one's clients, and how they are told.
    fn choose(&self, views: &[NodeView], all: &[StoredRedirect]) -> (Vec<NodeId>, Vec<Redirect>) {
        let mut fit: Vec<_> = views
            .iter()
            .filter(|view| view.id != self.view.id && self.is_fit(view))
            .map(|view| (view, self.targets(view, all)))
            .filter(|(_, targets)| !targets.is_empty())
            .collect();
        // Of equals not everybody's clients go to the same few.
        let draw = |id: &NodeId| {
            let both = [
                self.view.id.as_str().as_bytes(),
                b"\0",
                id.as_str().as_bytes(),
            ]
            .concat();
            <[u8; 32]>::from(Sha256::digest(both))
        };
        let rank = |view: &NodeView| (Reverse(share(view)), draw(&view.id));
        fit.sort_by_cached_key(|(view, _)| rank(view));
        fit.truncate(MAX_NODES);
        let names = fit.iter().map(|(view, _)| view.id.clone()).collect();
        (
            names,
            fit.into_iter().flat_map(|(_, targets)| targets).collect(),
        )
    }

    fn is_fit(&self, view: &NodeView) -> bool {
        view.roles.contains(&NodeRole::Relay)
            && view.state == NodeState::Ready
            && used_percent(view) < ROOM_PERCENT
            && view.credentials.covers(self.view.credentials)
            && self.has_same_labels(view)
    }

    fn has_same_labels(&self, other: &NodeView) -> bool {
        let (own, other) = (&self.view.labels, &other.labels);
        match &self.config.same_labels {
            Some(names) => names.iter().all(|name| own.get(name) == other.get(name)),
            None => {
                let names = own.keys().chain(other.keys());
                let mut names = names.filter(|name| *name != WEIGHT);
                names.all(|name| own.get(name) == other.get(name))
            }
        }
    }

    /// What clients are told of `other`: its listeners, but those of transports that it redirects itself.
    fn targets(&self, other: &NodeView, all: &[StoredRedirect]) -> Vec<Redirect> {
        let relays = other.relays.iter().filter_map(|text| parse_relay(text));
        let relays = relays.map(|relay| relay.address);
        let followed = Redirects::of(&other.id, addresses(&other.listeners, relays));
        let followed = followed.followed(all.to_vec(), false);
        let covers = covers_names(&self.view.certificates, &other.certificates);
        let redirect = |url: &String| {
            let (transport, target) = listener(url)?;
            let is_secure = matches!(transport, Transport::Tls | Transport::Dtls);
            let passes_on = followed.iter().any(|one| one.transport == transport);
            ((covers || !is_secure) && !passes_on).then(|| Redirect {
                transport,
                target,
                // The client goes on with the name that it came with (RFC 8489 §10).
                domain: None,
                realm: other.url_realms.get(url).cloned(),
                weight: 0,
            })
        };
        let all: Vec<Redirect> = other.urls.iter().filter_map(redirect).collect();
        let are_alike = |a: &Redirect, b: &Redirect| {
            let is_same = a.transport == b.transport && a.realm == b.realm;
            is_same && a.target.is_ipv4() == b.target.is_ipv4()
        };
        // The share is the node's, however many listeners it has.
        let weigh = |one: &Redirect| {
            let alike = all.iter().filter(|other| are_alike(one, other)).count();
            let alike = u32::try_from(alike).unwrap_or(u32::MAX);
            (share(other) * LISTENERS / alike).max(1)
        };
        all.iter()
            .map(|one| Redirect {
                weight: weigh(one),
                ..one.clone()
            })
            .collect()
    }
}

/// Whether every certificate of `theirs` for clients is for each name that one of `own` is for: whatever
/// name a client came with, it finds it again.
fn covers_names(own: &[CertificateView], theirs: &[CertificateView]) -> bool {
    let for_clients = |one: &&CertificateView| one.purpose == "tls";
    let mut own = own
        .iter()
        .filter(for_clients)
        .flat_map(|one| &one.names)
        .peekable();
    let theirs: Vec<_> = theirs.iter().filter(for_clients).collect();
    let covers = |one: &CertificateView, name: &str| {
        let parent = name
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        let mut names = one.names.iter();
        names.any(|found| found == name || Some(found) == parent.as_ref())
    };
    own.peek().is_some()
        && !theirs.is_empty()
        && own.all(|name| theirs.iter().all(|one| covers(one, name)))
}

/// Transport and address of a node's URI, as nodes write them.
fn listener(url: &str) -> Option<(Transport, SocketAddr)> {
    let (scheme, rest) = url.split_once(':')?;
    let (address, transport) = rest.split_once("?transport=")?;
    let transport = match (scheme, transport) {
        ("turn", "udp") => Transport::Udp,
        ("turn", "tcp") => Transport::Tcp,
        ("turns", "tcp") => Transport::Tls,
        ("turns", "udp") => Transport::Dtls,
        _ => return None,
    };
    Some((transport, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(id: &str, labels: &[(&str, &str)], names: &[&str]) -> NodeView {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        let n = id.as_bytes()[0];
        serde_json::from_value(serde_json::json!({
            "id": id, "epoch": 1, "version": "0.1.0", "roles": ["relay"], "labels": labels,
            "state": "ready", "session_base": "", "listeners": [format!("10.0.0.{n}:3478")],
            "urls": [format!("turn:192.0.2.{n}:3478?transport=udp"),
                format!("turns:192.0.2.{n}:5349?transport=tcp")],
            "relays": [format!("192.0.2.{n}:49152-65535")], "workers": 1,
            "uptime_secs": 1, "heartbeat_age_secs": 0, "sessions": 0, "created_per_sec": 0.0,
            "ended_per_sec": 0.0, "rate_in_bps": 0, "rate_out_bps": 0, "packets_per_sec": 0,
            "drops": 0, "transports": {}, "cpu_percent": 0.0, "memory_bytes": 0,
            "capacity": {"percent": 0.0, "bound_by": "ports", "ports_used": 0, "ports_total": 0},
            "store": {"kind": "redis", "connected": true, "since_ms": 0},
            "certificates": [
                {"purpose": "tls", "file": "", "key": "ECDSA", "not_after_ms": 0, "names": names},
                {"purpose": "admin", "file": "", "key": "ECDSA", "not_after_ms": 0}],
        }))
        .unwrap()
    }

    /// Who takes clients of the first of `views`, and what its TLS clients are told.
    fn chosen(views: &[NodeView], config: &RedirectConfig, all: &[StoredRedirect]) -> [String; 2] {
        let own = Own {
            view: &views[0],
            config,
        };
        let (names, redirects) = own.choose(views, all);
        let tls = redirects
            .iter()
            .filter(|one| one.transport == Transport::Tls);
        let tls: Vec<_> = tls.map(|one| one.target.to_string()).collect();
        let names: Vec<_> = names.iter().map(NodeId::as_str).collect();
        [names.join(" "), tls.join(" ")]
    }

    #[test]
    fn nodes_with_room_and_the_same_labels_take_the_clients() {
        let eu = [("region", "eu"), ("rack", "7")];
        let mut views = vec![
            view("a", &eu, &[]),
            view("b", &eu, &[]),
            view("c", &[("region", "eu"), ("rack", "8")], &[]),
            view("d", &[("region", "us"), ("rack", "7")], &[]),
            view(
                "e",
                &[("region", "eu"), ("rack", "7"), ("weight", "9")],
                &[],
            ),
        ];
        let all = RedirectConfig::default();
        assert_eq!(
            chosen(&views, &all, &[])[0],
            "e b",
            "the one with the weight first"
        );
        let region = RedirectConfig {
            same_labels: Some(vec!["region".to_owned()]),
            ..RedirectConfig::default()
        };
        let names = |config| {
            let [names, _] = chosen(&views, config, &[]);
            let mut names: Vec<_> = names.split(' ').map(str::to_owned).collect();
            names[1..].sort_unstable();
            names.join(" ")
        };
        assert_eq!(names(&region), "e b c");
        let none = RedirectConfig {
            same_labels: Some(Vec::new()),
            ..RedirectConfig::default()
        };
        assert_eq!(names(&none), "e b c d");
        views[1].capacity.percent = ROOM_PERCENT;
        views[4].state = NodeState::Draining;
        assert_eq!(
            chosen(&views, &region, &[])[0],
            "c",
            "who would be full soon gets none"
        );
        views[2].roles = vec![NodeRole::Gateway];
        views[3].state = NodeState::Stale;
        assert_eq!(chosen(&views, &none, &[])[0], "");
    }

    #[test]
    fn clients_are_sent_only_to_where_their_credentials_are_accepted() {
        use shared::api::CredentialKinds::{self, Both, Secrets, Users};
        let sent_to = |own: CredentialKinds| {
            let of = [own, Both, Users, Secrets];
            let views = ["a", "b", "c", "d"].into_iter().zip(of);
            let views = views.map(|(id, credentials)| NodeView {
                credentials,
                ..view(id, &[], &[])
            });
            let [names, _] = chosen(&views.collect::<Vec<_>>(), &RedirectConfig::default(), &[]);
            let mut names: Vec<_> = names.split(' ').map(str::to_owned).collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!([Both, Users, Secrets].map(sent_to), ["b", "b c", "b d"]);
    }

    #[test]
    fn who_sends_its_clients_on_gets_none() {
        let views = [
            view("a", &[], &[]),
            view("b", &[], &[]),
            view("c", &[], &[]),
        ];
        let redirect = StoredRedirect {
            id: "00000001".to_owned(),
            transport: Transport::Udp,
            target: "192.0.2.99:3478".parse().unwrap(),
            domain: None,
            node: None,
            weight: 1,
            note: String::new(),
            rest: serde_json::Map::new(),
        };
        let all = RedirectConfig::default();
        // The target of everybody's redirect serves.
        assert_eq!(
            chosen(&views, &all, std::slice::from_ref(&redirect))[0],
            "c"
        );
        let of_b = StoredRedirect {
            node: Some("b".parse().unwrap()),
            ..redirect
        };
        assert_eq!(chosen(&views, &all, &[of_b])[0], "c");
    }

    #[test]
    fn tls_clients_go_where_the_certificate_is_for_their_name() {
        let own = ["turn.example.org", "fra1.example.org"];
        let views = [
            view("a", &[], &own),
            view("b", &[], &["turn.example.org", "ams1.example.org"]),
            view("c", &[], &["*.example.org"]),
            view("d", &[], &["example.org", "*.org"]),
            view("e", &[], &["turn.example.org", "fra1.example.org", "x"]),
        ];
        let all = RedirectConfig::default();
        let [names, tls] = chosen(&views, &all, &[]);
        assert_eq!(names.len(), "b c d e".len());
        let mut tls: Vec<_> = tls.split(' ').collect();
        tls.sort_unstable();
        assert_eq!(
            tls,
            ["192.0.2.101:5349", "192.0.2.99:5349"],
            "those of c and e"
        );
        // Without a name nobody can tell.
        let nameless = [view("a", &[], &[]), view("b", &[], &["*.example.org"])];
        assert_eq!(chosen(&nameless, &all, &[])[1], "");
    }

    #[test]
    fn urls_are_read_as_nodes_write_them() {
        let read = |url| listener(url).map(|(transport, at)| format!("{transport} {at}"));
        assert_eq!(
            read("turn:192.0.2.1:3478?transport=udp").unwrap(),
            "udp 192.0.2.1:3478"
        );
        assert_eq!(
            read("turns:[2001:db8::1]:5349?transport=udp").unwrap(),
            "dtls [2001:db8::1]:5349"
        );
        for broken in [
            "",
            "turn:",
            "turn:a:1?transport=udp",
            "turn:192.0.2.1:1",
            "stun:192.0.2.1:1?transport=udp",
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
