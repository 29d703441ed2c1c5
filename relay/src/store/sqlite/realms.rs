//! Realm documents, their projection into coturn's tables, and edits that came from there.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use shared::Realm;
use shared::api::RealmDocument;

use super::{Inner, revisions, secrets, sql_error};
use crate::store::coturn::{
    CoturnOptions, EXTERNAL, PeerList, realm as foreign_realm, whole_origin,
};
use crate::store::record::{from_json, now_ms, to_json};
use crate::store::{Author, Change, StoreError, StoredRealm, StoredRevision};

pub(super) fn all(inner: &Inner) -> Result<Vec<StoredRealm>, StoreError> {
    let own = inner.own();
    let mut foreign = inner.turn.read(foreign_realms)?;
    let mut realms = documents(&own)?;
    for name in secrets::realms(&own).map_err(sql_error)? {
        foreign.entry(name).or_default();
    }
    drop(own);
    for (name, options) in foreign {
        realms.entry(name.clone()).or_insert_with(|| StoredRealm {
            name,
            revision: 0,
            document: options.without_document(),
            changed_at_ms: 0,
            changed_by: EXTERNAL.to_owned(),
        });
    }
    Ok(realms.into_values().collect())
}

/// Every realm that coturn's tables name, with its options.
pub(super) fn foreign_realms(db: &Connection) -> rusqlite::Result<BTreeMap<Realm, CoturnOptions>> {
    let mut realms = coturn_options(db)?;
    for table in ["turnusers_lt", "turn_secret"] {
        // Skips from realm to realm along the primary key: a full scan would read every user.
        let mut next = db.prepare_cached(&format!(
            "SELECT realm FROM {table} WHERE realm > ?1 ORDER BY realm LIMIT 1"
        ))?;
        let mut last = String::new();
        while let Some(name) = next
            .query_row([&last], |row| row.get::<_, String>(0))
            .optional()?
        {
            if let Some(realm) = foreign_realm(&name) {
                realms.entry(realm).or_default();
            }
            last = name;
        }
    }
    Ok(realms)
}

/// The options and peer lists of every realm that has some.
pub(super) fn coturn_options(db: &Connection) -> rusqlite::Result<BTreeMap<Realm, CoturnOptions>> {
    let mut realms: BTreeMap<Realm, CoturnOptions> = BTreeMap::new();
    let mut query = db.prepare_cached(
        "SELECT realm, opt, value FROM turn_realm_option \
         UNION ALL SELECT realm, 'allowed', ip_range FROM allowed_peer_ip \
         UNION ALL SELECT realm, 'denied', ip_range FROM denied_peer_ip \
         UNION ALL SELECT realm, 'origin', origin FROM turn_origin_to_realm",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let text = |i| {
            row.get_ref(i).map(|value| match value.as_str() {
                Ok(text) => text.to_owned(),
                // coturn's columns are text, but a hand-written row may hold a number.
                Err(_) => value.as_i64().map(|n| n.to_string()).unwrap_or_default(),
            })
        };
        let (name, option, value) = (text(0)?, text(1)?, text(2)?);
        let Some(realm) = foreign_realm(&name) else {
            continue;
        };
        let options = realms.entry(realm).or_default();
        match option.as_str() {
            "allowed" => options.add_peer(PeerList::Allowed, &value),
            "denied" => options.add_peer(PeerList::Denied, &value),
            "origin" => options.add_origin(&value),
            option => options.set(option, &value),
        }
    }
    Ok(realms)
}

