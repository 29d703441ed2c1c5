//! The configuration file of `relayctl`: contexts, each an address with what it takes to use it.
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! address = "https://fra1.example.org:5766"
//! token_file = "/etc/relayctl/prod.token"
//! ca = "/etc/relayctl/prod-ca.pem"
//! rw = true
//! confirm = "type"
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::Secret;
use toml::{Table, Value};

use crate::client::{Address, AddressError, ConnectOptions};
use crate::guardrails::{Guardrails, Rule};

#[cfg(test)]
mod tests;

/// Where the console keeps saved views: below `$XDG_STATE_HOME`, else below `~/.local/state`.
#[must_use]
pub fn saved_views(env: Environment<'_>) -> PathBuf {
    directory(env, "XDG_STATE_HOME", ".local/state").join("relayctl/views.toml")
}

/// Sockets that are tried, in this order, when nothing names a node.
const SYSTEM_SOCKETS: [&str; 2] = ["/run/relayd/relayd.sock", "/var/lib/relayd/relayd.sock"];
/// The largest configuration, token or CA file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Looks up an environment variable; tests bring their own environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that does not say what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A context that is not in the file.
    #[error("there is no context '{}' in {}{}", shared::display_safe(name), path.display(), hint(nearest.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nothing names a node, and none of the usual sockets is there.
    #[error(
        "no node to talk to: none of {} exists; name one with --context, RELAYCTL_ADDRESS or \
         `relayctl context add`",
        .0.join(", ")
    )]
    Nowhere(Vec<String>),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// How the console makes sure before something ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// y or n.
    #[default]
    Ask,
    /// The name of the context must be typed.
    Type,
}

/// One context as the file has it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// As in `unix:/run/relayd/relayd.sock`.
    pub address: String,
    /// A bearer token; the file must be private then.
    #[serde(default)]
    token: Option<String>,
    /// Or a private file with nothing but the token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// PEM certificates that the node's certificate must lead to, instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether the console may change things without `--rw`.
    #[serde(default)]
    pub rw: bool,
    /// How the console makes sure.
    #[serde(default)]
    pub confirm: Confirm,
    /// Guardrails of this context, besides those of the whole file.
    #[serde(default)]
    pub guardrails: Vec<Rule>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The configuration file.
pub struct Contexts {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// The context in use.
    pub current: Option<String>,
    /// All contexts by name.
    pub contexts: BTreeMap<String, Context>,
    /// Rules that make changes harder, in all contexts that they name.
    pub guardrails: Vec<Rule>,
    /// All of the file, so that what is not ours survives a change.
    table: Table,
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("path", &self.path)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

/// A node to talk to, and how.
#[derive(Debug)]
pub struct Resolved {
    /// The context's name, or the address where there is no context.
    pub name: String,
    /// Where the node is.
    pub address: Address,
    /// Token, CA and timeouts.
    pub options: ConnectOptions,
    /// Whether the console may change things without `--rw`.
    pub rw: bool,
    /// How the console makes sure.
    pub confirm: Confirm,
    /// The rules for changes in it.
    pub guardrails: Guardrails,
}

/// The usual place of the file: `$XDG_CONFIG_HOME/relayctl/relayctl.toml`, else below `~/.config`.
#[must_use]
pub fn default_path(env: Environment<'_>) -> PathBuf {
    directory(env, "XDG_CONFIG_HOME", ".config").join("relayctl/relayctl.toml")
}

fn directory(env: Environment<'_>, variable: &str, below_home: &str) -> PathBuf {
    // The XDG specification has relative values ignored.
    let named = env(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || env("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    named.unwrap_or_else(|| home().join(below_home))
}

/// Sockets that are tried when nothing names a node.
#[must_use]
pub fn usual_sockets(env: Environment<'_>) -> Vec<PathBuf> {
    let state = directory(env, "XDG_STATE_HOME", ".local/state");
    let system = SYSTEM_SOCKETS.iter().map(PathBuf::from);
    system.chain([state.join("relayd/relayd.sock")]).collect()
}

impl Contexts {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or has a wrong or unknown key.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            _ => read(path)?,
        };
        let wrong = |reason: String| ContextError::Content {
            path: path.into(),
            reason,
        };
        // The message of a TOML error quotes the line, which can be the one with the token.
        let table: Table = toml::from_str(&text).map_err(|e| wrong(with_line(&text, &e)))?;
        let current = match table.get("current") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(wrong("current: the name of a context in quotes".to_owned())),
        };
        let mut contexts: BTreeMap<String, Context> = part(&table, "contexts").map_err(wrong)?;
        let guardrails: Vec<Rule> = part(&table, "guardrails").map_err(wrong)?;
        let guardrails = checked(guardrails).map_err(wrong)?;
        for context in contexts.values_mut() {
            let own = std::mem::take(&mut context.guardrails);
            context.guardrails = checked(own).map_err(wrong)?;
        }
        let contexts = Self {
            path: path.to_owned(),
            current,
            contexts,
            guardrails,
            table,
        };
        if contexts
            .contexts
            .values()
            .any(|context| context.token.is_some())
        {
            check_private(path)?;
        }
        Ok(contexts)
    }

