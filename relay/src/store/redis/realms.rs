//! Realm documents, their projection into coturn's keys, and edits that came from there.

use redis::{Pipeline, Value, cmd, pipe};
use serde::{Deserialize, Serialize};
use shared::Realm;
use shared::api::RealmDocument;

use super::users::realm_names;
use super::{Inner, origins, schema};
use crate::store::coturn::{CoturnOptions, EXTERNAL, MAX_BPS, PeerList, TOTAL_QUOTA, USER_QUOTA};
use crate::store::record::{from_json, now_ms, to_json};
use crate::store::revision::{DELETED_KEPT, REVISIONS_KEPT};
use crate::store::{Author, Change, StoreError, StoredRealm, StoredRevision};

/// How often a realm that was deleted and made again by others meanwhile is tried.
const ATTEMPTS: usize = 3;
/// Realms read by one pipeline.
const CHUNK: usize = 64;
/// Commands for each.
const READS: usize = 10;
/// Which of them reads the origins.
const ORIGINS_AT: usize = 8;

/// Replaces or (`ARGV[4]` not empty) removes a document whose revision is `ARGV[1]`, and writes its
/// projection in the same moment, so that nobody takes the one without the other for a foreign
/// edit. Keys: document, history, then (absent where only the document changes) three options, two
/// sets and the set of origins. Arguments: revision, the next revision, revisions kept, for how many
/// milliseconds those of a deleted realm are kept, the options, how many peers are allowed and
/// denied, the prefix of origins, the realm, then the peers and the origins. The history of a deleted
/// realm is written anew when it comes back, which ends its expiry; that of a realm which was stored
/// before there were any begins with its document as it was.
///
/// Answers -1, or the revision that is there instead (also where there is nothing to remove), or -2 with an origin and the other realm that
/// has it, or -3 with the last revision of a realm that was deleted.
const REPLACE: &str = r"
local current = 0
local text = redis.call('GET', KEYS[1])
if text then
  local ok, record = pcall(cjson.decode, text)
  if not ok then return redis.error_reply('ERR unreadable realm document') end
  current = record['revision']
end
if current ~= tonumber(ARGV[1]) or (current == 0 and ARGV[4] ~= '') then return {current, '', ''} end
local past = {}
if current == 0 then past = redis.call('LRANGE', KEYS[2], 0, -1) end
if #past > 0 then
  local last = cjson.decode(past[1])['revision']
  if last >= cjson.decode(ARGV[2])['revision'] then return {-3, tostring(last), ''} end
end
local origins = 12
if #KEYS > 2 then
  origins = 12 + tonumber(ARGV[8]) + tonumber(ARGV[9])
  for i = origins, #ARGV do
    local holder = redis.pcall('GET', ARGV[10] .. ARGV[i])
    if type(holder) == 'string' and holder ~= ARGV[11] then return {-2, ARGV[i], holder} end
  end
end
if #past > 0 then
  redis.call('DEL', KEYS[2])
  redis.call('RPUSH', KEYS[2], unpack(past))
end
if current > 0 then
  local latest = redis.call('LRANGE', KEYS[2], 0, 0)[1]
  if not latest or cjson.decode(latest)['revision'] < current then redis.call('LPUSH', KEYS[2], text) end
