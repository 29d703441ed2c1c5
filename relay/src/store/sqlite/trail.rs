//! Events and audit records, in `relayd.db`.

use rusqlite::params;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::api::{AuditView, EventView};

use super::{Inner, sql_error};
use crate::store::record::{from_json, to_json};
use crate::store::{AUDIT_KEPT, Change, EVENTS_KEPT, StoreError};

/// Appends records to `table` and forgets the oldest beyond `kept`.
fn append<T: Serialize>(
    inner: &Inner,
    table: &str,
    records: &[T],
    kept: usize,
) -> Result<(), StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    for record in records {
        let record = to_json(record)?;
        transaction
            .prepare_cached(&format!("INSERT INTO {table} (record) VALUES (?1)"))
            .and_then(|mut insert| insert.execute([record]))
            .map_err(sql_error)?;
    }
    let newest = transaction.last_insert_rowid();
    let oldest = newest.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
    transaction
        .execute(&format!("DELETE FROM {table} WHERE id <= ?1"), [oldest])
        .map_err(sql_error)?;
    transaction.commit().map_err(sql_error)
}

/// Records of `table` after an id, oldest first, or the newest.
fn tail<T: DeserializeOwned>(
    inner: &Inner,
    table: &str,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<(i64, T)>, StoreError> {
    let own = inner.own();
    let sql = match after {
        Some(_) => format!("SELECT id, record FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2"),
        None => format!(
            "SELECT id, record FROM (SELECT id, record FROM {table} WHERE id > ?1 \
             ORDER BY id DESC LIMIT ?2) ORDER BY id"
        ),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = own.prepare_cached(&sql).map_err(sql_error)?;
    let rows = query
        .query_map(params![after.unwrap_or(0), limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(sql_error)?;
    rows.map(|row| {
        let (id, text) = row.map_err(sql_error)?;
        Ok((id, from_json(table, &text)?))
    })
    .collect()
}

pub(super) fn append_events(inner: &Inner, events: &[EventView]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    append(inner, "event", events, EVENTS_KEPT)?;
    inner.tell(Change::Events);
    Ok(())
}

pub(super) fn events(
    inner: &Inner,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<EventView>, StoreError> {
    let after = after
        .map(|id| {
            id.parse()
                .map_err(|_| StoreError::Refused("no such position in the events".to_owned()))
        })
        .transpose()?;
    let rows = tail::<EventView>(inner, "event", after, limit)?;
    Ok(rows
        .into_iter()
        .map(|(id, event)| EventView {
            id: id.to_string(),
            ..event
        })
        .collect())
}

pub(super) fn append_audit(inner: &Inner, record: &AuditView) -> Result<(), StoreError> {
    append(inner, "audit", std::slice::from_ref(record), AUDIT_KEPT)
}

pub(super) fn audit(
    inner: &Inner,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<AuditView>, StoreError> {
    let before = before
        .map(|id| {
            id.parse()
                .map_err(|_| StoreError::Refused("no such position in the audit".to_owned()))
        })
        .transpose()?
        .unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let own = inner.own();
    let mut query = own
        .prepare_cached("SELECT id, record FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2")
        .map_err(sql_error)?;
    let rows = query
        .query_map(params![before, limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(sql_error)?;
    rows.map(|row| {
        let (id, text) = row.map_err(sql_error)?;
        let record: AuditView = from_json("audit", &text)?;
        Ok(AuditView {
            id: id.to_string(),
            ..record
        })
    })
    .collect()
}

pub(super) fn audit_count(inner: &Inner) -> Result<u64, StoreError> {
    // Ids have no gaps: records are appended, and forgotten from the oldest on.
    let sql = "SELECT COALESCE((SELECT MAX(id) FROM audit) - (SELECT MIN(id) FROM audit) + 1, 0)";
    let count: i64 = inner
        .own()
        .query_row(sql, [], |row| row.get(0))
        .map_err(sql_error)?;
    Ok(count.unsigned_abs())
}
