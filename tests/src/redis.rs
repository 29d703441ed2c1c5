//! A real `redis-server` of its own, on a free port, gone with the value.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait::wait_until;

/// How long a server may take to start.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// The user that may do everything where the server has ACL rules.
const ADMIN: &str = "admin";
/// Its password, and that of every user of the shipped rules in a test.
pub const PASSWORD: &str = "test-password";

/// A running (or killed) server. Its data survives [`kill`](Self::kill) and
/// [`restart`](Self::restart), as with an append-only file in production.
#[derive(Debug)]
pub struct RedisServer {
    /// The port on 127.0.0.1, the same after a restart.
    pub port: u16,
    child: Option<Child>,
    dir: TempDir,
    has_acl: bool,
}

impl RedisServer {
    /// Starts a server without passwords.
    ///
    /// # Panics
    /// When it does not start; the message names the Debian package where the program is missing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a server with these ACL rules (lines of an ACL file). The user `default` is off;
    /// [`cli`](Self::cli) and [`admin_url`](Self::admin_url) use a user of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start); also when the rules are not accepted.
    #[must_use]
    pub fn start_with_acl(rules: &str) -> Self {
        Self::start_with(Some(rules))
    }

    fn start_with(acl: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        if let Some(rules) = acl {
            let file =
                format!("user default off\nuser {ADMIN} on >{PASSWORD} ~* &* +@all\n{rules}\n");
            std::fs::write(dir.path().join("users.acl"), file).expect("the ACL file");
        }
        let mut server = Self {
            port: free_port(),
            child: None,
            dir,
            has_acl: acl.is_some(),
        };
        server.restart();
        server
    }

    /// The URL without a user.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The URL with a user that may do everything.
    #[must_use]
    pub fn admin_url(&self) -> String {
        if self.has_acl {
            return format!("redis://{ADMIN}:{PASSWORD}@127.0.0.1:{}/", self.port);
        }
        self.url()
    }

    /// The id of the process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs one command as `redis-cli` does and answers what it prints.
    ///
    /// # Panics
    /// When `redis-cli` cannot be run.
    pub fn cli<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.has_acl {
            command
                .args(["--user", ADMIN, "--no-auth-warning"])
                .env("REDISCLI_AUTH", PASSWORD);
        }
        let output = command
            .args(args)
            .output()
            .expect("redis-cli runs (Debian package: redis-tools)");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Kills the process (SIGKILL). Data written before stays on disk.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process without ending it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill")
                .args([signal, &pid.to_string()])
                .status();
        }
    }

    /// Starts the process again on the same port, with its data.
    ///
    /// # Panics
    /// When it does not accept connections in time.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args(["--appendonly", "yes", "--logfile", "redis.log", "--dir"])
            .arg(self.dir.path());
        if self.has_acl {
            command
                .arg("--aclfile")
                .arg(self.dir.path().join("users.acl"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server runs (Debian package: redis-server)");
        self.child = Some(child);
        let log = self.dir.path().join("redis.log");
        wait_until("redis-server to accept connections", START_DEADLINE, || {
            let exited = self
                .child
                .as_mut()
                .is_some_and(|c| !matches!(c.try_wait(), Ok(None)));
            assert!(
                !exited,
                "redis-server ended: {:?}",
                std::fs::read_to_string(&log)
            );
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
                && self.cli(&["PING"]) == "PONG"
        });
    }

    /// Starts the process again on the same port, with nothing in it.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_empty(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(self.dir.path().join("appendonlydir"));
        let _ = std::fs::remove_file(self.dir.path().join("appendonly.aof"));
        self.restart();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}
