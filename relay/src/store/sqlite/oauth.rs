//! Keys of third-party authorization: coturn's table `oauth_key`.

use rusqlite::types::ValueRef;
use rusqlite::{Row, params};

use shared::Secret;

use super::Inner;
use crate::store::oauth::{CoturnOauthKey, MAX_KEYS, check_kid};
use crate::store::{Change, StoreError, StoredOauthKey};

pub(super) fn all(inner: &Inner) -> Result<Vec<StoredOauthKey>, StoreError> {
    let rows = inner.turn.read(|db| {
        let mut query = db.prepare_cached(
            "SELECT kid, ikm_key, as_rs_alg, timestamp, lifetime, realm FROM oauth_key \
             ORDER BY kid LIMIT ?1",
        )?;
        let mut found = query.query([i64::try_from(MAX_KEYS).unwrap_or(i64::MAX)])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let key = CoturnOauthKey {
                ikm_key: Secret::new(text(row, 1)?),
                as_rs_alg: text(row, 2)?,
                timestamp: number(row, 3)?,
                lifetime: number(row, 4)?,
                realm: text(row, 5)?,
            };
            rows.push((text(row, 0)?, key));
        }
        Ok(rows)
    })?;
    let keys = rows.into_iter();
    Ok(keys.filter_map(|(kid, key)| key.read(&kid)).collect())
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let text = row.get_ref(column)?.as_str();
    Ok(text.map(str::to_owned).unwrap_or_default())
}

/// A number, also where another tool wrote it as text; what is none counts as 0, as for coturn.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => u64::try_from(number).unwrap_or(0),
        ValueRef::Text(text) => String::from_utf8_lossy(text).trim().parse().unwrap_or(0),
        _ => 0,
    })
}

pub(super) fn put(inner: &Inner, key: &StoredOauthKey) -> Result<(), StoreError> {
    check_kid(&key.kid)?;
    let coturn = CoturnOauthKey::of(key);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    inner.turn.write(|db| {
        db.execute(
            "INSERT OR REPLACE INTO oauth_key \
             (kid, ikm_key, timestamp, lifetime, as_rs_alg, realm) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                key.kid,
                coturn.ikm_key.expose(),
                number(coturn.timestamp),
                number(coturn.lifetime),
                coturn.as_rs_alg,
                coturn.realm
            ],
        )
    })?;
    inner.tell(Change::OauthKeys);
    Ok(())
}

pub(super) fn delete(inner: &Inner, kid: &str) -> Result<bool, StoreError> {
    let rows = inner
        .turn
        .write(|db| db.execute("DELETE FROM oauth_key WHERE kid = ?1", [kid]))?;
    inner.tell(Change::OauthKeys);
    Ok(rows > 0)
}
