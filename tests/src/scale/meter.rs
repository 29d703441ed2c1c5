//! What a Redis did in a window of time, by its own counters, and what a process holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::redis::RedisServer;

/// Counters of a server since its start.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    at: Instant,
    commands: u64,
    in_bytes: u64,
    out_bytes: u64,
    main_thread: Duration,
    /// Calls of each command, those of scripts among them, and their time in microseconds.
    calls: BTreeMap<String, (u64, u64)>,
}

/// What happened between two readings, per second.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// How long the window was.
    pub seconds: f64,
    /// Commands, those of scripts among them.
    pub commands: f64,
    /// Bytes that Redis read.
    pub in_bytes: f64,
    /// Bytes that it wrote.
    pub out_bytes: f64,
    /// Share of one core that its main thread was busy.
    pub busy: f64,
    /// Calls by command.
    pub calls: BTreeMap<String, f64>,
}

impl Counters {
    /// Reads them.
    pub(super) fn read(redis: &RedisServer) -> Self {
        let at = Instant::now();
        let text = redis.cli(&["INFO", "everything"]);
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        let count = |name: &str| value(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let time = |name: &str| {
            value(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0)
        };
        let busy: f64 = time("used_cpu_user_main_thread") + time("used_cpu_sys_main_thread");
        Self {
            at,
            commands: count("total_commands_processed"),
            in_bytes: count("total_net_input_bytes"),
            out_bytes: count("total_net_output_bytes"),
            main_thread: Duration::try_from_secs_f64(busy).unwrap_or_default(),
            calls: text.lines().filter_map(command).collect(),
        }
    }

    /// What happened since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Rates {
        let seconds = (self.at - before.at).as_secs_f64();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let busy = self.main_thread.saturating_sub(before.main_thread);
        let calls = self.calls.iter().map(|(name, (calls, _))| {
            let earlier = before.calls.get(name).map_or(0, |(calls, _)| *calls);
            (name.clone(), rate(*calls, earlier))
        });
        Rates {
            seconds,
            commands: rate(self.commands, before.commands),
            in_bytes: rate(self.in_bytes, before.in_bytes),
            out_bytes: rate(self.out_bytes, before.out_bytes),
            busy: busy.as_secs_f64() / seconds,
            calls: calls.filter(|(_, calls)| *calls > 0.0).collect(),
        }
    }
}

/// `cmdstat_hget:calls=10,usec=30,usec_per_call=3.00,…`
fn command(line: &str) -> Option<(String, (u64, u64))> {
    let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let mut figures = figures.split(',');
    let mut next = |name: &str| figures.next()?.strip_prefix(name)?.parse().ok();
    Some((name.to_owned(), (next("calls=")?, next("usec=")?)))
}

/// Resident memory of this process in bytes.
pub(super) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Records in the store: how many sessions, and what their hashes and those of nodes take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    /// Sessions.
    pub sessions: u64,
    /// Bytes of Redis' memory that they take.
    pub session_bytes: u64,
    /// The length of the longest record of a node.
    pub node_record_bytes: u64,
}

impl Stored {
    /// Measures them. Redis stands still meanwhile.
    pub(super) fn read(redis: &RedisServer) -> Self {
        let script = "local n, m, r, names = 0, 0, 0, redis.call('ZRANGE', 'relay:nodes', 0, -1) \
             for _, id in ipairs(names) do \
             local node = 'relay:node:{' .. id .. '}' \
             n = n + redis.call('HLEN', node .. ':sessions') \
             m = m + (redis.call('MEMORY', 'USAGE', node .. ':sessions', 'SAMPLES', 100) or 0) \
             r = math.max(r, redis.call('HSTRLEN', node, 'record')) end return {n, m, r}";
        let said = redis.cli(&["EVAL", script, "0"]);
        let mut figures = said.lines().map(|line| line.trim().parse().unwrap_or(0));
        let mut next = || figures.next().unwrap_or(0);
        Self {
            sessions: next(),
            session_bytes: next(),
            node_record_bytes: next(),
        }
    }

    /// Only how many sessions there are.
    pub(super) fn sessions(redis: &RedisServer) -> u64 {
        let script = "local n = 0 for _, id in ipairs(redis.call('ZRANGE', 'relay:nodes', 0, -1)) do \
             n = n + redis.call('HLEN', 'relay:node:{' .. id .. '}:sessions') end return n";
        redis.cli(&["EVAL", script, "0"]).parse().unwrap_or(0)
    }
}
