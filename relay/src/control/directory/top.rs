//! The first few of many rows.

use std::cmp::Ordering;

use shared::SessionId;
use shared::filter::Direction;

use super::entry::Row;
use super::field::Key;

/// Where a row stands: by its key, then by its id.
pub(super) type Position<'k> = (Key<'k>, SessionId);

/// The first few of many rows, without putting the others in order.
#[derive(Debug)]
pub(super) struct Top<'d, 'k> {
    limit: usize,
    direction: Direction,
    rows: Vec<(Position<'k>, Row<'d>)>,
    /// Once `limit` rows are before it, a row at or behind it need not be kept.
    bar: Option<Position<'k>>,
    more: bool,
}

impl<'d, 'k> Top<'d, 'k> {
    pub(super) fn new(limit: usize, direction: Direction) -> Self {
        Self {
            limit,
            direction,
            rows: Vec::new(),
            bar: None,
            more: false,
        }
    }

    pub(super) fn compare(&self, a: &Position<'_>, b: &Position<'_>) -> Ordering {
        let ascending = a.0.compare(&b.0).then_with(|| a.1.cmp(&b.1));
        match self.direction {
            Direction::Ascending => ascending,
            Direction::Descending => ascending.reverse(),
        }
    }

    pub(super) fn offer(&mut self, key: Key<'k>, id: SessionId, row: Row<'d>) {
        let position = (key, id);
        if self
            .bar
            .is_some_and(|bar| self.compare(&position, &bar).is_ge())
        {
            self.more = true;
            return;
        }
        self.rows.push((position, row));
        if self.rows.len() >= 2 * self.limit.max(64) {
            self.cut();
        }
    }

    /// Drops what is beyond the limit.
    fn cut(&mut self) {
        if self.rows.len() <= self.limit {
            return;
        }
        let mut rows = std::mem::take(&mut self.rows);
        rows.select_nth_unstable_by(self.limit, |a, b| self.compare(&a.0, &b.0));
        self.bar = rows.get(self.limit).map(|(position, _)| *position);
        rows.truncate(self.limit);
        self.rows = rows;
        self.more = true;
    }

    /// The rows in order, and whether there are more.
    pub(super) fn finish(mut self) -> (Vec<(Position<'k>, Row<'d>)>, bool) {
        self.cut();
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| self.compare(&a.0, &b.0));
        (rows, self.more)
    }
}
