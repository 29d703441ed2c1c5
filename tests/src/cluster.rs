//! Three nodes around one Redis.

use std::path::PathBuf;
use std::time::Duration;

use crate::node::{Node, NodeOptions};
use crate::program::{ours, text};
use crate::redis::RedisServer;
use crate::wait::wait_until;

/// Ids of the nodes.
pub const IDS: [&str; 3] = ["ams1", "fra1", "nyc1"];
/// How long nodes may take to see each other.
const MEET: Duration = Duration::from_secs(15);

/// A running cluster. Fields drop in order: nodes stop before their Redis does.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of [`IDS`].
    pub nodes: Vec<Node>,
    /// Their store.
    pub redis: RedisServer,
    _key: tempfile::TempDir,
}

impl Cluster {
    /// Starts Redis and three nodes, and waits until each of them sees all.
    ///
    /// # Panics
    /// When something does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&NodeOptions::default())
    }

    /// The same with these options for all nodes; id, Redis and key are filled in.
    ///
    /// # Panics
    /// When something does not start.
    #[must_use]
    pub fn start_with(options: &NodeOptions) -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = cluster_key(&folder);
        let prepare = |id: &&str| {
            let mut node = Node::prepare(NodeOptions {
                id: (*id).to_owned(),
                redis: Some(redis.url()),
                cluster_key: Some(key.clone()),
                ..options.clone()
            });
            node.launch();
            node
        };
        let mut nodes: Vec<Node> = IDS.iter().map(prepare).collect();
        for node in &mut nodes {
            node.wait_ready();
        }
        let cluster = Self {
            nodes,
            redis,
            _key: folder,
        };
        cluster.wait_met();
        cluster
    }

    /// Waits until every node lists three ready nodes.
    ///
    /// # Panics
    /// When they do not meet.
    #[track_caller]
    pub fn wait_met(&self) {
        for node in &self.nodes {
            let ctl = node.ctl();
            wait_until("the nodes to see each other", MEET, || {
                let nodes = ctl.items(&["node", "list"]);
                nodes.iter().filter(|node| node["state"] == "ready").count() == IDS.len()
            });
        }
    }
}

/// Makes a cluster key in `folder`.
///
/// # Panics
/// When `relayd cluster-key` fails.
#[must_use]
pub fn cluster_key(folder: &tempfile::TempDir) -> PathBuf {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.path().join("cluster-key");
    let made = std::process::Command::new(ours("relayd"))
        .arg("cluster-key")
        .output();
    let made = made.expect("relayd runs");
    assert!(made.status.success(), "relayd cluster-key: {}", text(&made));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    file.and_then(|mut file| file.write_all(&made.stdout))
        .expect("a file in a fresh folder");
    path
}
