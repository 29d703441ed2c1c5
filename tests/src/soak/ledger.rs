//! What nodes and store hold: read when everybody has left, and held against an earlier reading.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::stage::Stage;
use crate::wait::until;

/// How much larger a process may be than it was after the warm-up, in percent and in bytes: allocators
/// keep what they had at the peak, and figures over time fill their rings for an hour.
const RSS_PERCENT: u64 = 40;
const RSS_BYTES: u64 = 32 << 20;
/// How long everything may take to go: sessions expire, connections to Redis come back.
const SETTLE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What one node holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Holding {
    /// Its name.
    pub node: String,
    /// Resident memory in bytes.
    pub rss: u64,
    /// File descriptors by kind.
    pub descriptors: BTreeMap<String, usize>,
    /// Sessions.
    pub sessions: u64,
    /// Relay ports.
    pub ports: u64,
    /// Its session records in the store.
    pub records: u64,
}

/// What all of them and the store hold.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    /// The nodes.
    pub nodes: Vec<Holding>,
    /// The keys of the store that do not end by themselves.
    pub keys: Vec<String>,
}

impl Ledger {
    /// Reads everything as it is now.
    pub(super) fn read(stage: &Stage) -> Self {
        let mut keys = stage.lasting_keys();
        keys.sort();
        let nodes = stage.nodes.iter().map(|node| {
            let mut descriptors = BTreeMap::new();
            for name in node.descriptors() {
                *descriptors.entry(kind(&name)).or_default() += 1;
            }
            let metric = |name: &str| node.metric(name).map_or(u64::MAX, |value| value as u64);
            Holding {
                node: node.id().to_owned(),
                rss: node.resident_bytes().unwrap_or(u64::MAX),
                descriptors,
                sessions: metric("relayd_sessions"),
                ports: metric("relayd_relay_ports_used"),
                records: stage.records(node.id()),
            }
        });
        Self {
            nodes: nodes.collect(),
            keys,
        }
    }

    /// Waits until nobody has a session, a port or a record any more.
    pub(super) fn read_when_empty(stage: &Stage) -> Self {
        Self::read_when(stage, Self::is_empty)
    }

    /// Waits until what is held is what was held, but for memory.
    pub(super) fn read_when_as(stage: &Stage, before: &Self) -> Self {
        Self::read_when(stage, |now| now.is_empty() && now.leaks(before).is_empty())
    }

    fn read_when(stage: &Stage, good: impl Fn(&Self) -> bool) -> Self {
        let end = Instant::now() + SETTLE;
        loop {
            let now = Self::read(stage);
            if good(&now) || Instant::now() > end {
                return now;
            }
            until(Instant::now() + LOOK);
        }
    }

    fn is_empty(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.all(|node| (node.sessions, node.ports, node.records) == (0, 0, 0))
    }

    /// What is held that was not held before, in words; empty: nothing.
    pub(super) fn leaks(&self, before: &Self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (now, was) in self.nodes.iter().zip(&before.nodes) {
            let node = &now.node;
            for (what, count) in [
                ("sessions", now.sessions),
                ("relay ports", now.ports),
                ("session records", now.records),
            ] {
                if count > 0 {
                    leaks.push(format!("{node} has {count} {what}"));
                }
            }
            for (kind, count) in &now.descriptors {
                let earlier = was.descriptors.get(kind).copied().unwrap_or(0);
                if *count > earlier {
                    leaks.push(format!(
                        "{node} has {count} descriptors of {kind}, before {earlier}"
                    ));
                }
            }
            let most = was.rss + was.rss * RSS_PERCENT / 100 + RSS_BYTES;
            if now.rss > most {
                let mb = |bytes: u64| bytes >> 20;
                leaks.push(format!(
                    "{node} has {} MiB, before {}",
                    mb(now.rss),
                    mb(was.rss)
                ));
            }
        }
        let new = self.keys.iter().filter(|key| !before.keys.contains(key));
        leaks.extend(new.map(|key| format!("the store has {key}")));
        leaks
    }

    /// A table of both.
    pub(super) fn beside<'l>(&'l self, before: &'l Self) -> impl fmt::Display + 'l {
        Beside { now: self, before }
    }
}

/// Descriptors that are files have a path: what matters is which, not where.
fn kind(name: &str) -> String {
    let deleted = name.strip_suffix(" (deleted)").unwrap_or(name);
    deleted.rsplit('/').next().unwrap_or(deleted).to_owned()
}

struct Beside<'l> {
    now: &'l Ledger,
    before: &'l Ledger,
}

impl fmt::Display for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "node", "RSS MiB", "then", "files", "then", "sessions", "ports", "records",
        ];
        let [node, rss, then, files, files_then, sessions, ports, records] = head;
        writeln!(
            f,
            "{node:<8}{rss:>9}{then:>7}{files:>7}{files_then:>7}{sessions:>10}{ports:>7}{records:>9}"
        )?;
        for (now, was) in self.now.nodes.iter().zip(&self.before.nodes) {
            let files = |holding: &Holding| holding.descriptors.values().sum::<usize>();
            writeln!(
                f,
                "{:<8}{:>9.1}{:>7.1}{:>7}{:>7}{:>10}{:>7}{:>9}",
                now.node,
                now.rss as f64 / 1_048_576.0,
                was.rss as f64 / 1_048_576.0,
                files(now),
                files(was),
                now.sessions,
                now.ports,
                now.records
            )?;
        }
        writeln!(
            f,
            "keys in the store: {}, then {}",
            self.now.keys.len(),
            self.before.keys.len()
        )
    }
}
