//! A store with its surroundings: the foreign tools that write beside it, and a second node.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kit::redis::{PASSWORD, RedisServer};
use kit::redis_cluster::{ClusterSetup, RedisCluster};
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::sqlite::SqliteStore;
use relay::store::{Change, Store, StoredKey, UserKeys};
use shared::Realm;
use tempfile::TempDir;
use tokio::sync::broadcast;

/// How long a foreign change may take to be told: the promise is one second, and the machine may be busy.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The rules of a role as they ship, filled in for a node.
pub(crate) fn acl(role: &str, node: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../relay/redis-acl");
    let rules = std::fs::read_to_string(path.join(format!("{role}.acl"))).unwrap();
    rules
        .replace("@PASSWORD@", PASSWORD)
        .replace("@NODE@", node)
}

/// Options to log in as a user of the shipped rules.
pub(crate) fn options(server: &RedisServer, user: &str) -> RedisOptions {
    RedisOptions {
        username: Some(user.to_owned()),
        password: Some(shared::Secret::new(PASSWORD.to_owned())),
        ..RedisOptions::new(server.url())
    }
}

pub(crate) enum Backend {
    Sqlite { turndb: PathBuf, _dir: TempDir },
    Redis { server: RedisServer },
    Cluster { cluster: RedisCluster },
}

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    /// The same data, as another node sees it.
    pub(crate) other: Arc<dyn Store>,
    pub(crate) backend: Backend,
}

impl World {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let turndb = dir.path().join("turndb");
        let store = SqliteStore::open(&turndb, &dir.path().join("relayd.db")).unwrap();
        let (store, other) = (Arc::new(store.clone()), Arc::new(store));
        Self {
            store,
            other,
            backend: Backend::Sqlite { turndb, _dir: dir },
        }
    }

    pub(crate) fn redis() -> Self {
        let server = RedisServer::start_with_acl(&acl("gateway", ""));
        // coturn 4.6.1 logs in without a name.
        server.cli(&[
            "ACL", "SETUSER", "default", "on", ">turn", "~turn/*", "+@all",
        ]);
        let connect =
            || Arc::new(RedisStore::connect(&options(&server, "relayd-gateway")).unwrap());
        Self {
            store: connect(),
            other: connect(),
            backend: Backend::Redis { server },
        }
    }

    pub(crate) fn redis_cluster() -> Self {
        let cluster = RedisCluster::start_as(&ClusterSetup {
            acl: Some(acl("gateway", "")),
            ..ClusterSetup::default()
        });
        let connect = || {
            let options = RedisOptions {
                cluster: cluster.list(),
                ..options(&cluster.servers[0], "relayd-gateway")
            };
            Arc::new(RedisStore::connect(&options).unwrap())
        };
        Self {
            store: connect(),
            other: connect(),
            backend: Backend::Cluster { cluster },
        }
    }

    /// Runs coturn's `turnadmin` on the same data.
    pub(crate) fn turnadmin(&self, args: &[&str]) -> String {
        let mut command = Command::new("turnadmin");
        command.args(args);
        match &self.backend {
            Backend::Sqlite { turndb, .. } => command.arg("-b").arg(turndb),
            Backend::Redis { server } => command
                .arg("-N")
                .arg(format!("ip=127.0.0.1 port={} password=turn", server.port)),
            Backend::Cluster { .. } => unreachable!("coturn knows no Redis Cluster"),
        };
        let output = command
            .output()
            .expect("turnadmin runs (Debian package: coturn)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs one statement, or one command, as an operator would by hand.
    pub(crate) fn by_hand(&self, sql: &str, command: &[&str]) {
        match &self.backend {
            Backend::Sqlite { turndb, .. } => {
                let status = Command::new("sqlite3")
                    .args(["-cmd", ".timeout 2000"])
                    .arg(turndb)
                    .arg(sql)
                    .status()
                    .expect("sqlite3 runs (Debian package: sqlite3)");
                assert!(status.success(), "{sql}");
            }
            Backend::Redis { .. } | Backend::Cluster { .. } => {
                let said = match &self.backend {
                    Backend::Cluster { cluster } => cluster.cli(command),
                    Backend::Redis { server } => server.cli(command),
                    Backend::Sqlite { .. } => unreachable!("matched above"),
                };
                assert!(
                    !said.contains("ERR") && !said.contains("NOPERM"),
                    "{command:?}: {said}"
                );
            }
        }
    }
}

pub(crate) fn realm(name: &str) -> Realm {
    name.parse().unwrap()
}

/// Keys as another tool would leave them.
pub(crate) fn key(byte: u8) -> UserKeys {
    UserKeys::coturns(StoredKey::new([byte; 16]))
}

/// Waits until `wanted` is told, within the promised second.
pub(crate) async fn told(
    changes: &mut broadcast::Receiver<Change>,
    wanted: impl Fn(&Change) -> bool,
) -> Change {
    let seen = async {
        loop {
            match changes.recv().await {
                Ok(change) if wanted(&change) => return change,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(TOLD_WITHIN, seen)
        .await
        .expect("the change is told")
}

/// Waits until a node has connected, so that what follows is told to it.
pub(crate) async fn ready(store: &Arc<dyn Store>) {
    store.ping().await.unwrap();
}
