//! The command line and the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, Command};

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
        let matches = command().try_get_matches_from(arguments)?;
        let (task, sub) = match matches.subcommand() {
            Some(("check-config", sub)) => (Task::CheckConfig, Some(sub)),
            Some(("cluster-key", _)) => (Task::ClusterKey, None),
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
        let config = matches
            .get_one::<PathBuf>("config")
            .cloned()
            .or_else(|| environment.get("RELAYD_CONFIG").map(PathBuf::from));
        Ok(Self {
            task,
            upgrade,
            config,
            flags,
            environment,
        })
    }

    /// The file to read, if any.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(Self::DEFAULT_FILE)).filter(|path| path.exists());
        self.config.clone().or_else(default)
    }
}

impl fmt::Debug for Args {
    /// Neither values of flags nor the environment: both can hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("task", &self.task)
            .field("config", &self.config)
            .field("flags", &self.flags.keys())
            .finish_non_exhaustive()
    }
}

/// The flags' names, one per key: clap wants them to live as long as the process.
static FLAG_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| KEYS.iter().map(|key| key.flag_name()).collect());

fn command() -> Command {
    let config = Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .global(true)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Configuration file; default /etc/relayd/relayd.toml if it exists");
    let upgrade = Arg::new("upgrade")
        .long("upgrade")
        .global(true)
        .action(ArgAction::SetTrue)
        .help("Take over from the relayd that runs with this state directory, without losing a packet");
    let check = Arg::new("check-config")
        .long("check-config")
        .action(ArgAction::SetTrue)
        .help("Only say whether the configuration is valid");
    let keys = KEYS
        .iter()
        .zip(FLAG_NAMES.iter())
        .filter(|(key, _)| key.flag == Flag::Yes);
    let keys = keys.map(|(key, flag)| {
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
    });
    Command::new("relayd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A STUN/TURN relay node")
        .after_help(
            "Every setting can also be given as RELAYD_... in the environment (RELAYD_STORE_URL for \
             --store-url) or in the file (url in [store]). Flags win over the environment, the \
             environment over the file.",
        )
        .arg(config)
        .args(roles())
        .arg(check)
        .arg(upgrade)
        .args(keys)
        .subcommand(Command::new("run").about("Relay until told to stop (the default)"))
        .subcommand(
            Command::new("check-config").about("Only say whether the configuration is valid"),
        )
        .subcommand(
            Command::new("cluster-key").about("Print a fresh cluster key, for cluster_key_file"),
        )
}

/// What the process is to be instead of a relay.
fn roles() -> [Arg; 2] {
    let gateway = Arg::new("gateway")
        .long("gateway")
        .global(true)
        .action(ArgAction::SetTrue)
        .conflicts_with("roles")
        .help("Only answer the admin API for the cluster: no TURN listeners");
    let beside = Arg::new("beside-coturn")
        .long("beside-coturn")
        .global(true)
        .action(ArgAction::SetTrue)
        .help("Speak for the coturn of this host ([beside] in the file): no TURN listeners");
    [gateway, beside]
}
