//! `relayctl realm history`, `diff` and `undo`.

use clap::Args;
use shared::Realm;
use shared::api::{RealmDiffQuery, RealmDocument, RealmRevision, RealmUndo};

use super::apply::{blast_radius, existing};
use crate::cli::App;
use crate::cli::app::held;
use crate::cli::exit::Failure;
use crate::cli::permit::Ask;
use crate::guardrails::Deed;
use crate::realm_document::diff;

/// Two revisions.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The realm
    realm: Realm,
    /// The earlier revision; the one before the later unless given
    from: Option<u64>,
    /// The later revision; the latest unless given
    to: Option<u64>,
}

/// Which revision comes back.
#[derive(Args, Debug)]
pub struct UndoArgs {
    /// The realm; one that was deleted comes back, too
    realm: Realm,
    /// The revision whose document comes back; the one before the latest unless given
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Only if it still is at this revision; 0: only if it is deleted
    #[arg(long, value_name = "N")]
    if_rev: Option<u64>,
}

pub(super) async fn history(app: &mut App<'_, '_>, realm: &Realm) -> Result<(), Failure> {
    let page = app.api.realm_revisions(realm).await?;
    app.whole(page)
}

pub(super) async fn compare(app: &mut App<'_, '_>, args: &DiffArgs) -> Result<(), Failure> {
    let query = RealmDiffQuery {
        from: args.from,
        to: args.to,
    };
    let diff = app.api.realm_diff(&args.realm, &query).await?;
    app.terminal
        .note(&format!("revision {} -> {}", diff.from, diff.to));
    app.document(&diff, &diff.changes)
}

pub(super) async fn undo(app: &mut App<'_, '_>, args: &UndoArgs) -> Result<(), Failure> {
    let name = &args.realm;
    let revisions = app.api.realm_revisions(name).await?.items;
    let number = target(&revisions, args.to)?;
    let back = app.api.realm_revision(name, number).await?;
    let Some(after) = back.document else {
        let why = format!(
            "with revision {number} the realm was deleted: 'realm rm' deletes it, --to names another"
        );
        return Err(Failure::Usage(why));
    };
    let before = existing(app, name).await?;
    let (revision, base) = match &before {
        Some(realm) => (realm.revision, realm.document.clone()),
        None => (0, RealmDocument::default()),
    };
    let deed = Deed::of_realm("realm.undo", name);
    app.judge(&deed)?;
    let effects = blast_radius(app, name, &after).await?;
    let what = match revision {
        0 => format!("Realm {name} comes back as it was at revision {number}."),
        _ => format!("Realm {name} goes back from revision {revision} to {number}."),
    };
    app.terminal.note(&what);
    app.terminal.note(&diff(&base, &after).join("\n"));
    app.terminal.note(&effects.join("\n"));
    app.permit(&deed, "", Ask::Yes)?;
    let expected = args.if_rev.unwrap_or(revision);
    let undo = RealmUndo {
        revision: Some(number),
        reason: app.global.reason.clone(),
    };
    let undone = app.api.undo_realm(name, expected, &undo).await;
    let realm = undone.map_err(|error| held(&format!("realm {name}"), expected, error))?;
    app.show(&realm)
}

/// The revision that is meant.
fn target(revisions: &[RealmRevision], asked: Option<u64>) -> Result<u64, Failure> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let before = revisions.get(1).map(|revision| revision.revision);
    before.ok_or_else(|| {
        let why = "there is no earlier revision: edit the realm, or delete it with 'realm rm'";
        Failure::Usage(why.to_owned())
    })
}
