//! `relayctl import`: looks first, tells what would change, asks, and writes.

use serde_json::json;
use shared::api::{
    ImportOutcome, ImportResult, ImportedUser, RealmDocument, RealmImport, RealmPut,
};
use shared::{Realm, display_safe};

use super::ImportArgs;
use super::plan::{At, OfRealm, gather};
use super::read::Source;
use crate::cli::App;
use crate::cli::app::held;
use crate::cli::documents;
use crate::cli::exit::Failure;
use crate::cli::output::ImportRow;
use crate::cli::permit::Ask;
use crate::guardrails::{Deed, Names};
use crate::realm_document::diff;

/// Users of one call: a call has seconds, and a body of a megabyte holds so many of the longest names.
const CHUNK: usize = 200;
/// Users that are named of each realm.
const NAMED: usize = 20;

/// What is to be done in one realm.
struct Step {
    realm: Realm,
    /// The document, and the revision that it is to replace.
    document: Option<(u64, RealmDocument)>,
    users: Vec<At<ImportedUser>>,
    secrets: Vec<At<String>>,
    /// What is to come of them, in their order.
    expected: ImportResult,
    row: ImportRow,
}

impl Step {
    fn count(&self) -> u64 {
        let settings = u64::from(self.document.is_some());
        (self.users.len() + self.secrets.len()) as u64 + settings
    }
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &ImportArgs) -> Result<(), Failure> {
    let source = Source {
        path: &args.file,
        form: args.form,
        table: args.table.0,
        realm: args.realm.as_ref(),
    };
    let name = source.name();
    let realms = gather(&name, source.rows()?)?;
    let mut steps = Vec::new();
    let mut refused = Vec::new();
    for (realm, of_realm) in realms {
        steps.push(look(app, &name, realm, &of_realm, &mut refused).await?);
    }
    app.terminal.note(&refused.join("\n"));
    let count: u64 = steps.iter().map(Step::count).sum();
    if args.dry_run || count == 0 {
        if count == 0 {
            app.terminal.note("nothing changes");
        }
        show(app, &steps)?;
        return complete(&name, refused.len());
    }
    permit(app, &steps, count)?;
    // What is refused now was not when we looked.
    let mut meanwhile = Vec::new();
    let failed = write_all(app, &name, &mut steps, &mut meanwhile).await;
    app.terminal.note(&meanwhile.join("\n"));
    show(app, &steps)?;
    match failed {
        Some(failure) => Err(Failure::Partial(format!(
            "{failure}\nof what is pending some may have been done; the same command goes on from there"
        ))),
        None => complete(&name, refused.len() + meanwhile.len()),
    }
}

/// Whether all rows were taken.
fn complete(file: &str, refused: usize) -> Result<(), Failure> {
    match refused {
        0 => Ok(()),
        count => Err(Failure::Partial(format!(
            "{count} rows of {file} are refused"
        ))),
    }
}

fn refused_user(file: &str, user: &At<ImportedUser>, reason: &str) -> String {
    let shown = display_safe(&user.1.name);
    format!("{file}:{}: user {shown}: {reason}", user.0)
}

fn refused_secret(file: &str, secret: &At<String>, reason: &str) -> String {
    format!("{file}:{}: secret: {reason}", secret.0)
}

/// What one realm's part of the file would change.
async fn look(
    app: &mut App<'_, '_>,
    file: &str,
    realm: Realm,
    of_realm: &OfRealm,
    refused: &mut Vec<String>,
) -> Result<Step, Failure> {
    let mut row = ImportRow::new(&realm);
    let mut notes = Vec::new();
    let mut document = None;
    if !of_realm.settings.is_empty() {
        let before = documents::existing(app, &realm).await?;
        let revision = before.as_ref().map_or(0, |view| view.revision);
        let before = before.map(|view| view.document).unwrap_or_default();
        let after = of_realm.applied(&before);
        after.validate().map_err(|errors| {
            let lines = of_realm.settings.iter().map(|(line, _)| line.to_string());
            let lines = lines.collect::<Vec<_>>().join(", ");
            let errors = errors.join("; ");
            Failure::Usage(format!("{file}: lines {lines}: {errors}; nothing was done"))
        })?;
        row.settings = diff(&before, &after);
        if !row.settings.is_empty() {
            notes.extend(row.settings.iter().map(|change| format!("  {change}")));
            document = Some((revision, after));
        }
    }
    let users = of_realm.users();
    let secrets = of_realm.secrets.iter();
    let secrets: Vec<_> = secrets
        .map(|(line, value)| (*line, value.expose().clone()))
        .collect();
    let mut outcomes = ImportResult::default();
    call(app, &realm, &users, &secrets, true, &mut outcomes).await?;
    let mut expected = ImportResult::default();
    let mut wanted_users = Vec::new();
    for (user, outcome) in users.into_iter().zip(outcomes.users) {
        let sign = row.count(&outcome);
        if let ImportOutcome::Refused(reason) = outcome {
            refused.push(refused_user(file, &user, &reason));
        } else if let Some(sign) = sign {
            notes.push(format!("  {sign} user {}", display_safe(&user.1.name)));
            wanted_users.push(user);
            expected.users.push(outcome);
        }
    }
    let mut wanted_secrets = Vec::new();
    for (secret, outcome) in secrets.into_iter().zip(outcomes.secrets) {
        let sign = row.count(&outcome);
        if let ImportOutcome::Refused(reason) = outcome {
            refused.push(refused_secret(file, &secret, &reason));
        } else if let Some(sign) = sign {
            notes.push(format!("  {sign} secret of line {}", secret.0));
            wanted_secrets.push(secret);
            expected.secrets.push(outcome);
        }
    }
    tell(app, &realm, &notes);
    row.pending = (wanted_users.len() + wanted_secrets.len() + row.settings.len()) as u64;
    Ok(Step {
        realm,
        document,
        users: wanted_users,
        secrets: wanted_secrets,
        expected,
        row,
    })
}

