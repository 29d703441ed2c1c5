//! Pages of sessions: filtered, sorted and cut in the node that has them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use shared::api::SessionView;
use shared::filter::{Direction, Filter, LabelledSession, SESSION_COLUMNS, SortKey, SortSpec};
use shared::{Realm, SessionId};

use super::Directory;
use crate::control::clock::Moment;

/// Columns whose value changes while somebody pages: they are sorted by a kept ranking.
const CHANGING: &[&str] = &[
    "rate",
    "in",
    "out",
    "ttl",
    "in_packets",
    "out_packets",
    "in_bytes",
    "out_bytes",
    "packets",
    "bytes",
    "drops",
    "peers",
    "newpeers",
];

/// Whether a page in this order needs a ranking.
#[must_use]
pub(crate) fn needs_ranking(column: &str) -> bool {
    CHANGING.contains(&column)
}

/// What one node is asked for one page.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct SessionQuestion {
    /// A filter expression.
    pub filter: String,
    /// A sort order.
    pub sort: String,
    /// Rows after this position only.
    pub after: Option<(SortKey, SessionId)>,
    /// The ranking to make (on the first page) or to use (on all others).
    pub ranking: Option<u64>,
    /// Rows wanted at most.
    pub limit: usize,
    /// Sessions of these realms only; empty: all.
    pub realms: Vec<Realm>,
}

/// What one node answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct SessionAnswer {
    /// Rows in order, each with the value it is sorted by.
    pub rows: Vec<(SortKey, SessionView)>,
    /// Whether there are more after them.
    pub more: bool,
    /// Rows that match, over all pages.
    pub matched: u64,
    /// Rows in all.
    pub total: u64,
}

/// Why a page cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// Filter or sort order do not parse.
    #[error("{0}")]
    Invalid(String),
    /// The ranking is no longer kept.
    #[error("the ranking of this cursor is no longer kept: start again from the first page")]
    RankingGone,
}

/// Position order: by key in the direction asked for, then by id.
#[must_use]
pub(crate) fn position_order(
    sort: &SortSpec,
    a: (&SortKey, SessionId),
    b: (&SortKey, SessionId),
) -> Ordering {
    sort.compare(a.0, b.0).then(a.1.cmp(&b.1))
}

/// The key that rows are ordered by. Age is replaced by the start, so that it stands still.
#[must_use]
pub(crate) fn sort_key(sort: &SortSpec, view: &LabelledSession<'_>) -> SortKey {
    if sort.column == "age" {
        return SortKey::Number(-(view.session.started_at_ms as f64));
    }
    sort.key(view)
}

impl Directory {
    /// One page.
    ///
    /// # Errors
    /// A filter or order that does not parse; a ranking that is no longer kept.
    pub(crate) fn page(
        &mut self,
        question: &SessionQuestion,
        now: Moment,
    ) -> Result<SessionAnswer, QueryError> {
        let invalid = |error: &dyn std::fmt::Display| QueryError::Invalid(error.to_string());
        let filter =
            Filter::parse(&question.filter, SESSION_COLUMNS).map_err(|error| invalid(&error))?;
        let sort =
            SortSpec::parse(&question.sort, SESSION_COLUMNS).map_err(|error| invalid(&error))?;
        self.refresh_all(now);
        match (question.ranking, &question.after) {
            (Some(ranking), Some(after)) => {
                self.ranked_page(question, &filter, &sort, ranking, after, now)
            }
            _ => Ok(self.fresh_page(question, &filter, &sort, now)),
        }
    }

    fn fresh_page(
        &mut self,
        question: &SessionQuestion,
        filter: &Filter,
        sort: &SortSpec,
        now: Moment,
    ) -> SessionAnswer {
        let mut answer = SessionAnswer::default();
        let mut positions: Vec<(SortKey, SessionId)> = Vec::new();
        for (id, entry) in &self.entries {
            if !in_scope(&entry.view, &question.realms) {
                continue;
            }
            answer.total += 1;
            let row = LabelledSession {
                session: &entry.view,
                labels: &self.labels,
            };
            if !filter.matches(&row) {
                continue;
            }
            answer.matched += 1;
            let position = (sort_key(sort, &row), *id);
            let beyond = question.after.as_ref().is_none_or(|(key, id)| {
                position_order(sort, (&position.0, position.1), (key, *id)).is_gt()
            });
            if beyond {
                positions.push(position);
            }
        }
        let order = |a: &(SortKey, SessionId), b: &(SortKey, SessionId)| {
            position_order(sort, (&a.0, a.1), (&b.0, b.1))
        };
        if question.ranking.is_none() && positions.len() > question.limit {
            positions.select_nth_unstable_by(question.limit, order);
            positions.truncate(question.limit);
            answer.more = true;
        }
        positions.sort_unstable_by(order);
        if let Some(ranking) = question.ranking {
            let kept = positions
                .iter()
                .map(|(key, id)| (number(key), *id))
                .collect();
            self.rankings.keep(ranking, kept, now.mono);
            answer.more = positions.len() > question.limit;
            positions.truncate(question.limit);
        }
        let rows = positions
            .into_iter()
            .filter_map(|(key, id)| self.entries.get(&id).map(|entry| (key, entry.view.clone())));
        answer.rows = rows.collect();
        answer
    }

    fn ranked_page(
        &mut self,
        question: &SessionQuestion,
        filter: &Filter,
        sort: &SortSpec,
        ranking: u64,
        after: &(SortKey, SessionId),
        now: Moment,
    ) -> Result<SessionAnswer, QueryError> {
        let positions = self
            .rankings
            .get(ranking, now.mono)
            .ok_or(QueryError::RankingGone)?;
        let after = (number(&after.0), after.1);
        let start = positions.partition_point(|position| {
            let by_value = match sort.direction {
                Direction::Ascending => cmp_number(position.0, after.0),
                Direction::Descending => cmp_number(after.0, position.0),
            };
            by_value.then(position.1.cmp(&after.1)).is_le()
        });
        let mut answer = SessionAnswer::default();
        for (value, id) in &positions[start..] {
            // Ended since the ranking was made.
            let Some(entry) = self.entries.get(id) else {
                continue;
            };
            if answer.rows.len() == question.limit {
                answer.more = true;
                break;
            }
            let key = value.map_or(SortKey::Missing, SortKey::Number);
            answer.rows.push((key, entry.view.clone()));
        }
        for entry in self.entries.values() {
            if in_scope(&entry.view, &question.realms) {
                answer.total += 1;
                let row = LabelledSession {
                    session: &entry.view,
                    labels: &self.labels,
                };
                answer.matched += u64::from(filter.matches(&row));
            }
        }
        Ok(answer)
    }
}

fn in_scope(view: &SessionView, realms: &[Realm]) -> bool {
    realms.is_empty() || realms.contains(&view.realm)
}

fn number(key: &SortKey) -> Option<f64> {
    match key {
        SortKey::Number(number) => Some(*number),
        _ => None,
    }
}

fn cmp_number(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
