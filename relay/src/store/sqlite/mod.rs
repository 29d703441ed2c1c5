//! The default store: two SQLite files of one process.
//!
//! `turndb` holds coturn's tables ([`turndb`]), `relayd.db` everything of ours ([`files`]). Calls
//! run on blocking threads; mailboxes and changes stay inside the process, so that several nodes of
//! one process can share one store; between two processes of a node they go through a table
//! ([`neighbours`]). A thread looks at `turndb` four times a second ([`watch`]).

mod cluster;
mod documents;
mod files;
mod hashes;
mod mailbox;
mod neighbours;
mod oauth;
mod quotas;
mod realms;
mod revisions;
mod secrets;
mod trail;
mod turndb;
mod users;
mod watch;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};
use shared::api::{AuditView, BlockView, EventView, NodeView, RealmDocument};
use shared::{NodeId, Realm, SessionId};
use tokio::sync::broadcast;

use super::{
    Author, CHANGES_KEPT, Change, Mailbox, QuotaAnswer, QuotaTurn, Removal, SessionRecord, Store,
    StoreError, StoredDocument, StoredOauthKey, StoredRealm, StoredRevision, StoredSecret,
    StoredToken, StoredUser, UserKeys, UserRecord,
};
use mailbox::Mailboxes;
use neighbours::Neighbours;
use turndb::TurnDb;

/// How long a call may take that a client, or the node itself, waits for.
const DEADLINE: Duration = crate::store::DEADLINE;
/// The longest edit. Its operator would rather wait for a slow disk than not know whether it was written, and
/// `relayctl` waits five seconds.
const EDIT_DEADLINE: Duration = Duration::from_secs(4);
/// The longest write of session records.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The longest read of session records.
const RESTORE_DEADLINE: Duration = Duration::from_secs(10);

/// The store of a single process.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    turn: TurnDb,
    own: Mutex<Connection>,
    mailboxes: Mailboxes,
    neighbours: Neighbours,
    changes: broadcast::Sender<Change>,
    /// Says to other processes that `relayd.db` is taken; `None`: another process of this node has it.
    claim: Mutex<Option<File>>,
    /// Ours, for the claim.
    path: PathBuf,
}

impl Inner {
    /// Our own file. Locked before `turn`, where both are needed.
    fn own(&self) -> MutexGuard<'_, Connection> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim_lock(&self) -> MutexGuard<'_, Option<File>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a change here, and to other processes of this node where there are any.
    fn tell(&self, change: Change) {
        self.neighbours.tell(&change);
        self.tell_here(change);
    }

    fn tell_here(&self, change: Change) {
        // Nobody listening is fine.
        let _ = self.changes.send(change);
    }
}

impl SqliteStore {
    /// Opens both files and creates them, readable by their owner only, where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where another process owns `db`, where a file cannot be created or
    /// was written by a newer version; [`StoreError::Corrupt`] where one is no SQLite file.
    pub fn open(turndb: &Path, db: &Path) -> Result<Self, StoreError> {
        let claim = files::claim(db)?;
        Self::open_with(turndb, db, Some(claim))
    }

    /// Opens both files beside another process of this node, which is about to stop or to take up
    /// less: mailboxes and changes go through `relayd.db` from now on.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for files in use.
    pub fn open_beside(turndb: &Path, db: &Path) -> Result<Self, StoreError> {
        let store = Self::open_with(turndb, db, None)?;
        neighbours::begin(&store.inner)?;
        Ok(store)
    }

    fn open_with(turndb: &Path, db: &Path, claim: Option<File>) -> Result<Self, StoreError> {
        let own = files::open_own(db)?;
        let inner = Arc::new(Inner {
            turn: TurnDb::open(turndb)?,
            own: Mutex::new(own),
            mailboxes: Mailboxes::default(),
            neighbours: Neighbours::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            claim: Mutex::new(claim),
            path: db.to_owned(),
        });
        watch::start(&inner)?;
        Ok(Self { inner })
    }

