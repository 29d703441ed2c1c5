//! What a node keeps so that another process can take over from it, and what a start takes over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shared::NodeId;

use super::Node;
use super::pid_file::PidFile;
use crate::admin::PassedOn;
use crate::config::Config;
use crate::control::{ControlParts, NodeQuota, Prepared, RunningWorkers, publish_quota};
use crate::store::Store;
use crate::succession::{
    Bequest, Door, Elder, ElderParts, Farewell, Heir, Household, Inherited, Kept, Knock, Listeners,
    Supervisor,
};
use crate::worker::Frozen;

/// How long a store may stay another process's, which is about to give it up.
const CLAIM: Duration = Duration::from_secs(5);
/// Between tries to claim it.
const CLAIM_RETRY: Duration = Duration::from_millis(50);

/// What a node needs to pass everything on, and to go on with what cannot move.
#[derive(Debug)]
pub(super) struct Passing {
    door: Door,
    household: Arc<Household>,
    parts: ControlParts,
    quota: Arc<NodeQuota>,
    workers: Arc<RunningWorkers>,
    socket: PassedOn,
}

impl Passing {
    /// Opens the door.
    pub(super) fn open(
        parts: ControlParts,
        quota: Arc<NodeQuota>,
        workers: Arc<RunningWorkers>,
        listeners: Listeners,
        socket: PassedOn,
        pid_file: Option<&PidFile>,
    ) -> anyhow::Result<Self> {
        let household = Arc::new(Household {
            node: parts.node.clone(),
            workers: parts.config.workers,
            bases: vec![parts.session_base],
            listeners,
            pid_file: pid_file.map(PidFile::copy).transpose()?,
        });
        let door = Door::open(&parts.config.state_dir, Arc::clone(&household))
            .context("the socket for the process that takes over cannot be made")?;
        Ok(Self {
            door,
            household,
            parts,
            quota,
            workers,
            socket,
        })
    }
}

impl Node {
    /// The next process that is ready to take over.
    pub(super) async fn knock(&mut self) -> Knock {
        match &mut self.passing {
            Some(passing) => passing.door.knock().await,
            None => std::future::pending().await,
        }
    }

    /// Passes on what can move; everything goes on here where that fails.
    ///
    /// # Errors
    /// Why nothing was passed on.
    pub(super) async fn hand_over(&self, knock: Knock) -> anyhow::Result<Farewell> {
        let passing = self.passing.as_ref().context("nothing can be passed on")?;
        let pool = Arc::clone(&passing.workers.pool);
        let given = tokio::task::spawn_blocking(move || knock.hand_over(&pool));
        Ok(given.await??)
    }

    /// Leaves what can be left with the supervisor, for the start after this stop. The workers stand
    /// still from then on.
    ///
    /// # Errors
    /// Why it is not left; the store has the sessions.
    pub(super) async fn leave(&self, supervisor: &Supervisor) -> anyhow::Result<Frozen> {
        let passing = self.passing.as_ref().context("nothing can be left")?;
        let pool = Arc::clone(&passing.workers.pool);
        let frozen = tokio::task::spawn_blocking(move || pool.freeze()).await??;
        Kept::leave(supervisor, &passing.household, &frozen)?;
        passing.socket.set();
        Ok(frozen)
    }

    /// Goes on with what could not move, under another name, once the other process serves.
    ///
    /// # Errors
    /// What cannot be gone on with, which ends here.
    pub(super) async fn retire(self, farewell: Farewell) -> anyhow::Result<Elder> {
        let passing = self.passing.context("nothing was passed on")?;
        passing.socket.set();
        let epoch = self.control.epoch();
        self.cancel.cancel();
        let news = self.control.released().await?;
        // First: the other process counts as soon as the store is its own.
        publish_quota(&*passing.parts.store, &passing.quota).await;
        passing.parts.store.share();
        farewell.say();
        let elder = Elder::begin(ElderParts {
            parts: passing.parts,
            epoch,
            workers: passing.workers,
            news,
            quota: passing.quota,
            threads: self.threads,
        })
        .await;
        Ok(elder)
    }
}

/// Takes the listeners of the process that runs; its number of workers comes along, since listeners are
/// groups of that size.
pub(super) fn take_listeners(
    heir: &mut Heir,
    node: &NodeId,
    config: &mut Config,
) -> anyhow::Result<Inherited> {
    anyhow::ensure!(
        heir.node() == node,
        "the process that runs is node {}, and this would be {node}: give it the same node_id",
        heir.node()
    );
    keep_workers(config, heir.workers());
    Ok(heir.inherited())
}

/// The listeners that the process before this one left with the supervisor, where they are this node's.
pub(super) fn find_listeners(
    kept: Option<Kept>,
    node: &NodeId,
    config: &mut Config,
) -> (Inherited, Option<Kept>) {
    let Some(mut kept) = kept else {
        return (Inherited::default(), None);
    };
    if kept.node() != node {
        tracing::warn!(left_by = %kept.node(), "The supervisor has sockets of another node; they are closed.");
        return (Inherited::default(), None);
    }
    keep_workers(config, kept.workers());
    (std::mem::take(&mut kept.inherited), Some(kept))
}

fn keep_workers(config: &mut Config, workers: u16) {
    if config.workers != workers {
        tracing::warn!(
            workers,
            wanted = config.workers,
            "The number of workers stays as it was: stop the node and start it to change it."
        );
        config.workers = workers;
    }
}

/// Takes sessions and connections over, once all else is prepared.
pub(super) fn take(heir: &mut Heir, prepared: &Prepared) -> anyhow::Result<Bequest> {
    anyhow::ensure!(
        prepared.is_whole(),
        "the store is out of reach, and sessions of realms that only it knows would end: the process \
         that runs goes on; try again when the store answers"
    );
    tokio::task::block_in_place(|| heir.take()).context("nothing was passed on")
}

/// Says that this process serves, and waits until the other one writes nothing as this node any more.
pub(super) async fn serving(heir: Heir, store: &dyn Store) {
    if let Err(error) = tokio::task::block_in_place(|| heir.serving()) {
        tracing::warn!(%error, "The process that passed everything on ended without a word.");
    }
    let deadline = tokio::time::Instant::now() + CLAIM;
    while let Err(error) = store.claim().await {
        if tokio::time::Instant::now() >= deadline {
            tracing::error!(%error, "Another process does not give up the store's files.");
            return;
        }
        tokio::time::sleep(CLAIM_RETRY).await;
    }
}
