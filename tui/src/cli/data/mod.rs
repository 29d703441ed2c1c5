//! `relayctl import` and `relayctl export`: users, secrets, limits, origins and rules for peers as rows, in
//! the columns of coturn's tables.

mod export;
mod import;
mod plan;
mod read;
mod table;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use shared::Realm;

use super::App;
use super::exit::Failure;
pub use read::Form;
pub use table::Table;

/// What is imported.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// users, secrets, realm-options, origins, allowed-peers or denied-peers (or coturn's name of the table),
    /// or all
    #[arg(value_parser = which, value_name = "TABLE")]
    table: Which,
    /// The file; -: standard input
    file: PathBuf,
    /// How it is written; without, its name says it (.csv, .tsv, .jsonl)
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// The realm of rows that name none: those of coturn's default realm
    #[arg(short, long, env = "RELAYCTL_REALM")]
    realm: Option<Realm>,
    /// Only tell what it would do
    #[arg(long)]
    dry_run: bool,
}

/// What is exported.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// As for import; all: JSON lines that name their table
    #[arg(value_parser = which, value_name = "TABLE")]
    table: Which,
    /// Of this realm only
    #[arg(short, long, env = "RELAYCTL_REALM")]
    realm: Option<Realm>,
    /// With the keys of users and the values of secrets: whoever reads them can be anybody
    #[arg(long)]
    with_secrets: bool,
}

/// One table, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Which(Option<Table>);

fn which(text: &str) -> Result<Which, String> {
    use clap::ValueEnum as _;
    if text == "all" {
        return Ok(Which(None));
    }
    let known = Table::ALL.map(Table::as_str).join(", ");
    let table = Table::from_str(text, true);
    table
        .map(|table| Which(Some(table)))
        .map_err(|_| format!("one of {known}, or all"))
}

pub(super) async fn import(app: &mut App<'_, '_>, args: &ImportArgs) -> Result<(), Failure> {
    import::run(app, args).await
}

pub(super) async fn export(app: &mut App<'_, '_>, args: &ExportArgs) -> Result<(), Failure> {
    export::run(app, args).await
}
