//! `relayctl realm`.

mod apply;
mod edit;
mod entries;
mod folder;
mod revisions;

#[cfg(test)]
mod tests;

use clap::Subcommand;
use shared::Realm;
use shared::api::{RealmDocument, RealmPut, RealmView};
use shared::filter::REALM_COLUMNS;

use super::App;
use super::app::{Columns, held};
use super::args::{ListArgs, columns_help};
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;
use crate::realm_document::{self, Setting};

/// Verbs of `realm`.
#[derive(Debug, Subcommand)]
pub enum RealmCommand {
    /// List realms
    #[command(after_long_help = columns_help(REALM_COLUMNS))]
    List(ListArgs),
    /// Show one realm
    Show {
        /// The realm
        realm: Realm,
    },
    /// Create a realm
    Add {
        /// The realm
        realm: Realm,
        /// Settings, as in max_sessions=100
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
    },
    /// Change settings, such as max_sessions, max_rate_bps, denied_peers or note ('realm edit' shows
    /// all of them); 'none' removes one
    Set {
        /// The realm
        realm: Realm,
        /// As in max_sessions=100 max_rate_bps=2M denied_peers=192.0.2.0/24,198.51.100.7
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
        /// Only if it still is at this revision
        #[arg(long, value_name = "N")]
        if_rev: Option<u64>,
    },
    /// Change settings in $VISUAL or $EDITOR
    Edit {
        /// The realm
        realm: Realm,
    },
    /// Tell what a changed document would do, and change nothing
    Preview(apply::PreviewArgs),
    /// Write a whole document from a file, or all of a folder; shows what changes and what it does, and
    /// asks
    Apply(apply::ApplyArgs),
    /// Write a file per realm into a folder: what 'realm apply -f' reads
    Export {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// Web origins whose clients authenticate in a realm
    #[command(subcommand)]
    Origin(entries::OriginCommand),
    /// Rules for peers of a realm
    #[command(subcommand)]
    PeerRule(entries::PeerRuleCommand),
    /// Who changed a realm, when, why, and what: the latest 100 revisions; of a deleted realm, too
    History {
        /// The realm
        realm: Realm,
    },
    /// What differs between two revisions of a realm
    Diff(revisions::DiffArgs),
    /// Bring the document of an earlier revision back; shows what changes and what it does, and asks
    Undo(revisions::UndoArgs),
    /// Delete a realm: its document, not its users
    Rm {
        /// The realm
        realm: Realm,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &RealmCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        RealmCommand::List(list) => {
            let columns = Columns {
                all: REALM_COLUMNS,
                stable: "realm:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.realms(&query).await },
            )
            .await
        }
        RealmCommand::Show { realm } => {
            let realm = api.realm(realm).await?;
            app.show(&realm)
        }
        RealmCommand::Add { realm, settings } => {
            let mut document = RealmDocument::default();
            apply(&mut document, settings)?;
            let question = format!("Realm {realm} is created.");
            app.permit(&Deed::of_realm("realm.put", realm), &question, Ask::Nothing)?;
            let created = write(app, realm, 0, document).await?;
            app.show(&created)
        }
        RealmCommand::Set {
            realm,
            settings,
            if_rev,
        } => set(app, realm, settings, *if_rev).await,
        RealmCommand::Edit { realm } => edit::run(app, realm).await,
        RealmCommand::Preview(args) => apply::preview(app, args).await,
        RealmCommand::Apply(args) => apply::run(app, args).await,
        RealmCommand::Export { folder } => folder::export(app, folder).await,
        RealmCommand::Origin(command) => entries::origin(app, command).await,
        RealmCommand::PeerRule(command) => entries::peer_rule(app, command).await,
        RealmCommand::History { realm } => revisions::history(app, realm).await,
        RealmCommand::Diff(args) => revisions::compare(app, args).await,
        RealmCommand::Undo(args) => revisions::undo(app, args).await,
        RealmCommand::Rm { realm } => remove(app, realm).await,
    }
}

fn apply(document: &mut RealmDocument, settings: &[Setting]) -> Result<(), Failure> {
    for setting in settings {
        setting.apply(document).map_err(Failure::Usage)?;
    }
    document
        .validate()
        .map_err(|errors| Failure::Usage(errors.join("\n")))
}

async fn set(
    app: &mut App<'_, '_>,
    name: &Realm,
    settings: &[Setting],
    if_rev: Option<u64>,
) -> Result<(), Failure> {
    let before = app.api.realm(name).await?;
    let mut after = before.document.clone();
    apply(&mut after, settings)?;
    let changes = realm_document::diff(&before.document, &after);
    if changes.is_empty() {
        app.terminal.note("nothing changes");
        return app.show(&before);
    }
    app.terminal.note(&changes.join("\n"));
    let question = format!("Realm {name} is changed.");
    app.permit(&Deed::of_realm("realm.put", name), &question, Ask::Nothing)?;
    let expected = if_rev.unwrap_or(before.revision);
    let realm = write(app, name, expected, after).await?;
    app.show(&realm)
}

/// Writes the document if the revision still is `expected`.
async fn write(
    app: &App<'_, '_>,
    name: &Realm,
    expected: u64,
    document: RealmDocument,
) -> Result<RealmView, Failure> {
    let put = RealmPut {
        document,
        reason: app.global.reason.clone(),
    };
    let written = app.api.put_realm(name, expected, &put).await;
    written.map_err(|error| held(&format!("realm {name}"), expected, error))
}

async fn remove(app: &mut App<'_, '_>, name: &Realm) -> Result<(), Failure> {
    let realm = app.api.realm(name).await?;
    let question = format!(
        "Realm {name} (revision {}) is deleted; {} sessions are in it.",
        realm.revision, realm.sessions
    );
    let deed = Deed::of_realm("realm.delete", name);
    app.permit(&deed, &question, Ask::Type(name.as_str()))?;
    app.api
        .delete_realm(name, realm.revision, &app.global.reason)
        .await?;
    app.terminal.note(&format!("realm {name} is deleted"));
    Ok(())
}
