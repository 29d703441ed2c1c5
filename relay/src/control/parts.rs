//! How the control plane starts and stops.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::{NodeId, Realm};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turn_proto::policy::Policy;

use crate::config::Config;
use crate::control::certificates::WatchedCertificates;
use crate::control::clock::Moment;
use crate::control::drain::NodeDrain;
use crate::control::hub::{Hub, HubParts};
use crate::control::keys::ClusterKey;
use crate::control::local::Local;
use crate::control::policy::PolicyKeeper;
use crate::control::quota::NodeQuota;
use crate::control::restore::Restoring;
use crate::control::workers::Workers;
use crate::control::{
    alerts, bans, certificates, cluster, credentials, documents, drain, history, memory, mirror,
    pump, quota, recorder, redirects, restore, revocation, running_users, service, settings,
    tokens,
};
use crate::store::{Store, StoreError};
use crate::telemetry::log::LogLevel;
use crate::worker::News;
use crate::worker::ports::RelayAddress;

/// How long a start waits for the store before it goes on with the realms of the config file.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a stop may take to write down what is left.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the control plane needs before the workers start.
#[derive(Clone, Debug)]
pub struct ControlParts {
    /// The configuration.
    pub config: Arc<Config>,
    /// This node's id.
    pub node: NodeId,
    /// The node whose former process this is; mostly nobody's.
    pub elder_of: Option<NodeId>,
    /// Whether another process may take over from this one.
    pub can_pass_on: bool,
    /// The upper half of this start's session ids, drawn at random by the caller.
    pub session_base: u32,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The cluster's key.
    pub cluster_key: ClusterKey,
    /// The bound TURN listeners, wildcards expanded.
    pub listeners: Vec<SocketAddr>,
    /// Where clients reach them, as URIs, each with the realm of its listener where that has one of its own.
    pub urls: Vec<(String, Option<Realm>)>,
    /// Listeners that have a realm of their own.
    pub listener_realms: HashMap<SocketAddr, Realm>,
    /// Where this node relays, on the ports of the configuration.
    pub relays: Vec<RelayAddress>,
    /// Admin, metrics and store endpoints: no peer may be one of them. Listeners are added by
    /// the control plane.
    pub services: Vec<SocketAddr>,
    /// Certificates of listeners, to be read again when they change.
    pub certificates: Vec<WatchedCertificates>,
    /// The level of the process's log, if this node may change it.
    pub log: Option<LogLevel>,
}

/// The workers' side, once they run.
#[derive(Debug)]
pub struct WorkerSide {
    /// Takes commands: [`RunningWorkers`](super::RunningWorkers), or
    /// [`NoWorkers`](super::NoWorkers) on a pure gateway.
    pub workers: Arc<dyn Workers>,
    /// What the workers have to say.
    pub news: News,
    /// Sessions of an earlier start that they take up.
    pub restoring: Restoring,
}

/// A control plane whose first policy is ready.
#[derive(Debug)]
pub struct Prepared {
    parts: ControlParts,
    keeper: PolicyKeeper,
    quota: Arc<NodeQuota>,
    local: Local,
    drain: NodeDrain,
    store_answered: bool,
}

/// Builds the first policy: from the config file and, when the store answers within two seconds,
/// from the store. A store that is away delays nothing and breaks nothing: its realms join when it
/// comes back.
pub async fn prepare(parts: ControlParts) -> Prepared {
    let keeper = PolicyKeeper::new(&parts);
    let read = async {
        keeper.read_store(&*parts.store).await?;
        // A peer may be a relay of another node: sessions that go on must not wait for the first
        // look at the registry.
        let nodes = parts.store.nodes().await?;
        let others = nodes.iter().map(|(node, _)| node);
        let (relays, listeners) = cluster::registry::endpoints(others, &parts.node);
        keeper.set_others(relays, listeners);
        Ok::<_, StoreError>(())
    };
    let failure = match tokio::time::timeout(STORE_PATIENCE, read).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", STORE_PATIENCE.as_secs())),
    };
    if let Some(reason) = &failure {
        tracing::warn!(
            reason,
            "the store is out of reach: serving with the realms of the config file until it answers"
        );
    }
    let drain = NodeDrain::at_start(&parts, failure.is_none()).await;
    keeper.set_drain(drain.mode());
    let local = match parts.elder_of {
        None => Local::read(&parts.config.state_dir, Moment::now().unix_ms),
        Some(_) => Local::default(),
    };
    keeper.set_bans(local.nets());
    for block in &local.blocks {
        keeper.block_locally(block.clone());
    }
    keeper.rebuild();
    let quota = Arc::new(NodeQuota::of(&parts));
    Prepared {
        local,
        drain,
        parts,
        keeper,
        quota,
        store_answered: failure.is_none(),
    }
}

