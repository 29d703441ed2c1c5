//! Revisions of realms.

use rusqlite::{Connection, params};
use shared::Realm;

use super::{Inner, sql_error};
use crate::store::record::{from_json, to_json};
use crate::store::revision::{DELETED_KEPT, REVISIONS_KEPT};
use crate::store::{StoreError, StoredRevision};

/// The latest, newest first; the document as it is, where there is no revision of it.
pub(super) fn all(inner: &Inner, name: &Realm) -> Result<Vec<StoredRevision>, StoreError> {
    let own = inner.own();
    let mut query = own
        .prepare_cached(
            "SELECT revision, changed_at_ms, changed_by, reason, document FROM realm_history \
             WHERE name = ?1 \
             UNION ALL SELECT revision, changed_at_ms, changed_by, '', document FROM realm \
             WHERE name = ?1 AND revision > \
             (SELECT ifnull(max(revision), 0) FROM realm_history WHERE name = ?1) \
             ORDER BY revision DESC",
        )
        .map_err(sql_error)?;
    let rows = query
        .query_map([name.as_str()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, String>(4)?,
            ))
        })
        .map_err(sql_error)?;
    let mut revisions = Vec::new();
    for row in rows {
        let (revision, changed_at_ms, changed_by, reason, document) = row.map_err(sql_error)?;
        revisions.push(StoredRevision {
            revision: u64::try_from(revision).unwrap_or(0),
            changed_at_ms: u64::try_from(changed_at_ms).unwrap_or(0),
            changed_by,
            reason,
            document: from_json(&format!("revision {revision} of realm {name}"), &document)?,
        });
    }
    Ok(revisions)
}

/// The number after `current`, and after all that the realm ever had.
pub(super) fn next(own: &Connection, name: &Realm, current: u64) -> Result<u64, StoreError> {
    let last: Option<i64> = own
        .query_row(
            "SELECT max(revision) FROM realm_history WHERE name = ?1",
            [name.as_str()],
            |row| row.get(0),
        )
        .map_err(sql_error)?;
    let last = last.map_or(0, |last| u64::try_from(last).unwrap_or(0));
    Ok(current.max(last) + 1)
}

/// Begins the history of a realm that was stored before there were any: with its document as it is.
pub(super) fn begin(own: &Connection, name: &Realm) -> Result<(), StoreError> {
    own.execute(
        "INSERT INTO realm_history (name, revision, document, changed_at_ms, changed_by, reason) \
         SELECT name, revision, document, changed_at_ms, changed_by, '' FROM realm \
         WHERE name = ?1 AND revision > \
         (SELECT ifnull(max(revision), 0) FROM realm_history WHERE name = ?1)",
        [name.as_str()],
    )
    .map_err(sql_error)?;
    Ok(())
}

/// Adds one; the oldest make room.
pub(super) fn add(
    own: &Connection,
    name: &Realm,
    revision: &StoredRevision,
) -> Result<(), StoreError> {
    own.execute(
        "INSERT OR REPLACE INTO realm_history (name, revision, document, changed_at_ms, \
         changed_by, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            name.as_str(),
            number(revision.revision),
            to_json(&revision.document)?,
            number(revision.changed_at_ms),
            revision.changed_by,
            revision.reason
        ],
    )
    .map_err(sql_error)?;
    let oldest = revision.revision.saturating_sub(REVISIONS_KEPT);
    own.execute(
        "DELETE FROM realm_history WHERE name = ?1 AND revision <= ?2",
        params![name.as_str(), number(oldest)],
    )
    .map_err(sql_error)?;
    Ok(())
}

/// Forgets realms that were deleted long ago.
pub(super) fn forget_deleted(own: &Connection, now_ms: u64) -> Result<(), StoreError> {
    let kept_ms = u64::try_from(DELETED_KEPT.as_millis()).unwrap_or(u64::MAX);
    own.execute(
        "DELETE FROM realm_history WHERE name NOT IN (SELECT name FROM realm) AND name IN \
         (SELECT name FROM realm_history GROUP BY name HAVING max(changed_at_ms) < ?1)",
        [number(now_ms.saturating_sub(kept_ms))],
    )
    .map_err(sql_error)?;
    Ok(())
}

/// A number as SQLite has it.
pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
