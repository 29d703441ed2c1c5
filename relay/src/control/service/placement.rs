//! Placement: the nodes that a new client is told to use.
//!
//! Weighted rendezvous hashing: each node draws a number for the client, a MAC over both, and the
//! draws are weighed by what the node has left. So load follows free capacity, a client is sent to the
//! same nodes again while they are fit, and nobody's share moves but that of a node that comes or goes.

use std::collections::BTreeMap;
use std::time::Instant;

use shared::Realm;
use shared::api::{
    ApiError, Credential, CredentialKinds, ErrorKind, IceServer, MAX_PLACED, MintRequest, NodeRole,
    NodeState, NodeView,
};

use super::{Service, bad};
use crate::control::cluster::heartbeat;
use crate::control::keys;
use crate::control::vacancy::{is_full, share};

/// Nodes that are named unless somebody asks for more or fewer.
const DEFAULT_COUNT: u32 = 3;
/// Labels of one request.
const MAX_LABELS: usize = 16;
/// Nodes that are named for each reason that there is none.
const NAMED: usize = 3;

impl Service {
    /// The credential with the best nodes for it.
    ///
    /// # Errors
    /// An impossible request; no node that would take the client, and why.
    pub(super) fn placed(
        &self,
        realm: &Realm,
        request: &MintRequest,
        credential: Credential,
    ) -> Result<Credential, ApiError> {
        let count = request.count.unwrap_or(DEFAULT_COUNT);
        if count > MAX_PLACED {
            return Err(bad(format!("count: 0 to {MAX_PLACED} nodes")));
        }
        if request.labels.len() > MAX_LABELS {
            return Err(bad(format!("labels: at most {MAX_LABELS}")));
        }
        if count == 0 {
            return Ok(credential);
        }
        // Nobody is known by an empty name: each of them draws anew.
        let nameless = keys::hex(&keys::random::<16>());
        let user = match request.user.as_str() {
            "" => nameless.as_str(),
            user => user,
        };
        let key = self.hub.keeper.current().nonce_key.clone();
        let draw = |node: &NodeView| {
            let parts: [&[u8]; 4] = [
                b"relayd placement v1",
                realm.as_str().as_bytes(),
                node.id.as_str().as_bytes(),
                user.as_bytes(),
            ];
            // Each with its length: no two different ones are the same bytes.
            let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
            let both = lengths.iter().zip(parts);
            let flat: Vec<&[u8]> = both
                .flat_map(|(length, part)| [&length[..], part])
                .collect();
            let [a, b, c, d, e, f, g, h, ..] = keys::mac(key.expose(), &flat);
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        };
        let mut nodes = self.candidates();
        // Browsers send no origin, and URIs of nodes have addresses, no names: clients of a realm that is found by
        // these come to the listeners without a realm of their own.
        let default = &self.hub.config().default_realm.clone();
        let found = self.is_chosen_by_name(realm).then_some(default);
        nodes.iter_mut().for_each(|node| narrow(node, realm, found));
        let mut chosen = choose(&nodes, request, draw)?;
        chosen.truncate(count as usize);
        let server = |node: &NodeView| IceServer {
            urls: node.urls.clone(),
            username: credential.username.clone(),
            credential: credential.credential.clone(),
        };
        Ok(Credential {
            ice_servers: chosen.iter().map(server).collect(),
            nodes: chosen.iter().map(|node| node.id.clone()).collect(),
            urls: chosen.into_iter().flat_map(|node| node.urls).collect(),
            ..credential
        })
    }

    /// Whether a client may come to this realm by its web origin or by the server's name in TLS.
    fn is_chosen_by_name(&self, realm: &Realm) -> bool {
        let entry = self.hub.keeper.realm(realm);
        entry.is_some_and(|entry| {
            !entry.document.origins.is_empty() || !entry.document.server_names.is_empty()
        })
    }

