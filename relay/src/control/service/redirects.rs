//! Redirects: listed with the health of their targets, added, removed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use shared::api::{
    ApiError, ErrorKind, EventKind, ListQuery, NodeView, Page, RedirectCreate, RedirectHealth,
    RedirectView, Role, Severity,
};
use shared::filter::REDIRECT_COLUMNS;
use shared::{NodeId, Transport};
use turn_proto::policy::special_use::is_special_use;

use super::list::ListOf;
use super::{Caller, Service, bad, need, need_all_realms, not_found};
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::cluster::registry::parse_relay;
use crate::control::redirects::{self, StoredRedirect};
use crate::control::{documents, keys, policy};
use crate::store::StoreError;
use crate::store::document::REDIRECTS;

/// Redirects in a cluster.
const MAX_REDIRECTS: usize = 256;
/// The longest note, in bytes: all of them share one document.
const MAX_NOTE: usize = 200;
/// The largest weight.
const MAX_WEIGHT: u32 = 1000;
/// How often a change is tried again after somebody else was faster.
const ATTEMPTS: usize = 5;

type Health = (RedirectHealth, u64);

impl Service {
    /// A page of redirects. Health is as the nodes see it that redirect: a target that any of them
    /// does not reach is down.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn redirects(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<RedirectView>, ApiError> {
        need(caller, Role::Viewer)?;
        let asked = self.ask(caller, query.scope, NodeQuestion::Redirects).await;
        let mut seen: HashMap<String, Health> = HashMap::new();
        for (_, answer) in asked.answers {
            let NodeAnswer::Redirects(rows) = answer else {
                continue;
            };
            for (id, health, since_ms) in rows {
                let worst = seen.entry(id).or_default();
                if rank(health) > rank(worst.0) {
                    *worst = (health, since_ms);
                }
            }
        }
        let rows = redirects::known(&self.hub).into_iter().map(|redirect| {
            let (health, since_ms) = seen.get(&redirect.id).copied().unwrap_or_default();
            redirect.view(health, since_ms)
        });
        let list = ListOf {
            schema: "redirects/1",
            columns: REDIRECT_COLUMNS,
            default_sort: "transport:asc",
            rows: rows.collect(),
            missing: asked.missing,
            query,
        };
        list.page(|row| row.id.clone())
    }

    /// Adds a redirect; every node follows it within a second.
    ///
    /// # Errors
    /// A target that no client should be sent to; too many redirects; the store is away.
    pub async fn create_redirect(
        &self,
        caller: &Caller,
        create: RedirectCreate,
    ) -> Result<RedirectView, ApiError> {
        let what = format!("{} {}", create.transport, create.target);
        let reason = create.reason.clone();
        let work = async {
            self.may_redirect(caller)?;
            let nodes = self.node_views(caller);
            check(&create, &nodes)?;
            let added = self
                .change_redirects(caller, |all| add(all, &create, &nodes))
                .await?;
            self.redirect_event(caller, &added, "was added");
            Ok(added.view(RedirectHealth::Unknown, 0))
        };
        self.audited(caller, "redirect.create", what, &reason, work)
            .await
    }

    /// Removes a redirect.
    ///
    /// # Errors
    /// No such redirect; the store is away.
    pub async fn delete_redirect(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            self.may_redirect(caller)?;
            let remove = |all: &mut Vec<StoredRedirect>| {
                let found = all.iter().position(|redirect| redirect.id == id);
                let found = found.ok_or_else(|| not_found(format!("redirect {id}")))?;
                Ok(all.remove(found))
            };
            let removed = self.change_redirects(caller, remove).await?;
            self.redirect_event(caller, &removed, "was removed");
            Ok(())
        };
        self.audited(caller, "redirect.delete", id.to_owned(), reason, work)
            .await
    }

    fn may_redirect(&self, caller: &Caller) -> Result<(), ApiError> {
        need(caller, Role::Admin)?;
        need_all_realms(caller)?;
        self.need_gateway()
    }

    /// Changes the document, again if somebody else did so meanwhile. Takes effect here at once;
    /// the other nodes hear it from the store.
    async fn change_redirects(
        &self,
        caller: &Caller,
        change: impl Fn(&mut Vec<StoredRedirect>) -> Result<StoredRedirect, ApiError>,
    ) -> Result<StoredRedirect, ApiError> {
        for _ in 0..ATTEMPTS {
            let stored = self.store(self.hub.store.document(REDIRECTS).await)?;
            let expected = stored.as_ref().map_or(0, |document| document.revision);
            let all = stored.as_ref().map(redirects::read).transpose();
            let mut all = all.map_err(|error| unreadable(&error))?.unwrap_or_default();
            let changed = change(&mut all)?;
            let body = redirects::body(all).map_err(|error| unreadable(&error))?;
            let put = self
                .hub
                .store
                .put_document(REDIRECTS, &body, expected, &caller.actor);
            match self.hub.noted(put.await) {
                Err(StoreError::RevisionConflict { .. }) => {}
                put => {
                    self.store(put)?;
                    documents::refresh(&self.hub).await;
                    // Whoever else saw the document first may be about to do the same.
                    redirects::apply(&self.hub);
                    policy::refresh(&self.hub).await;
                    return Ok(changed);
                }
            }
        }
        let message = "others change the redirects at the same time: try again";
        Err(ApiError::new(ErrorKind::Conflict, message))
    }

    fn redirect_event(&self, caller: &Caller, redirect: &StoredRedirect, word: &str) {
        let StoredRedirect {
            id,
            transport,
            target,
            node,
            ..
        } = redirect;
        let from = node.as_ref().map_or("all nodes", |node| node.as_str());
        let actor = &caller.actor;
        let text =
            format!("redirect {id} of {transport} from {from} to {target} {word} by {actor}");
        self.hub
            .event(EventKind::RedirectChanged, Severity::Notice, text);
    }
}

