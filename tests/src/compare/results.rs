//! What all rounds found, and what that says about the promises.

use std::collections::BTreeMap;

use super::bench::Found;
use super::cases::{Against, Case, Target};
use super::machine::{Machine, Pinning};
use super::servers::Server;
use super::statistics::Series;

/// All that was found.
#[derive(Debug)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// On which cores.
    pub pinning: Pinning,
    /// Versions of those that were measured, where they tell.
    pub versions: BTreeMap<&'static str, String>,
    /// Load of the machine (1 minute), before each round and at the end.
    pub load: Vec<f64>,
    /// By case.
    pub cases: Vec<Outcome>,
}

/// What was found in one case.
#[derive(Debug)]
pub struct Outcome {
    /// The case.
    pub case: &'static Case,
    /// By server.
    pub rows: Vec<Row>,
}

/// What one server showed in one case.
#[derive(Debug, Default)]
pub struct Row {
    /// Which; `None` only before it is known.
    pub server: Option<Server>,
    /// Its figures.
    pub series: Series,
    /// Its runs that went well.
    pub found: Vec<Found>,
    /// Why others did not.
    pub failures: Vec<String>,
}

/// A promise, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The promise.
    pub target: Target,
    /// What the figure was held against.
    pub other: Option<Server>,
    /// What its figures count.
    pub unit: &'static str,
    /// What came out; `None` where one of the two was not measured.
    pub value: Option<f64>,
}

impl Verdict {
    /// Whether the promise was kept; what was not measured is not.
    #[must_use]
    pub fn is_met(&self) -> bool {
        let keeps = |value| match self.target.against {
            Against::Least => value >= self.target.bound,
            _ => value <= self.target.bound,
        };
        self.value.is_some_and(keeps)
    }
}

impl Row {
    /// An empty one.
    #[must_use]
    pub fn of(server: Server) -> Self {
        Self {
            server: Some(server),
            ..Self::default()
        }
    }

    /// Takes what a run found.
    pub fn add(&mut self, run: Result<Found, String>) {
        match run {
            Ok(found) => {
                self.series.push(Some(found.figure));
                self.found.push(found);
            }
            Err(why) => {
                self.series.push(None);
                self.failures.push(why);
            }
        }
    }

    /// What did not arrive of all that was counted, as a share.
    #[must_use]
    pub fn lost(&self) -> f64 {
        let lost: u64 = self.found.iter().map(|found| found.lost).sum();
        let count: u64 = self.found.iter().map(|found| found.count).sum();
        lost as f64 / (lost + count).max(1) as f64
    }
}

impl Outcome {
    /// An empty one, with a row for each of these servers that the case suits.
    #[must_use]
    pub fn of(case: &'static Case, servers: &[Server]) -> Self {
        let suiting = servers.iter().filter(|server| case.suits(**server));
        Self {
            case,
            rows: suiting.map(|server| Row::of(*server)).collect(),
        }
    }

    /// The row of a server.
    #[must_use]
    pub fn row(&self, server: Server) -> Option<&Row> {
        self.rows.iter().find(|row| row.server == Some(server))
    }

    /// `server`'s figures as a share of `other`'s.
    #[must_use]
    pub fn ratio(&self, server: Server, other: Server) -> Option<f64> {
        let (ours, theirs) = (self.row(server)?, self.row(other)?);
        ours.series.against(&theirs.series)
    }

    /// The forwarder that is the cheapest here.
    #[must_use]
    pub fn best_forwarder(&self) -> Option<Server> {
        let median = |server: &Server| self.row(*server)?.series.median();
        let known = Server::FORWARDERS
            .into_iter()
            .filter(|s| median(s).is_some());
        known.min_by(|a, b| {
            let (a, b) = (median(a), median(b));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        })
    }

    /// The promises of the case, judged.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let judge = |target: &Target| {
            let other = match target.against {
                Against::Coturn => Some(Server::Coturn),
                Against::SameShape => Some(Server::Grouped),
                Against::BestForwarder => self.best_forwarder(),
                Against::Itself | Against::Least => None,
            };
            let value = match (target.against, other) {
                (Against::Itself | Against::Least, _) => {
                    self.row(Server::Relayd).and_then(|row| row.series.median())
                }
                (_, Some(other)) => self.ratio(Server::Relayd, other),
                (_, None) => None,
            };
            Verdict {
                target: *target,
                other,
                unit: self.case.unit(),
                value,
            }
        };
        self.case.targets.iter().map(judge).collect()
    }
}

impl Results {
    /// Promises that were not kept, or not measured.
    #[must_use]
    pub fn missed(&self) -> usize {
        let verdicts = self.cases.iter().flat_map(Outcome::verdicts);
        verdicts.filter(|verdict| !verdict.is_met()).count()
    }

