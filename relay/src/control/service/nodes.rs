//! Nodes, the cluster in figures, and refusals.

use std::collections::BTreeMap;
use std::time::Instant;

use shared::NodeId;
use shared::api::{
    ApiError, ErrorKind, EventKind, ListQuery, MissingNode, NodeState, NodeView, Overview, Page,
    RefusalCount, Role, Severity, usual_version,
};
use shared::filter::{NODE_COLUMNS, REFUSAL_COLUMNS};

use super::list::ListOf;
use super::{Caller, Service, need, need_all_realms, not_found};
use crate::control::clock::Moment;
use crate::control::cluster::heartbeat;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::store::Removal;

impl Service {
    /// All nodes of the registry, this one as of now and the others as of their last heartbeat.
    pub(super) fn node_views(&self, caller: &Caller) -> Vec<NodeView> {
        let mut views = self.hub.cluster.registry().views(Instant::now());
        views.retain(|view| view.id != self.hub.node);
        views.push(heartbeat::own_view(&self.hub));
        let usual = usual_version(&views);
        for view in &mut views {
            let differs = usual.as_ref().is_some_and(|usual| view.version != *usual);
            view.version_skew = differs && view.state != NodeState::Gone;
        }
        if !caller.realms.is_empty() {
            let names: Vec<_> = caller.realms.iter().map(|realm| realm.as_str()).collect();
            for view in &mut views {
                view.realm_revisions
                    .retain(|name, _| names.contains(&name.as_str()));
                // Counted over all realms; `refusals` has those of the caller's.
                view.refusals.clear();
                view.refusals_per_sec.clear();
                view.auth_failures_per_sec = 0.0;
                view.realm_use
                    .retain(|name, _| names.contains(&name.as_str()));
                // Words between operators of the whole.
                if let Some(drain) = &mut view.drain {
                    drain.by.clear();
                    drain.reason.clear();
                }
            }
        }
        views
    }

    /// A page of nodes.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn nodes(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<NodeView>, ApiError> {
        need(caller, Role::Viewer)?;
        heartbeat::watch(&self.hub).await;
        let rows = self.node_views(caller);
        let missing = silent(&rows);
        let list = ListOf {
            schema: "nodes/1",
            columns: NODE_COLUMNS,
            default_sort: "node:asc",
            rows,
            missing,
            query,
        };
        list.page(|node| node.id.as_str().to_owned())
    }

    /// One node.
    ///
    /// # Errors
    /// No such node.
    pub async fn node(&self, caller: &Caller, id: &NodeId) -> Result<NodeView, ApiError> {
        need(caller, Role::Viewer)?;
        heartbeat::watch(&self.hub).await;
        let found = self
            .node_views(caller)
            .into_iter()
            .find(|node| node.id == *id);
        found.ok_or_else(|| not_found(format!("node {id}")))
    }

    /// Forgets a node that has stopped or is silent, with its sessions.
    ///
    /// # Errors
    /// A node that lives; the store is away.
    pub async fn forget_node(
        &self,
        caller: &Caller,
        id: &NodeId,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_all_realms(caller)?;
            self.need_gateway()?;
            let node = self.node(caller, id).await?;
            if !matches!(node.state, NodeState::Gone | NodeState::Stale) {
                let message = format!("{id} is {}: stop it first", node.state.as_str());
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            match self.store(self.hub.store.remove_node(id).await)? {
                Removal::Removed => {}
                Removal::Unknown => return Err(not_found(format!("node {id}"))),
                Removal::Alive => {
                    let message =
                        format!("{id} has come back, or is starting: nothing was removed");
                    return Err(ApiError::new(ErrorKind::Conflict, message));
                }
            }
            self.hub.cluster.look.notify_one();
            let text = format!("{id} was removed by {}", caller.actor);
            self.hub
                .event(EventKind::NodeChanged, Severity::Notice, text);
            Ok(())
        };
        self.audited(caller, "node.forget", id.as_str().to_owned(), reason, work)
            .await
    }

    /// The cluster in figures, from the last heartbeats. Callers confined to realms see the sums of
    /// these.
    ///
    /// # Errors
    /// Denied to roles that read nothing.
    pub async fn overview(&self, caller: &Caller) -> Result<Overview, ApiError> {
        need(caller, Role::Viewer)?;
        heartbeat::watch(&self.hub).await;
        let views = self.node_views(caller);
        let is_live =
            |view: &&NodeView| matches!(view.state, NodeState::Ready | NodeState::Draining);
        let live: Vec<_> = views.iter().filter(is_live).collect();
        let mut overview = Overview {
            schema: "overview/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            cluster: self.hub.config().cluster.clone(),
            nodes_live: live.len() as u32,
            nodes_total: views.len() as u32,
            sessions: 0,
            created_per_sec: 0.0,
            ended_per_sec: 0.0,
            rate_in_bps: 0,
            rate_out_bps: 0,
            packets_per_sec: 0,
            transports: BTreeMap::new(),
            refusals_per_sec: BTreeMap::new(),
            missing: silent(&views),
        };
        if !caller.realms.is_empty() {
            let (loads, missing) = self.realm_loads(caller).await;
            overview.missing = missing;
            for realm in loads.values() {
                overview.sessions += realm.load.sessions;
                overview.rate_in_bps += realm.load.rate_in_bps;
                overview.rate_out_bps += realm.load.rate_out_bps;
            }
            return Ok(overview);
        }
        for node in live {
            overview.sessions += node.sessions;
            overview.created_per_sec += node.created_per_sec;
            overview.ended_per_sec += node.ended_per_sec;
            overview.rate_in_bps += node.rate_in_bps;
            overview.rate_out_bps += node.rate_out_bps;
            overview.packets_per_sec += node.packets_per_sec;
            for (name, count) in &node.transports {
                *overview.transports.entry(name.clone()).or_default() += count;
            }
            for (code, rate) in &node.refusals_per_sec {
                *overview.refusals_per_sec.entry(code.clone()).or_default() += rate;
            }
        }
        Ok(overview)
    }

    /// A page of refusal counters, of every node, realm, reason and code.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn refusals(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<RefusalCount>, ApiError> {
        need(caller, Role::Viewer)?;
        let asked = self.ask(caller, query.scope, NodeQuestion::Refusals).await;
        let counts = asked
            .answers
            .into_iter()
            .filter_map(|(_, answer)| match answer {
                NodeAnswer::Refusals(counts) => Some(counts),
                _ => None,
            });
        let list = ListOf {
            schema: "refusals/1",
            columns: REFUSAL_COLUMNS,
            default_sort: "count:desc",
            rows: counts.flatten().collect(),
            missing: asked.missing,
            query,
        };
        list.page(|row| {
            let realm = row.realm.as_ref().map_or("", |realm| realm.as_str());
            format!(
                "{}/{realm}/{}/{}",
                row.node,
                row.reason,
                row.code.unwrap_or(0)
            )
        })
    }
}

/// Nodes that should speak and do not.
fn silent(views: &[NodeView]) -> Vec<MissingNode> {
    let silent = views.iter().filter(|view| view.state == NodeState::Stale);
    let silent = silent.map(|view| MissingNode {
        node: view.id.clone(),
        reason: format!("no heartbeat for {} s", view.heartbeat_age_secs),
    });
    silent.collect()
}
