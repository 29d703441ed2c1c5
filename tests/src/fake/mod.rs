//! A cluster without sockets for TURN: the real control planes and the real admin API over
//! generated sessions. What is measured on it is `relayd`'s own list, filter and sort code.

mod generate;
mod store;
mod workers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use relay::config::{Args, Config};
use relay::control::{
    Caller, ClusterKey, ControlHandle, ControlParts, Restoring, Service, WorkerSide, prepare,
};
use relay::store::Store;
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::sqlite::SqliteStore;
use relay::worker::ports::RelayAddress;
use shared::api::{ListQuery, Role, Scope};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use generate::{Generator, REALMS};
use store::ForgetfulStore;
use workers::PaperWorkers;

pub use generate::realm_name;

/// Node names and regions, again with a number after the first round.
const PLACES: [(&str, &str); 8] = [
    ("ams", "eu-west"),
    ("fra", "eu-central"),
    ("lon", "eu-west"),
    ("mad", "eu-south"),
    ("nyc", "us-east"),
    ("par", "eu-west"),
    ("sfo", "us-west"),
    ("sto", "eu-north"),
];
/// How long the nodes have to take all sessions in and to see each other.
const START: Duration = Duration::from_secs(120);

/// What to pretend.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// Sessions over all nodes.
    pub sessions: u32,
    /// Nodes.
    pub nodes: u32,
    /// Rates change every second.
    pub changing: bool,
    /// Sessions that end each second on every node, while as many begin; only with `changing`.
    pub churn: u32,
    /// Seconds between two requests of a session that change it (RFC 8656 §9: a permission lasts five
    /// minutes); 0: none. Only with `changing`.
    pub refresh_secs: u32,
    /// The URL of a Redis that keeps everything; `None`: SQLite, which keeps all but sessions.
    pub redis: Option<String>,
    /// Where the admin API of the first node is served.
    pub socket: PathBuf,
}

/// A running fake cluster.
#[derive(Debug)]
pub struct FakeCluster {
    nodes: Vec<ControlHandle>,
    workers: Vec<Arc<PaperWorkers>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

impl FakeCluster {
    /// Starts it and waits until every session is in the lists of its node.
    ///
    /// # Errors
    /// The socket cannot be bound, or the nodes do not get ready.
    pub async fn start(options: &FakeOptions) -> anyhow::Result<Self> {
        let cluster = Self::meet(options).await?;
        cluster.introduce().await;
        if options.changing {
            cluster.live(options);
        }
        cluster.wait_complete(options).await?;
        Ok(cluster)
    }

    /// Starts the nodes without a session, and waits until they know each other.
    ///
    /// # Errors
    /// The socket cannot be bound, the store's address makes no sense, or the nodes do not meet.
    pub async fn meet(options: &FakeOptions) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fake-").tempdir()?;
        let store = Stores::new(options, folder.path())?;
        let mut cluster = Self {
            nodes: Vec::new(),
            workers: Vec::new(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            _folder: folder,
        };
        for number in 0..options.nodes {
            cluster.add_node(options, number, store.open()?).await?;
        }
        cluster.serve(&options.socket).await?;
        cluster.wait_met(options).await?;
        Ok(cluster)
    }

    async fn add_node(
        &mut self,
        options: &FakeOptions,
        number: u32,
        store: Arc<dyn Store>,
    ) -> anyhow::Result<()> {
        let folder = self._folder.path().join(number.to_string());
        let config = config(number, &folder)?;
        let node = config.node_id.clone().context("the file names the node")?;
        let base = 0x5e55_0000 + number * 0x101;
        let address = generate::address(number.into());
        let parts = ControlParts {
            config: Arc::new(config),
            node,
            elder_of: None,
            can_pass_on: false,
            session_base: base,
            store,
            statsdb: None,
            cluster_key: ClusterKey::new(vec![7; 32]),
            listeners: vec![(address, 3478).into()],
            urls: Vec::new(),
            listener_realms: Default::default(),
            relays: vec![RelayAddress {
                local: address,
                external: address,
            }],
            services: Vec::new(),
            certificates: Vec::new(),
            log: None,
        };
        let prepared = prepare(parts).await;
        let (sender, news) = mpsc::channel(65_536);
        let share = options.sessions / options.nodes;
        let rest = u32::from(number < options.sessions % options.nodes);
        let generator = Generator::new(number.into(), base);
        let workers = Arc::new(PaperWorkers::new(sender, generator, share + rest));
        let side = WorkerSide {
            workers: workers.clone(),
            news,
            restoring: Restoring::default(),
        };
        let handle = prepared.run(side, self.cancel.clone());
        handle.serving();
        self.nodes.push(handle);
        self.workers.push(workers);
        Ok(())
    }

