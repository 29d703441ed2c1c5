//! The store of a cluster: the Redis (or Valkey) that nodes and, during a migration, coturn share.
//! One server, the master that sentinels name, or a Redis Cluster.
//!
//! [`schema`] names the keys; [`link`] is a connection and [`watch`] its supervisor; [`shards`] are
//! all of them, [`discovery`] finds the servers of a cluster and [`guests`] are those that nobody tells of;
//! [`scan`] reads what is too large for one command. Nothing is cached here. Everything
//! runs under the ACL rules in `relay/redis-acl`. Every command stays in one hash slot; only where
//! coturn's keys are written together with ours (the projection of a realm) it does not, and that is
//! left out in a cluster, since coturn cannot speak Redis Cluster anyway.
//!
//! A session with one permission and one channel takes 315 bytes of Redis' memory (Redis 7.0; 507 with
//! field names in the record); the suite `tests/store` measures it.

mod cluster;
mod discovery;
mod documents;
mod error;
mod glance;
mod guests;
mod index;
mod link;
mod mailbox;
mod marks;
mod oauth;
mod options;
mod origins;
mod quotas;
mod realms;
mod scan;
mod schema;
mod secrets;
mod sentinel;
mod shards;
mod slots;
mod statsdb;
mod topology;
mod trail;
mod users;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use shared::api::{AuditView, BlockView, EventView, NodeView, RealmDocument};
use shared::{NodeId, Realm, SessionId};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::record::to_json;
use super::{
    Author, CHANGES_KEPT, Change, Glance, Mailbox, QuotaAnswer, QuotaTurn, RateAnswer, RateTurn,
    Removal, Seen, SessionRecord, Store, StoreError, StoredDocument, StoredOauthKey, StoredRealm,
    StoredRevision, StoredSecret, StoredToken, StoredUser, UserKeys, UserRecord,
};
use discovery::Found;
use index::Index;
use mailbox::Receivers;
pub use options::RedisOptions;
use shards::Shards;
pub use statsdb::{StatsConnection, StatsDb, Told};
use watch::Heard;

/// The store of a cluster.
#[derive(Clone, Debug)]
pub struct RedisStore {
    inner: Arc<Inner>,
    _supervisor: Arc<DropGuard>,
}

#[derive(Debug)]
struct Inner {
    link: Shards,
    index: Index,
    heard: Heard,
    receivers: Receivers,
    told: glance::Told,
    changes: broadcast::Sender<Change>,
    /// Tells our own messages from those of others.
    origin: String,
    /// Changes published so far.
    published: AtomicU64,
    gateway: bool,
    /// Where its servers are, and what is to be said about them.
    found: Found,
}

impl RedisStore {
    /// Starts to connect, and keeps connecting for as long as the store lives; calls before that
    /// are answered [`StoreError::Unavailable`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the options can never work: no Redis URL, plain text to
    /// another host without `insecure`, an unreadable CA file. Never because Redis is away.
    pub fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner {
            link: Shards::new(options)?,
            index: Index::default(),
            heard: Heard::default(),
            receivers: Receivers::default(),
            told: glance::Told::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            origin: format!("{:016x}", rand::random::<u64>()),
            published: AtomicU64::new(0),
            gateway: options.gateway,
            found: Found::default(),
        });
        let stop = CancellationToken::new();
        inner.link.guests.belong_to(&inner, &stop);
        if inner.link.is_cluster() {
            let keeper = discovery::keep(Arc::clone(&inner), stop.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(keeper));
        }
        for link in inner.link.links() {
            let supervisor = watch::supervise(Arc::clone(&inner), link, false);
            tokio::spawn(stop.clone().run_until_cancelled_owned(supervisor));
        }
        let others = discovery::look_around(Arc::clone(&inner));
        tokio::spawn(stop.clone().run_until_cancelled_owned(others));
        let follower = watch::follow(Arc::clone(&inner));
        tokio::spawn(stop.clone().run_until_cancelled_owned(follower));
        let healer = index::heal(Arc::clone(&inner));
        tokio::spawn(stop.clone().run_until_cancelled_owned(healer));
        Ok(Self {
            inner,
            _supervisor: Arc::new(stop.drop_guard()),
        })
    }
}

impl Inner {
    /// Tells listeners of this process.
    fn tell_here(&self, change: Change) {
        // Nobody listening is fine.
        let _ = self.changes.send(change);
    }