    /// Runs that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        let rows = self.cases.iter().flat_map(|outcome| &outcome.rows);
        rows.map(|row| row.failures.len()).sum()
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let cases: Vec<_> = self.cases.iter().map(Outcome::json).collect();
        serde_json::json!({
            "machine": self.machine,
            "pinning": self.pinning,
            "versions": self.versions,
            "load": self.load,
            "cases": cases,
        })
    }
}

impl Outcome {
    fn json(&self) -> serde_json::Value {
        let row = |row: &Row| {
            let against = |other| self.ratio(row.server?, other);
            serde_json::json!({
                "server": row.server,
                "median": row.series.median(),
                "spread": row.series.spread(),
                "ratio_to_coturn": against(Server::Coturn),
                "ratio_to_grouped": against(Server::Grouped),
                "figures": row.series.all(),
                "runs": row.found,
                "failures": row.failures,
            })
        };
        let verdict = |verdict: &Verdict| {
            serde_json::json!({
                "against": verdict.other,
                "promised": verdict.target.bound,
                "value": verdict.value,
                "met": verdict.is_met(),
            })
        };
        let verdicts = self.verdicts();
        serde_json::json!({
            "name": self.case.name,
            "title": self.case.title,
            "unit": self.case.unit(),
            "servers": self.rows.iter().map(row).collect::<Vec<_>>(),
            "targets": verdicts.iter().map(verdict).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::compare::cases::CASES;

    /// An outcome in which every server has one figure per round.
    pub(in crate::compare) fn outcome(name: &str, figures: &[(Server, &[f64])]) -> Outcome {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let servers: Vec<_> = figures.iter().map(|(server, _)| *server).collect();
        let mut outcome = Outcome::of(case, &servers);
        for (row, (_, figures)) in outcome.rows.iter_mut().zip(figures) {
            for figure in *figures {
                row.add(Ok(Found {
                    figure: *figure,
                    count: 1000,
                    ..Found::default()
                }));
            }
        }
        outcome
    }

    #[test]
    fn a_promise_is_judged_by_the_median_of_ratios() {
        let kept: &[(Server, &[f64])] = &[
            (Server::Relayd, &[3600.0, 7200.0, 3000.0]),
            (Server::Coturn, &[6000.0, 12_000.0, 6000.0]),
            (Server::Grouped, &[2800.0, 5600.0, 2800.0]),
        ];
        let outcome = outcome("single-packets", kept);
        let verdicts = outcome.verdicts();
        assert_eq!(verdicts[0].value, Some(0.6));
        assert_eq!(verdicts[0].other, Some(Server::Coturn));
        assert!(verdicts.iter().all(Verdict::is_met));
    }

    #[test]
    fn a_broken_promise_and_one_that_was_not_measured_are_missed() {
        let missed: &[(Server, &[f64])] =
            &[(Server::Relayd, &[3601.0]), (Server::Coturn, &[6000.0])];
        let outcome = outcome("single-packets", missed);
        let met: Vec<_> = outcome.verdicts().iter().map(Verdict::is_met).collect();
        assert_eq!(met, [false, false]);
    }

    #[test]
    fn the_best_forwarder_is_the_cheapest_of_this_case() {
        let figures: &[(Server, &[f64])] = &[
            (Server::Relayd, &[5400.0]),
            (Server::Single, &[5100.0]),
            (Server::Batched, &[5000.0]),
            (Server::Grouped, &[5300.0]),
        ];
        let outcome = outcome("sessions-1000", figures);
        let verdict = &outcome.verdicts()[0];
        assert_eq!(verdict.other, Some(Server::Batched));
        assert_eq!(verdict.value, Some(1.08));
        assert!(verdict.is_met());
    }

    #[test]
    fn bytes_and_workers_are_judged_by_themselves() {
        let fat = outcome("idle", &[(Server::Relayd, &[2049.0])]);
        assert!(!fat.verdicts()[0].is_met());
        let lean = outcome("idle", &[(Server::Relayd, &[2048.0])]);
        assert!(lean.verdicts()[0].is_met());
        let two = |figure| outcome("two-workers", &[(Server::Relayd, &[figure])]);
        assert!(two(1.8).verdicts()[0].is_met());
        assert!(!two(1.79).verdicts()[0].is_met());
    }

    #[test]
    fn failures_and_losses_are_kept() {
        let mut row = Row::of(Server::Coturn);
        row.add(Ok(Found {
            figure: 1.0,
            count: 990,
            lost: 10,
            ..Found::default()
        }));
        row.add(Err("gone".to_owned()));
        assert_eq!(row.series.all(), [Some(1.0), None]);
        assert_eq!(row.lost(), 0.01);
        assert_eq!(row.failures, ["gone"]);
    }
}
