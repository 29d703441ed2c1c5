//! What is to be measured, and where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::{Secret, Transport};

use super::error::BenchError;
use crate::turn::Login;
use crate::turn::link::TlsOptions;

/// The server, and how clients come to it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it listens.
    pub server: SocketAddr,
    /// What carries the messages.
    pub transport: Transport,
    /// The host of the URI, which a certificate must name.
    pub host: String,
    /// How certificates are believed.
    pub tls: TlsOptions,
    /// What sessions log in with.
    pub logins: Logins,
    /// A network of this machine whose addresses clients have, all from one socket; `None`: a socket
    /// each.
    pub source: Option<Source>,
    /// Whether our sockets take segments that came together as one message.
    pub receive_segments: bool,
    /// The server's process on this machine.
    pub pid: Option<u32>,
    /// How long one request may take.
    pub patience: Duration,
    /// Set when the run is to end early, with all released.
    pub stop: Stop,
}

/// A switch that ends a run early.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What sessions log in with.
#[derive(Clone, Debug)]
pub enum Logins {
    /// Nothing: the server has to do without.
    None,
    /// All the same.
    One(Arc<Login>),
    /// Each a user of its own under a shared secret (TURN REST).
    Each {
        /// The secret.
        secret: Secret<String>,
        /// When the credentials end, in seconds since 1970.
        expiry: u64,
        /// What the users' names begin with.
        user: String,
    },
}

impl Logins {
    /// That of session `number`.
    pub(super) fn of(&self, number: usize) -> Option<Arc<Login>> {
        match self {
            Self::None => None,
            Self::One(login) => Some(login.clone()),
            Self::Each {
                secret,
                expiry,
                user,
            } => {
                let user = format!("{user}-{number}");
                Some(Arc::new(Login::from_secret(secret, *expiry, &user)))
            }
        }
    }
}

/// Addresses of this machine that one socket may send from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The network's first address.
    first: u32,
    /// Addresses that clients can have: neither the network's first nor its last.
    pub(super) count: u32,
}

impl Source {
    /// 127.16.0.0/12, which every Linux takes for its own.
    pub const LOOPBACK: Self = Self {
        first: u32::from_be_bytes([127, 16, 0, 0]),
        count: (1 << 20) - 2,
    };

    /// A network of `prefix` bits.
    ///
    /// # Errors
    /// It has fewer than two addresses besides the first and the last, or the address is not its
    /// first.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Result<Self, String> {
        if !(1..=30).contains(&prefix) {
            return Err("a network of 1 to 30 bits, as in 127.16.0.0/12".to_owned());
        }
        let (first, size) = (u32::from(network), 1_u32 << (32 - u32::from(prefix)));
        if !first.is_multiple_of(size) {
            let right = Ipv4Addr::from(first / size * size);
            return Err(format!(
                "{network} is not the first address of its network: {right}"
            ));
        }
        Ok(Self {
            first,
            count: size - 2,
        })
    }

    /// Address `index`, below [`Self::count`].
    pub(super) fn address(self, index: u32) -> IpAddr {
        Ipv4Addr::from(self.first + 1 + index).into()
    }

    /// Which address that is.
    pub(super) fn index(self, address: IpAddr) -> Option<u32> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let index = u32::from(address).checked_sub(self.first + 1)?;
        (index < self.count).then_some(index)
    }
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to peers.
    Up,
    /// From peers to clients.
    Down,
    /// Both at once.
    Both,
    /// From clients to peers, who send them back.
    Echo,
}

impl Direction {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
            Self::Echo => "echo",
        }
    }
}

/// What carries data between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// ChannelData.
    Channel,
    /// Send and Data indications.
    Indication,
}

impl Method {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Indication => "indication",
        }
    }
}

/// When packets leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As they arrive: so many are on their way at most, in each direction.
    Closed {
        /// Packets.
        window: usize,
    },
    /// By the clock, whatever arrives.
    Open {
        /// Packets per second, all flows and directions together.
        per_sec: f64,
    },
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a time.
    After(Duration),
    /// After so many packets were sent, or cycles made.
    Count(u64),
}

