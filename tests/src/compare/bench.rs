//! What `relayctl bench -o json` said, as far as the comparison needs it.

use serde::{Deserialize, Serialize};

use super::cases::Work;

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// The figure of the case.
    pub figure: f64,
    /// Packets, cycles or answers that it is made of.
    pub count: u64,
    /// Those of them per second.
    pub per_sec: f64,
    /// Packets or answers that did not come, cycles that failed.
    pub lost: u64,
    /// Packets that overtook others of their flow.
    pub reordered: u64,
    /// What measuring cost, in CPU ns per packet.
    pub bench_ns: Option<f64>,
}

/// The fields of all kinds of reports.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    received: Option<Received>,
    packets_per_sec: Ways,
    lost: u64,
    misrouted: u64,
    corrupted: u64,
    duplicated: u64,
    reordered: u64,
    not_released: u64,
    cycles: u64,
    failed: u64,
    cycles_per_sec: f64,
    wrong: u64,
    per_sec: f64,
    sessions: u64,
    rounds: Vec<Round>,
    bench: Cost,
    process: Process,
}

/// Packets each way, or answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Received {
    Ways { up: u64, down: u64 },
    Answers(u64),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ways {
    up: f64,
    down: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Round {
    rss_bytes_per_session: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cost {
    cpu_ns_per_packet: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    threads_ended: u64,
    cpu_ns_per_packet: Option<f64>,
    cpu_ns_per_cycle: Option<f64>,
    cpu_ns_per_answer: Option<f64>,
}

impl Found {
    /// Reads the report of a run.
    ///
    /// # Errors
    /// It is no report of such a run, or tells of something that must not be, or of nothing at all.
    pub fn read(work: Work, json: &str) -> Result<Self, String> {
        let report: Report =
            serde_json::from_str(json).map_err(|error| format!("no report: {error}"))?;
        let spoilt = report.misrouted + report.corrupted + report.duplicated + report.wrong;
        if spoilt > 0 {
            return Err(format!(
                "{} misrouted, {} corrupted, {} duplicated packets, {} wrong answers",
                report.misrouted, report.corrupted, report.duplicated, report.wrong
            ));
        }
        if report.process.threads_ended > 0 {
            return Err("a thread of the server ended, and took its CPU time along".to_owned());
        }
        let received = match report.received {
            Some(Received::Ways { up, down }) => up + down,
            Some(Received::Answers(answers)) => answers,
            None => 0,
        };
        let process = &report.process;
        let (figure, count, per_sec) = match work {
            Work::Relay(_) | Work::Workers(_) => {
                let rate = report.packets_per_sec.up + report.packets_per_sec.down;
                (process.cpu_ns_per_packet, received, rate)
            }
            Work::Churn => {
                let rate = report.cycles_per_sec;
                (process.cpu_ns_per_cycle, report.cycles, rate)
            }
            Work::Idle => {
                let first = report.rounds.first();
                let bytes = first.and_then(|round| round.rss_bytes_per_session);
                (bytes, report.sessions, 0.0)
            }
            Work::Binding => (process.cpu_ns_per_answer, received, report.per_sec),
        };
        let figure = figure.ok_or("the report lacks what the server's process cost")?;
        // Memory may have been there before; time passes always.
        if count == 0 || figure <= 0.0 && work != Work::Idle {
            return Err(format!(
                "nothing was measured: {count} counted, figure {figure}"
            ));
        }
        Ok(Self {
            figure,
            count,
            per_sec,
            lost: report.lost + report.failed + report.not_released,
            reordered: report.reordered,
            bench_ns: report.bench.cpu_ns_per_packet,
        })
    }

    /// What several loads found that one server had at the same time. Each has taken all of the server's
    /// CPU time for its own packets.
    #[must_use]
    pub fn together(all: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u64| all.iter().map(of).sum();
        let per_sec: f64 = all.iter().map(|found| found.per_sec).sum();
        let cpu: f64 = all.iter().map(|found| found.figure * found.per_sec).sum();
        let [only] = all else {
            return Self {
                figure: cpu / all.len() as f64 / per_sec,
                count: sum(|found| found.count),
                per_sec,
                lost: sum(|found| found.lost),
                reordered: sum(|found| found.reordered),
                bench_ns: None,
            };
        };
        only.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cases::CASES;

    const RELAY: &str = r#"{"kind":"relay","sessions":50,"received":{"up":600,"down":400},"lost":3,
        "misrouted":0,"corrupted":0,"duplicated":0,"reordered":2,"packets_per_sec":{"up":60.0,"down":40.0},
        "bench":{"cpu_ns_per_packet":900.5},"process":{"pid":1,"cpu_ns":5000000,"cpu_ns_per_packet":5000.0}}"#;

    fn work(name: &str) -> Work {
        CASES.iter().find(|case| case.name == name).unwrap().work
    }

    #[test]
    fn a_report_of_relaying_gives_cost_rate_and_loss() {
        let found = Found::read(work("single-packets"), RELAY).unwrap();
        let expected = Found {
            figure: 5000.0,
            count: 1000,
            per_sec: 100.0,
            lost: 3,
            reordered: 2,
            bench_ns: Some(900.5),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_spoilt_packet_spoils_the_run() {
        for field in ["misrouted", "corrupted", "duplicated"] {
            let json = RELAY.replace(&format!("\"{field}\":0"), &format!("\"{field}\":1"));
            let error = Found::read(work("single-packets"), &json).unwrap_err();
            assert!(error.contains(&format!("1 {field}")), "{error}");
        }
    }

    #[test]
    fn a_run_that_measured_nothing_is_none() {
        let without = RELAY.replace("cpu_ns_per_packet\":5000.0", "x\":0");
        assert!(Found::read(work("single-packets"), &without).is_err());
        let nothing = RELAY.replace("600", "0").replace("400", "0");
        assert!(Found::read(work("single-packets"), &nothing).is_err());
        assert!(Found::read(work("churn"), RELAY).is_err());
        assert!(Found::read(work("churn"), "no JSON").is_err());
        let ended = RELAY.replace("\"pid\":1", "\"threads_ended\":1");
        assert!(Found::read(work("single-packets"), &ended).is_err());
    }

    #[test]
    fn loads_at_the_same_time_share_what_the_server_cost() {
        let one = Found::read(work("single-packets"), RELAY).unwrap();
        assert_eq!(Found::together(std::slice::from_ref(&one)), one);
        // 100 packets a second cost 500,000 ns, and so did those of the other: the same half millisecond.
        let both = Found::together(&[one.clone(), one.clone()]);
        assert_eq!((both.figure, both.per_sec), (2500.0, 200.0));
        assert_eq!((both.count, both.lost, both.reordered), (2000, 6, 4));
    }

    #[test]
    fn the_other_kinds_are_read_alike() {
        let churn =
            r#"{"cycles":90,"failed":2,"cycles_per_sec":30.0,"process":{"cpu_ns_per_cycle":7e4}}"#;
        let found = Found::read(Work::Churn, churn).unwrap();
        assert_eq!((found.figure, found.count, found.lost), (7e4, 90, 2));
        let idle = r#"{"sessions":9000,"rounds":[{"rss_bytes_per_session":1800.5}]}"#;
        assert_eq!(Found::read(Work::Idle, idle).unwrap().figure, 1800.5);
        let free = idle.replace("1800.5", "0.0");
        assert_eq!(Found::read(Work::Idle, &free).unwrap().figure, 0.0);
        let binding = r#"{"received":70,"lost":1,"wrong":0,"per_sec":7.0,"process":{"cpu_ns_per_answer":4.5}}"#;
        let found = Found::read(Work::Binding, binding).unwrap();
        assert_eq!((found.figure, found.count, found.per_sec), (4.5, 70, 7.0));
        let wrong = binding.replace("\"wrong\":0", "\"wrong\":1");
        assert!(Found::read(Work::Binding, &wrong).is_err());
    }
}
