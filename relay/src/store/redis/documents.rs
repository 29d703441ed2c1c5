//! Documents: one key each.

use redis::cmd;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Inner, schema};
use crate::store::document::{StoredDocument, body_text, check_name};
use crate::store::record::{from_json, now_ms, to_json};
use crate::store::{Change, StoreError};

/// Replaces a document whose revision is `ARGV[1]`. Answers -1, or the revision that is there
/// instead.
const REPLACE: &str = r"
local current = 0
local text = redis.call('GET', KEYS[1])
if text then
  local ok, record = pcall(cjson.decode, text)
  if not ok then return redis.error_reply('ERR unreadable document') end
  current = record['revision']
end
if current ~= tonumber(ARGV[1]) then return current end
redis.call('SET', KEYS[1], ARGV[2])
return -1";

/// The document as it is stored. The body is text in it: the script above, which reads the rest,
/// is spared what others made of their own document.
#[derive(Serialize, Deserialize)]
struct Record {
    v: u32,
    revision: u64,
    changed_at_ms: u64,
    changed_by: String,
    body: String,
}

pub(super) async fn one(inner: &Inner, name: &str) -> Result<Option<StoredDocument>, StoreError> {
    check_name(name)?;
    let text: Option<String> = inner
        .link
        .query(cmd("GET").arg(schema::document(name)))
        .await?;
    let Some(text) = text else { return Ok(None) };
    let key = format!("document {name}");
    let record: Record = from_json(&key, &text)?;
    Ok(Some(StoredDocument {
        revision: record.revision,
        changed_at_ms: record.changed_at_ms,
        changed_by: record.changed_by,
        body: from_json(&key, &record.body)?,
    }))
}

pub(super) async fn put(
    inner: &Inner,
    name: &str,
    body: &Value,
    expected: u64,
    actor: &str,
) -> Result<u64, StoreError> {
    check_name(name)?;
    let record = Record {
        v: schema::VERSION,
        revision: expected + 1,
        changed_at_ms: now_ms(),
        changed_by: actor.to_owned(),
        body: body_text(name, body)?,
    };
    let mut script = cmd("EVAL");
    script
        .arg(REPLACE)
        .arg(1)
        .arg(schema::document(name))
        .arg(expected)
        .arg(to_json(&record)?);
    let current: i64 = inner.link.query(&script).await?;
    if let Ok(current) = u64::try_from(current) {
        return Err(StoreError::RevisionConflict { current });
    }
    inner
        .tell(Change::Document {
            name: name.to_owned(),
            revision: record.revision,
        })
        .await;
    Ok(record.revision)
}