end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[3]) - 1)
if ARGV[4] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('DEL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if #KEYS > 2 then
  for i = 1, 3 do
    if ARGV[4 + i] == '' then redis.call('DEL', KEYS[2 + i]) else redis.call('SET', KEYS[2 + i], ARGV[4 + i]) end
  end
  local allowed = tonumber(ARGV[8])
  redis.call('DEL', KEYS[6], KEYS[7])
  for i = 12, origins - 1 do
    redis.call('SADD', i < 12 + allowed and KEYS[6] or KEYS[7], ARGV[i])
  end
  local wanted = {}
  for i = origins, #ARGV do
    wanted[ARGV[i]] = true
    if redis.pcall('GET', ARGV[10] .. ARGV[i]) ~= ARGV[11] then redis.call('SET', ARGV[10] .. ARGV[i], ARGV[11]) end
  end
  for _, old in ipairs(redis.call('SMEMBERS', KEYS[8])) do
    if not wanted[old] and redis.pcall('GET', ARGV[10] .. old) == ARGV[11] then redis.call('DEL', ARGV[10] .. old) end
  end
  redis.call('DEL', KEYS[8])
  for i = origins, #ARGV do redis.call('SADD', KEYS[8], ARGV[i]) end
end
return {-1, '', ''}";

/// The origins of a realm: those of the set `ARGV[1]` whose key under `ARGV[2]` names `ARGV[3]`. The
/// keys are no `KEYS`, which would need the right to write them.
const ORIGINS: &str = r"
local own = {}
for _, origin in ipairs(redis.call('SMEMBERS', ARGV[1])) do
  if redis.pcall('GET', ARGV[2] .. origin) == ARGV[3] then own[#own + 1] = origin end
end
return own";

/// The document as it is stored. Unknown fields of the document are kept by its own type.
#[derive(Deserialize)]
struct Record {
    revision: u64,
    changed_at_ms: u64,
    changed_by: String,
    document: RealmDocument,
}

/// A revision as it is stored: a [`Record`], or the end of one.
#[derive(Serialize, Deserialize)]
struct Revision {
    #[serde(default)]
    v: u32,
    revision: u64,
    changed_at_ms: u64,
    changed_by: String,
    #[serde(default)]
    reason: String,
    document: Option<RealmDocument>,
}

fn reads(pipe: &mut Pipeline, realm: &Realm, scope: Scope) {
    pipe.cmd("GET").arg(schema::realm(realm));
    for option in [MAX_BPS, TOTAL_QUOTA, USER_QUOTA] {
        pipe.cmd("GET").arg(schema::coturn_option(realm, option));
    }
    for list in [PeerList::Allowed, PeerList::Denied] {
        pipe.cmd("SMEMBERS").arg(schema::coturn_peers(realm, list));
    }
    pipe.cmd("EXISTS").arg(schema::coturn_secret(realm));
    pipe.cmd("ZCARD").arg(schema::users(realm));
    match scope {
        Scope::OneServer => pipe
            .cmd("EVAL")
            .arg(ORIGINS)
            .arg(0)
            .arg(schema::origins(realm))
            .arg(schema::ORIGIN_PREFIX)
            .arg(realm.as_str()),
        // Which of them it still has, only their keys say.
        Scope::Cluster => pipe.cmd("SMEMBERS").arg(schema::origins(realm)),
    };
    pipe.cmd("EXISTS").arg(schema::secrets_aside(realm));
}

/// Whether one command may touch all keys of a realm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// One server has them.
    OneServer,
    /// They lie in slots of their own.
    Cluster,
}

impl Scope {
    fn of(inner: &Inner) -> Self {
        match inner.link.is_cluster() {
            true => Self::Cluster,
            false => Self::OneServer,
        }
    }
}

/// A realm as it was read: document, coturn's options, and whether it has users or secrets.
struct Read {
    stored: Option<StoredRealm>,
    options: CoturnOptions,
    peopled: bool,
}

fn text(value: &Value) -> Option<String> {
    redis::from_redis_value_ref(value).ok()
}

fn parse(name: &Realm, values: &[Value]) -> Result<Read, StoreError> {
    let stored = match text(&values[0]) {
        None => None,
        Some(json) => {
            let record: Record = from_json(&format!("realm {name}"), &json)?;
            Some(StoredRealm {
                name: name.clone(),
                revision: record.revision,
                document: record.document,
                changed_at_ms: record.changed_at_ms,
                changed_by: record.changed_by,
            })
        }
    };
    let mut options = CoturnOptions::default();
    for (option, value) in [MAX_BPS, TOTAL_QUOTA, USER_QUOTA]
        .into_iter()
        .zip(&values[1..4])
    {
        if let Some(value) = text(value) {
            options.set(option, &value);
        }
    }
    for (list, value) in [PeerList::Allowed, PeerList::Denied]
        .into_iter()
        .zip(&values[4..6])
    {
        let ranges: Vec<String> = redis::from_redis_value_ref(value).unwrap_or_default();
        ranges
            .iter()
            .for_each(|range| options.add_peer(list, range));
    }
    let origins: Vec<Vec<u8>> =
        redis::from_redis_value_ref(&values[ORIGINS_AT]).unwrap_or_default();
    for origin in origins
        .iter()
        .filter_map(|text| std::str::from_utf8(text).ok())
    {
        options.add_origin(origin);
    }
    let number = |value| redis::from_redis_value_ref::<u64>(value).unwrap_or(0);
    let peopled = [6, 7, 9].iter().any(|&at| number(&values[at]) > 0);
    Ok(Read {
        stored,
        options,
        peopled,
    })
}

async fn read(inner: &Inner, realms: &[Realm]) -> Result<Vec<Read>, StoreError> {
    let mut pipeline = pipe();
    // A key of another type among coturn's must not hide all realms.
    let scope = Scope::of(inner);
    realms
        .iter()
        .for_each(|realm| reads(&mut pipeline, realm, scope));
    let mut values = inner.link.each(&mut pipeline).await?;
    if scope == Scope::Cluster {
        let asked = realms.iter().zip(values.chunks_exact_mut(READS));
        origins::keep_own(
            inner,
            asked.map(|(realm, values)| (realm, &mut values[ORIGINS_AT])),
        )
        .await?;
    }
    realms
        .iter()
        .zip(values.chunks_exact(READS))
        .map(|(name, values)| parse(name, values))
        .collect()
}

pub(super) async fn all(inner: &Inner) -> Result<Vec<StoredRealm>, StoreError> {
    let names = realm_names(inner).await?;
    let mut realms = Vec::new();
    for chunk in names.chunks(CHUNK) {
        for (name, read) in chunk.iter().zip(read(inner, chunk).await?) {
            let foreign = read.peopled || read.options != CoturnOptions::default();
            realms.extend(read.stored.or_else(|| {
                foreign.then(|| StoredRealm {
                    name: name.clone(),
                    revision: 0,
                    document: read.options.without_document(),
                    changed_at_ms: 0,
                    changed_by: EXTERNAL.to_owned(),
                })
            }));
        }
    }
    Ok(realms)
}

/// Whether coturn's keys follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Projection {
    Write,
    Keep,
}

