//! `relayctl event`.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use shared::api::EventView;
use shared::filter::{EVENT_COLUMNS, Filter};

use super::App;
use super::args::columns_help;
use super::exit::Failure;
use super::output::{Format, ListWriter, Selection};

/// Events that `tail` shows before the live ones.
const BACKLOG: u32 = 10;
/// The first wait before a lost stream is followed again.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Verbs of `event`.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List the newest events
    #[command(after_long_help = columns_help(EVENT_COLUMNS))]
    List {
        /// Which.
        #[command(flatten)]
        choice: Choice,
        /// Of this many newest events
        #[arg(short, long, default_value_t = 200, value_name = "N",
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Follow events
    #[command(after_long_help = columns_help(EVENT_COLUMNS))]
    Tail {
        /// Which.
        #[command(flatten)]
        choice: Choice,
        /// End after this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
}

/// Which events.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// Events that match, as in 'severity=warn|crit node=fra1'
    #[arg(short, long)]
    filter: Option<String>,
}

impl Choice {
    fn filter(&self) -> Result<Filter, Failure> {
        let text = self.filter.as_deref().unwrap_or_default();
        Filter::parse(text, EVENT_COLUMNS).map_err(|e| Failure::Usage(e.to_string()))
    }
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &EventCommand) -> Result<(), Failure> {
    match command {
        EventCommand::List { choice, limit } => {
            let filter = choice.filter()?;
            let mut page = app.api.events(None, *limit).await?;
            page.items.retain(|event| filter.matches(event));
            page.matched = page.items.len() as u64;
            app.whole(page)
        }
        EventCommand::Tail { choice, count } => {
            let mut global = app.global.clone();
            if global.output == Format::Json {
                // A stream has no end at which a document could be closed.
                global.output = Format::Jsonl;
            }
            let tail = Tail {
                filter: choice.filter()?,
                left: *count,
                last: None,
            };
            let selection = Selection::new(global.output, &global.fields, global.ascii)?;
            tail.run(app, &selection).await
        }
    }
}

struct Tail {
    filter: Filter,
    left: Option<u64>,
    last: Option<String>,
}

impl Tail {
    async fn run(
        mut self,
        app: &mut App<'_, '_>,
        selection: &Selection<EventView>,
    ) -> Result<(), Failure> {
        let api = app.api;
        let err = &mut *app.terminal.err;
        let mut writer = ListWriter::new(app.terminal.out, selection);
        let backlog = api.events(None, BACKLOG).await?.items;
        self.last = backlog.last().map(|event| event.id.clone());
        if self.write(&mut writer, backlog)? {
            return Ok(());
        }
        let mut stream = api.follow_events(self.last.as_deref()).await?;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let error = match stream.next().await {
                Some(Ok(event)) => {
                    backoff = FIRST_BACKOFF;
                    self.last = Some(event.id.clone());
                    if self.write(&mut writer, vec![event])? {
                        return Ok(());
                    }
                    continue;
                }
                Some(Err(error)) if !error.is_connection() => return Err(error.into()),
                Some(Err(error)) => error.to_string(),
                None => "the stream ended".to_owned(),
            };
            let _ = writeln!(err, "{error}; trying again");
            stream = loop {
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
                match api.follow_events(self.last.as_deref()).await {
                    Ok(stream) => break stream,
                    Err(error) if error.is_connection() => {}
                    Err(error) => return Err(error.into()),
                }
            };
        }
    }

    /// Writes what matches; whether that was enough.
    fn write(
        &mut self,
        writer: &mut ListWriter<'_, EventView>,
        mut events: Vec<EventView>,
    ) -> Result<bool, Failure> {
        events.retain(|event| self.filter.matches(event));
        if let Some(left) = &mut self.left {
            events.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= events.len() as u64;
        }
        if !events.is_empty() {
            writer.rows(events[0].at_ms, &events)?;
        }
        Ok(self.left == Some(0))
    }
}
