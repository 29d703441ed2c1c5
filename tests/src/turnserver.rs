//! coturn's server (Debian package `coturn`), against which our clients show that they need no
//! `relayd`.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::address::{free_port, fresh_ip};
use crate::program::{Sinks, spawn};
use crate::wait::wait_until;

/// Its realm.
pub const REALM: &str = "north.gov";
/// Its user and password.
pub const USER: (&str, &str) = ("alice", "wonderland");
/// A Binding request.
pub(crate) const BINDING: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
];

/// A running `turnserver`. Dropping it stops it.
#[derive(Debug)]
pub struct Turnserver {
    /// Its listener for UDP and TCP.
    pub address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl Turnserver {
    /// One with a user, plain UDP and TCP, and peers on the loopback allowed.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&["--no-tls", "--no-dtls"])
    }

    /// One with these options besides.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        let address = free_port(fresh_ip());
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command.args(["-n", "--no-cli", "--allow-loopback-peers", "-a"]);
        command.args(["--cli-password=unused", "--log-file=stdout", "-r", REALM]);
        command.args(["-u", &format!("{}:{}", USER.0, USER.1)]);
        command.args(["--min-port=49152", "--max-port=65535"]);
        command.arg(format!("--listening-ip={}", address.ip()));
        command.arg(format!("--relay-ip={}", address.ip()));
        command.arg(format!("--listening-port={}", address.port()));
        command.arg(format!("--userdb={}", file("turndb")));
        command.arg(format!("--pidfile={}", file("pid")));
        command.args(options);
        let child = spawn("coturn", command, &Sinks::File(&folder.path().join("log")));
        let server = Self {
            address,
            child,
            folder,
        };
        wait_until("coturn to answer", Duration::from_secs(20), || {
            let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            let pause = Some(Duration::from_millis(100));
            probe.set_read_timeout(pause).expect("a timeout above zero");
            let _ = probe.send_to(&BINDING, address);
            probe.recv(&mut [0; 600]).is_ok()
        });
        server
    }

    /// Where it keeps its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Turnserver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
