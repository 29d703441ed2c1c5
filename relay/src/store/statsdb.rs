//! What coturn tells a Redis about its sessions (`redis-statsdb`), in its words: names of keys and
//! channels, and messages. Whoever reads coturn's reads ours.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use shared::{Realm, SessionId, Transport, Username};

/// One more than the largest number of a session there.
const NUMBERS: u64 = 1_000_000_000_000_000_000;

/// Something that Redis is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsWrite {
    /// A status key, which goes by itself when nobody writes it again.
    Set {
        /// The key.
        key: String,
        /// What it holds.
        value: String,
        /// How long it is kept, in whole seconds; at least one.
        ttl: Duration,
    },
    /// The session of this status key is over.
    Delete {
        /// The key.
        key: String,
    },
    /// A message for whoever listens.
    Publish {
        /// The channel.
        channel: String,
        /// What is said.
        message: String,
    },
}

/// The number of a session there: the last 18 digits of its id, written as a decimal number.
///
/// Two sessions of a cluster have the same number only if their ids differ by a multiple of 10^18.
/// The lower halves of such ids are at least 164,888,576 apart (or as far from 2^32), so that sessions
/// of starts that had fewer never do.
#[must_use]
pub fn number(id: SessionId) -> u64 {
    id.0 % NUMBERS
}

/// The names of one session's keys and channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsNames {
    session: String,
}

impl StatsNames {
    /// Of this session. Names stand as they are: they are arguments of commands, never parts of them.
    #[must_use]
    pub fn new(realm: &Realm, username: &Username, id: SessionId) -> Self {
        let (realm, username) = (realm.as_str(), username.as_str());
        let number = number(id);
        Self {
            session: format!("turn/realm/{realm}/user/{username}/allocation/{number:018}"),
        }
    }

    /// The status key, and the channel of that name.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/status", self.session)
    }

    /// The messages about what was relayed since the one before; `total`: since the beginning.
    #[must_use]
    pub fn traffic(&self, traffic: Traffic, total: bool) -> [StatsWrite; 2] {
        let name = if total { "total_traffic" } else { "traffic" };
        let channel = format!("{}/{name}", self.session);
        [
            StatsWrite::Publish {
                channel: channel.clone(),
                message: traffic.of_client(),
            },
            StatsWrite::Publish {
                channel: format!("{channel}/peer"),
                message: traffic.of_peers(),
            },
        ]
    }
}

/// Where a session stands, as a status key has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsStatus {
    /// It has just begun.
    pub is_new: bool,
    /// The lifetime granted last, in seconds.
    pub lifetime_secs: u32,
    /// How the client's messages come.
    pub transport: Transport,
    /// What TLS or DTLS agreed on: version and cipher.
    pub security: Option<(&'static str, &'static str)>,
    /// The listener that the client came to.
    pub local: SocketAddr,
    /// The client.
    pub remote: SocketAddr,
}

impl fmt::Display for StatsStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_new { "new" } else { "refreshed" };
        let (kind, none) = match self.transport {
            Transport::Udp => ("UDP", "NONE"),
            Transport::Tcp => ("TCP", "NONE"),
            Transport::Tls => ("TLS/TCP", "UNKNOWN"),
            Transport::Dtls => ("DTLS", "UNKNOWN"),
        };
        let (ssl, cipher) = self.security.unwrap_or((none, none));
        let Self {
            lifetime_secs,
            local,
            remote,
            ..
        } = self;
        write!(
            f,
            "{word} lifetime={lifetime_secs}, type={kind}, local={local}, remote={remote}, \
             ssl={ssl}, cipher={cipher}"
        )
    }
}

/// The message that a session is over.
pub const DELETED: &str = "deleted";

/// What was relayed: payload, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from the client to peers.
    pub in_packets: u64,
    /// Bytes from the client to peers.
    pub in_bytes: u64,
    /// Packets from peers to the client.
    pub out_packets: u64,
    /// Bytes from peers to the client.
    pub out_bytes: u64,
}

impl Traffic {
    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            in_packets: self.in_packets.saturating_sub(before.in_packets),
            in_bytes: self.in_bytes.saturating_sub(before.in_bytes),
            out_packets: self.out_packets.saturating_sub(before.out_packets),
            out_bytes: self.out_bytes.saturating_sub(before.out_bytes),
        }
    }

    /// Packets as coturn counts them: each once as it comes, and once as it goes.
    #[must_use]
    pub fn steps(self) -> u64 {
        self.in_packets
            .saturating_add(self.out_packets)
            .saturating_mul(2)
    }

    fn of_client(self) -> String {
        let (received, sent) = (
            (self.in_packets, self.in_bytes),
            (self.out_packets, self.out_bytes),
        );
        words(received, sent)
    }

    fn of_peers(self) -> String {
        let (received, sent) = (
            (self.out_packets, self.out_bytes),
            (self.in_packets, self.in_bytes),
        );
        words(received, sent)
    }
}

fn words(received: (u64, u64), sent: (u64, u64)) -> String {
    let ((rcvp, rcvb), (sentp, sentb)) = (received, sent);
    format!("rcvp={rcvp}, rcvb={rcvb}, sentp={sentp}, sentb={sentb}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(username: &str, id: u64) -> StatsNames {
        let realm = "example.org".parse().unwrap();
        StatsNames::new(&realm, &username.parse().unwrap(), SessionId(id))
    }

    #[test]
    fn names_have_eighteen_digits_and_whatever_the_user_is_called() {
        assert_eq!(
            names("a/b %s \"", 7).status(),
            "turn/realm/example.org/user/a/b %s \"/allocation/000000000000000007/status"
        );
        let number = number(SessionId(u64::MAX));
        assert_eq!(number, 446_744_073_709_551_615);
    }

    /// What [`number`] promises: counted through for every distance that ids of one number can have.
    #[test]
    fn ids_of_one_number_are_far_apart_in_their_lower_halves() {
        let distance = |times: u64| {
            let lower = (u128::from(NUMBERS) * u128::from(times) % (1 << 32)) as u64;
            lower.min((1 << 32) - lower)
        };
        let nearest = (1..=u64::MAX / NUMBERS).map(distance).min();
        assert_eq!(nearest, Some(164_888_576));
    }

    #[test]
    fn messages_are_coturns() {
        let status = StatsStatus {
            is_new: true,
            lifetime_secs: 600,
            transport: Transport::Udp,
            security: None,
            local: "[2001:db8::1]:3478".parse().unwrap(),
            remote: "192.0.2.7:50000".parse().unwrap(),
        };
        assert_eq!(
            status.to_string(),
            "new lifetime=600, type=UDP, local=[2001:db8::1]:3478, remote=192.0.2.7:50000, \
             ssl=NONE, cipher=NONE"
        );
        let traffic = Traffic {
            in_packets: 1,
            in_bytes: 2,
            out_packets: 3,
            out_bytes: 4,
        };
        assert_eq!(traffic.of_client(), "rcvp=1, rcvb=2, sentp=3, sentb=4");
        assert_eq!(traffic.of_peers(), "rcvp=3, rcvb=4, sentp=1, sentb=2");
        assert_eq!(traffic.steps(), 8);
    }
}
