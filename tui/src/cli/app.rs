//! What every command shares: the node, the options, the terminal, and how lists are walked.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::api::{ListQuery, MissingNode, Page};
use shared::filter::{Column, Filter, SortSpec};
use shared::units::grouped;

use super::args::{Global, ListArgs};
use super::exit::Failure;
use super::output::{ListWriter, Selection, Shows, Summary};
use super::terminal::Terminal;
use crate::client::{AdminApi, ClientResult};

/// Clears the screen and goes to its corner, between two rounds of `--watch`.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// A command at work.
pub struct App<'a, 't> {
    /// The node.
    pub api: &'a dyn AdminApi,
    /// Options of all commands.
    pub global: &'a Global,
    /// Where output goes.
    pub terminal: &'a mut Terminal<'t>,
}

impl fmt::Debug for App<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("global", &self.global)
            .finish_non_exhaustive()
    }
}

/// What a list can be filtered and sorted by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// The columns.
    pub(super) all: &'static [Column],
    /// The order of `--all` unless another is asked for: by an id, which does not change while the
    /// pages are fetched.
    pub(super) stable: &'static str,
}

impl<'a, 't> App<'a, 't> {
    /// A command against `api`.
    pub fn new(api: &'a dyn AdminApi, global: &'a Global, terminal: &'a mut Terminal<'t>) -> Self {
        Self {
            api,
            global,
            terminal,
        }
    }

    /// How rows of `T` are written.
    pub(super) fn selection<T: Shows>(&self) -> Result<Selection<T>, Failure> {
        Selection::new(self.global.output, &self.global.fields, self.global.ascii)
    }

    /// Writes one thing.
    pub(super) fn show<T: Shows>(&mut self, row: &T) -> Result<(), Failure> {
        let selection = self.selection()?;
        Ok(selection.write_one(self.terminal.out, now_ms(), row)?)
    }

    /// Asks unless `--yes`.
    pub(super) fn confirm(&mut self, question: &str, expected: &str) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        self.terminal.confirm(question, expected)
    }

    /// Writes a list, page by page, once or again and again.
    pub(super) async fn list<T, F, Fut>(
        &mut self,
        args: &ListArgs,
        columns: Columns,
        fetch: F,
    ) -> Result<(), Failure>
    where
        T: Shows,
        F: Fn(ListQuery) -> Fut,
        Fut: Future<Output = ClientResult<Page<T>>>,
    {
        let selection = self.selection()?;
        check_filter_and_sort(args, columns)?;
        let Some(seconds) = args.watch else {
            return self.list_once(args, columns, &selection, &fetch).await;
        };
        loop {
            if self.terminal.out_is_terminal {
                self.terminal.out.write_all(CLEAR.as_bytes())?;
            }
            match self.list_once(args, columns, &selection, &fetch).await {
                Ok(()) => {}
                // The next round may find the node, or all of them, again.
                Err(Failure::Partial(reason)) => self.terminal.note(&reason),
                Err(Failure::Client(error)) if error.is_connection() => {
                    self.terminal.note(&error.to_string());
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    async fn list_once<T, F, Fut>(
        &mut self,
        args: &ListArgs,
        columns: Columns,
        selection: &Selection<T>,
        fetch: &F,
    ) -> Result<(), Failure>
    where
        T: Shows,
        F: Fn(ListQuery) -> Fut,
        Fut: Future<Output = ClientResult<Page<T>>>,
    {
        let mut wanted = if args.all {
            u64::MAX
        } else {
            args.limit.unwrap_or(ListQuery::DEFAULT_LIMIT).into()
        };
        let stable = || args.all.then(|| columns.stable.to_owned());
        let mut query = ListQuery {
            filter: args.filter.clone(),
            sort: args.sort.clone().or_else(stable),
            ..ListQuery::default()
        };
        let mut writer = ListWriter::new(self.terminal.out, selection);
        let summary = loop {
            query.limit = Some(wanted.min(ListQuery::MAX_LIMIT.into()) as u32);
            let page = fetch(query.clone()).await?;
            writer.rows(page.as_of_ms, &page.items)?;
            wanted = wanted.saturating_sub(page.items.len() as u64);
            let more = page.next.is_some() && !page.items.is_empty();
            query.cursor.clone_from(&page.next);
            if wanted == 0 || !more {
                break summary(page);
            }
        };
        writer.end(&summary)?;
        let shown = writer.count();
        self.report(shown, &summary)
    }

    /// Writes a list that the node gave whole.
    pub(super) fn whole<T: Shows>(&mut self, page: Page<T>) -> Result<(), Failure> {
        let selection = self.selection()?;
        let mut writer = ListWriter::new(self.terminal.out, &selection);
        writer.rows(page.as_of_ms, &page.items)?;
        let summary = summary(page);
        writer.end(&summary)?;
        let shown = writer.count();
        self.report(shown, &summary)
    }

    /// Says what is not shown.
    fn report(&mut self, shown: u64, summary: &Summary) -> Result<(), Failure> {
        if summary.next.is_some() && shown < summary.matched {
            let (shown, matched) = (grouped(shown), grouped(summary.matched));
            self.terminal
                .note(&format!("{shown} of {matched} shown; --all shows the rest"));
        }
        match describe_missing(&summary.missing) {
            Some(text) => Err(Failure::Partial(text)),
            None => Ok(()),
        }
    }
}

fn summary<T>(page: Page<T>) -> Summary {
    Summary {
        as_of_ms: page.as_of_ms,
        matched: page.matched,
        total: page.total,
        missing: page.missing,
        next: page.next,
    }
}

/// Names the nodes that did not answer.
pub(super) fn describe_missing(missing: &[MissingNode]) -> Option<String> {
    let names = missing
        .iter()
        .map(|m| format!("{} ({})", m.node, m.reason))
        .collect::<Vec<_>>();
    (!names.is_empty()).then(|| format!("nodes that did not answer: {}", names.join(", ")))
}

fn check_filter_and_sort(args: &ListArgs, columns: Columns) -> Result<(), Failure> {
    if let Some(filter) = &args.filter {
        Filter::parse(filter, columns.all).map_err(|e| Failure::Usage(e.to_string()))?;
    }
    if let Some(sort) = &args.sort {
        SortSpec::parse(sort, columns.all).map_err(|e| Failure::Usage(e.to_string()))?;
    }
    Ok(())
}

/// The time of this machine, in Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
