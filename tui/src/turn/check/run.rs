//! The walk through the steps.

use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use shared::{Transport, display_safe};
use tokio::time::Instant;

use super::echo::{self, Figures, Mirror, channel};
use super::explain::remedy;
use super::report::{Candidate, Report, Stage, Status, Step, Verdict, millis};
use super::{CheckOptions, EchoWay};
use crate::turn::link::Link;
use crate::turn::requests::Allocated;
use crate::turn::resolve::{Names, Target, resolve};
use crate::turn::{Client, TurnError, TurnUri};

/// Checks what `uri` leads to. `progress` sees each step when it has ended.
pub async fn run(
    uri: &TurnUri,
    names: &dyn Names,
    options: &CheckOptions,
    progress: &mut (dyn FnMut(&Step) + Send),
) -> Report {
    let mut check = Check {
        options,
        uri,
        report: Report::new(uri.to_string()),
        progress,
    };
    let verdict = check.all(names).await;
    let mut report = check.report;
    report.verdict = verdict;
    report.exit_code = verdict.exit_code();
    report
}

/// Why the walk to one server ended early; what went wrong is in the report.
enum Stop {
    /// Nobody answers there: another address may do.
    Unanswered(Verdict),
    /// The server answers, and refuses.
    Refused(Verdict),
    /// 300.
    Elsewhere(Target, Option<String>),
}

impl Stop {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Unanswered(verdict) | Self::Refused(verdict) => *verdict,
            Self::Elsewhere(..) => Verdict::Allocate,
        }
    }
}

struct Check<'a> {
    options: &'a CheckOptions,
    uri: &'a TurnUri,
    report: Report,
    progress: &'a mut (dyn FnMut(&Step) + Send),
}

/// One server, for the report.
#[derive(Clone)]
struct Server {
    name: String,
    transport: Transport,
    /// What a failed connection is: a failure, or only one address of several.
    unanswered: Status,
}

