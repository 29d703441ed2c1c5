//! Pages of sessions: filtered, sorted and cut in the node that has them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use shared::api::SessionView;
use shared::filter::{Direction, Filter, LabelledSession, SESSION_COLUMNS, SortKey, SortSpec};
use shared::{Realm, SessionId};

use super::Directory;
use super::field::{Field, Key};
use super::ranking::{Ranking, Rankings, rank_of, value_of};
use super::scan::{Scan, Seen};
use super::top::Top;
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

/// Position order: by key, then by id, both in the direction asked for.
#[must_use]
pub(crate) fn position_order(
    sort: &SortSpec,
    a: (&SortKey, SessionId),
    b: (&SortKey, SessionId),
) -> Ordering {
    sort.compare(a.0, b.0)
        .then_with(|| sort.directed(a.1.cmp(&b.1)))
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
        // The ranking is worked on beside the sessions.
        let mut rankings = std::mem::take(&mut self.rankings);
        let ranking = question.ranking.filter(|_| needs_ranking(&sort.column));
        let answer = match (ranking, &question.after) {
            (None, _) => Ok(self.stable_page(question, &filter, &sort, now)),
            (Some(id), None) => {
                Ok(self.first_ranked_page(question, &filter, &sort, (&mut rankings, id), now))
            }
            (Some(id), Some(after)) => match rankings.get(id, now.mono) {
                Some(ranking) => {
                    let after = (rank(&Key::from(&after.0), &sort), turned(after.1, &sort));
                    let start = ranking.start_after(after);
                    let scan = Scan::new(self, &filter, &question.realms);
                    let seen = scan.count(self, now);
                    Ok(self.ranked_page(ranking, start, seen, &sort, question, now))
                }
                None => Err(QueryError::RankingGone),
            },
        };
        self.rankings = rankings;
        answer
    }

    /// A page in the order of a value that stands still.
    fn stable_page(
        &self,
        question: &SessionQuestion,
        filter: &Filter,
        sort: &SortSpec,
        now: Moment,
    ) -> SessionAnswer {
        let scan = Scan::new(self, filter, &question.realms);
        let field = Field::new(&sort.column, self.whose(), &self.labels);
        let after = question.after.as_ref();
        let after = after.map(|(key, id)| (Key::from(key), *id));
        let mut top = Top::new(question.limit, sort.direction);
        let seen = scan.walk(self, now, |row| {
            let id = row.id();
            let key = row.key(field);
            if after.is_none_or(|after| top.compare(&(key, id), &after).is_gt()) {
                top.offer(key, id, row);
            }
        });
        let (rows, more) = top.finish();
        let rows = rows.into_iter();
        SessionAnswer {
            rows: rows
                .map(|((key, _), row)| (key.owned(), row.view()))
                .collect(),
            more,
            matched: seen.matched,
            total: seen.total,
        }
    }

    /// The first page in the order of a value that changes: the order is kept for the next ones.
    fn first_ranked_page(
        &self,
        question: &SessionQuestion,
        filter: &Filter,
        sort: &SortSpec,
        (rankings, id): (&mut Rankings, u64),
        now: Moment,
    ) -> SessionAnswer {
        let scan = Scan::new(self, filter, &question.realms);
        let field = Field::new(&sort.column, self.whose(), &self.labels);
        let mut positions = Vec::new();
        if filter.is_empty() && question.realms.is_empty() {
            positions.reserve_exact(self.entries.len());
        }
        let seen = scan.walk(self, now, |row| {
            let id = turned(row.id(), sort);
            positions.push((rank(&row.key(field), sort), id));
        });
        rankings.keep(id, positions, now.mono);
        match rankings.get(id, now.mono) {
            Some(ranking) => self.ranked_page(ranking, 0, seen, sort, question, now),
            None => SessionAnswer::default(),
        }
    }

    /// A page out of a ranking, from a position on.
    fn ranked_page(
        &self,
        ranking: &mut Ranking,
        mut start: usize,
        seen: Seen,
        sort: &SortSpec,
        question: &SessionQuestion,
        now: Moment,
    ) -> SessionAnswer {
        let limit = question.limit;
        let mut answer = SessionAnswer {
            matched: seen.matched,
            total: seen.total,
            ..SessionAnswer::default()
        };
        loop {
            let positions = ranking.get(start..start.saturating_add(limit + 1));
            if positions.is_empty() {
                return answer;
            }
            start += positions.len();
            for (rank, id) in positions {
                // Ended since the ranking was made.
                let Some(row) = self.row(turned(*id, sort), now) else {
                    continue;
                };
                // A cursor is text: it may name a ranking that was made for somebody who sees more.
                if !question.realms.is_empty() && !question.realms.contains(row.realm()) {
                    continue;
                }
                if answer.rows.len() == limit {
                    answer.more = true;
                    return answer;
                }
                let value = value_of(*rank, sort.direction);
                answer.rows.push((SortKey::Number(value), row.view()));
            }
        }
    }
}

/// The place of a changing value in a ranking. Such values are always there, and numbers.
fn rank(key: &Key<'_>, sort: &SortSpec) -> u64 {
    let value = match key {
        Key::Number(number) => *number,
        _ => 0.0,
    };
    rank_of(value, sort.direction)
}

/// The id of a position in a ranking, and back: equal values go by id in the direction of the order.
fn turned(id: SessionId, sort: &SortSpec) -> SessionId {
    match sort.direction {
        Direction::Ascending => id,
        Direction::Descending => SessionId(!id.0),
    }
}
