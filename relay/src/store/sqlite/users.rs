//! Users: coturn's rows, our records beside them.

use rusqlite::{Connection, OptionalExtension, params};
use shared::{Realm, Secret};

use super::{Inner, hashes, sql_error};
use crate::store::coturn::{format_key, is_user_name, parse_key, realm as foreign_realm};
use crate::store::record::{from_json, to_json, unreadable};
use crate::store::user_keys::{StoredSha256Key, sha256_of, sha256_record};
use crate::store::{Change, StoreError, StoredKey, StoredUser, UserKeys, UserRecord};

/// The most users in one page.
const MAX_PAGE: usize = 10_000;

pub(super) fn one(
    inner: &Inner,
    realm: &Realm,
    name: &str,
) -> Result<Option<StoredUser>, StoreError> {
    let hex = inner.turn.read(|db| {
        db.prepare_cached("SELECT hmackey FROM turnusers_lt WHERE realm = ?1 AND name = ?2")?
            .query_row(params![realm.as_str(), name], |row| {
                Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec())
            })
            .optional()
    })?;
    let Some(hex) = hex.map(Secret::new) else {
        return Ok(None);
    };
    let Some(key) = parse_key(hex.expose()) else {
        return Err(unreadable(
            format!("turnusers_lt of {realm}"),
            "hmackey is not 32 hex digits",
        ));
    };
    let own = inner.own();
    let record = record(&own, realm.as_str(), name)?;
    let sha256 = sha256(&own, realm.as_str(), name, &key)?;
    Ok(Some(StoredUser {
        realm: realm.clone(),
        name: name.to_owned(),
        keys: UserKeys { md5: key, sha256 },
        record,
    }))
}

fn sha256(
    own: &Connection,
    realm: &str,
    name: &str,
    md5: &StoredKey,
) -> Result<Option<StoredSha256Key>, StoreError> {
    let stored: Option<Vec<u8>> = own
        .prepare_cached("SELECT sha256 FROM user_key WHERE realm = ?1 AND name = ?2")
        .and_then(|mut query| query.query_row([realm, name], |row| row.get(0)).optional())
        .map_err(sql_error)?;
    let stored = stored.map(Secret::new);
    Ok(stored.and_then(|stored| sha256_of(md5, stored.expose())))
}

fn record(own: &Connection, realm: &str, name: &str) -> Result<UserRecord, StoreError> {
    let text: Option<String> = own
        .prepare_cached("SELECT record FROM user_record WHERE realm = ?1 AND name = ?2")
        .and_then(|mut query| query.query_row([realm, name], |row| row.get(0)).optional())
        .map_err(sql_error)?;
    text.map_or_else(
        || Ok(UserRecord::default()),
        |text| from_json("user_record", &text),
    )
}

pub(super) fn put(
    inner: &Inner,
    realm: &Realm,
    users: &[(String, UserKeys)],
) -> Result<(), StoreError> {
    let mut own = inner.own();
    inner.turn.write(|db| {
        let sql = "INSERT OR REPLACE INTO turnusers_lt (realm, name, hmackey) VALUES (?1, ?2, ?3)";
        for (name, keys) in users {
            let hex = format_key(&keys.md5);
            db.prepare_cached(sql)?
                .execute(params![realm.as_str(), name, hex.expose()])?;
        }
        Ok(())
    })?;
    let batch = own.transaction().map_err(sql_error)?;
    for (name, keys) in users {
        match sha256_record(keys) {
            Some(record) => batch.execute(
                "INSERT OR REPLACE INTO user_key (realm, name, sha256) VALUES (?1, ?2, ?3)",
                params![realm.as_str(), name, record.expose()],
            ),
            None => batch.execute(
                "DELETE FROM user_key WHERE realm = ?1 AND name = ?2",
                params![realm.as_str(), name],
            ),
        }
        .map_err(sql_error)?;
        hashes::add(&batch, realm, name)?;
    }
    batch.commit().map_err(sql_error)?;
    drop(own);
    for (name, _) in users {
        inner.tell(Change::User {
            realm: realm.clone(),
            name: name.clone(),
        });
    }
    Ok(())
}

