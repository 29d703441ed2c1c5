//! Shared secrets: coturn's rows of those that are accepted, their labels, and the others beside them.
//!
//! A value that moves from the one to the other is written where it goes before it is taken from where it
//! was. One that is in both is accepted: coturn's table is the truth.

use rusqlite::{Connection, OptionalExtension as _, params};
use shared::api::SecretState;
use shared::{Realm, Secret};

use super::{Inner, sql_error};
use crate::store::record::secret_fingerprint;
use crate::store::{Change, StoreError, StoredSecret};

pub(super) fn all(inner: &Inner, realm: &Realm) -> Result<Vec<StoredSecret>, StoreError> {
    let own = inner.own();
    let aside = aside(&own, realm).map_err(sql_error)?;
    let values: Vec<Secret<String>> = inner.turn.read(|db| {
        let mut query =
            db.prepare_cached("SELECT value FROM turn_secret WHERE realm = ?1 ORDER BY value")?;
        let mut rows = query.query([realm.as_str()])?;
        let mut values = Vec::new();
        while let Some(row) = rows.next()? {
            if let Ok(value) = row.get_ref(0)?.as_str() {
                values.push(Secret::new(value.to_owned()));
            }
        }
        Ok(values)
    })?;
    let accepted = values.into_iter().map(|value| accepted(&own, realm, value));
    let mut secrets = accepted.collect::<Result<Vec<_>, _>>().map_err(sql_error)?;
    let is_new = |one: &StoredSecret| secrets.iter().all(|known| known.value != one.value);
    let aside: Vec<_> = aside.into_iter().filter(is_new).collect();
    secrets.extend(aside);
    secrets.sort_unstable_by(|a, b| a.value.expose().cmp(b.value.expose()));
    Ok(secrets)
}

fn accepted(
    own: &Connection,
    realm: &Realm,
    value: Secret<String>,
) -> rusqlite::Result<StoredSecret> {
    let mut query = own.prepare_cached(
        "SELECT label, created_at_ms, state FROM secret_label WHERE realm = ?1 AND fingerprint = ?2",
    )?;
    let key = params![realm.as_str(), secret_fingerprint(value.expose())];
    let row = query
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (label, created, state): (String, i64, String) = row.unwrap_or_default();
    let state = match state == SecretState::Retiring.as_str() {
        true => SecretState::Retiring,
        false => SecretState::Active,
    };
    Ok(StoredSecret {
        value,
        label,
        created_at_ms: u64::try_from(created).unwrap_or(0),
        state,
    })
}

/// Those that are not accepted.
fn aside(own: &Connection, realm: &Realm) -> rusqlite::Result<Vec<StoredSecret>> {
    let mut query = own.prepare_cached(
        "SELECT value, label, created_at_ms, state FROM secret_aside WHERE realm = ?1",
    )?;
    let rows = query.query_map([realm.as_str()], |row| {
        let (created, state): (i64, String) = (row.get(2)?, row.get(3)?);
        Ok(StoredSecret {
            value: Secret::new(row.get(0)?),
            label: row.get(1)?,
            created_at_ms: u64::try_from(created).unwrap_or(0),
            // What is not known is not accepted.
            state: state.parse().unwrap_or(SecretState::Retired),
        })
    })?;
    rows.collect()
}

/// Realms that have secrets which nobody accepts, and perhaps nothing else.
pub(super) fn realms(own: &Connection) -> rusqlite::Result<Vec<Realm>> {
    let mut query = own.prepare_cached("SELECT DISTINCT realm FROM secret_aside")?;
    let names = query.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

pub(super) fn put(inner: &Inner, realm: &Realm, secret: &StoredSecret) -> Result<(), StoreError> {
    let own = inner.own();
    let value = secret.value.expose();
    let fingerprint = secret_fingerprint(value);
    let created = i64::try_from(secret.created_at_ms).unwrap_or(i64::MAX);
    let (realm_name, state) = (realm.as_str(), secret.state.as_str());
    if secret.state.is_accepted() {
        own.execute(
            "INSERT OR REPLACE INTO secret_label (realm, fingerprint, label, created_at_ms, state) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![realm_name, fingerprint, secret.label, created, state],
        )
        .map_err(sql_error)?;
        inner.turn.write(|db| {
            db.execute(
                "INSERT OR IGNORE INTO turn_secret (realm, value) VALUES (?1, ?2)",
                params![realm_name, value],
            )
        })?;
        forget(&own, "secret_aside", realm, fingerprint)?;
    } else {
        own.execute(
            "INSERT OR REPLACE INTO secret_aside \
             (realm, fingerprint, value, label, created_at_ms, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![realm_name, fingerprint, value, secret.label, created, state],
        )
        .map_err(sql_error)?;
        take_from_coturn(inner, realm, value)?;
        forget(&own, "secret_label", realm, fingerprint)?;
    }
    drop(own);
    inner.tell(Change::Secrets {
        realm: realm.clone(),
    });
    Ok(())
}

pub(super) fn delete(inner: &Inner, realm: &Realm, value: &str) -> Result<bool, StoreError> {
    let own = inner.own();
    let fingerprint = secret_fingerprint(value);
    let accepted = take_from_coturn(inner, realm, value)?;
    let aside = forget(&own, "secret_aside", realm, fingerprint)?;
    forget(&own, "secret_label", realm, fingerprint)?;
    drop(own);
    inner.tell(Change::Secrets {
        realm: realm.clone(),
    });
    Ok(accepted || aside)
}

fn take_from_coturn(inner: &Inner, realm: &Realm, value: &str) -> Result<bool, StoreError> {
    let rows = inner.turn.write(|db| {
        db.execute(
            "DELETE FROM turn_secret WHERE realm = ?1 AND value = ?2",
            params![realm.as_str(), value],
        )
    })?;
    Ok(rows > 0)
}

/// Removes a row of one of the two tables of ours.
fn forget(
    own: &Connection,
    table: &str,
    realm: &Realm,
    fingerprint: [u8; 16],
) -> Result<bool, StoreError> {
    let sql = format!("DELETE FROM {table} WHERE realm = ?1 AND fingerprint = ?2");
    let rows = own
        .execute(&sql, params![realm.as_str(), fingerprint])
        .map_err(sql_error)?;
    Ok(rows > 0)
}
