//! A list of which only the pages around the viewport are held.
//!
//! The cursor and the marks are ids, never positions: rows that are sorted by a live value move.

mod any;

use std::collections::{BTreeMap, HashSet, VecDeque};

use shared::api::{ListQuery, MissingNode, Page};

pub(crate) use any::AnyList;

/// Rows asked for at once.
pub(crate) const PAGE_ROWS: usize = 200;
/// Pages held at most.
const PAGES_HELD: usize = 4;
/// How near to the edge of what is loaded the viewport may come before more is asked for.
const EDGE_ROWS: usize = 40;
/// Pages that are gone through again to come back to where the viewport was.
const WALK_MAX: usize = 60;
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
    /// What is put in front of the filter of every list.
    pub(crate) scope: String,
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
    /// The window hangs on the end of the list: it is asked for in the opposite order, page 0 holds
    /// the last rows, and positions are counted back from `matched`.
    pub(crate) from_end: bool,
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
    /// then the top of the list is what is looked at, or its end.
    pub(crate) held: bool,
    /// Rows that a movement went beyond what is loaded, downwards if positive: the cursor goes on
    /// when they come, so that no key is lost to a page that is late.
    owed: isize,
    /// Where a range of marks begins: id and position.
    pub(crate) anchor: Option<(String, usize)>,
    /// Pages in the order in which they are asked for.
    pages: VecDeque<(usize, Vec<T>)>,
    /// The pages answer a question that was put aside: the next answer replaces them all.
    outdated: bool,
    /// The rows are not paged: all there are is held.
    whole: bool,
    /// The order was made anew: pages before this one are gone through for their cursors only.
    walk: Option<usize>,
    /// `chain[i]` is the cursor of page `i`.
    chain: Vec<Option<String>>,
    /// The columns chosen, in order, and whether each is shown; `None`: as many as there is room for.
    pub(crate) columns: Option<Vec<(&'static str, bool)>>,
}

