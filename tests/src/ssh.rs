//! A real `sshd` on loopback (Debian package `openssh-server`) and the way to it, possibly a slow one.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::address::{free_port, fresh_ip};
use crate::program::{self, Sinks, spawn};
use crate::wait::wait_until;

const START: Duration = Duration::from_secs(10);

/// An `sshd` that lets the user of this process in by one key; gone with the value.
#[derive(Debug)]
pub struct SshServer {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl SshServer {
    /// Starts it.
    ///
    /// # Panics
    /// When `sshd` is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sshd-")
            .tempdir()
            .expect("a folder");
        for name in ["host_key", "user_key"] {
            let path = folder.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path)
                .stdin(Stdio::null())
                .status()
                .expect("ssh-keygen runs (Debian package: openssh-client)");
            assert!(made.success(), "ssh-keygen makes keys");
        }
        let key = std::fs::read(folder.path().join("user_key.pub")).expect("it was just made");
        std::fs::write(folder.path().join("authorized"), key).expect("a file in a fresh folder");
        let mut server = Self {
            address: free_port(fresh_ip()),
            folder,
            child: None,
        };
        server.launch();
        server
    }

    /// Starts the process, as at first or again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn launch(&mut self) {
        // Where sshd as root wants to find its empty folder; a system with a running one has it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", "/dev/null", "-h", &path("host_key")]);
        for option in [
            format!("ListenAddress={}", self.address),
            format!("AuthorizedKeysFile={}", path("authorized")),
            "PidFile=none".to_owned(),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PermitRootLogin=prohibit-password".to_owned(),
            "MaxStartups=100".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "KbdInteractiveAuthentication=no".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        let log = self.folder.path().join("sshd.log");
        self.child = Some(spawn("openssh-server", command, &Sinks::File(&log)));
        wait_until("sshd", START, || TcpStream::connect(self.address).is_ok());
    }

    /// Ends the process and every connection through it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("a running sshd");
        // Sessions are processes of their own, children of the listener.
        let children = Command::new("pgrep")
            .args(["-P", &child.id().to_string()])
            .output()
            .expect("pgrep runs (Debian package: procps)");
        let _ = child.kill();
        let _ = child.wait();
        for pid in String::from_utf8_lossy(&children.stdout).split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
    }

    /// A folder with an `ssh` in it that knows this server under the name `host`, reaching it at
    /// `entrance` (itself or something in front of it), and under the name `inside` by way of `host`.
    /// It is the system's ssh: only its configuration file is given.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn client(&self, entrance: SocketAddr) -> PathBuf {
        let folder = self
            .folder
            .path()
            .join(format!("client-{}", entrance.port()));
        std::fs::create_dir_all(&folder).expect("a folder in ours");
        let config = folder.join("config");
        let mut text = String::new();
        for (name, address) in [("host", entrance), ("inside", self.address)] {
            let _ = writeln!(
                text,
                "Host {name}\n  HostName {}\n  Port {}",
                address.ip(),
                address.port()
            );
        }
        let _ = writeln!(text, "Host inside\n  ProxyCommand ssh -W %h:%p host");
        let key = self.folder.path().join("user_key");
        let _ = writeln!(
            text,
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  LogLevel ERROR",
            key.display()
        );
        std::fs::write(&config, text).expect("a file in our folder");
        let ssh = folder.join("ssh");
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
            config.display()
        );
        std::fs::write(&ssh, script).expect("a file in our folder");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&ssh, mode).expect("our file");
        folder
    }
}

/// `PATH` with `folder` in front.
#[must_use]
pub fn path_with(folder: &Path) -> std::ffi::OsString {
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

impl Drop for SshServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("sshd.log"));
            #[expect(clippy::print_stderr, reason = "the log explains why a test failed")]
            {
                eprintln!("--- log of sshd ---\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// A TCP forwarder that holds every byte back for a while, as a far link does.
///
/// Lost packets show as longer waits: TCP sends them again after a timeout.
#[derive(Debug)]
pub struct SlowLink {
    /// Where it listens.
    pub address: SocketAddr,
}

/// How a link delays.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// Each way.
    pub one_way: Duration,
    /// One chunk of so many is lost and comes a retransmission timeout later.
    pub loss_one_in: u64,
    /// Seeds which ones.
    pub seed: u64,
}

/// The least retransmission timeout of Linux.
const RETRANSMIT: Duration = Duration::from_millis(200);

impl SlowLink {
    /// A link to `to`. It lives as long as the process: its threads end with their connections.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn to(to: SocketAddr, delay: Delay) -> Self {
        let listener = TcpListener::bind((fresh_ip(), 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        std::thread::spawn(move || {
            for (number, near) in (0_u64..).zip(listener.incoming().map_while(Result::ok)) {
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let both = near.try_clone().and_then(|n| Ok((n, far.try_clone()?)));
                let Ok((near_again, far_again)) = both else {
                    continue;
                };
                carry(near, far_again, delay, delay.seed ^ (number << 1));
                carry(far, near_again, delay, delay.seed ^ (number << 1 | 1));
            }
        });
        Self { address }
    }
}

/// Carries one direction: a thread reads, another one writes when the time has come.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Delay, seed: u64) {
    let _ = to.set_nodelay(true);
    let (put, take): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    std::thread::spawn(move || {
        let mut state = seed | 1;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let lost = state.is_multiple_of(delay.loss_one_in);
            let held = delay.one_way + if lost { RETRANSMIT } else { Duration::ZERO };
            if put
                .send((Instant::now() + held, buffer[..count].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        let outcome = take
            .iter()
            .try_for_each(|(due, bytes): (Instant, Vec<u8>)| {
                crate::wait::until(due);
                to.write_all(&bytes)
            });
        let _: io::Result<()> = outcome.and_then(|()| to.shutdown(std::net::Shutdown::Write));
    });
}

/// Kills a process by signal number name; for tests that end an `ssh` in the middle.
pub fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
}

/// Ids of the `ssh` processes that a process started.
#[must_use]
pub fn ssh_children(pid: u32) -> Vec<u32> {
    let output = Command::new("pgrep")
        .args(["-P", &pid.to_string(), "-x", "ssh"])
        .output()
        .expect("pgrep runs (Debian package: procps)");
    let text = program::text(&output);
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}
