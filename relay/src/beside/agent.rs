//! Speaks with one coturn: lists its sessions, hears of them, carries orders out.
//!
//! A list is what counts; messages only say when to look, and at whom. coturn gives no answer to `cs`:
//! the user's sessions are listed again until the one that was to end is missing.

mod wishes;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use shared::{Realm, Secret, SessionId, WorkerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use turn_proto::server::{Command, EndCause, Event};

use super::records::{Listed, Listing};
use super::sessions::{Naming, Now, Scope, Sessions, WORKER};
use super::stats::{self, Said, StatsNews, What};
use super::telnet::{Cli, CliError, End, Goodbye, is_sendable};
use super::{Order, Shared, differs, unsupported};
use crate::config::BesideConfig;
use crate::worker::WorkerNews;
use wishes::cc;

/// How often all sessions are listed where nothing else tells of them.
const PACE: Duration = Duration::from_secs(2);
/// How often where coturn's Redis tells of them.
const QUIET_PACE: Duration = Duration::from_secs(10);
/// A list costs coturn's admin thread what it takes: it is left alone for so many times as long.
const REST: u32 = 10;
/// How often switches and limits are read.
const PARAMETERS: Duration = Duration::from_secs(30);
/// How often totals and rates are told.
const REPORT: Duration = Duration::from_secs(1);
/// How often errands are run: looks at single users.
const ERRAND: Duration = Duration::from_millis(100);
/// Users that are looked at one by one in one go; of more, all sessions are listed.
const MAX_LOOKS: usize = 8;
/// How long a session may take to end.
const END: Duration = Duration::from_secs(2);
/// How long the list waits for the message with the totals of a session that is said to be over.
const FAREWELL: Duration = Duration::from_millis(250);
/// Waits before another attempt to connect, doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The wait after a wrong password.
const LOCKED: Duration = Duration::from_secs(60);
/// Messages that wait.
const MESSAGES: usize = 10_000;
/// The least that coturn is asked to print once it has cut a list.
const MIN_PRINTED: u64 = 10_000;

/// The drain came with this release.
const DRAINS_SINCE: [u32; 3] = [4, 6, 3];

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn now() -> Now {
    Now {
        mono: std::time::Instant::now(),
        unix: unix_ms() / 1000,
    }
}

/// Why a conversation ended.
enum Ended {
    /// Nobody wants anything any more.
    Stopped,
    /// The connection is of no use.
    Broken(CliError),
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Self {
        Self::Broken(error)
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Agent {
    config: BesideConfig,
    shared: Arc<Shared>,
    sessions: Sessions,
    naming: Naming,
    /// Names whose sessions are to be listed.
    wanted: HashSet<String>,
    /// Sessions that were told to end, and until when they may take.
    ending: HashMap<SessionId, Instant>,
    /// Names of which a session is said to be over, and when they are listed.
    leaving: HashMap<String, Instant>,
    /// What could not be set, to be told once.
    refused: HashSet<&'static str>,
    /// A password that coturn died of.
    deadly: Option<Secret<String>>,
    /// Whether it was just told to drain, and may end any moment.
    has_drained: bool,
    /// It ended in the middle of something, and starts again.
    has_failed: bool,
    /// coturn closed the connection: its process may be another one by now.
    may_be_new: bool,
    can_drain: bool,
    next_list: Instant,
    next_parameters: Instant,
}

/// Where news go, and orders come from.
struct Lines {
    orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<(WorkerId, WorkerNews)>,
    messages: mpsc::Receiver<StatsNews>,
}

impl Lines {
    /// Tells control; `false`: it is gone.
    async fn tell(&self, events: Vec<Event>) {
        for event in events {
            // Control that is gone needs no news.
            let _ = self.news.send((WORKER, WorkerNews::Event(event))).await;
        }
    }
}

impl Agent {
    pub(super) fn new(
        config: BesideConfig,
        default_realm: Realm,
        base: u32,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            config,
            shared,
            sessions: Sessions::new(base),
            naming: Naming {
                default_realm,
                rest_separator: None,
            },
            wanted: HashSet::new(),
            ending: HashMap::new(),
            leaving: HashMap::new(),
            refused: HashSet::new(),
            deadly: None,
            has_failed: false,
            has_drained: false,
            may_be_new: false,
            can_drain: false,
            next_list: Instant::now(),
            next_parameters: Instant::now(),
        }
    }

    /// Runs until nobody gives orders any more. A fault of ours costs what was known of coturn, not the
    /// part that speaks with it.
    pub(super) async fn run(
        mut self,
        orders: mpsc::Receiver<Order>,
        news: mpsc::Sender<(WorkerId, WorkerNews)>,
    ) {
        let (said, messages) = mpsc::channel(MESSAGES);
        if let Some(url) = self.config.statsdb.clone() {
            tokio::spawn(stats::keep_listening(url, said));
        }
        let mut lines = Lines {
            orders,
            news,
            messages,
        };
        while AssertUnwindSafe(self.serve(&mut lines))
            .catch_unwind()
            .await
            .is_err()
        {
            self.has_failed = true;
        }
    }

    /// Begins anew after a fault: nothing that was known is sure.
    async fn start_over(&mut self, lines: &mut Lines) -> Result<(), Ended> {
        let text = "the part of relayd that speaks with coturn failed, and starts again in a few seconds: the \
                    log of relayd says where; please report it";
        self.tell_away(text);
        self.ending.clear();
        self.wanted.clear();
        self.forget(lines).await;
        self.next_list = Instant::now();
        self.next_parameters = Instant::now();
        self.wait(BACKOFF.1, lines).await
    }

    /// Connects and speaks, again and again, until nobody gives orders any more.
    async fn serve(&mut self, lines: &mut Lines) {
        if std::mem::take(&mut self.has_failed) && self.start_over(lines).await.is_err() {
            return;
        }
        let mut backoff = BACKOFF.0;
        loop {
            let ended = match self.connect().await {
                Ok(cli) => self.converse(cli, lines).await,
                Err(error) => Err(Ended::Broken(error)),
            };
            let Err(Ended::Broken(error)) = ended else {
                return;
            };
            if self.shared.view().away.is_none() {
                // It was more than a greeting.
                backoff = BACKOFF.0;
            }
            if let CliError::Drained(_) = error {
                self.has_drained = true;
                continue;
            }
            self.may_be_new |= matches!(error, CliError::Closed(_));
            self.absent(&error, lines).await;
            let wait = match error {
                CliError::WrongPassword(_)
                | CliError::NoPassword(_)
                | CliError::DiedOfPassword(_) => LOCKED,
                _ => backoff,
            };
            backoff = (backoff * 2).min(BACKOFF.1);
            if self.wait(wait, lines).await.is_err() {
                return;
            }
        }
    }

    async fn connect(&mut self) -> Result<Cli, CliError> {
        let password = self.config.current_password();
        if password.is_some() && password == self.deadly {
            // Another attempt would end it, and its calls, again.
            return Err(CliError::DiedOfPassword(self.config.cli));
        }
        self.deadly = None;
        let has_drained = std::mem::take(&mut self.has_drained);
        match Cli::open(self.config.cli, password.as_ref()).await {
            // An empty one ends at once, whatever it was just told.
            Err(CliError::DiedOfPassword(address)) if has_drained => Err(CliError::Closed(address)),
            Err(error @ CliError::DiedOfPassword(_)) => {
                self.deadly = password;
                Err(error)
            }
            opened => opened,
        }
    }

    /// Waits, and does without coturn what can be done without it.
    async fn wait(&mut self, time: Duration, lines: &mut Lines) -> Result<(), Ended> {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(end) => return Ok(()),
                order = lines.orders.recv() => match order {
                    None => return Err(Ended::Stopped),
                    Some(Order::Drain(answer)) => {
                        let away = self.shared.view().away.clone().unwrap_or_default();
                        // Whoever asked may have given up.
                        let _ = answer.send(Err(format!("coturn cannot be told: {away}")));
                    }
                    Some(Order::Command(command)) => self.obey_from_memory(&command, lines).await,
                    #[cfg(test)]
                    Some(Order::Fail) => panic!("as the test wants it"),
                },
                Some(heard) = lines.messages.recv() => self.heard(heard, lines).await,
            }
        }
    }