fn documents(own: &Connection) -> Result<BTreeMap<Realm, StoredRealm>, StoreError> {
    let mut query = own
        .prepare_cached("SELECT name, revision, document, changed_at_ms, changed_by FROM realm")
        .map_err(sql_error)?;
    let rows = query
        .query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, String>(4)?,
            ))
        })
        .map_err(sql_error)?;
    let mut realms = BTreeMap::new();
    for row in rows {
        let (name, revision, document, changed_at_ms, changed_by) = row.map_err(sql_error)?;
        let Some(name) = foreign_realm(&name) else {
            continue;
        };
        let stored = StoredRealm {
            document: from_json(&format!("realm {name}"), &document)?,
            revision: u64::try_from(revision).unwrap_or(0),
            changed_at_ms: u64::try_from(changed_at_ms).unwrap_or(0),
            changed_by,
            name: name.clone(),
        };
        realms.insert(name, stored);
    }
    Ok(realms)
}

pub(super) fn put(
    inner: &Inner,
    name: &Realm,
    document: &RealmDocument,
    expected: u64,
    author: &Author,
) -> Result<u64, StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    expect_revision(&transaction, name, expected)?;
    let revision = write_document(&transaction, name, document, expected, author)?;
    // The projection goes first: if only it came to pass, its difference from the document is
    // found and imported; the other way round it would undo the document.
    let projection = CoturnOptions::projection(document);
    let taken = inner.turn.write(|db| {
        let taken = taken(db, name, &projection)?;
        match taken {
            None => project(db, name, &projection).map(|()| None),
            taken => Ok(taken),
        }
    })?;
    if let Some((origin, realm)) = taken {
        return Err(StoreError::OriginTaken { origin, realm });
    }
    transaction.commit().map_err(sql_error)?;
    drop(own);
    inner.tell(Change::Realm {
        realm: name.clone(),
        revision,
    });
    Ok(revision)
}

pub(super) fn delete(
    inner: &Inner,
    name: &Realm,
    expected: u64,
    author: &Author,
) -> Result<(), StoreError> {
    let mut own = inner.own();
    let transaction = own.transaction().map_err(sql_error)?;
    expect_revision(&transaction, name, expected)?;
    if expected == 0 {
        // There is nothing to remove.
        return Err(StoreError::RevisionConflict { current: 0 });
    }
    revisions::begin(&transaction, name)?;
    transaction
        .execute("DELETE FROM realm WHERE name = ?1", [name.as_str()])
        .map_err(sql_error)?;
    let deletion = StoredRevision {
        revision: revisions::next(&transaction, name, expected)?,
        changed_at_ms: now_ms(),
        changed_by: author.actor.clone(),
        reason: author.reason.clone(),
        document: None,
    };
    revisions::add(&transaction, name, &deletion)?;
    revisions::forget_deleted(&transaction, deletion.changed_at_ms)?;
    inner
        .turn
        .write(|db| project(db, name, &CoturnOptions::default()))?;
    transaction.commit().map_err(sql_error)?;
    drop(own);
    inner.tell(Change::Realm {
        realm: name.clone(),
        revision: 0,
    });
    Ok(())
}

