//! Ends one session.

use std::time::Duration;

use shared::NodeId;
use shared::api::{ApiError, BlockRequest, ErrorKind, ItemOutcome, KillRequest, KillResult, Role};

use super::{Caller, Service, need, not_found, unexpected};
use crate::control::cluster::answer::KILL_WAIT;
use crate::control::cluster::mailbox::{self, Silence};
use crate::control::cluster::message::{Killed, NodeAnswer, NodeQuestion};

/// On top of what a worker has to confirm: the way there and back.
const MARGIN: Duration = Duration::from_millis(400);

impl Service {
    /// Ends a session wherever it is, and waits until its node confirms. With `block_secs` its user
    /// (unless that is empty) is refused from then on.
    ///
    /// # Errors
    /// No such session; its node did not confirm in time.
    pub async fn kill_session(
        &self,
        caller: &Caller,
        id: &str,
        request: KillRequest,
    ) -> Result<KillResult, ApiError> {
        let work = self.kill_one(caller, id, &request);
        self.audited(caller, "session.kill", id.to_owned(), &request.reason, work)
            .await
    }

    async fn kill_one(
        &self,
        caller: &Caller,
        id: &str,
        request: &KillRequest,
    ) -> Result<KillResult, ApiError> {
        need(caller, Role::Operator)?;
        let session = self.find_session(caller, id, false).await?.session;
        let mut blocked_until_ms = None;
        if let Some(secs) = request.block_secs.filter(|_| !session.user.is_empty()) {
            let block = BlockRequest {
                secs,
                reason: request.reason.clone(),
            };
            let block = self
                .block(caller, &session.realm, &session.user, &block)
                .await?;
            blocked_until_ms = Some(block.until_ms);
        }
        let killed = self
            .kill_on(caller, &session.node, vec![session.id])
            .await?;
        match killed.first().map(|one| one.outcome) {
            Some(ItemOutcome::Killed) => Ok(KillResult {
                id: session.id,
                node: session.node,
                user: session.user,
                realm: session.realm,
                blocked_until_ms,
            }),
            Some(ItemOutcome::NotFound) => Err(not_found(format!("session {id}: it has ended"))),
            _ => Err(unconfirmed(&session.node)),
        }
    }

    /// Ends sessions of one node.
    pub(super) async fn kill_on(
        &self,
        caller: &Caller,
        node: &NodeId,
        ids: Vec<shared::SessionId>,
    ) -> Result<Vec<Killed>, ApiError> {
        let question = NodeQuestion::Kill { ids };
        let deadline = KILL_WAIT + MARGIN;
        match mailbox::ask_one(&self.hub, caller, node, question, deadline).await {
            Ok(NodeAnswer::Killed(killed)) => Ok(killed),
            Ok(other) => Err(unexpected(&other)),
            Err(silence) => Err(silent(node, &silence)),
        }
    }
}

/// What a caller is told about a node that did not answer a command.
pub(super) fn silent(node: &NodeId, silence: &Silence) -> ApiError {
    if silence.sent {
        return unconfirmed(node);
    }
    let message = format!("{node} cannot be told: {}", silence.reason);
    ApiError::new(ErrorKind::Unavailable, message)
}

fn unconfirmed(node: &NodeId) -> ApiError {
    let message = format!("{node} did not confirm in time: it may have happened or not");
    ApiError::new(ErrorKind::Unconfirmed, message)
}
