//! `relayctl refusals`: counters, or the latest refusals one by one.

use clap::Args;
use shared::api::{explain_refusal, refusal_reasons};
use shared::display_safe;
use shared::filter::{RECENT_REFUSAL_COLUMNS, REFUSAL_COLUMNS};

use super::App;
use super::app::Columns;
use super::args::{ListArgs, columns_help};
use super::exit::Failure;

/// Options of `refusals`.
#[derive(Args, Debug)]
pub struct RefusalArgs {
    /// The latest refusals one by one, newest first, instead of the counters
    #[arg(long)]
    recent: bool,
    /// Say what a reason means and what to do about it
    #[arg(long, value_name = "REASON", conflicts_with = "recent")]
    explain: Option<String>,
    /// Which, and how.
    #[command(flatten)]
    list: ListArgs,
}

/// The help about columns, of both lists.
pub(super) fn columns() -> String {
    let (counters, _) = split(&columns_help(REFUSAL_COLUMNS));
    let (recent, grammar) = split(&columns_help(RECENT_REFUSAL_COLUMNS));
    format!("{counters}\n\nWith --recent:\n{recent}\n\n{grammar}")
}

/// The columns, and the grammar below them.
fn split(help: &str) -> (String, String) {
    let (columns, grammar) = help.split_once("\n\nTerms").unwrap_or((help, ""));
    (columns.to_owned(), format!("Terms{grammar}"))
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &RefusalArgs) -> Result<(), Failure> {
    if let Some(reason) = &args.explain {
        return explain(app, reason);
    }
    let api = app.api;
    if args.recent {
        let columns = Columns {
            all: RECENT_REFUSAL_COLUMNS,
            stable: "time:desc",
        };
        let fetch = |query| async move { api.recent_refusals(&query).await };
        return app.list(&args.list, columns, fetch).await;
    }
    let columns = Columns {
        all: REFUSAL_COLUMNS,
        stable: "node:asc",
    };
    let fetch = |query| async move { api.refusals(&query).await };
    app.list(&args.list, columns, fetch).await
}

/// What a reason means, on standard output: that is what was asked for.
fn explain(app: &mut App<'_, '_>, reason: &str) -> Result<(), Failure> {
    let Some((means, remedy)) = explain_refusal(reason) else {
        let known: Vec<_> = refusal_reasons().collect();
        let reason = display_safe(reason);
        let known = known.join(", ");
        return Err(Failure::Usage(format!(
            "no reason is called {reason}; there are {known}"
        )));
    };
    writeln!(app.terminal.out, "{reason}: {means}\nwhat to do: {remedy}")?;
    Ok(())
}