    fn publication(&self, change: &Change) -> Result<Cmd, StoreError> {
        let message = watch::Message {
            v: schema::VERSION,
            from: self.origin.clone(),
            n: self.published.fetch_add(1, Ordering::Relaxed) + 1,
            change: change.clone(),
        };
        let mut command = cmd("PUBLISH");
        command.arg(schema::CHANGES).arg(to_json(&message)?);
        Ok(command)
    }

    /// Tells everybody of what is done already. What does not get through is found by the readers
    /// after the connection came back, so that it is no failure of the change.
    async fn tell(&self, change: Change) {
        self.tell_here(change.clone());
        if let Ok(command) = self.publication(&change) {
            let _ = self.link.query::<Value>(&command).await;
        }
    }

    /// Runs writes in their order and then tells everybody; in one round trip where there is one
    /// server.
    async fn write_and_tell(&self, mut writes: Pipeline, change: Change) -> Result<(), StoreError> {
        writes.add_command(self.publication(&change)?);
        self.link.in_order::<Value>(&writes).await?;
        self.tell_here(change);
        Ok(())
    }
}

#[async_trait]
impl Store for RedisStore {
    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let links = self.inner.link.links();
        if links.is_empty() {
            // Says why, or waits for the first.
            return self.inner.link.query(&cmd("PING")).await;
        }
        let ping = cmd("PING");
        let pings = links.iter().map(|link| link.query::<Value>(&ping));
        try_join_all(pings).await?;
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.inner.link.is_up()
    }

    async fn marks(&self, write: bool) -> Result<Option<String>, StoreError> {
        marks::read(&self.inner, write).await
    }

    fn servers(&self) -> Vec<SocketAddr> {
        self.inner.found.servers()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.found.warnings()
    }

    async fn user(&self, realm: &Realm, name: &str) -> Result<Option<StoredUser>, StoreError> {
        users::one(&self.inner, realm, name).await
    }

    async fn user_by_hash(
        &self,
        realm: &Realm,
        hash: &[u8; 32],
    ) -> Result<Option<String>, StoreError> {
        users::by_hash(&self.inner, realm, hash).await
    }

    async fn put_user(&self, realm: &Realm, name: &str, keys: &UserKeys) -> Result<(), StoreError> {
        users::put(&self.inner, realm, name, keys).await
    }

    async fn oauth_keys(&self) -> Result<Vec<StoredOauthKey>, StoreError> {
        oauth::all(&self.inner).await
    }

    async fn put_oauth_key(&self, key: &StoredOauthKey) -> Result<(), StoreError> {
        oauth::put(&self.inner, key).await
    }

    async fn delete_oauth_key(&self, kid: &str) -> Result<bool, StoreError> {
        oauth::delete(&self.inner, kid).await
    }

    async fn put_user_record(
        &self,
        realm: &Realm,
        name: &str,
        record: &UserRecord,
    ) -> Result<bool, StoreError> {
        users::put_record(&self.inner, realm, name, record).await
    }

    async fn delete_user(&self, realm: &Realm, name: &str) -> Result<bool, StoreError> {
        users::delete(&self.inner, realm, name).await
    }

    async fn users(
        &self,
        realm: Option<&Realm>,
        after: Option<(&Realm, &str)>,
        limit: usize,
    ) -> Result<Vec<StoredUser>, StoreError> {
        users::page(&self.inner, realm, after, limit).await
    }

    async fn user_count(&self, realm: Option<&Realm>) -> Result<u64, StoreError> {
        users::count(&self.inner, realm).await
    }

    async fn secrets(&self, realm: &Realm) -> Result<Vec<StoredSecret>, StoreError> {
        secrets::all(&self.inner, realm).await
    }

    async fn put_secret(&self, realm: &Realm, secret: &StoredSecret) -> Result<(), StoreError> {
        secrets::put(&self.inner, realm, secret).await
    }

    async fn delete_secret(&self, realm: &Realm, value: &str) -> Result<bool, StoreError> {
        secrets::delete(&self.inner, realm, value).await
    }

    async fn realms(&self) -> Result<Vec<StoredRealm>, StoreError> {
        realms::all(&self.inner).await
    }

    async fn put_realm(
        &self,
        name: &Realm,
        document: &RealmDocument,
        expected: u64,
        author: &Author,
    ) -> Result<u64, StoreError> {
        realms::put(&self.inner, name, document, expected, author).await
    }

    async fn delete_realm(
        &self,
        name: &Realm,
        expected: u64,
        author: &Author,
    ) -> Result<(), StoreError> {
        realms::delete(&self.inner, name, expected, author).await
    }

    async fn realm_revisions(&self, name: &Realm) -> Result<Vec<StoredRevision>, StoreError> {
        realms::revisions(&self.inner, name).await
    }

    async fn document(&self, name: &str) -> Result<Option<StoredDocument>, StoreError> {
        documents::one(&self.inner, name).await
    }

    async fn put_document(
        &self,
        name: &str,
        body: &serde_json::Value,
        expected: u64,
        actor: &str,
    ) -> Result<u64, StoreError> {
        documents::put(&self.inner, name, body, expected, actor).await
    }

    async fn blocks(&self) -> Result<Vec<BlockView>, StoreError> {
        cluster::blocks(&self.inner).await
    }

    async fn put_block(&self, block: &BlockView) -> Result<(), StoreError> {
        cluster::put_block(&self.inner, block).await
    }

    async fn delete_block(&self, realm: &Realm, user: &str) -> Result<bool, StoreError> {
        cluster::delete_block(&self.inner, realm, user).await
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        cluster::tokens(&self.inner).await
    }

    async fn put_token(&self, token: &StoredToken) -> Result<(), StoreError> {
        cluster::put_token(&self.inner, token).await
    }

    async fn delete_token(&self, id: &str) -> Result<bool, StoreError> {
        cluster::delete_token(&self.inner, id).await
    }

    async fn next_epoch(&self, node: &NodeId) -> Result<u64, StoreError> {
        cluster::next_epoch(&self.inner, node).await
    }

    async fn heartbeat(&self, record: &NodeView) -> Result<bool, StoreError> {
        cluster::heartbeat(&self.inner, record).await
    }

    async fn nodes(&self) -> Result<Vec<(NodeView, Duration)>, StoreError> {
        cluster::nodes(&self.inner).await
    }

    async fn glance(&self, seen: &Seen) -> Result<Glance, StoreError> {
        glance::glance(&self.inner, seen).await
    }

    async fn remove_node(&self, node: &NodeId) -> Result<Removal, StoreError> {
        cluster::remove_node(&self.inner, node).await
    }

    async fn flush_sessions(
        &self,
        node: &NodeId,
        epoch: u64,
        upserts: &[SessionRecord],
        deletes: &[SessionId],
    ) -> Result<(), StoreError> {
        cluster::flush_sessions(&self.inner, node, epoch, upserts, deletes).await
    }

    async fn sessions(&self, node: &NodeId) -> Result<Vec<SessionRecord>, StoreError> {
        cluster::sessions(&self.inner, node).await
    }

    async fn settle_quota(&self, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError> {
        quotas::settle(&self.inner, turn).await
    }

    async fn share_rates(&self, turn: &RateTurn) -> Result<RateAnswer, StoreError> {
        quotas::share(&self.inner, turn).await
    }

    async fn post(&self, to: &Mailbox, message: Vec<u8>) -> Result<(), StoreError> {
        mailbox::post(&self.inner, to, message).await
    }

    async fn receive(&self, from: &Mailbox, wait: Duration) -> Result<Vec<Vec<u8>>, StoreError> {
        mailbox::receive(&self.inner, from, wait).await
    }

    async fn append_events(&self, events: &[EventView]) -> Result<(), StoreError> {
        trail::append_events(&self.inner, events).await
    }

    async fn events(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EventView>, StoreError> {
        trail::events(&self.inner, after, limit).await
    }

    async fn append_audit(&self, record: &AuditView) -> Result<(), StoreError> {
        trail::append_audit(&self.inner, record).await
    }

    async fn audit(
        &self,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditView>, StoreError> {
        trail::audit(&self.inner, before, limit).await
    }

    async fn audit_count(&self) -> Result<u64, StoreError> {
        trail::audit_count(&self.inner).await
    }

    async fn publish(&self, change: &Change) -> Result<(), StoreError> {
        self.inner.tell_here(change.clone());
        self.inner
            .link
            .query::<Value>(&self.inner.publication(change)?)
            .await?;
        Ok(())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }
}
