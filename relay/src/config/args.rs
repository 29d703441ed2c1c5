//! The command line and the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, Command};

use super::coturn::{self, Given};
use super::keys::{Flag, KEYS, Kind};

/// What the process was told. Kept whole, so that a reload reads the same flags again.
#[derive(Clone, Default)]
pub struct Args {
    /// What to do.
    pub task: Task,
    /// Take over from the process that runs as this node.
    pub upgrade: bool,
    /// The file, from `--config` or `RELAYD_CONFIG`; `None`: [`Args::DEFAULT_FILE`] if it exists.
    pub config: Option<PathBuf>,
    pub(super) flags: BTreeMap<&'static str, Vec<String>>,
    /// Options of coturn's command line, in their order.
    pub(super) coturn: Vec<Given>,
    /// coturn's `-n`: no file is read.
    pub(super) reads_no_file: bool,
    /// A second word for peers that coturn's configuration opens.
    pub(super) accepts_open_peers: bool,
    pub(super) environment: BTreeMap<String, String>,
}

/// What `relayd` is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Relay until told to stop.
    #[default]
    Run,
    /// Only say whether the configuration is valid.
    CheckConfig,
    /// Print a fresh cluster key.
    ClusterKey,
    /// Write coturn's configuration as a `relayd.toml` to stdout.
    Convert,
}

impl Args {
    /// The file read when none is named and it exists.
    pub const DEFAULT_FILE: &str = "/etc/relayd/relayd.toml";

    /// The arguments and environment of this process. Prints help and ends the process where that
    /// was asked for; ends it with status 2 for unknown flags.
    #[must_use]
    pub fn of_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::new(std::env::args_os(), environment).unwrap_or_else(|error| error.exit())
    }

    /// The given arguments (the first one being the program's name) and environment.
    ///
    /// # Errors
    /// Unknown flags and subcommands; also `--help` and `--version`, as clap has it.
    pub fn new<I, S>(
        arguments: I,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString> + Clone,
    {
        let line = coturn::split(arguments.into_iter().map(Into::into))?;
        let matches = command().try_get_matches_from(line.ours)?;
        let (task, sub) = match matches.subcommand() {
            Some(("check-config", sub)) => (Task::CheckConfig, Some(sub)),
            Some(("cluster-key", _)) => (Task::ClusterKey, None),
            Some(("config", sub)) => (Task::Convert, sub.subcommand_matches("convert")),
            Some((_, sub)) => (Task::Run, Some(sub)),
            None if matches.get_flag("check-config") => (Task::CheckConfig, None),
            None => (Task::Run, None),
        };
        // Global flags are propagated into the subcommand's matches.
        let matches = sub.unwrap_or(&matches);
        let mut flags = BTreeMap::new();
        for key in KEYS.iter().filter(|key| key.flag == Flag::Yes) {
            if let Some(values) = matches.get_many::<String>(key.name) {
                flags.insert(key.name, values.cloned().collect());
            }
        }
        if matches.get_flag("gateway") {
            flags.insert("roles", vec!["gateway".to_owned()]);
        }
        if matches.get_flag("beside-coturn") {
            flags.insert("beside.enabled", vec!["true".to_owned()]);
        }
        let upgrade = matches.get_flag("upgrade");
        let named = match task {
            Task::Convert => matches.get_one::<PathBuf>("file"),
            Task::Run | Task::CheckConfig | Task::ClusterKey => None,
        };
        let config = named
            .or_else(|| matches.get_one::<PathBuf>("config"))
            .cloned()
            .or_else(|| environment.get("RELAYD_CONFIG").map(PathBuf::from));
        Ok(Self {
            task,
            upgrade,
            config,
            flags,
            coturn: line.coturns,
            reads_no_file: line.reads_no_file,
            accepts_open_peers: matches.get_flag("accept-open-peers"),
            environment,
        })
    }

    /// The file to read, if any.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        coturn::file_of(self)
    }

    /// Whether flags or environment say where users are kept.
    pub(super) fn names_store(&self) -> bool {
        let is_named = |key: &str, variable: &str| {
            self.flags.contains_key(key) || self.environment.contains_key(variable)
        };
        is_named("store.turndb", "RELAYD_STORE_TURNDB") || is_named("store.url", "RELAYD_STORE_URL")
    }
}

