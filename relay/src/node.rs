//! A node: builds everything in order, owns it, takes it down in order.

mod addresses;
mod binding;
pub mod detach;
mod passing;
mod pid_file;
mod process;
mod rights;
mod store;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{Mode, OFlags};
use shared::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use turn_proto::ServerConfig;

use crate::beside::Coturn;
use crate::config::{Config, StoreConfig, cluster_key};
use crate::control::restore::{self, Earlier};
use crate::control::{
    ClusterKey, ControlHandle, ControlParts, NoWorkers, Prepared, Restoring, RunningWorkers,
    Service, WorkerSide, at_start, prepare,
};
use crate::listener::Listening;
use crate::store::Store;
use crate::succession::{Bequest, Heir, Kept};
use crate::telemetry::log::LogLevel;
use crate::trusted;
use crate::udp::interfaces;
use crate::worker::ports::{PortPool, Reserving};
use crate::worker::{Frozen, WorkerPool, WorkerSetup, WorkerThreads};
use addresses::{relay_addresses, urls};
use binding::{Group, Servers, bind, certificates, listener_realms};
use passing::Passing;
use pid_file::PidFile;
pub use process::run;
use store::{earlier, open_statsdb, open_store, session_base, store_addresses};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
/// The most that is read of the file with the node's id, bytes.
const MAX_ID_FILE: u64 = 1024;
/// How long tasks that are left over at the end may take.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// A running node.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    listeners: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    control: ControlHandle,
    threads: Option<WorkerThreads>,
    servers: Vec<JoinHandle<()>>,
    cancel: CancellationToken,
    passing: Option<Passing>,
    pid_file: Option<PidFile>,
}

/// What a start comes with besides its configuration.
#[derive(Debug, Default)]
struct Circumstances {
    /// The level of the process's log, if the node may change it.
    log: Option<LogLevel>,
    /// The process that runs already and passes on what it has.
    heir: Option<Heir>,
    /// What the process before this one left with the supervisor.
    kept: Option<Kept>,
    /// Whether this process may pass on what it has.
    has_door: bool,
    /// Open, but not written yet.
    pid_file: Option<PidFile>,
}

impl Node {
    /// Starts a node on the current tokio runtime. `store` is given when several nodes of one
    /// process share one; otherwise the configured store is opened.
    ///
    /// # Errors
    /// Whatever keeps the node from serving, with the remedy. A Redis out of reach does not.
    pub async fn start(config: Config, store: Option<Arc<dyn Store>>) -> anyhow::Result<Self> {
        Box::pin(Self::start_in(config, store, Circumstances::default())).await
    }

    async fn start_in(
        config: Config,
        store: Option<Arc<dyn Store>>,
        circumstances: Circumstances,
    ) -> anyhow::Result<Self> {
        let Circumstances {
            log,
            mut heir,
            kept,
            has_door,
            pid_file,
        } = circumstances;
        prepare_state_dir(&config)?;
        let id = node_id(&config)?;
        let key = cluster_key::load_or_create(&config)?;
        let store = match store {
            Some(store) => store,
            None => open_store(&config, heir.is_some())?,
        };
        let mut config = at_start(config, &*store, &id).await;
        if let Some(log) = &log {
            log.set(&config.log.level).context("log.level")?;
        }
        let (mut inherited, kept) = passing::find_listeners(kept, &id, &mut config);
        if let Some(heir) = &mut heir {
            inherited = passing::take_listeners(heir, &id, &mut config)?;
        }
        let (config, groups, servers) = bind(config, &inherited).await?;
        rights::give_up(&config)?;
        let config = Arc::new(config);
        let pool = Arc::new(port_pool(&config, &groups));
        let listeners: Vec<_> = groups.iter().map(|group| group.address).collect();
        let earlier = match &heir {
            None => earlier(&config, &*store, &id).await,
            Some(_) => Earlier::passed_on(),
        };
        let base = session_base(&earlier, |base| {
            let kept = kept.as_ref().is_some_and(|kept| kept.has_base(base));
            kept || heir.as_ref().is_some_and(|heir| heir.has_base(base))
        })?;
        let listening = Arc::new(Listening::new(&config).context("tls.certificate")?);
        let parts = ControlParts {
            config: Arc::clone(&config),
            node: id,
            elder_of: None,
            can_pass_on: has_door && config.is_relay(),
            session_base: base,
            store,
            statsdb: open_statsdb(&config)?,
            cluster_key: ClusterKey::new(key.expose().to_vec()),
            listeners,
            urls: urls(&groups, pool.addresses()),
            listener_realms: listener_realms(&groups),
            relays: pool.addresses().to_vec(),
            services: services(&config, &servers).await,
            certificates: certificates(&listening, &servers),
            log,
        };
        let ground = Ground {
            groups,
            pool,
            listening,
            earlier,
            bequest: kept.map(|kept| kept.bequest),
        };
        Self::serve(parts, servers, ground, heir, pid_file).await
    }

