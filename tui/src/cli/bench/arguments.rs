//! The command line of `bench`, and the plans that it means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use shared::units::parse_number;

use crate::bench::plan::{
    BindingPlan, ChurnPlan, Direction, End, IdlePlan, Method, Pace, RelayPlan, Source,
};
use crate::bench::{MAX_SESSIONS, MAX_SIZE};
use crate::cli::args::duration;
use crate::cli::turn::{LoginArgs, TlsArgs, name_server};
use crate::turn::TurnUri;

/// Packets on their way where neither window nor rate is given.
const WINDOW: usize = 128;

/// Verbs of `bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Relay packets as fast as the server takes them, or at a rate
    ///
    /// Makes allocations, sends packets through them, and checks each that arrives: whether it came
    /// out where it belongs, once, and as it was sent.
    #[command(after_long_help = AFTER_RELAY)]
    Relay(Box<RelayArgs>),
    /// Make and release allocations, one behind the other
    ///
    /// Each cycle is a client without a past: it is challenged, allocates, and releases. Its 5-tuple
    /// is one that the server has not seen lately.
    Churn(Box<ChurnArgs>),
    /// Hold sessions that do nothing
    ///
    /// Each has a permission and a channel. With --pid, what they weigh.
    Idle(Box<IdleArgs>),
    /// Ask for our own address
    ///
    /// Servers may limit answers to one source (relayd: limits.*_ratelimit_rps); --clients spreads
    /// requests over as many.
    Binding(Box<BindingArgs>),
}

const AFTER_RELAY: &str = "\
The peer of all sessions is a socket here: the server must be allowed to relay to it (relayd:
[peers] allowed; coturn: --allow-loopback-peers, --allowed-peer-ip). A server that relays between
its own clients only is measured with --pair.

To measure what a server costs when it is the bottleneck, give it and the bench one core, and have
the bench send whole windows and sleep while the server works:

  taskset -c 1 relayd --config FILE &
  chrt -f 1 taskset -c 1 relayctl bench relay turn:127.0.0.1 --secret-stdin --sessions 50 \\
      --window 128 --settle 1ms --pid $! -o json < secret

The exit code is 0 unless packets were misrouted, corrupted or duplicated (1), the command line
makes no sense (2), or the server failed as in `relayctl turn check` (10 to 17). Lost packets are
counted.

Examples:

  relayctl bench relay turn:192.0.2.1 --user alice --password-stdin --sessions 50 < password
  relayctl bench relay turn:192.0.2.1 --secret-stdin --rate 20000 --direction echo < secret
  relayctl bench relay turn:127.0.0.1 --secret-stdin --burst 16 --segments < secret";

/// The server, and how clients come to it.
#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// As in turn:turn.example.org or turns:192.0.2.1:443?transport=tcp
    #[arg(value_name = "URI")]
    pub(super) uri: TurnUri,
    /// Who sessions log in as.
    #[command(flatten)]
    pub(super) login: LoginArgs,
    /// Have clients come from the addresses of this network of ours, all from one socket (UDP over
    /// IPv4), or `none`: a socket each [default: 127.16.0.0/12 if the server is on the loopback, else
    /// none]
    #[arg(long, value_parser = sources, value_name = "NETWORK")]
    pub(super) source: Option<Sources>,
    /// Take packets that came together apart in the server's time: no UDP_GRO on our sockets
    #[arg(long)]
    pub(super) no_receive_segments: bool,
    /// The server's process on this machine, whose CPU time and memory are told
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pid: Option<u32>,
    /// Ask this name server, as in 192.0.2.53 or 192.0.2.53:5353
    #[arg(long, value_parser = name_server, value_name = "ADDRESS")]
    pub(super) dns: Option<SocketAddr>,
    /// Certificates.
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

