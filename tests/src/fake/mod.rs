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
    /// Where the admin API of the first node is served.
    pub socket: PathBuf,
}

/// A running fake cluster.
#[derive(Debug)]
pub struct FakeCluster {
    nodes: Vec<ControlHandle>,
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
        let folder = tempfile::Builder::new().prefix("fake-").tempdir()?;
        let store = SqliteStore::open(
            &folder.path().join("turndb"),
            &folder.path().join("relayd.db"),
        )?;
        let store: Arc<dyn Store> = Arc::new(ForgetfulStore::new(Arc::new(store)));
        let mut cluster = Self {
            nodes: Vec::new(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            _folder: folder,
        };
        for number in 0..options.nodes {
            cluster.add_node(options, number, &store).await?;
        }
        cluster.serve(&options.socket).await?;
        cluster.wait_complete(options).await?;
        Ok(cluster)
    }

    async fn add_node(
        &mut self,
        options: &FakeOptions,
        number: u32,
        store: &Arc<dyn Store>,
    ) -> anyhow::Result<()> {
        let folder = self._folder.path().join(number.to_string());
        let config = config(number, &folder)?;
        let node = config.node_id.clone().context("the file names the node")?;
        let base = 0x5e55_0000 + number * 0x101;
        let address = std::net::Ipv4Addr::new(198, 51, 100, number as u8 + 1);
        let parts = ControlParts {
            config: Arc::new(config),
            node,
            elder_of: None,
            can_pass_on: false,
            session_base: base,
            store: Arc::clone(store),
            cluster_key: ClusterKey::new(vec![7; 32]),
            listeners: vec![(address, 3478).into()],
            urls: Vec::new(),
            listener_realms: Default::default(),
            relays: vec![RelayAddress {
                local: address.into(),
                external: address.into(),
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
        workers.introduce().await;
        let (changing, churn) = (options.changing, options.churn);
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = seconds.tick() => {}
                }
                if changing {
                    workers.second(churn).await;
                }
            }
        });
        Ok(())
    }

    async fn serve(&self, socket: &Path) -> anyhow::Result<()> {
        let admin = relay::config::AdminConfig {
            socket: socket.to_owned(),
            listen: None,
            tls: None,
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