impl Prepared {
    /// The policy to start the workers with.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.keeper.current()
    }

    /// Counts in a quota that workers have already.
    #[must_use]
    pub fn with_quota(self, quota: Arc<NodeQuota>) -> Self {
        Self { quota, ..self }
    }

    /// Whether the policy has what the store knows.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.store_answered
    }

    /// The quota that all workers share.
    #[must_use]
    pub fn quota(&self) -> Arc<NodeQuota> {
        Arc::clone(&self.quota)
    }

    /// Starts the control plane's tasks on the current tokio runtime. They end after `cancel`:
    /// await [`ControlHandle::stopped`] then. The workers must still run while this happens, so
    /// that the last events are written down.
    #[must_use]
    pub fn run(self, side: WorkerSide, cancel: CancellationToken) -> ControlHandle {
        let hub = Hub::new(HubParts {
            parts: self.parts,
            keeper: self.keeper,
            quota: self.quota,
            local: self.local,
            drain: self.drain,
            workers: side.workers,
            restoring: side.restoring,
            store_answered: self.store_answered,
            cancel: cancel.clone(),
        });
        hub.tokens.load();
        let tasks = TaskTracker::new();
        let news = tasks.spawn(pump::run(Arc::clone(&hub), side.news));
        tasks.spawn(credentials::watch_changes(Arc::clone(&hub)));
        tasks.spawn(crate::control::policy::keep_current(Arc::clone(&hub)));
        tasks.spawn(cluster::heartbeat::run(Arc::clone(&hub)));
        tasks.spawn(cluster::mailbox::serve(Arc::clone(&hub)));
        tasks.spawn(cluster::mailbox::collect_replies(Arc::clone(&hub)));
        tasks.spawn(history::sample(Arc::clone(&hub)));
        tasks.spawn(history::watch(Arc::clone(&hub)));
        tasks.spawn(recorder::run(Arc::clone(&hub)));
        tasks.spawn(mirror::run(Arc::clone(&hub)));
        tasks.spawn(restore::late(Arc::clone(&hub)));
        tasks.spawn(restore::watch(Arc::clone(&hub)));
        tasks.spawn(memory::run(Arc::clone(&hub)));
        tasks.spawn(documents::keep_current(Arc::clone(&hub)));
        tasks.spawn(redirects::keep_current(Arc::clone(&hub)));
        tasks.spawn(redirects::run_probes(Arc::clone(&hub)));
        tasks.spawn(drain::run(Arc::clone(&hub)));
        tasks.spawn(alerts::run(Arc::clone(&hub)));
        tasks.spawn(settings::keep_current(Arc::clone(&hub)));
        tasks.spawn(tokens::keep_current(Arc::clone(&hub)));
        tasks.spawn(running_users::keep_current(Arc::clone(&hub)));
        tasks.spawn(bans::keep_current(Arc::clone(&hub)));
        tasks.spawn(quota::run(Arc::clone(&hub)));
        tasks.spawn(quota::share(Arc::clone(&hub)));
        tasks.spawn(revocation::run(Arc::clone(&hub)));
        tasks.spawn(certificates::watch(Arc::clone(&hub)));
        tasks.close();
        ControlHandle { hub, tasks, news }
    }
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlHandle {
    hub: Arc<Hub>,
    tasks: TaskTracker,
    news: JoinHandle<News>,
}

impl ControlHandle {
    /// What the admin API calls.
    #[must_use]
    pub fn service(&self) -> service::Service {
        service::Service::new(Arc::clone(&self.hub))
    }

    /// Marks the node as ready for clients: its listeners are open.
    pub fn serving(&self) {
        self.hub.set_serving();
    }

    /// The number of this start; 0: the store has not told it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.hub.epoch()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.hub.books().ids().count()
    }

    /// Waits until the tasks have ended, without a word to the store: another process is this node
    /// from now on. Answers where news of the workers come.
    ///
    /// # Errors
    /// When the task that took them broke.
    pub async fn released(self) -> Result<News, JoinError> {
        self.hub.cancel.cancelled().await;
        if tokio::time::timeout(FAREWELL, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("something of the control plane does not end");
        }
        self.news.await
    }

    /// As [`stopped`](Self::stopped), and takes the node out of the registry.
    pub async fn forgotten(self) {
        let (store, node) = (Arc::clone(&self.hub.store), self.hub.node.clone());
        self.stopped().await;
        let forgotten = tokio::time::timeout(FAREWELL, store.remove_node(&node)).await;
        if !matches!(forgotten, Ok(Ok(_))) {
            tracing::debug!(%node, "the registry keeps this generation for a day");
        }
    }

    /// Waits until the tasks have ended, then says goodbye to the store: the node is marked gone,
    /// what is queued is written. At most three seconds.
    pub async fn stopped(self) {
        self.hub.cancel.cancelled().await;
        let farewell = async {
            self.tasks.wait().await;
            recorder::flush(&self.hub).await;
            mirror::farewell(&self.hub).await;
            cluster::heartbeat::farewell(&self.hub).await;
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the store did not take the last words of this node in time");
        }
    }
}
