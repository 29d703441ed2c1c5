//! A coturn with its command line, and the `relayd --beside-coturn` that speaks for it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::address::{free_port, fresh_ip};
use crate::client::{Login, TurnClient};
use crate::node::{Node, NodeOptions};
use crate::program::{Sinks, spawn};
use crate::turnserver::{BINDING, REALM, USER, known};
use crate::wait::wait_until;

/// The password of the command line.
pub const CLI_PASSWORD: &str = "open-sesame";
/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// A running (or ended) `turnserver` with its command line on. Dropping it stops it.
#[derive(Debug)]
pub struct CoturnHost {
    /// Its TURN listener.
    pub turn: SocketAddr,
    /// Its command line.
    pub cli: SocketAddr,
    statsdb: Option<u16>,
    password: String,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl CoturnHost {
    /// Starts one. `statsdb` is the port of a Redis on 127.0.0.1 that it tells of its sessions.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start(statsdb: Option<u16>) -> Self {
        Self::start_with_password(statsdb, CLI_PASSWORD)
    }

    /// The same with this `cli-password`, plain or hashed.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start_with_password(statsdb: Option<u16>, password: &str) -> Self {
        let ip = fresh_ip();
        let mut host = Self {
            turn: free_port(ip),
            cli: free_port(ip),
            statsdb,
            password: password.to_owned(),
            child: None,
            folder: tempfile::tempdir().expect("a folder"),
        };
        host.launch();
        host
    }

    /// Starts it (again) and waits until it answers on both ports.
    ///
    /// # Panics
    /// When it does not.
    pub fn launch(&mut self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command.args(["-n", "--allow-loopback-peers", "-a", "--no-tls", "-m", "2"]);
        command.args(known(&["--cli", "--no-dtls"]));
        command.args(["--log-file=stdout", "-r", REALM]);
        command.args(["-u", &format!("{}:{}", USER.0, USER.1)]);
        command.args(["--min-port=49152", "--max-port=65535"]);
        command.arg(format!("--listening-ip={}", self.turn.ip()));
        command.arg(format!("--relay-ip={}", self.turn.ip()));
        command.arg(format!("--listening-port={}", self.turn.port()));
        command.arg(format!("--cli-ip={}", self.cli.ip()));
        command.arg(format!("--cli-port={}", self.cli.port()));
        command.arg(format!("--cli-password={}", self.password));
        command.arg(format!("--userdb={}", file("turndb")));
        command.arg(format!("--pidfile={}", file("pid")));
        if let Some(port) = self.statsdb {
            let info = format!("ip=127.0.0.1 dbname=0 port={port} connect_timeout=5");
            command.arg(format!("--redis-statsdb={info}"));
        }
        let log = self.folder.path().join("log");
        self.child = Some(spawn("coturn", command, &Sinks::File(&log)));
        wait_until("coturn to answer", START, || {
            let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let pause = Some(Duration::from_millis(100));
            probe.set_read_timeout(pause).expect("a timeout above zero");
            let _ = probe.send_to(&BINDING, self.turn);
            probe.recv(&mut [0; 600]).is_ok() && TcpStream::connect(self.cli).is_ok()
        });
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether the process lives.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A client of it.
    ///
    /// # Panics
    /// When no socket can be bound.
    #[must_use]
    pub fn client(&self) -> TurnClient {
        TurnClient::new(self.turn, login()).expect("a free loopback port")
    }

    /// How a node speaks for it: the options of a node that is started with `--beside-coturn`.
    #[must_use]
    pub fn options(&self, like: NodeOptions) -> NodeOptions {
        beside(self.cli, CLI_PASSWORD, self.statsdb, like)
    }
}

impl Drop for CoturnHost {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Its user.
#[must_use]
pub fn login() -> Login {
    Login {
        username: USER.0.to_owned(),
        password: USER.1.to_owned(),
    }
}

/// Options of a node that speaks for the coturn at `cli`.
#[must_use]
pub fn beside(
    cli: SocketAddr,
    password: &str,
    statsdb: Option<u16>,
    like: NodeOptions,
) -> NodeOptions {
    let mut table = format!("[beside]\ncli = \"{cli}\"\npassword = \"{password}\"\n");
    if let Some(port) = statsdb {
        let _ = writeln!(table, "statsdb = \"redis://127.0.0.1:{port}\"");
    }
    NodeOptions {
        is_gateway: true,
        end: format!("{}{table}", like.end),
        ..like
    }
}

/// Starts the node of [`beside`].
#[must_use]
pub fn start(options: NodeOptions) -> Node {
    let mut node = launch(options);
    node.wait_ready();
    node
}

/// The same without waiting until it is ready.
#[must_use]
pub fn launch(options: NodeOptions) -> Node {
    let mut node = Node::prepare(options);
    node.arguments.push("--beside-coturn".to_owned());
    node.launch();
    node
}

/// A hash of a `cli-password`, as `turnadmin -P` prints it.
///
/// # Panics
/// When `turnadmin` is not installed.
#[must_use]
pub fn hashed(password: &str) -> String {
    let made = Command::new("turnadmin")
        .args(["-P", "-p", password])
        .output();
    let made = made.expect("turnadmin of the package coturn runs");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// Where answers of coturn's command line are recorded.
#[must_use]
pub fn transcript(name: &str) -> String {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../relay/src/beside/transcripts",
        name,
    ]
    .iter()
    .collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
