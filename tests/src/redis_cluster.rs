//! A Redis Cluster of real servers: three masters, with a replica each where a test wants one.

use std::time::Duration;

use crate::redis::{RedisServer, Setup, free_port};
use crate::wait::{wait_for, wait_until};

/// Masters.
pub const MASTERS: usize = 3;
/// How long everybody may take to know everybody, or another to take over, on a busy machine.
const MET: Duration = Duration::from_secs(90);
/// Slots of a cluster.
const SLOTS: usize = 16384;

/// The servers: first the masters, then a replica of each in the same order. Who is what changes.
#[derive(Debug)]
pub struct RedisCluster {
    /// All of them.
    pub servers: Vec<RedisServer>,
}

/// How to make one.
#[derive(Clone, Debug, Default)]
pub struct ClusterSetup {
    /// Each master has a replica.
    pub replicas: bool,
    /// One server more, the last, which has no slots; not together with replicas.
    pub spare: bool,
    /// They name no hosts: whoever asks knows where they are.
    pub nameless: bool,
    /// ACL rules of all servers.
    pub acl: Option<String>,
    /// They speak TLS only, by the name `localhost`.
    pub tls: bool,
    /// Milliseconds of silence after which one counts as away; `None`: never in a test.
    pub node_timeout_ms: Option<u32>,
}

