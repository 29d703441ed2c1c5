//! Sessions and rates that nodes hold of limits over all of them. All keys of a realm lie in one slot,
//! so that a user's limit and the realm's are judged in one step.

use redis::cmd;

use super::{Inner, schema};
use crate::store::quota::{
    QUOTA_KEPT, QUOTA_LEASE, QuotaAnswer, QuotaLimit, QuotaTurn, RateAnswer, RateTurn, UserAnswer,
};
use crate::store::{StoreError, quota::WHOLE};

/// Takes a holder's word and grants what the limits allow; forgets what holders without a lease said.
/// Keys: leases, sessions of the realm, then those of each user. Arguments: holder, lease and time to
/// keep in milliseconds, replaced nodes, sessions of the realm, its limit (-1: none); for each user
/// whether it is named, sessions, how many are asked for, limit. Answers whether the holder was
/// known, the realm's sessions elsewhere; for each user how many are granted, its sessions elsewhere,
/// and what refused the rest (1: the user's limit, 2: the realm's). A lease never is longer than one
/// that begins now, also where the clock was set back.
const SETTLE: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, live, known = ARGV[1], {}, 0
local longest = now + tonumber(ARGV[2])
local leases = redis.call('HGETALL', KEYS[1])
for i = 1, #leases, 2 do
  local id, ends = leases[i], tonumber(leases[i + 1])
  if ends > longest then redis.call('HSET', KEYS[1], id, longest) end
  local over = ends <= now
  for node in string.gmatch(ARGV[4], '[^,]+') do
    if id ~= me and string.sub(id, 1, #node + 1) == node .. '/' then over = true end
  end
  if over then redis.call('HDEL', KEYS[1], id) else live[id] = true end
end
if live[me] then known = 1 end
live[me] = true
redis.call('HSET', KEYS[1], me, longest)
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
/// so they never are more than the whole together. Whoever gets less than that because somebody who
/// wants nothing has more than an idle one's part asks for it, for five seconds. Keys: leases, budgets
/// that are asked for, then one per budget. Arguments: holder, lease and time to keep in milliseconds,
/// replaced nodes; for each budget what is wanted towards peers and towards clients (-1: no more).
/// Answers whether the holder was known, the keys of budgets that are asked for, and two shares per
/// budget.
const SHARE: &str = r"
local WHOLE, IDLE = 1000000, 10000
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, live, known = ARGV[1], {}, 0
local longest = now + tonumber(ARGV[2])
local leases = redis.call('HGETALL', KEYS[1])
for i = 1, #leases, 2 do
  local id, ends = leases[i], tonumber(leases[i + 1])
  if ends > longest then redis.call('HSET', KEYS[1], id, longest) end
  local over = ends <= now
  for node in string.gmatch(ARGV[4], '[^,]+') do
    if id ~= me and string.sub(id, 1, #node + 1) == node .. '/' then over = true end
  end
  if over then redis.call('HDEL', KEYS[1], id) else live[id] = true end
end
if live[me] then known = 1 end
redis.call('HSET', KEYS[1], me, longest)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local asked = {}
local asks = redis.call('HGETALL', KEYS[2])
for i = 1, #asks, 2 do
  local age = now - tonumber(asks[i + 1])
  if age < 0 or age > 5000 then redis.call('HDEL', KEYS[2], asks[i])
  else asked[#asked + 1] = asks[i] end
end
local function ask(key)
  if #asks >= 512 then return end
  redis.call('HSET', KEYS[2], key, now)
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
local function fair(wishes, mine)
  local n, sum = #wishes, 0
  if n == 1 then return mine > 0 and WHOLE or WHOLE / 2 end
  local least = math.min(IDLE, 60000 / n)
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
local shares = {}
for k = 3, #KEYS do
  local at = 5 + (k - 3) * 2
  local mine = { tonumber(ARGV[at]), tonumber(ARGV[at + 1]) }
  local share = { 0, 0 }
  if mine[1] < 0 then redis.call('HDEL', KEYS[k], me)
  else
    local wishes, taken, idle = { { mine[1] }, { mine[2] } }, { 0, 0 }, { false, false }
    local all = redis.call('HGETALL', KEYS[k])
    for i = 1, #all, 2 do
      if all[i] ~= me and live[all[i]] then
        local a, b, c, d = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
        local has, wants = { tonumber(a), tonumber(b) }, { tonumber(c), tonumber(d) }
        for lane = 1, 2 do
          taken[lane] = taken[lane] + has[lane]
          table.insert(wishes[lane], wants[lane])
          if wants[lane] == 0 and has[lane] > IDLE then idle[lane] = true end
        end
      elseif all[i] ~= me then redis.call('HDEL', KEYS[k], all[i]) end
    end
    local short = false
    for lane = 1, 2 do
      local room, due = math.max(WHOLE - taken[lane], 0), fair(wishes[lane], mine[lane])
      share[lane] = math.floor(math.min(due, room))
      if due > room and mine[lane] > 0 and idle[lane] then short = true end
    end
    if short then ask(KEYS[k]) end
    redis.call('HSET', KEYS[k], me, string.format('%d %d %d %d', share[1], share[2], mine[1], mine[2]))
    redis.call('PEXPIRE', KEYS[k], ARGV[3])
  end
  shares[#shares + 1] = share[1]
  shares[#shares + 1] = share[2]
end
return { known, asked, shares }";

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

pub(super) async fn share(inner: &Inner, turn: &RateTurn) -> Result<RateAnswer, StoreError> {
    let realm = &turn.realm;
    let mut script = cmd("EVAL");
    script
        .arg(SHARE)
        .arg(2 + turn.wishes.len())
        .arg(schema::quota_rate_leases(realm))
        .arg(schema::quota_rate_asked(realm));
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
    let (known, asked, shares): (u32, Vec<String>, Vec<u32>) = inner.link.query(&script).await?;
    let users = asked
        .iter()
        .filter_map(|key| schema::quota_rate_user(realm, key));
    Ok(RateAnswer {
        is_new: known == 0,
        shares: shares.chunks_exact(2).map(|two| [two[0], two[1]]).collect(),
        asked: users.collect(),
    })
}

fn no_sense() -> StoreError {
    StoreError::Refused("the script that counts sessions answered nonsense".to_owned())
}
