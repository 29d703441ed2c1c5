//! A real `redis-server` of its own, on a free port, gone with the value.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::address;
use crate::wait::wait_until;

/// How long a server may take to start.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// The user that may do everything where the server has ACL rules.
pub(crate) const ADMIN: &str = "admin";
/// Its password, and that of every user of the shipped rules in a test.
pub const PASSWORD: &str = "test-password";

/// Names another program to test with, as `valkey-server`.
const PROGRAM: &str = "TESTS_REDIS_SERVER";

/// A running (or killed) server. Its data survives [`kill`](Self::kill) and
/// [`restart`](Self::restart), as with an append-only file in production.
#[derive(Debug)]
pub struct RedisServer {
    /// The port on 127.0.0.1, the same after a restart.
    pub port: u16,
    child: Option<Child>,
    dir: TempDir,
    setup: Setup,
    is_paused: AtomicBool,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program; by default what the variable `TESTS_REDIS_SERVER` names, or `redis-server`.
    pub program: PathBuf,
    /// ACL rules, as lines of an ACL file; the user `default` is off then.
    pub acl: Option<String>,
    /// It speaks TLS only, with a certificate for `localhost`.
    pub tls: bool,
    /// The port of its cluster bus, where it is to be one of a cluster.
    pub bus: Option<u16>,
    /// More arguments.
    pub arguments: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            program: std::env::var_os(PROGRAM)
                .unwrap_or("redis-server".into())
                .into(),
            acl: None,
            tls: false,
            bus: None,
            arguments: Vec::new(),
        }
    }
}

impl RedisServer {
    /// Starts a server without passwords.
    ///
    /// # Panics
    /// When it does not start; the message names the Debian package where the program is missing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(Setup::default())
    }

    /// Starts a server with these ACL rules (lines of an ACL file). The user `default` is off;
    /// [`cli`](Self::cli) and [`admin_url`](Self::admin_url) use a user of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start); also when the rules are not accepted.
    #[must_use]
    pub fn start_with_acl(rules: &str) -> Self {
        Self::start_as(Setup {
            acl: Some(rules.to_owned()),
            ..Setup::default()
        })
    }

    /// Starts a server that speaks TLS only, with a certificate for `localhost` by an authority of
    /// its own: see [`ca_file`](Self::ca_file).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with_tls() -> Self {
        Self::start_as(Setup {
            tls: true,
            ..Setup::default()
        })
    }

    /// Starts a server as it is described.
    ///
    /// # Panics
    /// As [`start`](Self::start); also when rules or arguments are not accepted.
    #[must_use]
    pub fn start_as(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        if setup.tls {
            make_certificate(dir.path());
        }
        Self::start_in(dir, setup)
    }

    /// The same with the certificate of another one, where they speak TLS with each other.
    pub(crate) fn start_beside(other: &Self, setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for file in ["ca.pem", "server.pem", "server.key"] {
            if setup.tls {
                std::fs::copy(other.dir.path().join(file), dir.path().join(file)).expect(file);
            }
        }
        Self::start_in(dir, setup)
    }

    fn start_in(dir: TempDir, setup: Setup) -> Self {
        if let Some(rules) = &setup.acl {
            let file =
                format!("user default off\nuser {ADMIN} on >{PASSWORD} ~* &* +@all\n{rules}\n");
            std::fs::write(dir.path().join("users.acl"), file).expect("the ACL file");
        }
        let mut server = Self {
            port: free_port(),
            child: None,
            dir,
            setup,
            is_paused: AtomicBool::new(false),
        };
        server.restart();
        server
    }

    /// The certificate to trust, of a server that speaks TLS.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The URL without a user.
    #[must_use]
    pub fn url(&self) -> String {
        if self.setup.tls {
            return format!("rediss://localhost:{}/", self.port);
        }
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The URL with a user that may do everything.
    #[must_use]
    pub fn admin_url(&self) -> String {
        if self.setup.acl.is_some() {
            return format!("redis://{ADMIN}:{PASSWORD}@127.0.0.1:{}/", self.port);
        }
        self.url()
    }

    /// The host of its URL.
    pub(crate) fn host(&self) -> &'static str {
        match self.setup.tls {
            true => "localhost",
            false => "127.0.0.1",
        }
    }

    /// The port of its cluster bus; 0: it is in no cluster.
    pub(crate) fn bus(&self) -> u16 {
        self.setup.bus.unwrap_or(0)
    }

    /// The id of the process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs and does not stand still.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.child.is_some() && !self.is_paused.load(Ordering::Relaxed)
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
        if self.setup.acl.is_some() {
            command
                .args(["--user", ADMIN, "--no-auth-warning"])
                .env("REDISCLI_AUTH", PASSWORD);
        }
        if self.setup.tls {
            command
                .args(["--tls", "--sni", "localhost", "--cacert"])
                .arg(self.ca_file());
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
        self.is_paused.store(true, Ordering::Relaxed);
        self.signal("-STOP");
    }

    /// Lets a stopped process go on.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
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
        let plain_port = if self.setup.tls { 0 } else { self.port };
        let mut command = Command::new(&self.setup.program);
        command
            .args([
                "--port",
                &plain_port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args(["--appendonly", "yes", "--logfile", "redis.log", "--dir"])
            .arg(self.dir.path());
        if self.setup.tls {
            let file = |name| self.dir.path().join(name);
            command.args([
                "--tls-port",
                &self.port.to_string(),
                "--tls-auth-clients",
                "no",
            ]);
            command.arg("--tls-cert-file").arg(file("server.pem"));
            command.arg("--tls-key-file").arg(file("server.key"));
            command.arg("--tls-ca-cert-file").arg(file("ca.pem"));
        }
        if self.setup.acl.is_some() {
            command
                .arg("--aclfile")
                .arg(self.dir.path().join("users.acl"));
            // As a replica it has to log in, too.
            command.args(["--masteruser", ADMIN, "--masterauth", PASSWORD]);
        }
        if let Some(bus) = self.setup.bus {
            command.args([
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus.to_string(),
            ]);
        }
        command.args(&self.setup.arguments);
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

pub(crate) fn free_port() -> u16 {
    address::free_port(Ipv4Addr::LOCALHOST.into()).port()
}

/// Writes `ca.pem`, and `server.pem` with `server.key` for `localhost`, into `dir`.
fn make_certificate(dir: &Path) {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(dir).output();
        let output = output.expect("openssl runs (Debian package: openssl)");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
    let files = ["-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &key[..], &files[..]].concat());
    let request = [
        "req",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ];
    let files = ["-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&request[..], &key[..], &files[..]].concat());
    let sign = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "server.csr",
        "-out",
        "server.pem",
    ];
    let with = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-copy_extensions",
        "copy",
    ];
    openssl(&[&sign[..], &with[..]].concat());
}
