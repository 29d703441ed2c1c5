//! To which realm an origin belongs: coturn's keys, one each, and a set per realm of those it has or had.
//!
//! One server changes them in the moment in which it changes the document. In a cluster they lie in
//! slots of their own: the origins of a document are claimed one by one before it is written, and
//! given up when it was not. Who dies in between leaves an origin with the realm that asked for it,
//! until its next edit.

use redis::{Value, cmd, pipe};
use shared::Realm;
use shared::api::RealmDocument;

use super::{Inner, schema};
use crate::store::StoreError;
use crate::store::coturn::{CoturnOptions, realm as coturn_realm};

/// Gives an origin to a realm unless another one has it. Key: the origin's; argument: the realm.
/// Answers the realm that had it, or nothing.
const CLAIM: &str = r"
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'string' then return holder end
redis.call('SET', KEYS[1], ARGV[1])
return ''";

/// Takes an origin from a realm that has it. Key: the origin's; argument: the realm.
const RELEASE: &str = r"
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// The origins of a realm while its document is changed.
pub(super) struct Claim {
    realm: Realm,
    /// What the document has.
    wanted: Vec<String>,
    /// What it did not have before.
    gained: Vec<String>,
}

impl Claim {
    /// No origin.
    pub(super) fn of_nothing(realm: &Realm) -> Self {
        Self {
            realm: realm.clone(),
            wanted: Vec::new(),
            gained: Vec::new(),
        }
    }

    /// Gives up what the realm has no more, after its document was written. What cannot be given up just
    /// now stays with the realm until its next edit, and the document is written all the same.
    pub(super) async fn settle(self, inner: &Inner) {
        let given_up = async {
            let key = schema::origins(&self.realm);
            let had: Vec<String> = inner.link.query(cmd("SMEMBERS").arg(&key)).await?;
            let lost: Vec<String> = had
                .into_iter()
                .filter(|origin| !self.wanted.contains(origin))
                .collect();
            release(inner, &self.realm, &lost).await?;
            if !lost.is_empty() {
                let _: Value = inner.link.query(cmd("SREM").arg(&key).arg(&lost)).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = given_up.await {
            tracing::warn!(realm = %self.realm, %error, "origins that the realm had stay with it until its next edit");
        }
    }

    /// Gives up what was claimed for a document that was not written. One of which nobody knows whether it
    /// was keeps what it claimed.
    pub(super) async fn abandon(self, inner: &Inner, why: &StoreError) {
        if why.may_pass() {
            return;
        }
        if let Err(error) = release(inner, &self.realm, &self.gained).await {
            tracing::warn!(realm = %self.realm, %error, "origins stay with a realm that asked for them in vain");
        }
    }
}

async fn release(inner: &Inner, realm: &Realm, origins: &[String]) -> Result<(), StoreError> {
    let mut releases = pipe();
    for origin in origins {
        releases
            .cmd("EVAL")
            .arg(RELEASE)
            .arg(1)
            .arg(schema::coturn_origin(origin))
            .arg(realm.as_str());
    }
    inner.link.pipe::<Value>(&releases).await?;
    Ok(())
}

/// Claims the origins of a document.
///
/// # Errors
/// [`StoreError::OriginTaken`] where another realm has one; none is claimed then.
pub(super) async fn claim(
    inner: &Inner,
    realm: &Realm,
    document: &RealmDocument,
) -> Result<Claim, StoreError> {
    let options = CoturnOptions::projection(document);
    let wanted: Vec<String> = options.origins().map(str::to_owned).collect();
    let mut claim = Claim {
        wanted: wanted.clone(),
        ..Claim::of_nothing(realm)
    };
    if wanted.is_empty() {
        return Ok(claim);
    }
    // First the set: what the realm has by its key and not by its set would never be given up.
    let set = schema::origins(realm);
    let _: Value = inner.link.query(cmd("SADD").arg(set).arg(&wanted)).await?;
    let mut claims = pipe();
    for origin in &wanted {
        claims
            .cmd("EVAL")
            .arg(CLAIM)
            .arg(1)
            .arg(schema::coturn_origin(origin))
            .arg(realm.as_str());
    }
    let holders: Vec<Vec<u8>> = inner.link.pipe(&claims).await?;
    let mut taken = None;
    for (origin, holder) in wanted.into_iter().zip(holders) {
        if holder.is_empty() {
            claim.gained.push(origin);
        } else if holder != realm.as_str().as_bytes() {
            let holder = String::from_utf8_lossy(&holder).into_owned();
            taken.get_or_insert((origin, holder));
        }
    }
    match taken {
        None => Ok(claim),
        Some((origin, realm)) => {
            let refused = StoreError::OriginTaken { origin, realm };
            claim.abandon(inner, &refused).await;
            Err(refused)
        }
    }
}

/// Leaves of the origins that realms have or had those whose keys name them.
pub(super) async fn keep_own<'a>(
    inner: &Inner,
    read: impl Iterator<Item = (&'a Realm, &'a mut Value)>,
) -> Result<(), StoreError> {
    let mut gets = pipe();
    let mut asked: Vec<(&Realm, &mut Value, Vec<String>)> = Vec::new();
    for (realm, value) in read {
        let origins: Vec<String> = redis::from_redis_value_ref(value).unwrap_or_default();
        for origin in &origins {
            gets.cmd("GET").arg(schema::coturn_origin(origin));
        }
        asked.push((realm, value, origins));
    }
    let holders = inner.link.each(&mut gets).await?;
    let mut holders = holders.into_iter();
    for (realm, value, origins) in asked {
        let own = origins.into_iter().zip(holders.by_ref());
        let own = own.filter_map(|(origin, holder)| {
            let holder: String = redis::from_redis_value(holder).ok()?;
            (holder == realm.as_str()).then(|| Value::BulkString(origin.into_bytes()))
        });
        *value = Value::Array(own.collect());
    }
    Ok(())
}

/// Notes to which realms these origins belong now, and answers those that were not known to have
/// them.
pub(super) async fn note(inner: &Inner, origins: &[String]) -> Result<Vec<Realm>, StoreError> {
    if !inner.gateway || origins.is_empty() {
        return Ok(Vec::new());
    }
    let mut gets = pipe();
    for origin in origins {
        gets.cmd("GET").arg(schema::coturn_origin(origin));
    }
    let values = inner.link.each(&mut gets).await?;
    let mut realms = Vec::new();
    let mut adds = pipe();
    for (origin, value) in origins.iter().zip(&values) {
        if let Some(realm) = redis::from_redis_value_ref::<String>(value)
            .ok()
            .and_then(|name| coturn_realm(&name))
        {
            adds.cmd("SADD").arg(schema::origins(&realm)).arg(origin);
            realms.push(realm);
        }
    }
    if realms.is_empty() {
        return Ok(realms);
    }
    let new: Vec<bool> = inner.link.pipe(&adds).await?;
    let mut new: Vec<Realm> = realms
        .into_iter()
        .zip(new)
        .filter_map(|(realm, new)| new.then_some(realm))
        .collect();
    new.sort_unstable();
    new.dedup();
    Ok(new)
}
