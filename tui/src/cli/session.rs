//! `relayctl session`; killing is in its own file.

use std::time::Duration;

use clap::{Args, Subcommand};
use shared::filter::SESSION_COLUMNS;

use super::app::Columns;
use super::args::{ListArgs, columns_help, duration};
use super::exit::Failure;
use super::{App, kill};

/// Verbs of `session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List sessions
    #[command(after_long_help = columns_help(SESSION_COLUMNS))]
    List(ListArgs),
    /// Show one session
    Show {
        /// Its id, or the first six digits or more
        id: String,
    },
    /// End sessions
    Kill(KillArgs),
}

/// What to kill, and how.
#[derive(Args, Debug)]
pub struct KillArgs {
    /// Ids, or their first six digits or more
    #[arg(
        value_name = "ID",
        required_unless_present = "filter",
        conflicts_with = "filter"
    )]
    pub ids: Vec<String>,
    /// All sessions that match
    #[arg(short, long)]
    pub filter: Option<String>,
    /// Do nothing if more than this many match
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub max: u64,
    /// Kills per second and node
    #[arg(long, default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Also refuse the users of these sessions for this long, so that they do not come straight back
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub block: Option<Duration>,
    /// Only tell what would be killed
    #[arg(long)]
    pub dry_run: bool,
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &SessionCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        SessionCommand::List(list) => {
            let columns = Columns {
                all: SESSION_COLUMNS,
                stable: "id:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.sessions(&query).await },
            )
            .await
        }
        SessionCommand::Show { id } => {
            let session = api.session(id).await?;
            app.show(&session)
        }
        SessionCommand::Kill(args) => kill::run(app, args).await,
    }
}
