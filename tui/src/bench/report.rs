//! What a run found: the names in JSON are a contract with scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::Histogram;
use super::ledger::{Ledger, Tally};
pub use super::process::ProcessReport;
use super::stamp::Way;

/// A number for each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ways<T> {
    /// From clients to peers.
    pub up: T,
    /// From peers to clients.
    pub down: T,
}

/// How long packets took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them were not slower.
    pub p50: Option<f64>,
    /// 99 of 100.
    pub p99: Option<f64>,
    /// 999 of 1000.
    pub p99_9: Option<f64>,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let at = |share| {
            let tenths: Option<f64> = histogram.quantile(share);
            tenths.map(|tenths| (tenths / 10.0 * 100.0).round() / 100.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }
}

/// How the sessions were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SetUp {
    /// How many.
    pub sessions: usize,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// What the measuring itself cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BenchCost {
    /// CPU time of our thread per packet or answer that arrived, in nanoseconds.
    pub cpu_ns_per_packet: Option<f64>,
}

/// What `bench relay` found.
#[derive(Clone, Debug, Serialize)]
pub struct RelayReport {
    /// `relay`.
    pub kind: &'static str,
    /// The server.
    pub server: String,
    /// What carried the messages.
    pub transport: String,
    /// Allocations.
    pub sessions: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Packets of one flow before the next flow's.
    pub burst: usize,
    /// `up`, `down`, `both` or `echo`.
    pub direction: &'static str,
    /// `channel` or `indication`.
    pub method: &'static str,
    /// Whether a burst left as one message.
    pub segments: bool,
    /// Whether our sockets took bursts as one message.
    pub receive_segments: bool,
    /// Whether sessions were each other's peers.
    pub pair: bool,
    /// Packets on their way at most, in each direction; `null`: there was a rate.
    pub window: Option<usize>,
    /// Packets per second that were to leave; `null`: as they arrived.
    pub rate_per_sec: Option<f64>,
    /// From the first packet to the last that arrived, in milliseconds.
    pub duration_ms: f64,
    /// Packets that left.
    pub sent: Ways<u64>,
    /// Packets that arrived where they belong, as they were sent, each once.
    pub received: Ways<u64>,
    /// Packets that arrived nowhere.
    pub lost: u64,
    /// Packets that arrived where they do not belong.
    pub misrouted: u64,
    /// Packets that arrived otherwise than they were sent.
    pub corrupted: u64,
    /// Packets that arrived once more.
    pub duplicated: u64,
    /// Packets that arrived behind one that was sent later.
    pub reordered: u64,
    /// Packets received per second.
    pub packets_per_sec: Ways<f64>,
    /// One way, or there and back for an echo.
    pub latency_us: Latency,
    /// How the sessions were made.
    pub setup: SetUp,
    /// Sessions that did not let themselves be released.
    pub not_released: usize,
    /// What the measuring itself cost.
    pub bench: BenchCost,
    /// What it cost the server's process, where `--pid` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessReport>,
}

impl RelayReport {
    /// Packets that arrived where they belong, in all.
    #[must_use]
    pub fn relayed(&self) -> u64 {
        self.received.up + self.received.down
    }

    /// Whether the server did what no server may: whoever reads this far must hear of it.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let bad = [
            (self.misrouted, "misrouted"),
            (self.corrupted, "corrupted"),
            (self.duplicated, "duplicated"),
        ];
        let bad = bad.iter().filter(|(count, _)| *count > 0);
        let bad: Vec<_> = bad.map(|(count, what)| format!("{count} {what}")).collect();
        (!bad.is_empty()).then(|| format!("packets were spoilt: {}", bad.join(", ")))
    }

    /// Takes the counts of a run.
    pub(super) fn count(&mut self, ledger: &Ledger) {
        let (up, down) = (ledger.tally(Way::Up), ledger.tally(Way::Down));
        let sum = |of: fn(&Tally) -> u64| of(up) + of(down);
        self.sent = Ways {
            up: up.sent,
            down: down.sent,
        };
        self.received = Ways {
            up: up.received,
            down: down.received,
        };
        self.lost = sum(Tally::lost);
        self.misrouted = sum(|tally| tally.misrouted);
        self.corrupted = sum(|tally| tally.corrupted);
        self.duplicated = sum(|tally| tally.duplicated);
        self.reordered = sum(|tally| tally.reordered);
        self.latency_us = Latency::of(&ledger.latency);
        let rate = |packets: u64| (packets as f64 / (self.duration_ms / 1e3).max(1e-9)).round();
        self.packets_per_sec = Ways {
            up: rate(up.received),
            down: rate(down.received),
        };
    }
}

/// What `bench churn` found.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnReport {
    /// `churn`.
    pub kind: &'static str,
    /// The server.
    pub server: String,
    /// What carried the messages.
    pub transport: String,
    /// Allocations at once.
    pub concurrency: usize,
    /// Allocations made and released.
    pub cycles: u64,
    /// Those that were not.
    pub failed: u64,
    /// Error codes, and how often.
    pub refused: BTreeMap<u16, u64>,
    /// Requests that were never answered.
    pub unanswered: u64,
    /// Cycles per second.
    pub cycles_per_sec: f64,
    /// How long a cycle took, in microseconds.
    pub latency_us: Latency,
    /// How long all took, in milliseconds.
    pub duration_ms: f64,
    /// What the measuring itself cost; a packet is a cycle here.
    pub bench: BenchCost,
    /// What it cost the server's process, where `--pid` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessReport>,
}

/// One round of `bench idle`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IdleRound {
    /// How the sessions were made.
    pub setup: SetUp,
    /// Sessions that did not let themselves be released.
    pub not_released: usize,
    /// Resident memory of the process before, in bytes.
    pub rss_bytes_before: Option<u64>,
    /// With the sessions.
    pub rss_bytes_with_sessions: Option<u64>,
    /// The difference that a session made.
    pub rss_bytes_per_session: Option<f64>,
    /// After they were released.
    pub rss_bytes_after: Option<u64>,
    /// CPU time of the process while they were held and nothing was asked, in nanoseconds.
    pub cpu_ns_held: Option<u64>,
}

/// What `bench idle` found.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// `idle`.
    pub kind: &'static str,
    /// The server.
    pub server: String,
    /// What carried the messages.
    pub transport: String,
    /// Sessions of each round.
    pub sessions: usize,
    /// How long they were held, in milliseconds.
    pub hold_ms: u64,
    /// One after the other.
    pub rounds: Vec<IdleRound>,
}

/// What `bench binding` found.
#[derive(Clone, Debug, Serialize)]
pub struct BindingReport {
    /// `binding`.
    pub kind: &'static str,
    /// The server.
    pub server: String,
    /// What carried the messages.
    pub transport: String,
    /// Clients that asked.
    pub clients: usize,
    /// Requests on their way at most; `null`: there was a rate.
    pub window: Option<usize>,
    /// Requests per second that were to leave; `null`: as answers arrived.
    pub rate_per_sec: Option<f64>,
    /// From the first request to the last answer, in milliseconds.
    pub duration_ms: f64,
    /// Requests.
    pub sent: u64,
    /// Answers with the client's own address.
    pub received: u64,
    /// Answers that named another address, or were none.
    pub wrong: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Answers per second.
    pub per_sec: f64,
    /// From request to answer, in microseconds.
    pub latency_us: Latency,
    /// What the measuring itself cost.
    pub bench: BenchCost,
    /// What it cost the server's process, where `--pid` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessReport>,
}
