//! The walk through the steps.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use shared::{Transport, display_safe};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::CheckOptions;
use super::explain::remedy;
use super::report::{Candidate, Report, Stage, Status, Step, Verdict, millis};
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
pub(super) enum Stop {
    /// Nobody answers there: another address may do.
    Unanswered(Verdict),
    /// The server answers, and refuses.
    Refused(Verdict),
    /// 300.
    Elsewhere(Target, Option<String>),
    /// The check is to end.
    Stopped,
}

impl Stop {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Unanswered(verdict) | Self::Refused(verdict) => *verdict,
            Self::Elsewhere(..) => Verdict::Allocate,
            Self::Stopped => Verdict::Stopped,
        }
    }
}

pub(super) struct Check<'a> {
    pub(super) options: &'a CheckOptions,
    pub(super) uri: &'a TurnUri,
    pub(super) report: Report,
    progress: &'a mut (dyn FnMut(&Step) + Send),
}

/// One server, for the report.
#[derive(Clone)]
pub(super) struct Server {
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
                Some(Stop::Stopped) => return Verdict::Stopped,
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
        let domain = match Box::pin(self.server(&target, None, decides)).await {
            Err(Stop::Elsewhere(next, domain)) => Some((next, domain)),
            other => return other,
        };
        let Some((next, domain)) = domain else {
            return Ok(());
        };
        Box::pin(self.server(&next, Some(domain), true)).await
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
        let options = self.options;
        let stop = &options.stop;
        let connecting = self.connect(target, &server, redirected.flatten());
        let mut client = unless(stop, connecting).await?;
        unless(stop, self.binding(&mut client, &server)).await?;
        if !self.uri.scheme.is_turn() {
            return Ok(());
        }
        // Not to be left half-way: the server would keep what nobody knows of.
        let allocated = self.allocate(&mut client, &server, again).await?;
        let echoes = self.echoes(&mut client, target, &server, &allocated);
        let echoed = unless(stop, Box::pin(echoes)).await;
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
    pub(super) fn passed(
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
    pub(super) fn lost<T>(
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

    pub(super) fn told(
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

    pub(super) fn step(
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

/// What `steps` come to, unless the check is stopped before.
async fn unless<T>(
    stop: &CancellationToken,
    steps: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Stop::Stopped),
        result = steps => result,
    }
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
