//! The index of users by USERHASH, kept true to coturn's table.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};
use shared::Realm;

use super::{Inner, sql_error};
use crate::store::StoreError;
use crate::store::user_keys::hash_of;

/// A user of coturn's table.
pub(super) type Name = (Realm, String);

pub(super) fn name(
    inner: &Inner,
    realm: &Realm,
    hash: &[u8; 32],
) -> Result<Option<String>, StoreError> {
    inner
        .own()
        .prepare_cached("SELECT name FROM userhash WHERE realm = ?1 AND hash = ?2")
        .and_then(|mut query| {
            let key = params![realm.as_str(), hash];
            query.query_row(key, |row| row.get(0)).optional()
        })
        .map_err(sql_error)
}

pub(super) fn add(own: &Connection, realm: &Realm, name: &str) -> Result<(), StoreError> {
    own.prepare_cached("INSERT OR REPLACE INTO userhash (realm, hash, name) VALUES (?1, ?2, ?3)")
        .and_then(|mut write| write.execute(params![realm.as_str(), hash_of(realm, name), name]))
        .map_err(sql_error)?;
    Ok(())
}

pub(super) fn remove(own: &Connection, realm: &Realm, name: &str) -> Result<(), StoreError> {
    own.prepare_cached("DELETE FROM userhash WHERE realm = ?1 AND hash = ?2")
        .and_then(|mut write| write.execute(params![realm.as_str(), hash_of(realm, name)]))
        .map_err(sql_error)?;
    Ok(())
}

/// Follows what another tool did to coturn's table, in one transaction.
pub(super) fn follow(
    inner: &Inner,
    appeared: &[Name],
    vanished: &[Name],
) -> Result<(), StoreError> {
    if appeared.is_empty() && vanished.is_empty() {
        return Ok(());
    }
    let mut own = inner.own();
    let batch = own.transaction().map_err(sql_error)?;
    for (realm, name) in vanished {
        remove(&batch, realm, name)?;
    }
    for (realm, name) in appeared {
        add(&batch, realm, name)?;
    }
    batch.commit().map_err(sql_error)
}

/// Makes the index that of these users, at the start: somebody may have edited while nobody looked.
pub(super) fn rebuild(inner: &Inner, users: &HashSet<Name>) -> Result<(), StoreError> {
    let mut known: HashSet<Name> = HashSet::new();
    {
        let own = inner.own();
        let mut query = own
            .prepare("SELECT realm, name FROM userhash")
            .map_err(sql_error)?;
        let mut rows = query.query([]).map_err(sql_error)?;
        while let Some(row) = rows.next().map_err(sql_error)? {
            let realm: String = row.get(0).map_err(sql_error)?;
            let name: String = row.get(1).map_err(sql_error)?;
            known.extend(realm.parse().ok().map(|realm| (realm, name)));
        }
    }
    let appeared: Vec<Name> = users.difference(&known).cloned().collect();
    let vanished: Vec<Name> = known.difference(users).cloned().collect();
    follow(inner, &appeared, &vanished)
}
