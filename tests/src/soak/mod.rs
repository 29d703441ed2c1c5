//! A cluster under everything that can happen to it, for as long as one likes; at the end all clients
//! leave, and nodes and store have to hold what they held before.

mod callers;
mod ledger;
mod stage;
mod troubles;

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::wait::until;
use callers::Callers;
use ledger::Ledger;
use stage::Stage;
use troubles::{Trouble, in_step};

pub use callers::Tally;

/// How long a process may take to end that handed everything over.
const PARTED: Duration = Duration::from_secs(60);
/// Warnings of nodes that are told with what was found.
const MAX_WARNINGS: usize = 60;

/// How to soak.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// How long clients talk while things happen; every kind happens at least once.
    pub length: Duration,
    /// How long they talk before the books are opened.
    pub warm_up: Duration,
    /// Clients at a time.
    pub callers: usize,
    /// What the randomness comes from.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How long clients talked.
    pub seconds: u64,
    /// What happened, in order.
    pub troubles: Vec<String>,
    /// Calls of operators that failed: the store was away.
    pub denied: Vec<String>,
    /// What the clients did.
    pub tally: Tally,
    /// What was held after the warm-up.
    pub before: Ledger,
    /// What was held at the end.
    pub after: Ledger,
    /// Resident memory in bytes of the node that lived through all, by seconds since the start.
    pub growth: Vec<(u64, u64)>,
    /// What the nodes warned of.
    pub warnings: Vec<String>,
    /// What is held too much, or went wrong; empty: all is well.
    pub findings: Vec<String>,
}

impl Soak {
    /// Runs it; `tell` hears what happens.
    ///
    /// # Panics
    /// When something does not start, or does not come back.
    #[must_use]
    pub fn run(&self, tell: &dyn Fn(&str)) -> Outcome {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut stage = Stage::start();
        tell(&format!("seed {}: warming up", self.seed));
        let callers = Callers::start(&stage.places(), self.callers, random.random());
        let end = Instant::now() + self.warm_up;
        for trouble in Trouble::LASTING {
            let _ = trouble.happen(&mut stage, &mut random);
        }
        // A process that took over keeps a way to the one before it: two descriptors more than the first.
        for node in &mut stage.nodes[1..] {
            let mut elder = node.upgrade();
            let _ = elder.ended(PARTED);
        }
        until(end);
        let _ = callers.leave();
        let before = Ledger::read_when_empty(&stage);

        let callers = Callers::start(&stage.places(), self.callers, random.random());
        let start = Instant::now();
        let (mut happened, mut denied, mut growth) = (Vec::new(), Vec::new(), Vec::new());
        while happened.is_empty() || start.elapsed() < self.length {
            let rss = stage.nodes[0].resident_bytes().unwrap_or(0);
            growth.push((start.elapsed().as_secs(), rss));
            for trouble in Trouble::shuffled(&mut random) {
                let begun = Instant::now();
                denied.extend(trouble.happen(&mut stage, &mut random));
                let tally = callers.tally();
                tell(&format!(
                    "{:>5} s  {trouble:?} took {:.1} s; {} calls, {} faults",
                    start.elapsed().as_secs(),
                    begun.elapsed().as_secs_f64(),
                    tally.calls,
                    tally.fault_count
                ));
                happened.push(format!("{trouble:?}"));
                // Everything is itself for a while between two of them.
                until(Instant::now() + Duration::from_millis(random.random_range(300..1500)));
            }
        }
        let seconds = start.elapsed().as_secs();
        tell("all clients leave");
        let tally = callers.leave();
        in_step(&stage);
        let after = Ledger::read_when_as(&stage, &before);
        let mut findings = after.leaks(&before);
        findings.extend(tally.faults.iter().cloned());
        if tally.talked * 2 < tally.calls {
            findings.push(format!(
                "of {} calls only {} talked",
                tally.calls, tally.talked
            ));
        }
        Outcome {
            seed: self.seed,
            seconds,
            troubles: happened,
            denied,
            tally,
            before,
            after,
            growth,
            warnings: stage.warnings(),
            findings,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            calls,
            talked,
            released,
            vanished,
            ..
        } = &self.tally;
        let Tally {
            sent,
            heard,
            unanswered,
            refused,
            ..
        } = &self.tally;
        writeln!(
            f,
            "seed {}, {} s, {} troubles",
            self.seed,
            self.seconds,
            self.troubles.len()
        )?;
        writeln!(
            f,
            "{calls} calls: {talked} talked, {released} released, {vanished} vanished"
        )?;
        writeln!(
            f,
            "{sent} payloads sent, {heard} came back; {unanswered} requests without an answer; refused {refused:?}"
        )?;
        writeln!(f, "operators' calls that failed: {}", self.denied.len())?;
        for denied in &self.denied {
            writeln!(f, "  {denied}")?;
        }
        write!(f, "{}", self.after.beside(&self.before))?;
        let every = self.growth.len().div_ceil(12).max(1);
        let points = self.growth.iter().step_by(every);
        let points = points.map(|(at, rss)| format!("{at} s {:.1}", *rss as f64 / 1_048_576.0));
        writeln!(
            f,
            "MiB of {}: {}",
            self.after.nodes.first().map_or("", |node| &node.node),
            points.collect::<Vec<_>>().join(", ")
        )?;
        let warnings = self.warnings.iter().filter(|_| !self.findings.is_empty());
        for warning in warnings.take(MAX_WARNINGS) {
            writeln!(f, "{warning}")?;
        }
        for finding in &self.findings {
            writeln!(f, "FOUND: {finding}")?;
        }
        Ok(())
    }
}
