//! Drains and upgrades of nodes, ordered from anywhere; the node concerned does them.

use std::time::Duration;

use shared::NodeId;
use shared::api::{
    ApiError, DrainRequest, DrainView, ErrorKind, MAX_DRAIN_SECS, NodeRole, NodeState, Role,
    UpgradeRequest, UpgradeView,
};

use super::kill::silent;
use super::{Caller, Service, bad, need, need_all_realms, not_found, unexpected};
use crate::control::cluster::mailbox;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::drain;

/// How long a node has to obey: it tells its workers and the registry before it answers.
const OBEY_WAIT: Duration = Duration::from_secs(2);

impl Service {
    /// Has a node take no new sessions until it is undrained, also after a restart; or changes the
    /// drain that it is in.
    ///
    /// # Errors
    /// No such node, or one that relays nothing or has stopped; an impossible deadline; the node did
    /// not confirm in time.
    pub async fn drain_node(
        &self,
        caller: &Caller,
        id: &NodeId,
        request: DrainRequest,
    ) -> Result<DrainView, ApiError> {
        let target = described(id, &request);
        let reason = request.reason.clone();
        let work = async {
            let deadline = request.deadline_secs;
            if deadline.is_some_and(|secs| !(1..=MAX_DRAIN_SECS).contains(&secs)) {
                return Err(bad(format!(
                    "deadline_secs: 1 to {MAX_DRAIN_SECS} (30 days), or none"
                )));
            }
            self.drainable(caller, id, "node.drain").await?;
            match self.order(caller, id, NodeQuestion::Drain(request)).await? {
                Some(view) => Ok(view),
                None => Err(ApiError::new(ErrorKind::Internal, "no drain came of it")),
            }
        };
        self.audited(caller, "node.drain", target, &reason, work)
            .await
    }

    /// Drains this node for a process that is to end with its last session, as coturn's SIGUSR1 does; `false`:
    /// this node has no sessions of its own to wait for.
    pub async fn drain_at_signal(&self) -> bool {
        if !self.hub.config().roles.contains(&NodeRole::Relay) {
            tracing::warn!("SIGUSR1 drains a node that relays, and this one does not: ignored.");
            return false;
        }
        let request = DrainRequest {
            reason: "SIGUSR1: the process ends with the last session".to_owned(),
            ..DrainRequest::default()
        };
        drain::begin(&self.hub, "signal", &request).await;
        true
    }

    /// Whether this node is drained; somebody may have thought better of it.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.hub.drain.mode().is_some()
    }

    /// Whether this node has no sessions. What began a moment ago may not be in the books, but has its port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hub.books().len() == 0 && self.hub.workers.ports().0 == 0
    }

    /// Lets the next start of this node take sessions again.
    pub fn forget_drain(&self) {
        self.hub.drain.forget();
    }

    /// Has a node take new sessions again.
    ///
    /// # Errors
    /// A node that is not drained; as [`drain_node`](Self::drain_node).
    pub async fn undrain_node(
        &self,
        caller: &Caller,
        id: &NodeId,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            self.drainable(caller, id, "node.undrain").await?;
            let ended = self.order(caller, id, NodeQuestion::Undrain).await?;
            ended.map(drop).ok_or_else(|| {
                let what =
                    format!("drain of {id}: it takes new sessions unless its state says why not");
                not_found(what)
            })
        };
        self.audited(caller, "node.undrain", id.as_str().to_owned(), reason, work)
            .await
    }

    /// Has a node start the process that takes over from it.
    ///
    /// # Errors
    /// No such node, or one that has stopped, that no process can take over from, or that does so
    /// already; the node did not confirm in time.
    pub async fn upgrade_node(
        &self,
        caller: &Caller,
        id: &NodeId,
        request: UpgradeRequest,
    ) -> Result<UpgradeView, ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            self.drainable(caller, id, "node.upgrade").await?;
            let question = NodeQuestion::Upgrade;
            let begun = mailbox::ask_one(&self.hub, caller, id, question, OBEY_WAIT).await;
            match begun {
                Ok(NodeAnswer::Upgrade(view)) => Ok(view),
                Ok(other) => Err(unexpected(&other)),
                Err(silence) => Err(silent(id, &silence)),
            }
        };
        let target = id.as_str().to_owned();
        self.audited(caller, "node.upgrade", target, &request.reason, work)
            .await
    }

    /// Refuses whoever may not drain the node, and nodes that cannot be.
    async fn drainable(&self, caller: &Caller, id: &NodeId, action: &str) -> Result<(), ApiError> {
        need(caller, Role::Operator)?;
        need_all_realms(caller)?;
        if *id != self.hub.node {
            self.need_gateway()?;
        }
        let node = self.node(caller, id).await?;
        let conflict = |message| Err(ApiError::new(ErrorKind::Conflict, message));
        if let Some(beside) = &node.beside {
            return match beside.refusal(action) {
                Some(why) => conflict(format!("{id}: {why}")),
                None => Ok(()),
            };
        }
        if !node.roles.contains(&NodeRole::Relay) {
            return conflict(format!("{id} relays nothing: it has not the role relay"));
        }
        if node.state == NodeState::Gone {
            return conflict(format!("{id} has stopped: start it first"));
        }
        Ok(())
    }

    async fn order(
        &self,
        caller: &Caller,
        id: &NodeId,
        question: NodeQuestion,
    ) -> Result<Option<DrainView>, ApiError> {
        let obeyed = mailbox::ask_one(&self.hub, caller, id, question, OBEY_WAIT).await;
        // The node wrote its record before it answered.
        self.hub.cluster.look.notify_one();
        match obeyed {
            Ok(NodeAnswer::Drain(view)) => Ok(view.map(|view| *view)),
            Ok(other) => Err(unexpected(&other)),
            Err(silence) => Err(silent(id, &silence)),
        }
    }
}

/// The order as the audit keeps it.
fn described(id: &NodeId, request: &DrainRequest) -> String {
    let mut text = id.as_str().to_owned();
    if let Some(secs) = request.deadline_secs {
        text = format!("{text}, deadline in {secs} s");
    }
    if request.refuse_refresh {
        text.push_str(", refreshes refused");
    }
    text
}
