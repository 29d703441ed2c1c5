//! Events and audit records: two capped streams.

use std::collections::HashMap;

use redis::{Value, cmd, pipe};
use serde::de::DeserializeOwned;
use shared::api::{AuditView, EventView};

use super::{Inner, schema};
use crate::store::record::{from_json, to_json};
use crate::store::{AUDIT_KEPT, Change, EVENTS_KEPT, StoreError};

/// Events in one pipeline.
const CHUNK: usize = 512;
/// The field that holds the record.
const FIELD: &str = "record";

fn append(stream: &str, kept: usize, json: &str) -> redis::Cmd {
    let mut command = cmd("XADD");
    command
        .arg(stream)
        .arg("MAXLEN")
        .arg("~")
        .arg(kept)
        .arg("*");
    command.arg("v").arg(schema::VERSION).arg(FIELD).arg(json);
    command
}

type Entries = Vec<(String, HashMap<String, String>)>;

fn records<T: DeserializeOwned>(
    stream: &str,
    entries: Entries,
) -> Result<Vec<(String, T)>, StoreError> {
    entries
        .into_iter()
        .map(|(id, fields)| {
            let text = fields.get(FIELD).map_or("", String::as_str);
            Ok((id, from_json(stream, text)?))
        })
        .collect()
}

/// The newest entries from a position on, newest first.
async fn backwards(
    inner: &Inner,
    stream: &str,
    from: &str,
    limit: usize,
) -> Result<Entries, StoreError> {
    let mut command = cmd("XREVRANGE");
    command
        .arg(stream)
        .arg(from)
        .arg("-")
        .arg("COUNT")
        .arg(limit);
    inner.link.query(&command).await
}

/// Whether this is a position in a stream: milliseconds, or milliseconds and a count.
fn is_position(id: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().is_ok();
    match id.split_once('-') {
        Some((ms, count)) => number(ms) && number(count),
        None => number(id),
    }
}

pub(super) async fn append_events(inner: &Inner, events: &[EventView]) -> Result<(), StoreError> {
    for chunk in events.chunks(CHUNK) {
        let mut writes = pipe();
        for event in chunk {
            writes.add_command(append(schema::EVENTS, EVENTS_KEPT, &to_json(event)?));
        }
        inner.link.pipe::<Value>(&writes).await?;
    }
    if !events.is_empty() {
        inner.tell(Change::Events).await;
    }
    Ok(())
}

pub(super) async fn events(
    inner: &Inner,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<EventView>, StoreError> {
    let entries = match after {
        None => {
            let mut newest = backwards(inner, schema::EVENTS, "+", limit).await?;
            newest.reverse();
            newest
        }
        Some(after) if is_position(after) => {
            let mut command = cmd("XRANGE");
            let from = format!("({after}");
            command
                .arg(schema::EVENTS)
                .arg(from)
                .arg("+")
                .arg("COUNT")
                .arg(limit);
            inner.link.query(&command).await?
        }
        Some(_) => {
            return Err(StoreError::Refused(
                "no such position in the events".to_owned(),
            ));
        }
    };
    let events = records::<EventView>(schema::EVENTS, entries)?;
    Ok(events
        .into_iter()
        .map(|(id, event)| EventView { id, ..event })
        .collect())
}

pub(super) async fn append_audit(inner: &Inner, record: &AuditView) -> Result<(), StoreError> {
    inner
        .link
        .query::<Value>(&append(schema::AUDIT, AUDIT_KEPT, &to_json(record)?))
        .await?;
    Ok(())
}

pub(super) async fn audit(
    inner: &Inner,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<AuditView>, StoreError> {
    let from = match before {
        None => "+".to_owned(),
        Some(before) if is_position(before) => format!("({before}"),
        Some(_) => {
            return Err(StoreError::Refused(
                "no such position in the audit".to_owned(),
            ));
        }
    };
    let entries = backwards(inner, schema::AUDIT, &from, limit).await?;
    let records = records::<AuditView>(schema::AUDIT, entries)?;
    Ok(records
        .into_iter()
        .map(|(id, record)| AuditView { id, ..record })
        .collect())
}

pub(super) async fn audit_count(inner: &Inner) -> Result<u64, StoreError> {
    inner.link.query(cmd("XLEN").arg(schema::AUDIT)).await
}
