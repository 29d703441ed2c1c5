//! Takeover: the sessions of a dead node whose address this one has now.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::api::{EventKind, NodeState, Severity};
use shared::{NodeId, SessionId, WorkerId};

use super::share::share_out;
use crate::control::hub::Hub;
use crate::control::mirror;
use crate::store::{Store, StoreError};
use crate::udp::interfaces;

/// How often is looked whether a node needs it.
const INTERVAL: Duration = Duration::from_secs(1);
/// Silence after which a node is taken to be dead.
const SILENCE_SECS: u64 = 5;
/// Between tries to tell the store or a worker.
const RETRY: Duration = Duration::from_millis(250);
/// Sessions handed over by one write.
const CHUNK: usize = 500;

/// Sessions of another node that this one takes up.
#[derive(Debug)]
pub struct Adopted {
    /// The node they were of.
    pub node: NodeId,
    /// The start counted for it, so that its own process changes nothing any more.
    pub epoch: u64,
    /// The sessions.
    pub sessions: HashSet<SessionId>,
}

/// Counts a start of another node in its place, and reads its sessions.
///
/// # Errors
/// The store's.
pub(super) async fn claim(
    store: &dyn Store,
    node: &NodeId,
) -> Result<(Adopted, Vec<crate::store::SessionRecord>), StoreError> {
    let epoch = store.next_epoch(node).await?;
    let records = store.sessions(node).await?;
    let adopted = Adopted {
        node: node.clone(),
        epoch,
        sessions: records.iter().map(|record| record.id).collect(),
    };
    Ok((adopted, records))
}

/// Takes over from the nodes that the configuration names, once they are silent and this host has
/// an address of theirs.
pub(in crate::control) async fn watch(hub: Arc<Hub>) {
    let mut done: HashSet<NodeId> = HashSet::new();
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let wanted = hub.config().adopt.clone();
        if wanted.is_empty() || hub.epoch() == 0 || hub.fenced() {
            continue;
        }
        let views = hub.cluster.registry().views(Instant::now());
        for view in views.iter().filter(|view| wanted.contains(&view.id)) {
            let is_down = matches!(view.state, NodeState::Stale | NodeState::Gone);
            if !is_down {
                done.remove(&view.id);
                continue;
            }
            let is_dead = view.heartbeat_age_secs >= SILENCE_SECS && view.id != hub.node;
            if !is_dead || done.contains(&view.id) || !has_address_of(&hub, &view.relays) {
                continue;
            }
            match take_over(&hub, &view.id).await {
                Ok(()) => {
                    done.insert(view.id.clone());
                }
                Err(error) => {
                    tracing::warn!(node = %view.id, %error, "the node's sessions are not taken over yet");
                }
            }
        }
    }
}

/// Whether this node relays at an address of those (`address:ports`) that its host has.
fn has_address_of(hub: &Hub, relays: &[String]) -> bool {
    let theirs: Vec<IpAddr> = relays
        .iter()
        .filter_map(|relay| {
            relay
                .rsplit_once(':')?
                .0
                .trim_matches(['[', ']'])
                .parse()
                .ok()
        })
        .collect();
    let ours = hub.parts.relays.iter();
    let mut ours = ours.filter(|relay| theirs.contains(&relay.external));
    ours.any(|relay| interfaces::has(relay.local))
}

async fn take_over(hub: &Arc<Hub>, node: &NodeId) -> Result<(), StoreError> {
    let (adopted, records) = hub.noted(claim(&*hub.store, node).await)?;
    let shared = share_out(records, hub.workers.count());
    hub.restoring.expect(shared.workers.len(), adopted);
    for (number, restore) in shared.workers.into_iter().enumerate() {
        while !hub
            .workers
            .restore(WorkerId(number as u16), restore.clone())
        {
            tokio::select! {
                () = hub.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
    Ok(())
}

/// Writes sessions that go on here under this node, then removes them from the other: in this order,
/// so that whatever dies in between, they are somewhere.
pub(super) fn settle(hub: &Arc<Hub>, node: NodeId, epoch: u64, sessions: Vec<SessionId>) {
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let count = sessions.len();
        let text = format!("{}: {count} sessions of {node} go on here", hub.node);
        hub.event(EventKind::NodeChanged, Severity::Notice, text);
        tracing::info!(%node, count, "sessions of another node are taken over");
        for chunk in sessions.chunks(CHUNK) {
            while let Err(error) = hand_over(&hub, &node, epoch, chunk).await {
                if matches!(error, StoreError::Fenced { .. }) {
                    tracing::warn!(%node, "the node is back: its records are its own");
                    return;
                }
                tokio::select! {
                    () = hub.cancel.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    });
}

async fn hand_over(
    hub: &Hub,
    node: &NodeId,
    epoch: u64,
    sessions: &[SessionId],
) -> Result<(), StoreError> {
    if hub.epoch() == 0 {
        return Err(StoreError::Unavailable("no start is counted".to_owned()));
    }
    mirror::write_now(hub, sessions).await?;
    let removed = hub.store.flush_sessions(node, epoch, &[], sessions);
    hub.noted(removed.await)
}
