//! Real `relayd` processes on loopback addresses of their own.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::address::{free_port, fresh_ip};
use crate::admin::Admin;
use crate::client::{Login, TurnClient};
use crate::ctl::Ctl;
use crate::program::{self, Sinks, ours, spawn};
use crate::wait::wait_until;

/// How long a node may take to get ready in a debug build on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(30);
/// How long a node may take to stop before it is killed.
pub(crate) const STOP: Duration = Duration::from_secs(10);
/// How long nothing is unwritten before all is written: twice the mirror's interval, and some.
const WRITTEN_FOR: Duration = Duration::from_millis(600);
/// The realm of the kit's nodes.
pub const REALM: &str = "north.gov";
/// The shared secret of that realm.
pub const SECRET: &str = "a-secret-of-the-suites";
/// The user of that realm, with a password.
pub const USER: (&str, &str) = ("alice", "wonderland");

/// How to start a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its id.
    pub id: String,
    /// Its workers.
    pub workers: u16,
    /// A Redis URL; `None`: SQLite in the state directory.
    pub redis: Option<String>,
    /// More lines of the section that names Redis.
    pub store: String,
    /// The cluster key file, for Redis.
    pub cluster_key: Option<PathBuf>,
    /// Sessions per user in the realm of the file.
    pub max_sessions_per_user: Option<u32>,
    /// Peers that the node allows whatever its realms say; `None`: nobody.
    pub allowed_peers: Option<&'static str>,
    /// The ports it relays on.
    pub relay_ports: &'static str,
    /// A file that is its whole configuration: addresses, id and state directory come by the
    /// environment. `None`: a file that the kit writes.
    pub profile: Option<&'static str>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// One more listener, as a value of the file; or nothing.
    pub listen_also: String,
    /// It has no TURN listener.
    pub is_gateway: bool,
    /// More lines for the top of the file.
    pub top: String,
    /// More sections for the end of the file.
    pub end: String,
    /// An address in a network namespace; `None`: a loopback address of its own.
    pub place: Option<Place>,
}

/// Where a node runs that has a network of its own. Its ports are 3478 and 9641.
#[derive(Clone, Debug)]
pub struct Place {
    /// The name of the namespace.
    pub namespace: String,
    /// The node's address in it.
    pub ip: IpAddr,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            id: "ams1".to_owned(),
            workers: 2,
            redis: None,
            store: String::new(),
            cluster_key: None,
            max_sessions_per_user: None,
            allowed_peers: Some("127.0.0.0/8"),
            relay_ports: "49152-65535",
            profile: None,
            environment: Vec::new(),
            listen_also: String::new(),
            is_gateway: false,
            top: String::new(),
            end: String::new(),
            place: None,
        }
    }
}

