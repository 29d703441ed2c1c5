//! Blocks, tokens, the registry and session records, in `relayd.db`.

use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};
use serde::de::DeserializeOwned;
use shared::api::{BlockView, NodeState, NodeView};
use shared::{NodeId, Realm, SessionId};

use super::{Inner, sql_error};
use crate::store::record::{decode_session, encode_session, from_json, now_ms, to_json};
use crate::store::{
    Change, NODE_KEPT, NODE_SILENT, Removal, SessionRecord, StoreError, StoredToken,
};

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// All rows of a query for one column of JSON.
fn records<T: DeserializeOwned>(
    inner: &Inner,
    what: &str,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<T>, StoreError> {
    let own = inner.own();
    let mut query = own.prepare_cached(sql).map_err(sql_error)?;
    let rows = query
        .query_map(parameters, |row| row.get::<_, String>(0))
        .map_err(sql_error)?;
    rows.map(|text| from_json(what, &text.map_err(sql_error)?))
        .collect()
}

pub(super) fn blocks(inner: &Inner) -> Result<Vec<BlockView>, StoreError> {
    let sql = "SELECT record FROM block WHERE until_ms > ?1 ORDER BY realm, user";
    records(inner, "block", sql, [number(now_ms())])
}

pub(super) fn put_block(inner: &Inner, block: &BlockView) -> Result<(), StoreError> {
    let own = inner.own();
    own.execute("DELETE FROM block WHERE until_ms <= ?1", [number(now_ms())])
        .map_err(sql_error)?;
    own.execute(
        "INSERT OR REPLACE INTO block (realm, user, until_ms, record) VALUES (?1, ?2, ?3, ?4)",
        params![
            block.realm.as_str(),
            block.user,
            number(block.until_ms),
            to_json(block)?
        ],
    )
    .map_err(sql_error)?;
    drop(own);
    inner.tell(Change::Blocks);
    Ok(())
}

pub(super) fn delete_block(inner: &Inner, realm: &Realm, user: &str) -> Result<bool, StoreError> {
    let rows = inner
        .own()
        .execute(
            "DELETE FROM block WHERE realm = ?1 AND user = ?2",
            [realm.as_str(), user],
        )
        .map_err(sql_error)?;
    inner.tell(Change::Blocks);
    Ok(rows > 0)
}

pub(super) fn tokens(inner: &Inner) -> Result<Vec<StoredToken>, StoreError> {
    records(inner, "token", "SELECT record FROM token ORDER BY id", [])
}

pub(super) fn put_token(inner: &Inner, token: &StoredToken) -> Result<(), StoreError> {
    inner
        .own()
        .execute(
            "INSERT OR REPLACE INTO token (id, record) VALUES (?1, ?2)",
            params![token.view.id, to_json(token)?],
        )
        .map_err(sql_error)?;
    inner.tell(Change::Tokens);
    Ok(())
}

pub(super) fn delete_token(inner: &Inner, id: &str) -> Result<bool, StoreError> {
    let rows = inner
        .own()
        .execute("DELETE FROM token WHERE id = ?1", [id])
        .map_err(sql_error)?;
    inner.tell(Change::Tokens);
    Ok(rows > 0)
}

pub(super) fn next_epoch(inner: &Inner, node: &NodeId) -> Result<u64, StoreError> {
    let epoch: i64 = inner
        .own()
        .query_row(
            "INSERT INTO node_epoch (id, epoch) VALUES (?1, 1) \
             ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
            [node.as_str()],
            |row| row.get(0),
        )
        .map_err(sql_error)?;
    Ok(u64::try_from(epoch).unwrap_or(0))
}

/// The latest start of a node; 0: none was counted.
fn counted(transaction: &Transaction<'_>, node: &NodeId) -> Result<u64, StoreError> {
    let epoch: Option<i64> = transaction
        .query_row(
            "SELECT epoch FROM node_epoch WHERE id = ?1",
            [node.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(sql_error)?;
    Ok(u64::try_from(epoch.unwrap_or(0)).unwrap_or(0))
}

pub(super) fn heartbeat(inner: &Inner, record: &NodeView) -> Result<bool, StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    let epoch = counted(&transaction, &record.id)?;
    if epoch > record.epoch {
        return Err(StoreError::Fenced { epoch });
    }
    // A store that lost the counter learns it again from the node that lives.
    transaction
        .execute(
            "INSERT OR REPLACE INTO node_epoch (id, epoch) VALUES (?1, ?2)",
            params![record.id.as_str(), number(record.epoch)],
        )
        .map_err(sql_error)?;
    let known = transaction
        .execute(
            "UPDATE node SET record = ?2, heartbeat_ms = ?3 WHERE id = ?1",
            params![record.id.as_str(), to_json(record)?, number(now_ms())],
        )
        .map_err(sql_error)?;
    if known == 0 {
        transaction
            .execute(
                "INSERT INTO node (id, record, heartbeat_ms) VALUES (?1, ?2, ?3)",
                params![record.id.as_str(), to_json(record)?, number(now_ms())],
            )
            .map_err(sql_error)?;
    }
    end_leases(&transaction)?;
    transaction.commit().map_err(sql_error)?;
    drop(own);
    if known == 0 {
        inner.tell(Change::Nodes);
    }
    Ok(known == 0)
}

/// Nodes that were silent for longer than they are kept leave nothing behind.
fn end_leases(own: &Transaction<'_>) -> Result<(), StoreError> {
    let kept = i64::try_from(NODE_KEPT.as_millis()).unwrap_or(i64::MAX);
    let last = number(now_ms()).saturating_sub(kept);
    let over = "IN (SELECT id FROM node WHERE heartbeat_ms <= ?1)";
    for sql in [
        format!("DELETE FROM session WHERE node {over}"),
        format!("DELETE FROM node_epoch WHERE id {over}"),
        "DELETE FROM node WHERE heartbeat_ms <= ?1".to_owned(),
    ] {
        let mut delete = own.prepare_cached(&sql).map_err(sql_error)?;
        delete.execute([last]).map_err(sql_error)?;
    }
    Ok(())
}

pub(super) fn nodes(inner: &Inner) -> Result<Vec<(NodeView, Duration)>, StoreError> {
    let own = inner.own();
    let mut query = own
        .prepare_cached("SELECT record, heartbeat_ms FROM node WHERE heartbeat_ms > ?1 ORDER BY id")
        .map_err(sql_error)?;
    let now = number(now_ms());
    let kept = i64::try_from(NODE_KEPT.as_millis()).unwrap_or(i64::MAX);
    let rows = query
        .query_map([now.saturating_sub(kept)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .map_err(sql_error)?;
    rows.map(|row| {
        let (text, at) = row.map_err(sql_error)?;
        let age = u64::try_from(now.saturating_sub(at)).unwrap_or(0);
        Ok((from_json("node", &text)?, Duration::from_millis(age)))
    })
    .collect()
}

pub(super) fn remove_node(inner: &Inner, node: &NodeId) -> Result<Removal, StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    let found: Option<(String, i64, i64)> = transaction
        .query_row(
            "SELECT record, heartbeat_ms, ifnull((SELECT epoch FROM node_epoch e WHERE e.id = node.id), 0) \
             FROM node WHERE id = ?1",
            [node.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(sql_error)?;
    let Some((text, beat_ms, newest)) = found else {
        return Ok(Removal::Unknown);
    };
    // What cannot be read cannot say that it lives.
    if let Ok(view) = from_json::<NodeView>("node", &text) {
        let age = u64::try_from(number(now_ms()).saturating_sub(beat_ms)).unwrap_or(0);
        let is_silent = Duration::from_millis(age) >= NODE_SILENT;
        let is_starting = newest > number(view.epoch);
        if is_starting || (view.state != NodeState::Gone && !is_silent) {
            return Ok(Removal::Alive);
        }
    }
    // The count of its starts stays: a process that still runs as this node stays fenced.
    transaction
        .execute("DELETE FROM node WHERE id = ?1", [node.as_str()])
        .map_err(sql_error)?;
    transaction
        .execute("DELETE FROM session WHERE node = ?1", [node.as_str()])
        .map_err(sql_error)?;
    transaction.commit().map_err(sql_error)?;
    drop(own);
    inner.tell(Change::Nodes);
    Ok(Removal::Removed)
}

/// Session ids are 64 bits without a sign, SQLite's integers have one.
fn row_id(id: SessionId) -> i64 {
    i64::from_ne_bytes(id.0.to_ne_bytes())
}

pub(super) fn flush_sessions(
    inner: &Inner,
    node: &NodeId,
    epoch: u64,
    upserts: &[SessionRecord],
    deletes: &[SessionId],
) -> Result<(), StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    let newest = counted(&transaction, node)?;
    if newest > epoch {
        return Err(StoreError::Fenced { epoch: newest });
    }
    {
        // Removals first: an address that changed hands must not be in two records.
        let mut delete = transaction
            .prepare_cached("DELETE FROM session WHERE node = ?1 AND id = ?2")
            .map_err(sql_error)?;
        for id in deletes {
            delete
                .execute(params![node.as_str(), row_id(*id)])
                .map_err(sql_error)?;
        }
        let mut upsert = transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO session (node, id, expires_at_ms, record) \
                 VALUES (?1, ?2, ?3, ?4)",
            )
            .map_err(sql_error)?;
        for record in upserts {
            let expires = number(record.expires_at_ms);
            upsert
                .execute(params![
                    node.as_str(),
                    row_id(record.id),
                    expires,
                    encode_session(record)?
                ])
                .map_err(sql_error)?;
        }
    }
    transaction.commit().map_err(sql_error)
}

pub(super) fn sessions(inner: &Inner, node: &NodeId) -> Result<Vec<SessionRecord>, StoreError> {
    let own = inner.own();
    let now = number(now_ms());
    own.execute(
        "DELETE FROM session WHERE node = ?1 AND expires_at_ms <= ?2",
        params![node.as_str(), now],
    )
    .map_err(sql_error)?;
    let mut query = own
        .prepare_cached("SELECT record FROM session WHERE node = ?1 ORDER BY id")
        .map_err(sql_error)?;
    let rows = query
        .query_map([node.as_str()], |row| row.get::<_, Vec<u8>>(0))
        .map_err(sql_error)?;
    let mut sessions = Vec::new();
    for bytes in rows {
        sessions.extend(decode_session(&bytes.map_err(sql_error)?));
    }
    Ok(sessions)
}
