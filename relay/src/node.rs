//! A node: builds everything in order, owns it, takes it down in order.

mod addresses;
mod store;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shared::{NodeId, Realm, Transport};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use turn_proto::ServerConfig;

use crate::config::{Args, Config, ListenerConfig, StoreConfig, cluster_key};
use crate::control::restore::{self, Earlier};
use crate::control::{
    ClusterKey, ControlHandle, ControlParts, NoWorkers, Prepared, Restoring, RunningWorkers,
    Service, WatchedCertificates, WorkerSide, at_start, prepare,
};
use crate::listener::{ListenerGroup, Listening, nat_discovery};
use crate::store::Store;
use crate::telemetry::log::{Log, LogLevel};
use crate::udp::interfaces;
use crate::worker::ports::{PortPool, Reserving};
use crate::worker::{WorkerPool, WorkerSetup, WorkerThreads};
use crate::{admin, telemetry};
use addresses::{relay_addresses, urls};
use store::{earlier, open_store, session_base, store_addresses};
use turn_udp::sys;

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
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
}

/// A listener that is bound.
struct Group {
    address: SocketAddr,
    realm: Option<Realm>,
    sockets: ListenerGroup,
    /// What clients may be told to speak there; nothing behind a proxy, and on a second port for
    /// NAT behaviour discovery.
    offered: Vec<Transport>,
}

impl Node {
    /// Starts a node on the current tokio runtime. `store` is given when several nodes of one
    /// process share one; otherwise the configured store is opened.
    ///
    /// # Errors
    /// Whatever keeps the node from serving, with the remedy. A Redis out of reach does not.
    pub async fn start(config: Config, store: Option<Arc<dyn Store>>) -> anyhow::Result<Self> {
        Self::start_with_log(config, store, None).await
    }

    /// Like [`start`](Self::start), for the node that may change the level of the process's log.
    async fn start_with_log(
        config: Config,
        store: Option<Arc<dyn Store>>,
        log: Option<LogLevel>,
    ) -> anyhow::Result<Self> {
        prepare_state_dir(&config)?;
        let id = node_id(&config)?;
        let key = cluster_key::load_or_create(&config)?;
        let store = match store {
            Some(store) => store,
            None => open_store(&config)?,
        };
        let config = at_start(config, &*store, &id).await;
        if let Some(log) = &log {
            log.set(&config.log.level).context("log.level")?;
        }
        let (config, groups, servers) = bind(config).await?;
        let config = Arc::new(config);
        let pool = PortPool::new(
            relay_addresses(&config, &groups),
            &config.relay_ports,
            Reserving {
                lifetime: config.reservation_lifetime,
                most: config.limits.reserved_ports,
            },
        );
        let pool = Arc::new(pool);
        let listeners: Vec<_> = groups.iter().map(|group| group.address).collect();
        let earlier = earlier(&config, &*store, &id).await;
        let session_base = session_base(&earlier)?;
        let listening = Arc::new(Listening::new(&config).context("tls.certificate")?);
        let prepared = prepare(ControlParts {
            config: Arc::clone(&config),
            node: id.clone(),
            session_base,
            store,
            cluster_key: ClusterKey::new(key.expose().to_vec()),
            listeners: listeners.clone(),
            urls: urls(&groups, pool.addresses()),
            listener_realms: listener_realms(&groups),
            relays: pool.addresses().to_vec(),
            services: services(&config, &servers).await,
            certificates: certificates(&listening, &servers),
            log,
        })
        .await;
        let (side, threads) = start_workers(
            &config,
            session_base,
            &prepared,
            groups,
            pool,
            listening,
            earlier,
        )?;
        let cancel = CancellationToken::new();
        let control = prepared.run(side, cancel.clone());
        let metrics = servers.metrics_address();
        let servers = servers.serve(&control.service(), &cancel);
        control.serving();
        tracing::info!(node = %id, ?listeners, ?metrics, workers = config.workers, "Serving.");
        Ok(Self {
            id,
            listeners,
            metrics,
            control,
            threads,
            servers,
            cancel,
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

    /// Stops cleanly: no new calls of the API, books written, workers ended, goodbye to the store.
    pub async fn stop(self) {
        self.cancel.cancel();
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::warn!(%error, "An admin server ended badly.");
            }
        }
        self.control.stopped().await;
        if let Some(threads) = self.threads
            && tokio::task::spawn_blocking(|| threads.stop())
                .await
                .is_err()
        {
            tracing::warn!("The workers could not be awaited.");
        }
        tracing::info!(node = %self.id, "Stopped.");
    }
}

/// The HTTP servers of a node, bound before anything runs: a taken address fails the start.
struct Servers {
    admin: admin::Bound,
    metrics: Option<telemetry::health::Bound>,
}

impl Servers {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let admin = admin::bind(&config.admin).await?;
        let metrics = match config.metrics {
            Some(address) => Some(telemetry::health::bind(address).await.with_context(|| {
                format!("metrics.listen {address}: end what uses it, or name another")
            })?),
            None => None,
        };
        Ok(Self { admin, metrics })
    }

    fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(telemetry::health::Bound::address)
    }

    fn serve(self, service: &Service, cancel: &CancellationToken) -> Vec<JoinHandle<()>> {
        let mut tasks = vec![tokio::spawn(
            self.admin.serve(service.clone(), cancel.clone()),
        )];
        if let Some(metrics) = self.metrics {
            tasks.push(tokio::spawn(metrics.serve(service.clone(), cancel.clone())));
        }
        tasks
    }
}

/// What is read again when its files change.
fn certificates(listening: &Listening, servers: &Servers) -> Vec<WatchedCertificates> {
    let clients = listening.tls.certificates().map(Arc::clone);
    [("tls", clients), ("admin", servers.admin.certificates())]
        .into_iter()
        .filter_map(|(purpose, certificates)| {
            let certificates = certificates?;
            Some(WatchedCertificates {
                purpose,
                certificates,
            })
        })
        .collect()
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
        })
}

/// The configured id, or the one generated at the first start and kept.
fn node_id(config: &Config) -> anyhow::Result<NodeId> {
    if let Some(id) = &config.node_id {
        return Ok(id.clone());
    }
    let file = config.state_dir.join("node-id");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return text
            .trim()
            .parse()
            .with_context(|| format!("{} holds no node id", file.display()));
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).context("the operating system has no randomness")?;
    let id: NodeId = format!("node-{:08x}", u32::from_be_bytes(random)).parse()?;
    std::fs::write(&file, format!("{id}\n"))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(id)
}

/// Binds what is served. An override of the store that nothing can be bound with would keep the node
/// down, and with it the API that could take the override back: the node starts without it then.
async fn bind(config: Config) -> anyhow::Result<(Config, Vec<Group>, Servers)> {
    let error = match bind_all(&config).await {
        Ok((groups, servers)) => match unusable_relay(&config, &groups) {
            None => return Ok((config, groups, servers)),
            Some(error) if config.without_overrides_of_starts().is_some() => error,
            // As the file says: an address that may come up later.
            Some(_) => return Ok((config, groups, servers)),
        },
        Err(error) => error,
    };
    let Some(without) = config.without_overrides_of_starts() else {
        return Err(error);
    };
    let error = format!("{error:#}");
    tracing::error!(
        error,
        "the store's overrides cannot be used; starting without those that apply at a start"
    );
    let (groups, servers) = bind_all(&without).await?;
    Ok((without, groups, servers))
}

async fn bind_all(config: &Config) -> anyhow::Result<(Vec<Group>, Servers)> {
    Ok((bind_listeners(config)?, Servers::bind(config).await?))
}

/// Why no session could relay from one of the addresses.
fn unusable_relay(config: &Config, groups: &[Group]) -> Option<anyhow::Error> {
    let relays = relay_addresses(config, groups).into_iter();
    relays.map(|relay| relay.local).find_map(|local| {
        let error = std::net::UdpSocket::bind((local, 0)).err()?;
        Some(anyhow::Error::new(error).context(format!("cannot relay from {local}")))
    })
}

/// Binds every listener before anything is served: the group of sockets behind an address never
/// changes size afterwards.
fn bind_listeners(config: &Config) -> anyhow::Result<Vec<Group>> {
    let mut groups = Vec::new();
    for (listener, address) in wanted_listeners(config)? {
        let sockets =
            ListenerGroup::bind(listener, address, config.workers).with_context(|| {
                format!("cannot listen on {address}: end what uses it, or change `listen`")
            })?;
        groups.push(Group {
            address: sockets.address,
            realm: listener.realm.clone(),
            offered: offered(listener, address),
            sockets,
        });
    }
    anyhow::ensure!(
        !groups.is_empty() || !config.is_relay(),
        "no address to listen on: the host has none of the families that `listen` names"
    );
    Ok(groups)
}