    /// Carries out what needs no coturn.
    async fn obey_from_memory(&mut self, command: &Command, lines: &Lines) {
        let event = match command {
            Command::Describe { session } => {
                let known = self.sessions.snapshot(*session);
                known.map(|known| Event::SessionChanged(Box::new(known)))
            }
            Command::Snapshot => Some(Event::Snapshot(self.sessions.snapshots())),
            _ => None,
        };
        lines.tell(event.into_iter().collect()).await;
    }

    async fn converse(&mut self, mut cli: Cli, lines: &mut Lines) -> Result<Infallible, Ended> {
        let cli = &mut cli;
        self.can_drain = cli.greeting.is_at_least(DRAINS_SINCE);
        self.shared.view().software = format!("coturn {}", cli.greeting.version);
        self.read_parameters(cli).await?;
        self.list(cli, lines).await?;
        self.present(cli);
        let mut report = interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut errand = interval(ERRAND);
        errand.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                order = lines.orders.recv() => match order {
                    None => return Err(Ended::Stopped),
                    Some(order) => self.obey(cli, order, lines).await?,
                },
                Some(heard) = lines.messages.recv() => self.heard(heard, lines).await,
                _ = report.tick() => self.report(lines).await,
                _ = errand.tick() => self.run_errands(cli, lines).await?,
                () = sleep_until(self.next_list) => self.list(cli, lines).await?,
                () = sleep_until(self.next_parameters) => self.read_parameters(cli).await?,
                () = shared.wishes_changed.notified() => self.read_parameters(cli).await?,
            }
        }
    }

    /// coturn answers.
    fn present(&mut self, cli: &Cli) {
        let mut view = self.shared.view();
        if view.away.take().is_some() {
            view.since_ms = unix_ms();
            let version = &cli.greeting.version;
            tracing::info!(version, cli = %self.config.cli, "coturn answers.");
        }
        view.unsupported = unsupported(self.can_drain);
        view.differs = differs();
    }

    /// coturn does not answer. With nobody at its port its sessions are gone; else they are as they were,
    /// as far as anybody knows, but none outlives its time.
    async fn absent(&mut self, error: &CliError, lines: &Lines) {
        self.tell_away(&error.to_string());
        self.ending.clear();
        self.wanted.clear();
        if matches!(error, CliError::Refused(_) | CliError::DiedOfPassword(_)) {
            self.forget(lines).await;
        } else {
            let over = self
                .sessions
                .take(Vec::new(), Scope::Part, &self.naming, now());
            lines.tell(over).await;
        }
    }

    fn tell_away(&self, text: &str) {
        let is_news = {
            let mut view = self.shared.view();
            if view.away.is_none() {
                view.since_ms = unix_ms();
            }
            view.away.replace(text.to_owned()).as_deref() != Some(text)
        };
        if is_news {
            tracing::warn!("coturn is away: {text}");
        }
    }

    /// Its sessions are gone, or nothing is known of them.
    async fn forget(&mut self, lines: &Lines) {
        self.shared.was_gone.store(true, Ordering::Release);
        self.leaving.clear();
        if self.sessions.len() > 0 {
            self.sessions.clear();
            lines.tell(vec![Event::Snapshot(Vec::new())]).await;
        }
    }

    async fn obey(&mut self, cli: &mut Cli, order: Order, lines: &Lines) -> Result<(), CliError> {
        match order {
            Order::Command(Command::Kill { session, cause }) => {
                self.kill(cli, session, cause).await
            }
            Order::Command(command) => {
                self.obey_from_memory(&command, lines).await;
                Ok(())
            }
            #[cfg(test)]
            Order::Fail => panic!("as the test wants it"),
            Order::Drain(answer) => {
                let refusal = unsupported(self.can_drain).remove("node.drain");
                if let Some(why) = refusal {
                    // Whoever asked may have given up, here and below.
                    let _ = answer.send(Err(why));
                    return Ok(());
                }
                let done = self.drain(cli).await;
                let told = done.as_ref().map_err(|error| {
                    format!(
                        "coturn may not have been told to drain, look at it and try again: {error}"
                    )
                });
                let _ = answer.send(told.copied());
                done?;
                Err(CliError::Drained(self.config.cli))
            }
        }
    }

    /// Has coturn drain. One that closes without a word is told again: if it drains it closes again, and if
    /// it died nobody is there.
    async fn drain(&mut self, cli: &mut Cli) -> Result<(), CliError> {
        if cli.run_last("drain").await? == Goodbye::Silent {
            // Not by `connect`: one that ends meanwhile does not die of the password.
            let password = self.config.current_password();
            match Cli::open(self.config.cli, password.as_ref()).await {
                // An empty one ends at once.
                Err(CliError::Refused(_) | CliError::Closed(_) | CliError::DiedOfPassword(_))
                    if self.sessions.len() == 0 => {}
                again => drop(again?.run_last("drain").await?),
            }
        }
        // What it was told before this does not matter any more.
        self.shared.was_gone.store(false, Ordering::Release);
        Ok(())
    }

    async fn kill(
        &mut self,
        cli: &mut Cli,
        session: SessionId,
        cause: EndCause,
    ) -> Result<(), CliError> {
        let Some((number, _)) = self.sessions.find(session) else {
            return Ok(());
        };
        cli.run(&format!("cs {number}"), End::Prompt, |_| {})
            .await?;
        self.sessions.doom(session, cause);
        self.ending.insert(session, Instant::now() + END);
        Ok(())
    }

    /// Takes a message. Traffic is asked for, not added: a list that came in between has it already.
    async fn heard(&mut self, heard: StatsNews, lines: &Lines) {
        let said = match heard {
            StatsNews::Said(said) => said,
            StatsNews::Up => {
                let mut view = self.shared.view();
                (view.has_live_traffic, view.statsdb_away) = (true, None);
                // What happened before is in no message.
                self.next_list = Instant::now();
                return;
            }
            StatsNews::Down(reason) => {
                let mut view = self.shared.view();
                if view.statsdb_away.is_none() {
                    tracing::warn!(
                        reason,
                        "coturn's statsdb is away: its sessions are listed more often"
                    );
                }
                (view.has_live_traffic, view.statsdb_away) = (false, Some(reason));
                return;
            }
        };
        let Said {
            id,
            realm,
            username,
            what,
        } = said;
        let is_known = self.sessions.is_known(id, &realm, &username);
        match what {
            What::New if !is_known => drop(self.wanted.insert(username)),
            What::Traffic(_) if is_known => drop(self.wanted.insert(username)),
            What::Refreshed(secs) if is_known => {
                let event = self.sessions.refreshed(id, secs, now().mono);
                lines.tell(event.into_iter().collect()).await;
            }
            What::Total(usage) if is_known => self.sessions.farewell(id, usage),
            // Anybody who may write to that Redis can say so: the list is asked.
            What::Deleted if is_known => {
                self.leaving.insert(username, Instant::now() + FAREWELL);
            }
            // Another coturn's.
            _ => {}
        }
    }

    /// Looks at those that somebody waits for.
    async fn run_errands(&mut self, cli: &mut Cli, lines: &Lines) -> Result<(), CliError> {
        let at = Instant::now();
        let over = self.leaving.iter().filter(|(_, due)| **due <= at);
        self.wanted.extend(over.map(|(name, _)| name.clone()));
        self.leaving.retain(|_, due| *due > at);
        let is_late = self.ending.values().any(|until| *until < at);
        self.ending.retain(|_, until| *until >= at);
        let names = self.ending.keys().filter_map(|id| self.sessions.find(*id));
        self.wanted.extend(names.map(|(_, name)| name.to_owned()));
        let wanted = std::mem::take(&mut self.wanted);
        let by_name = |name: &String| {
            let is_plain = !name.starts_with([' ', '*']) && !name.ends_with(' ');
            is_plain && !name.is_empty() && is_sendable(name)
        };
        if is_late || wanted.len() > MAX_LOOKS || !wanted.iter().all(by_name) {
            // A long list has its pace, unless somebody waits for an end.
            let soon = !self.ending.is_empty() || self.next_list < at + ERRAND;
            if soon {
                return self.list(cli, lines).await;
            }
            self.next_list = self.next_list.min(at + PACE);
            return Ok(());
        }
        for name in wanted {
            let listed = ps(cli, &format!("ps {name}")).await?;
            let scope = match listed.is_whole() {
                true => Scope::User(&name),
                false => Scope::Part,
            };
            let events = self
                .sessions
                .take(listed.records, scope, &self.naming, now());
            lines.tell(events).await;
        }
        let sessions = &self.sessions;
        self.ending.retain(|id, _| sessions.find(*id).is_some());
        Ok(())
    }

    /// Lists all sessions.
    async fn list(&mut self, cli: &mut Cli, lines: &Lines) -> Result<(), CliError> {
        let began = Instant::now();
        let mut listed = ps(cli, "ps").await?;
        if listed.printed < listed.total {
            let wanted = listed.total.saturating_mul(2).max(MIN_PRINTED);
            cc(cli, "cli-max-output-sessions", wanted).await?;
            listed = ps(cli, "ps").await?;
        }
        self.tell_hidden(&listed);
        if std::mem::take(&mut self.may_be_new)
            && !self.sessions.knows_any(&listed.records, now().mono)
        {
            self.forget(lines).await;
        }
        let is_whole = listed.is_whole();
        let scope = if is_whole { Scope::All } else { Scope::Part };
        let events = self
            .sessions
            .take(listed.records, scope, &self.naming, now());
        lines.tell(events).await;
        let sessions = &self.sessions;
        self.ending.retain(|id, _| sessions.find(*id).is_some());
        let pace = match self.shared.view().has_live_traffic {
            true => QUIET_PACE,
            false => PACE,
        };
        self.next_list = Instant::now() + pace.max(began.elapsed() * REST);
        Ok(())
    }

    /// Says how many sessions coturn has that are not shown.
    fn tell_hidden(&mut self, listed: &Listed) {
        let unreadable = listed.printed.saturating_sub(listed.records.len() as u64);
        if unreadable == 0 {
            self.refused.remove("ps");
        } else if self.refused.insert("ps") {
            tracing::warn!(
                unreadable,
                "coturn prints sessions that cannot be read; they are not shown"
            );
        }
        let mut view = self.shared.view();
        view.truncated_of = (listed.printed < listed.total).then_some(listed.total);
        view.unreadable = unreadable;
    }

    async fn report(&self, lines: &Lines) {
        let (sessions, server) = self.sessions.measure(now().mono);
        let measured = WorkerNews::Measured {
            sessions,
            server: Box::new(server),
        };
        // Control that is gone needs no news.
        let _ = lines.news.send((WORKER, measured)).await;
    }
}

/// Lists sessions.
async fn ps(cli: &mut Cli, command: &str) -> Result<Listed, CliError> {
    let mut listing = Listing::default();
    cli.run_until(command, |line| listing.line(line)).await?;
    Ok(listing.finish())
}