    /// Why credentials of a kind open nothing wherever there is a relay; `None`: one takes them, or there is none.
    pub(super) fn refused_everywhere(&self, kind: CredentialKinds) -> Option<&'static str> {
        let is_there = |node: &NodeView| {
            node.roles.contains(&NodeRole::Relay) && node.state != NodeState::Gone
        };
        let mut relays = self.candidates().into_iter().filter(is_there).peekable();
        relays.peek()?;
        let is_refused = relays.all(|node| !node.credentials.covers(kind));
        is_refused.then_some(match kind {
            CredentialKinds::Secrets => {
                "no relay accepts credentials made with secrets: set credentials = \"both\" \
                 (--credentials both), or add users"
            }
            _ => {
                "no relay accepts users: set credentials = \"both\" (--credentials both), or add secrets"
            }
        })
    }

    /// The same for the end of a sentence about what was written; empty where it opens something.
    pub(super) fn note_of_refusal(&self, kind: CredentialKinds) -> String {
        let why = self.refused_everywhere(kind);
        why.map_or_else(String::new, |why| format!("; {why}"))
    }

    /// All nodes: of this one state and kind of credentials are as they are now, and with the store away all else too.
    fn candidates(&self) -> Vec<NodeView> {
        let hub = &self.hub;
        let mut nodes = hub.cluster.registry().views(Instant::now());
        if !hub.health.connected() {
            nodes.retain(|node| node.id != hub.node);
        }
        match nodes.iter_mut().find(|node| node.id == hub.node) {
            Some(own) => {
                own.state = hub.state();
                own.credentials = hub.config().credentials;
            }
            None => nodes.push(heartbeat::own_view(hub)),
        }
        nodes
    }
}

/// Why a node is not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unfit {
    State(&'static str),
    NoRelay,
    NoUrls,
    UsersOnly,
    Full,
    Labels,
}

impl Unfit {
    fn words(self) -> &'static str {
        match self {
            Self::State(state) => state,
            Self::NoRelay => "no relay",
            Self::NoUrls => "without a listener of this realm that clients can be told",
            Self::UsersOnly => "with credentials = \"users\"",
            Self::Full => "full",
            Self::Labels => "without the labels",
        }
    }
}

/// Leaves the URIs at which clients are told `realm`, or `also` where a name leads from there to it: with
/// another realm's their credential is wrong. Of a version that does not tell the realms, all stay.
fn narrow(node: &mut NodeView, realm: &Realm, also: Option<&Realm>) {
    let NodeView {
        urls, url_realms, ..
    } = node;
    let is_served = |served: &Realm| served == realm || Some(served) == also;
    urls.retain(|url| url_realms.get(url).is_none_or(is_served));
}

/// Why a node would not take a client, labels aside.
fn unfit(node: &NodeView) -> Option<Unfit> {
    if !node.roles.contains(&NodeRole::Relay) {
        Some(Unfit::NoRelay)
    } else if !node.credentials.has_secrets() {
        Some(Unfit::UsersOnly)
    } else if node.state != NodeState::Ready {
        Some(Unfit::State(node.state.as_str()))
    } else if is_full(node) {
        Some(Unfit::Full)
    } else if node.urls.is_empty() {
        Some(Unfit::NoUrls)
    } else {
        None
    }
}

/// The nodes that would take the client, best first: never none.
fn choose(
    nodes: &[NodeView],
    request: &MintRequest,
    draw: impl Fn(&NodeView) -> u64,
) -> Result<Vec<NodeView>, ApiError> {
    let has_labels = |node: &NodeView| {
        let mut labels = request.labels.iter();
        labels.all(|(name, value)| node.labels.get(name) == Some(value))
    };
    let mut left_out: BTreeMap<Unfit, Vec<&str>> = BTreeMap::new();
    let mut fit: Vec<(bool, f64, &NodeView)> = Vec::new();
    for node in nodes {
        let has_labels = has_labels(node);
        let why = unfit(node).or((!has_labels && !request.prefer).then_some(Unfit::Labels));
        match why {
            Some(why) => left_out.entry(why).or_default().push(node.id.as_str()),
            None => fit.push((!has_labels, rank(node, draw(node)), node)),
        }
    }
    if fit.is_empty() {
        return Err(nobody(&left_out));
    }
    fit.sort_by(|a, b| (a.0.cmp(&b.0)).then(a.1.total_cmp(&b.1)));
    Ok(fit.into_iter().map(|(.., node)| node.clone()).collect())
}

