//! Sessions and rates that nodes hold of limits over all of them. All keys of a realm lie in one slot,
//! so that a user's limit and the realm's are judged in one step.

use redis::cmd;

use super::{Inner, schema};
use crate::store::quota::{
    QUOTA_KEPT, QUOTA_LEASE, QuotaAnswer, QuotaLimit, QuotaTurn, RateShare, RateTurn, UserAnswer,
};
use crate::store::{StoreError, quota::WHOLE};

/// Takes a holder's word and grants what the limits allow; forgets what holders without a lease said.
/// Keys: leases, sessions of the realm, then those of each user. Arguments: holder, lease and time to
/// keep in milliseconds, replaced nodes, sessions of the realm, its limit (-1: none); for each user
/// whether it is named, sessions, how many are asked for, limit. Answers whether the holder was
/// known, the realm's sessions elsewhere; for each user how many are granted, its sessions elsewhere,
/// and what refused the rest (1: the user's limit, 2: the realm's).
const SETTLE: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, live, known = ARGV[1], {}, 0
local leases = redis.call('HGETALL', KEYS[1])
for i = 1, #leases, 2 do
  local id, over = leases[i], tonumber(leases[i + 1]) <= now
  for node in string.gmatch(ARGV[4], '[^,]+') do
    if id ~= me and string.sub(id, 1, #node + 1) == node .. '/' then over = true end
  end
  if over then redis.call('HDEL', KEYS[1], id) else live[id] = true end
end
if live[me] then known = 1 end
live[me] = true
redis.call('HSET', KEYS[1], me, now + tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local function others(key)
  local sum, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if not live[all[i]] then redis.call('HDEL', key, all[i])
    elseif all[i] ~= me then sum = sum + tonumber(all[i + 1]) end
  end
  return sum
end
local function hold(key, count)
  if count <= 0 then redis.call('HDEL', key, me) return end
  redis.call('HSET', key, me, count)
  redis.call('PEXPIRE', key, ARGV[3])
end
local sessions, limit, elsewhere = tonumber(ARGV[5]), tonumber(ARGV[6]), others(KEYS[2])
local answer = { known, elsewhere }
for k = 3, #KEYS do
  local at = 7 + (k - 3) * 4
  local named, held = ARGV[at] == '1', tonumber(ARGV[at + 1])
  local granted, most = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local there, by = 0, 0
  if named then there = others(KEYS[k]) end
  if named and most >= 0 and most - there - held < granted then
    granted, by = math.max(most - there - held, 0), 1
  end
  if limit >= 0 and limit - elsewhere - sessions < granted then
    granted, by = math.max(limit - elsewhere - sessions, 0), 2
  end
  sessions = sessions + granted
  if named then hold(KEYS[k], held + granted) end
  answer[#answer + 1] = granted
  answer[#answer + 1] = there
  answer[#answer + 1] = by
end
hold(KEYS[2], sessions)
return answer";

/// Leases shares of limits, by what everybody wants (max-min fair), of what nobody else has leased:
/// so they never are more than the whole together. Keys: leases, then one per budget. Arguments:
/// holder, lease and time to keep in milliseconds, replaced nodes; for each budget what is wanted towards peers and towards
/// clients (-1: no more). Answers two shares per budget.
const SHARE: &str = r"
local WHOLE = 1000000
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, live = ARGV[1], {}
local leases = redis.call('HGETALL', KEYS[1])
for i = 1, #leases, 2 do
  local id, over = leases[i], tonumber(leases[i + 1]) <= now
  for node in string.gmatch(ARGV[4], '[^,]+') do
    if id ~= me and string.sub(id, 1, #node + 1) == node .. '/' then over = true end
  end
  if over then redis.call('HDEL', KEYS[1], id) else live[id] = true end
end
redis.call('HSET', KEYS[1], me, now + tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local function fair(wishes, mine)
  local n, sum = #wishes, 0
  if n == 1 then return mine > 0 and WHOLE or WHOLE / 2 end
  local least = math.min(10000, 60000 / n)
  for _, wish in ipairs(wishes) do sum = sum + wish end
  if sum == 0 then return least end
  local level = WHOLE
  if sum > WHOLE then
    table.sort(wishes)
    local left = WHOLE
    for i, wish in ipairs(wishes) do
      level = left / (n - i + 1)
      if wish > level then break end
      left = left - wish
    end
    sum = WHOLE
  end
  return least + (WHOLE - n * least) * math.min(mine, level) / sum
end
local answer = {}
for k = 2, #KEYS do
  local at = 5 + (k - 2) * 2
  local mine = { tonumber(ARGV[at]), tonumber(ARGV[at + 1]) }
  local share = { 0, 0 }
  if mine[1] < 0 then redis.call('HDEL', KEYS[k], me)
  else
    local wishes, taken = { { mine[1] }, { mine[2] } }, { 0, 0 }
    local all = redis.call('HGETALL', KEYS[k])
    for i = 1, #all, 2 do
      if all[i] ~= me and live[all[i]] then
        local a, b, c, d = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
        taken[1], taken[2] = taken[1] + tonumber(a), taken[2] + tonumber(b)
        table.insert(wishes[1], tonumber(c))
        table.insert(wishes[2], tonumber(d))
      elseif all[i] ~= me then redis.call('HDEL', KEYS[k], all[i]) end
    end
    for lane = 1, 2 do
      local room = math.max(WHOLE - taken[lane], 0)
      share[lane] = math.floor(math.min(fair(wishes[lane], mine[lane]), room))
    end
    redis.call('HSET', KEYS[k], me, string.format('%d %d %d %d', share[1], share[2], mine[1], mine[2]))
    redis.call('PEXPIRE', KEYS[k], ARGV[3])
  end
  answer[#answer + 1] = share[1]
  answer[#answer + 1] = share[2]
end
return answer";

fn limit(limit: Option<u32>) -> i64 {
    limit.map_or(-1, i64::from)
}

pub(super) async fn settle(inner: &Inner, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
    let realm = &turn.realm;
    let mut script = cmd("EVAL");
    script
        .arg(SETTLE)
        .arg(2 + turn.users.len())
        .arg(schema::quota_leases(realm))
        .arg(schema::quota_sessions(realm, ""));
    for one in &turn.users {
        script.arg(schema::quota_sessions(realm, &one.user));
    }
    script
        .arg(&turn.holder)
        .arg(QUOTA_LEASE.as_millis() as u64)
        .arg(QUOTA_KEPT.as_millis() as u64)
        .arg(turn.replaces.join(","))
        .arg(turn.sessions)
        .arg(limit(turn.limit));
    for one in &turn.users {
        let named = u8::from(!one.user.is_empty());
        script.arg(named).arg(one.held).arg(one.asked);
        script.arg(limit(one.limit));
    }
    let numbers: Vec<u32> = inner.link.query(&script).await?;
    let (head, users) = numbers.split_at_checked(2).ok_or_else(no_sense)?;
    let users = users.chunks_exact(3).map(|user| UserAnswer {
        granted: user[0],
        others: user[1],
        refused: match user[2] {
            1 => Some(QuotaLimit::User),
            2 => Some(QuotaLimit::Realm),
            _ => None,
        },
    });
    Ok(QuotaAnswer {
        is_new: head[0] == 0,
        others: head[1],
        users: users.collect(),
    })
}

pub(super) async fn share(inner: &Inner, turn: &RateTurn) -> Result<Vec<RateShare>, StoreError> {
    let realm = &turn.realm;
    let mut script = cmd("EVAL");
    script
        .arg(SHARE)
        .arg(1 + turn.wishes.len())
        .arg(schema::quota_rate_leases(realm));
    for wish in &turn.wishes {
        script.arg(schema::quota_rate(realm, wish.user.as_deref()));
    }
    script
        .arg(&turn.holder)
        .arg(QUOTA_LEASE.as_millis() as u64)
        .arg(QUOTA_KEPT.as_millis() as u64)
        .arg(turn.replaces.join(","));
    for wish in &turn.wishes {
        let wanted = wish
            .wanted
            .map(|both| both.map(|n| i64::from(n.min(WHOLE))));
        let [up, down] = wanted.unwrap_or([-1, -1]);
        script.arg(up).arg(down);
    }
    let numbers: Vec<u32> = inner.link.query(&script).await?;
    Ok(numbers
        .chunks_exact(2)
        .map(|two| [two[0], two[1]])
        .collect())
}

fn no_sense() -> StoreError {
    StoreError::Refused("the script that counts sessions answered nonsense".to_owned())
}
