//! What a server's process costs, as `/proc` has it.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::Serialize;

/// CPU time of the threads of a process, by thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTime(BTreeMap<u32, u64>);

/// What was spent between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// Nanoseconds of all threads that are still there, and of those that came.
    pub(super) ns: u64,
    /// Threads that ended in between, whose last part is not in it.
    pub(super) ended: usize,
}

impl CpuTime {
    /// Looks at `/proc/PID/task/*/schedstat`, whose first field is the time on a CPU, softirqs that
    /// interrupted it included.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut times = BTreeMap::new();
        for task in fs::read_dir(folder)? {
            let name = task?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread that ends in between is not one any more.
            if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{id}/schedstat")) {
                times.insert(id, first_number(&text)?);
            }
        }
        Ok(Self(times))
    }

    /// From `self` to `later`.
    pub(super) fn until(&self, later: &Self) -> Spent {
        let before = |id| self.0.get(id).copied().unwrap_or(0);
        let of_each = later.0.iter().map(|(id, ns)| ns.saturating_sub(before(id)));
        let ended = self.0.keys().filter(|id| !later.0.contains_key(id));
        Spent {
            ns: of_each.sum(),
            ended: ended.count(),
        }
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub(super) fn own_cpu_ns() -> io::Result<u64> {
    first_number(&fs::read_to_string("/proc/thread-self/schedstat")?)
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
    number.ok_or_else(|| io::Error::other("schedstat has no number: the kernel keeps none"))
}

/// Resident memory in bytes: the exact sum where the kernel lets us have it, else the estimate in
/// `status`.
pub(super) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let exact = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let found = exact.ok().and_then(|text| kilobytes(&text, "Rss:"));
    if let Some(bytes) = found {
        return Ok(bytes);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kilobytes(&status, "VmRSS:").ok_or_else(|| io::Error::other("it has no memory of its own"))
}

/// The bytes behind `name`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let number: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(number * 1024)
}

/// What a run cost the server's process. Which of these are there depends on the kind of run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessReport {
    /// The process.
    pub pid: u32,
    /// CPU time in nanoseconds over the measured span.
    pub cpu_ns: u64,
    /// Threads that ended in the measured span, whose last part is missing in it.
    pub threads_ended: usize,
    /// Per relayed packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns_per_packet: Option<f64>,
    /// Per allocation made and released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns_per_cycle: Option<f64>,
    /// Per answer to a Binding request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns_per_answer: Option<f64>,
    /// Resident memory before anything was asked for.
    pub rss_bytes_before: u64,
    /// Resident memory while the sessions were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes_with_sessions: Option<u64>,
    /// Resident memory after all was released.
    pub rss_bytes_after: u64,
    /// The difference that a session made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes_per_session: Option<f64>,
    /// The difference that a cycle left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes_growth_per_cycle: Option<f64>,
}

/// A quotient; `None` where there is nothing to divide by.
pub(super) fn per(total: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| total / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_time_and_memory() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let own = own_cpu_ns().unwrap();
        let mut sum = 0_u64;
        while own_cpu_ns().unwrap() < own + 2_000_000 {
            sum = sum.wrapping_add(1);
        }
        let spent = before.until(&CpuTime::of(pid).unwrap());
        assert!(spent.ns >= 2_000_000, "{spent:?} {sum}");
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(CpuTime::of(u32::MAX).is_err());
    }

    #[test]
    fn threads_that_come_and_go_are_told() {
        let before = CpuTime([(1, 100), (2, 50)].into());
        let after = CpuTime([(1, 130), (3, 7)].into());
        assert_eq!(before.until(&after), Spent { ns: 37, ended: 1 });
    }

    #[test]
    fn memory_is_read_in_kilobytes() {
        let text = "VmPeak:\t 10 kB\nVmRSS:\t  1234 kB\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(1234 * 1024));
        assert_eq!(kilobytes(text, "Rss:"), None);
    }
}