    /// The context called `name`.
    ///
    /// # Errors
    /// There is none; the error names the one that comes nearest.
    pub fn get(&self, name: &str) -> Result<&Context, ContextError> {
        self.contexts
            .get(name)
            .ok_or_else(|| ContextError::Unknown {
                name: name.to_owned(),
                path: self.path.clone(),
                nearest: shared::filter::nearest(name, self.contexts.keys().map(String::as_str))
                    .map(str::to_owned),
            })
    }

    /// Makes `name` the context in use.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn set_current(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.table
            .insert("current".into(), Value::String(name.into()));
        self.current = Some(name.into());
        self.save()
    }

    /// Adds or replaces a context. Comments in the file are lost; unknown keys are kept.
    ///
    /// # Errors
    /// The address is none, or the file cannot be written.
    pub fn add(&mut self, name: &str, context: Context) -> Result<(), ContextError> {
        context.address.parse::<Address>()?;
        let mut table = Table::new();
        table.insert("address".into(), Value::String(context.address.clone()));
        let paths = [("token_file", &context.token_file), ("ca", &context.ca)];
        for (key, path) in paths
            .into_iter()
            .filter_map(|(k, p)| Some((k, p.as_ref()?)))
        {
            table.insert(key.into(), Value::String(path.display().to_string()));
        }
        if context.rw {
            table.insert("rw".into(), Value::Boolean(true));
        }
        if context.confirm == Confirm::Type {
            table.insert("confirm".into(), Value::String("type".into()));
        }
        let contexts = self
            .table
            .entry("contexts")
            .or_insert_with(|| Table::new().into());
        if let Value::Table(contexts) = contexts {
            // Guardrails are written by hand; to replace an address must not take them away.
            let kept = contexts.get(name).and_then(|old| old.get("guardrails"));
            if let Some(kept) = kept.cloned() {
                table.insert("guardrails".into(), kept);
            }
            contexts.insert(name.into(), table.into());
        }
        self.contexts.insert(name.into(), context);
        self.save()
    }

    /// Removes a context.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn remove(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.contexts.remove(name);
        if let Some(Value::Table(contexts)) = self.table.get_mut("contexts") {
            contexts.remove(name);
        }
        if self.current.as_deref() == Some(name) {
            self.current = None;
            self.table.remove("current");
        }
        self.save()
    }

    /// Writes a private file beside and renames it, so that a crash leaves the old or the new one.
    fn save(&self) -> Result<(), ContextError> {
        let fail = |error| ContextError::File {
            path: self.path.clone(),
            error,
        };
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(fail)?;
        let new = self.path.with_extension("toml.new");
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(fail)?;
        file.write_all(self.table.to_string().as_bytes())
            .map_err(fail)?;
        file.sync_all().map_err(fail)?;
        fs::rename(&new, &self.path).map_err(fail)
    }

    /// Finds the node to talk to: `named` (a context or an address), else `RELAYCTL_ADDRESS`, else
    /// the context in use, else the first usual socket that exists.
    ///
    /// # Errors
    /// An unknown context, a wrong address, a token or CA file that cannot be used, or nowhere to go.
    pub fn resolve(
        &self,
        named: Option<&str>,
        env: Environment<'_>,
    ) -> Result<Resolved, ContextError> {
        let from_env = || env("RELAYCTL_ADDRESS").and_then(|text| text.into_string().ok());
        let token = || {
            let token = env("RELAYCTL_TOKEN").and_then(|text| text.into_string().ok());
            token.filter(|token| !token.is_empty()).map(Secret::new)
        };
        if let Some(name) = named.filter(|name| self.contexts.contains_key(*name)) {
            return self.resolve_context(name, token());
        }
        let by_address = named.map(str::to_owned).filter(|name| name.contains(':'));
        if let (Some(name), None) = (named, &by_address) {
            self.get(name)?;
        }
        if let Some(address) = by_address.or_else(from_env) {
            return Ok(self.plain(address.parse()?, token()));
        }
        if let Some(name) = &self.current {
            return self.resolve_context(name, token());
        }
        let sockets = usual_sockets(env);
        match sockets.iter().find(|path| path.exists()) {
            Some(path) => Ok(self.plain(Address::Unix(path.clone()), token())),
            None => Err(ContextError::Nowhere(
                sockets
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect(),
            )),
        }
    }

    fn resolve_context(
        &self,
        name: &str,
        from_env: Option<Secret<String>>,
    ) -> Result<Resolved, ContextError> {
        let context = self.get(name)?;
        let token = match (from_env, &context.token, &context.token_file) {
            (Some(token), _, _) => Some(token),
            (None, Some(token), _) => Some(Secret::new(token.clone())),
            (None, None, Some(path)) => {
                check_private(path)?;
                Some(Secret::new(read(path)?.trim().to_owned()))
            }
            (None, None, None) => None,
        };
        let ca_pem = context
            .ca
            .as_deref()
            .map(read)
            .transpose()?
            .map(String::into_bytes);
        Ok(Resolved {
            name: name.to_owned(),
            address: context.address.parse()?,
            options: ConnectOptions {
                token,
                ca_pem,
                ..ConnectOptions::default()
            },
            rw: context.rw,
            confirm: context.confirm,
            guardrails: self.guardrails(name),
        })
    }

    /// A node that was named by its address.
    fn plain(&self, address: Address, token: Option<Secret<String>>) -> Resolved {
        let name = address.to_string();
        // Who spells out the address of a context is held to the rules of that context.
        let same = |context: &Context| context.address.parse().is_ok_and(|a: Address| a == address);
        let context = self.contexts.iter().find(|(_, context)| same(context));
        Resolved {
            guardrails: self.guardrails(context.map_or(&name, |(name, _)| name)),
            name,
            address,
            options: ConnectOptions {
                token,
                ..ConnectOptions::default()
            },
            rw: false,
            confirm: Confirm::Ask,
        }
    }

    /// The rules for changes in the context called `name`.
    fn guardrails(&self, name: &str) -> Guardrails {
        let own = self.contexts.get(name).map(|context| &context.guardrails);
        Guardrails {
            context: name.to_owned(),
            rules: self
                .guardrails
                .iter()
                .chain(own.into_iter().flatten())
                .cloned()
                .collect(),
        }
    }
}