impl RedisCluster {
    /// Three masters without passwords.
    ///
    /// # Panics
    /// When they do not start, or do not find each other.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(&ClusterSetup::default())
    }

    /// A cluster as it is described.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_as(setup: &ClusterSetup) -> Self {
        let count = MASTERS * if setup.replicas { 2 } else { 1 } + usize::from(setup.spare);
        let mut servers: Vec<RedisServer> = Vec::new();
        for _ in 0..count {
            let of_server = of_server(setup);
            servers.push(match servers.first() {
                None => RedisServer::start_as(of_server),
                Some(first) => RedisServer::start_beside(first, of_server),
            });
        }
        let cluster = Self { servers };
        cluster.meet(setup.replicas);
        cluster
    }

    fn meet(&self, replicas: bool) {
        let share = SLOTS.div_ceil(MASTERS);
        for (number, master) in self.servers.iter().take(MASTERS).enumerate() {
            let (first, last) = (number * share, ((number + 1) * share).min(SLOTS) - 1);
            let said = master.cli(&[
                "CLUSTER",
                "ADDSLOTSRANGE",
                &first.to_string(),
                &last.to_string(),
            ]);
            assert_eq!(said, "OK");
            master.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for server in &self.servers[1..] {
            let (port, bus) = (server.port.to_string(), server.bus().to_string());
            self.servers[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for server in &self.servers {
            wait_until("the servers to know each other", MET, || {
                let nodes = server.cli(&["CLUSTER", "NODES"]);
                let met = nodes.lines().filter(|line| line.contains(" connected"));
                met.count() == self.servers.len() && !nodes.contains("handshake")
            });
        }
        let others = self.servers.iter().enumerate().skip(MASTERS);
        for (number, replica) in others.filter(|_| replicas) {
            let master = self.id(number - MASTERS);
            wait_until("a replica", MET, || {
                replica.cli(&["CLUSTER", "REPLICATE", &master]) == "OK"
            });
        }
        self.wait_whole();
    }

    /// Waits until every server that runs says that all is well, and every replica is in step.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn wait_whole(&self) {
        for server in self.servers.iter().filter(|server| server.answers()) {
            wait_until("the cluster to be whole", MET, || {
                let state = server.cli(&["CLUSTER", "INFO"]);
                let role = server.cli(&["INFO", "replication"]);
                state.contains("cluster_state:ok")
                    && (role.contains("role:master") || role.contains("master_link_status:up"))
            });
        }
    }

    /// Where all of them are: `host:port` each.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let host = self.servers[0].host();
        let ports = self.servers.iter().map(|server| server.port);
        ports.map(|port| format!("{host}:{port}")).collect()
    }

    /// What the others call a server.
    #[must_use]
    pub fn id(&self, server: usize) -> String {
        self.servers[server].cli(&["CLUSTER", "MYID"])
    }

    /// Runs one command wherever its key is.
    ///
    /// # Panics
    /// When no server takes it.
    pub fn cli<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> String {
        let running = self.servers.iter().filter(|server| server.answers());
        for server in running {
            let said = server.cli(args);
            if !said.starts_with("MOVED ") && !said.starts_with("CLUSTERDOWN") {
                return said;
            }
        }
        panic!("no server has that slot")
    }

    /// The slot of a key.
    ///
    /// # Panics
    /// When the servers do not say.
    #[must_use]
    pub fn slot(&self, key: &str) -> u16 {
        let said = self.servers[0].cli(&["CLUSTER", "KEYSLOT", key]);
        said.parse().expect("a slot")
    }

    /// Which of [`Self::servers`] is the master of a slot, as one that `knows` says.
    #[must_use]
    pub fn master_of(&self, slot: u16, knows: usize) -> usize {
        wait_for("the master of a slot", MET, || {
            let nodes = self.servers[knows].cli(&["CLUSTER", "NODES"]);
            let line = nodes.lines().find(|line| {
                line.contains("master") && !line.contains("fail") && has(line, slot)
            })?;
            let address = line.split_whitespace().nth(1)?;
            let port = address.split(['@', ',']).next()?.rsplit(':').next()?;
            let port: u16 = port.parse().ok()?;
            self.servers.iter().position(|server| server.port == port)
        })
    }

    /// Begins to move a slot: keys that are not with `from` any more are asked for at `to`.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from), self.id(to));
        let said = self.servers[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        assert_eq!(said, "OK");
        let said = self.servers[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        assert_eq!(said, "OK");
    }

    /// Moves the keys that a slot has; how many.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) -> usize {
        let keys = self.servers[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        let port = self.servers[to].port.to_string();
        for key in &keys {
            let said = self.servers[from].cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(said == "OK" || said == "NOKEY", "{key}: {said}");
        }
        keys.len()
    }

    /// Ends a move: the slot belongs to `to`.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, to_id) = (slot.to_string(), self.id(to));
        // First who gets it: so there is always somebody who has it.
        for server in [to, from] {
            let said = self.servers[server].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
            assert_eq!(said, "OK");
        }
    }

    /// Has clients reach a server at another port, and waits until all servers tell them so.
    ///
    /// # Panics
    /// When they do not.
    pub fn announce(&self, server: usize, port: u16) {
        let port = port.to_string();
        let said = self.servers[server].cli(&["CONFIG", "SET", "cluster-announce-port", &port]);
        assert_eq!(said, "OK");
        for server in self.servers.iter().filter(|server| server.answers()) {
            wait_until("a port that is announced", MET, || {
                let slots = server.cli(&["CLUSTER", "SLOTS"]);
                slots.lines().any(|line| line.trim() == port)
            });
        }
    }

    /// How often servers that run were asked this since their start.
    #[must_use]
    pub fn calls(&self, command: &str) -> u64 {
        let running = self.servers.iter().filter(|server| server.answers());
        let counts = running.map(|server| {
            let stats = server.cli(&["INFO", "commandstats"]);
            let prefix = format!("cmdstat_{command}:calls=");
            let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
            let count = line.and_then(|line| line.split(',').next());
            count.and_then(|count| count.parse::<u64>().ok())
        });
        counts.flatten().sum()
    }

    /// How many answers of this error all servers gave since their start.
    #[must_use]
    pub fn errors(&self, code: &str) -> u64 {
        let running = self.servers.iter().filter(|server| server.answers());
        let counts = running.map(|server| {
            let stats = server.cli(&["INFO", "errorstats"]);
            let line = stats
                .lines()
                .find_map(|line| line.strip_prefix(&format!("errorstat_{code}:count=")));
            line.and_then(|count| count.trim().parse::<u64>().ok())
                .unwrap_or(0)
        });
        counts.sum()
    }
}

/// Whether a line of CLUSTER NODES has a slot: behind eight fields, `7` or `0-5460` each.
fn has(line: &str, slot: u16) -> bool {
    let mut ranges = line.split_whitespace().skip(8);
    ranges.any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&slot),
            _ => false,
        }
    })
}

fn of_server(setup: &ClusterSetup) -> Setup {
    let timeout = setup.node_timeout_ms.unwrap_or(60_000).to_string();
    let mut arguments = vec!["--cluster-node-timeout".to_owned(), timeout];
    if setup.tls {
        let announced = [
            "--tls-cluster",
            "yes",
            "--cluster-announce-hostname",
            "localhost",
            "--cluster-preferred-endpoint-type",
            "hostname",
        ];
        arguments.extend(announced.map(str::to_owned));
    }
    if setup.nameless {
        let nobody = ["--cluster-preferred-endpoint-type", "unknown-endpoint"];
        arguments.extend(nobody.map(str::to_owned));
    }
    Setup {
        acl: setup.acl.clone(),
        tls: setup.tls,
        bus: Some(free_port()),
        arguments,
        ..Setup::default()
    }
}
