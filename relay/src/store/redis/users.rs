//! Users: coturn's keys, our records and the index beside them.

use std::collections::HashMap;

use redis::{Pipeline, Value, cmd, pipe};
use shared::{Realm, Secret};

use super::{Inner, schema};
use crate::store::coturn::{format_key, parse_key};
use crate::store::record::{from_json, to_json, unreadable};
use crate::store::user_keys::{hash_of, sha256_of, sha256_record};
use crate::store::{Change, StoreError, StoredUser, UserKeys, UserRecord};

/// The field of a user's hash that holds its SHA-256 key and which MD5 key it belongs to.
const SHA256: &str = "sha256";
/// Users fetched by one pipeline: two commands each.
const CHUNK: usize = 256;
/// The most users in one page.
const MAX_PAGE: usize = 10_000;

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn stored(
    realm: &Realm,
    name: &str,
    key: &Value,
    beside: &Value,
) -> Result<Option<StoredUser>, StoreError> {
    let Some(hex) = bytes(key) else {
        return Ok(None);
    };
    let Some(key) = parse_key(hex) else {
        return Err(unreadable(
            format!("key of a user in {realm}"),
            "not 32 hex digits",
        ));
    };
    let mut beside: HashMap<String, Vec<u8>> =
        redis::from_redis_value_ref(beside).unwrap_or_default();
    let record = match beside
        .get("record")
        .map(|text| String::from_utf8_lossy(text))
    {
        Some(text) => from_json("user record", &text)?,
        None => UserRecord::default(),
    };
    let sha256 = beside.remove(SHA256).map(Secret::new);
    let sha256 = sha256.and_then(|stored| sha256_of(&key, stored.expose()));
    Ok(Some(StoredUser {
        realm: realm.clone(),
        name: name.to_owned(),
        keys: UserKeys { md5: key, sha256 },
        record,
    }))
}

pub(super) async fn one(
    inner: &Inner,
    realm: &Realm,
    name: &str,
) -> Result<Option<StoredUser>, StoreError> {
    let mut both = pipe();
    both.cmd("GET").arg(schema::coturn_user(realm, name));
    both.cmd("HGETALL").arg(schema::user(realm, name));
    let (key, beside): (Value, Value) = inner.link.pipe(&both).await?;
    stored(realm, name, &key, &beside)
}

/// Puts a user into both indices: by name and by USERHASH.
pub(super) fn index_user(writes: &mut Pipeline, realm: &Realm, name: &str) {
    writes
        .cmd("ZADD")
        .arg(schema::users(realm))
        .arg(0)
        .arg(name);
    writes
        .cmd("HSET")
        .arg(schema::userhashes(realm))
        .arg(&hash_of(realm, name)[..])
        .arg(name);
}

/// Takes a user out of both.
pub(super) fn unindex_user(writes: &mut Pipeline, realm: &Realm, name: &str) {
    writes.cmd("ZREM").arg(schema::users(realm)).arg(name);
    writes
        .cmd("HDEL")
        .arg(schema::userhashes(realm))
        .arg(&hash_of(realm, name)[..]);
}

pub(super) async fn by_hash(
    inner: &Inner,
    realm: &Realm,
    hash: &[u8; 32],
) -> Result<Option<String>, StoreError> {
    let mut command = cmd("HGET");
    command.arg(schema::userhashes(realm)).arg(&hash[..]);
    let name: Option<Vec<u8>> = inner.link.query(&command).await?;
    Ok(name.and_then(|name| String::from_utf8(name).ok()))
}

/// Writes the key first and the index after it: whoever corrects the index at the same time looks
/// at the key last.
pub(super) async fn put(
    inner: &Inner,
    realm: &Realm,
    name: &str,
    keys: &UserKeys,
) -> Result<(), StoreError> {
    let change = Change::User {
        realm: realm.clone(),
        name: name.to_owned(),
    };
    let mut writes = pipe();
    writes
        .cmd("SET")
        .arg(schema::coturn_user(realm, name))
        .arg(format_key(&keys.md5).expose());
    let beside = schema::user(realm, name);
    match sha256_record(keys) {
        Some(record) => writes.cmd("HSET").arg(beside).arg(&[
            (SHA256, &record.expose()[..]),
            ("v", schema::VERSION.to_string().as_bytes()),
        ]),
        None => writes.cmd("HDEL").arg(beside).arg(SHA256),
    };
    index_user(&mut writes, realm, name);
    writes.cmd("SADD").arg(schema::REALMS).arg(realm.as_str());
    inner.write_and_tell(writes, change).await
}

