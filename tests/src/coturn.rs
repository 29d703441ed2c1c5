//! coturn's tools (Debian package `coturn`): an independent client, its peer, its admin tool.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command};
use std::time::Duration;

use crate::address::{free_port, fresh_ip};
use crate::client::Login;
use crate::program::{self, Sinks, finish, spawn};

/// The package.
const PACKAGE: &str = "coturn";

/// What a node needs for uclient, which draws channel numbers from all that RFC 5766 allowed.
pub const FOR_UCLIENT: &str = "rfc5766_channel_numbers = true\n";

/// How `turnutils_uclient` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// ChannelData, to a peer.
    Channels,
    /// Send indications, to a peer (`-s`).
    Indications,
    /// Between pairs of its own clients, over relay ports with reserved neighbours (`-y`).
    ClientToClient,
    /// Over connections (`-T` among the flags) to a peer that sends everything back.
    TcpPeer(SocketAddr),
}

/// One run of `turnutils_uclient`.
#[derive(Clone, Debug)]
pub struct Uclient {
    /// The TURN listener.
    pub server: SocketAddr,
    /// The user.
    pub login: Login,
    /// Channels, indications, or among themselves.
    pub way: Way,
    /// `-m`.
    pub clients: u32,
    /// `-n`.
    pub messages: u32,
    /// More flags, as in `-x` or `-t`.
    pub flags: &'static [&'static str],
    /// The address of its peer; `None`: one of 127.0.0.0/8.
    pub peer: Option<IpAddr>,
}

/// The totals that `turnutils_uclient` printed; its exit status says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages lost, by its own count.
    pub lost: u64,
    /// The STUN error codes it was refused with.
    pub refusals: Vec<u16>,
    /// All it wrote.
    pub text: String,
}

impl Uclient {
    /// Runs it to its end.
    ///
    /// # Panics
    /// When it is not installed, or does not end within `deadline`.
    #[track_caller]
    #[must_use]
    pub fn run(&self, deadline: Duration) -> Totals {
        let peer_ip = || self.peer.unwrap_or_else(fresh_ip);
        let by_datagrams = matches!(self.way, Way::Channels | Way::Indications);
        let peer = by_datagrams.then(|| Peer::start_on(peer_ip()));
        let mut command = Command::new("turnutils_uclient");
        command.args(["-u", &self.login.username, "-w", &self.login.password]);
        command.args(["-p", &self.server.port().to_string()]);
        command.args([
            "-m",
            &self.clients.to_string(),
            "-n",
            &self.messages.to_string(),
        ]);
        command.args(self.flags);
        match self.way {
            Way::Channels | Way::TcpPeer(_) => {}
            Way::Indications => drop(command.arg("-s")),
            Way::ClientToClient => drop(command.arg("-y")),
        }
        let address = match self.way {
            Way::TcpPeer(address) => Some(address),
            _ => peer.as_ref().map(|peer| peer.address),
        };
        if let Some(address) = address {
            command.args(["-e", &address.ip().to_string()]);
            command.args(["-r", &address.port().to_string()]);
        }
        command.arg(self.server.ip().to_string());
        let output = finish(
            "turnutils_uclient",
            spawn(PACKAGE, command, &Sinks::Pipes),
            deadline,
        );
        Totals::parse(&program::text(&output))
    }
}

impl Totals {
    /// Reads what it printed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut totals = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            if let (Some(sent), Some(received)) = (
                number_after(line, "tot_send_msgs="),
                number_after(line, "tot_recv_msgs="),
            ) {
                (totals.sent, totals.received) = (sent, received);
            }
            if let Some(lost) = number_after(line, "Total lost packets ") {
                totals.lost = lost;
            }
            if let Some(code) = number_after(line, "error ") {
                totals.refusals.extend(u16::try_from(code));
            }
        }
        totals
    }
}

fn number_after(line: &str, label: &str) -> Option<u64> {
    let rest = &line[line.find(label)? + label.len()..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A running `turnutils_peer`, which sends everything back.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Peer {
    /// Starts one on an address of its own.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(fresh_ip())
    }

    /// Starts one on this address.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start_on(ip: IpAddr) -> Self {
        let address = free_port(ip);
        let mut command = Command::new("turnutils_peer");
        command.args([
            "-L",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ]);
        let peer = Self {
            address,
            child: spawn(PACKAGE, command, &Sinks::File("/dev/null".as_ref())),
        };
        let local = if ip.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let probe = std::net::UdpSocket::bind(local).expect("a free port");
        probe
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout above zero");
        crate::wait::wait_until("turnutils_peer to echo", Duration::from_secs(10), || {
            let _ = probe.send_to(b"ping", address);
            probe.recv_from(&mut [0; 16]).is_ok()
        });
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `turnadmin` keeps users.
#[derive(Clone, Debug)]
pub enum UserDb {
    /// `-b FILE`.
    Sqlite(std::path::PathBuf),
    /// `-N "ip=... port=... dbname=..."`.
    Redis(String),
    /// `-e "host=... port=... user=... dbname=..."`.
    Postgres(String),
    /// `-M "host=... port=... user=... password=... dbname=..."`.
    Mysql(String),
}

/// Runs `turnadmin` with these arguments against `db`; answers all it wrote.
///
/// # Panics
/// When it is not installed or does not end.
#[track_caller]
pub fn turnadmin(db: &UserDb, arguments: &[&str]) -> String {
    let store = match db {
        UserDb::Sqlite(file) => ["-b".to_owned(), file.to_string_lossy().into_owned()],
        UserDb::Redis(connection) => ["-N".to_owned(), connection.clone()],
        UserDb::Postgres(connection) => ["-e".to_owned(), connection.clone()],
        UserDb::Mysql(connection) => ["-M".to_owned(), connection.clone()],
    };
    let mut all = arguments.to_vec();
    all.extend(store.iter().map(String::as_str));
    let output = program::run(PACKAGE, "turnadmin", &all, Duration::from_secs(20));
    program::text(&output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_last_printed_ones() {
        let text = "0: : start_mclient: msz=10, tot_send_msgs=41, tot_recv_msgs=40, tot_send_bytes ~ 4100\n\
                    7: : start_mclient: tot_send_msgs=200, tot_recv_msgs=198\n\
                    7: : Total lost packets 2 (1.000000%), total send dropped 0 (0.000000%)\n\
                    0: : error 486 (Allocation Quota Reached)\n";
        let totals = Totals::parse(text);
        assert_eq!((totals.sent, totals.received, totals.lost), (200, 198, 2));
        assert_eq!(totals.refusals, [486]);
    }
}
