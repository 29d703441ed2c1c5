//! A walk over the sessions that a caller may see and a filter selects.

use shared::Realm;
use shared::api::SessionView;
use shared::filter::{Filter, Row as ListRow, Term};

use super::Directory;
use super::entry::Row;
use super::field::Field;
use crate::control::clock::Moment;

/// A filter made ready for this node: columns are found, and what is cheap to test comes first.
#[derive(Debug)]
pub(super) struct Scan<'q> {
    tests: Vec<(Vec<Field<'q>>, &'q Term)>,
    realms: &'q [Realm],
}

/// How many sessions a walk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// In the caller's scope.
    pub total: u64,
    /// Of those, selected by the filter.
    pub matched: u64,
}

impl<'q> Scan<'q> {
    /// Sessions of these realms (empty: all) that `filter` selects.
    pub(super) fn new(directory: &'q Directory, filter: &'q Filter, realms: &'q [Realm]) -> Self {
        let field = |name: &str| Field::new(name, directory.whose(), &directory.labels);
        let test = |term: &'q Term| {
            let fields: Vec<_> = match term.column() {
                Some(column) => vec![field(column)],
                None => SessionView::WORDS.iter().map(|word| field(word)).collect(),
            };
            (fields, term)
        };
        let mut tests: Vec<_> = filter.terms().iter().map(test).collect();
        tests.sort_by_key(|(fields, _)| fields.iter().map(|f| u32::from(f.cost())).sum::<u32>());
        Self { tests, realms }
    }

    fn in_scope(&self, row: &Row<'_>) -> bool {
        self.realms.is_empty() || self.realms.contains(row.realm())
    }

    fn selects(&self, row: &Row<'_>) -> bool {
        self.tests.iter().all(|(fields, term)| {
            term.holds(|visit| fields.iter().for_each(|field| row.values(*field, visit)))
        })
    }

    /// Walks; `visit` gets what is selected.
    pub(super) fn walk<'d>(
        &self,
        directory: &'d Directory,
        now: Moment,
        mut visit: impl FnMut(Row<'d>),
    ) -> Seen {
        let mut seen = Seen::default();
        for row in directory.rows(now) {
            if self.in_scope(&row) {
                seen.total += 1;
                if self.selects(&row) {
                    seen.matched += 1;
                    visit(row);
                }
            }
        }
        seen
    }

    /// Only counts, and looks at nothing that need not be looked at.
    pub(super) fn count(&self, directory: &Directory, now: Moment) -> Seen {
        if self.tests.is_empty() && self.realms.is_empty() {
            let all = directory.entries.len() as u64;
            return Seen {
                total: all,
                matched: all,
            };
        }
        self.walk(directory, now, |_| {})
    }
}