/// Tells what would change in a realm, the first of it.
fn tell(app: &mut App<'_, '_>, realm: &Realm, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    app.terminal.note(&format!("realm {realm}:"));
    app.terminal
        .note(&notes[..notes.len().min(NAMED)].join("\n"));
    if notes.len() > NAMED {
        let more = notes.len() - NAMED;
        app.terminal.note(&format!("  and {more} more"));
    }
}

fn permit(app: &mut App<'_, '_>, steps: &[Step], count: u64) -> Result<(), Failure> {
    let named = |wanted: fn(&Step) -> bool| {
        let steps = steps.iter().filter(|step| wanted(step));
        steps.map(|step| &step.realm).collect::<Vec<_>>()
    };
    let documents = named(|step| step.document.is_some());
    if !documents.is_empty() {
        let deed = Deed {
            count: documents.len() as u64,
            realms: Names::all(documents),
            ..Deed::of_cluster("realm.put")
        };
        app.judge(&deed)?;
    }
    let deed = Deed {
        realms: Names::all(named(|step| step.count() > 0)),
        count,
        ..Deed::of_cluster("realm.import")
    };
    let users: usize = steps.iter().map(|step| step.users.len()).sum();
    let secrets: usize = steps.iter().map(|step| step.secrets.len()).sum();
    let realms = named(|step| step.document.is_some()).len();
    let question = format!(
        "{users} users, {secrets} secrets and the settings of {realms} realms are written."
    );
    app.permit(&deed, &question, Ask::Yes).map(drop)
}

/// Writes what is to be done, up to what fails; rows tell how far it came, `refused` what a node did not
/// take.
async fn write_all(
    app: &mut App<'_, '_>,
    file: &str,
    steps: &mut [Step],
    refused: &mut Vec<String>,
) -> Option<Failure> {
    for step in steps.iter_mut() {
        if let Err(failure) = write(app, file, step, refused).await {
            let realm = display_safe(step.realm.as_str()).into_owned();
            return Some(Failure::Other(format!("{realm}: {failure}")));
        }
    }
    None
}

async fn write(
    app: &mut App<'_, '_>,
    file: &str,
    step: &mut Step,
    refused: &mut Vec<String>,
) -> Result<(), Failure> {
    if let Some((revision, document)) = step.document.take() {
        let put = RealmPut {
            document,
            reason: app.global.reason.clone(),
        };
        let written = app.api.put_realm(&step.realm, revision, &put).await;
        written.map_err(|error| held(&format!("realm {}", step.realm), revision, error))?;
        step.row.done(step.row.settings.len());
    }
    let mut outcomes = ImportResult::default();
    let (users, secrets) = (&step.users, &step.secrets);
    let done = call(app, &step.realm, users, secrets, false, &mut outcomes).await;
    let expected = step.expected.users.iter().zip(&step.users);
    for ((expected, user), outcome) in expected.zip(&outcomes.users) {
        step.row.settle(expected, outcome);
        if let ImportOutcome::Refused(reason) = outcome {
            refused.push(refused_user(file, user, reason));
        }
    }
    let expected = step.expected.secrets.iter().zip(&step.secrets);
    for ((expected, secret), outcome) in expected.zip(&outcomes.secrets) {
        step.row.settle(expected, outcome);
        if let ImportOutcome::Refused(reason) = outcome {
            refused.push(refused_secret(file, secret, reason));
        }
    }
    done
}

/// Imports in calls of a size that a store does in time; `all` gets what came of those that were answered.
async fn call(
    app: &App<'_, '_>,
    realm: &Realm,
    users: &[At<ImportedUser>],
    secrets: &[At<String>],
    dry_run: bool,
    all: &mut ImportResult,
) -> Result<(), Failure> {
    let reason = &app.global.reason;
    if !secrets.is_empty() {
        let import = RealmImport {
            secrets: secrets.iter().map(|(_, value)| value.clone()).collect(),
            dry_run,
            reason: reason.clone(),
            ..RealmImport::default()
        };
        let result = app.api.import_realm(realm, &import).await?;
        all.secrets.extend(result.secrets);
    }
    for chunk in users.chunks(CHUNK) {
        let import = RealmImport {
            users: chunk.iter().map(|(_, user)| user.clone()).collect(),
            dry_run,
            reason: reason.clone(),
            ..RealmImport::default()
        };
        let result = app.api.import_realm(realm, &import).await?;
        all.users.extend(result.users);
    }
    Ok(())
}

fn show(app: &mut App<'_, '_>, steps: &[Step]) -> Result<(), Failure> {
    let rows: Vec<_> = steps.iter().map(|step| step.row.clone()).collect();
    let document = json!({ "schema": "imports/1", "realms": rows });
    app.document(&document, &rows)
}
