//! `relayctl export`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use shared::api::{ListQuery, RealmView, RevealRequest};
use shared::{Realm, display_safe};

use super::ExportArgs;
use super::table::{Limit, Table};
use crate::cli::App;
use crate::cli::documents;
use crate::cli::exit::Failure;
use crate::cli::output::Format;
use crate::cli::permit::Ask;
use crate::guardrails::{Deed, Names};

/// Writes rows as they come.
struct Writer {
    is_json: bool,
    /// Rows name their table.
    names_tables: bool,
    out: csv::Writer<Vec<u8>>,
    lines: Vec<u8>,
}

impl Writer {
    fn row(&mut self, table: Table, values: &[&str]) -> Result<(), Failure> {
        if !self.is_json {
            return self.out.write_record(values).map_err(io);
        }
        let mut object = Map::new();
        if self.names_tables {
            object.insert("table".to_owned(), table.as_str().into());
        }
        for (column, value) in table.columns().iter().zip(values) {
            object.insert((*column).to_owned(), (*value).into());
        }
        self.lines.extend(Value::Object(object).to_string().bytes());
        self.lines.push(b'\n');
        Ok(())
    }

    /// Lets go of what was written so far.
    fn flush(&mut self, app: &mut App<'_, '_>) -> Result<(), Failure> {
        let written = std::mem::replace(&mut self.out, csv::Writer::from_writer(Vec::new()));
        let written = written
            .into_inner()
            .map_err(|error| Failure::Other(error.to_string()))?;
        let mut text = [written, std::mem::take(&mut self.lines)].concat();
        if app.terminal.out_is_terminal {
            // In a file every byte counts; on a terminal foreign names must not steer it.
            let lines = String::from_utf8_lossy(&text);
            let lines = lines
                .lines()
                .map(|line| format!("{}\n", display_safe(line)));
            text = lines.collect::<String>().into_bytes();
        }
        Ok(app.terminal.out.write_all(&text)?)
    }
}

fn io(error: csv::Error) -> Failure {
    Failure::Io(error.into())
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &ExportArgs) -> Result<(), Failure> {
    let table = args.table.0;
    let is_json = match app.global.output {
        Format::Json | Format::Jsonl => true,
        _ if table.is_none() => true,
        Format::Table | Format::Csv => false,
        _ => return Err(Failure::Usage("-o csv or -o jsonl".to_owned())),
    };
    if table == Some(Table::Secrets) && !args.with_secrets {
        let what = "secrets are nothing without their values: add --with-secrets";
        return Err(Failure::Usage(what.to_owned()));
    }
    let wanted = |name: &Realm| args.realm.as_ref().is_none_or(|realm| realm == name);
    let realms = documents::all(app).await?.into_iter();
    let realms: Vec<_> = realms.filter(|view| wanted(&view.name)).collect();
    if let (Some(realm), true) = (&args.realm, realms.is_empty()) {
        return Err(Failure::NotFound(format!("there is no realm {realm}")));
    }
    let mut writer = Writer {
        is_json,
        names_tables: table.is_none(),
        out: csv::Writer::from_writer(Vec::new()),
        lines: Vec::new(),
    };
    if let (Some(table), false) = (table, is_json) {
        writer.row(table, table.columns())?;
    }
    if args.with_secrets && table.is_none_or(|one| matches!(one, Table::Users | Table::Secrets)) {
        let names = Names::all(realms.iter().map(|view| &view.name));
        let deed = Deed {
            realms: names,
            count: realms.len() as u64,
            ..Deed::of_cluster("realm.reveal")
        };
        let question = "Keys and secrets are written out.";
        app.permit(&deed, question, Ask::Nothing)?;
    }
    for one in Table::ALL {
        if table.is_none_or(|table| table == one) {
            write(app, &mut writer, one, &realms, args.with_secrets).await?;
        }
    }
    Ok(())
}

async fn write(
    app: &mut App<'_, '_>,
    writer: &mut Writer,
    table: Table,
    realms: &[RealmView],
    with_secrets: bool,
) -> Result<(), Failure> {
    match table {
        Table::Users if !with_secrets => users(app, writer, realms).await?,
        Table::Users => {
            for view in realms {
                keys(app, writer, &view.name).await?;
            }
        }
        Table::Secrets => {
            for view in realms
                .iter()
                .filter(|view| with_secrets && view.secrets > 0)
            {
                secrets(app, writer, &view.name).await?;
            }
        }
        _ => {
            for view in realms {
                of_document(writer, table, view)?;
            }
        }
    }
    writer.flush(app)
}

fn of_document(writer: &mut Writer, table: Table, view: &RealmView) -> Result<(), Failure> {
    let (realm, document) = (view.name.as_str(), &view.document);
    match table {
        Table::RealmOptions => {
            for (name, limit) in Limit::ALL {
                if let Some(value) = limit.get(document) {
                    writer.row(table, &[realm, name, &value.to_string()])?;
                }
            }
        }
        Table::Origins => {
            for origin in document.whole_origins() {
                writer.row(table, &[&origin, realm])?;
            }
        }
        _ => {
            let ranges = match table {
                Table::AllowedPeers => &document.allowed_peers,
                _ => &document.denied_peers,
            };
            for range in ranges {
                writer.row(table, &[realm, &range.to_coturn()])?;
            }
        }
    }
    Ok(())
}

/// The stored users of all these realms, without keys.
async fn users(
    app: &mut App<'_, '_>,
    writer: &mut Writer,
    realms: &[RealmView],
) -> Result<(), Failure> {
    let mut query = ListQuery {
        sort: Some("user:asc".to_owned()),
        limit: Some(ListQuery::MAX_LIMIT),
        ..ListQuery::default()
    };
    let known: BTreeMap<_, _> = realms.iter().map(|view| (&view.name, ())).collect();
    loop {
        let page = app.api.users(&query).await?;
        let is_empty = page.items.is_empty();
        let stored = page.items.iter();
        for user in stored.filter(|user| user.stored && known.contains_key(&user.realm)) {
            writer.row(Table::Users, &[user.realm.as_str(), &user.name, ""])?;
        }
        writer.flush(app)?;
        query.cursor = page.next;
        if query.cursor.is_none() || is_empty {
            return Ok(());
        }
    }
}

/// The stored users of a realm with their keys.
async fn keys(app: &mut App<'_, '_>, writer: &mut Writer, realm: &Realm) -> Result<(), Failure> {
    let mut request = RevealRequest {
        reason: app.global.reason.clone(),
        ..RevealRequest::default()
    };
    loop {
        let page = app.api.reveal_realm(realm, &request).await?;
        for user in &page.users {
            writer.row(Table::Users, &[realm.as_str(), &user.name, &user.key])?;
        }
        writer.flush(app)?;
        request.after = page.next;
        if request.after.is_none() {
            return Ok(());
        }
    }
}

async fn secrets(app: &mut App<'_, '_>, writer: &mut Writer, realm: &Realm) -> Result<(), Failure> {
    let request = RevealRequest {
        secrets_only: true,
        reason: app.global.reason.clone(),
        ..RevealRequest::default()
    };
    for secret in app.api.reveal_realm(realm, &request).await?.secrets {
        // coturn knows no others.
        if secret.state.is_accepted() {
            writer.row(Table::Secrets, &[realm.as_str(), &secret.value])?;
        } else {
            let (id, state) = (display_safe(&secret.id), secret.state.as_str());
            app.terminal
                .note(&format!("secret {id} of {realm} is {state}: left out"));
        }
    }
    Ok(())
}
