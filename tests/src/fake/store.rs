//! A store that keeps everything but sessions: a million records a minute would be a benchmark of
//! the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relay::store::{
    Author, Change, Glance, Mailbox, QuotaAnswer, QuotaTurn, RateAnswer, RateTurn, Removal, Seen,
    SessionRecord, Store, StoreError, StoredDocument, StoredOauthKey, StoredRealm, StoredRevision,
    StoredSecret, StoredToken, StoredUser, UserKeys, UserRecord,
};
use shared::api::{AuditView, BlockView, EventView, NodeView, RealmDocument};
use shared::{NodeId, Realm, SessionId};
use tokio::sync::broadcast;

/// Passes everything on but records of sessions.
#[derive(Debug)]
pub(super) struct ForgetfulStore {
    inner: Arc<dyn Store>,
}

impl ForgetfulStore {
    pub(super) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner }
    }
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for ForgetfulStore {
            fn kind(&self) -> &'static str {
                self.inner.kind()
            }

            fn counts_together(&self) -> bool {
                self.inner.counts_together()
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
                self.inner.users(realm, after, limit).await
            }

            async fn user_count(&self, realm: Option<&Realm>) -> Result<u64, StoreError> {
                self.inner.user_count(realm).await
            }

            async fn events(
                &self,
                after: Option<&str>,
                limit: usize,
            ) -> Result<Vec<EventView>, StoreError> {
                self.inner.events(after, limit).await
            }

            async fn audit(
                &self,
                before: Option<&str>,
                limit: usize,
            ) -> Result<Vec<AuditView>, StoreError> {
                self.inner.audit(before, limit).await
            }

            async fn flush_sessions(
                &self,
                _: &NodeId,
                _: u64,
                _: &[SessionRecord],
                _: &[SessionId],
            ) -> Result<(), StoreError> {
                Ok(())
            }

            async fn sessions(&self, _: &NodeId) -> Result<Vec<SessionRecord>, StoreError> {
                Ok(Vec::new())
            }

            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, StoreError> {
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

pass_on! {
    ping() -> ();
    user(realm: &Realm, name: &str) -> Option<StoredUser>;
    user_by_hash(realm: &Realm, hash: &[u8; 32]) -> Option<String>;
    put_user(realm: &Realm, name: &str, keys: &UserKeys) -> ();
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
    settle_quota(turn: &QuotaTurn) -> QuotaAnswer;
    share_rates(turn: &RateTurn) -> RateAnswer;
    post(to: &Mailbox, message: Vec<u8>) -> ();
    receive(from: &Mailbox, wait: Duration) -> Vec<Vec<u8>>;
    append_events(events: &[EventView]) -> ();
    append_audit(record: &AuditView) -> ();
    audit_count() -> u64;
    publish(change: &Change) -> ();
}