/// A run of `bench relay`.
#[derive(Clone, Debug)]
pub struct RelayPlan {
    /// Allocations.
    pub sessions: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Packets of one flow before the next flow's.
    pub burst: usize,
    /// Where they go.
    pub direction: Direction,
    /// What carries them.
    pub method: Method,
    /// When they leave.
    pub pace: Pace,
    /// When the run ends.
    pub end: End,
    /// How long it runs before anything counts.
    pub warm_up: Duration,
    /// Whether a burst leaves as one message.
    pub segments: bool,
    /// Whether sessions are each other's peers.
    pub pair: bool,
    /// Where the peer socket is bound; port 0 is any.
    pub peer: Option<SocketAddr>,
    /// How long to sleep between sending and looking; zero waits for what comes.
    pub settle: Duration,
}

impl RelayPlan {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// The text names the option.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let wrong = |text: &str| Err(BenchError::Plan(text.to_owned()));
        if self.pair && !self.sessions.is_multiple_of(2) {
            return wrong("--pair needs an even number of --sessions");
        }
        if self.pair && self.direction == Direction::Echo {
            return wrong("--pair has no peer that could echo: leave one of them away");
        }
        if self.direction == Direction::Echo && self.size < super::stamp::LEAST {
            return wrong("--direction echo needs a --size of at least 12 bytes");
        }
        if let Pace::Closed { window } = self.pace
            && window < self.burst
        {
            return wrong("--window must hold a whole --burst");
        }
        Ok(())
    }
}

/// A run of `bench churn`.
#[derive(Clone, Debug)]
pub struct ChurnPlan {
    /// Allocations at once.
    pub concurrency: usize,
    /// When it ends.
    pub end: End,
    /// How long to sleep between sending and looking; zero waits for what comes.
    pub settle: Duration,
}

/// A run of `bench idle`.
#[derive(Clone, Debug)]
pub struct IdlePlan {
    /// Sessions.
    pub sessions: usize,
    /// How long they are held.
    pub hold: Duration,
    /// How often they are made.
    pub rounds: usize,
    /// How long the server has to give memory back before it is looked at.
    pub rest: Duration,
    /// Where their peer is said to be.
    pub peer: Option<SocketAddr>,
}

/// A run of `bench binding`.
#[derive(Clone, Debug)]
pub struct BindingPlan {
    /// When requests leave.
    pub pace: Pace,
    /// When it ends.
    pub end: End,
    /// Clients that ask.
    pub clients: usize,
    /// How long to sleep between sending and looking; zero waits for what comes.
    pub settle: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_between_its_first_and_last() {
        let source = Source::new("127.16.0.0".parse().unwrap(), 12).unwrap();
        assert_eq!(source, Source::LOOPBACK);
        let small = Source::new("10.0.0.8".parse().unwrap(), 29).unwrap();
        assert_eq!(small.count, 6);
        assert_eq!(small.address(0).to_string(), "10.0.0.9");
        assert_eq!(small.address(5).to_string(), "10.0.0.14");
        assert_eq!(small.index("10.0.0.14".parse().unwrap()), Some(5));
        for foreign in ["10.0.0.8", "10.0.0.15", "10.0.0.7", "::1"] {
            assert_eq!(small.index(foreign.parse().unwrap()), None, "{foreign}");
        }
        let wrong = Source::new("10.0.0.9".parse().unwrap(), 29);
        assert!(wrong.unwrap_err().contains("10.0.0.8"));
        assert!(Source::new("10.0.0.0".parse().unwrap(), 31).is_err());
    }

    #[test]
    fn sessions_under_a_secret_are_users_of_their_own() {
        let each = Logins::Each {
            secret: Secret::new("s".to_owned()),
            expiry: 99,
            user: "bench".to_owned(),
        };
        assert_eq!(each.of(3).unwrap().username, "99:bench-3");
        assert!(Logins::None.of(0).is_none());
    }
}
