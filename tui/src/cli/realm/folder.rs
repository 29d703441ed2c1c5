//! `relayctl realm export` and `relayctl realm apply -f DIR`: all realms as files, for version control.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use shared::Realm;
use shared::api::{ListQuery, RealmDocument, RealmView, route};
use shared::display_safe;

use super::apply::{blast_radius, document, existing, read};
use super::write;
use crate::cli::App;
use crate::cli::exit::Failure;
use crate::cli::output::RealmStepRow;
use crate::cli::permit::Ask;
use crate::guardrails::Deed;
use crate::realm_document::{diff, to_toml};

/// What files of realms end with.
const EXTENSION: &str = "toml";
/// The most files in a folder.
const MAX_FILES: usize = 10_000;
/// Realms asked for at once.
const PAGE: u32 = 500;

/// Writes a file per realm: `REALM.toml`, with what a file name cannot hold percent-encoded.
pub(super) async fn export(app: &mut App<'_, '_>, folder: &Path) -> Result<(), Failure> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::Other(format!("{}: {error}", path.display()))
    };
    let realms = all(app).await?;
    std::fs::create_dir_all(folder).map_err(|error| fail(folder, &error))?;
    let mut rows = Vec::new();
    for view in &realms {
        let path = file_of(folder, &view.name);
        // The revision is not in it: a file that nobody changed stays the same.
        let title = format!("realm {}", display_safe(view.name.as_str()));
        let text = to_toml(&title, &view.document).map_err(|why| fail(&path, &why))?;
        let before = std::fs::read_to_string(&path).ok();
        let step = match before {
            Some(before) if before == text => "unchanged",
            Some(_) => "changed",
            None => "new",
        };
        if step != "unchanged" {
            let mut file =
                tempfile::NamedTempFile::new_in(folder).map_err(|error| fail(folder, &error))?;
            file.write_all(text.as_bytes())
                .map_err(|error| fail(&path, &error))?;
            file.persist(&path).map_err(|error| fail(&path, &error))?;
        }
        rows.push(RealmStepRow {
            realm: view.name.clone(),
            step: step.to_owned(),
            changes: vec![path.display().to_string()],
        });
    }
    finish(app, &rows)
}

/// A realm whose file says something else than the cluster.
struct Step {
    realm: Realm,
    revision: u64,
    after: RealmDocument,
    row: RealmStepRow,
}

/// Shows what the files of a folder would change, asks once, and writes realm by realm, each only if
/// nobody changed it meanwhile. Realms without a file stay as they are.
pub(super) async fn apply(
    app: &mut App<'_, '_>,
    folder: &Path,
    dry_run: bool,
) -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut rows = Vec::new();
    for (realm, path) in files(folder)? {
        let before = existing(app, &realm).await?;
        let base = document(before.as_ref());
        let after = read(&path, &base)?;
        let mut changes = diff(&base, &after);
        let step = match (&before, changes.is_empty()) {
            (None, _) => "create",
            (Some(_), false) => "change",
            (Some(_), true) => "unchanged",
        };
        if step != "unchanged" {
            app.judge(&Deed::of_realm("realm.put", &realm))?;
            changes.extend(blast_radius(app, &realm, &after).await?);
        }
        let row = RealmStepRow {
            realm: realm.clone(),
            step: step.to_owned(),
            changes,
        };
        if step == "unchanged" {
            rows.push(row);
            continue;
        }
        steps.push(Step {
            realm,
            revision: before.map_or(0, |view| view.revision),
            after,
            row,
        });
    }
    if dry_run || steps.is_empty() {
        rows.extend(steps.into_iter().map(|step| step.row));
        return finish(app, &rows);
    }
    for step in &steps {
        let lines = step.row.changes.join("\n  ");
        let realm = display_safe(step.realm.as_str()).into_owned();
        app.terminal
            .note(&format!("{} {realm}:\n  {lines}", step.row.step));
    }
    let question = format!("{} realms are written.", steps.len());
    let deed = Deed::of_realm("realm.put", &steps[0].realm);
    app.permit(&deed, &question, Ask::Yes)?;
    let mut failed = Vec::new();
    for mut step in steps {
        let written = write(app, &step.realm, step.revision, step.after).await;
        if let Err(failure) = written {
            failed.push(format!("{}: {failure}", display_safe(step.realm.as_str())));
            "failed".clone_into(&mut step.row.step);
        }
        rows.push(step.row);
    }
    finish(app, &rows)?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Partial(failed.join("\n"))),
    }
}

fn finish(app: &mut App<'_, '_>, rows: &[RealmStepRow]) -> Result<(), Failure> {
    let document = json!({ "schema": "realm-steps/1", "realms": rows });
    app.document(&document, rows)
}

async fn all(app: &App<'_, '_>) -> Result<Vec<RealmView>, Failure> {
    let mut realms = Vec::new();
    let mut query = ListQuery {
        limit: Some(PAGE),
        sort: Some("realm:asc".to_owned()),
        ..ListQuery::default()
    };
    loop {
        let page = app.api.realms(&query).await?;
        realms.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(realms),
        }
    }
}

fn file_of(folder: &Path, realm: &Realm) -> PathBuf {
    let name = route::encode(realm.as_str());
    // `..` and hidden files are no names for realms.
    let name = match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    };
    folder.join(format!("{name}.{EXTENSION}"))
}

/// The files of a folder with the realms that they are named for, by name.
fn files(folder: &Path) -> Result<Vec<(Realm, PathBuf)>, Failure> {
    let fail = |what: String| Failure::Usage(format!("{}: {what}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|error| fail(error.to_string()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| fail(error.to_string()))?.path();
        if path.extension().is_none_or(|end| end != EXTENSION) || !path.is_file() {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.and_then(decode).and_then(|name| name.parse().ok());
        let realm: Realm =
            name.ok_or_else(|| fail(format!("{} is not named for a realm", path.display())))?;
        found.push((realm, path));
        if found.len() > MAX_FILES {
            return Err(fail(format!("more than {MAX_FILES} files")));
        }
    }
    if found.is_empty() {
        return Err(fail(format!(
            "no file ends with .{EXTENSION}; 'realm export' writes them"
        )));
    }
    found.sort();
    Ok(found)
}

/// Undoes the percent-encoding; `None`: it is none.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
