//! A list of which only the pages around the viewport are held.
//!
//! The cursor and the marks are ids, never positions: rows that are sorted by a live value move.

use std::collections::{BTreeMap, HashSet, VecDeque};

use shared::api::{ListQuery, MissingNode, Page};

/// Rows asked for at once.
pub(crate) const PAGE_ROWS: usize = 200;
/// Pages held at most.
const PAGES_HELD: usize = 4;
/// How near to the edge of what is loaded the viewport may come before more is asked for.
const EDGE_ROWS: usize = 40;
/// Pages a cursor is remembered for: 2 million rows.
const CHAIN_MAX: usize = 10_000;

/// Something with an id.
pub(crate) trait Row: Clone {
    /// The id, unique in its list.
    fn key(&self) -> String;
}

/// What the server said about the whole list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// When the answer was assembled.
    pub(crate) as_of_ms: u64,
    /// Rows that match the filter.
    pub(crate) matched: u64,
    /// Rows in all.
    pub(crate) total: u64,
    /// Nodes that did not answer.
    pub(crate) missing: Vec<MissingNode>,
}

/// The window on a list.
#[derive(Clone, Debug)]
pub(crate) struct ListState<T> {
    /// Counts the questions: answers to earlier ones are dropped.
    pub(crate) generation: u64,
    /// The filter in force.
    pub(crate) filter: String,
    /// Column and whether the largest comes first; `None`: the server's default.
    pub(crate) sort: Option<(&'static str, bool)>,
    /// What the server said last.
    pub(crate) facts: Option<Facts>,
    /// Why the last question was refused.
    pub(crate) error: Option<String>,
    /// The loaded rows, in order, each id once.
    pub(crate) rows: Vec<T>,
    /// Position of `rows[0]` in the whole list.
    pub(crate) base: usize,
    /// Id under the cursor.
    pub(crate) cursor: Option<String>,
    /// Index of the cursor in `rows`.
    pub(crate) at: usize,
    /// Index of the first visible row in `rows`.
    pub(crate) top: usize,
    /// Rows on the screen.
    pub(crate) height: usize,
    /// Marked rows as they were when last seen.
    pub(crate) marks: BTreeMap<String, T>,
    /// Everything that matches the filter is marked.
    pub(crate) all: bool,
    /// Columns scrolled away.
    pub(crate) skip: usize,
    /// The operator chose the row under the cursor: the cursor stays on it wherever it goes. Until
    /// then the top of the list is what is looked at.
    pub(crate) held: bool,
    pages: VecDeque<(usize, Vec<T>)>,
    /// `chain[i]` is the cursor of page `i`.
    chain: Vec<Option<String>>,
    /// The page after the last known one exists.
    more: bool,
}

impl<T> Default for ListState<T> {
    fn default() -> Self {
        Self {
            generation: 0,
            filter: String::new(),
            sort: None,
            facts: None,
            error: None,
            rows: Vec::new(),
            base: 0,
            cursor: None,
            at: 0,
            top: 0,
            height: 1,
            marks: BTreeMap::new(),
            all: false,
            skip: 0,
            held: false,
            pages: VecDeque::new(),
            chain: vec![None],
            more: false,
        }
    }
}

impl<T: Row> ListState<T> {
    /// A list that is sorted so at first.
    pub(crate) fn sorted(column: &'static str, descending: bool) -> Self {
        Self {
            sort: Some((column, descending)),
            ..Self::default()
        }
    }

    /// Asks another question from now on. Rows stay until its answer is there: a filter that turns
    /// out to be wrong must not blank the screen.
    pub(crate) fn ask_anew(&mut self) {
        self.generation += 1;
        self.error = None;
    }

    /// The query of page `index`.
    pub(crate) fn query(&self, index: usize) -> ListQuery {
        let sort = self.sort.map(|(column, descending)| {
            format!("{column}:{}", if descending { "desc" } else { "asc" })
        });
        ListQuery {
            filter: (!self.filter.is_empty()).then(|| self.filter.clone()),
            sort,
            limit: Some(PAGE_ROWS as u32),
            cursor: self.chain.get(index).cloned().flatten(),
            scope: None,
        }
    }

    /// The page that a refresh begins with: the first visible one.
    pub(crate) fn refresh_page(&self) -> usize {
        let page = (self.base + self.top.min(self.rows.len().saturating_sub(1))) / PAGE_ROWS;
        page.min(self.chain.len() - 1)
    }

    /// The page next to the loaded ones that the viewport is about to need.
    pub(crate) fn wanted_page(&self) -> Option<usize> {
        let (Some((first, _)), Some((last, _))) = (self.pages.front(), self.pages.back()) else {
            return self.error.is_none().then_some(0);
        };
        let (first, last) = (*first, *last);
        if self.top < EDGE_ROWS && first > 0 {
            return Some(first - 1);
        }
        let near_end = self.top + self.height + EDGE_ROWS > self.rows.len();
        (near_end && last + 1 < self.chain.len() && self.more).then_some(last + 1)
    }

    /// Takes in page `index`.
    pub(crate) fn take(&mut self, index: usize, page: Page<T>) {
        self.error = None;
        self.facts = Some(Facts {
            as_of_ms: page.as_of_ms,
            matched: page.matched,
            total: page.total,
            missing: page.missing,
        });
        let visible_end = self.base + self.top + self.height;
        if index == 0 {
            // A new ranking: what was loaded behind it belongs to the old one.
            self.pages
                .retain(|(i, _)| *i != 0 && i * PAGE_ROWS < visible_end);
            self.chain.truncate(1);
        }
        self.chain.truncate(index + 2);
        if let Some(next) = page.next.filter(|_| index + 1 < CHAIN_MAX) {
            self.chain.truncate(index + 1);
            self.chain.push(Some(next));
        } else {
            self.chain.truncate(index + 1);
            self.pages.retain(|(i, _)| *i <= index);
        }
        self.more = self.chain.len() > index + 1;
        self.pages.retain(|(i, _)| *i != index);
        let place = self
            .pages
            .iter()
            .position(|(i, _)| *i > index)
            .unwrap_or(self.pages.len());
        self.pages.insert(place, (index, page.items));
        self.drop_far_pages(index);
        self.rebuild();
    }

