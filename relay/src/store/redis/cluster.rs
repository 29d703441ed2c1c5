//! Blocks, tokens, the registry and session records.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Pipeline, Value, cmd, pipe};
use shared::api::{BlockView, NodeRole, NodeState, NodeView};
use shared::{NodeId, Realm, SessionId};

use super::glance::CHANGES_LISTED;
use super::scan::Field;
use super::{Inner, scan, schema};
use crate::store::record::{decode_session, encode_session, from_json, now_ms, to_json};
use crate::store::{
    Change, Mailbox, NODE_KEPT, NODE_SILENT, Removal, SessionRecord, StoreError, StoredToken,
};

/// Sessions in one command.
const SESSIONS_PER_COMMAND: usize = 128;
/// How much longer than its record a silent node is listed: whoever looks for one that left the list has
/// to find none, and the clocks of two servers differ.
const RECORD_GOES_FIRST: Duration = Duration::from_secs(60);
/// Sessions in one pipeline.
const SESSIONS_PER_PIPELINE: usize = 512;
/// The longest write of session records.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The longest read of session records.
const RESTORE_DEADLINE: Duration = Duration::from_secs(10);

/// Writes a block and forgets up to 100 that ended. Keys: zset, hash; arguments: id, end, record,
/// now.
const PUT_BAN: &str = r"
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[4], 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])";

/// Writes a node's record unless a later start of it was counted, and renews the lease of its keys.
/// Keys: epoch, record, sessions; arguments: epoch, version, record, lease in milliseconds. Answers
/// that later epoch, or 0; a negative number where there was no record.
const HEARTBEAT: &str = r"
local newest = tonumber(redis.call('GET', KEYS[1]) or '0')
if newest > tonumber(ARGV[1]) then return newest end
if newest < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
local new = redis.call('HSET', KEYS[2], 'v', ARGV[2], 'epoch', ARGV[1], 'record', ARGV[3])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
return -new";

/// Changes a node's session records unless a later start of it was counted. Keys: epoch, records;
/// arguments: epoch, lease in milliseconds, command, what follows the key in it. Answers that later
/// epoch, or 0. A counter that is gone stops nobody, and one that a master took along that was replaced is
/// set right: the store was emptied, or lost it.
const SESSIONS: &str = r"
local newest = tonumber(redis.call('GET', KEYS[1]) or '0')
if newest > tonumber(ARGV[1]) then return newest end
if newest < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
redis.call(ARGV[3], KEYS[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 0";

/// Scores a node by the store's clock, to the microsecond: two beats never score alike. Answers 1
/// where it was not known. Keys: nodes, changes; arguments: the id, 1 where its record changed in what
/// others act on, how long that stays listed, and the time after which other nodes leave the list (up
/// to 100 of them, for which the others are to look), or 0 where the node has no right to that; both in
/// milliseconds.
const ALIVE: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
if ARGV[4] ~= '0' then
  for _, list in ipairs({{KEYS[2], ARGV[3]}, {KEYS[1], ARGV[4]}}) do
    local last = now - tonumber(list[2])
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', list[1], '-inf', last, 'LIMIT', 0, 100)) do
      redis.call('ZREM', list[1], id)
      if list[1] == KEYS[1] then redis.call('ZADD', KEYS[2], now, id) end
    end
  end
end
local joined = redis.call('ZADD', KEYS[1], now, ARGV[1])
if joined == 1 or ARGV[2] == '1' then redis.call('ZADD', KEYS[2], now, ARGV[1]) end
return joined";

/// Removes a node's keys if its record still is the one that was judged, and no later start was
/// counted. Keys: epoch, record, sessions, mailboxes; argument: the record. Answers whether it did.
const FORGET: &str = r"
if (redis.call('HGET', KEYS[2], 'record') or '') ~= ARGV[1] then return 0 end
if ARGV[1] == '' then return 1 end
local newest = redis.call('GET', KEYS[1])
if newest and newest ~= redis.call('HGET', KEYS[2], 'epoch') then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return 1";

/// Takes a node off the list unless it beat later than it was judged, and has the others look at it.
/// Keys: nodes, changes; arguments: the id, its score.
const UNLIST: &str = r"
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])) do
  if id == ARGV[1] then
    local t = redis.call('TIME')
    redis.call('ZADD', KEYS[2], t[1] * 1000 + t[2] / 1000, id)
    return redis.call('ZREM', KEYS[1], id)
  end