async fn replace(
    inner: &Inner,
    name: &Realm,
    next: &Revision,
    expected: u64,
    projection: Projection,
) -> Result<Replaced, StoreError> {
    let mut keys = vec![schema::realm(name), schema::realm_history(name)];
    let mut arguments = vec![expected.to_string(), to_json(next)?];
    arguments.push(REVISIONS_KEPT.to_string());
    let kept_for = match next.document {
        Some(_) => String::new(),
        None => DELETED_KEPT.as_millis().to_string(),
    };
    arguments.push(kept_for);
    if projection == Projection::Write {
        let document = next.document.as_ref();
        let options = document.map(CoturnOptions::projection).unwrap_or_default();
        for (option, value) in options.options() {
            keys.push(schema::coturn_option(name, option));
            arguments.push(value.unwrap_or_default());
        }
        let (allowed, denied) = (
            options.peers(PeerList::Allowed),
            options.peers(PeerList::Denied),
        );
        keys.push(schema::coturn_peers(name, PeerList::Allowed));
        keys.push(schema::coturn_peers(name, PeerList::Denied));
        keys.push(schema::origins(name));
        arguments.extend([allowed.len().to_string(), denied.len().to_string()]);
        arguments.extend([schema::ORIGIN_PREFIX.to_owned(), name.as_str().to_owned()]);
        arguments.extend(allowed);
        arguments.extend(denied);
        arguments.extend(options.origins().map(str::to_owned));
    }
    let mut script = cmd("EVAL");
    script
        .arg(REPLACE)
        .arg(keys.len())
        .arg(&keys)
        .arg(&arguments);
    let answer: (i64, Vec<u8>, Vec<u8>) = inner.link.query(&script).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (u64::try_from(answer.0), answer.0) {
        (Ok(current), _) => Err(StoreError::RevisionConflict { current }),
        (Err(_), -2) => Err(StoreError::OriginTaken {
            origin: text(&answer.1),
            realm: text(&answer.2),
        }),
        (Err(_), -3) => Ok(Replaced::HadRevisions(
            text(&answer.1).parse().unwrap_or(next.revision),
        )),
        (Err(_), _) => Ok(Replaced::Done),
    }
}

/// What became of a new revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    /// It is there.
    Done,
    /// The realm was deleted at this one, after which the next one counts.
    HadRevisions(u64),
}

/// The latest revisions, newest first; the document as it is, where there is no revision of it.
pub(super) async fn revisions(
    inner: &Inner,
    name: &Realm,
) -> Result<Vec<StoredRevision>, StoreError> {
    let mut both = pipe();
    // In this order: of a document that changes in between its revision is not there yet.
    both.cmd("GET").arg(schema::realm(name));
    both.cmd("LRANGE")
        .arg(schema::realm_history(name))
        .arg(0)
        .arg(-1);
    let (document, texts): (Option<String>, Vec<String>) = inner.link.pipe(&both).await?;
    let read = |text: &String| {
        let revision: Revision = from_json(&format!("a revision of realm {name}"), text)?;
        Ok(StoredRevision {
            revision: revision.revision,
            changed_at_ms: revision.changed_at_ms,
            changed_by: revision.changed_by,
            reason: revision.reason,
            document: revision.document,
        })
    };
    let mut revisions: Vec<StoredRevision> = texts.iter().map(read).collect::<Result<_, _>>()?;
    if let Some(document) = document.as_ref().map(read).transpose()? {
        let latest = revisions.first().map_or(0, |latest| latest.revision);
        if document.revision > latest {
            revisions.insert(0, document);
        }
    }
    Ok(revisions)
}

