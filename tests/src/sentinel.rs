//! A Redis with a replica and three sentinels that watch over them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::gate::Gate;
use crate::redis::{ADMIN, PASSWORD, RedisServer, Setup, free_port};
use crate::wait::{wait_for, wait_until};

/// What the sentinels call the master.
pub const MASTER: &str = "mymaster";
/// How long everybody may take to know everybody.
const MET: Duration = Duration::from_secs(90);
/// After such a time nobody works on a failover any more: six times the timeout of sentinels.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// A master and its replica; which of them is which changes.
#[derive(Debug)]
pub struct Sentinels {
    /// Both servers.
    pub servers: [RedisServer; 2],
    ports: Vec<u16>,
    children: Vec<Child>,
    folder: TempDir,
}

impl Sentinels {
    /// Starts them and waits until all know of each other.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(&Setup::default())
    }

    /// The same with ACL rules (lines of an ACL file) on both servers. Sentinels ask for no password.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with_acl(rules: &str) -> Self {
        Self::start_as(&Setup {
            acl: Some(rules.to_owned()),
            ..Setup::default()
        })
    }

    fn start_as(setup: &Setup) -> Self {
        let servers = [0, 1].map(|_| RedisServer::start_as(setup.clone()));
        let port = servers[0].port.to_string();
        servers[1].cli(&["REPLICAOF", "127.0.0.1", &port]);
        wait_until("the replica to be in step", MET, || {
            servers[1]
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        let folder = tempfile::tempdir().expect("a folder");
        let login = match setup.acl {
            Some(_) => format!(
                "sentinel auth-user {MASTER} {ADMIN}\nsentinel auth-pass {MASTER} {PASSWORD}\n"
            ),
            None => String::new(),
        };
        let (ports, children) = (0..3).map(|n| sentinel(&folder, n, &port, &login)).unzip();
        let sentinels = Self {
            servers,
            ports,
            children,
            folder,
        };
        for at in &sentinels.ports {
            wait_until("sentinels to know each other", MET, || {
                let all = ask(*at, &["SENTINEL", "MASTER", MASTER]);
                let mut lines = all.lines();
                let mut value = |name: &str| {
                    lines.find(|line| *line == name)?;
                    lines.next().map(str::to_owned)
                };
                value("num-slaves").as_deref() == Some("1")
                    && value("num-other-sentinels").as_deref() == Some("2")
            });
        }
        sentinels
    }

    /// Where they are: `host:port` each.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let ports = self.ports.iter();
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Each of them behind a gate.
    #[must_use]
    pub fn behind_gates(&self) -> Vec<Gate> {
        self.ports.iter().copied().map(Gate::before).collect()
    }

    /// One that was forgotten when the servers moved: it calls another one the master. Where it is.
    pub fn forget_one(&mut self, other: &RedisServer) -> String {
        let number = self.children.len() as u32;
        let (port, child) = sentinel(&self.folder, number, &other.port.to_string(), "");
        self.children.push(child);
        wait_until("the one that was forgotten", MET, || {
            let answer = ask(port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
            answer.lines().nth(1) == Some(&other.port.to_string())
        });
        format!("127.0.0.1:{port}")
    }

    /// Which of [`Self::servers`] the sentinels call the master.
    #[must_use]
    pub fn master(&self) -> usize {
        wait_for("a sentinel that knows the master", MET, || {
            let at = self.ports.iter().find_map(|port| {
                let answer = ask(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
                answer.lines().nth(1)?.parse::<u16>().ok()
            })?;
            self.servers.iter().position(|server| server.port == at)
        })
    }

    /// Has the replica take over in good order.
    pub fn fail_over(&self) {
        let before = self.master();
        wait_until("a sentinel to agree", MET, || {
            let answer = ask(self.ports[0], &["SENTINEL", "FAILOVER", MASTER]);
            answer.trim() == "OK"
        });
        // One that was given up, as on a busy machine, is asked for again.
        let mut asked = Instant::now();
        wait_until("another master", MET, || {
            if asked.elapsed() > GIVEN_UP {
                asked = Instant::now();
                let _ = ask(self.ports[0], &["SENTINEL", "FAILOVER", MASTER]);
            }
            self.master() != before
        });
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sentinel(folder: &TempDir, number: u32, master: &str, login: &str) -> (u16, Child) {
    let port = free_port();
    let file = folder.path().join(format!("sentinel-{number}.conf"));
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 1000\n\
         sentinel failover-timeout {MASTER} 5000\n{login}",
        folder.path().display()
    );
    std::fs::write(&file, text).expect("a file in a fresh folder");
    let mut child = Command::new("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs (Debian package: redis-server)");
    wait_until("a sentinel to answer", MET, || {
        let ended = child.try_wait().expect("a child of this process");
        assert!(ended.is_none(), "sentinel {number} ended: {ended:?}");
        ask(port, &["PING"]).trim() == "PONG"
    });
    (port, child)
}

fn ask(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .output()
        .expect("redis-cli runs (Debian package: redis-tools)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