    /// Whether page `index` follows visibly on one that was just renewed.
    pub(crate) fn shows_page(&self, index: usize) -> bool {
        index < self.chain.len() && index * PAGE_ROWS < self.base + self.top + self.height
    }

    /// The cursor of a page is no longer kept by the server: start again at the top.
    pub(crate) fn expire(&mut self) {
        self.chain.truncate(1);
        self.pages.clear();
        self.rows.clear();
        self.base = 0;
        self.more = false;
        self.top = 0;
        self.held = false;
        self.ask_anew();
    }

    /// Replaces all rows by ones that are not paged.
    pub(crate) fn set_rows(&mut self, rows: Vec<T>, total: usize, as_of_ms: u64) {
        let matched = rows.len() as u64;
        self.facts = Some(Facts {
            as_of_ms,
            matched,
            total: total as u64,
            missing: Vec::new(),
        });
        self.pages = VecDeque::from([(0, rows)]);
        self.rebuild();
    }

    fn drop_far_pages(&mut self, keep: usize) {
        while self.pages.len() > PAGES_HELD {
            let front = keep - self.pages.front().map_or(keep, |p| p.0).min(keep);
            let back = self.pages.back().map_or(keep, |p| p.0).max(keep) - keep;
            if front >= back {
                self.pages.pop_front()
            } else {
                self.pages.pop_back()
            };
        }
    }

    /// Joins the pages; cursor and viewport follow the ids they were on.
    fn rebuild(&mut self) {
        // Only pages next to each other make a window.
        let top_page = (self.base + self.top) / PAGE_ROWS;
        let mut run: Vec<usize> = Vec::new();
        for (i, _) in &self.pages {
            if run.last().is_some_and(|last| last + 1 != *i) {
                if run.contains(&top_page) {
                    break;
                }
                run.clear();
            }
            run.push(*i);
        }
        self.pages.retain(|(i, _)| run.contains(i));
        let old_base = self.base;
        let old_top = self.base + self.top;
        self.base = self.pages.front().map_or(0, |(i, _)| i * PAGE_ROWS);
        let mut seen = HashSet::new();
        self.rows = self
            .pages
            .iter()
            .flat_map(|(_, rows)| rows)
            .filter(|row| seen.insert(row.key()))
            .cloned()
            .collect();
        for row in &self.rows {
            if let Some(mark) = self.marks.get_mut(&row.key()) {
                *mark = row.clone();
            }
        }
        let held = self.cursor.as_ref().filter(|_| self.held);
        let found = held.and_then(|id| self.rows.iter().position(|r| r.key() == *id));
        self.at = found.unwrap_or_else(|| (old_base + self.at).saturating_sub(self.base));
        self.top = old_top.saturating_sub(self.base);
        self.settle();
    }

    /// Brings cursor and viewport back into bounds.
    pub(crate) fn settle(&mut self) {
        self.at = self.at.min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.at).map(Row::key);
        let height = self.height.max(1);
        let lowest = (self.at + 1).saturating_sub(height);
        let full = self.rows.len().saturating_sub(height);
        self.top = self.top.min(full).clamp(lowest, self.at.max(lowest));
    }

    /// The row under the cursor.
    pub(crate) fn selected(&self) -> Option<&T> {
        self.rows.get(self.at)
    }
}

/// What can be done with a list whatever its rows are.
pub(crate) trait AnyList {
    /// Moves the cursor by `rows`.
    fn move_by(&mut self, rows: isize);
    /// To the first row of all.
    fn to_top(&mut self);
    /// To the last loaded row; whether there are more behind it.
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
    /// Scrolls columns.
    fn scroll_columns(&mut self, right: bool);
    /// The filter in force.
    fn filter(&self) -> &str;
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
    fn start_again(&mut self);
    /// Why the last question was refused.
    fn error(&self) -> Option<&str>;
    /// The last question was refused.
    fn set_error(&mut self, error: String);
}

impl<T: Row> AnyList for ListState<T> {
    fn move_by(&mut self, rows: isize) {
        self.held = true;
        self.at = self.at.saturating_add_signed(rows);
        self.settle();
    }

    fn to_top(&mut self) {
        if self.base > 0 {
            self.expire();
        }
        self.at = 0;
        self.held = false;
        self.settle();
    }

    fn to_end(&mut self) -> bool {
        self.at = self.rows.len();
        self.held = true;
        self.settle();
        self.more
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

    fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            self.filter = filter.to_owned();
            self.all = false;
            self.chain.truncate(1);
            self.top = 0;
            self.at = 0;
            self.held = false;
            self.ask_anew();
        }
    }

    fn set_sort(&mut self, column: &'static str, descending: bool) {
        self.sort = Some((column, descending));
        self.chain.truncate(1);
        self.ask_anew();
    }

    fn sort(&self) -> Option<(&'static str, bool)> {
        self.sort
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

    fn start_again(&mut self) {
        self.expire();
    }

    fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn set_error(&mut self, error: String) {
        self.error = Some(error);
    }
}

#[cfg(test)]
mod tests;