    /// Runs `job` on a blocking thread. What is late goes on, but its caller hears of it no more.
    async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        job: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || job(&inner));
        match tokio::time::timeout(deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable(
                "the process is stopping".to_owned(),
            )),
            Err(_) => Err(StoreError::Unavailable("the disk is too slow".to_owned())),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn share(&self) {
        self.inner.claim_lock().take();
        // The other process reads those of the node.
        self.inner.mailboxes.clear();
        if let Err(error) = neighbours::begin(&self.inner) {
            tracing::error!(%error, "the process that took over does not see what goes on here");
        }
    }

    async fn claim(&self) -> Result<(), StoreError> {
        self.run(DEADLINE, |inner| {
            let mut claim = inner.claim_lock();
            if claim.is_none() {
                *claim = Some(files::claim(&inner.path)?);
            }
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.run(DEADLINE, |inner| {
            inner
                .turn
                .read(|db| db.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())))?;
            inner
                .own()
                .query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
                .map_err(sql_error)
        })
        .await
    }

    async fn user(&self, realm: &Realm, name: &str) -> Result<Option<StoredUser>, StoreError> {
        let (realm, name) = (realm.clone(), name.to_owned());
        self.run(DEADLINE, move |inner| users::one(inner, &realm, &name))
            .await
    }

    async fn user_by_hash(
        &self,
        realm: &Realm,
        hash: &[u8; 32],
    ) -> Result<Option<String>, StoreError> {
        let (realm, hash) = (realm.clone(), *hash);
        self.run(DEADLINE, move |inner| hashes::name(inner, &realm, &hash))
            .await
    }

    async fn put_user(&self, realm: &Realm, name: &str, keys: &UserKeys) -> Result<(), StoreError> {
        self.put_users(realm, &[(name.to_owned(), keys.clone())])
            .await
    }

    async fn put_users(
        &self,
        realm: &Realm,
        users: &[(String, UserKeys)],
    ) -> Result<(), StoreError> {
        let (realm, users) = (realm.clone(), users.to_vec());
        self.run(EDIT_DEADLINE, move |inner| {
            users::put(inner, &realm, &users)
        })
        .await
    }

    async fn oauth_keys(&self) -> Result<Vec<StoredOauthKey>, StoreError> {
        self.run(DEADLINE, oauth::all).await
    }

    async fn put_oauth_key(&self, key: &StoredOauthKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.run(EDIT_DEADLINE, move |inner| oauth::put(inner, &key))
            .await
    }

    async fn delete_oauth_key(&self, kid: &str) -> Result<bool, StoreError> {
        let kid = kid.to_owned();
        self.run(EDIT_DEADLINE, move |inner| oauth::delete(inner, &kid))
            .await
    }

    async fn put_user_record(
        &self,
        realm: &Realm,
        name: &str,
        record: &UserRecord,
    ) -> Result<bool, StoreError> {
        let (realm, name, record) = (realm.clone(), name.to_owned(), record.clone());
        self.run(EDIT_DEADLINE, move |inner| {
            users::put_record(inner, &realm, &name, &record)
        })
        .await
    }

    async fn delete_user(&self, realm: &Realm, name: &str) -> Result<bool, StoreError> {
        let (realm, name) = (realm.clone(), name.to_owned());
        self.run(EDIT_DEADLINE, move |inner| {
            users::delete(inner, &realm, &name)
        })
        .await
    }

    async fn users(
        &self,
        realm: Option<&Realm>,
        after: Option<(&Realm, &str)>,
        limit: usize,
    ) -> Result<Vec<StoredUser>, StoreError> {
        let realm = realm.cloned();
        let after = after.map(|(realm, name)| (realm.as_str().to_owned(), name.to_owned()));
        self.run(DEADLINE, move |inner| {
            users::page(inner, realm.as_ref(), after, limit)
        })
        .await
    }

    async fn user_count(&self, realm: Option<&Realm>) -> Result<u64, StoreError> {
        let realm = realm.cloned();
        self.run(DEADLINE, move |inner| users::count(inner, realm.as_ref()))
            .await
    }

    async fn secrets(&self, realm: &Realm) -> Result<Vec<StoredSecret>, StoreError> {
        let realm = realm.clone();
        self.run(DEADLINE, move |inner| secrets::all(inner, &realm))
            .await
    }

    async fn put_secret(&self, realm: &Realm, secret: &StoredSecret) -> Result<(), StoreError> {
        let (realm, secret) = (realm.clone(), secret.clone());
        self.run(EDIT_DEADLINE, move |inner| {
            secrets::put(inner, &realm, &secret)
        })
        .await
    }

    async fn delete_secret(&self, realm: &Realm, value: &str) -> Result<bool, StoreError> {
        let (realm, value) = (realm.clone(), shared::Secret::new(value.to_owned()));
        self.run(EDIT_DEADLINE, move |inner| {
            secrets::delete(inner, &realm, value.expose())
        })
        .await
    }

    async fn realms(&self) -> Result<Vec<StoredRealm>, StoreError> {
        self.run(DEADLINE, realms::all).await
    }

    async fn put_realm(
        &self,
        name: &Realm,
        document: &RealmDocument,
        expected: u64,
        author: &Author,
    ) -> Result<u64, StoreError> {
        let (name, document, author) = (name.clone(), document.clone(), author.clone());
        self.run(EDIT_DEADLINE, move |inner| {
            realms::put(inner, &name, &document, expected, &author)
        })
        .await
    }

    async fn delete_realm(
        &self,
        name: &Realm,
        expected: u64,
        author: &Author,
    ) -> Result<(), StoreError> {
        let (name, author) = (name.clone(), author.clone());
        self.run(EDIT_DEADLINE, move |inner| {
            realms::delete(inner, &name, expected, &author)
        })
        .await
    }

    async fn realm_revisions(&self, name: &Realm) -> Result<Vec<StoredRevision>, StoreError> {
        let name = name.clone();
        self.run(DEADLINE, move |inner| revisions::all(inner, &name))
            .await
    }

    async fn document(&self, name: &str) -> Result<Option<StoredDocument>, StoreError> {
        let name = name.to_owned();
        self.run(DEADLINE, move |inner| documents::one(inner, &name))
            .await
    }

    async fn put_document(
        &self,
        name: &str,
        body: &serde_json::Value,
        expected: u64,
        actor: &str,
    ) -> Result<u64, StoreError> {
        let (name, body, actor) = (name.to_owned(), body.clone(), actor.to_owned());
        self.run(EDIT_DEADLINE, move |inner| {
            documents::put(inner, &name, &body, expected, &actor)
        })
        .await
    }

    async fn blocks(&self) -> Result<Vec<BlockView>, StoreError> {
        self.run(DEADLINE, cluster::blocks).await
    }

    async fn put_block(&self, block: &BlockView) -> Result<(), StoreError> {
        let block = block.clone();
        self.run(EDIT_DEADLINE, move |inner| {
            cluster::put_block(inner, &block)
        })
        .await
    }

    async fn delete_block(&self, realm: &Realm, user: &str) -> Result<bool, StoreError> {
        let (realm, user) = (realm.clone(), user.to_owned());
        self.run(EDIT_DEADLINE, move |inner| {
            cluster::delete_block(inner, &realm, &user)
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        self.run(DEADLINE, cluster::tokens).await
    }

    async fn put_token(&self, token: &StoredToken) -> Result<(), StoreError> {
        let token = token.clone();
        self.run(EDIT_DEADLINE, move |inner| {
            cluster::put_token(inner, &token)
        })
        .await
    }

    async fn delete_token(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.run(EDIT_DEADLINE, move |inner| {
            cluster::delete_token(inner, &id)
        })
        .await
    }

    async fn next_epoch(&self, node: &NodeId) -> Result<u64, StoreError> {
        let node = node.clone();
        self.run(DEADLINE, move |inner| cluster::next_epoch(inner, &node))
            .await
    }

    async fn heartbeat(&self, record: &NodeView) -> Result<bool, StoreError> {
        let record = record.clone();
        self.run(DEADLINE, move |inner| cluster::heartbeat(inner, &record))
            .await
    }

    async fn nodes(&self) -> Result<Vec<(NodeView, Duration)>, StoreError> {
        self.run(DEADLINE, cluster::nodes).await
    }

    async fn remove_node(&self, node: &NodeId) -> Result<Removal, StoreError> {
        let node = node.clone();
        self.run(EDIT_DEADLINE, move |inner| {
            cluster::remove_node(inner, &node)
        })
        .await
    }

    async fn flush_sessions(
        &self,
        node: &NodeId,
        epoch: u64,
        upserts: &[SessionRecord],
        deletes: &[SessionId],
    ) -> Result<(), StoreError> {
        let (node, upserts, deletes) = (node.clone(), upserts.to_vec(), deletes.to_vec());
        self.run(FLUSH_DEADLINE, move |inner| {
            cluster::flush_sessions(inner, &node, epoch, &upserts, &deletes)
        })
        .await
    }

    async fn sessions(&self, node: &NodeId) -> Result<Vec<SessionRecord>, StoreError> {
        let node = node.clone();
        self.run(RESTORE_DEADLINE, move |inner| {
            cluster::sessions(inner, &node)
        })
        .await
    }

    fn counts_together(&self) -> bool {
        self.inner.neighbours.is_on()
    }

    async fn settle_quota(&self, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
        let turn = turn.clone();
        self.run(DEADLINE, move |inner| quotas::settle(inner, &turn))
            .await
    }

    async fn post(&self, to: &Mailbox, message: Vec<u8>) -> Result<(), StoreError> {
        if self.inner.neighbours.is_on() && !self.inner.mailboxes.is_read(to) {
            self.inner.neighbours.post(to, message);
            return Ok(());
        }
        self.inner.mailboxes.post(to, message)
    }

    async fn receive(&self, from: &Mailbox, wait: Duration) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.inner.mailboxes.receive(from, wait).await)
    }

    async fn append_events(&self, events: &[EventView]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.run(DEADLINE, move |inner| trail::append_events(inner, &events))
            .await
    }

    async fn events(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EventView>, StoreError> {
        let after = after.map(str::to_owned);
        self.run(DEADLINE, move |inner| {
            trail::events(inner, after.as_deref(), limit)
        })
        .await
    }

    async fn append_audit(&self, record: &AuditView) -> Result<(), StoreError> {
        let record = record.clone();
        self.run(EDIT_DEADLINE, move |inner| {
            trail::append_audit(inner, &record)
        })
        .await
    }

    async fn audit(
        &self,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditView>, StoreError> {
        let before = before.map(str::to_owned);
        self.run(DEADLINE, move |inner| {
            trail::audit(inner, before.as_deref(), limit)
        })
        .await
    }

    async fn audit_count(&self) -> Result<u64, StoreError> {
        self.run(DEADLINE, trail::audit_count).await
    }

    async fn publish(&self, change: &Change) -> Result<(), StoreError> {
        self.inner.tell(change.clone());
        Ok(())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }
}

/// Sorts SQLite's errors into ours.
fn sql_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
            key: "database file".to_owned(),
            reason: error.to_string(),
        },
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::DiskFull
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig,
        ) => StoreError::Refused(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// What the file system refused, and where.
fn refused(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Refused(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