/// A `relayd` process. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    /// Its address; listener and relay ports are on it.
    pub ip: IpAddr,
    /// The TURN listener.
    pub turn: SocketAddr,
    /// Where metrics and health are.
    pub metrics: SocketAddr,
    /// More arguments of the next start.
    pub arguments: Vec<String>,
    options: NodeOptions,
    folder: TempDir,
    pub(crate) child: Option<Child>,
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready; the message has its log.
    #[must_use]
    pub fn start(options: NodeOptions) -> Self {
        let mut node = Self::prepare(options);
        node.launch();
        node.wait_ready();
        node
    }

    /// A node that is to run at the addresses of another, with its own id and state: a standby.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn in_place_of(other: &Self, id: &str) -> Self {
        let mut standby = Self::prepare(NodeOptions {
            id: id.to_owned(),
            ..other.options.clone()
        });
        (standby.ip, standby.turn, standby.metrics) = (other.ip, other.turn, other.metrics);
        standby.change(|_| {});
        standby
    }

    /// Everything but the process: addresses, state directory, configuration file.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn prepare(options: NodeOptions) -> Self {
        let place = options.place.as_ref();
        let ip = place.map_or_else(fresh_ip, |place| place.ip);
        let folder = tempfile::Builder::new()
            .prefix("relayd-")
            .tempdir()
            .expect("a folder");
        let (turn, metrics) = match place {
            None => (free_port(ip), free_port(ip)),
            Some(_) => (SocketAddr::new(ip, 3478), SocketAddr::new(ip, 9641)),
        };
        let node = Self {
            ip,
            turn,
            metrics,
            arguments: Vec::new(),
            options,
            folder,
            child: None,
        };
        std::fs::write(node.config_path(), node.config()).expect("a file in a fresh folder");
        node
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When there is no binary.
    pub fn launch(&mut self) {
        let mut command = match &self.options.place {
            None => Command::new(ours("relayd")),
            Some(place) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &place.namespace]);
                command.arg(ours("relayd"));
                command
            }
        };
        command.arg("--config").arg(self.config_path());
        command.args(&self.arguments);
        if self.options.profile.is_some() {
            command.env("RELAYD_NODE_ID", &self.options.id);
            command.env("RELAYD_STATE_DIR", self.state_dir());
            command.env("RELAYD_LISTEN", self.turn.to_string());
            command.env("RELAYD_METRICS_LISTEN", self.metrics.to_string());
        }
        command.envs(self.options.environment.iter().cloned());
        self.child = Some(spawn(
            "this workspace",
            command,
            &Sinks::File(&self.log_path()),
        ));
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// When it does not, or the process ended.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_answering("/readyz");
    }

    /// Waits until `path` of the metrics listener answers 200.
    ///
    /// # Panics
    /// When it does not, or the process ended.
    #[track_caller]
    pub fn wait_answering(&mut self, path: &str) {
        let end = Instant::now() + START;
        wait_until("relayd", START + STOP, || {
            let child = self.child.as_mut().expect("launched before");
            let gone = child.try_wait().expect("a child can be waited for");
            let late = Instant::now() > end;
            let log = || std::fs::read_to_string(self.folder.path().join("relayd.log"));
            assert!(
                gone.is_none() && !late,
                "{path}: {gone:?}\n{}",
                log().unwrap_or_default()
            );
            crate::http::get(self.metrics, path).is_some_and(|(status, _)| status == 200)
        });
    }

    /// The text of the configuration file.
    #[must_use]
    pub fn config(&self) -> String {
        let options = &self.options;
        if let Some(profile) = options.profile {
            return profile.to_owned();
        }
        let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
        let mut text = String::new();
        let _ = writeln!(text, "node_id = \"{}\"", options.id);
        let _ = writeln!(text, "state_dir = {}", quoted(&self.state_dir()));
        let _ = writeln!(text, "workers = {}", options.workers);
        if !options.is_gateway {
            let _ = writeln!(
                text,
                "listen = [\"{}\", {}]",
                self.turn, options.listen_also
            );
        }
        let _ = writeln!(text, "relay_ports = \"{}\"", options.relay_ports);
        let _ = writeln!(text, "default_realm = \"{REALM}\"");
        if let Some(key) = &options.cluster_key {
            let _ = writeln!(text, "cluster_key_file = {}", quoted(key));
        }
        text.push_str(&options.top);
        if let Some(range) = options.allowed_peers {
            let _ = writeln!(text, "[peers]\nallowed = [\"{range}\"]");
        }
        let _ = writeln!(text, "[metrics]\nlisten = \"{}\"", self.metrics);
        if let Some(url) = &options.redis {
            let _ = writeln!(text, "[store]\nurl = \"{url}\"\n{}", options.store);
        }
        let _ = writeln!(
            text,
            "[[realm]]\nname = \"{REALM}\"\nsecrets = [\"{SECRET}\"]"
        );
        let (name, password) = USER;
        let _ = writeln!(
            text,
            "users = [{{ name = \"{name}\", password = \"{password}\" }}]"
        );
        if let Some(limit) = options.max_sessions_per_user {
            let _ = writeln!(text, "max_sessions_per_user = {limit}");
        }
        text.push_str(&options.end);
        text
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("relayd.toml")
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state_dir().join("relayd.sock")
    }

    /// Where the log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("relayd.log")
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// `relayctl` against this node.
    #[must_use]
    pub fn ctl(&self) -> Ctl {
        Ctl::new(&self.socket())
    }

    /// The admin API of this node.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(&self.socket())
    }

    /// A client with this login.
    ///
    /// # Panics
    /// When no socket can be bound.
    #[must_use]
    pub fn client(&self, login: &Login) -> TurnClient {
        TurnClient::new(self.turn, login.clone()).expect("a free loopback port")
    }

    /// The process id.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running node").id()
    }

    /// Sends a signal, as in `HUP`.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, signal: &str) {
        program::signal(self.child.as_ref().expect("a running node"), signal);
    }

    /// Kills the process: it says nothing to anybody any more.
    ///
    /// # Panics
    /// When it is not running.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait_exit();
    }

    /// Has the next start run with other options; addresses and state directory stay.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn change(&mut self, change: impl FnOnce(&mut NodeOptions)) {
        change(&mut self.options);
        std::fs::write(self.config_path(), self.config()).expect("a file in the node's folder");
    }

    /// Waits for the process to end by itself; its exit code.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a running node");
        let status = program::ended(&mut child, START);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        status
            .unwrap_or_else(|| panic!("relayd does not end:\n{}", self.log()))
            .code()
    }

    /// A number of `/metrics`: the sum of all samples of that name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = crate::http::get(self.metrics, "/metrics")?;
        let samples: Vec<f64> = text
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!samples.is_empty()).then(|| samples.iter().sum())
    }

    /// A sample of `/metrics` by its name and labels, as they are printed.
    #[must_use]
    pub fn sample(&self, name: &str) -> Option<f64> {
        let (_, text) = crate::http::get(self.metrics, "/metrics")?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value?.parse().ok()
    }

    /// What the process holds open, a line for each descriptor, in order: a path, or a kind like `socket`.
    #[must_use]
    pub fn descriptors(&self) -> Vec<String> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let links = folder.into_iter().flatten().flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        let mut names: Vec<_> = targets
            .map(|target| {
                let name = target.to_string_lossy().into_owned();
                // `socket:[4711]`: the number tells it from others, not what it is.
                name.split(":[").next().unwrap_or(&name).to_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Sets the soft limit of its file descriptors.
    ///
    /// # Panics
    /// When `prlimit` is not installed, or may not.
    pub fn limit_descriptors(&self, limit: usize) {
        let (pid, limit) = (self.pid().to_string(), format!("--nofile={limit}:4096"));
        let arguments = ["--pid", &pid, &limit];
        let output = program::run("util-linux", "prlimit", &arguments, STOP);
        assert!(output.status.success(), "{}", program::text(&output));
    }

    /// CPU time that it took so far, its own and the system's for it, in ticks of 10 ms.
    #[must_use]
    pub fn cpu_ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // Behind the name, which may hold anything: state is the first field, utime the twelfth.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let (user, system) = (fields.next()?, fields.next()?);
        Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
    }

    /// The same of the samples that have this label, as in `reason="stale_nonce"`.
    #[must_use]
    pub fn metric_of(&self, name: &str, label: &str) -> Option<f64> {
        let (_, text) = crate::http::get(self.metrics, "/metrics")?;
        let labelled = text.lines().filter(|line| line.contains(label));
        let samples = labelled.filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with('{')
                .then(|| line.rsplit(' ').next()?.parse().ok())?
        });
        samples.reduce(|sum: f64, sample: f64| sum + sample)
    }

    /// Waits until the store has all that clients were told: nothing was unwritten for a while, in which
    /// what a worker had to tell has come to the books.
    #[track_caller]
    pub fn wait_written(&self) {
        let mut since = None;
        wait_until("the store to have every session", START, || {
            let begun = Instant::now();
            let is_written = self.metric("relayd_sessions_unwritten") == Some(0.0);
            since = is_written.then(|| since.unwrap_or(begun));
            since.is_some_and(|since| since.elapsed() >= WRITTEN_FOR)
        });
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            program::signal(child, "TERM");
            if program::ended(child, STOP).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        for pid in self.heirs() {
            program::terminate(pid);
        }
        if std::thread::panicking() {
            let text = self.log();
            let from = text.len().saturating_sub(8_000);
            let tail = text.get(from..).unwrap_or(&text);
            #[expect(clippy::print_stderr, reason = "the log explains why a test failed")]
            {
                eprintln!("--- log of {} ---\n{tail}", self.options.id);
            }
        }
    }
}

/// A login of the kit's stored user.
#[must_use]
pub fn stored_login() -> Login {
    Login::new(USER.0, USER.1)
}

/// A login that is good for an hour, signed with the kit's secret.
#[must_use]
pub fn rest_login(user: &str) -> Login {
    let expiry = unix_now() + 3600;
    Login::rest(&format!("{expiry}:{user}"), SECRET)
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
