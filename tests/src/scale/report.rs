//! What a simulation found, in figures that can be held against bounds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Simulation;
use super::console::Latency;
use super::meter::{Rates, Stored};

/// Raw readings.
#[derive(Debug)]
pub(super) struct Measured {
    /// Nodes without sessions.
    pub idle: Rates,
    /// While the store got all sessions.
    pub writing: Rates,
    /// How long that took.
    pub took: Duration,
    /// What the store had then.
    pub stored: Stored,
    /// By how much the process grew with the sessions.
    pub grown: u64,
    /// With churn.
    pub busy: Rates,
    /// While pages were asked for.
    pub asked: Rates,
    /// How long these took.
    pub pages: Vec<Latency>,
}

/// The result of a simulation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Nodes.
    pub nodes: u32,
    /// Sessions over all of them.
    pub sessions: u32,
    /// Sessions that ended and began each second.
    pub churn: u32,
    /// How long was measured.
    pub seconds: f64,
    /// Whether the programs are optimised.
    pub optimised: bool,
    /// Redis with nodes that have no sessions.
    pub idle: Load,
    /// Redis with all sessions and churn.
    pub busy: Load,
    /// Redis while one console asked for page after page.
    pub asked: Load,
    /// The length of a node's record.
    pub node_record_bytes: u64,
    /// Redis' memory for a session that it keeps.
    pub redis_bytes_per_session: f64,
    /// Bytes that a session's record costs on its way to Redis.
    pub written_bytes_per_session: f64,
    /// Sessions that all nodes together wrote per second when all were new.
    pub written_per_sec: f64,
    /// Memory of a node for a session.
    pub node_bytes_per_session: f64,
    /// Pages of sessions.
    pub pages: Vec<Latency>,
}

/// What Redis does in a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Commands, those of scripts among them.
    pub commands: f64,
    /// The same per node.
    pub commands_per_node: f64,
    /// Megabytes that it read.
    pub in_mb: f64,
    /// Megabytes that it wrote.
    pub out_mb: f64,
    /// Percent of a core that its main thread was busy.
    pub main_thread_percent: f64,
    /// Calls of the most frequent commands.
    pub calls: Vec<(String, f64)>,
}

/// Commands that a load names.
const NAMED: usize = 8;

impl Load {
    fn new(rates: &Rates, nodes: u32) -> Self {
        let mut calls: Vec<_> = rates.calls.clone().into_iter().collect();
        calls.sort_by(|a, b| b.1.total_cmp(&a.1));
        calls.truncate(NAMED);
        Self {
            commands: rates.commands,
            commands_per_node: rates.commands / f64::from(nodes),
            in_mb: rates.in_bytes / 1e6,
            out_mb: rates.out_bytes / 1e6,
            main_thread_percent: 100.0 * rates.busy,
            calls,
        }
    }
}

impl Report {
    pub(super) fn new(simulation: &Simulation, measured: Measured) -> Self {
        let Measured { stored, took, .. } = measured;
        let records = (stored.sessions as f64).max(1.0);
        let took = took.as_secs_f64();
        // What nodes say without sessions goes on meanwhile.
        let extra = (measured.writing.in_bytes - measured.idle.in_bytes).max(0.0);
        Self {
            nodes: simulation.nodes,
            sessions: simulation.sessions,
            churn: simulation.churn,
            seconds: measured.busy.seconds,
            optimised: !cfg!(debug_assertions),
            idle: Load::new(&measured.idle, simulation.nodes),
            busy: Load::new(&measured.busy, simulation.nodes),
            asked: Load::new(&measured.asked, simulation.nodes),
            node_record_bytes: stored.node_record_bytes,
            redis_bytes_per_session: stored.session_bytes as f64 / records,
            written_bytes_per_session: extra * took / records,
            written_per_sec: records / took,
            node_bytes_per_session: measured.grown as f64 / f64::from(simulation.sessions.max(1)),
            pages: measured.pages,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if self.optimised { "optimised" } else { "debug" };
        writeln!(
            f,
            "{} nodes, {} sessions, {} begin and end each second, {:.0} s, {build} build\n",
            self.nodes, self.sessions, self.churn, self.seconds
        )?;
        self.write_loads(f)?;
        self.write_sizes(f)?;
        self.write_pages(f)
    }
}

impl Report {
    fn write_loads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loads = [
            ("no sessions", &self.idle),
            ("all sessions", &self.busy),
            ("and pages", &self.asked),
        ];
        writeln!(
            f,
            "{:<16}{:>12}{:>10}{:>10}{:>10}{:>10}",
            "Redis", "commands/s", "per node", "in MB/s", "out MB/s", "thread %"
        )?;
        for (what, load) in loads {
            writeln!(
                f,
                "{what:<16}{:>12.0}{:>10.1}{:>10.2}{:>10.2}{:>10.1}",
                load.commands,
                load.commands_per_node,
                load.in_mb,
                load.out_mb,
                load.main_thread_percent
            )?;
        }
        for (what, load) in loads {
            let calls = load.calls.iter();
            let calls = calls.map(|(name, calls)| format!("{name} {calls:.0}"));
            writeln!(f, "{what}: {}", calls.collect::<Vec<_>>().join(", "))?;
        }
        writeln!(f)
    }

    fn write_sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            ("record of a node", self.node_record_bytes as f64, "bytes"),
            (
                "session in Redis' memory",
                self.redis_bytes_per_session,
                "bytes",
            ),
            (
                "session on its way there",
                self.written_bytes_per_session,
                "bytes",
            ),
            (
                "sessions written when all are new",
                self.written_per_sec,
                "a second",
            ),
            (
                "session in a node's memory",
                self.node_bytes_per_session,
                "bytes",
            ),
        ];
        for (what, value, unit) in figures {
            writeln!(f, "{what:<36}{value:>10.0} {unit}")?;
        }
        writeln!(f)
    }

    fn write_pages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24}{:>8}{:>10}{:>10}{:>10}",
            "page", "calls", "p50 ms", "p99 ms", "missing"
        )?;
        for page in &self.pages {
            writeln!(
                f,
                "{:<24}{:>8}{:>10.1}{:>10.1}{:>10.2}",
                page.page, page.calls, page.p50_ms, page.p99_ms, page.missing
            )?;
        }
        Ok(())
    }
}