pub(super) async fn put_record(
    inner: &Inner,
    realm: &Realm,
    name: &str,
    record: &UserRecord,
) -> Result<bool, StoreError> {
    let known: bool = inner
        .link
        .query(cmd("EXISTS").arg(schema::coturn_user(realm, name)))
        .await?;
    if !known {
        return Ok(false);
    }
    let mut writes = pipe();
    writes.cmd("HSET").arg(schema::user(realm, name)).arg(&[
        ("v", schema::VERSION.to_string()),
        ("record", to_json(record)?),
    ]);
    let change = Change::User {
        realm: realm.clone(),
        name: name.to_owned(),
    };
    inner.write_and_tell(writes, change).await?;
    Ok(true)
}

pub(super) async fn delete(inner: &Inner, realm: &Realm, name: &str) -> Result<bool, StoreError> {
    let mut writes = pipe();
    writes.cmd("DEL").arg(schema::coturn_user(realm, name));
    unindex_user(&mut writes, realm, name);
    writes.cmd("DEL").arg(schema::user(realm, name));
    let (was_there, _, _, _): (bool, Value, Value, Value) = inner.link.in_order(&writes).await?;
    inner
        .tell(Change::User {
            realm: realm.clone(),
            name: name.to_owned(),
        })
        .await;
    Ok(was_there)
}

/// The realms that may have something, in order.
pub(super) async fn realm_names(inner: &Inner) -> Result<Vec<Realm>, StoreError> {
    let names: Vec<Vec<u8>> = inner
        .link
        .query(cmd("SMEMBERS").arg(schema::REALMS))
        .await?;
    let mut names: Vec<Realm> = names
        .into_iter()
        .filter_map(|name| String::from_utf8(name).ok()?.parse().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

pub(super) async fn page(
    inner: &Inner,
    realm: Option<&Realm>,
    after: Option<(&Realm, &str)>,
    limit: usize,
) -> Result<Vec<StoredUser>, StoreError> {
    let limit = limit.min(MAX_PAGE);
    let realms = match realm {
        Some(realm) => vec![realm.clone()],
        None => realm_names(inner).await?,
    };
    let mut users = Vec::new();
    for realm in &realms {
        let mut last = match after {
            Some((after, _)) if realm < after => continue,
            Some((after, name)) if realm == after => Some(name.to_owned()),
            _ => None,
        };
        while users.len() < limit {
            let wanted = (limit - users.len()).min(CHUNK);
            let names = names_after(inner, realm, last.as_deref(), wanted).await?;
            fetch(inner, realm, &names, &mut users).await?;
            let ended = names.len() < wanted;
            last = names.into_iter().next_back();
            if ended {
                break;
            }
        }
    }
    Ok(users)
}

/// Names of the index after `last`, in byte order.
pub(super) async fn names_after(
    inner: &Inner,
    realm: &Realm,
    last: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let from = last.map_or_else(|| "-".to_owned(), |name| format!("({name}"));
    let mut command = cmd("ZRANGEBYLEX");
    command
        .arg(schema::users(realm))
        .arg(from)
        .arg("+")
        .arg("LIMIT")
        .arg(0)
        .arg(limit);
    let names: Vec<Vec<u8>> = inner.link.query(&command).await?;
    Ok(names
        .into_iter()
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .collect())
}

async fn fetch(
    inner: &Inner,
    realm: &Realm,
    names: &[String],
    users: &mut Vec<StoredUser>,
) -> Result<(), StoreError> {
    let mut reads = pipe();
    // One key of another type must not hide all others.
    for name in names {
        reads.cmd("GET").arg(schema::coturn_user(realm, name));
        reads.cmd("HGETALL").arg(schema::user(realm, name));
    }
    let values = inner.link.each(&mut reads).await?;
    for (name, pair) in names.iter().zip(values.chunks_exact(2)) {
        match stored(realm, name, &pair[0], &pair[1]) {
            Ok(Some(user)) => users.push(user),
            Ok(None) if matches!(pair[0], Value::Nil) => inner.index.mark(realm, name),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(())
}

pub(super) async fn count(inner: &Inner, realm: Option<&Realm>) -> Result<u64, StoreError> {
    let realms = match realm {
        Some(realm) => vec![realm.clone()],
        None => realm_names(inner).await?,
    };
    let mut total = 0;
    for chunk in realms.chunks(CHUNK) {
        let mut reads = pipe();
        for realm in chunk {
            reads.cmd("ZCARD").arg(schema::users(realm));
        }
        let counts: Vec<u64> = inner.link.pipe(&reads).await?;
        total += counts.iter().sum::<u64>();
    }
    Ok(total)
}
