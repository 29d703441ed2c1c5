//! Sessions that the processes of a node hold while there are two of them; one alone counts for itself.

use std::collections::HashSet;

use rusqlite::{Transaction, TransactionBehavior, params};

use super::{Inner, sql_error};
use crate::store::StoreError;
use crate::store::quota::{QUOTA_LEASE, QuotaAnswer, QuotaLimit, QuotaTurn, UserAnswer, UserTurn};
use crate::store::record::now_ms;

/// The realm's own sessions stand under the empty user.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS quota_lease (realm TEXT, holder TEXT, until_ms INTEGER NOT NULL,
  PRIMARY KEY (realm, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quota (realm TEXT, user TEXT, holder TEXT, held INTEGER NOT NULL,
  PRIMARY KEY (realm, user, holder)) WITHOUT ROWID;
";

pub(super) fn settle(inner: &Inner, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
    let mut own = inner.own();
    // The other process writes too: what is read must not be old by the time of the write.
    let transaction = own
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql_error)?;
    transaction.execute_batch(TABLES).map_err(sql_error)?;
    let answer = Settling { transaction, turn }.run().map_err(sql_error)?;
    Ok(answer)
}

struct Settling<'c> {
    transaction: Transaction<'c>,
    turn: &'c QuotaTurn,
}

impl Settling<'_> {
    fn run(self) -> rusqlite::Result<QuotaAnswer> {
        let turn = self.turn;
        let (live, is_new) = self.renew()?;
        let others = self.others("", &live)?;
        let mut sessions = turn.sessions;
        let mut users = Vec::with_capacity(turn.users.len());
        for one in &turn.users {
            let there = match one.user.is_empty() {
                true => 0,
                false => self.others(&one.user, &live)?,
            };
            let (granted, refused) = grant(turn, one, there, others + sessions);
            sessions += granted;
            if !one.user.is_empty() {
                self.hold(&one.user, one.held + granted)?;
            }
            users.push(UserAnswer {
                granted,
                others: there,
                refused,
            });
        }
        self.hold("", sessions)?;
        self.transaction.commit()?;
        Ok(QuotaAnswer {
            is_new,
            others,
            users,
        })
    }

    /// Renews the lease, ends those that are over or replaced, and answers the others that are left.
    fn renew(&self) -> rusqlite::Result<(HashSet<String>, bool)> {
        let (turn, now) = (self.turn, now_ms() as i64);
        let until = now + QUOTA_LEASE.as_millis() as i64;
        // A clock that was set back must not make leases longer.
        let mut shorten = self.transaction.prepare_cached(
            "UPDATE quota_lease SET until_ms = ?2 WHERE realm = ?1 AND until_ms > ?2",
        )?;
        shorten.execute(params![turn.realm.as_str(), until])?;
        let mut read = self
            .transaction
            .prepare_cached("SELECT holder, until_ms FROM quota_lease WHERE realm = ?1")?;
        let rows = read.query_map([turn.realm.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let leases: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
        let is_live = |(holder, until): &(String, i64)| {
            let node = holder.rsplit_once('/').map_or("", |(node, _)| node);
            let is_replaced = turn.replaces.iter().any(|replaced| replaced == node);
            *until > now && (*holder == turn.holder || !is_replaced)
        };
        let (live, over): (Vec<_>, Vec<_>) = leases.into_iter().partition(is_live);
        for (holder, _) in over {
            for table in ["quota_lease", "quota"] {
                let end = format!("DELETE FROM {table} WHERE realm = ?1 AND holder = ?2");
                let mut end = self.transaction.prepare_cached(&end)?;
                end.execute(params![turn.realm.as_str(), holder])?;
            }
        }
        let mut write = self.transaction.prepare_cached(
            "INSERT OR REPLACE INTO quota_lease (realm, holder, until_ms) VALUES (?1, ?2, ?3)",
        )?;
        write.execute(params![turn.realm.as_str(), turn.holder, until])?;
        let mut live: HashSet<String> = live.into_iter().map(|(holder, _)| holder).collect();
        let is_new = !live.remove(&turn.holder);
        Ok((live, is_new))
    }

    fn others(&self, user: &str, live: &HashSet<String>) -> rusqlite::Result<u32> {
        let mut read = self
            .transaction
            .prepare_cached("SELECT holder, held FROM quota WHERE realm = ?1 AND user = ?2")?;
        let rows = read.query_map([self.turn.realm.as_str(), user], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
        })?;
        let mut sum = 0;
        for row in rows {
            let (holder, held) = row?;
            sum += if live.contains(&holder) { held } else { 0 };
        }
        Ok(sum)
    }

    fn hold(&self, user: &str, held: u32) -> rusqlite::Result<()> {
        let write = match held {
            0 => "DELETE FROM quota WHERE realm = ?1 AND user = ?2 AND holder = ?3 AND held != ?4",
            _ => "INSERT OR REPLACE INTO quota (realm, user, holder, held) VALUES (?1, ?2, ?3, ?4)",
        };
        let mut write = self.transaction.prepare_cached(write)?;
        let realm = self.turn.realm.as_str();
        write.execute(params![realm, user, self.turn.holder, held])?;
        Ok(())
    }
}

/// How many of those that are asked for both limits allow.
fn grant(turn: &QuotaTurn, one: &UserTurn, there: u32, of_realm: u32) -> (u32, Option<QuotaLimit>) {
    let (mut granted, mut refused) = (one.asked, None);
    let of_user = there + one.held;
    let limit = one.limit.filter(|_| !one.user.is_empty());
    let limits = [
        (limit, of_user, QuotaLimit::User),
        (turn.limit, of_realm, QuotaLimit::Realm),
    ];
    for (limit, used, which) in limits {
        let room = limit.map_or(granted, |limit| limit.saturating_sub(used));
        if room < granted {
            (granted, refused) = (room, Some(which));
        }
    }
    (granted, refused)
}
