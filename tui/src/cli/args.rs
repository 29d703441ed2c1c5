//! The command line: `relayctl [options] NOUN VERB`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use shared::filter::{AUDIT_COLUMNS, Column};

use super::output::Format;
use super::{
    alert, ban, bench, config, context, credential, data, event, generate, history, info, job,
    node, oauth, realm, redirect, refusals, secret, session, snapshot, token, turn, turnadmin,
    user,
};

/// Console and command line for clusters of relayd.
///
/// Without a command the console opens. Data goes to standard output, everything else to standard
/// error. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 partial, 6 unreachable or
/// no answer in time, 10 to 17 a failed check (see `turn check --help`), 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "relayctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// The command; none: the console.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of all commands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// A context of the configuration file, or an address
    #[arg(
        short,
        long,
        global = true,
        env = "RELAYCTL_CONTEXT",
        value_name = "NAME"
    )]
    pub context: Option<String>,
    /// Address of a node: unix:/path, https://host:port or ssh://[user@]host[:port][/socket]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub url: Option<String>,
    /// Configuration file
    #[arg(long, global = true, env = "RELAYCTL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Let the console change things
    #[arg(long, global = true)]
    pub rw: bool,
    /// Draw with ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Theme of the console, as in dark
    #[arg(long, global = true, env = "RELAYCTL_THEME", value_name = "NAME")]
    pub theme: Option<String>,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// Only these fields, in this order
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    pub fields: Vec<String>,
    /// Do not ask
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// The name of the context, where a guardrail wants it typed and nobody is there to type
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub confirm: Option<String>,
    /// Why; kept in the audit
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// How long a call may take, as in 5s
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
}

impl Global {
    /// What the command line names as the node to talk to.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        self.url.as_deref().or(self.context.as_deref())
    }
}

/// Options of lists.
#[derive(Args, Clone, Debug, Default)]
pub struct ListArgs {
    /// Rows that match, as in 'user=alice rate>2M !node=fra1|ams1'
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Column and direction, as in rate:desc
    #[arg(short, long, value_name = "COLUMN[:asc|desc]")]
    pub sort: Option<String>,
    /// At most this many rows [default: 200]
    #[arg(short, long, conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// All rows, page by page
    #[arg(short, long)]
    pub all: bool,
    /// Again every so many seconds
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// Nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Nodes of the cluster
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Sessions: TURN allocations
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Realms
    #[command(subcommand)]
    Realm(realm::RealmCommand),
    /// Shared secrets of time-limited credentials
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Events
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Third-party authorization
    #[command(subcommand)]
    Oauth(oauth::OauthCommand),
    /// Tokens of the admin API
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Time-limited credentials
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Any TURN server from a client's side
    #[command(subcommand)]
    Turn(turn::TurnCommand),
    /// Load for any TURN server, and what it costs it
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Jobs
    #[command(subcommand)]
    Job(job::JobCommand),
    /// The configuration file
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Settings of nodes
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Conditions that hold, and their thresholds
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Banned networks, of clients and of peers
    #[command(subcommand)]
    Ban(ban::BanCommand),
    /// Where clients are sent instead
    #[command(subcommand)]
    Redirect(redirect::RedirectCommand),
    /// Figures over time
    #[command(subcommand)]
    History(history::HistoryCommand),
    /// How often nodes refused something, and why; --recent: the latest one by one
    #[command(after_long_help = refusals::columns())]
    Refusals(refusals::RefusalArgs),
    /// Users, secrets, limits, origins and rules for peers from a file: coturn's tables
    Import(data::ImportArgs),
    /// The same to standard output
    Export(data::ExportArgs),
    /// coturn's turnadmin, on the node's store
    Turnadmin(turnadmin::TurnadminArgs),
    /// Who changed what, newest first
    #[command(after_long_help = columns_help(AUDIT_COLUMNS))]
    Audit(ListArgs),
    /// The cluster in figures
    Overview,
    /// Who you are to the node
    Whoami,
    /// Try the connection
    Check,
    /// Paths, versions, context, terminal, theme, keys
    Info(info::InfoArgs),
    /// One frame of a console's view as text
    Snapshot(snapshot::SnapshotArgs),
    /// A script that completes commands and options in a shell
    Completion(generate::CompletionArgs),
    /// The manual
    Man(generate::ManArgs),
}

impl Command {
    /// Whether it ends by itself when it is interrupted, because it has something to put in order.
    #[must_use]
    pub fn ends_itself(&self) -> bool {
        matches!(self, Self::Bench(_))
    }
}

/// What a list can be filtered and sorted by, for its help.
pub(super) fn columns_help(columns: &[Column]) -> String {
    let mut help = String::from("Columns of --filter and --sort:\n\n");
    for column in columns {
        let _ = writeln!(help, "  {:22} {}", column.name, column.help);
    }
    help.push_str(FILTER_HELP);
    help
}

/// The grammar in short.
const FILTER_HELP: &str = "
Terms are joined by AND; | separates alternatives, ! negates a term, quotes protect spaces.
Text: = exact, ~ contains (^ and $ anchor it). Numbers, rates (2M), durations (10m): = > < >= <=.
Addresses: 192.0.2.7, 192.0.2.0/24, 192.0.2.1-192.0.2.9, 192.0.2.7:3478 or :3478. A word alone
is looked for in the names.";

/// Reads a rate of a flag.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    shared::units::parse_number(text)
        .ok_or_else(|| "bits per second, as in 2000000 or 2M".to_owned())
}

/// Reads a duration of a flag.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    shared::units::parse_duration(text)
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "a duration, as in 90s, 10m or 2h".to_owned())
}