impl Check<'_> {
    async fn all(&mut self, names: &dyn Names) -> Verdict {
        let start = Instant::now();
        let found = resolve(self.uri, names).await;
        if found.targets.is_empty() {
            let remedy = "check the name and the resolver; --dns asks another name server";
            let text = found.notes.join("; ");
            self.step(
                Stage::Resolve,
                Status::Failed,
                start,
                None,
                text,
                Some(remedy),
            );
            return Verdict::Resolve;
        }
        let addresses: Vec<_> = found.targets.iter().map(told).collect();
        let mut text = addresses.join("; ");
        for note in &found.notes {
            let _ = write!(text, " ({note})");
        }
        self.step(Stage::Resolve, Status::Ok, start, None, text, None);
        let mut verdict = Verdict::Ok;
        let count = found.targets.len();
        for (index, target) in found.targets.into_iter().enumerate() {
            let last = index + 1 == count;
            let stop = self.target(target, last || self.options.each).await.err();
            match stop {
                Some(Stop::Unanswered(_)) if !last && !self.options.each => continue,
                Some(stop) if verdict == Verdict::Ok => verdict = stop.verdict(),
                _ => {}
            }
            if !self.options.each {
                break;
            }
        }
        verdict
    }

    /// One address, and the one that it sends us to.
    async fn target(&mut self, target: Target, decides: bool) -> Result<(), Stop> {
        let domain = match self.server(&target, None, decides).await {
            Err(Stop::Elsewhere(next, domain)) => Some((next, domain)),
            other => return other,
        };
        let Some((next, domain)) = domain else {
            return Ok(());
        };
        self.server(&next, Some(domain), true).await
    }

    /// One server. `redirected`: what the 300 that led here said of its name.
    async fn server(
        &mut self,
        target: &Target,
        redirected: Option<Option<String>>,
        decides: bool,
    ) -> Result<(), Stop> {
        let server = Server {
            name: format!("{} {}", target.transport, target.address),
            transport: target.transport,
            unanswered: if decides {
                Status::Failed
            } else {
                Status::Warn
            },
        };
        let again = redirected.is_some();
        let mut client = self.connect(target, &server, redirected.flatten()).await?;
        self.binding(&mut client, &server).await?;
        if !self.uri.scheme.is_turn() {
            return Ok(());
        }
        let allocated = self.allocate(&mut client, &server, again).await?;
        let echoed = self.echoes(&mut client, target, &server, &allocated).await;
        let released = self.release(&mut client, &server).await;
        echoed.and(released)
    }

    async fn connect(
        &mut self,
        target: &Target,
        server: &Server,
        domain: Option<String>,
    ) -> Result<Client, Stop> {
        let start = Instant::now();
        let name = domain.unwrap_or_else(|| self.uri.host.to_string());
        let options = self.options;
        let link = Link::open(target, &name, &options.tls, options.patience).await;
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                let stop = Stop::Unanswered(Verdict::Connect);
                return self.lost(Stage::Connect, server, start, &error, stop);
            }
        };
        let (text, warning) = link.describe();
        let status = if warning.is_some() {
            Status::Warn
        } else {
            Status::Ok
        };
        self.step(
            Stage::Connect,
            status,
            start,
            Some(server),
            text,
            warning.as_deref(),
        );
        Ok(Client::new(link, options.login.clone(), options.patience))
    }

    async fn binding(&mut self, client: &mut Client, server: &Server) -> Result<(), Stop> {
        let start = Instant::now();
        match client.binding().await {
            Ok(mapped) => {
                self.candidate("srflx", mapped, server);
                let text = format!("srflx {mapped}{}", software(client));
                self.step(Stage::Binding, Status::Ok, start, Some(server), text, None);
                self.report.software = client.software().map(str::to_owned);
                Ok(())
            }
            Err(error) => {
                let stop = match error.code() {
                    Some(_) => Stop::Refused(Verdict::Binding),
                    None => Stop::Unanswered(Verdict::Binding),
                };
                self.lost(Stage::Binding, server, start, &error, stop)
            }
        }
    }

    async fn allocate(
        &mut self,
        client: &mut Client,
        server: &Server,
        again: bool,
    ) -> Result<Allocated, Stop> {
        let start = Instant::now();
        let allocated = match client.allocate(self.options.family).await {
            Ok(allocated) => allocated,
            Err(TurnError::Alternate { to, domain, signed }) if !again => {
                let note = if signed { "" } else { " (not signed)" };
                let text = format!("300: the server sends clients to {to}{note}; following");
                self.step(Stage::Allocate, Status::Ok, start, Some(server), text, None);
                let next = Target {
                    address: to,
                    transport: server.transport,
                    found: format!("ALTERNATE-SERVER of {}", server.name),
                };
                return Err(Stop::Elsewhere(next, domain));
            }
            Err(error) => {
                let stop = Stop::Refused(verdict(&error));
                return self.lost(Stage::Allocate, server, start, &error, stop);
            }
        };
        self.report.realm = client.realm().map(str::to_owned);
        let mut text = String::new();
        for relay in &allocated.relays {
            self.candidate("relay", *relay, server);
            let _ = write!(text, "relay {relay}, ");
        }
        let _ = write!(text, "lifetime {} s", allocated.lifetime.as_secs());
        if let Some(realm) = client.realm() {
            let _ = write!(text, ", realm {}", display_safe(realm));
        }
        let missing = allocated
            .missing_family
            .map(|code| format!("no relay address of the second family: the server says {code}"));
        let status = if missing.is_some() {
            Status::Warn
        } else {
            Status::Ok
        };
        self.step(
            Stage::Allocate,
            status,
            start,
            Some(server),
            text,
            missing.as_deref(),
        );
        Ok(allocated)
    }

    /// The echo through each relay address.
    async fn echoes(
        &mut self,
        client: &mut Client,
        target: &Target,
        server: &Server,
        allocated: &Allocated,
    ) -> Result<(), Stop> {
        let way = self.options.echo;
        for relay in &allocated.relays {
            let same_family = relay.is_ipv4() == allocated.mapped.is_ipv4();
            let mut echoed = None;
            if way == EchoWay::Socket || way == EchoWay::Auto && same_family {
                echoed = self
                    .at_socket(client, server, *relay, allocated.mapped)
                    .await?;
            }
            if echoed.is_none() && matches!(way, EchoWay::Auto | EchoWay::Relay) {
                self.at_relay(client, target, server, *relay).await?;
            }
        }
        Ok(())
    }

    /// The echo at a socket of ours; `None`: the relay does not reach it, so try the other way.
    async fn at_socket(
        &mut self,
        client: &mut Client,
        server: &Server,
        relay: SocketAddr,
        mapped: SocketAddr,
    ) -> Result<Option<()>, Stop> {
        let decides = self.options.echo == EchoWay::Socket;
        let severity = if decides {
            Status::Failed
        } else {
            Status::Warn
        };
        let start = Instant::now();
        let ours = SocketAddr::new(mapped.ip(), 0);
        if let Err(error) = client.permit(&[ours]).await {
            return self.declined(Stage::Permission, server, start, &error, severity);
        }
        let text = format!("peer {}, our own address", mapped.ip());
        self.step(
            Stage::Permission,
            Status::Ok,
            start,
            Some(server),
            text,
            None,
        );
        let start = Instant::now();
        let patience = self.options.patience;
        let knocked = async {
            let socket = echo::socket_towards(relay).await?;
            let peer = echo::knock(client, &socket, patience).await?;
            Ok::<_, TurnError>(peer.map(|peer| (socket, peer)))
        };
        let (socket, peer) = match knocked.await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let text = format!("{relay} does not hear a socket of ours");
                let remedy = "relay ports may be closed to this network, or the relay address is \
                              not the public one (relayd: external address)";
                self.step(
                    Stage::Channel,
                    severity,
                    start,
                    Some(server),
                    text,
                    Some(remedy),
                );
                return declined(decides, Verdict::Echo);
            }
            Err(error) => return self.declined(Stage::Channel, server, start, &error, severity),
        };
        if let Err(error) = client.bind_channel(channel(), peer).await {
            return self.declined(Stage::Channel, server, start, &error, severity);
        }
        let text = format!("{:#06x} to {peer}, a socket of ours", echo::CHANNEL);
        self.step(Stage::Channel, Status::Ok, start, Some(server), text, None);
        let mut mirror = Mirror::Socket(socket);
        let way = (relay, peer, !decides);
        self.measure(client, &mut mirror, server, way).await
    }

    /// The echo at a second allocation of ours.
    async fn at_relay(
        &mut self,
        client: &mut Client,
        target: &Target,
        server: &Server,
        relay: SocketAddr,
    ) -> Result<(), Stop> {
        let start = Instant::now();
        let (mut second, peer) = match self.second(target, relay).await {
            Ok(second) => second,
            Err(error) => {
                let stop = Stop::Refused(Verdict::Echo);
                return self.lost(Stage::Allocate, server, start, &error, stop);
            }
        };
        let text = format!("relay {peer}, a second allocation for the echo");
        self.step(Stage::Allocate, Status::Ok, start, Some(server), text, None);
        let measured = self
            .between(client, &mut second, server, (relay, peer))
            .await;
        if let Mirror::Relay(mut client) = second {
            // The first release is the one that is told.
            let _ = client.refresh(Duration::ZERO).await;
        }
        measured
    }

    /// A second allocation with a relay address of the family of `relay`.
    async fn second(
        &self,
        target: &Target,
        relay: SocketAddr,
    ) -> Result<(Mirror, SocketAddr), TurnError> {
        let options = self.options;
        let name = self.uri.host.to_string();
        let link = Link::open(target, &name, &options.tls, options.patience).await?;
        let mut client = Client::new(link, options.login.clone(), options.patience);
        let allocated = client.allocate(options.family).await?;
        let fits = |other: &&SocketAddr| other.is_ipv4() == relay.is_ipv4();
        let peer = allocated.relays.iter().find(fits);
        let peer = *peer.ok_or(TurnError::Incomplete("relay address of the same family"))?;
        Ok((Mirror::Relay(Box::new(client)), peer))
    }

    async fn between(
        &mut self,
        client: &mut Client,
        mirror: &mut Mirror,
        server: &Server,
        (relay, peer): (SocketAddr, SocketAddr),
    ) -> Result<(), Stop> {
        let Mirror::Relay(second) = &mut *mirror else {
            return Ok(());
        };
        let start = Instant::now();
        let permitted = both(client.permit(&[peer]), second.permit(&[relay])).await;
        let text = format!("relay to relay: {relay} and {peer}");
        self.passed(Stage::Permission, server, start, permitted, text)?;
        let start = Instant::now();
        let bound = both(
            client.bind_channel(channel(), peer),
            second.bind_channel(channel(), relay),
        );
        let bound = bound.await;
        let text = format!("{:#06x} on both sides", echo::CHANNEL);
        self.passed(Stage::Channel, server, start, bound, text)?;
        let way = (relay, peer, false);
        self.measure(client, mirror, server, way).await.map(drop)
    }

    /// The packets. `None`: nothing came back, and another way is left.
    async fn measure(
        &mut self,
        client: &mut Client,
        mirror: &mut Mirror,
        server: &Server,
        (relay, peer, another_way): (SocketAddr, SocketAddr, bool),
    ) -> Result<Option<()>, Stop> {
        let start = Instant::now();
        let times = match echo::measure(client, mirror, self.options).await {
            Ok(times) => times,
            Err(error) => {
                let stop = Stop::Refused(Verdict::Echo);
                return self.lost(Stage::Echo, server, start, &error, stop);
            }
        };
        let (received, [rtt_min_ms, rtt_avg_ms, rtt_p99_ms]) = echo::summary(&times);
        let figures = Figures {
            relay,
            peer,
            over_second_relay: matches!(mirror, Mirror::Relay(_)),
            sent: times.len() as u32,
            received,
            rtt_min_ms,
            rtt_avg_ms,
            rtt_p99_ms,
        };
        let (sent, loss) = (figures.sent, figures.loss_percent());
        let mut text = format!("{received} of {sent} packets came back, loss {loss:.1}%");
        if received > 0 {
            let _ = write!(
                text,
                ", RTT min/avg/p99 {rtt_min_ms:.1}/{rtt_avg_ms:.1}/{rtt_p99_ms:.1} ms"
            );
        }
        self.report.echo.push(figures);
        let status = match received {
            0 if another_way => Status::Warn,
            _ if loss > f64::from(self.options.max_loss) => Status::Failed,
            _ => Status::Ok,
        };
        let remedy = match (status, received) {
            (Status::Ok, _) => None,
            (_, 0) => Some(
                "requests pass and data does not: the server reaches no peer on that address, or \
                 something on the way drops what is no STUN",
            ),
            _ => Some(
                "packets are lost between here and the server, or in the server: its drop \
                 counters tell which; a lower pace is --interval",
            ),
        };
        self.step(Stage::Echo, status, start, Some(server), text, remedy);
        match status {
            Status::Ok => Ok(Some(())),
            Status::Warn => Ok(None),
            Status::Failed => Err(Stop::Refused(Verdict::Echo)),
        }
    }

    async fn release(&mut self, client: &mut Client, server: &Server) -> Result<(), Stop> {
        let start = Instant::now();
        let released = client.refresh(Duration::ZERO).await.map(drop);
        self.passed(
            Stage::Release,
            server,
            start,
            released,
            "lifetime 0".to_owned(),
        )
    }

    /// A step that needs no more than to succeed.
    fn passed(
        &mut self,
        stage: Stage,
        server: &Server,
        start: Instant,
        result: Result<(), TurnError>,
        text: String,
    ) -> Result<(), Stop> {
        match result {
            Ok(()) => {
                self.step(stage, Status::Ok, start, Some(server), text, None);
                Ok(())
            }
            Err(error) => {
                let stop = Stop::Refused(Verdict::of(stage));
                self.lost(stage, server, start, &error, stop)
            }
        }
    }

    /// Tells a failure, and stops.
    fn lost<T>(
        &mut self,
        stage: Stage,
        server: &Server,
        start: Instant,
        error: &TurnError,
        stop: Stop,
    ) -> Result<T, Stop> {
        let status = match stop {
            Stop::Unanswered(_) => server.unanswered,
            _ => Status::Failed,
        };
        self.told(stage, server, start, error, status);
        Err(stop)
    }

    /// Tells a failure of the echo at a socket, which is the end only where no other way is left.
    fn declined(
        &mut self,
        stage: Stage,
        server: &Server,
        start: Instant,
        error: &TurnError,
        status: Status,
    ) -> Result<Option<()>, Stop> {
        self.told(stage, server, start, error, status);
        declined(status == Status::Failed, Verdict::of(stage))
    }

    fn told(
        &mut self,
        stage: Stage,
        server: &Server,
        start: Instant,
        error: &TurnError,
        status: Status,
    ) {
        let remedy = remedy(stage, server.transport, error);
        let remedy = remedy.as_deref();
        self.step(
            stage,
            status,
            start,
            Some(server),
            error.to_string(),
            remedy,
        );
    }

    fn step(
        &mut self,
        step: Stage,
        status: Status,
        start: Instant,
        server: Option<&Server>,
        text: String,
        remedy: Option<&str>,
    ) {
        let step = Step {
            step,
            status,
            ms: millis(start.elapsed()),
            server: server.map(|server| server.name.clone()),
            text,
            remedy: remedy.map(str::to_owned),
        };
        (self.progress)(&step);
        self.report.steps.push(step);
    }

    fn candidate(&mut self, kind: &'static str, address: SocketAddr, server: &Server) {
        self.report.candidates.push(Candidate {
            kind,
            address,
            server: server.name.clone(),
        });
    }
}

fn declined(decides: bool, verdict: Verdict) -> Result<Option<()>, Stop> {
    if decides {
        return Err(Stop::Refused(verdict));
    }
    Ok(None)
}

/// Both, and the first error of either.
async fn both(
    one: impl Future<Output = Result<(), TurnError>>,
    other: impl Future<Output = Result<(), TurnError>>,
) -> Result<(), TurnError> {
    let (one, other) = tokio::join!(one, other);
    one.and(other)
}

/// What a failed Allocate comes to.
fn verdict(error: &TurnError) -> Verdict {
    let credentials = matches!(
        error,
        TurnError::LoginNeeded { .. } | TurnError::Challenge(_) | TurnError::Integrity
    );
    match error.code() {
        Some(401 | 438 | 441) => Verdict::Authentication,
        _ if credentials => Verdict::Authentication,
        _ => Verdict::Allocate,
    }
}

fn told(target: &Target) -> String {
    format!("{} {} ({})", target.transport, target.address, target.found)
}

fn software(client: &Client) -> String {
    let software = client.software();
    software.map_or_else(String::new, |name| {
        format!(", server {}", display_safe(name))
    })
}