/// Options of `relay`.
#[derive(Args, Debug)]
pub struct RelayArgs {
    /// The server.
    #[command(flatten)]
    place: PlaceArgs,
    /// Allocations
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MAX_SESSIONS as i64))]
    sessions: u32,
    /// Bytes of a payload; below 12 there is no room for a stamp: packets are only counted
    #[arg(long, default_value_t = 160, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(0..=MAX_SIZE as i64))]
    size: u32,
    /// Packets of one session before those of the next
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    burst: u32,
    /// Where packets go
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    direction: Where,
    /// What carries data between client and server
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    method: By,
    /// Packets per second, all sessions and directions together, whatever arrives
    #[arg(long, value_parser = per_sec, value_name = "PPS", conflicts_with = "window")]
    rate: Option<f64>,
    /// Without a rate: packets on their way at most, in each direction [default: 128]
    #[arg(long, value_name = "PACKETS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: Option<u32>,
    /// How long to send
    #[arg(long, default_value = "5s", value_parser = span, value_name = "TIME")]
    duration: Duration,
    /// Send so many packets instead
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// How long to send before anything counts
    #[arg(long, default_value = "0", value_parser = span, value_name = "TIME")]
    warm_up: Duration,
    /// Let a burst leave as one message (UDP_SEGMENT), as it comes from a sender or a network card
    /// that does the same
    #[arg(long)]
    segments: bool,
    /// Make sessions each other's peers, two by two
    #[arg(long)]
    pair: bool,
    /// Where the peer socket is bound [default: 127.0.0.1, or our address towards the server]
    #[arg(long, value_parser = peer, value_name = "ADDRESS", conflicts_with = "pair")]
    peer: Option<SocketAddr>,
    /// Sleep so long between sending and looking, instead of waiting for what comes
    #[arg(long, default_value = "0", value_parser = span, value_name = "TIME")]
    settle: Duration,
}

/// Options of `churn`.
#[derive(Args, Debug)]
pub struct ChurnArgs {
    /// The server.
    #[command(flatten)]
    place: PlaceArgs,
    /// Allocations at once
    #[arg(long, default_value_t = 32, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// How long to go on
    #[arg(long, default_value = "5s", value_parser = span, value_name = "TIME")]
    duration: Duration,
    /// Make so many instead
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..))]
    cycles: Option<u64>,
    /// Sleep so long between asking and looking, instead of waiting for what comes
    #[arg(long, default_value = "0", value_parser = span, value_name = "TIME")]
    settle: Duration,
}

/// Options of `idle`.
#[derive(Args, Debug)]
pub struct IdleArgs {
    /// The server.
    #[command(flatten)]
    place: PlaceArgs,
    /// Sessions
    #[arg(long, default_value_t = 1000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// How long they are held
    #[arg(long, default_value = "1s", value_parser = span, value_name = "TIME")]
    hold: Duration,
    /// How often they are made and released
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// With --pid: how long the server has to give memory back before it is looked at
    #[arg(long, default_value = "1s", value_parser = span, value_name = "TIME")]
    rest: Duration,
    /// The peer that they name [default: 127.0.0.1, or our address towards the server]
    #[arg(long, value_parser = peer, value_name = "ADDRESS")]
    peer: Option<SocketAddr>,
}

/// Options of `binding`.
#[derive(Args, Debug)]
pub struct BindingArgs {
    /// The server.
    #[command(flatten)]
    place: PlaceArgs,
    /// Clients that ask, in turn
    #[arg(long, default_value_t = 1000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Requests per second, whatever is answered
    #[arg(long, value_parser = per_sec, value_name = "RPS", conflicts_with = "window")]
    rate: Option<f64>,
    /// Without a rate: requests on their way at most [default: 128]
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: Option<u32>,
    /// How long to ask
    #[arg(long, default_value = "5s", value_parser = span, value_name = "TIME")]
    duration: Duration,
    /// Ask so often instead
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Sleep so long between asking and looking, instead of waiting for what comes
    #[arg(long, default_value = "0", value_parser = span, value_name = "TIME")]
    settle: Duration,
}

/// Where clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// A socket each.
    Sockets,
    /// A network.
    Network(Source),
}

/// Where packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Where {
    /// From clients to peers.
    Up,
    /// From peers to clients.
    Down,
    /// Both at once.
    #[default]
    Both,
    /// From clients to peers, who send them back.
    Echo,
}

/// What carries data between client and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// ChannelData.
    #[default]
    Channel,
    /// Send and Data indications.
    Indication,
}

impl BenchCommand {
    /// Whether it asks a node.
    #[must_use]
    pub fn needs_node(&self) -> bool {
        self.place().login.realm().is_some()
    }

