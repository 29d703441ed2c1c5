//! `relayctl bench`: load for any TURN server, and what it costs it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use shared::Transport;
use shared::units::{grouped, parse_number};

use super::App;
use super::args::{Global, duration};
use super::exit::Failure;
use super::output::{Selection, Shows};
use super::permit::Ask;
use super::terminal::Terminal;
use super::turn::{LoginArgs, TlsArgs, expiry, name_server, password_login};
use crate::bench::plan::{
    BindingPlan, ChurnPlan, Direction, End, IdlePlan, Logins, Method, Pace, Place, RelayPlan,
    Source, Stop,
};
use crate::bench::{self, BenchError, MAX_SESSIONS, MAX_SIZE, Progress};
use crate::guardrails::Deed;
use crate::turn::check::{CheckOptions, Stage, Verdict};
use crate::turn::resolve::{Dns, resolve};
use crate::turn::{Login, TurnUri};

/// The user of sessions whose user is not named.
const USER: &str = "relayctl-bench";
/// How long credentials are good that are made for a run.
const TTL_SECS: u64 = 24 * 60 * 60;
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
[peers] allowed; coturn: --allow-loopback-peers, --allowed-peer-ip). A server that relays between its
own clients only is measured with --pair.

To measure what a server costs when it is the bottleneck, give it and the bench one core, and have
the bench send whole windows and sleep while the server works:

  taskset -c 1 relayd --config FILE &
  chrt -f 1 taskset -c 1 relayctl bench relay turn:127.0.0.1 --secret-stdin --sessions 50 \\
      --window 128 --settle 1ms --pid $! -o json < secret

The exit code is 0 unless packets were misrouted, corrupted or duplicated (1), the command line makes
no sense (2), or the server failed as in `relayctl turn check` (10 to 17). Lost packets are counted.

Examples:

  relayctl bench relay turn:192.0.2.1 --user alice --password-stdin --sessions 50 < password
  relayctl bench relay turn:192.0.2.1 --secret-stdin --rate 20000 --direction echo < secret
  relayctl bench relay turn:127.0.0.1 --secret-stdin --burst 16 --segments < secret";

/// The server, and how clients come to it.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// As in turn:turn.example.org or turns:192.0.2.1:443?transport=tcp
    #[arg(value_name = "URI")]
    uri: TurnUri,
    /// Who sessions log in as.
    #[command(flatten)]
    login: LoginArgs,
    /// Have clients come from the addresses of this network of ours, all from one socket (UDP over
    /// IPv4), or `none`: a socket each [default: 127.16.0.0/12 if the server is on the loopback, else
    /// none]
    #[arg(long, value_parser = sources, value_name = "NETWORK")]
    source: Option<Sources>,
    /// Take packets that came together apart in the server's time: no UDP_GRO on our sockets
    #[arg(long)]
    no_receive_segments: bool,
    /// The server's process on this machine, whose CPU time and memory are told
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Ask this name server, as in 192.0.2.53 or 192.0.2.53:5353
    #[arg(long, value_parser = name_server, value_name = "ADDRESS")]
    dns: Option<SocketAddr>,
    /// Certificates.
    #[command(flatten)]
    tls: TlsArgs,
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
enum Sources {
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

    fn place(&self) -> &PlaceArgs {
        match self {
            Self::Relay(args) => &args.place,
            Self::Churn(args) => &args.place,
            Self::Idle(args) => &args.place,
            Self::Binding(args) => &args.place,
        }
    }
}