impl fmt::Debug for Args {
    /// Neither values of flags nor the environment: both can hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("task", &self.task)
            .field("config", &self.config)
            .field("flags", &self.flags.keys())
            .field("coturn", &self.coturn)
            .finish_non_exhaustive()
    }
}

/// The flags' names, one per key: clap wants them to live as long as the process.
static FLAG_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| KEYS.iter().map(|key| key.flag_name()).collect());

/// A flag without a value that subcommands have too.
fn switch(name: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).help(help);
    arg.global(true).action(ArgAction::SetTrue)
}

/// One flag for each setting.
fn settings() -> impl Iterator<Item = Arg> {
    let keys = KEYS
        .iter()
        .zip(FLAG_NAMES.iter())
        .filter(|(key, _)| key.flag == Flag::Yes);
    keys.map(|(key, flag)| {
        let arg = Arg::new(key.name)
            .long(flag.as_str())
            .global(true)
            .help(key.help)
            .help_heading("Settings")
            .value_name(match key.kind {
                Kind::Table => "NAME=VALUE",
                Kind::Integer => "NUMBER",
                Kind::Boolean => "BOOL",
                Kind::Text | Kind::List => "VALUE",
            });
        match key.kind {
            Kind::List | Kind::Table => arg.action(ArgAction::Append),
            Kind::Boolean => arg
                .num_args(0..=1)
                .default_missing_value("true")
                .require_equals(true),
            Kind::Text | Kind::Integer => arg,
        }
    })
}

fn convert() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("coturn's file; default: where coturn looks for turnserver.conf");
    let convert = Command::new("convert")
        .about("Write coturn's configuration as a relayd.toml to stdout")
        .arg(file);
    Command::new("config")
        .about("Work on configuration files")
        .subcommand_required(true)
        .subcommand(convert)
}

fn command() -> Command {
    let config = Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .global(true)
        .value_parser(clap::value_parser!(PathBuf))
        .help(
            "Configuration file, relayd.toml or coturn's turnserver.conf; default \
             /etc/relayd/relayd.toml if it exists",
        );
    let check = Arg::new("check-config")
        .long("check-config")
        .action(ArgAction::SetTrue)
        .help("Only say whether the configuration is valid");
    let upgrade =
        "Take over from the relayd that runs with this state directory, without losing a packet";
    let open_peers = "Take allow-loopback-peers and the like from coturn's configuration";
    Command::new("relayd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A STUN/TURN relay node")
        .after_help(
            "Every setting can also be given as RELAYD_... in the environment (RELAYD_STORE_URL for \
             --store-url) or in the file (url in [store]). Flags win over the environment, the \
             environment over the file. coturn's own options are taken beside its file: relay/COTURN.md \
             has each of them.",
        )
        .arg(config)
        .args(roles())
        .arg(check)
        .arg(switch("upgrade", upgrade))
        .arg(switch("accept-open-peers", open_peers))
        .args(settings())
        .subcommand(Command::new("run").about("Relay until told to stop (the default)"))
        .subcommand(
            Command::new("check-config").about("Only say whether the configuration is valid"),
        )
        .subcommand(convert())
        .subcommand(
            Command::new("cluster-key").about("Print a fresh cluster key, for cluster_key_file"),
        )
}

/// What the process is to be instead of a relay.
fn roles() -> [Arg; 2] {
    let gateway = switch(
        "gateway",
        "Only answer the admin API for the cluster: no TURN listeners",
    );
    let beside = switch(
        "beside-coturn",
        "Speak for the coturn of this host ([beside] in the file): no TURN listeners",
    );
    [gateway.conflicts_with("roles"), beside]
}
