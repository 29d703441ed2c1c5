//! A store that can be out of reach, answer to nobody, or take its time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use shared::api::{AuditView, BlockView, EventView, NodeView, RealmDocument};
use shared::{NodeId, Realm, SessionId};
use tokio::sync::{Semaphore, broadcast};

use crate::store::{
    Author, Change, Glance, Mailbox, QuotaAnswer, QuotaTurn, RateAnswer, RateTurn, Removal, Seen,
    SessionRecord, Store, StoreError, StoredDocument, StoredOauthKey, StoredRealm, StoredRevision,
    StoredSecret, StoredToken, StoredUser, UserKeys, UserRecord,
};

/// Passes everything on, unless it is away.
#[derive(Debug)]
pub(in crate::control) struct FlakyStore {
    inner: Arc<dyn Store>,
    away: AtomicBool,
    /// What holders ask for, and users that come together, are taken, and the answer gets lost.
    loses_answers: AtomicBool,
    /// What holders say is refused for now, as by a full Redis.
    refuses: AtomicBool,
    /// Whether it says that other processes count, too.
    counts_together: AtomicBool,
    /// A user that cannot be written.
    unwritable: OnceLock<String>,
    /// A user that the store refuses for good.
    refused: OnceLock<String>,
    /// How many users it takes before it is away.
    room: AtomicUsize,
    /// What holders say waits for one of these.
    permits: Semaphore,
    /// How often they began to say something.
    begun: AtomicUsize,
}

impl FlakyStore {
    pub(in crate::control) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            away: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            counts_together: AtomicBool::new(false),
            unwritable: OnceLock::new(),
            refused: OnceLock::new(),
            room: AtomicUsize::new(usize::MAX),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
            begun: AtomicUsize::new(0),
        })
    }

    /// The same, which says that other processes count, too.
    pub(in crate::control) fn shared(inner: Arc<dyn Store>) -> Arc<Self> {
        let store = Self::new(inner);
        store.counts_together.store(true, Ordering::SeqCst);
        store
    }

    pub(in crate::control) fn set_loses_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::SeqCst);
    }

    pub(in crate::control) fn set_refuses(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Has what holders say wait until it is [let through](Self::let_through).
    pub(in crate::control) fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets so much of it through.
    pub(in crate::control) fn let_through(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// How often holders began to say something, whether or not it was let through.
    pub(in crate::control) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(in crate::control) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// From now on this user cannot be written: the store goes away in the middle.
    pub(in crate::control) fn set_unwritable(&self, user: &str) {
        self.unwritable.set(user.to_owned()).expect("once");
    }

    /// From now on this user is refused for good, as a key of another type in Redis is.
    pub(in crate::control) fn set_refused(&self, user: &str) {
        self.refused.set(user.to_owned()).expect("once");
    }

    /// Goes away when it has taken so many users.
    pub(in crate::control) fn leave_after(&self, users: usize) {
        self.room.store(users, Ordering::SeqCst);
    }

    fn there(&self) -> Result<&dyn Store, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off by a test".to_owned()));
        }
        Ok(&*self.inner)
    }
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for FlakyStore {
            fn kind(&self) -> &'static str {
                self.inner.kind()
            }

            fn counts_together(&self) -> bool {
                self.inner.counts_together() || self.counts_together.load(Ordering::SeqCst)
            }

            async fn settle_quota(&self, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
                self.begun.fetch_add(1, Ordering::SeqCst);
                let permit = self.permits.acquire().await;
                permit.expect("nobody closes it").forget();
                if self.refuses.load(Ordering::SeqCst) {
                    return Err(StoreError::NotNow("OOM in a test".to_owned()));
                }
                let answer = self.there()?.settle_quota(turn).await;
                let asks = turn.users.iter().any(|user| user.asked > 0);
                match asks && self.loses_answers.load(Ordering::SeqCst) {
                    true => Err(StoreError::Unavailable("no answer".to_owned())),
                    false => answer,
                }
            }

            async fn put_user(
                &self,
                realm: &Realm,
                name: &str,
                keys: &UserKeys,
            ) -> Result<(), StoreError> {
                if self.unwritable.get().is_some_and(|user| user == name) {
                    return Err(StoreError::Unavailable("switched off by a test".to_owned()));
                }
                if self.refused.get().is_some_and(|user| user == name) {
                    return Err(StoreError::Refused("WRONGTYPE in a test".to_owned()));
                }
                let order = Ordering::SeqCst;
                let room = self.room.fetch_update(order, order, |room| room.checked_sub(1));
                if room.is_err() {
                    self.set_away(true);
                }
                self.there()?.put_user(realm, name, keys).await
            }

            async fn put_users(
                &self,
                realm: &Realm,
                users: &[(String, UserKeys)],
            ) -> Result<(), StoreError> {
                if self.loses_answers.load(Ordering::SeqCst) {
                    self.there()?.put_users(realm, users).await?;
                    return Err(StoreError::Unavailable("no answer".to_owned()));
                }
                // One after the other, as Redis does.
                for (name, keys) in users {
                    self.put_user(realm, name, keys).await?;
                }
                Ok(())
            }

            fn changes(&self) -> broadcast::Receiver<Change> {
                self.inner.changes()
            }

            async fn users(
                &self,
                realm: Option<&Realm>,
                after: Option<(&Realm, &str)>,
                limit: usize,
            ) -> Result<Vec<StoredUser>, StoreError> {
                self.there()?.users(realm, after, limit).await
            }

            async fn user_count(&self, realm: Option<&Realm>) -> Result<u64, StoreError> {
                self.there()?.user_count(realm).await
            }

            async fn events(
                &self,
                after: Option<&str>,
                limit: usize,
            ) -> Result<Vec<EventView>, StoreError> {
                self.there()?.events(after, limit).await
            }

            async fn audit(
                &self,
                before: Option<&str>,
                limit: usize,
            ) -> Result<Vec<AuditView>, StoreError> {
                self.there()?.audit(before, limit).await
            }

            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, StoreError> {
                self.there()?.$name($($arg),*).await
            })*
        }
    };
}

