//! CPU, memory and descriptors of this process, from `/proc/self`.

use std::time::Instant;

/// What `/proc/self` said last.
#[derive(Debug)]
pub(super) struct ProcessMeter {
    ticks: u64,
    at: Instant,
    ticks_per_second: f64,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessUsage {
    /// CPU since the reading before, in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// How many may be open.
    pub descriptor_limit: u64,
}

impl ProcessMeter {
    /// Starts to measure at `now`.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        // USER_HZ: fixed at 100 on every Linux that Rust supports.
        Self {
            ticks: cpu_ticks(),
            at: now,
            ticks_per_second: 100.0,
        }
    }

    /// Reads again. Zeroes where the system has no `/proc`.
    pub(super) fn read(&mut self, now: Instant) -> ProcessUsage {
        let ticks = cpu_ticks();
        let elapsed = now
            .saturating_duration_since(self.at)
            .as_secs_f64()
            .max(0.001);
        let spent = ticks.saturating_sub(self.ticks) as f64 / self.ticks_per_second;
        (self.ticks, self.at) = (ticks, now);
        ProcessUsage {
            cpu_percent: (1000.0 * spent / elapsed).round() / 10.0,
            memory_bytes: status_kb("VmRSS:") * 1024,
            // The size of this directory is the count since Linux 6.2; listing it would cost a
            // call per relay socket.
            descriptors: std::fs::metadata("/proc/self/fd").map_or(0, |dir| dir.len()),
            descriptor_limit: descriptor_limit(),
        }
    }
}

/// User and system time of this process; fields 14 and 15 of `/proc/self/stat`, counted after the
/// closing parenthesis of the name.
fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(')') else {
        return 0;
    };
    let fields = rest.split_ascii_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn status_kb(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn descriptor_limit() -> u64 {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