impl RelayArgs {
    fn plan(&self) -> RelayPlan {
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
    fn plan(&self) -> ChurnPlan {
        ChurnPlan {
            concurrency: self.concurrency as usize,
            end: self.cycles.map_or(End::After(self.duration), End::Count),
        }
    }
}

impl IdleArgs {
    fn plan(&self) -> IdlePlan {
        IdlePlan {
            sessions: self.sessions as usize,
            hold: self.hold,
            rounds: self.rounds as usize,
            peer: self.peer,
        }
    }
}

impl BindingArgs {
    fn plan(&self) -> BindingPlan {
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

/// Runs it with the node of `app`, which mints the credential.
pub(super) async fn run(app: &mut App<'_, '_>, command: &BenchCommand) -> Result<(), Failure> {
    let args = command.place();
    let Some(realm) = args.login.realm() else {
        return run_alone(command, app.global, app.terminal).await;
    };
    let deed = Deed::of_realm("credential.mint", realm);
    app.permit(&deed, "A credential is minted.", Ask::Nothing)?;
    let login = args.login.minted(app, realm, TTL_SECS).await?;
    let logins = Logins::One(Arc::new(login));
    measure(command, logins, app.global, app.terminal).await
}

/// Runs it without a node.
pub(super) async fn run_alone(
    command: &BenchCommand,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let logins = logins(&command.place().login, terminal)?;
    measure(command, logins, global, terminal).await
}

/// What the command line gives sessions to log in with.
fn logins(args: &LoginArgs, terminal: &mut Terminal<'_>) -> Result<Logins, Failure> {
    if let Some(secret) = args.secret(terminal)? {
        return Ok(Logins::Each {
            secret,
            expiry: expiry(TTL_SECS),
            user: args.user().unwrap_or(USER).to_owned(),
        });
    }
    let login: Option<Login> = password_login(args, terminal)?;
    Ok(login.map_or(Logins::None, |login| Logins::One(Arc::new(login))))
}

async fn measure(
    command: &BenchCommand,
    logins: Logins,
    global: &Global,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let place = place(command.place(), logins, global).await?;
    end_on_signals(place.stop.clone());
    // From here on this thread measures; the runtime only listens for signals.
    match command {
        BenchCommand::Relay(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::relay(&place, &plan, observer))?;
            show(&report, global, terminal)?;
            report
                .fault()
                .map_or(Ok(()), |fault| Err(Failure::Other(fault)))
        }
        BenchCommand::Churn(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::churn(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
        BenchCommand::Idle(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::idle(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
        BenchCommand::Binding(args) => {
            let plan = args.plan();
            let report = watched(terminal, |observer| bench::binding(&place, &plan, observer))?;
            show(&report, global, terminal)
        }
    }
}

/// Runs `bench` with a line of progress for a person.
fn watched<T>(
    terminal: &mut Terminal<'_>,
    bench: impl FnOnce(&mut dyn FnMut(&Progress)) -> Result<T, BenchError>,
) -> Result<T, Failure> {
    let (err, live) = (&mut *terminal.err, terminal.err_is_terminal);
    let mut shown = false;
    let result = bench(&mut |progress| {
        if live {
            shown = true;
            let _ = write!(err, "\r\u{1b}[K{}", describe(progress));
            let _ = err.flush();
        }
    });
    if shown {
        let _ = write!(err, "\r\u{1b}[K");
    }
    Ok(result?)
}

fn describe(progress: &Progress) -> String {
    match *progress {
        Progress::SettingUp { sessions } => format!("making {} sessions", grouped(sessions as u64)),
        Progress::Relaying { up, down, missing } => {
            let (up, down, missing) = (grouped(up), grouped(down), grouped(missing));
            format!("{up} up, {down} down, {missing} on their way or lost")
        }
        Progress::Cycling { cycles, failed } => {
            format!("{} cycles, {} failed", grouped(cycles), grouped(failed))
        }
        Progress::Holding { sessions } => format!("holding {} sessions", grouped(sessions as u64)),
        Progress::Asking { answers, missing } => {
            let (answers, missing) = (grouped(answers), grouped(missing));
            format!("{answers} answers, {missing} on their way or lost")
        }
    }
}

fn show<T: Shows>(report: &T, global: &Global, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let selection = Selection::new(global.output, &global.fields, global.ascii)?;
    Ok(selection.write_one(terminal.out, super::app::now_ms(), report)?)
}

/// Finds the server.
async fn place(args: &PlaceArgs, logins: Logins, global: &Global) -> Result<Place, Failure> {
    let names = args.dns.map_or_else(Dns::system, Dns::server);
    let found = resolve(&args.uri, &names).await;
    let Some(target) = found.targets.into_iter().next() else {
        return Err(Failure::Check {
            code: Verdict::Resolve.exit_code(),
            text: format!("{}: {}", Stage::Resolve.as_str(), found.notes.join("; ")),
        });
    };
    let server = target.address;
    let local = server.is_ipv4() && server.ip().is_loopback();
    let shareable = target.transport == Transport::Udp && server.is_ipv4();
    let source = match args.source {
        Some(Sources::Network(_)) if !shareable => {
            let what = "--source is for UDP over IPv4: one socket speaks for all its addresses";
            return Err(Failure::Usage(what.to_owned()));
        }
        Some(Sources::Network(source)) => Some(source),
        Some(Sources::Sockets) => None,
        None => (local && shareable).then_some(Source::LOOPBACK),
    };
    Ok(Place {
        server,
        transport: target.transport,
        host: args.uri.host.to_string(),
        tls: args.tls.options()?,
        logins,
        source,
        receive_segments: !args.no_receive_segments,
        pid: args.pid,
        patience: global.timeout.unwrap_or(CheckOptions::default().patience),
        stop: Stop::default(),
    })
}

/// Lets the first signal end the run: sessions are released.
fn end_on_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let stop = stop.clone();
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    stop.stop();
                }
            });
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Plan(text) => Self::Usage(text),
            BenchError::Io(error) => Self::Io(error),
            BenchError::Interrupted => Self::Io(std::io::ErrorKind::Interrupted.into()),
            BenchError::Server { verdict, .. } => Self::Check {
                code: verdict.exit_code(),
                text: error.to_string(),
            },
        }
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
