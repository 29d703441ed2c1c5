//! `relayctl context`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::app::now_ms;
use super::args::Global;
use super::config_path;
use super::exit::Failure;
use super::output::{Field, ListWriter, Selection, Shown, Shows, Style, Summary};
use super::terminal::Terminal;
use crate::contexts::{Confirm, Context, Contexts, Environment};

/// Verbs of `context`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts
    List,
    /// Use a context from now on
    Use {
        /// Its name
        name: String,
    },
    /// Add or replace a context
    Add {
        /// Its name
        name: String,
        /// As in unix:/path, https://host:port or ssh://host
        address: String,
        /// A private file with a token
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// PEM certificates that the node's certificate must lead to
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Have the console ask for the context's name before something ends
        #[arg(long)]
        confirm_by_name: bool,
    },
    /// Remove a context
    Rm {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Listed {
    name: String,
    address: String,
    current: bool,
    rw: bool,
}

impl Shows for Listed {
    const SCHEMA: &'static str = "contexts/1";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("name", Shown::Table, Style::Text, |row| json!(row.name)),
        Field::new("current", Shown::Table, Style::Text, |row| {
            json!(row.current)
        }),
        Field::new("address", Shown::Table, Style::Text, |row| {
            json!(row.address)
        }),
        Field::new("rw", Shown::Table, Style::Text, |row| json!(row.rw)),
    ];

    fn id(&self) -> String {
        self.name.clone()
    }
}

pub(super) fn run(
    command: &ContextCommand,
    global: &Global,
    env: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mut contexts = Contexts::load(&config_path(global, env))?;
    match command {
        ContextCommand::List => return list(&contexts, global, terminal),
        ContextCommand::Use { name } => contexts.set_current(name)?,
        ContextCommand::Add {
            name,
            address,
            token_file,
            ca,
            confirm_by_name,
        } => {
            if name.contains(':') {
                let what = "a context's name has no colon: that would be an address";
                return Err(Failure::Usage(what.to_owned()));
            }
            let mut context = Context::new(address);
            context.token_file.clone_from(token_file);
            context.ca.clone_from(ca);
            context.rw = global.rw;
            if *confirm_by_name {
                context.confirm = Confirm::Type;
            }
            contexts.add(name, context)?;
        }
        ContextCommand::Rm { name } => contexts.remove(name)?,
    }
    terminal.note(&format!("{} is written", contexts.path.display()));
    Ok(())
}

fn list(contexts: &Contexts, global: &Global, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let items: Vec<_> = contexts
        .contexts
        .iter()
        .map(|(name, context)| Listed {
            name: name.clone(),
            address: context.address.clone(),
            current: contexts.current.as_deref() == Some(name),
            rw: context.rw,
        })
        .collect();
    let selection = Selection::new(global.output, &global.fields, global.ascii)?;
    let mut writer = ListWriter::new(terminal.out, &selection);
    let (as_of_ms, count) = (now_ms(), items.len() as u64);
    writer.rows(as_of_ms, &items)?;
    let summary = Summary {
        as_of_ms,
        matched: count,
        total: count,
        missing: Vec::new(),
        next: None,
    };
    Ok(writer.end(&summary)?)
}
