//! Looks at coturn's tables for what other tools changed.
//!
//! A changed stamp of the file only says "look": then its contents are compared with those of the
//! look before, and the differences told one by one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value;
use shared::Realm;

use super::turndb::Stamp;
use super::{Inner, hashes, realms, refused};
use crate::store::coturn::{CoturnOptions, is_user_name, realm as foreign_realm};
use crate::store::{Change, StoreError};

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often it is compared where its stamp cannot tell (write-ahead mode).
const BLIND_INTERVAL: Duration = Duration::from_millis(750);
/// More differences than this are told as [`Change::Everything`].
const MAX_DIFFERENCES: usize = 1000;

/// What the tables held; of keys and secrets a salted hash only.
#[derive(Debug, Default)]
struct Snapshot {
    users: HashMap<(String, String), u64>,
    secrets: HashMap<String, HashSet<u64>>,
    options: BTreeMap<Realm, CoturnOptions>,
    oauth_keys: HashSet<u64>,
}

impl Snapshot {
    /// Users of ours: with a name that STUN can carry, in a realm that we can serve.
    fn names(&self) -> HashSet<hashes::Name> {
        self.users.keys().filter_map(name).collect()
    }

    /// The users of another look that this one has not.
    fn missing_of(&self, other: &Self) -> Vec<hashes::Name> {
        let missing = other.users.keys();
        let missing = missing.filter(|name| !self.users.contains_key(*name));
        missing.filter_map(name).collect()
    }
}

fn name((realm, name): &(String, String)) -> Option<hashes::Name> {
    let realm = foreign_realm(realm)?;
    is_user_name(name).then(|| (realm, name.clone()))
}

/// Takes the first look and starts the thread that looks on, until the store is dropped.
pub(super) fn start(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let salt = RandomState::new();
    let stamp = inner.turn.stamp()?;
    realms::import_foreign_edits(inner)?;
    let seen = inner.turn.read(|db| snapshot(db, &salt))?;
    hashes::rebuild(inner, &seen.names())?;
    let weak = Arc::downgrade(inner);
    std::thread::Builder::new()
        .name("turndb-watch".to_owned())
        .spawn(move || watch(&weak, stamp, seen, &salt))
        .map_err(|error| refused("watcher thread".as_ref(), &error))?;
    Ok(())
}

fn watch(weak: &Weak<Inner>, mut stamp: Option<Stamp>, mut seen: Snapshot, salt: &RandomState) {
    let mut looked = Instant::now();
    let mut failing = false;
    loop {
        std::thread::sleep(INTERVAL);
        let Some(inner) = weak.upgrade() else { return };
        let outcome = inner.turn.stamp().and_then(|now| {
            let same = now.is_some() && now == stamp;
            if same || (now.is_none() && looked.elapsed() < BLIND_INTERVAL) {
                return Ok(());
            }
            looked = Instant::now();
            let next = inner.turn.read(|db| snapshot(db, salt))?;
            tell(&inner, &seen, &next)?;
            (stamp, seen) = (now, next);
            Ok(())
        });
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(%error, "cannot read coturn's database; users that other tools change are not noticed");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

fn snapshot(db: &Connection, salt: &RandomState) -> rusqlite::Result<Snapshot> {
    let mut snapshot = Snapshot {
        options: realms::coturn_options(db)?,
        ..Snapshot::default()
    };
    let mut query = db.prepare_cached("SELECT realm, name, hmackey FROM turnusers_lt")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (Ok(realm), Ok(name)) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str()) else {
            continue;
        };
        let key = salt.hash_one(row.get_ref(2)?.as_bytes().unwrap_or_default());
        snapshot
            .users
            .insert((realm.to_owned(), name.to_owned()), key);
    }
    let mut query = db.prepare_cached("SELECT realm, value FROM turn_secret")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (Ok(realm), Ok(value)) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str()) else {
            continue;
        };
        snapshot
            .secrets
            .entry(realm.to_owned())
            .or_default()
            .insert(salt.hash_one(value));
    }
    let mut query = db.prepare_cached(
        "SELECT kid, ikm_key, as_rs_alg, timestamp, lifetime, realm FROM oauth_key",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let columns: [Value; 6] = [
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ];
        snapshot
            .oauth_keys
            .insert(salt.hash_one(format!("{columns:?}")));
    }
    Ok(snapshot)
}

fn tell(inner: &Inner, before: &Snapshot, after: &Snapshot) -> Result<(), StoreError> {
    let (appeared, vanished) = (before.missing_of(after), after.missing_of(before));
    hashes::follow(inner, &appeared, &vanished)?;
    let imported = before.options != after.options && realms::import_foreign_edits(inner)? > 0;
    let differences = differences(before, after, imported);
    if differences.len() > MAX_DIFFERENCES {
        inner.tell(Change::Everything);
        return Ok(());
    }
    differences
        .into_iter()
        .for_each(|change| inner.tell(change));
    Ok(())
}

/// The differences in users and secrets, and in options of realms (`imported`: those with a
/// document of ours were told already, with their revision).
fn differences(before: &Snapshot, after: &Snapshot, imported: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let appeared = after
        .users
        .iter()
        .filter(|(name, key)| before.users.get(*name) != Some(key));
    let vanished = before
        .users
        .iter()
        .filter(|(name, _)| !after.users.contains_key(*name));
    for ((realm, name), _) in appeared.chain(vanished) {
        if let Some(realm) = foreign_realm(realm) {
            changes.push(Change::User {
                realm,
                name: name.clone(),
            });
        }
    }
    let realms: HashSet<_> = before.secrets.keys().chain(after.secrets.keys()).collect();
    for name in realms {
        if before.secrets.get(name) == after.secrets.get(name) {
            continue;
        }
        changes.extend(foreign_realm(name).map(|realm| Change::Secrets { realm }));
    }
    if before.oauth_keys != after.oauth_keys {
        changes.push(Change::OauthKeys);
    }
    if !imported {
        let names: HashSet<_> = before.options.keys().chain(after.options.keys()).collect();
        for &name in &names {
            if before.options.get(name) != after.options.get(name) {
                changes.push(Change::Realm {
                    realm: name.clone(),
                    revision: 0,
                });
            }
        }
    }
    changes
}
