//! The tables, in the Markdown that the README quotes.

use std::fmt;

use super::cases::Against;
use super::results::{Outcome, Results, Row, Verdict};
use super::servers::Server;

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.cases {
            writeln!(f, "{outcome}")?;
        }
        self.summary(f)?;
        let machine = &self.machine;
        let versions = self
            .versions
            .iter()
            .filter(|(_, version)| !version.is_empty());
        let versions: Vec<_> = versions
            .map(|(n, version)| format!("{n} {version}"))
            .collect();
        let least = self.load.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let most = self.load.iter().copied().reduce(f64::max).unwrap_or(0.0);
        writeln!(
            f,
            "{}: {}, {} cores, {}; {}.",
            machine.date,
            machine.processor,
            machine.cores,
            machine.kernel,
            versions.join(", ")
        )?;
        let pinning = &self.pinning;
        writeln!(
            f,
            "Server on core {}; saturating load on the same core, {}; paced load on core {}. Load of the \
             machine during the runs: {least:.1} to {most:.1}.",
            pinning.core,
            if pinning.is_real_time {
                "as SCHED_FIFO"
            } else {
                "but NOT as SCHED_FIFO, which was not permitted: windows come in pieces"
            },
            pinning.other_core,
        )?;
        let rows = || self.cases.iter().flat_map(|outcome| &outcome.rows);
        if rows().any(|row| row.server == Some(Server::TurnServer)) {
            writeln!(
                f,
                "* relays between its own clients only: one receive and one send on one socket per packet, \
                 none per session."
            )?;
        }
        for outcome in &self.cases {
            for row in &outcome.rows {
                let name = row.server.map_or("", Server::name);
                for failure in &row.failures {
                    writeln!(f, "FAILED: {}, {name}: {failure}", outcome.case.name)?;
                }
            }
        }
        Ok(())
    }
}

impl Results {
    /// The medians of all cases, a line each.
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = |server: &Server| self.cases.iter().any(|case| case.row(*server).is_some());
        let servers: Vec<_> = Server::ALL.into_iter().filter(measured).collect();
        let names: Vec<_> = servers.iter().map(|server| server.name()).collect();
        writeln!(f, "| | {} | relayd (promised) |", names.join(" | "))?;
        writeln!(f, "|---|{}---|", "---:|".repeat(servers.len()))?;
        for outcome in &self.cases {
            let median = |server: &Server| {
                let median = outcome.row(*server).and_then(|row| row.series.median());
                median.map_or_else(String::new, figure)
            };
            let figures: Vec<_> = servers.iter().map(median).collect();
            let verdicts = outcome.verdicts();
            let verdicts: Vec<_> = verdicts.iter().map(Verdict::brief).collect();
            let (title, unit) = (outcome.case.title, outcome.case.unit());
            let (figures, verdicts) = (figures.join(" | "), verdicts.join(", "));
            writeln!(f, "| {title}: {unit} | {figures} | {verdicts} |")?;
        }
        writeln!(f)
    }
}

/// A figure with as many digits as mean something.
fn figure(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        shared::units::grouped(value.round() as u64)
    }
}

