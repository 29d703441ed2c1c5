//! `relayctl session`; killing is in its own file.

use std::time::Duration;

use clap::{Args, Subcommand};
use shared::api::{GroupBy, GroupQuery, Page, PermissionView};
use shared::filter::{Filter, GROUP_COLUMNS, SESSION_COLUMNS, SortSpec};

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
    /// Show the peers of a session, those with the most traffic first
    Peers {
        /// Its id, or the first six digits or more
        id: String,
    },
    /// Show the largest groups of sessions
    #[command(after_long_help = columns_help(GROUP_COLUMNS))]
    Top(TopArgs),
    /// End sessions
    Kill(KillArgs),
}

/// Which groups, and of which sessions.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Group by user, realm, client network, peer network or node
    #[arg(
        long,
        default_value = "user",
        value_name = "user|realm|client|peer|node"
    )]
    by: GroupBy,
    /// Of sessions that match, as in 'node=fra1 age<10m'
    #[arg(short, long)]
    filter: Option<String>,
    /// Column of groups and direction [default: rate:desc]
    #[arg(short, long, value_name = "COLUMN[:asc|desc]")]
    sort: Option<String>,
    /// At most this many groups [default: 200]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Again every so many seconds
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
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
    /// Kills per second and node [default: 100, or as many as a guardrail allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: Option<u32>,
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
        SessionCommand::Peers { id } => peers(app, id).await,
        SessionCommand::Top(args) => top(app, args).await,
        SessionCommand::Kill(args) => kill::run(app, args).await,
    }
}

async fn peers(app: &mut App<'_, '_>, id: &str) -> Result<(), Failure> {
    let detail = app.api.session(id).await?;
    let mut peers = detail.permissions;
    let rate = |p: &PermissionView| p.rate_in_bps.saturating_add(p.rate_out_bps);
    peers.sort_by_key(|p| (std::cmp::Reverse(rate(p)), p.peer));
    let count = peers.len() as u64;
    app.whole(Page {
        schema: "peers/1".to_owned(),
        as_of_ms: detail.as_of_ms,
        items: peers,
        next: None,
        matched: count,
        total: count,
        missing: Vec::new(),
    })
}

async fn top(app: &mut App<'_, '_>, args: &TopArgs) -> Result<(), Failure> {
    Filter::parse(args.filter.as_deref().unwrap_or_default(), SESSION_COLUMNS)
        .map_err(|e| Failure::Usage(e.to_string()))?;
    if let Some(sort) = &args.sort {
        SortSpec::parse(sort, GROUP_COLUMNS).map_err(|e| Failure::Usage(e.to_string()))?;
    }
    let query = GroupQuery {
        filter: args.filter.clone(),
        sort: args.sort.clone(),
        limit: args.limit,
        ..GroupQuery::new(args.by)
    };
    let (api, query) = (app.api, &query);
    app.again(args.watch, || api.groups(query)).await
}