pass_on! {
    ping() -> ();
    user(realm: &Realm, name: &str) -> Option<StoredUser>;
    user_by_hash(realm: &Realm, hash: &[u8; 32]) -> Option<String>;
    oauth_keys() -> Vec<StoredOauthKey>;
    put_oauth_key(key: &StoredOauthKey) -> ();
    delete_oauth_key(kid: &str) -> bool;
    put_user_record(realm: &Realm, name: &str, record: &UserRecord) -> bool;
    delete_user(realm: &Realm, name: &str) -> bool;
    secrets(realm: &Realm) -> Vec<StoredSecret>;
    put_secret(realm: &Realm, secret: &StoredSecret) -> ();
    delete_secret(realm: &Realm, value: &str) -> bool;
    realms() -> Vec<StoredRealm>;
    put_realm(name: &Realm, document: &RealmDocument, expected: u64, author: &Author) -> u64;
    delete_realm(name: &Realm, expected: u64, author: &Author) -> ();
    realm_revisions(name: &Realm) -> Vec<StoredRevision>;
    document(name: &str) -> Option<StoredDocument>;
    put_document(name: &str, body: &serde_json::Value, expected: u64, actor: &str) -> u64;
    blocks() -> Vec<BlockView>;
    put_block(block: &BlockView) -> ();
    delete_block(realm: &Realm, user: &str) -> bool;
    tokens() -> Vec<StoredToken>;
    put_token(token: &StoredToken) -> ();
    delete_token(id: &str) -> bool;
    next_epoch(node: &NodeId) -> u64;
    heartbeat(record: &NodeView) -> bool;
    nodes() -> Vec<(NodeView, Duration)>;
    glance(seen: &Seen) -> Glance;
    remove_node(node: &NodeId) -> Removal;
    flush_sessions(node: &NodeId, epoch: u64, upserts: &[SessionRecord], deletes: &[SessionId]) -> ();
    sessions(node: &NodeId) -> Vec<SessionRecord>;
    share_rates(turn: &RateTurn) -> RateAnswer;
    post(to: &Mailbox, message: Vec<u8>) -> ();
    receive(from: &Mailbox, wait: Duration) -> Vec<Vec<u8>>;
    append_events(events: &[EventView]) -> ();
    append_audit(record: &AuditView) -> ();
    audit_count() -> u64;
    publish(change: &Change) -> ();
}