impl Verdict {
    /// The ratio, and what was promised.
    fn brief(&self) -> String {
        let found = self.value.map_or_else(|| "-".to_owned(), figure);
        let promised = figure(self.target.bound);
        let missed = if self.is_met() { "" } else { " MISSED" };
        let other = match self.target.against {
            Against::Coturn => "/ coturn ",
            Against::SameShape => "/ grouped ",
            Against::BestForwarder => "/ best forwarder ",
            Against::Itself | Against::Least => "",
        };
        format!("{other}{found} ({promised}){missed}")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case;
        writeln!(f, "{} (`{}`)\n", case.title, case.name)?;
        writeln!(
            f,
            "| {:<18} | {:>17} | spread | / coturn | / grouped | per second | lost |",
            "",
            case.unit()
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.rows {
            self.row_line(f, row)?;
        }
        writeln!(f)?;
        for verdict in self.verdicts() {
            writeln!(f, "{verdict}")?;
        }
        Ok(())
    }
}

impl Outcome {
    fn row_line(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let server = row.server.unwrap_or(Server::Relayd);
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let mut rates = super::statistics::Series::default();
        for found in &row.found {
            rates.push((found.per_sec > 0.0).then_some(found.per_sec));
        }
        let is_small = row.series.median().is_some_and(|median| median < 100.0);
        let spread = row.series.spread().map(|spread| spread * 100.0);
        writeln!(
            f,
            "| {:<18} | {:>17} | {:>4} % | {:>8} | {:>9} | {:>10} | {:.3} % |",
            server.name(),
            number(row.series.median(), if is_small { 2 } else { 0 }),
            number(spread, 0),
            number(self.ratio(server, Server::Coturn), 2),
            number(self.ratio(server, Server::Grouped), 2),
            number(rates.median(), 0),
            row.lost() * 100.0
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.other.map_or("", Server::name);
        let of = match self.target.against {
            Against::Coturn => "of coturn".to_owned(),
            Against::SameShape => format!("of the forwarder of the same shape ({other})"),
            Against::BestForwarder => format!("of the best forwarder ({other})"),
            Against::Itself | Against::Least => self.unit.to_owned(),
        };
        let verdict = match (self.is_met(), self.value) {
            (true, _) => "met",
            (false, Some(_)) => "MISSED",
            (false, None) => "not measured",
        };
        let value = |value: f64| match self.target.against {
            Against::Itself => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        };
        let found = self.value.map_or_else(|| "-".to_owned(), value);
        let bound = value(self.target.bound);
        write!(f, "relayd, {of}: {found}; promised {bound}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::results::tests::outcome;

    #[test]
    fn a_table_has_medians_spreads_ratios_and_verdicts() {
        let figures: &[(Server, &[f64])] = &[
            (Server::Relayd, &[3000.0, 3300.0, 3000.0]),
            (Server::Coturn, &[6000.0, 6000.0, 6000.0]),
            (Server::Grouped, &[2000.0, 2000.0, 2000.0]),
        ];
        let text = outcome("single-packets", figures).to_string();
        let line = text
            .lines()
            .find(|line| line.contains("| relayd "))
            .unwrap();
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[1..6], ["relayd", "3000", "10 %", "0.50", "1.50"]);
        assert!(text.contains("relayd, of coturn: 0.50; promised 0.60: met"));
        assert!(text.contains("(forwarder, grouped): 1.50; promised 1.30: MISSED"));
    }

    #[test]
    fn the_summary_has_a_line_per_case_and_a_column_per_server() {
        let rows: &[(Server, &[f64])] = &[(Server::Relayd, &[3000.0]), (Server::Coturn, &[6000.0])];
        let results = Results {
            machine: super::super::machine::Machine::look(),
            pinning: super::super::machine::Pinning {
                core: 1,
                other_core: 0,
                is_real_time: true,
            },
            versions: std::collections::BTreeMap::from([("coturn", "4.6.1".to_owned())]),
            load: vec![0.5, 2.0],
            cases: vec![
                outcome("bursts-of-4", rows),
                outcome("two-workers", &[(Server::Relayd, &[1.5])]),
            ],
        };
        let text = results.to_string();
        assert!(text.contains("| | relayd | coturn | relayd (promised) |\n|---|---:|---:|---|\n"));
        let line = "| 3,000 | 6,000 | / coturn 0.50 (0.42) MISSED, / grouped - (1.30) MISSED |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| 1.50 |  | 1.50 (1.80) MISSED |"), "{text}");
        assert!(text.contains("coturn 4.6.1."), "{text}");
        assert!(text.contains("0.5 to 2.0"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_said_to_be_so() {
        let text = outcome("churn", &[(Server::Relayd, &[30_000.0])]).to_string();
        assert!(text.contains("relayd, of coturn: -; promised 0.16: not measured"));
    }
}