end
return 0";

/// Removes session records that still are as they were read. Key: records; arguments: ids and records
/// in turn.
const EXPIRED: &str = r"
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 0";

pub(super) async fn blocks(inner: &Inner) -> Result<Vec<BlockView>, StoreError> {
    let mut reads = pipe();
    reads
        .cmd("ZRANGEBYSCORE")
        .arg(schema::BANS)
        .arg(format!("({}", now_ms()))
        .arg("+inf");
    reads.cmd("HGETALL").arg(schema::BAN_RECORDS);
    let (ids, mut records): (Vec<String>, HashMap<String, String>) =
        inner.link.pipe(&reads).await?;
    let mut blocks = ids
        .iter()
        .filter_map(|id| records.remove(id))
        .map(|text| from_json::<BlockView>("block", &text))
        .collect::<Result<Vec<_>, _>>()?;
    blocks.sort_by(|a, b| (&a.realm, &a.user).cmp(&(&b.realm, &b.user)));
    Ok(blocks)
}

pub(super) async fn put_block(inner: &Inner, block: &BlockView) -> Result<(), StoreError> {
    let mut writes = pipe();
    writes
        .cmd("EVAL")
        .arg(PUT_BAN)
        .arg(2)
        .arg(schema::BANS)
        .arg(schema::BAN_RECORDS)
        .arg(schema::ban(&block.realm, &block.user))
        .arg(block.until_ms)
        .arg(to_json(block)?)
        .arg(now_ms());
    inner.write_and_tell(writes, Change::Blocks).await
}

pub(super) async fn delete_block(
    inner: &Inner,
    realm: &Realm,
    user: &str,
) -> Result<bool, StoreError> {
    let id = schema::ban(realm, user);
    let mut writes = pipe();
    writes.cmd("ZREM").arg(schema::BANS).arg(&id);
    writes.cmd("HDEL").arg(schema::BAN_RECORDS).arg(&id);
    let (was_there, _): (bool, Value) = inner.link.pipe(&writes).await?;
    inner.tell(Change::Blocks).await;
    Ok(was_there)
}

pub(super) async fn tokens(inner: &Inner) -> Result<Vec<StoredToken>, StoreError> {
    let mut ids: Vec<String> = inner
        .link
        .query(cmd("SMEMBERS").arg(schema::TOKENS))
        .await?;
    ids.sort_unstable();
    let mut reads = pipe();
    for id in &ids {
        reads.cmd("HGET").arg(schema::token(id)).arg("record");
    }
    let records: Vec<Option<String>> = inner.link.pipe(&reads).await?;
    records
        .into_iter()
        .flatten()
        .map(|text| from_json("token", &text))
        .collect()
}

pub(super) async fn put_token(inner: &Inner, token: &StoredToken) -> Result<(), StoreError> {
    let mut writes = pipe();
    writes.cmd("HSET").arg(schema::token(&token.view.id)).arg(&[
        ("v", schema::VERSION.to_string()),
        ("record", to_json(token)?),
    ]);
    writes.cmd("SADD").arg(schema::TOKENS).arg(&token.view.id);
    inner.write_and_tell(writes, Change::Tokens).await
}

pub(super) async fn delete_token(inner: &Inner, id: &str) -> Result<bool, StoreError> {
    let mut writes = pipe();
    writes.cmd("DEL").arg(schema::token(id));
    writes.cmd("SREM").arg(schema::TOKENS).arg(id);
    let (was_there, _): (bool, Value) = inner.link.in_order(&writes).await?;
    inner.tell(Change::Tokens).await;
    Ok(was_there)
}

pub(super) async fn next_epoch(inner: &Inner, node: &NodeId) -> Result<u64, StoreError> {
    inner
        .link
        .query(cmd("INCR").arg(schema::node_epoch(node)))
        .await
}

