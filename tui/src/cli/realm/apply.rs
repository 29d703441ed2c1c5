//! `relayctl realm preview` and `relayctl realm apply`: a whole document, and what it would do.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use shared::Realm;
use shared::api::{ErrorKind, RealmDocument, RealmPut, RealmView};

use super::{Setting, write};
use crate::cli::App;
use crate::cli::app::describe_missing;
use crate::cli::exit::Failure;
use crate::cli::permit::Ask;
use crate::client::ClientError;
use crate::guardrails::Deed;
use crate::realm_document::{diff, effects, from_toml};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A document.
#[derive(Args, Debug)]
pub struct PreviewArgs {
    /// The realm
    realm: Realm,
    /// Changes to the document that is there, as in max_sessions=100
    #[arg(value_name = "KEY=VALUE", required_unless_present = "file")]
    settings: Vec<Setting>,
    /// A file with the whole document in TOML, as `realm edit` writes it
    #[arg(short, long, value_name = "FILE", conflicts_with = "settings")]
    file: Option<PathBuf>,
}

/// A document to be written.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// The realm
    #[arg(required_unless_present = "folder", requires = "file")]
    realm: Option<Realm>,
    /// A file with the whole document in TOML, as `realm edit` writes it
    file: Option<PathBuf>,
    /// A folder with a file per realm, as `realm export` writes it; realms without a file stay
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["realm", "file", "if_rev"])]
    folder: Option<PathBuf>,
    /// Only if it still is at this revision; 0: only if it does not exist
    #[arg(long, value_name = "N")]
    if_rev: Option<u64>,
    /// Only tell what it would do
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn preview(app: &mut App<'_, '_>, args: &PreviewArgs) -> Result<(), Failure> {
    let before = existing(app, &args.realm).await?;
    let base = document(before.as_ref());
    let after = match &args.file {
        Some(file) => read(file, &base)?,
        None => {
            let mut after = base.clone();
            super::apply(&mut after, &args.settings)?;
            after
        }
    };
    show(app, &args.realm, &base, &after).await
}

/// Tells what writing `after` would do.
async fn show(
    app: &mut App<'_, '_>,
    name: &Realm,
    before: &RealmDocument,
    after: &RealmDocument,
) -> Result<(), Failure> {
    let put = RealmPut {
        document: after.clone(),
        reason: String::new(),
    };
    let preview = app.api.preview_realm(name, &put).await?;
    app.terminal.note(&diff(before, after).join("\n"));
    app.show(&preview)?;
    if !preview.errors.is_empty() {
        return Err(Failure::Usage(preview.errors.join("\n")));
    }
    describe_missing(&preview.missing).map_or(Ok(()), |text| Err(Failure::Partial(text)))
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &ApplyArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.folder {
        return super::folder::apply(app, folder, args.dry_run).await;
    }
    let (Some(name), Some(file)) = (&args.realm, &args.file) else {
        return Err(Failure::Usage("name a realm and a file".to_owned()));
    };
    let before = existing(app, name).await?;
    let base = document(before.as_ref());
    let after = read(file, &base)?;
    if args.dry_run {
        return show(app, name, &base, &after).await;
    }
    let changes = diff(&base, &after);
    if let (true, Some(before)) = (changes.is_empty(), &before) {
        app.terminal.note("nothing changes");
        return app.show(before);
    }
    let deed = Deed::of_realm("realm.put", name);
    app.judge(&deed)?;
    let effects = blast_radius(app, name, &after).await?;
    app.terminal.note(&changes.join("\n"));
    app.terminal.note(&effects.join("\n"));
    app.permit(&deed, "", Ask::Yes)?;
    let revision = before.map_or(0, |realm| realm.revision);
    let realm = write(app, name, args.if_rev.unwrap_or(revision), after).await?;
    app.show(&realm)
}

/// What the nodes say that writing `document` would do, in sentences.
///
/// # Errors
/// They refuse the document.
pub(super) async fn blast_radius(
    app: &App<'_, '_>,
    name: &Realm,
    document: &RealmDocument,
) -> Result<Vec<String>, Failure> {
    let put = RealmPut {
        document: document.clone(),
        reason: String::new(),
    };
    let preview = app.api.preview_realm(name, &put).await?;
    if !preview.errors.is_empty() {
        return Err(Failure::Usage(preview.errors.join("\n")));
    }
    Ok(effects(&preview, document))
}

/// The realm as it is; `None`: there is none yet.
pub(super) async fn existing(
    app: &App<'_, '_>,
    name: &Realm,
) -> Result<Option<RealmView>, Failure> {
    match app.api.realm(name).await {
        Ok(realm) => Ok(Some(realm)),
        Err(ClientError::Api(error)) if error.error == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn document(realm: Option<&RealmView>) -> RealmDocument {
    realm
        .map(|realm| realm.document.clone())
        .unwrap_or_default()
}

pub(super) fn read(path: &Path, base: &RealmDocument) -> Result<RealmDocument, Failure> {
    let fail = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(|error| fail(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(fail("larger than 1 MiB".to_owned()));
    }
    from_toml(&text, base).map_err(fail)
}
