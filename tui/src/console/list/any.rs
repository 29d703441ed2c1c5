//! What can be done with a list whatever its rows are.

use shared::api::ListQuery;

use super::{ListState, PAGE_ROWS, Row};

/// What a range of marks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeMarked {
    /// Rows that it marked.
    pub(crate) rows: usize,
    /// Rows of it that are not loaded: they are not marked.
    pub(crate) not_loaded: usize,
}

/// What can be done with a list whatever its rows are.
pub(crate) trait AnyList {
    /// Moves the cursor by `rows`.
    fn move_by(&mut self, rows: isize);
    /// Moves the cursor to a line of the screen; the id of its row, if there is one.
    fn point_at(&mut self, line: usize) -> Option<String>;
    /// To the first row of all; whether it must be asked for.
    fn to_top(&mut self) -> bool;
    /// To the last row of all; whether it must be asked for.
    fn to_end(&mut self) -> bool;
    /// Rows on the screen.
    fn set_height(&mut self, rows: usize);
    /// See [`ListState::height`].
    fn height(&self) -> usize;
    /// Marks or unmarks the row under the cursor and goes on to the next.
    fn toggle_mark(&mut self);
    /// Clears all marks.
    fn clear_marks(&mut self);
    /// Marks whatever matches the filter.
    fn mark_all(&mut self);
    /// Begins a range of marks at the cursor.
    fn begin_range(&mut self);
    /// Whether a range of marks has begun.
    fn in_range(&self) -> bool;
    /// Ends the range: with `keep`, its rows are marked.
    fn end_range(&mut self, keep: bool) -> RangeMarked;
    /// See [`ListState::columns`].
    fn columns(&self) -> Option<&[(&'static str, bool)]>;
    /// Other columns.
    fn set_columns(&mut self, columns: Option<Vec<(&'static str, bool)>>);
    /// Scrolls columns.
    fn scroll_columns(&mut self, right: bool);
    /// The filter in force.
    fn filter(&self) -> &str;
    /// Puts another scope in front of the filter.
    fn set_scope(&mut self, scope: &str);
    /// Another filter.
    fn set_filter(&mut self, filter: &str);
    /// Another order.
    fn set_sort(&mut self, column: &'static str, descending: bool);
    /// The order.
    fn sort(&self) -> Option<(&'static str, bool)>;
    /// See [`ListState::generation`].
    fn generation(&self) -> u64;
    /// Number and query of a page; `None`: the first visible one.
    fn page_query(&self, page: Option<usize>) -> (usize, ListQuery);
    /// See [`ListState::wanted_page`].
    fn wanted(&self) -> Option<usize>;
    /// See [`ListState::expire`].
    fn start_again(&mut self) -> bool;
    /// Why the last question was refused.
    fn error(&self) -> Option<&str>;
    /// The last question was refused.
    fn set_error(&mut self, error: String);
    /// Rows in all, without the filter, as far as the node has said.
    fn total(&self) -> Option<u64>;
    /// See [`ListState::all`].
    fn all_marked(&self) -> bool;
}

impl<T: Row> AnyList for ListState<T> {
    fn move_by(&mut self, rows: isize) {
        self.held = true;
        self.go(rows);
    }

    fn point_at(&mut self, line: usize) -> Option<String> {
        let at = self.top + line;
        let key = self.rows.get(at)?.key();
        self.held = true;
        self.owed = 0;
        self.at = at;
        self.settle();
        Some(key)
    }

    fn to_top(&mut self) -> bool {
        let elsewhere = self.from_end || self.base > 0;
        if elsewhere {
            self.from_end = false;
            self.ask_anew();
        }
        self.at = 0;
        self.held = false;
        self.owed = 0;
        self.settle();
        elsewhere
    }

    fn to_end(&mut self) -> bool {
        // Of a list that is more than a page, what is loaded may be older than what came since.
        let elsewhere = if self.from_end {
            self.first_page() > 0
        } else {
            let paged = !self.whole && !self.outdated;
            paged && (self.has_further() || self.rows.len() > PAGE_ROWS)
        };
        if elsewhere {
            self.from_end = true;
            self.ask_anew();
        }
        self.at = self.rows.len();
        self.held = !self.from_end;
        self.owed = 0;
        self.settle();
        elsewhere
    }

    fn set_height(&mut self, rows: usize) {
        if self.height != rows {
            self.height = rows;
            self.settle();
        }
    }

    fn height(&self) -> usize {
        self.height
    }

    fn toggle_mark(&mut self) {
        if self.all {
            self.all = false;
            return;
        }
        let Some(row) = self.rows.get(self.at) else {
            return;
        };
        let key = row.key();
        if self.marks.remove(&key).is_none() {
            self.marks.insert(key, row.clone());
        }
        self.move_by(1);
    }

    fn clear_marks(&mut self) {
        self.marks.clear();
        self.all = false;
    }

    fn mark_all(&mut self) {
        self.marks.clear();
        self.all = true;
    }

    fn begin_range(&mut self) {
        self.all = false;
        self.held = true;
        self.anchor = self.selected().map(|row| (row.key(), self.base + self.at));
    }

    fn in_range(&self) -> bool {
        self.anchor.is_some()
    }

    fn end_range(&mut self, keep: bool) -> RangeMarked {
        let span = self.range_span().filter(|_| keep);
        self.anchor = None;
        let Some((from, to, not_loaded)) = span else {
            return RangeMarked::default();
        };
        for row in &self.rows[from..=to] {
            self.marks.insert(row.key(), row.clone());
        }
        RangeMarked {
            rows: to + 1 - from,
            not_loaded,
        }
    }

    fn columns(&self) -> Option<&[(&'static str, bool)]> {
        self.columns.as_deref()
    }

    fn set_columns(&mut self, columns: Option<Vec<(&'static str, bool)>>) {
        self.columns = columns;
        self.skip = 0;
    }

    fn scroll_columns(&mut self, right: bool) {
        self.skip = if right {
            (self.skip + 1).min(20)
        } else {
            self.skip.saturating_sub(1)
        };
    }

    fn filter(&self) -> &str {
        &self.filter
    }

    fn set_scope(&mut self, scope: &str) {
        if self.scope != scope {
            self.scope = scope.to_owned();
            self.all = false;
            self.anchor = None;
            self.from_end = false;
            self.held = false;
            self.ask_anew();
        }
    }

    fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            self.filter = filter.to_owned();
            self.all = false;
            self.anchor = None;
            self.from_end = false;
            self.held = false;
            self.ask_anew();
        }
    }

    fn set_sort(&mut self, column: &'static str, descending: bool) {
        self.sort = Some((column, descending));
        self.anchor = None;
        self.from_end = false;
        self.ask_anew();
    }

    fn sort(&self) -> Option<(&'static str, bool)> {
        self.sort
    }

    fn total(&self) -> Option<u64> {
        self.facts.as_ref().map(|facts| facts.total)
    }

    fn all_marked(&self) -> bool {
        self.all
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn page_query(&self, page: Option<usize>) -> (usize, ListQuery) {
        let page = page.unwrap_or_else(|| self.refresh_page());
        (page, self.query(page))
    }

    fn wanted(&self) -> Option<usize> {
        self.wanted_page()
    }

    fn start_again(&mut self) -> bool {
        self.expire()
    }

    fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn set_error(&mut self, error: String) {
        self.error = Some(error);
    }
}