/// What is to be listened on: wildcards expanded, second ports for NAT behaviour discovery added.
fn wanted_listeners(config: &Config) -> anyhow::Result<Vec<(&ListenerConfig, SocketAddr)>> {
    let mut wanted = Vec::new();
    for listener in config.listeners.iter().filter(|_| config.is_relay()) {
        let addresses = interfaces::expand(listener.address)?;
        wanted.extend(addresses.into_iter().map(|address| (listener, address)));
    }
    let usage = &config.nat_discovery;
    if usage.enabled && config.is_relay() {
        let udp = |(listener, _): &&(&ListenerConfig, _)| listener.serves_udp();
        let addresses: Vec<_> = wanted.iter().filter(udp).map(|one| one.1).collect();
        let alternates = nat_discovery::alternates(&addresses, usage);
        if alternates.is_empty() && nat_discovery::others(&addresses, usage).is_empty() {
            tracing::warn!(
                "rfc5780 is on, but no two listeners have port {} on addresses of one family: \
                 CHANGE-REQUEST is refused.",
                usage.first_port
            );
        }
        for (like, alternate) in alternates {
            if let Some((listener, _)) = wanted.iter().find(|(_, address)| *address == like) {
                wanted.push((*listener, alternate));
            }
        }
    }
    Ok(wanted)
}

/// What clients may be told to speak at `address`, where `listener` is bound.
fn offered(listener: &ListenerConfig, address: SocketAddr) -> Vec<Transport> {
    let configured = listener.address.port();
    let second_port = configured != 0 && configured != address.port();
    if second_port || !listener.proxy_from.is_empty() {
        return Vec::new();
    }
    listener.transports.clone()
}

fn listener_realms(groups: &[Group]) -> HashMap<SocketAddr, Realm> {
    groups
        .iter()
        .filter_map(|g| Some((g.address, g.realm.clone()?)))
        .collect()
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
    services
}

fn start_workers(
    config: &Config,
    session_base: u32,
    prepared: &Prepared,
    groups: Vec<Group>,
    ports: Arc<PortPool>,
    listening: Arc<Listening>,
    earlier: Earlier,
) -> anyhow::Result<(WorkerSide, Option<WorkerThreads>)> {
    if !config.is_relay() {
        // Nothing ever sends: the channel is closed from the start.
        let (_, news) = mpsc::channel(1);
        return Ok((
            WorkerSide {
                workers: Arc::new(NoWorkers),
                news,
                restoring: Restoring::default(),
            },
            None,
        ));
    }
    // A realm that is not known yet is not one that is gone: its sessions come back later.
    let earlier = match prepared.is_whole() {
        true => earlier,
        false => earlier.unread(),
    };
    let (epoch, is_read) = (earlier.epoch, earlier.is_read);
    let shared = restore::share_out(earlier.records, config.workers);
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
    };
    let (pool, threads, news) =
        WorkerPool::start(config.workers, setup).context("the workers cannot be started")?;
    let workers = Arc::new(RunningWorkers {
        pool,
        ports,
        listening,
    });
    let side = WorkerSide {
        workers,
        news,
        restoring: Restoring {
            epoch,
            workers: config.workers,
            is_unread: !is_read,
            refused: shared.refused,
            adopted: earlier.adopted,
        },
    };
    Ok((side, Some(threads)))
}

/// Runs the node of `config` until SIGTERM or SIGINT; a second one ends it at once. SIGHUP loads
/// the configuration again as `args` say and applies what can change while serving; SIGUSR2, as
/// coturn's, reads certificates alone.
///
/// # Errors
/// Whatever keeps the node from starting.
pub fn run(config: Config, args: &Args, log: &Log) -> anyhow::Result<()> {
    let limit = sys::raise_descriptor_limit().context("the descriptor limit cannot be raised")?;
    sys::forbid_core_dumps().context("core dumps cannot be forbidden")?;
    tracing::debug!(limit, "Descriptors.");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("the control threads cannot be started")?;
    let result = runtime.block_on(serve_until_told(config, args, log));
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

async fn serve_until_told(config: Config, args: &Args, log: &Log) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut certificates = signal(SignalKind::user_defined2())?;
    let node = Box::pin(Node::start_with_log(config, None, Some(log.level()))).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&node, args).await,
            _ = certificates.recv() => node.service().reload_certificates(),
        }
    }
    tracing::info!("Stopping; a second signal ends the node at once.");
    tokio::select! {
        () = node.stop() => Ok(()),
        _ = terminate.recv() => anyhow::bail!("ended by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("ended by a second signal"),
    }
}

/// An invalid configuration changes nothing and is reported in full. What waits for a restart is told
/// at every reload until the layers say again what the node was started with.
async fn reload(node: &Node, args: &Args) {
    node.service().reload_certificates();
    let reloaded = match Config::load(args) {
        Ok(config) => {
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            node.service().reload_config(&config).await
        }
        Err(errors) => Err(errors),
    };
    let change = match reloaded {
        Ok(change) => change,
        Err(errors) => {
            for error in errors.as_slice() {
                tracing::error!("{error}");
            }
            tracing::error!("The configuration is invalid; the one in force stays.");
            return;
        }
    };
    for key in &change.restart {
        tracing::warn!(
            key,
            "Differs from what runs, and takes effect at the next start only."
        );
    }
    tracing::info!(changed = ?change.live, "Configuration reloaded.");
}
