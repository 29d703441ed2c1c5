//! The demo's three nodes: in this process on one SQLite store, or processes around a Redis.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use relay::config::{Args, Config, cluster_key};
use relay::node::Node;
use relay::store::Store;
use relay::store::sqlite::SqliteStore;

use super::people::{PAGES_REALM, REST_REALM, STORED_REALM};
use crate::address::{free_port, fresh_ip};
use crate::program::{self, Sinks, ours, spawn};

/// Id and region of each node.
const NODES: [(&str, &str); 3] = [
    ("ams1", "eu-west"),
    ("fra1", "eu-central"),
    ("nyc1", "us-east"),
];
/// How long a node may take to get ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first relay port of the first node, and the ports of each: enough for a demo at one address.
const FIRST_RELAY_PORT: u16 = 49_152;
const RELAY_PORTS: u16 = 5_000;

/// The running nodes.
pub(super) struct Nodes {
    sockets: Vec<PathBuf>,
    listeners: Vec<[SocketAddr; 3]>,
    running: Running,
}

enum Running {
    Here(Vec<Node>),
    Processes(Processes),
}

/// Processes that end with the value, so that a start that is given up leaves none behind.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &self.0 {
            program::signal(child, "TERM");
        }
        for child in &mut self.0 {
            if program::ended(child, PATIENCE).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Where one node is.
struct Place {
    id: &'static str,
    region: &'static str,
    ip: IpAddr,
    listeners: [SocketAddr; 3],
    /// First and last.
    relay_ports: [u16; 2],
    metrics: SocketAddr,
    folder: PathBuf,
}

impl Nodes {
    /// Starts all nodes, at `address` or at one of their own each, and waits until they are ready.
    pub(super) async fn start(
        redis: Option<&str>,
        address: Option<IpAddr>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let places: Vec<Place> = NODES
            .iter()
            .zip(0..)
            .map(|(node, index)| Place::new(node, index, address, folder))
            .collect();
        let key = folder.join("cluster-key");
        write_cluster_key(&key)?;
        let mut files = Vec::new();
        for place in &places {
            std::fs::create_dir_all(&place.folder)?;
            let file = place.folder.join("relayd.toml");
            std::fs::write(&file, place.config(redis, folder))?;
            files.push(file);
        }
        let running = match redis {
            None => Running::Here(start_here(&files, folder).await?),
            Some(_) => Running::Processes(start_processes(&files, folder)),
        };
        let nodes = Self {
            sockets: places
                .iter()
                .map(|place| place.folder.join("relayd.sock"))
                .collect(),
            listeners: places.iter().map(|place| place.listeners).collect(),
            running,
        };
        for place in &places {
            if let Err(error) = place.ready().await {
                nodes.stop().await;
                return Err(error);
            }
        }
        Ok(nodes)
    }

    /// The admin socket of the first node.
    pub(super) fn socket(&self) -> &Path {
        &self.sockets[0]
    }

    /// Per node: the listener of stored users, that of time-limited credentials, and that of the pages.
    pub(super) fn listeners(&self) -> &[[SocketAddr; 3]] {
        &self.listeners
    }

    /// Stops all of them.
    pub(super) async fn stop(self) {
        match self.running {
            Running::Here(nodes) => {
                for node in nodes {
                    node.stop().await;
                }
            }
            Running::Processes(processes) => {
                let _ = tokio::task::spawn_blocking(|| drop(processes)).await;
            }
        }
    }
}

impl Place {
    fn new(
        &(id, region): &(&'static str, &'static str),
        index: u16,
        address: Option<IpAddr>,
        folder: &Path,
    ) -> Self {
        let ip = address.unwrap_or_else(fresh_ip);
        let first = FIRST_RELAY_PORT + index * RELAY_PORTS;
        Self {
            id,
            region,
            ip,
            listeners: [free_port(ip), free_port(ip), free_port(ip)],
            // Nodes at one address share its ports.
            relay_ports: [first, first + RELAY_PORTS - 1],
            metrics: free_port(ip),
            folder: folder.join(id),
        }
    }

    fn config(&self, redis: Option<&str>, shared: &Path) -> String {
        let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
        let [stored, rest, pages] = self.listeners;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "node_id = \"{}\"\ncluster = \"demo\"\nworkers = 2",
            self.id
        );
        let _ = writeln!(text, "state_dir = {}", quoted(&self.folder));
        let _ = writeln!(
            text,
            "listen = [\"{stored}\", {{ address = \"{rest}\", realm = \"{REST_REALM}\" }}, \
             {{ address = \"{pages}\", realm = \"{PAGES_REALM}\" }}]"
        );
        let _ = writeln!(text, "relay_addresses = [\"{}\"]", self.ip);
        let [first, last] = self.relay_ports;
        let _ = writeln!(text, "relay_ports = \"{first}-{last}\"");
        let _ = writeln!(text, "default_realm = \"{STORED_REALM}\"");
        let _ = writeln!(
            text,
            "cluster_key_file = {}",
            quoted(&shared.join("cluster-key"))
        );
        let _ = writeln!(text, "[labels]\nregion = \"{}\"", self.region);
        // The demo's peers are the relay addresses of its nodes, on loopback unless somebody says otherwise.
        let peers = match self.ip.is_loopback() {
            true => "127.0.0.0/8".to_owned(),
            false => self.ip.to_string(),
        };
        let _ = writeln!(text, "[peers]\nallowed = [\"{peers}\"]");
        let _ = writeln!(text, "[metrics]\nlisten = \"{}\"", self.metrics);
        if let Some(url) = redis {
            let _ = writeln!(text, "[store]\nurl = {}", toml::Value::from(url));
        }
        for realm in [STORED_REALM, REST_REALM, PAGES_REALM] {
            let _ = writeln!(text, "[[realm]]\nname = \"{realm}\"");
        }
        text
    }

    /// Waits until the node says that it is ready.
    async fn ready(&self) -> anyhow::Result<()> {
        let metrics = self.metrics;
        let asked = crate::wait::patiently(PATIENCE, || async move {
            let ask = move || crate::http::get(metrics, "/readyz");
            let answer = tokio::task::spawn_blocking(ask).await.ok().flatten();
            answer.filter(|(status, _)| *status == 200)
        });
        asked
            .await
            .map(drop)
            .with_context(|| format!("{} does not get ready", self.id))
    }
}

/// Starts nodes inside this process, on one store: a process opens its SQLite files once.
async fn start_here(files: &[PathBuf], folder: &Path) -> anyhow::Result<Vec<Node>> {
    let store = SqliteStore::open(&folder.join("turndb"), &folder.join("relayd.db"))?;
    let store: Arc<dyn Store> = Arc::new(store);
    let mut nodes = Vec::new();
    for file in files {
        let arguments = [
            "relayd".into(),
            "--config".into(),
            file.clone().into_os_string(),
        ];
        let args = Args::new(arguments, BTreeMap::new())?;
        let config = Config::load(&args)?;
        nodes.push(Node::start(config, Some(Arc::clone(&store))).await?);
    }
    Ok(nodes)
}

fn start_processes(files: &[PathBuf], folder: &Path) -> Processes {
    let log = folder.join("demo.log");
    let start = |file: &PathBuf| {
        let mut command = Command::new(ours("relayd"));
        command.arg("--config").arg(file);
        spawn("this workspace", command, &Sinks::File(&log))
    };
    Processes(files.iter().map(start).collect())
}

/// Writes a fresh key that only its owner can read.
fn write_cluster_key(path: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if path.exists() {
        return Ok(());
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", cluster_key::generate()?)?;
    Ok(())
}
