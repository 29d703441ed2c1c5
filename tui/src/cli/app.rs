//! What every command shares: the node, the options, the terminal, and how lists are walked.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use shared::api::{ErrorKind, ListQuery, MissingNode, Page};
use shared::filter::{Column, Filter, SortSpec};
use shared::units::grouped;

use super::args::{Global, ListArgs};
use super::exit::Failure;
use super::output::{Format, ListWriter, Selection, Shows, Summary, write_json};
use super::terminal::Terminal;
use crate::client::{AdminApi, ClientError, ClientResult};
use crate::guardrails::Guardrails;

/// Clears the screen and goes to its corner, between two rounds of `--watch`.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// A command at work.
pub struct App<'a, 't> {
    /// The node.
    pub api: &'a dyn AdminApi,
    /// Options of all commands.
    pub global: &'a Global,
    /// The rules for changes.
    pub guardrails: Guardrails,
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
    pub fn new(
        api: &'a dyn AdminApi,
        global: &'a Global,
        guardrails: Guardrails,
        terminal: &'a mut Terminal<'t>,
    ) -> Self {
        Self {
            api,
            global,
            guardrails,
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
            self.clear()?;
            let shown = self.list_once(args, columns, &selection, &fetch).await;
            self.forgive(shown)?;
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

    /// Writes a list that the node gives whole, once or again and again.
    pub(super) async fn again<T, F, Fut>(
        &mut self,
        watch: Option<u64>,
        fetch: F,
    ) -> Result<(), Failure>
    where
        T: Shows,
        F: Fn() -> Fut,
        Fut: Future<Output = ClientResult<Page<T>>>,
    {
        loop {
            let page = fetch().await;
            let Some(seconds) = watch else {
                return self.whole(page?);
            };
            self.clear()?;
            let shown = page
                .map_err(Failure::from)
                .and_then(|page| self.whole(page));
            self.forgive(shown)?;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Goes back to the top of a terminal, before a round of `--watch`.
    fn clear(&mut self) -> Result<(), Failure> {
        if self.terminal.out_is_terminal {
            self.terminal.out.write_all(CLEAR.as_bytes())?;
        }
        Ok(())
    }

    /// Ends `--watch` only by what the next round cannot mend: it may find the node, or all of
    /// them, again.
    fn forgive(&mut self, shown: Result<(), Failure>) -> Result<(), Failure> {
        match shown {
            Err(Failure::Partial(reason)) => self.terminal.note(&reason),
            Err(Failure::Client(error)) if error.is_connection() => {
                self.terminal.note(&error.to_string());
            }
            other => return other,
        }
        Ok(())
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

    /// Writes something that is one document in JSON and a table of rows elsewhere.
    pub(super) fn document<D: Serialize, T: Shows>(
        &mut self,
        document: &D,
        rows: &[T],
    ) -> Result<(), Failure> {
        let selection = self.selection()?;
        if self.global.output == Format::Json && self.global.fields.is_empty() {
            let mut value = serde_json::to_value(document).unwrap_or(Value::Null);
            if let Value::Object(map) = &mut value {
                map.entry("as_of_ms").or_insert(now_ms().into());
            }
            return Ok(write_json(self.terminal.out, &value)?);
        }
        let mut writer = ListWriter::new(self.terminal.out, &selection);
        let as_of_ms = now_ms();
        writer.rows(as_of_ms, rows)?;
        let count = rows.len() as u64;
        Ok(writer.end(&Summary {
            as_of_ms,
            matched: count,
            total: count,
            missing: Vec::new(),
            next: None,
        })?)
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

/// A lost compare-and-set in words; any other failure as it is.
pub(super) fn held(what: &str, expected: u64, error: ClientError) -> Failure {
    match error {
        ClientError::Api(error) if error.error == ErrorKind::RevisionConflict => {
            let current = error.current_revision;
            let current = current.map_or("another".to_owned(), |revision| revision.to_string());
            Failure::Other(format!(
                "{what} changed meanwhile: it is revision {current} now, not {expected}; \
                 nothing was done"
            ))
        }
        error => error.into(),
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
