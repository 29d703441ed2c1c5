//! The servers: how each is started, and how it is known to be ready.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::machine::Pinning;
use crate::address::{free_port, fresh_ip};
use crate::program::{self, Sinks};

/// The realm of all.
pub const REALM: &str = "compare.test";
/// The account of all: name and password.
pub const ACCOUNT: (&str, &str) = ("measured", "for-the-comparison");
/// How long a server may take to get ready, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// A Binding request.
const BINDING: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
];
/// Debian's `coturn` keeps its server out of the way of users.
const COTURN: &str = "turnserver";

/// Something that relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// Ours.
    Relayd,
    /// coturn, as Debian ships it: what everything is a share of.
    Coturn,
    /// The crate `turn-server`, which relays between its own clients only.
    TurnServer,
    /// No TURN: one packet per call.
    Single,
    /// No TURN: many packets per call.
    Batched,
    /// No TURN: many packets per call, those of one flow in one message.
    Grouped,
}

impl Server {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::Relayd,
        Self::Coturn,
        Self::TurnServer,
        Self::Single,
        Self::Batched,
        Self::Grouped,
    ];
    /// Those without TURN.
    pub const FORWARDERS: [Self; 3] = [Self::Single, Self::Batched, Self::Grouped];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relayd => "relayd",
            Self::Coturn => "coturn",
            Self::TurnServer => "turn-server *",
            Self::Single => "forwarder, single",
            Self::Batched => "forwarder, batched",
            Self::Grouped => "forwarder, grouped",
        }
    }

    /// Whether it knows no TURN.
    #[must_use]
    pub fn is_forwarder(self) -> bool {
        Self::FORWARDERS.contains(&self)
    }

    /// Its program; `None` where it is not installed.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        let found = match self {
            Self::Relayd => beside("relayd")?,
            Self::Single | Self::Batched | Self::Grouped => beside("plain-forwarder")?,
            Self::Coturn => return in_path(COTURN),
            // Where `tests/compare.sh` puts it.
            Self::TurnServer => beside("../peers/bin/turn-server")?,
        };
        found.exists().then_some(found)
    }

    /// What it calls itself; empty where it does not say.
    #[must_use]
    pub fn version(self) -> String {
        let Some(program) = self.program() else {
            return String::new();
        };
        let output = Command::new(program).arg("--version").output();
        let text = output.map_or_else(|_| String::new(), |output| program::text(&output));
        let version = text.split_whitespace().find(|word| {
            let digits = word.trim_start_matches("Coturn-").trim_start_matches('v');
            digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.')
        });
        version.unwrap_or_default().to_owned()
    }

    /// The command, but for where it runs; what it needs is put into `folder`.
    fn command(self, address: SocketAddr, folder: &Path) -> anyhow::Result<Vec<String>> {
        let text = |path: &Path| path.display().to_string();
        let file = |name: &str| text(&folder.join(name));
        let program = self
            .program()
            .with_context(|| format!("{} is not installed", self.name()))?;
        let mut command = vec![text(&program)];
        let mut add = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
        match self {
            Self::Relayd => add(&["--config", &text(&settings("relayd.toml"))]),
            Self::Coturn => add(&[
                "-c",
                &text(&settings("turnserver.conf")),
                &format!("--listening-ip={}", address.ip()),
                &format!("--relay-ip={}", address.ip()),
                &format!("--listening-port={}", address.port()),
                &format!("--userdb={}", file("turndb")),
                &format!("--pidfile={}", file("pid")),
            ]),
            Self::TurnServer => {
                let template = fs::read_to_string(settings("turn-server.toml"))?;
                let own = template.replace("LISTEN", &address.to_string());
                fs::write(folder.join("turn-server.toml"), own)?;
                add(&["--config", &file("turn-server.toml")]);
            }
            Self::Single | Self::Batched | Self::Grouped => {
                let mode = match self {
                    Self::Single => "single",
                    Self::Batched => "batched",
                    _ => "grouped",
                };
                let (user, password) = ACCOUNT;
                add(&["--listen", &address.to_string(), "--mode", mode]);
                add(&["--realm", REALM, "--user", user, "--password", password]);
            }
        }
        Ok(command)
    }
}

/// A file of settings in the repository.
fn settings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("compare")
        .join(name)
}

/// A file in the folder of the running program, which is that of all our programs.
#[must_use]
pub fn beside(name: &str) -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?;
    Some(folder.parent()?.join(name))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.exists())
}

/// A server at work. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts one on a loopback address of its own and on these cores, with a worker for each, and waits
    /// until it answers.
    ///
    /// # Errors
    /// It is not installed, does not start, or does not answer in time: with its log.
    pub fn start(server: Server, cores: &[usize]) -> anyhow::Result<Self> {
        let address = free_port(fresh_ip());
        let folder = tempfile::Builder::new().prefix("compare-").tempdir()?;
        let mut command = Pinning::server(cores, &server.command(address, folder.path())?);
        if server == Server::Relayd {
            command.env("RELAYD_NODE_ID", "compared");
            command.env("RELAYD_STATE_DIR", folder.path().join("state"));
            command.env("RELAYD_LISTEN", address.to_string());
            command.env("RELAYD_METRICS_LISTEN", "off");
            command.env("RELAYD_WORKERS", cores.len().to_string());
        }
        let child = program::spawn(
            "the comparison",
            command,
            &Sinks::File(&folder.path().join("log")),
        );
        let mut running = Self {
            address,
            child,
            folder,
        };
        let answered = running.wait_answering();
        anyhow::ensure!(
            answered,
            "{} does not answer: {}",
            server.name(),
            running.log()
        );
        Ok(running)
    }

    /// Its process: no wrapper stays around it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read(self.folder.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn wait_answering(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        let Ok(probe) = UdpSocket::bind("127.0.0.1:0") else {
            return false;
        };
        let pause = Some(Duration::from_millis(50));
        if probe.set_read_timeout(pause).is_err() {
            return false;
        }
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            let _ = probe.send_to(&BINDING, self.address);
            if probe.recv(&mut [0; 600]).is_ok() {
                return true;
            }
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        program::signal(&self.child, "TERM");
        if program::ended(&mut self.child, PATIENCE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