pub(super) async fn put(
    inner: &Inner,
    name: &Realm,
    document: &RealmDocument,
    expected: u64,
    author: &Author,
) -> Result<u64, StoreError> {
    // First the name: a realm without a document is nothing, a document without a name is lost.
    inner
        .link
        .query::<()>(cmd("SADD").arg(schema::REALMS).arg(name.as_str()))
        .await?;
    if inner.link.is_cluster() {
        let claim = origins::claim(inner, name, document).await?;
        return write_claimed(inner, name, Some(document), expected, author, claim).await;
    }
    let write = Projection::Write;
    let revision = store(inner, name, Some(document), expected, author, write).await?;
    tell(inner, name, revision).await;
    Ok(revision)
}

/// Writes a document for which origins are claimed, or removes it, in a cluster.
async fn write_claimed(
    inner: &Inner,
    name: &Realm,
    document: Option<&RealmDocument>,
    expected: u64,
    author: &Author,
    claim: origins::Claim,
) -> Result<u64, StoreError> {
    match store(inner, name, document, expected, author, Projection::Keep).await {
        Ok(revision) => {
            // What is written is told, whatever becomes of what it leaves behind.
            let told = if document.is_some() { revision } else { 0 };
            tell(inner, name, told).await;
            claim.settle(inner).await;
            Ok(revision)
        }
        Err(error) => {
            claim.abandon(inner, &error).await;
            Err(error)
        }
    }
}

/// Tells everybody that a realm changed; 0: it is gone.
async fn tell(inner: &Inner, name: &Realm, revision: u64) {
    let realm = name.clone();
    inner.tell(Change::Realm { realm, revision }).await;
}

/// Makes a document, or its absence, the next revision, and answers which one that is.
async fn store(
    inner: &Inner,
    name: &Realm,
    document: Option<&RealmDocument>,
    expected: u64,
    author: &Author,
    projection: Projection,
) -> Result<u64, StoreError> {
    let mut next = Revision {
        v: schema::VERSION,
        revision: expected + 1,
        changed_at_ms: now_ms(),
        changed_by: author.actor.clone(),
        reason: author.reason.clone(),
        document: document.cloned(),
    };
    for _ in 0..ATTEMPTS {
        match replace(inner, name, &next, expected, projection).await? {
            Replaced::Done => return Ok(next.revision),
            Replaced::HadRevisions(last) => next.revision = last + 1,
        }
    }
    Err(StoreError::RevisionConflict { current: 0 })
}

pub(super) async fn delete(
    inner: &Inner,
    name: &Realm,
    expected: u64,
    author: &Author,
) -> Result<(), StoreError> {
    if inner.link.is_cluster() {
        let claim = origins::Claim::of_nothing(name);
        write_claimed(inner, name, None, expected, author, claim).await?;
        return Ok(());
    }
    store(inner, name, None, expected, author, Projection::Write).await?;
    tell(inner, name, 0).await;
    Ok(())
}

/// Looks at realms whose coturn keys changed under us: makes a foreign edit the next revision, and
/// tells. A node that may not write leaves that to a gateway, which will tell it.
pub(super) async fn import_foreign_edits(
    inner: &Inner,
    realms: &[Realm],
) -> Result<(), StoreError> {
    if inner.link.is_cluster() {
        // Documents are not projected there, so that a difference says nothing.
        for name in realms {
            inner.tell_here(Change::Realm {
                realm: name.clone(),
                revision: 0,
            });
        }
        return Ok(());
    }
    for chunk in realms.chunks(CHUNK) {
        // One snapshot: a document must not be compared with the projection of another revision.
        let mut reads_of_chunk = Vec::new();
        for name in chunk {
            let mut pipeline = pipe();
            pipeline.atomic();
            reads(&mut pipeline, name, Scope::OneServer);
            let values: Vec<Value> = inner.link.pipe(&pipeline).await?;
            reads_of_chunk.push(parse(name, &values)?);
        }
        for (name, read) in chunk.iter().zip(reads_of_chunk) {
            let Some(stored) = read.stored else {
                inner.tell_here(Change::Realm {
                    realm: name.clone(),
                    revision: 0,
                });
                continue;
            };
            let Some(document) = read.options.import(&stored.document) else {
                continue;
            };
            if !inner.gateway {
                continue;
            }
            let (expected, keep) = (stored.revision, Projection::Keep);
            let author = Author::from(EXTERNAL);
            match store(inner, name, Some(&document), expected, &author, keep).await {
                Ok(revision) => tell(inner, name, revision).await,
                // Another gateway was faster, or somebody edits: its change is told by itself.
                Err(StoreError::RevisionConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