pub(super) async fn heartbeat(inner: &Inner, record: &NodeView) -> Result<bool, StoreError> {
    let lease = NODE_KEPT.as_millis() as u64;
    let mut fenced = cmd("EVAL");
    fenced
        .arg(HEARTBEAT)
        .arg(3)
        .arg(schema::node_epoch(&record.id))
        .arg(schema::node(&record.id))
        .arg(schema::node_sessions(&record.id))
        .arg(record.epoch)
        .arg(schema::VERSION)
        .arg(to_json(record)?)
        .arg(lease);
    let answer: i64 = inner.link.query(&fenced).await?;
    if let Ok(epoch @ 1..) = u64::try_from(answer) {
        return Err(StoreError::Fenced { epoch });
    }
    let unlisted = (NODE_KEPT + RECORD_GOES_FIRST).as_millis() as u64;
    let may_unlist = record.roles.contains(&NodeRole::Gateway);
    let news = inner.told.news(record)?;
    let mut alive = cmd("EVAL");
    alive
        .arg(ALIVE)
        .arg(2)
        .arg(schema::NODES)
        .arg(schema::NODES_CHANGED)
        .arg(record.id.as_str())
        .arg(u8::from(news.is_some()))
        .arg(CHANGES_LISTED.as_millis() as u64)
        .arg(if may_unlist { unlisted } else { 0 });
    let joined: bool = inner.link.query(&alive).await?;
    if let Some(identity) = news {
        inner.told.tell(&record.id, identity);
    }
    if joined {
        inner.tell(Change::Nodes).await;
    }
    Ok(answer < 0)
}

/// When each node beat last, in Unix milliseconds, and the time, both by the store's clock.
async fn heartbeats(inner: &Inner) -> Result<(Duration, Vec<(String, f64)>), StoreError> {
    let mut reads = pipe();
    reads.cmd("TIME");
    reads
        .cmd("ZRANGE")
        .arg(schema::NODES)
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES");
    let ((secs, micros), scores): ((u64, u64), Vec<(String, f64)>) =
        inner.link.pipe(&reads).await?;
    let now = Duration::new(secs, 0) + Duration::from_micros(micros);
    Ok((now, scores))
}

/// The time since a heartbeat.
pub(super) fn age(now: Duration, score: f64) -> Option<Duration> {
    let at = Duration::try_from_secs_f64(score / 1000.0).ok()?;
    Some(now.saturating_sub(at))
}

pub(super) async fn nodes(inner: &Inner) -> Result<Vec<(NodeView, Duration)>, StoreError> {
    listed(inner).await.map(|(_, _, nodes)| nodes)
}

/// All nodes, with the time by the store's clock and how many names the list has.
pub(super) async fn listed(
    inner: &Inner,
) -> Result<(Duration, u64, Vec<(NodeView, Duration)>), StoreError> {
    let (now, scores) = heartbeats(inner).await?;
    let listed = scores.len() as u64;
    let known: Vec<(NodeId, Duration)> = scores
        .into_iter()
        .filter_map(|(id, score)| {
            let age = age(now, score)?;
            (age < NODE_KEPT).then_some((id.parse().ok()?, age))
        })
        .collect();
    let mut reads = pipe();
    for (id, _) in &known {
        reads.cmd("HGET").arg(schema::node(id)).arg("record");
    }
    let records: Vec<Option<String>> = inner.link.pipe(&reads).await?;
    let mut nodes = Vec::new();
    for ((_, age), text) in known.into_iter().zip(records) {
        let Some(text) = text else { continue };
        nodes.push((from_json::<NodeView>("node", &text)?, age));
    }
    nodes.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    Ok((now, listed, nodes))
}

pub(super) async fn remove_node(inner: &Inner, node: &NodeId) -> Result<Removal, StoreError> {
    let (now, scores) = heartbeats(inner).await?;
    let scored = scores.into_iter().find(|(id, _)| id == node.as_str());
    let score = scored.map(|(_, score)| score);
    let mut read = cmd("HGET");
    read.arg(schema::node(node)).arg("record");
    let record: Option<String> = inner.link.query(&read).await?;
    let Some(text) = record.or_else(|| score.map(|_| String::new())) else {
        return Ok(Removal::Unknown);
    };
    // What cannot be read cannot say that it lives.
    let has_stopped =
        from_json::<NodeView>("node", &text).map_or(true, |view| view.state == NodeState::Gone);
    let is_silent = score.is_none_or(|score| age(now, score).is_none_or(|age| age >= NODE_SILENT));
    if !has_stopped && !is_silent {
        return Ok(Removal::Alive);
    }
    let mut forget = cmd("EVAL");
    forget
        .arg(FORGET)
        .arg(5)
        .arg(schema::node_epoch(node))
        .arg(schema::node(node))
        .arg(schema::node_sessions(node))
        .arg(schema::mailbox(&Mailbox::Node(node.clone())))
        .arg(schema::mailbox(&Mailbox::Reply(node.clone())))
        .arg(text);
    if !inner.link.query::<bool>(&forget).await? {
        return Ok(Removal::Alive);
    }
    if let Some(score) = score {
        let mut unlist = cmd("EVAL");
        unlist
            .arg(UNLIST)
            .arg(2)
            .arg(schema::NODES)
            .arg(schema::NODES_CHANGED)
            .arg(node.as_str())
            .arg(score.to_string());
        let _: bool = inner.link.query(&unlist).await?;
    }
    inner.tell(Change::Nodes).await;
    Ok(Removal::Removed)
}

