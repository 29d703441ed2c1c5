//! `relayctl refusals`: counters, or the latest refusals one by one.

use clap::Args;
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
