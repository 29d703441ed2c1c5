//! The indices of users, by name and by USERHASH, kept true to coturn's keys.
//!
//! Other tools write users without it. Each such key is looked at when it changes (client
//! tracking), when a page finds it missing, and by a slow pass over all keys after a connection
//! was made, and once a minute by one gateway of the cluster.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Value, cmd, pipe};
use shared::Realm;
use tokio::sync::Notify;

use super::link::Link;
use super::realms::import_foreign_edits;
use super::schema::CoturnKey;
use super::users::{index_user, names_after, realm_names, unindex_user};
use super::{Inner, oauth, origins, schema};
use crate::store::StoreError;

/// Users waiting to be looked at; beyond that a whole pass is due.
const MAX_MARKED: usize = 10_000;
/// Users looked at by one pipeline.
const CHUNK: usize = 500;
/// Keys that Redis goes over in one step of a pass.
const SCAN_COUNT: usize = 500;
/// Pause between steps: at most 25,000 keys a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Time between passes of the cluster while changes are told.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time between passes where Redis does not tell changes.
const BLIND_INTERVAL: Duration = Duration::from_secs(4);

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Index {
    marked: Mutex<HashSet<(Realm, String)>>,
    /// Asks for a whole pass.
    pub(super) pass: Notify,
}

impl Index {
    /// Has a user looked at soon.
    pub(super) fn mark(&self, realm: &Realm, name: &str) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if marked.len() < MAX_MARKED {
            marked.insert((realm.clone(), name.to_owned()));
        } else {
            self.pass.notify_one();
        }
    }

    fn take(&self) -> Vec<(Realm, String)> {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        marked.drain().collect()
    }
}

/// Looks at the users that were marked.
pub(super) async fn settle(inner: &Inner) -> Result<(), StoreError> {
    let marked = inner.index.take();
    if !inner.gateway {
        return Ok(());
    }
    for chunk in marked.chunks(CHUNK) {
        verify(inner, chunk).await?;
    }
    Ok(())
}

async fn exist(inner: &Inner, users: &[(Realm, String)]) -> Result<Vec<bool>, StoreError> {
    let mut reads = pipe();
    for (realm, name) in users {
        reads.cmd("EXISTS").arg(schema::coturn_user(realm, name));
    }
    inner.link.pipe(&reads).await
}

/// Makes the index say of these users what their keys say. The key is looked at again after the
/// index was written: whoever writes both writes the key first, so the last look is right.
async fn verify(inner: &Inner, users: &[(Realm, String)]) -> Result<(), StoreError> {
    let before = exist(inner, users).await?;
    let mut writes = pipe();
    for ((realm, name), &exists) in users.iter().zip(&before) {
        if exists {
            index_user(&mut writes, realm, name);
        } else {
            unindex_user(&mut writes, realm, name);
        }
    }
    let known: HashSet<&Realm> = users
        .iter()
        .zip(&before)
        .filter(|(_, e)| **e)
        .map(|((realm, _), _)| realm)
        .collect();
    for realm in known {
        writes.cmd("SADD").arg(schema::REALMS).arg(realm.as_str());
    }
    inner.link.pipe::<Value>(&writes).await?;
    let after = exist(inner, users).await?;
    for (((realm, name), before), after) in users.iter().zip(before).zip(after) {
        if before != after {
            inner.index.mark(realm, name);
        }
    }
    Ok(())
}

/// Notes that these realms have something of coturn's.
pub(super) async fn note_realms(inner: &Inner, realms: &[Realm]) -> Result<(), StoreError> {
    if !inner.gateway || realms.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = realms.iter().map(Realm::as_str).collect();
    inner
        .link
        .query(cmd("SADD").arg(schema::REALMS).arg(names))
        .await
}

/// Passes over all keys after a connection was made, and now and then, for as long as the store
/// lives.
pub(super) async fn heal(inner: Arc<Inner>) {
    if !inner.gateway {
        return;
    }
    loop {
        let told = inner.link.told();
        let interval = if told { INTERVAL } else { BLIND_INTERVAL };
        // Whoever asks needs no lease: changes may have been missed by this very node.
        let asked = tokio::time::timeout(interval, inner.index.pass.notified())
            .await
            .is_ok();
        let due = asked || !told || lease(&inner, interval).await.unwrap_or(false);
        if due && let Err(error) = pass(&inner).await {
            tracing::debug!(%error, "the pass over coturn's keys ended early");
        }
    }
}

/// Whether it is this gateway's turn.
async fn lease(inner: &Inner, interval: Duration) -> Result<bool, StoreError> {
    let mut command = cmd("SET");
    let ms = interval.as_millis() as u64;
    command
        .arg(schema::HEAL_LEASE)
        .arg(&inner.origin)
        .arg("NX")
        .arg("PX")
        .arg(ms);
    let taken: Option<String> = inner.link.query(&command).await?;
    Ok(taken.is_some())
}

async fn pass(inner: &Inner) -> Result<(), StoreError> {
    for link in inner.link.links() {
        pass_over(inner, &link).await?;
    }
    oauth::forget_missing(inner).await?;
    for realm in realm_names(inner).await? {
        forget_missing(inner, &realm).await?;
    }
    Ok(())
}

/// Looks at all that one server has.
async fn pass_over(inner: &Inner, link: &Link) -> Result<(), StoreError> {
    let mut cursor = "0".to_owned();
    loop {
        let mut step = cmd("SCAN");
        step.arg(&cursor)
            .arg("MATCH")
            .arg(schema::COTURN_KEYS)
            .arg("COUNT")
            .arg(SCAN_COUNT);
        let (next, keys): (String, Vec<Vec<u8>>) = link.query(&step).await?;
        let mut users = Vec::new();
        let mut realms = HashSet::new();
        let mut found = Vec::new();
        let mut kids = Vec::new();
        for key in keys.iter().filter_map(|key| schema::parse_coturn(key)) {
            match key {
                CoturnKey::User(realm, name) => users.push((realm, name)),
                CoturnKey::Secrets(realm) | CoturnKey::Options(realm) => {
                    realms.insert(realm);
                }
                CoturnKey::Origin(origin) => found.push(origin),
                CoturnKey::Oauth(kid) => kids.push(kid),
            }
        }
        for chunk in users.chunks(CHUNK) {
            verify(inner, chunk).await?;
        }
        oauth::note(inner, &kids).await?;
        let gained = origins::note(inner, &found).await?;
        realms.extend(gained.iter().cloned());
        note_realms(inner, &realms.into_iter().collect::<Vec<_>>()).await?;
        import_foreign_edits(inner, &gained).await?;
        cursor = next;
        if cursor == "0" {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Goes over the index of a realm for users whose key is gone.
async fn forget_missing(inner: &Inner, realm: &Realm) -> Result<(), StoreError> {
    let mut last: Option<String> = None;
    loop {
        let names = names_after(inner, realm, last.as_deref(), CHUNK).await?;
        let ended = names.len() < CHUNK;
        let users: Vec<(Realm, String)> = names
            .into_iter()
            .map(|name| (realm.clone(), name))
            .collect();
        let exist = exist(inner, &users).await?;
        last = users.last().map(|(_, name)| name.clone());
        let missing: Vec<(Realm, String)> = users
            .into_iter()
            .zip(exist)
            .filter(|(_, exists)| !exists)
            .map(|(user, _)| user)
            .collect();
        if !missing.is_empty() {
            verify(inner, &missing).await?;
        }
        if ended {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