fn expect_revision(own: &Connection, name: &Realm, expected: u64) -> Result<(), StoreError> {
    let revision: Option<i64> = own
        .query_row(
            "SELECT revision FROM realm WHERE name = ?1",
            [name.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(sql_error)?;
    let current = revision.map_or(0, |revision| u64::try_from(revision).unwrap_or(0));
    if current == expected {
        Ok(())
    } else {
        Err(StoreError::RevisionConflict { current })
    }
}

/// Writes a document as the revision after `current`, and answers which one that is.
fn write_document(
    own: &Connection,
    name: &Realm,
    document: &RealmDocument,
    current: u64,
    author: &Author,
) -> Result<u64, StoreError> {
    revisions::begin(own, name)?;
    let revision = StoredRevision {
        revision: revisions::next(own, name, current)?,
        changed_at_ms: now_ms(),
        changed_by: author.actor.clone(),
        reason: author.reason.clone(),
        document: Some(document.clone()),
    };
    own.execute(
        "INSERT OR REPLACE INTO realm (name, revision, document, changed_at_ms, changed_by) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            name.as_str(),
            revisions::number(revision.revision),
            to_json(document)?,
            revisions::number(revision.changed_at_ms),
            author.actor
        ],
    )
    .map_err(sql_error)?;
    revisions::add(own, name, &revision)?;
    Ok(revision.revision)
}

/// The first origin that belongs to another realm, and to which.
fn taken(
    db: &Connection,
    name: &Realm,
    options: &CoturnOptions,
) -> rusqlite::Result<Option<(String, String)>> {
    let mut query = db.prepare_cached(
        "SELECT realm FROM turn_origin_to_realm WHERE origin = ?1 AND realm <> ?2",
    )?;
    for origin in options.origins() {
        let other = query
            .query_row([origin, name.as_str()], |row| row.get::<_, String>(0))
            .optional()?;
        if let Some(other) = other {
            return Ok(Some((origin.to_owned(), other)));
        }
    }
    Ok(None)
}

/// Writes the origins of a realm. What is no origin to us stays as other tools wrote it.
fn project_origins(
    db: &Transaction<'_>,
    name: &Realm,
    options: &CoturnOptions,
) -> rusqlite::Result<()> {
    let mut query =
        db.prepare_cached("SELECT origin FROM turn_origin_to_realm WHERE realm = ?1")?;
    let there = query.query_map([name.as_str()], |row| row.get::<_, String>(0))?;
    let there: Vec<String> = there.filter_map(Result::ok).collect();
    let is_ours = |origin: &&String| whole_origin(origin).is_some();
    for origin in there.iter().filter(is_ours) {
        if !options.origins().any(|wanted| wanted == origin) {
            db.execute(
                "DELETE FROM turn_origin_to_realm WHERE origin = ?1",
                [origin],
            )?;
        }
    }
    for origin in options.origins() {
        db.execute(
            "INSERT OR REPLACE INTO turn_origin_to_realm (origin, realm) VALUES (?1, ?2)",
            params![origin, name.as_str()],
        )?;
    }
    Ok(())
}

fn project(db: &Transaction<'_>, name: &Realm, options: &CoturnOptions) -> rusqlite::Result<()> {
    for (option, value) in options.options() {
        match value {
            Some(value) => db.execute(
                "INSERT OR REPLACE INTO turn_realm_option (realm, opt, value) VALUES (?1, ?2, ?3)",
                params![name.as_str(), option, value],
            )?,
            None => db.execute(
                "DELETE FROM turn_realm_option WHERE realm = ?1 AND opt = ?2",
                params![name.as_str(), option],
            )?,
        };
    }
    for (table, list) in [
        ("allowed_peer_ip", PeerList::Allowed),
        ("denied_peer_ip", PeerList::Denied),
    ] {
        db.execute(
            &format!("DELETE FROM {table} WHERE realm = ?1"),
            [name.as_str()],
        )?;
        for range in options.peers(list) {
            db.execute(
                &format!("INSERT OR IGNORE INTO {table} (realm, ip_range) VALUES (?1, ?2)"),
                params![name.as_str(), range],
            )?;
        }
    }
    project_origins(db, name, options)
}

/// Makes what other tools changed in coturn's tables the next revision of our documents, and
/// tells; answers how many realms that were.
pub(super) fn import_foreign_edits(inner: &Inner) -> Result<usize, StoreError> {
    let mut own = inner.own();
    let options = inner.turn.read(coturn_options)?;
    let mut imported = Vec::new();
    let transaction = own.transaction().map_err(sql_error)?;
    for (name, realm) in documents(&transaction)? {
        let actual = options.get(&name).cloned().unwrap_or_default();
        let Some(document) = actual.import(&realm.document) else {
            continue;
        };
        let author = Author::from(EXTERNAL);
        let revision = write_document(&transaction, &name, &document, realm.revision, &author)?;
        imported.push(Change::Realm {
            realm: name,
            revision,
        });
    }
    transaction.commit().map_err(sql_error)?;
    drop(own);
    let count = imported.len();
    imported.into_iter().for_each(|change| inner.tell(change));
    Ok(count)
}
