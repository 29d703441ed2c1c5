//! `relayctl realm edit`: a document in an editor, checked, compared, written if nobody was faster.

use shared::Realm;
use shared::api::{ErrorKind, RealmPut, RealmView};

use super::apply::blast_radius;
use crate::cli::App;
use crate::cli::exit::Failure;
use crate::cli::permit::Ask;
use crate::client::ClientError;
use crate::guardrails::Deed;
use crate::realm_document::{diff, from_toml, rebase, to_toml};

/// How often the editor opens again after a mistake or a lost race.
const MAX_ROUNDS: u32 = 20;

pub(super) async fn run(app: &mut App<'_, '_>, name: &Realm) -> Result<(), Failure> {
    let mut typed = None;
    let result = Box::pin(rounds(app, name, &mut typed)).await;
    if let (Err(_), Some(text)) = (&result, typed) {
        // Whatever went wrong, what was typed is not lost.
        match crate::editor::new_file(&text) {
            Ok(file) => app
                .terminal
                .note(&format!("your text is in {}", file.display())),
            Err(error) => app.terminal.note(&format!("your text is lost: {error}")),
        }
    }
    result
}

async fn rounds(
    app: &mut App<'_, '_>,
    name: &Realm,
    typed: &mut Option<String>,
) -> Result<(), Failure> {
    let deed = Deed::of_realm("realm.put", name);
    app.judge(&deed)?;
    let mut base = app.api.realm(name).await?;
    let mut text = to_toml(&title(&base), &base.document).map_err(Failure::Other)?;
    for _ in 0..MAX_ROUNDS {
        text = app.terminal.asked.edit(&text)?;
        *typed = Some(text.clone());
        let document = match from_toml(&text, &base.document) {
            Ok(document) => document,
            Err(error) => {
                again(app, &error)?;
                continue;
            }
        };
        let changes = diff(&base.document, &document);
        if changes.is_empty() {
            app.terminal.note("nothing changes");
            return Ok(());
        }
        let effects = blast_radius(app, name, &document).await?;
        let question = format!("{}\n{}", changes.join("\n"), effects.join("\n"));
        app.permit(&deed, &question, Ask::Yes)?;
        let put = RealmPut {
            document,
            reason: app.global.reason.clone(),
        };
        match app.api.put_realm(name, base.revision, &put).await {
            Ok(realm) => return app.show(&realm),
            Err(ClientError::Api(error)) if error.error == ErrorKind::RevisionConflict => {
                let theirs = app.api.realm(name).await?;
                let changed = diff(&base.document, &theirs.document).join("\n");
                let by = shared::display_safe(&theirs.changed_by).into_owned();
                again(
                    app,
                    &format!("{by} changed the realm meanwhile:\n{changed}"),
                )?;
                let merged = rebase(&base.document, &put.document, &theirs.document);
                let merged = merged.map_err(Failure::Other)?;
                text = to_toml(&title(&theirs), &merged).map_err(Failure::Other)?;
                base = theirs;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Other(
        "too many attempts; nothing was done".to_owned(),
    ))
}

fn title(realm: &RealmView) -> String {
    format!("Realm {} at revision {}", realm.name, realm.revision)
}

/// Offers the editor again. Never answered by `--yes`: a script would go round for ever.
fn again(app: &mut App<'_, '_>, why: &str) -> Result<(), Failure> {
    app.terminal.confirm(&format!("{why}\nEdit again?"), "y")
}
