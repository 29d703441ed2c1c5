//! The rounds.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::bench::Found;
use super::cases::{Case, Load, Work};
use super::machine::{self, Machine, Pinning};
use super::results::{Outcome, Results};
use super::servers::{ACCOUNT, Running, Server, beside};
use crate::program;

/// Packets on their way at most, in each direction.
const WINDOW: u32 = 128;
/// Allocations under way at once, and their requests.
const CHURN: u32 = 128;

/// What is to be compared, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cases.
    pub cases: Vec<&'static Case>,
    /// The servers.
    pub servers: Vec<Server>,
    /// Rounds; each server has its turn in each.
    pub rounds: usize,
    /// How long one run measures.
    pub length: Duration,
    /// How long a saturating load sleeps before it looks at what came.
    pub settle: Duration,
    /// Sessions that do nothing.
    pub idle_sessions: u32,
    /// The cores.
    pub pinning: Pinning,
}

/// Makes all rounds; `tell` hears of each run.
///
/// # Errors
/// `relayctl` cannot be run. A run that fails is part of the results.
pub fn compare(plan: &Plan, mut tell: impl FnMut(&str)) -> anyhow::Result<Results> {
    let versions = plan
        .servers
        .iter()
        .filter(|server| !server.is_forwarder())
        .map(|server| (server.name(), server.version()));
    let mut results = Results {
        machine: Machine::look(),
        pinning: plan.pinning.clone(),
        versions: versions.collect(),
        load: Vec::new(),
        cases: plan
            .cases
            .iter()
            .map(|case| Outcome::of(case, &plan.servers))
            .collect(),
    };
    for round in 0..plan.rounds {
        results.load.push(machine::load());
        for outcome in &mut results.cases {
            let count = outcome.rows.len();
            // Whoever comes first has the machine as others left it: so everybody is first in turn.
            for turn in 0..count {
                let row = &mut outcome.rows[(turn + round) % count];
                let Some(server) = row.server else { continue };
                let run = measure(plan, outcome.case, server).map_err(|error| format!("{error:#}"));
                tell(&line(round, outcome.case, server, &run));
                row.add(run);
            }
        }
    }
    results.load.push(machine::load());
    Ok(results)
}

/// What a run found, for whoever waits.
fn line(round: usize, case: &Case, server: Server, run: &Result<Found, String>) -> String {
    let found = match run {
        Ok(found) => format!(
            "{:.*} {}, {} counted, {} lost",
            if found.figure < 100.0 { 2 } else { 0 },
            found.figure,
            case.unit(),
            found.count,
            found.lost
        ),
        Err(error) => format!("FAILED: {error}"),
    };
    let (round, name) = (round + 1, case.name);
    format!("round {round} {name:<18} {:<18} {found}", server.name())
}

/// One run of one server.
fn measure(plan: &Plan, case: &Case, server: Server) -> anyhow::Result<Found> {
    let Pinning {
        core, other_core, ..
    } = plan.pinning;
    if let Work::Workers(load) = case.work {
        // The same load on both: a half of its packets comes from the other core either way.
        let (work, both) = (Work::Relay(load), [core, other_core]);
        let one = at_once(plan, work, server, &[core], &both)?;
        let two = at_once(plan, work, server, &both, &both)?;
        // By CPU time, since on a machine that does other things, too, a second of two cores need not be
        // two of one.
        return Ok(Found {
            figure: 2.0 * one.figure / two.figure,
            ..two
        });
    }
    let from = if case.shares_core() { core } else { other_core };
    at_once(plan, case.work, server, &[core], &[from])
}

/// Runs a server on some cores, with a worker for each, and a load on each of the cores `from`.
fn at_once(
    plan: &Plan,
    work: Work,
    server: Server,
    cores: &[usize],
    from: &[usize],
) -> anyhow::Result<Found> {
    let running = Running::start(server, cores)?;
    let words = load(plan, work, server, &running)?;
    let runs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = from
            .iter()
            .map(|core| plan.pinning.load(*core, &words))
            .map(|command| scope.spawn(|| run(command, plan.length)))
            .collect();
        let end = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join();
        threads.into_iter().map(end).collect()
    });
    let mut found = Vec::new();
    for output in runs {
        let output = output.map_err(|_| anyhow::anyhow!("relayctl does not end"))??;
        if !output.status.success() {
            let text = program::text(&output);
            anyhow::bail!("relayctl: {}: {}; {}", output.status, text, running.log());
        }
        let json = String::from_utf8_lossy(&output.stdout);
        found.push(Found::read(work, &json).map_err(anyhow::Error::msg)?);
    }
    Ok(Found::together(&found))
}

/// Runs the load with the password on its input.
fn run(mut command: Command, length: Duration) -> anyhow::Result<std::process::Output> {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("relayctl")?;
    if let Some(mut input) = child.stdin.take() {
        // Where no password is asked for, nobody reads it.
        let _ = writeln!(input, "{}", ACCOUNT.1);
    }
    let patience = length * 4 + Duration::from_secs(60);
    Ok(program::finish("relayctl", child, patience))
}

/// The words of the load's command.
fn load(plan: &Plan, work: Work, server: Server, running: &Running) -> anyhow::Result<Vec<String>> {
    let relayctl = beside("relayctl").context("this program has no folder")?;
    let micros = |time: Duration| format!("{}us", time.as_micros());
    let mut words = vec![relayctl.display().to_string()];
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    let (pid, uri) = (
        running.pid().to_string(),
        format!("turn:{}", running.address),
    );
    let kind = match work {
        Work::Relay(_) | Work::Workers(_) => "relay",
        Work::Churn => "churn",
        Work::Idle => "idle",
        Work::Binding => "binding",
    };
    add(&["-o", "json", "bench", kind, &uri, "--pid", &pid]);
    if work != Work::Binding {
        add(&["--user", ACCOUNT.0, "--password-stdin"]);
    }
    // Both directions come to its one socket, which should have no more waiting than those of others.
    let window = match server {
        Server::TurnServer => WINDOW / 2,
        _ => WINDOW,
    };
    let saturating = [
        "--window",
        &window.to_string(),
        "--settle",
        &micros(plan.settle),
    ];
    let duration = ["--duration", &micros(plan.length)];
    match work {
        Work::Relay(relay) | Work::Workers(relay) => {
            add(&relay_words(relay)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>());
            add(&duration);
            add(&["--warm-up", &micros(plan.length / 5)]);
            if relay.rate.is_none() {
                add(&saturating);
            }
            if server == Server::TurnServer {
                add(&["--pair"]);
            }
        }
        Work::Churn => {
            add(&["--concurrency", &CHURN.to_string()]);
            add(&["--settle", &micros(plan.settle)]);
            add(&duration);
        }
        Work::Idle => add(&["--sessions", &plan.idle_sessions.to_string()]),
        Work::Binding => {
            add(&duration);
            add(&saturating);
        }
    }
    Ok(words)
}

fn relay_words(load: Load) -> Vec<String> {
    let mut words = vec![
        "--size=160".to_owned(),
        format!("--sessions={}", load.sessions),
        format!("--burst={}", load.burst),
    ];
    if load.segments {
        words.push("--segments".to_owned());
    }
    if !load.receive_segments {
        words.push("--no-receive-segments".to_owned());
    }
    words.extend(load.rate.map(|rate| format!("--rate={rate}")));
    words
}
