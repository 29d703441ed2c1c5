//! coturn's configuration, taken as it is: its file, its command line, and what each option comes to.
//!
//! Everything is translated into the tree that a `relayd.toml` of the same meaning has ([`toml`] writes
//! it), so one reader and one set of checks decide about both.

mod ciphers;
mod connection;
mod flags;
mod given;
mod limits;
mod listening;
pub mod options;
mod page;
mod peers;
mod people;
mod process;
mod services;
mod tls;
pub(super) mod toml;
mod translation;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::args::Args;
use super::error::ConfigError;
use super::file;
pub(super) use flags::split;
pub(super) use given::Given;
use options::Takes;
pub use page::option_table;
use translation::{Translated, translate};

/// The file that coturn reads where none is named.
const FILE: &str = "turnserver.conf";

/// What an operator says besides the configuration, of their own free will.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Consent {
    /// Clients may reach this machine through the relay.
    pub(super) open_peers: bool,
    /// The database that packages of coturn make is left alone: another one is named.
    pub(super) ignores_default_database: bool,
}

/// The configuration of coturn that `args` name, translated; `None`: there is none.
pub(super) fn read(args: &Args, errors: &mut Vec<ConfigError>) -> Option<Translated> {
    let path = file_of(args);
    let mut given = Vec::new();
    if let Some(path) = &path {
        let text = match file::read_text(path) {
            Ok(text) => text,
            // Said by whoever reads it as TOML; flags of coturn are its file's neighbours.
            Err(_) if args.coturn.is_empty() && !is_named_so(path) => return None,
            Err(problem) => {
                errors.push(file::unreadable(path, problem));
                return Some(Translated::default());
            }
        };
        let is_coturns = given::is_coturns(path, &text);
        match (is_coturns, args.coturn.as_slice()) {
            (true, _) => given = given::parse(path, &text, errors),
            (false, []) => return None,
            (false, flags) if is_blank(&text) && !flags.is_empty() => {}
            (false, flags) => {
                errors.extend(flags.iter().map(|given| beside_toml(given, path)));
                return None;
            }
        }
    } else if args.coturn.is_empty() && !args.reads_no_file {
        return None;
    }
    given.extend(args.coturn.iter().cloned());
    let consent = Consent {
        open_peers: args.accepts_open_peers,
        ignores_default_database: args.names_store(),
    };
    let mut translated = translate(&given, consent);
    errors.append(&mut translated.errors);
    Some(translated)
}

/// The file that these arguments mean: as given, or where coturn looks; our own default where nothing of
/// coturn's is said.
pub(super) fn file_of(args: &Args) -> Option<PathBuf> {
    if args.reads_no_file {
        return None;
    }
    if let Some(path) = &args.config {
        // Our own files are where they are said to be.
        let is_ours = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let found = given::locate(path).filter(|_| !is_ours);
        return Some(found.unwrap_or_else(|| path.clone()));
    }
    let default = Some(PathBuf::from(Args::DEFAULT_FILE)).filter(|path| path.exists());
    match default {
        None if !args.coturn.is_empty() => given::locate(Path::new(FILE)),
        default => default,
    }
}

fn is_named_so(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE)
}

fn is_blank(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#'))
}

/// Two languages for one configuration would leave open which one wins.
fn beside_toml(given: &Given, path: &Path) -> ConfigError {
    let outcome = given.option.outcome;
    ConfigError {
        origin: given.origin.clone(),
        key: given.option.name.to_owned(),
        problem: format!(
            "is coturn's, and {} is a file of relayd",
            shared::display_safe(&path.to_string_lossy())
        ),
        remedy: match outcome {
            options::Outcome::Honoured(keys) => {
                format!("set {keys} there, or name coturn's file with -c (-n: none)")
            }
            _ => "leave it out, or name coturn's file with -c (-n: none)".to_owned(),
        },
    }
}

/// Where settings of relayd itself would stand, for a key that somebody brought along from coturn.
pub(super) fn hint(key: &str) -> Option<String> {
    let option = options::find(&key.replace('_', "-"))?;
    Some(match option.outcome {
        options::Outcome::Honoured(keys) => format!("it is coturn's: use {keys}"),
        options::Outcome::ByDefault(why) => format!("it is coturn's: remove the line, since {why}"),
        options::Outcome::Message(what) => format!("it is coturn's: {what}"),
        options::Outcome::Refused(why) => format!("it is coturn's: {why}"),
    })
}