/// A part of the file, or nothing where the file has none.
fn part<T: DeserializeOwned + Default>(table: &Table, key: &str) -> Result<T, String> {
    match table.get(key) {
        None => Ok(T::default()),
        Some(value) => value
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| e.message().to_owned()),
    }
}

fn checked(rules: Vec<Rule>) -> Result<Vec<Rule>, String> {
    rules.into_iter().map(Rule::checked).collect()
}

impl Context {
    /// A context without a token.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            token: None,
            token_file: None,
            ca: None,
            rw: false,
            confirm: Confirm::Ask,
            guardrails: Vec::new(),
        }
    }
}

/// Reads a file of reasonable size.
pub(crate) fn read(path: &Path) -> Result<String, ContextError> {
    let fail = |error| ContextError::File {
        path: path.to_owned(),
        error,
    };
    if fs::metadata(path).map_err(fail)?.len() > MAX_FILE {
        let reason = "larger than 1 MiB".to_owned();
        return Err(ContextError::Content {
            path: path.to_owned(),
            reason,
        });
    }
    fs::read_to_string(path).map_err(fail)
}

/// The message of an error with its line, which is not quoted.
fn with_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let lines = before.map(|before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
    let message = error.message();
    lines.map_or_else(
        || message.to_owned(),
        |line| format!("line {line}: {message}"),
    )
}

/// Refuses a file with a token that others can read.
fn check_private(path: &Path) -> Result<(), ContextError> {
    let metadata = fs::metadata(path).map_err(|error| ContextError::File {
        path: path.to_owned(),
        error,
    })?;
    // Root may have made it so on purpose for a group of operators.
    let exposed = if metadata.uid() == 0 { 0o007 } else { 0o077 };
    if metadata.permissions().mode() & exposed == 0 {
        return Ok(());
    }
    let reason = format!(
        "holds a token and others can read it; chmod 600 {}",
        path.display()
    );
    Err(ContextError::Content {
        path: path.to_owned(),
        reason,
    })
}