    /// Starts what runs, on what is bound.
    async fn serve(
        parts: ControlParts,
        servers: Servers,
        mut ground: Ground,
        mut heir: Option<Heir>,
        mut pid_file: Option<PidFile>,
    ) -> anyhow::Result<Self> {
        let (id, config) = (parts.node.clone(), Arc::clone(&parts.config));
        let prepared = prepare(parts.clone()).await;
        let copies = parts.can_pass_on.then(|| servers.copies(&ground.groups));
        let copies = copies.transpose()?;
        if let Some(heir) = &mut heir {
            ground.bequest = Some(passing::take(heir, &prepared)?);
        }
        let quota = prepared.quota();
        if heir.is_some() {
            quota.set_elder();
        }
        let (side, running) = start_workers(&config, parts.session_base, &prepared, ground)?;
        // Before the process that passed everything on ends: it removes a file that names itself.
        pid_file.iter_mut().for_each(PidFile::write);
        if let Some(heir) = heir {
            passing::serving(heir, &*parts.store).await;
        }
        let cancel = CancellationToken::new();
        let control = prepared.run(side, cancel.clone());
        let metrics = servers.metrics_address();
        let socket = servers.admin.passed_on();
        let servers = servers.serve(&control.service(), &cancel);
        control.serving();
        let listeners = parts.listeners.clone();
        tracing::info!(node = %id, ?listeners, ?metrics, workers = config.workers, "Serving.");
        let (workers, threads) = running.unzip();
        let passing = match (copies, workers) {
            (Some(copies), Some(workers)) => {
                let file = pid_file.as_ref();
                Some(Passing::open(parts, quota, workers, copies, socket, file)?)
            }
            _ => None,
        };
        Ok(Self {
            id,
            listeners,
            metrics,
            control,
            threads,
            servers,
            cancel,
            passing,
            pid_file,
        })
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The bound TURN listeners.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where `/metrics`, `/healthz` and `/readyz` listen.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What the admin API calls.
    #[must_use]
    pub fn service(&self) -> Service {
        self.control.service()
    }

    /// Writes the id of this process where the one that was to take over may have written its own.
    fn write_pid_file(&mut self) {
        self.pid_file.iter_mut().for_each(PidFile::write);
    }

    /// Stops cleanly: no new calls of the API, books written, workers ended, goodbye to the store.
    pub async fn stop(self) {
        self.stop_with(None).await;
    }

    async fn stop_with(self, frozen: Option<Frozen>) {
        self.cancel.cancel();
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::warn!(%error, "An admin server ended badly.");
            }
        }
        self.control.stopped().await;
        let stop = |threads: WorkerThreads| match frozen {
            None => threads.stop(),
            Some(frozen) => threads.stop_frozen(frozen),
        };
        if let Some(threads) = self.threads
            && tokio::task::spawn_blocking(|| stop(threads)).await.is_err()
        {
            tracing::warn!("The workers could not be awaited.");
        }
        tracing::info!(node = %self.id, "Stopped.");
    }
}

fn port_pool(config: &Config, groups: &[Group]) -> PortPool {
    PortPool::new(
        relay_addresses(config, groups),
        &config.relay_ports,
        Reserving {
            lifetime: config.reservation_lifetime,
            most: config.limits.reserved_ports,
        },
    )
}

fn prepare_state_dir(config: &Config) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)
        .with_context(|| {
            let dir = config.state_dir.display();
            format!("state_dir {dir} cannot be created: make it, or name another with --state-dir")
        })?;
    // What served before as another user may have laid links there, and root opens these files next.
    trusted::check_folder(&config.state_dir).context("state_dir")
}

