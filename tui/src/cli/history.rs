//! `relayctl history`: figures over time.

use clap::Subcommand;
use shared::api::{HistorySample, HistoryView};
use shared::{NodeId, Realm};

use super::App;
use super::app::describe_missing;
use super::exit::Failure;
use super::output::{Format, SampleRow, TrendRow};
use crate::client::HistoryOf;
use crate::console::theme::Theme;
use crate::widgets::chart::bars;

/// Columns of a trend.
const TREND: u16 = 40;

/// Whose figures. A table shows a line per figure, -o wide, csv and jsonl each sample.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Of all nodes together, an hour in steps of ten seconds
    Cluster,
    /// Of a node
    Node {
        /// The node
        node: NodeId,
    },
    /// Of a realm
    Realm {
        /// The realm
        realm: Realm,
    },
    /// Of a user; kept for those with the most traffic
    User {
        /// Its realm
        realm: Realm,
        /// Its name
        user: String,
    },
    /// Of a session, second by second for two minutes while somebody asks
    Session {
        /// Its id, or the first six digits or more
        id: String,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &HistoryCommand) -> Result<(), Failure> {
    let of = match command {
        HistoryCommand::Cluster => HistoryOf::Cluster,
        HistoryCommand::Node { node } => HistoryOf::Node(node.clone()),
        HistoryCommand::Realm { realm } => HistoryOf::Realm(realm.clone()),
        HistoryCommand::User { realm, user } => HistoryOf::User(realm.clone(), user.clone()),
        HistoryCommand::Session { id } => {
            let id = match id.parse() {
                Ok(id) => id,
                Err(_) => app.api.session(id).await?.session.id,
            };
            HistoryOf::Session(id)
        }
    };
    let history = app.api.history(&of).await?;
    if app.global.output == Format::Table {
        let rows = trends(&history, app.global.ascii);
        app.document(&history, &rows)?;
    } else {
        app.document(&history, &samples(&history))?;
    }
    describe_missing(&history.missing).map_or(Ok(()), |text| Err(Failure::Partial(text)))
}

/// The samples that are known, each with its time.
fn samples(history: &HistoryView) -> Vec<SampleRow> {
    let (count, step) = (history.samples.len(), u64::from(history.step_secs) * 1000);
    let at = |i: usize| {
        history
            .end_at_ms
            .saturating_sub((count - 1 - i) as u64 * step)
    };
    let known = |(i, sample): (usize, &Option<HistorySample>)| {
        sample.map(|sample| SampleRow {
            at_ms: at(i),
            sample,
        })
    };
    history
        .samples
        .iter()
        .enumerate()
        .filter_map(known)
        .collect()
}

fn trends(history: &HistoryView, ascii: bool) -> Vec<TrendRow> {
    let theme = Theme {
        ascii,
        ..Theme::default()
    };
    let row = |figure, of: fn(&HistorySample) -> u64| {
        let known = || history.samples.iter().flatten().map(of);
        let drawn: Vec<_> = (history.samples.iter())
            .map(|s| s.as_ref().map(of))
            .collect();
        TrendRow {
            figure,
            last: known().next_back(),
            min: known().min(),
            max: known().max(),
            trend: bars(theme, &drawn, TREND).trim_start().to_owned(),
        }
    };
    vec![
        row("sessions", |s| s.sessions),
        row("in", |s| s.rate_in_bps),
        row("out", |s| s.rate_out_bps),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_which_nothing_is_known_is_no_zero() {
        let sample = |sessions| {
            Some(HistorySample {
                sessions,
                ..HistorySample::default()
            })
        };
        let history = HistoryView {
            schema: "history/1".into(),
            as_of_ms: 0,
            subject: "cluster".into(),
            step_secs: 10,
            end_at_ms: 0,
            samples: [vec![None; 37], vec![sample(9), None, sample(9)]].concat(),
            missing: Vec::new(),
        };
        let rows = trends(&history, false);
        assert_eq!(rows[0].trend, "█·█");
        assert_eq!(rows[0].min, Some(9));
    }
}
