//! `relayd` on a configuration of coturn, at an address of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::certificate::TestCertificate;
use kit::client::{Login, TurnClient};
use kit::ctl::Ctl;
use kit::program::{self, Sinks, ours, spawn};
use kit::wait::wait_until;
use tempfile::TempDir;

/// How long a start may take in a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// The file of this name as the suite keeps it.
pub(crate) fn configuration(name: &str) -> &'static str {
    match name {
        "cloud" => include_str!("configs/cloud.conf"),
        "long-term" => include_str!("configs/long-term.conf"),
        "minimal" => include_str!("configs/minimal.conf"),
        "wide-ports" => include_str!("configs/wide-ports.conf"),
        _ => panic!("{name}"),
    }
}

/// A node that is configured as coturn is. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Migrated {
    /// Its address; its ports are coturn's.
    pub(crate) ip: IpAddr,
    metrics: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
    flags: Vec<String>,
}

impl Migrated {
    /// Everything but the process. What the machine lacks is replaced in `text`: its addresses of
    /// 192.0.2.0/24, and the folders of files.
    pub(crate) fn prepare(text: &str, flags: &[&str]) -> Self {
        let ip = fresh_ip();
        let folder = tempfile::Builder::new()
            .prefix("coturn-")
            .tempdir()
            .unwrap();
        let node = Self {
            metrics: free_port(ip),
            ip,
            folder,
            child: None,
            flags: flags
                .iter()
                .map(|flag| flag.replace("IP", &ip.to_string()))
                .collect(),
        };
        node.rewrite(text);
        node
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(text: &str, flags: &[&str]) -> Self {
        let mut node = Self::prepare(text, flags);
        node.launch();
        node.wait_ready();
        node
    }

    /// Replaces the configuration, for a reload.
    pub(crate) fn rewrite(&self, text: &str) {
        std::fs::write(self.file("turnserver.conf"), self.localized(text)).unwrap();
    }

    fn localized(&self, text: &str) -> String {
        let ip = self.ip.to_string();
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut line = line.to_owned();
            for host in ["20", "30", "40"] {
                line = line.replace(&format!("192.0.2.{host}"), &ip);
            }
            for folder in [
                "/usr/local/etc/",
                "/etc/",
                "/var/db/",
                "/var/tmp/",
                "/var/run/",
            ] {
                line = line.replace(folder, &format!("{}/", self.folder.path().display()));
            }
            lines.push(line);
        }
        lines.join("\n") + "\n"
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the administrators' port is, whatever the file says: the default is everybody's.
    pub(crate) fn cli(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5766)
    }

    /// The plain listener.
    pub(crate) fn turn(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 3478)
    }

    /// The files that `cert` and `pkey` of the configurations name.
    pub(crate) fn furnish(&self, certificate: &TestCertificate) {
        std::fs::copy(certificate.certificate(), self.file("turn_server_cert.pem")).unwrap();
        std::fs::copy(certificate.key(), self.file("turn_server_pkey.pem")).unwrap();
    }

    /// The command line as it is started, in the folder of the file.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(ours("relayd"));
        command.current_dir(self.folder.path());
        command.args(&self.flags);
        command.env("RELAYD_NODE_ID", "moved");
        command.env("RELAYD_STATE_DIR", self.file("state"));
        command.env("RELAYD_METRICS_LISTEN", self.metrics.to_string());
        let text = std::fs::read_to_string(self.file("turnserver.conf")).unwrap_or_default();
        if !text.contains("userdb") {
            command.env("RELAYD_STORE_TURNDB", self.file("turndb"));
        }
        // Who says where it is means it.
        if text.contains("cli-password") && !text.contains("cli-port") {
            command.env("RELAYD_ADMIN_LISTEN", self.cli().to_string());
        }
        command
    }

    /// Has the next start run with other flags.
    pub(crate) fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Starts the process.
    pub(crate) fn launch(&mut self) {
        let log = self.file("terminal.log");
        self.child = Some(spawn("this workspace", self.command(), &Sinks::File(&log)));
    }

    /// Starts the process with an output each for what is told and what is wrong.
    pub(crate) fn launch_apart(&mut self) {
        let file = |name: &str| std::fs::File::create(self.file(name)).unwrap();
        let mut command = self.command();
        command.stdin(std::process::Stdio::null());
        command
            .stdout(file("stdout.log"))
            .stderr(file("stderr.log"));
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until `/readyz` says so.
    pub(crate) fn wait_ready(&mut self) {
        wait_until("relayd to be ready", START, || {
            let child = self.child.as_mut().unwrap();
            let ended = child.try_wait().unwrap();
            let is_wrong = ended.is_some_and(|status| !status.success());
            assert!(!is_wrong, "{ended:?}\n{}", self.said());
            kit::http::get(self.metrics, "/readyz").is_some_and(|(status, _)| status == 200)
        });
    }

    /// Runs it to its end: exit code and all that it wrote.
    pub(crate) fn run_to_end(&self) -> (Option<i32>, String) {
        let child = spawn("this workspace", self.command(), &Sinks::Pipes);
        let output = program::finish("relayd", child, START);
        (output.status.code(), program::text(&output))
    }

    /// Waits for the process that was started to end; its exit code.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        program::ended(&mut child, START)
            .unwrap_or_else(|| panic!("{}", self.said()))
            .code()
    }

    /// What it wrote to its terminal and to its log.
    pub(crate) fn said(&self) -> String {
        let files = [
            "terminal.log",
            "stdout.log",
            "stderr.log",
            "turn.log",
            "state/relayd.log",
        ];
        let texts = files.map(|name| std::fs::read_to_string(self.file(name)).unwrap_or_default());
        texts.concat()
    }

    /// A client over UDP.
    pub(crate) fn client(&self, login: &Login) -> TurnClient {
        TurnClient::new(self.turn(), login.clone()).unwrap()
    }

    /// `relayctl` over the socket.
    pub(crate) fn ctl(&self) -> Ctl {
        Ctl::new(&self.file("state/relayd.sock"))
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal to the process that was started.
    pub(crate) fn signal(&self, signal: &str) {
        program::signal(self.child.as_ref().unwrap(), signal);
    }
}

/// The process id in a file.
pub(crate) fn pid_in(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether a process lives.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

impl Drop for Migrated {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            program::signal(child, "TERM");
            if program::ended(child, STOP).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        for name in ["turnserver.pid", "own.pid"] {
            if let Some(pid) = pid_in(&self.file(name)).filter(|pid| lives(*pid)) {
                program::terminate(pid);
            }
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the log explains why a test failed")]
            {
                eprintln!("--- what relayd said ---\n{}", self.said());
            }
        }
    }
}