/// Smaller is better: an exponential draw whose rate is what the node has left, so that each node
/// comes first as often as its part of all that is left.
fn rank(node: &NodeView, drawn: u64) -> f64 {
    let drawn = (drawn as f64 + 1.0) / (u64::MAX as f64 + 2.0);
    -drawn.ln() / f64::from(share(node))
}

fn nobody(left_out: &BTreeMap<Unfit, Vec<&str>>) -> ApiError {
    let reasons = left_out.iter().map(|(why, nodes)| {
        let mut names = nodes[..nodes.len().min(NAMED)].join(", ");
        if nodes.len() > NAMED {
            names = format!("{names}, and {} more", nodes.len() - NAMED);
        }
        format!("{} {} ({names})", nodes.len(), why.words())
    });
    let reasons: Vec<_> = reasons.collect();
    let reasons = match reasons.is_empty() {
        true => "there are none".to_owned(),
        false => reasons.join("; "),
    };
    let message = format!("no node takes this client: {reasons}");
    ApiError::new(ErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, percent: f64, labels: &[(&str, &str)]) -> NodeView {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "id": id, "epoch": 1, "version": "0.1.0", "roles": ["relay"], "labels": labels,
            "state": "ready", "session_base": "", "listeners": [],
            "urls": [format!("turn:{id}.example:3478?transport=udp")], "relays": [], "workers": 1,
            "uptime_secs": 1, "heartbeat_age_secs": 0, "sessions": 0, "created_per_sec": 0.0,
            "ended_per_sec": 0.0, "rate_in_bps": 0, "rate_out_bps": 0, "packets_per_sec": 0,
            "drops": 0, "transports": {}, "cpu_percent": 0.0, "memory_bytes": 0,
            "capacity": {"percent": percent, "bound_by": "ports", "ports_used": 0, "ports_total": 0},
            "store": {"kind": "redis", "connected": true, "since_ms": 0},
        }))
        .unwrap()
    }

    fn draw(user: u32) -> impl Fn(&NodeView) -> u64 {
        move |node| {
            let mac = keys::mac(b"key", &[node.id.as_str().as_bytes(), &user.to_be_bytes()]);
            u64::from_be_bytes(*mac.first_chunk().unwrap())
        }
    }

    fn first(nodes: &[NodeView], user: u32) -> String {
        let chosen = choose(nodes, &MintRequest::default(), draw(user)).unwrap();
        chosen[0].id.as_str().to_owned()
    }

    fn labelled(prefer: bool) -> MintRequest {
        MintRequest {
            labels: [("region".to_owned(), "eu".to_owned())].into(),
            prefer,
            ..MintRequest::default()
        }
    }

    /// How many of 4,000 users come to each node first.
    fn shares(nodes: &[NodeView]) -> BTreeMap<String, u32> {
        let mut shares = BTreeMap::new();
        for user in 0..4000 {
            *shares.entry(first(nodes, user)).or_default() += 1;
        }
        shares
    }

    #[test]
    fn clients_spread_over_nodes_as_they_have_room() {
        let even = shares(&[node("a", 10.0, &[]), node("b", 10.0, &[])]);
        assert!((1850..2150).contains(&even["a"]), "{even:?}");
        let loaded = shares(&[node("a", 0.0, &[]), node("b", 74.0, &[])]);
        assert!((2750..3070).contains(&loaded["a"]), "{loaded:?}");
        let heavy = shares(&[node("a", 0.0, &[("weight", "3")]), node("b", 0.0, &[])]);
        assert!((2850..3150).contains(&heavy["a"]), "{heavy:?}");
        let silly = shares(&[node("a", 0.0, &[("weight", "-7")]), node("b", 0.0, &[])]);
        assert!((1850..2150).contains(&silly["a"]), "{silly:?}");
    }

    #[test]
    fn a_client_comes_back_to_its_nodes_also_when_another_goes() {
        let three = [
            node("a", 5.0, &[]),
            node("b", 5.0, &[]),
            node("c", 5.0, &[]),
        ];
        for user in 0..200 {
            let before = first(&three, user);
            assert_eq!(before, first(&three, user));
            if before != "c" {
                assert_eq!(before, first(&three[..2], user), "its share does not move");
            }
        }
    }

    #[test]
    fn labels_are_demanded_or_preferred() {
        let nodes = [
            node("eu1", 50.0, &[("region", "eu")]),
            node("us1", 0.0, &[("region", "us")]),
            node("any", 0.0, &[]),
        ];
        let ids = |request: &MintRequest| {
            let chosen = choose(&nodes, request, draw(1)).unwrap();
            chosen
                .iter()
                .map(|n| n.id.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&labelled(false)), ["eu1"]);
        let preferred = ids(&labelled(true));
        assert_eq!((preferred[0].as_str(), preferred.len()), ("eu1", 3));
        let error = choose(&nodes[1..], &labelled(false), draw(1)).unwrap_err();
        assert_eq!(error.error, ErrorKind::Unavailable);
        assert!(
            error.message.contains("2 without the labels (us1, any)"),
            "{}",
            error.message
        );
        assert!(choose(&nodes[1..], &labelled(true), draw(1)).is_ok());
    }

    #[test]
    fn only_listeners_of_the_realm_are_told() {
        let [north, south]: [Realm; 2] = ["north.gov", "south.gov"].map(|r| r.parse().unwrap());
        let mut both = node("both", 0.0, &[]);
        both.urls = ["turn:a", "turn:b", "turn:c"].map(str::to_owned).into();
        both.url_realms = [("turn:a", &north), ("turn:b", &south), ("turn:c", &north)]
            .map(|(url, realm)| (url.to_owned(), realm.clone()))
            .into();
        let urls_of = |realm: &Realm, node: &NodeView| {
            let mut node = node.clone();
            narrow(&mut node, realm, None);
            node.urls
        };
        assert_eq!(urls_of(&north, &both), ["turn:a", "turn:c"]);
        assert_eq!(urls_of(&south, &both), ["turn:b"]);
        let silent = node("silent", 0.0, &[]);
        assert_eq!(urls_of(&north, &silent), silent.urls, "of an older version");
        let west: Realm = "west.gov".parse().unwrap();
        let mut found = both.clone();
        narrow(&mut found, &west, Some(&north));
        assert_eq!(
            found.urls,
            ["turn:a", "turn:c"],
            "by a name, without a realm of their own"
        );
        let mut elsewhere = both;
        narrow(&mut elsewhere, &west, None);
        let error = choose(&[elsewhere], &MintRequest::default(), draw(1)).unwrap_err();
        assert!(error.message.contains("without a listener of this realm"));
    }

    #[test]
    fn who_would_be_refused_is_not_sent_there_and_told_why() {
        let with = |id: &str, change: fn(&mut NodeView)| {
            let mut node = node(id, 0.0, &[]);
            change(&mut node);
            node
        };
        let nodes = [
            with("draining", |n| n.state = NodeState::Draining),
            with("joining", |n| n.state = NodeState::Joining),
            with("stale", |n| n.state = NodeState::Stale),
            with("gone", |n| n.state = NodeState::Gone),
            with("full", |n| {
                n.capacity.percent = crate::control::vacancy::FULL_PERCENT
            }),
            with("portless", |n| {
                n.capacity.bound_by = "cpu".to_owned();
                (n.capacity.percent, n.capacity.ports_used) = (99.0, 10);
                n.capacity.ports_total = 10;
            }),
            with("gateway", |n| n.roles = vec![NodeRole::Gateway]),
            with("proxied", |n| n.urls.clear()),
            with("usersonly", |n| n.credentials = CredentialKinds::Users),
        ];
        let error = choose(&nodes, &MintRequest::default(), draw(1)).unwrap_err();
        for node in &nodes {
            assert!(
                error.message.contains(node.id.as_str()),
                "{}",
                error.message
            );
        }
        let many = [&nodes[..], &[node("good", 94.0, &[])]].concat();
        assert_eq!(first(&many, 1), "good");
        let busy = [with("busy", |n| {
            n.capacity.bound_by = "cpu".to_owned();
            n.capacity.percent = 100.0;
        })];
        assert_eq!(first(&busy, 1), "busy", "that passes");
        let none = choose(&[], &MintRequest::default(), draw(1)).unwrap_err();
        assert!(none.message.contains("there are none"));
    }
}
