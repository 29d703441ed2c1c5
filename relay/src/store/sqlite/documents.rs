//! Documents, in `relayd.db`.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::{Inner, sql_error};
use crate::store::document::{StoredDocument, body_text, check_name};
use crate::store::record::{from_json, now_ms};
use crate::store::{Change, StoreError};

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn one(inner: &Inner, name: &str) -> Result<Option<StoredDocument>, StoreError> {
    check_name(name)?;
    let row = inner
        .own()
        .query_row(
            "SELECT revision, changed_at_ms, changed_by, body FROM document WHERE name = ?1",
            [name],
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                ))
            },
        )
        .optional()
        .map_err(sql_error)?;
    let Some((revision, changed_at_ms, changed_by, body)) = row else {
        return Ok(None);
    };
    Ok(Some(StoredDocument {
        revision: u64::try_from(revision).unwrap_or(0),
        changed_at_ms: u64::try_from(changed_at_ms).unwrap_or(0),
        changed_by,
        body: from_json(&format!("document {name}"), &body)?,
    }))
}

pub(super) fn put(
    inner: &Inner,
    name: &str,
    body: &Value,
    expected: u64,
    actor: &str,
) -> Result<u64, StoreError> {
    check_name(name)?;
    let text = body_text(name, body)?;
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    let current: Option<i64> = transaction
        .query_row(
            "SELECT revision FROM document WHERE name = ?1",
            [name],
            |row| row.get(0),
        )
        .optional()
        .map_err(sql_error)?;
    let current = u64::try_from(current.unwrap_or(0)).unwrap_or(0);
    if current != expected {
        return Err(StoreError::RevisionConflict { current });
    }
    let revision = expected + 1;
    transaction
        .execute(
            "INSERT OR REPLACE INTO document (name, revision, changed_at_ms, changed_by, body) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name, number(revision), number(now_ms()), actor, text],
        )
        .map_err(sql_error)?;
    transaction.commit().map_err(sql_error)?;
    drop(own);
    inner.tell(Change::Document {
        name: name.to_owned(),
        revision,
    });
    Ok(revision)
}
