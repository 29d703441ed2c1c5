//! Keys of third-party authorization: coturn's hashes, and the set of their kids beside them.

use std::collections::HashMap;

use redis::{Value, cmd, pipe};

use shared::Secret;

use super::{Inner, schema};
use crate::store::oauth::{CoturnOauthKey, MAX_KEYS, check_kid};
use crate::store::{Change, StoreError, StoredOauthKey};

/// Kids looked at by one pipeline.
const CHUNK: usize = 256;

async fn kids(inner: &Inner) -> Result<Vec<String>, StoreError> {
    let kids: Vec<Vec<u8>> = inner
        .link
        .query(cmd("SMEMBERS").arg(schema::OAUTH_KIDS))
        .await?;
    let kids = kids.into_iter();
    let mut kids: Vec<String> = kids.filter_map(|kid| String::from_utf8(kid).ok()).collect();
    kids.sort_unstable();
    Ok(kids)
}

pub(super) async fn all(inner: &Inner) -> Result<Vec<StoredOauthKey>, StoreError> {
    let mut kids = kids(inner).await?;
    kids.truncate(MAX_KEYS);
    let mut reads = pipe();
    // One key of another type must not hide all others.
    for kid in &kids {
        reads.cmd("HGETALL").arg(schema::coturn_oauth(kid));
    }
    let values = inner.link.each(&mut reads).await?;
    let read = |(kid, value): (&String, Value)| {
        let mut fields: HashMap<String, String> = redis::from_redis_value(value).ok()?;
        let mut field = |name| fields.remove(name).unwrap_or_default();
        let number = |text: String| text.trim().parse().unwrap_or(0);
        let key = CoturnOauthKey {
            ikm_key: Secret::new(field("ikm_key")),
            as_rs_alg: field("as_rs_alg"),
            timestamp: number(field("timestamp")),
            lifetime: number(field("lifetime")),
            realm: field("realm"),
        };
        key.read(kid)
    };
    Ok(kids.iter().zip(values).filter_map(read).collect())
}

pub(super) async fn put(inner: &Inner, key: &StoredOauthKey) -> Result<(), StoreError> {
    check_kid(&key.kid)?;
    let coturn = CoturnOauthKey::of(key);
    let (timestamp, lifetime) = (coturn.timestamp.to_string(), coturn.lifetime.to_string());
    let mut writes = pipe();
    writes
        .cmd("HSET")
        .arg(schema::coturn_oauth(&key.kid))
        .arg(&[
            ("ikm_key", coturn.ikm_key.expose()),
            ("as_rs_alg", &coturn.as_rs_alg),
            ("timestamp", &timestamp),
            ("lifetime", &lifetime),
            ("realm", &coturn.realm),
        ]);
    writes.cmd("SADD").arg(schema::OAUTH_KIDS).arg(&key.kid);
    inner.write_and_tell(writes, Change::OauthKeys).await
}

pub(super) async fn delete(inner: &Inner, kid: &str) -> Result<bool, StoreError> {
    let mut writes = pipe();
    writes.cmd("DEL").arg(schema::coturn_oauth(kid));
    writes.cmd("SREM").arg(schema::OAUTH_KIDS).arg(kid);
    let (was_there, _): (bool, Value) = inner.link.in_order(&writes).await?;
    inner.tell(Change::OauthKeys).await;
    Ok(was_there)
}

/// Makes the set of kids say of these what their keys say.
pub(super) async fn note(inner: &Inner, kids: &[String]) -> Result<(), StoreError> {
    if !inner.gateway {
        return Ok(());
    }
    for chunk in kids.chunks(CHUNK) {
        let mut reads = pipe();
        for kid in chunk {
            reads.cmd("EXISTS").arg(schema::coturn_oauth(kid));
        }
        let exist: Vec<bool> = inner.link.pipe(&reads).await?;
        let mut writes = pipe();
        for (kid, exists) in chunk.iter().zip(exist) {
            let command = if exists { "SADD" } else { "SREM" };
            writes.cmd(command).arg(schema::OAUTH_KIDS).arg(kid);
        }
        let moved: Vec<bool> = inner.link.pipe(&writes).await?;
        if moved.contains(&true) {
            inner.tell(Change::OauthKeys).await;
        }
    }
    Ok(())
}

/// Goes over the set for kids whose key is gone.
pub(super) async fn forget_missing(inner: &Inner) -> Result<(), StoreError> {
    note(inner, &kids(inner).await?).await
}