    /// Every node hears of its sessions.
    pub async fn introduce(&self) {
        for workers in &self.workers {
            workers.introduce().await;
        }
    }

    /// How many of the sessions are over UDP: the others are never written.
    #[must_use]
    pub fn written_sessions(&self) -> u64 {
        self.workers.iter().map(|workers| workers.written()).sum()
    }

    /// Seconds go by from now on.
    pub fn live(&self, options: &FakeOptions) {
        for workers in &self.workers {
            let workers = Arc::clone(workers);
            let (churn, refresh) = (options.churn, options.refresh_secs);
            let cancel = self.cancel.clone();
            self.tasks.spawn(async move {
                let mut seconds = tokio::time::interval(Duration::from_secs(1));
                loop {
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        _ = seconds.tick() => {}
                    }
                    workers.second(churn, refresh).await;
                }
            });
        }
    }

    async fn serve(&self, socket: &Path) -> anyhow::Result<()> {
        let admin = relay::config::AdminConfig {
            socket: socket.to_owned(),
            listen: None,
            tls: None,
            password: None,
            lock: relay::config::TokenLock::default(),
        };
        let bound = relay::admin::bind(&admin, &relay::succession::Inherited::default()).await?;
        self.tasks
            .spawn(bound.serve(self.service(), self.cancel.clone()));
        Ok(())
    }

    /// The admin API of the first node.
    #[must_use]
    pub fn service(&self) -> Service {
        self.nodes[0].service()
    }

    /// Waits until all nodes are in the registry of the first, and ready.
    async fn wait_met(&self, options: &FakeOptions) -> anyhow::Result<()> {
        let service = &self.service();
        let met = crate::wait::patiently(START, || async move {
            let query = ListQuery {
                limit: Some(1),
                filter: Some("state=ready".to_owned()),
                ..ListQuery::default()
            };
            let nodes = service.nodes(&admin(), &query).await.ok()?;
            (nodes.matched == u64::from(options.nodes)).then_some(())
        });
        met.await.context("the nodes do not meet")
    }

    /// Waits until every node has its sessions and knows all others.
    async fn wait_complete(&self, options: &FakeOptions) -> anyhow::Result<()> {
        let wanted = u64::from(options.sessions);
        let service = &self.service();
        let complete = crate::wait::patiently(START, || async move {
            let query = ListQuery {
                limit: Some(1),
                scope: Some(Scope::Cluster),
                ..ListQuery::default()
            };
            let page = service.sessions(&admin(), &query).await.ok()?;
            let nodes = service.nodes(&admin(), &query).await.ok()?;
            let known = nodes.total == u64::from(options.nodes);
            (known && page.total == wanted && page.missing.is_empty()).then_some(())
        });
        complete
            .await
            .context("the nodes do not get all sessions into their lists")
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What the nodes meet in.
enum Stores {
    /// One for all: they are one process.
    Shared(Arc<dyn Store>),
    /// Connections of each node's own.
    Redis(String),
}

impl Stores {
    fn new(options: &FakeOptions, folder: &Path) -> anyhow::Result<Self> {
        if let Some(url) = &options.redis {
            return Ok(Self::Redis(url.clone()));
        }
        let store = SqliteStore::open(&folder.join("turndb"), &folder.join("relayd.db"))?;
        Ok(Self::Shared(Arc::new(ForgetfulStore::new(Arc::new(store)))))
    }

    fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Shared(store) => Ok(Arc::clone(store)),
            Self::Redis(url) => Ok(Arc::new(RedisStore::connect(&RedisOptions::new(url))?)),
        }
    }
}

/// Whoever owns the machine.
#[must_use]
pub fn admin() -> Caller {
    Caller {
        actor: "unix:0".to_owned(),
        role: Role::Admin,
        realms: Vec::new(),
    }
}

fn config(number: u32, folder: &Path) -> anyhow::Result<Config> {
    std::fs::create_dir_all(folder)?;
    let (name, region) = PLACES[number as usize % PLACES.len()];
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
    let mut text = String::new();
    let round = number as usize / PLACES.len() + 1;
    let _ = writeln!(text, "node_id = \"{name}{round}\"\ncluster = \"fake\"");
    let _ = writeln!(text, "state_dir = {}", quoted(folder));
    let _ = writeln!(text, "default_realm = \"{}\"", realm_name(0));
    let _ = writeln!(text, "[labels]\nregion = \"{region}\"");
    for realm in 0..REALMS {
        let _ = writeln!(text, "[[realm]]\nname = \"{}\"", realm_name(realm));
    }
    let file = folder.join("relayd.toml");
    std::fs::write(&file, text)?;
    let arguments = ["relayd".into(), "--config".into(), file.into_os_string()];
    let args = Args::new(arguments, BTreeMap::new())?;
    Ok(Config::load(&args)?)
}