/// The configured id, or the one generated at the first start and kept.
fn node_id(config: &Config) -> anyhow::Result<NodeId> {
    if let Some(id) = &config.node_id {
        return Ok(id.clone());
    }
    let file = config.state_dir.join("node-id");
    let named = || format!("{} cannot be read", file.display());
    // A named pipe in its place would keep the start waiting.
    match trusted::open(&file, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(open) => {
            let text = std::io::read_to_string(open.take(MAX_ID_FILE)).with_context(named)?;
            return text
                .trim()
                .parse()
                .with_context(|| format!("{} holds no node id", file.display()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(named),
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).context("the operating system has no randomness")?;
    let id: NodeId = format!("node-{:08x}", u32::from_be_bytes(random)).parse()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    trusted::open(&file, flags, mode)
        .and_then(|mut open| writeln!(open, "{id}"))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(id)
}

/// Endpoints of this node that no peer may be: admin, metrics, store.
async fn services(config: &Config, servers: &Servers) -> Vec<SocketAddr> {
    let mut services = Vec::new();
    let own = [servers.admin.tcp_address(), servers.metrics_address()];
    for address in own.into_iter().flatten() {
        services.push(address);
        // At the wildcard address it is reached at every address of this host.
        match interfaces::every(address) {
            Ok(addresses) => services.extend(addresses),
            Err(error) => tracing::warn!(%error, %address, "This host's addresses are not known."),
        }
    }
    if let StoreConfig::Redis(redis) = &config.store {
        services.extend(store_addresses(redis).await);
    }
    if let Some(redis) = &config.statsdb {
        services.extend(store_addresses(redis).await);
    }
    services
}

/// What workers stand on.
struct Ground {
    groups: Vec<Group>,
    pool: Arc<PortPool>,
    listening: Arc<Listening>,
    /// Sessions of an earlier start.
    earlier: Earlier,
    /// What the process before this one passed on.
    bequest: Option<Bequest>,
}

type Running = (Arc<RunningWorkers>, WorkerThreads);

fn start_workers(
    config: &Config,
    session_base: u32,
    prepared: &Prepared,
    ground: Ground,
) -> anyhow::Result<(WorkerSide, Option<Running>)> {
    if !config.is_relay() {
        return Ok((without_workers(config, session_base), None));
    }
    let Ground {
        groups,
        pool: ports,
        listening,
        earlier,
        bequest,
    } = ground;
    // A realm that is not known yet is not one that is gone: its sessions come back later.
    let (earlier, bequest) = match (prepared.is_whole(), bequest) {
        (true, bequest) => (earlier, bequest),
        (false, _) => (earlier.unread(), None),
    };
    let is_left = bequest.is_some();
    // What was passed on says it all.
    let (epoch, is_read) = (earlier.epoch, earlier.is_read || is_left);
    let ids = earlier.records.iter().map(|record| record.id);
    let told = (earlier.is_read && !is_left).then(|| ids.collect());
    let (shared, inheritance) = match bequest {
        None => (
            restore::share_out(earlier.records, config.workers),
            Vec::new(),
        ),
        Some(bequest) => {
            ports.inherit(bequest.relays);
            let shared = restore::share_bequest(bequest.records, config.workers);
            (shared, bequest.inheritance)
        }
    };
    let setup = WorkerSetup {
        server: config.limits.apply_at_start(ServerConfig {
            session_base,
            ..ServerConfig::default()
        }),
        policy: prepared.policy(),
        quota: prepared.quota(),
        ports: Arc::clone(&ports),
        listeners: groups.into_iter().map(|g| g.sockets).collect(),
        listening: Arc::clone(&listening),
        restore: shared.workers,
        inheritance,
    };
    let (pool, threads, news) =
        WorkerPool::start(config.workers, setup).context("the workers cannot be started")?;
    let workers = Arc::new(RunningWorkers {
        pool,
        ports,
        listening,
    });
    let side = WorkerSide {
        workers: Arc::clone(&workers) as _,
        news,
        restoring: Restoring {
            epoch,
            workers: config.workers,
            is_unread: !is_read,
            told,
            refused: shared.refused,
            adopted: earlier.adopted,
        },
    };
    Ok((side, Some((workers, threads))))
}

/// What stands in the place of workers on a node that relays nothing.
fn without_workers(config: &Config, session_base: u32) -> WorkerSide {
    if config.beside.enabled {
        let (coturn, news) = Coturn::start(&config.beside, &config.default_realm, session_base);
        let coturn = Some(coturn);
        return WorkerSide {
            workers: Arc::new(NoWorkers { coturn }),
            news,
            restoring: Restoring::default(),
        };
    }
    // Nothing ever sends: the channel is closed from the start.
    let (_, news) = mpsc::channel(1);
    WorkerSide {
        workers: Arc::new(NoWorkers::default()),
        news,
        restoring: Restoring::default(),
    }
}