pub(super) fn put_record(
    inner: &Inner,
    realm: &Realm,
    name: &str,
    record: &UserRecord,
) -> Result<bool, StoreError> {
    let own = inner.own();
    let known = inner.turn.read(|db| {
        db.prepare_cached("SELECT 1 FROM turnusers_lt WHERE realm = ?1 AND name = ?2")?
            .exists(params![realm.as_str(), name])
    })?;
    if !known {
        return Ok(false);
    }
    own.execute(
        "INSERT OR REPLACE INTO user_record (realm, name, record) VALUES (?1, ?2, ?3)",
        params![realm.as_str(), name, to_json(record)?],
    )
    .map_err(sql_error)?;
    drop(own);
    inner.tell(Change::User {
        realm: realm.clone(),
        name: name.to_owned(),
    });
    Ok(true)
}

pub(super) fn delete(inner: &Inner, realm: &Realm, name: &str) -> Result<bool, StoreError> {
    let own = inner.own();
    let rows = inner.turn.write(|db| {
        db.execute(
            "DELETE FROM turnusers_lt WHERE realm = ?1 AND name = ?2",
            params![realm.as_str(), name],
        )
    })?;
    for table in ["user_record", "user_key"] {
        own.execute(
            &format!("DELETE FROM {table} WHERE realm = ?1 AND name = ?2"),
            params![realm.as_str(), name],
        )
        .map_err(sql_error)?;
    }
    hashes::remove(&own, realm, name)?;
    drop(own);
    inner.tell(Change::User {
        realm: realm.clone(),
        name: name.to_owned(),
    });
    Ok(rows > 0)
}

/// One row of `turnusers_lt`, as text where it is text.
type Row = (Option<String>, Option<String>, Option<Secret<Vec<u8>>>);

fn rows(
    db: &Connection,
    realm: Option<&str>,
    after: &(String, String),
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let sql = match realm {
        Some(_) => {
            "SELECT realm, name, hmackey FROM turnusers_lt \
             WHERE realm = ?4 AND (realm, name) > (?1, ?2) ORDER BY realm, name LIMIT ?3"
        }
        None => {
            "SELECT realm, name, hmackey FROM turnusers_lt \
             WHERE (realm, name) > (?1, ?2) AND ?4 IS NULL ORDER BY realm, name LIMIT ?3"
        }
    };
    let mut query = db.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = query.query(params![after.0, after.1, limit, realm])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let text = |i| row.get_ref(i).map(|v| v.as_str().ok().map(str::to_owned));
        let key = row
            .get_ref(2)?
            .as_bytes()
            .ok()
            .map(|bytes| Secret::new(bytes.to_vec()));
        rows.push((text(0)?, text(1)?, key));
    }
    Ok(rows)
}

pub(super) fn page(
    inner: &Inner,
    realm: Option<&Realm>,
    after: Option<(String, String)>,
    limit: usize,
) -> Result<Vec<StoredUser>, StoreError> {
    let limit = limit.min(MAX_PAGE);
    let mut after = after.unwrap_or_default();
    let mut users = Vec::new();
    while users.len() < limit {
        let wanted = limit - users.len();
        let rows = inner
            .turn
            .read(|db| rows(db, realm.map(Realm::as_str), &after, wanted))?;
        let last_page = rows.len() < wanted;
        let own = inner.own();
        for (realm, name, key) in rows {
            let (realm, name) = (realm.unwrap_or_default(), name.unwrap_or_default());
            after = (realm, name.clone());
            // Rows that are no user of ours: no text, names that STUN cannot carry, no key.
            let key = key.and_then(|hex| parse_key(hex.expose()));
            let (Some(realm), Some(key)) = (foreign_realm(&after.0), key) else {
                continue;
            };
            if is_user_name(&name) {
                let record = record(&own, realm.as_str(), &name)?;
                let sha256 = sha256(&own, realm.as_str(), &name, &key)?;
                users.push(StoredUser {
                    realm,
                    name,
                    keys: UserKeys { md5: key, sha256 },
                    record,
                });
            }
        }
        if last_page {
            break;
        }
    }
    Ok(users)
}

pub(super) fn count(inner: &Inner, realm: Option<&Realm>) -> Result<u64, StoreError> {
    let count: i64 = inner.turn.read(|db| match realm {
        Some(realm) => db
            .prepare_cached("SELECT count(*) FROM turnusers_lt WHERE realm = ?1")?
            .query_row([realm.as_str()], |row| row.get(0)),
        None => db
            .prepare_cached("SELECT count(*) FROM turnusers_lt")?
            .query_row([], |row| row.get(0)),
    })?;
    Ok(u64::try_from(count).unwrap_or(0))
}
