//! The machine: what it is, and which of its cores runs what.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Where server and load run, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Pinning {
    /// The core of the server with all its threads; the load that saturates it runs there, too.
    pub core: usize,
    /// The core of a load that comes at its own pace.
    pub other_core: usize,
    /// Whether the load may take the core whenever it wants (SCHED_FIFO): it sends a whole window before
    /// the server sees any of it.
    pub is_real_time: bool,
}

impl Pinning {
    /// On these cores, with what the system permits.
    #[must_use]
    pub fn new(core: usize, other_core: usize) -> Self {
        Self {
            core,
            other_core,
            is_real_time: works(&["chrt", "-f", "1", "true"]),
        }
    }

    /// The command of a server on these cores. Each wrapper becomes what it starts, so that the process
    /// is the server's.
    pub(super) fn server(cores: &[usize], program: &[String]) -> Command {
        let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
        let mut words = ["taskset", "-c", &cores.join(",")]
            .map(str::to_owned)
            .to_vec();
        words.extend_from_slice(program);
        command(&words)
    }

    /// The command of a load on this core.
    pub(super) fn load(&self, core: usize, program: &[String]) -> Command {
        let mut words = Vec::new();
        if self.is_real_time {
            words.extend(["chrt", "-f", "1"].map(str::to_owned));
        }
        words.extend(["taskset", "-c"].map(str::to_owned));
        words.push(core.to_string());
        words.extend_from_slice(program);
        command(&words)
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn works(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

/// What the figures were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// The system.
    pub kernel: String,
    /// The day, in UTC, as in 2026-11-21.
    pub date: String,
}

impl Machine {
    /// This one, today.
    #[must_use]
    pub fn look() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            processor: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: cores(),
            kernel: format!("Linux {}", kernel.trim()),
            date: date(now.map_or(0, |since| since.as_secs() / 86_400)),
        }
    }
}

/// Cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processes that wanted to run, on average over the last minute.
#[must_use]
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// The date that lies `days` after 1970-01-01.
fn date(days: u64) -> String {
    let (mut year, mut left) = (1970, days);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    loop {
        let of_year = if is_leap(year) { 366 } else { 365 };
        if left < of_year {
            break;
        }
        left -= of_year;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < of_month {
            break;
        }
        left -= of_month;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(59), "1970-03-01");
        assert_eq!(date(10_957), "2000-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_778), "2026-11-21");
        assert_eq!(date(20_818), "2026-12-31");
    }

    #[test]
    fn programs_are_put_on_their_cores() {
        let words = |command: Command| {
            let all = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<_> = all
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            words.join(" ")
        };
        let mut pinning = Pinning {
            core: 3,
            other_core: 2,
            is_real_time: true,
        };
        let program = ["x".to_owned(), "-y".to_owned()];
        assert_eq!(words(Pinning::server(&[3], &program)), "taskset -c 3 x -y");
        assert_eq!(
            words(Pinning::server(&[3, 2], &program)),
            "taskset -c 3,2 x -y"
        );
        assert_eq!(
            words(pinning.load(2, &program)),
            "chrt -f 1 taskset -c 2 x -y"
        );
        pinning.is_real_time = false;
        assert_eq!(words(pinning.load(2, &program)), "taskset -c 2 x -y");
    }

    #[test]
    fn this_machine_has_a_processor_and_a_date() {
        let machine = Machine::look();
        assert!(machine.cores >= 1);
        assert!(machine.kernel.starts_with("Linux "));
        assert!(machine.date.as_str() > "2026-01-01", "{}", machine.date);
    }
}