pub(super) async fn flush_sessions(
    inner: &Inner,
    node: &NodeId,
    epoch: u64,
    upserts: &[SessionRecord],
    deletes: &[SessionId],
) -> Result<(), StoreError> {
    // Removals first: an address that changed hands must not be in two records.
    for batch in deletes.chunks(SESSIONS_PER_PIPELINE) {
        let mut writes = pipe();
        for group in batch.chunks(SESSIONS_PER_COMMAND) {
            let command = fenced(&mut writes, node, epoch, "HDEL");
            for id in group {
                command.arg(&id.0.to_be_bytes());
            }
        }
        write_fenced(inner, &writes).await?;
    }
    for batch in upserts.chunks(SESSIONS_PER_PIPELINE) {
        let mut writes = pipe();
        for group in batch.chunks(SESSIONS_PER_COMMAND) {
            let command = fenced(&mut writes, node, epoch, "HSET");
            for record in group {
                command
                    .arg(&record.id.0.to_be_bytes())
                    .arg(encode_session(record)?);
            }
        }
        write_fenced(inner, &writes).await?;
    }
    Ok(())
}

/// A change of a node's session records that a later start of it stops.
fn fenced<'p>(
    writes: &'p mut Pipeline,
    node: &NodeId,
    epoch: u64,
    command: &'static str,
) -> &'p mut Pipeline {
    writes
        .cmd("EVAL")
        .arg(SESSIONS)
        .arg(2)
        .arg(schema::node_epoch(node))
        .arg(schema::node_sessions(node))
        .arg(epoch)
        .arg(NODE_KEPT.as_millis() as u64)
        .arg(command)
}

async fn write_fenced(inner: &Inner, writes: &Pipeline) -> Result<(), StoreError> {
    let answers: Vec<u64> = inner.link.pipe_within(FLUSH_DEADLINE, writes).await?;
    match answers.into_iter().max() {
        Some(epoch) if epoch > 0 => Err(StoreError::Fenced { epoch }),
        _ => Ok(()),
    }
}

/// All records of a node that have not expired. Those that have are forgotten on the way.
pub(super) async fn sessions(
    inner: &Inner,
    node: &NodeId,
) -> Result<Vec<SessionRecord>, StoreError> {
    let (key, now) = (schema::node_sessions(node), now_ms());
    let read = tokio::time::timeout(RESTORE_DEADLINE, scan::hash(&inner.link, &key)).await;
    let fields =
        read.unwrap_or_else(|_| Err(StoreError::Unavailable("Redis is too slow".to_owned())))?;
    let mut found: HashMap<SessionId, SessionRecord> = HashMap::new();
    let mut expired: Vec<Field> = Vec::new();
    for (field, bytes) in fields {
        match decode_session(&bytes) {
            Some(record) if record.expires_at_ms <= now => expired.push((field, bytes)),
            Some(record) => {
                found.insert(record.id, record);
            }
            None => {}
        }
    }
    // What is read is read, whether or not the rest can be tidied up.
    if let Err(error) = forget(inner, &key, &expired).await {
        tracing::debug!(%error, "expired sessions stay in the store for now");
    }
    let mut sessions: Vec<SessionRecord> = found.into_values().collect();
    sessions.sort_unstable_by_key(|record| record.id.0);
    Ok(sessions)
}

/// Removes records unless they were written anew since they were read.
async fn forget(inner: &Inner, key: &str, records: &[Field]) -> Result<(), StoreError> {
    for batch in records.chunks(SESSIONS_PER_PIPELINE) {
        let mut writes = pipe();
        for group in batch.chunks(SESSIONS_PER_COMMAND) {
            let command = writes.cmd("EVAL").arg(EXPIRED).arg(1).arg(key);
            for (field, bytes) in group {
                command.arg(field).arg(bytes);
            }
        }
        inner.link.pipe::<Value>(&writes).await?;
    }
    Ok(())
}
