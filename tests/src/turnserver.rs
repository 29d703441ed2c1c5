//! coturn's server (Debian package `coturn`), against which our clients show that they need no
//! `relayd`: the `turnserver` that is first in `PATH`, of any release since 4.6.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use crate::address::{free_port, fresh_ip};
use crate::program::{self, Sinks, spawn};
use crate::wait::wait_until;

/// Its realm.
pub const REALM: &str = "north.gov";
/// Its user and password.
pub const USER: (&str, &str) = ("alice", "wonderland");
/// A Binding request.
pub(crate) const BINDING: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
];

/// The release of `turnserver`, as in `[4, 6, 1]`.
///
/// # Panics
/// When it is not installed, or names none.
#[must_use]
pub fn release() -> [u32; 3] {
    static RELEASE: OnceLock<[u32; 3]> = OnceLock::new();
    *RELEASE.get_or_init(|| {
        let said = told("--version");
        let line = said.lines().rfind(|line| !line.trim().is_empty());
        let parts = line.unwrap_or_default().trim().split('.');
        let numbers: Vec<u32> = parts.map_while(|part| part.parse().ok()).collect();
        let release = numbers.try_into();
        release.unwrap_or_else(|_| panic!("turnserver --version names no release: {said}"))
    })
}

/// What its command line calls it, as in `coturn 4.6.1`.
#[must_use]
pub fn software() -> String {
    let [major, minor, patch] = release();
    format!("coturn {major}.{minor}.{patch}")
}

/// Long options that its help has, without the dashes.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn options() -> &'static [String] {
    static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let help = told("--help");
        let rows = help.lines();
        let rows = rows.filter(|line| line.trim_start().starts_with('-'));
        let words = rows.flat_map(|line| line.split([' ', '\t', ',', '=', '|', '<', '[']).take(8));
        let names = words.filter_map(|word| word.strip_prefix("--"));
        names.map(str::to_owned).collect()
    })
}

/// Those of these long options that it has: what newer releases leave off by default has no switch
/// there that turns it off, and older ones have none that turns it on.
pub fn known<'a>(wanted: &[&'a str]) -> impl Iterator<Item = &'a str> {
    let has = |option: &&str| {
        let name = option.trim_start_matches("--");
        options().iter().any(|known| known == name)
    };
    wanted.iter().copied().filter(has)
}

fn told(option: &str) -> String {
    let output = program::run("coturn", "turnserver", &[option], Duration::from_secs(20));
    program::text(&output)
}

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
        Self::start_with(&["--no-tls"])
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
        command.args(["-n", "--allow-loopback-peers", "-a"]);
        // Newer releases name themselves on request only.
        command.args(known(&["--no-cli", "--software-attribute"]));
        // With TLS comes DTLS: older releases have it on, newer ones off.
        let dtls = match options.contains(&"--no-tls") {
            true => "--no-dtls",
            false => "--dtls",
        };
        command.args(known(&[dtls]));
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