impl<T> Default for ListState<T> {
    fn default() -> Self {
        Self {
            generation: 0,
            filter: String::new(),
            scope: String::new(),
            sort: None,
            facts: None,
            error: None,
            rows: Vec::new(),
            base: 0,
            from_end: false,
            cursor: None,
            at: 0,
            top: 0,
            height: 1,
            marks: BTreeMap::new(),
            all: false,
            skip: 0,
            held: false,
            owed: 0,
            anchor: None,
            pages: VecDeque::new(),
            outdated: false,
            whole: false,
            walk: None,
            chain: vec![None],
            columns: None,
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
        self.outdated = true;
        self.owed = 0;
        self.walk = None;
        self.chain.truncate(1);
    }

    /// The filter behind the scope: what the node is asked for.
    pub(crate) fn whole_filter(&self) -> String {
        let parts = [self.scope.as_str(), self.filter.as_str()];
        parts.join(" ").trim().to_owned()
    }

    /// The query of page `index`.
    pub(crate) fn query(&self, index: usize) -> ListQuery {
        let sort = self.sort.map(|(column, descending)| {
            let descending = descending != self.from_end;
            format!("{column}:{}", if descending { "desc" } else { "asc" })
        });
        ListQuery {
            filter: Some(self.whole_filter()).filter(|filter| !filter.is_empty()),
            sort,
            limit: Some(PAGE_ROWS as u32),
            cursor: self.chain.get(index).cloned().flatten(),
            scope: None,
        }
    }

    /// Number of the first held page.
    fn first_page(&self) -> usize {
        self.pages.front().map_or(0, |(i, _)| *i)
    }

    /// Rows from where the questions begin to the first visible row, and to the last one.
    fn depth(&self) -> (usize, usize) {
        let before = self.first_page() * PAGE_ROWS;
        let bottom = (self.top + self.height).min(self.rows.len());
        if self.from_end {
            (
                before + self.rows.len() - bottom,
                before + self.rows.len() - self.top.min(bottom),
            )
        } else {
            (before + self.top, before + bottom)
        }
    }

    /// The page that a refresh begins with: the first visible one.
    pub(crate) fn refresh_page(&self) -> usize {
        if self.outdated {
            return 0;
        }
        if self.walk.is_some() {
            return self.chain.len() - 1;
        }
        let last = (self.first_page() * PAGE_ROWS + self.rows.len()).saturating_sub(1);
        (self.depth().0.min(last) / PAGE_ROWS).min(self.chain.len() - 1)
    }

    /// There are pages behind the held ones, as far as is known.
    fn has_further(&self) -> bool {
        let last = self.pages.back().map_or(0, |(i, _)| *i);
        last + 1 < self.chain.len()
    }

    /// The page next to the loaded ones that the viewport is about to need.
    pub(crate) fn wanted_page(&self) -> Option<usize> {
        let (Some((first, _)), Some((last, _))) = (self.pages.front(), self.pages.back()) else {
            return self.error.is_none().then_some(0);
        };
        if self.outdated {
            return None;
        }
        if self.walk.is_some() {
            return Some(self.chain.len() - 1);
        }
        let (first, last) = (*first, *last);
        let near_top = self.top < EDGE_ROWS;
        let near_bottom = self.top + self.height + EDGE_ROWS > self.rows.len();
        let (near_first, near_last) = if self.from_end {
            (near_bottom, near_top)
        } else {
            (near_top, near_bottom)
        };
        if near_first && first > 0 {
            return Some(first - 1);
        }
        (near_last && self.has_further()).then_some(last + 1)
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
        let renewed = std::mem::take(&mut self.outdated);
        let held = if renewed { None } else { Some(self.depth()) };
        if let Some(target) = self.walk {
            if let Some(next) = page.next.as_ref().filter(|_| index < target) {
                self.chain.truncate(index + 1);
                self.chain.push(Some(next.clone()));
                return;
            }
            self.walk = None;
        }
        if renewed {
            self.pages.clear();
        } else if index == 0 {
            // A new ranking: what was loaded behind it belongs to the old one.
            let visible_end = self.depth().1;
            self.pages
                .retain(|(i, _)| *i != 0 && i * PAGE_ROWS < visible_end);
            self.chain.truncate(1);
        }
        self.chain.truncate(index + 1);
        if let Some(next) = page.next.filter(|_| index + 1 < CHAIN_MAX) {
            self.chain.push(Some(next));
        } else {
            self.pages.retain(|(i, _)| *i <= index);
        }
        self.pages.retain(|(i, _)| *i != index);
        let place = self
            .pages
            .iter()
            .position(|(i, _)| *i > index)
            .unwrap_or(self.pages.len());
        self.pages.insert(place, (index, page.items));
        self.drop_far_pages(index);
        self.rebuild(held.map(|depth| depth.0));
    }

    /// Whether page `index` follows visibly on one that was just renewed.
    pub(crate) fn shows_page(&self, index: usize) -> bool {
        index < self.chain.len() && index * PAGE_ROWS < self.depth().1
    }

    /// The order that the pages belong to is no longer kept by the server. Near the beginning it is
    /// gone through anew, with the rows staying on the screen; otherwise the list starts again,
    /// which is what it answers.
    pub(crate) fn expire(&mut self) -> bool {
        let page = self.depth().0 / PAGE_ROWS;
        if self.walk.is_some() || self.outdated || !(1..=WALK_MAX).contains(&page) {
            self.held = false;
            self.ask_anew();
            return true;
        }
        self.generation += 1;
        self.chain.truncate(1);
        self.walk = Some(page);
        false
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
        let depth = (!self.outdated).then(|| self.depth().0);
        self.outdated = false;
        self.whole = true;
        self.pages = VecDeque::from([(0, rows)]);
        self.rebuild(depth);
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

    /// Joins the pages; cursor and viewport follow the ids they were on. `depth`: how far the
    /// viewport is from where the questions begin; `None`: it goes there.
    fn rebuild(&mut self, depth: Option<usize>) {
        self.keep_one_run(depth.unwrap_or(0) / PAGE_ROWS);
        let bottom = (self.top + self.height).min(self.rows.len());
        let from_edge = match (depth, self.from_end) {
            (None, _) => 0,
            (Some(_), true) => bottom.saturating_sub(self.at + 1),
            (Some(_), false) => self.at.saturating_sub(self.top),
        };
        let mut seen = HashSet::new();
        self.rows = self
            .pages
            .iter()
            .flat_map(|(_, rows)| rows)
            .filter(|row| seen.insert(row.key()))
            .cloned()
            .collect();
        if self.from_end {
            self.rows.reverse();
        }
        self.base = self.count_base();
        for row in &self.rows {
            if let Some(mark) = self.marks.get_mut(&row.key()) {
                *mark = row.clone();
            }
        }
        let depth = depth
            .unwrap_or(0)
            .saturating_sub(self.first_page() * PAGE_ROWS);
        let held = self.cursor.as_ref().filter(|_| self.held);
        let found = held.and_then(|id| self.rows.iter().position(|r| r.key() == *id));
        if self.from_end {
            let bottom = self.rows.len().saturating_sub(depth);
            self.top = bottom.saturating_sub(self.height);
            self.at = found.unwrap_or_else(|| bottom.saturating_sub(1 + from_edge));
        } else {
            self.top = depth;
            self.at = found.unwrap_or(depth + from_edge);
        }
        self.go(0);
    }

    /// Moves the cursor as far as rows are loaded, and remembers the rest where there are more.
    fn go(&mut self, rows: isize) {
        let owed = std::mem::take(&mut self.owed);
        let turned = rows.signum() * owed.signum() < 0;
        let whole = rows.saturating_add(if turned { 0 } else { owed });
        let last = self.rows.len().saturating_sub(1);
        let to = self.at.saturating_add_signed(whole).min(last);
        let rest = whole
            .saturating_add_unsigned(self.at)
            .saturating_sub_unsigned(to);
        // What lies behind is not always known by its cursor, but by its number.
        let matched = self.facts.as_ref().map_or(0, |facts| facts.matched);
        let more = if rest > 0 {
            (!self.from_end && self.has_further())
                || ((self.base + self.rows.len()) as u64) < matched
        } else {
            self.base > 0
        };
        // Further than a page is a way to the end, not a number of rows.
        if more && rows.unsigned_abs() <= PAGE_ROWS {
            let most = PAGE_ROWS as isize;
            self.owed = rest.clamp(-most, most);
        }
        self.at = to;
        self.settle();
    }

    /// Only pages next to each other make a window: those around page `top` stay.
    fn keep_one_run(&mut self, top: usize) {
        let mut run: Vec<usize> = Vec::new();
        for (i, _) in &self.pages {
            if run.last().is_some_and(|last| last + 1 != *i) {
                if run.contains(&top) {
                    break;
                }
                run.clear();
            }
            run.push(*i);
        }
        self.pages.retain(|(i, _)| run.contains(i));
    }

    /// Position of the first loaded row in the whole list.
    fn count_base(&self) -> usize {
        let before = self.first_page() * PAGE_ROWS;
        match (self.from_end, self.has_further()) {
            (false, _) => before,
            (true, false) => 0,
            (true, true) => {
                let matched = self.facts.as_ref().map_or(0, |f| f.matched);
                usize::try_from(matched)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(before + self.rows.len())
            }
        }
    }

    /// Positions of the first and the last visible row, counted from one; `None`: there is none.
    pub(crate) fn shown_range(&self) -> Option<(usize, usize)> {
        let last = (self.top + self.height).min(self.rows.len());
        (last > self.top).then(|| (self.base + self.top + 1, self.base + last))
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

    /// First and last row of the range of marks that has begun, and how many rows of it are not
    /// loaded. Where the row that it began on is gone, its place stands for it.
    pub(crate) fn range_span(&self) -> Option<(usize, usize, usize)> {
        let (id, place) = self.anchor.as_ref().filter(|_| !self.rows.is_empty())?;
        let last = self.rows.len() - 1;
        let (begin, not_loaded) = match self.rows.iter().position(|row| row.key() == *id) {
            Some(index) => (index, 0),
            None if *place < self.base => (0, self.base - place),
            None => {
                let index = place - self.base;
                (index.min(last), index.saturating_sub(last))
            }
        };
        Some((begin.min(self.at), begin.max(self.at), not_loaded))
    }

    /// The row under the cursor.
    pub(crate) fn selected(&self) -> Option<&T> {
        self.rows.get(self.at)
    }
}

#[cfg(test)]
mod tests;
