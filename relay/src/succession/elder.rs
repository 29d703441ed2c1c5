//! The process that passed everything on: it keeps what cannot move, until that ends.
//!
//! It is a node of its own in the registry, named after its generation, so that all that operators do
//! reaches its sessions as it reaches those of any node: lists, kills, bans, edits of realms.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::NodeId;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use turn_proto::server::Command;

use crate::config::Config;
use crate::control::{
    ControlHandle, ControlParts, NodeQuota, Restoring, RunningWorkers, WorkerSide, Workers as _,
    prepare,
};
use crate::worker::{News, WorkerThreads};

/// How often is looked whether anything is left.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long clients without a session may still make one: their handshake was under way.
const GRACE: Duration = Duration::from_secs(10);

/// What it goes on with.
#[derive(Debug)]
pub struct ElderParts {
    /// Of the control plane, as they were.
    pub parts: ControlParts,
    /// The number of its start.
    pub epoch: u64,
    /// Its workers, which have let go of what moved.
    pub workers: Arc<RunningWorkers>,
    /// Their news.
    pub news: News,
    /// The quota that they count in.
    pub quota: Arc<NodeQuota>,
    /// Their threads.
    pub threads: Option<WorkerThreads>,
}

/// The process before the one that serves.
#[derive(Debug)]
pub struct Elder {
    id: NodeId,
    control: ControlHandle,
    workers: Arc<RunningWorkers>,
    threads: Option<WorkerThreads>,
    cancel: CancellationToken,
    deadline: Instant,
    /// Its own directory in that of the node.
    folder: PathBuf,
}

impl Elder {
    /// Goes on under another name.
    pub async fn begin(made: ElderParts) -> Self {
        let ElderParts {
            parts,
            epoch,
            workers,
            news,
            quota,
            threads,
        } = made;
        let id = name(&parts.node, epoch);
        let config = parts.config.as_ref();
        let deadline = Instant::now() + config.upgrade_deadline;
        let state_dir = config.state_dir.join(id.as_str());
        // What it would keep there is worth less than its calls.
        if let Err(error) = std::fs::create_dir_all(&state_dir) {
            tracing::warn!(%error, path = %state_dir.display(), "Nothing of this generation is kept on disk.");
        }
        let folder = state_dir.clone();
        let config = Arc::new(Config {
            state_dir,
            ..config.clone()
        });
        let prepared = prepare(ControlParts {
            config,
            elder_of: Some(parts.node.clone()),
            can_pass_on: false,
            node: id.clone(),
            // New clients come to the other process.
            urls: Vec::new(),
            log: None,
            certificates: Vec::new(),
            ..parts
        })
        .await
        .with_quota(quota);
        // Realms that the store did not tell just now are not gone: the workers go on with what they have.
        let policy = prepared.is_whole().then(|| prepared.policy());
        let cancel = CancellationToken::new();
        let side = WorkerSide {
            workers: Arc::clone(&workers) as _,
            news,
            restoring: Restoring::default(),
        };
        let control = prepared.run(side, cancel.clone());
        if let Some(policy) = policy {
            workers.broadcast(&|| Command::SetPolicy(Arc::clone(&policy)));
        }
        workers.broadcast(&|| Command::Snapshot);
        control.serving();
        tracing::info!(node = %id, "What cannot move goes on here until it ends.");
        Self {
            id,
            control,
            workers,
            threads,
            cancel,
            deadline,
            folder,
        }
    }

    /// Waits until nothing is left, the deadline comes, or a signal does; then ends all that there is.
    ///
    /// # Errors
    /// When signals cannot be heard.
    pub async fn live(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut interval = tokio::time::interval(INTERVAL);
        let mut idle_since = Instant::now();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = interval.tick() => {}
            }
            let connections = self.workers.connections();
            let dtls = connections.dtls.open + connections.dtls.half_open;
            let clients = connections.tls + connections.pending + dtls;
            if self.control.sessions() > 0 {
                idle_since = Instant::now();
            } else if clients == 0 || idle_since.elapsed() > GRACE {
                break;
            }
            if Instant::now() >= self.deadline {
                tracing::warn!(
                    sessions = self.control.sessions(),
                    "The deadline of this generation has come: what is left ends."
                );
                break;
            }
        }
        self.end().await;
        Ok(())
    }

    async fn end(self) {
        self.cancel.cancel();
        self.control.forgotten().await;
        if let Some(threads) = self.threads {
            let stopped = tokio::task::spawn_blocking(|| threads.stop()).await;
            if stopped.is_err() {
                tracing::warn!("The workers could not be awaited.");
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, path = %self.folder.display(), "A directory stays behind.");
        }
        tracing::info!(node = %self.id, "This generation has ended.");
    }
}

/// The name of a generation: that of the node, and the number of its start.
fn name(node: &NodeId, epoch: u64) -> NodeId {
    let suffix = format!(".g{epoch}");
    let kept = node.as_str().len().min(NodeId::MAX_LEN - suffix.len());
    format!("{}{suffix}", &node.as_str()[..kept])
        .parse()
        .unwrap_or_else(|_| node.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_has_the_name_of_its_node_and_its_number() {
        let node = "ams1".parse().unwrap();
        assert_eq!(name(&node, 12).as_str(), "ams1.g12");
        let long: NodeId = "x".repeat(63).parse().unwrap();
        let named = name(&long, 3);
        assert_eq!(named.as_str().len(), 63);
        assert!(named.as_str().ends_with("x.g3"));
    }
}