/// What matters most of what several nodes see.
fn rank(health: RedirectHealth) -> u8 {
    match health {
        RedirectHealth::Unknown => 0,
        RedirectHealth::Up => 1,
        RedirectHealth::Down => 2,
    }
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    let message = format!("the redirects in the store cannot be read: {error}");
    ApiError::new(ErrorKind::Internal, message)
}

/// The checks that other redirects have no part in.
fn check(create: &RedirectCreate, nodes: &[NodeView]) -> Result<(), ApiError> {
    let weight = create.weight.unwrap_or(1);
    if !(1..=MAX_WEIGHT).contains(&weight) {
        return Err(bad(format!("weight: 1 to {MAX_WEIGHT}")));
    }
    if create.note.len() > MAX_NOTE {
        return Err(bad(format!("note: at most {MAX_NOTE} bytes")));
    }
    let (ip, port) = (create.target.ip(), create.target.port());
    if port == 0 || ip.is_unspecified() {
        return Err(bad("target: an address and a port that clients can reach"));
    }
    if is_special_use(ip) && !nodes.iter().any(|node| has_address(node, ip)) {
        return Err(bad(format!(
            "target: {ip} is no public address, and no node of this cluster has it"
        )));
    }
    if let Some(domain) = &create.domain {
        if !matches!(create.transport, Transport::Tls | Transport::Dtls) {
            return Err(bad("domain: for tls and dtls, where certificates are"));
        }
        if !is_dns_name(domain) {
            return Err(bad("domain: a DNS name of at most 255 characters"));
        }
    }
    match &create.node {
        Some(id) if !nodes.iter().any(|node| node.id == *id) => {
            Err(not_found(format!("node {id} in the registry")))
        }
        _ => Ok(()),
    }
}

/// Appends a redirect if it fits those that exist.
fn add(
    all: &mut Vec<StoredRedirect>,
    create: &RedirectCreate,
    nodes: &[NodeView],
) -> Result<StoredRedirect, ApiError> {
    let conflict = |message: String| Err(ApiError::new(ErrorKind::Conflict, message));
    if all.len() >= MAX_REDIRECTS {
        return conflict(format!("there are {MAX_REDIRECTS} redirects already"));
    }
    let of_transport = || all.iter().filter(|one| one.transport == create.transport);
    let same = |one: &&StoredRedirect| one.target == create.target && one.node == create.node;
    if let Some(same) = of_transport().find(same) {
        return conflict(format!("redirect {} is the same", same.id));
    }
    let owner = owner(nodes, create.target);
    if owner.is_some() && owner == create.node.as_ref() {
        return conflict(format!(
            "{} is a listener of that node itself",
            create.target
        ));
    }
    // A target serves what comes to it: one that was told to redirect would quietly not.
    let sends = |one: &&StoredRedirect| owner.is_some() && one.node.as_ref() == owner;
    let is_target = |one: &&StoredRedirect| {
        create.node.is_some() && self::owner(nodes, one.target) == create.node.as_ref()
    };
    if let Some(other) = of_transport().find(sends) {
        return conflict(format!(
            "{} belongs to a node that redirect {} sends elsewhere",
            create.target, other.id
        ));
    }
    if let Some(other) = of_transport().find(is_target) {
        return conflict(format!(
            "that node is the target of redirect {}: it serves what comes to it",
            other.id
        ));
    }
    let mut id = keys::hex(&keys::random::<4>());
    while all.iter().any(|one| one.id == id) {
        id = keys::hex(&keys::random::<4>());
    }
    let added = StoredRedirect {
        id,
        transport: create.transport,
        target: create.target,
        domain: create.domain.clone(),
        node: create.node.clone(),
        weight: create.weight.unwrap_or(1),
        note: create.note.clone(),
        rest: serde_json::Map::new(),
    };
    all.push(added.clone());
    Ok(added)
}

/// The node that clients reach at an address.
fn owner(nodes: &[NodeView], target: SocketAddr) -> Option<&NodeId> {
    let found = nodes
        .iter()
        .find(|node| redirects::addresses(&node.listeners, relay_ips(node)).contains(&target));
    found.map(|node| &node.id)
}

fn has_address(node: &NodeView, ip: IpAddr) -> bool {
    let listens = node.listeners.iter().any(|listener| listener.ip() == ip);
    listens || relay_ips(node).any(|relay| relay == ip)
}

fn relay_ips(node: &NodeView) -> impl Iterator<Item = IpAddr> {
    let relays = node.relays.iter().filter_map(|text| parse_relay(text));
    relays.map(|relay| relay.address)
}

/// RFC 1123 §2.1, with A-labels as they are.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 255 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_dns_names() {
        for good in ["a", "turn.example", "xn--bcher-kva.example", "1.a-b.c"] {
            assert!(is_dns_name(good), "{good}");
        }
        let long = vec!["a".repeat(63); 4].join(".");
        assert!(is_dns_name(&long));
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "ä.de",
            "a.",
            &"a".repeat(64),
        ] {
            assert!(!is_dns_name(bad), "{bad:?}");
        }
        assert!(!is_dns_name(&format!("{long}.a")));
    }
}