    pub(super) fn place(&self) -> &PlaceArgs {
        match self {
            Self::Relay(args) => &args.place,
            Self::Churn(args) => &args.place,
            Self::Idle(args) => &args.place,
            Self::Binding(args) => &args.place,
        }
    }
}

impl RelayArgs {
    pub(super) fn plan(&self) -> RelayPlan {
        let window = self.window.map_or(WINDOW, |window| window as usize);
        RelayPlan {
            sessions: self.sessions as usize,
            size: self.size as usize,
            burst: self.burst as usize,
            direction: match self.direction {
                Where::Up => Direction::Up,
                Where::Down => Direction::Down,
                Where::Both => Direction::Both,
                Where::Echo => Direction::Echo,
            },
            method: match self.method {
                By::Channel => Method::Channel,
                By::Indication => Method::Indication,
            },
            pace: pace(self.rate, window),
            end: self.packets.map_or(End::After(self.duration), End::Count),
            warm_up: self.warm_up,
            segments: self.segments,
            pair: self.pair,
            peer: self.peer,
            settle: self.settle,
        }
    }
}

impl ChurnArgs {
    pub(super) fn plan(&self) -> ChurnPlan {
        ChurnPlan {
            concurrency: self.concurrency as usize,
            end: self.cycles.map_or(End::After(self.duration), End::Count),
            settle: self.settle,
        }
    }
}

impl IdleArgs {
    pub(super) fn plan(&self) -> IdlePlan {
        IdlePlan {
            sessions: self.sessions as usize,
            hold: self.hold,
            rounds: self.rounds as usize,
            rest: self.rest,
            peer: self.peer,
        }
    }
}

impl BindingArgs {
    pub(super) fn plan(&self) -> BindingPlan {
        let window = self.window.map_or(WINDOW, |window| window as usize);
        BindingPlan {
            pace: pace(self.rate, window),
            end: self.requests.map_or(End::After(self.duration), End::Count),
            clients: self.clients as usize,
            settle: self.settle,
        }
    }
}

fn pace(rate: Option<f64>, window: usize) -> Pace {
    match rate {
        Some(per_sec) => Pace::Open { per_sec },
        None => Pace::Closed { window },
    }
}

/// A time, down to microseconds.
fn span(text: &str) -> Result<Duration, String> {
    let number = |unit: &str| text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if let Some(micros) = number("us") {
        return Ok(Duration::from_micros(micros));
    }
    match number("ms") {
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => duration(text).map_err(|_| "a time, as in 500us, 20ms, 5s or 10m".to_owned()),
    }
}

fn per_sec(text: &str) -> Result<f64, String> {
    let rate = parse_number(text).filter(|rate| (1..=100_000_000).contains(rate));
    rate.map(|rate| rate as f64)
        .ok_or_else(|| "packets per second, as in 20000 or 20k".to_owned())
}

fn sources(text: &str) -> Result<Sources, String> {
    let wrong = || "a network, as in 127.16.0.0/12, or none".to_owned();
    if text == "none" {
        return Ok(Sources::Sockets);
    }
    let (network, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let network = network.parse().map_err(|_| wrong())?;
    let source = Source::new(network, prefix.parse().map_err(|_| wrong())?)?;
    Ok(Sources::Network(source))
}

fn peer(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| "an address of this machine, as in 192.0.2.7 or 192.0.2.7:4000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rates_networks_and_peers_are_read() {
        assert_eq!(span("0"), Ok(Duration::ZERO));
        assert_eq!(span("500us"), Ok(Duration::from_micros(500)));
        assert_eq!(span("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        assert!(span("soon").is_err() && span("").is_err());
        assert_eq!(per_sec("20k"), Ok(20_000.0));
        assert!(per_sec("0").is_err() && per_sec("fast").is_err());
        assert_eq!(
            sources("127.16.0.0/12"),
            Ok(Sources::Network(Source::LOOPBACK))
        );
        assert_eq!(sources("none"), Ok(Sources::Sockets));
        assert!(sources("127.16.0.0").is_err() && sources("127.16.0.1/12").is_err());
        assert_eq!(peer("127.0.0.1"), Ok("127.0.0.1:0".parse().unwrap()));
        assert_eq!(peer("[::1]:5"), Ok("[::1]:5".parse().unwrap()));
        assert!(peer("localhost").is_err());
    }
}
