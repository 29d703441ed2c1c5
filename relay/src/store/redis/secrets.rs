//! Shared secrets: coturn's set of those that are accepted, their labels, and the others beside it.
//!
//! A value that moves from the one to the other is written where it goes before it is taken from where it
//! was, and read in the other order, so that nobody meets it nowhere. One that is in both is accepted:
//! coturn's set is the truth.

use std::collections::HashMap;

use redis::{Value, pipe};
use serde::{Deserialize, Serialize};
use shared::api::SecretState;
use shared::{Realm, Secret};

use super::{Inner, schema};
use crate::store::record::{from_json, secret_fingerprint, to_json};
use crate::store::{Change, StoreError, StoredSecret};

/// The most secrets of a realm that are read.
const MAX_SECRETS: usize = 512;

/// A secret that is not accepted.
#[derive(Serialize, Deserialize)]
struct Aside {
    v: u32,
    value: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    created_at_ms: u64,
    state: SecretState,
    /// Fields of newer versions.
    #[serde(flatten)]
    extra: serde_json::Map<String, serde_json::Value>,
}

pub(super) async fn all(inner: &Inner, realm: &Realm) -> Result<Vec<StoredSecret>, StoreError> {
    let mut reads = pipe();
    reads.cmd("HGETALL").arg(schema::secrets_aside(realm));
    reads.cmd("SMEMBERS").arg(schema::coturn_secret(realm));
    let (aside, values): (HashMap<String, String>, Vec<Vec<u8>>) =
        inner.link.in_order(&reads).await?;
    let mut values: Vec<Secret<String>> = values
        .into_iter()
        .filter_map(|value| String::from_utf8(value).ok().map(Secret::new))
        .take(MAX_SECRETS)
        .collect();
    values.sort_unstable_by(|a, b| a.expose().cmp(b.expose()));
    let mut reads = pipe();
    for value in &values {
        let key = schema::secret(realm, secret_fingerprint(value.expose()));
        reads.cmd("HGETALL").arg(key);
    }
    let labels: Vec<HashMap<String, String>> = match values.is_empty() {
        true => Vec::new(),
        false => inner.link.pipe(&reads).await?,
    };
    let mut secrets: Vec<_> = values
        .into_iter()
        .zip(labels)
        .map(|(value, fields)| accepted(value, fields))
        .collect();
    for text in aside.values().take(MAX_SECRETS) {
        let aside: Aside = from_json(&format!("secrets of {realm}"), text)?;
        if secrets
            .iter()
            .all(|known| *known.value.expose() != aside.value)
        {
            secrets.push(StoredSecret {
                value: Secret::new(aside.value),
                label: aside.label,
                created_at_ms: aside.created_at_ms,
                state: aside.state,
            });
        }
    }
    secrets.sort_unstable_by(|a, b| a.value.expose().cmp(b.value.expose()));
    Ok(secrets)
}

fn accepted(value: Secret<String>, mut fields: HashMap<String, String>) -> StoredSecret {
    let number = |text: &String| text.parse().ok();
    let retiring = fields.get("state").map(String::as_str) == Some(SecretState::Retiring.as_str());
    StoredSecret {
        value,
        label: fields.remove("label").unwrap_or_default(),
        created_at_ms: fields.get("created_at_ms").and_then(number).unwrap_or(0),
        state: match retiring {
            true => SecretState::Retiring,
            false => SecretState::Active,
        },
    }
}

pub(super) async fn put(
    inner: &Inner,
    realm: &Realm,
    secret: &StoredSecret,
) -> Result<(), StoreError> {
    let value = secret.value.expose();
    let fingerprint = secret_fingerprint(value);
    let (set, label) = (
        schema::coturn_secret(realm),
        schema::secret(realm, fingerprint),
    );
    let (aside, field) = (
        schema::secrets_aside(realm),
        schema::secret_field(fingerprint),
    );
    let (mut writes, mut removals) = (pipe(), pipe());
    if secret.state.is_accepted() {
        writes.cmd("HSET").arg(label).arg(&[
            ("v", schema::VERSION.to_string()),
            ("label", secret.label.clone()),
            ("created_at_ms", secret.created_at_ms.to_string()),
            ("state", secret.state.as_str().to_owned()),
        ]);
        writes.cmd("SADD").arg(set).arg(value);
        removals.cmd("HDEL").arg(aside).arg(field);
    } else {
        let record = Aside {
            v: schema::VERSION,
            value: value.clone(),
            label: secret.label.clone(),
            created_at_ms: secret.created_at_ms,
            state: secret.state,
            extra: serde_json::Map::new(),
        };
        writes
            .cmd("HSET")
            .arg(aside)
            .arg(field)
            .arg(to_json(&record)?);
        removals.cmd("SREM").arg(set).arg(value);
        removals.cmd("DEL").arg(label);
    }
    writes.cmd("SADD").arg(schema::REALMS).arg(realm.as_str());
    // Taken away only when it is known to be where it goes: a Redis that is full takes nothing, and
    // still removes.
    inner.link.in_order::<Value>(&writes).await?;
    let change = Change::Secrets {
        realm: realm.clone(),
    };
    inner.write_and_tell(removals, change).await
}

pub(super) async fn delete(inner: &Inner, realm: &Realm, value: &str) -> Result<bool, StoreError> {
    let fingerprint = secret_fingerprint(value);
    let mut writes = pipe();
    writes
        .cmd("SREM")
        .arg(schema::coturn_secret(realm))
        .arg(value);
    writes
        .cmd("HDEL")
        .arg(schema::secrets_aside(realm))
        .arg(schema::secret_field(fingerprint));
    writes.cmd("DEL").arg(schema::secret(realm, fingerprint));
    let (accepted, aside, _): (bool, bool, Value) = inner.link.in_order(&writes).await?;
    inner
        .tell(Change::Secrets {
            realm: realm.clone(),
        })
        .await;
    Ok(accepted || aside)
}
