//! Where nodes meet: users, secrets, realms, documents, registry, sessions, mailboxes, events, audit.
//!
//! Two stores implement [`Store`]: [`sqlite`] (the default, for one process) and [`redis`]. One suite of
//! behaviour tests runs against both. Nothing here is ever on the path of a packet.

pub(crate) mod coturn;
pub(crate) mod coturn_stats;
pub mod document;
pub mod oauth;
pub mod quota;
pub(crate) mod record;
pub mod redis;
pub mod registry;
pub mod revision;
pub mod sqlite;
pub mod statsdb;
pub(crate) mod user_keys;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shared::api::{
    AuditView, BlockView, EventView, NodeView, RealmDocument, SecretState, TokenView,
};
use shared::{NodeId, Realm, Secret, SessionId};
use tokio::sync::broadcast;

pub use document::StoredDocument;
pub use oauth::StoredOauthKey;
pub use quota::{QuotaAnswer, QuotaTurn, RateAnswer, RateShare, RateTurn};
pub use registry::{Glance, Mark, Seen};
pub use revision::{Author, StoredRevision};
pub use user_keys::{StoredKey, StoredSha256Key, UserKeys};

/// The store. Every method is one short conversation with a deadline of its own (500 ms unless the
/// method says otherwise; edits of an embedded store four seconds) and may be retried: none of them depends on
/// the one before.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// `sqlite` or `redis`.
    fn kind(&self) -> &'static str;

    /// A round trip; how `/readyz` and the console know that the store is there.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Whether all of it is there: a store of several servers may lack one of them.
    fn is_whole(&self) -> bool {
        true
    }

    /// What changes when one of its several servers is emptied while the others are not: the same
    /// text as long as none was, and always the same where there is one server. `None`: one of them
    /// has nothing that could tell; with `write` it gets it.
    async fn marks(&self, write: bool) -> Result<Option<String>, StoreError> {
        let _ = write;
        Ok(Some(String::new()))
    }

    /// Where its servers are, as far as they are known now: nobody's peers, ever.
    fn servers(&self) -> Vec<std::net::SocketAddr> {
        Vec::new()
    }

    /// What operators should know about it: settings under which it may lose data.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Another process works with what belongs to one process from now on; this one goes on beside it.
    fn share(&self) {}

    /// Takes what belongs to one process, once the process before has given it up.
    ///
    /// # Errors
    /// It has not yet.
    async fn claim(&self) -> Result<(), StoreError> {
        Ok(())
    }

    // --- users: coturn's keys, our record beside them ---

    /// One user: its key and record, or `None` when there is no key.
    async fn user(&self, realm: &Realm, name: &str) -> Result<Option<StoredUser>, StoreError>;
    /// Whose USERHASH it is (RFC 8489 §14.4): one look into an index, which users that other tools
    /// wrote are in at the latest five seconds later. The user may be gone by now.
    async fn user_by_hash(
        &self,
        realm: &Realm,
        hash: &[u8; 32],
    ) -> Result<Option<String>, StoreError>;
    /// Creates a user or replaces its keys; the record is kept.
    async fn put_user(&self, realm: &Realm, name: &str, keys: &UserKeys) -> Result<(), StoreError>;
    /// The same for several users of a realm, [`USERS_AT_ONCE`] at most; an error does not say which of
    /// them were written.
    async fn put_users(
        &self,
        realm: &Realm,
        users: &[(String, UserKeys)],
    ) -> Result<(), StoreError> {
        for (name, keys) in users {
            self.put_user(realm, name, keys).await?;
        }
        Ok(())
    }
    /// Replaces the record of a user; `false` when there is no such user.
    async fn put_user_record(
        &self,
        realm: &Realm,
        name: &str,
        record: &UserRecord,
    ) -> Result<bool, StoreError>;
    /// Removes key and record; `false` when there was no such user.
    async fn delete_user(&self, realm: &Realm, name: &str) -> Result<bool, StoreError>;
    /// A keyset page in the order (realm, name), of one realm or all, after the given name. Users
    /// that other tools wrote are in it, at the latest five seconds later.
    async fn users(
        &self,
        realm: Option<&Realm>,
        after: Option<(&Realm, &str)>,
        limit: usize,
    ) -> Result<Vec<StoredUser>, StoreError>;
    /// How many users there are, of one realm or all. One that was written while Redis' index was
    /// being compared with coturn's keys may be counted wrongly for some tenths of a second.
    async fn user_count(&self, realm: Option<&Realm>) -> Result<u64, StoreError>;

    // --- secrets: coturn's set, our labels beside it ---

    /// The shared secrets of a realm, in every state. Coturn's set has those that are accepted, and is
    /// the truth about that: whoever puts a value into it or takes it out changes its state.
    async fn secrets(&self, realm: &Realm) -> Result<Vec<StoredSecret>, StoreError>;
    /// Adds a secret; adding one that is there changes its label and state.
    async fn put_secret(&self, realm: &Realm, secret: &StoredSecret) -> Result<(), StoreError>;
    /// Removes a secret by value; `false` when it was not there.
    async fn delete_secret(&self, realm: &Realm, value: &str) -> Result<bool, StoreError>;

    // --- keys of third-party authorization: coturn's ---

    /// All keys (256 at most) that can decrypt a token, in the order of their kids. Those that
    /// other tools wrote are among them, at the latest a minute later.
    async fn oauth_keys(&self) -> Result<Vec<StoredOauthKey>, StoreError>;
    /// Adds or replaces a key.
    async fn put_oauth_key(&self, key: &StoredOauthKey) -> Result<(), StoreError>;
    /// Removes a key; `false` when there was none.
    async fn delete_oauth_key(&self, kid: &str) -> Result<bool, StoreError>;

    // --- realms: one document each ---

    /// All realms. A realm that other tools gave users, secrets or options is in it even without a
    /// document of ours (revision 0, default document with coturn's options applied).
    async fn realms(&self) -> Result<Vec<StoredRealm>, StoreError>;
    /// Replaces a document if its revision is still `expected` (0: must not exist yet) and answers
    /// the new revision: the next one of the realm, also where it was deleted meanwhile. coturn's
    /// option, peer-ip and origin keys are written as a projection; an origin that is another realm's
    /// is refused ([`StoreError::OriginTaken`]).
    async fn put_realm(
        &self,
        name: &Realm,
        document: &RealmDocument,
        expected: u64,
        author: &Author,
    ) -> Result<u64, StoreError>;
    /// Removes a document and its projection if its revision is still `expected`. Users and secrets
    /// stay, and so do its revisions, of which the deletion is one, for [`revision::DELETED_KEPT`].
    /// Without a document there is nothing to remove: a [`StoreError::RevisionConflict`] with 0.
    async fn delete_realm(
        &self,
        name: &Realm,
        expected: u64,
        author: &Author,
    ) -> Result<(), StoreError>;
    /// The latest revisions of a realm, [`revision::REVISIONS_KEPT`] at most, newest first. None of
    /// a realm that never had a document.
    async fn realm_revisions(&self, name: &Realm) -> Result<Vec<StoredRevision>, StoreError>;

    // --- documents: settings of ours, by the names in [`document`] ---

    /// A document; `None`: it was never written.
    async fn document(&self, name: &str) -> Result<Option<StoredDocument>, StoreError>;
    /// Replaces a document if its revision is still `expected` (0: must not exist yet) and answers
    /// the new revision. Documents are never removed: an empty body says the same, and the revision
    /// keeps counting.
    async fn put_document(
        &self,
        name: &str,
        body: &serde_json::Value,
        expected: u64,
        actor: &str,
    ) -> Result<u64, StoreError>;

    // --- blocks ---

    /// All blocks that have not ended.
    async fn blocks(&self) -> Result<Vec<BlockView>, StoreError>;
    /// Adds or replaces a block.
    async fn put_block(&self, block: &BlockView) -> Result<(), StoreError>;
    /// Removes a block; `false` when there was none.
    async fn delete_block(&self, realm: &Realm, user: &str) -> Result<bool, StoreError>;

    // --- tokens ---

    /// All tokens with the hash of their secret part.
    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError>;
    /// Adds or replaces a token.
    async fn put_token(&self, token: &StoredToken) -> Result<(), StoreError>;
    /// Removes a token; `false` when there was none.
    async fn delete_token(&self, id: &str) -> Result<bool, StoreError>;

    // --- registry ---

    /// Counts a start of this node and answers its epoch, from 1.
    async fn next_epoch(&self, node: &NodeId) -> Result<u64, StoreError>;
    /// Writes the node's record and its heartbeat of now, and renews the lease of all that the store
    /// has of it: without a heartbeat for [`NODE_KEPT`] record, sessions and count of starts go. `true`:
    /// there was no record, for it is new or was forgotten, and with it what else the node owns. A
    /// record of a higher epoch is kept: [`StoreError::Fenced`].
    async fn heartbeat(&self, record: &NodeView) -> Result<bool, StoreError>;
    /// All nodes with the age of their last heartbeat, measured on the store's clock, but for those
    /// that were silent for [`NODE_KEPT`].
    async fn nodes(&self) -> Result<Vec<(NodeView, Duration)>, StoreError>;
    /// What became of the nodes since an earlier look, at a cost that hardly grows with their number:
    /// changes of what others act on at once, figures in turn.
    async fn glance(&self, _seen: &Seen) -> Result<Glance, StoreError> {
        let nodes = self.nodes().await?;
        Ok(Glance::Whole { nodes, mark: None })
    }
    /// Forgets a node that stopped, or was silent for [`NODE_SILENT`], with its sessions and
    /// mailboxes. Its record is compared and removed in one step with them: a node that comes back
    /// meanwhile keeps everything. The count of its starts stays for the rest of its lease, so that a
    /// process that still runs as this node stays fenced.
    async fn remove_node(&self, node: &NodeId) -> Result<Removal, StoreError>;

    // --- sessions: what a restore needs ---

    /// Removes and writes records of this node's sessions, in this order and in pipelines, as its
    /// start number `epoch`. Once a later one was counted nothing changes any more:
    /// [`StoreError::Fenced`]. Deadline 5 s.
    async fn flush_sessions(
        &self,
        node: &NodeId,
        epoch: u64,
        upserts: &[SessionRecord],
        deletes: &[SessionId],
    ) -> Result<(), StoreError>;
    /// All unexpired records of a node. Deadline 10 s.
    async fn sessions(&self, node: &NodeId) -> Result<Vec<SessionRecord>, StoreError>;

    // --- limits over all nodes ---

    /// Whether sessions of other processes count with those of this one, so that places have to be
    /// asked for.
    fn counts_together(&self) -> bool {
        true
    }
    /// Takes a holder's word on the sessions that it has in a realm, renews its lease, and grants what
    /// the limits allow, all in one step.
    async fn settle_quota(&self, turn: &QuotaTurn) -> Result<QuotaAnswer, StoreError>;
    /// Leases shares of rates, in the order of the wishes. Shares of a holder whose lease is over are
    /// free. A store of one process gives all to whoever asks.
    async fn share_rates(&self, turn: &RateTurn) -> Result<RateAnswer, StoreError> {
        Ok(RateAnswer {
            shares: vec![[quota::WHOLE; 2]; turn.wishes.len()],
            ..RateAnswer::default()
        })
    }

    // --- mailboxes ---

    /// Puts a message into a mailbox. A mailbox holds at most 1,000 messages and disappears 30 s
    /// after the last one.
    async fn post(&self, to: &Mailbox, message: Vec<u8>) -> Result<(), StoreError>;
    /// Takes the messages of a mailbox, oldest first, waiting at most `wait` for the first. Uses a
    /// connection of its own; one receiver per mailbox.
    async fn receive(&self, from: &Mailbox, wait: Duration) -> Result<Vec<Vec<u8>>, StoreError>;

    // --- events and audit ---

    /// Appends to the live tail (capped, about 10,000 kept); the ids given are ignored.
    async fn append_events(&self, events: &[EventView]) -> Result<(), StoreError>;
    /// Events after `after` (oldest first), or the newest `limit` where it is absent; ids are the
    /// store's.
    async fn events(&self, after: Option<&str>, limit: usize)
    -> Result<Vec<EventView>, StoreError>;
    /// Appends to the audit record (capped, about 100,000 kept); the id given is ignored.
    async fn append_audit(&self, record: &AuditView) -> Result<(), StoreError>;
    /// The newest `limit` audit records, of those that were appended before the record `before`
    /// where one is named; newest first.
    async fn audit(&self, before: Option<&str>, limit: usize)
    -> Result<Vec<AuditView>, StoreError>;
    /// How many audit records are kept.
    async fn audit_count(&self) -> Result<u64, StoreError>;

    // --- changes ---

    /// Tells every node about a change. Each mutating method above does so itself; this is for
    /// changes that bypass it.
    async fn publish(&self, change: &Change) -> Result<(), StoreError>;
    /// Changes as they become known: published ones, and what other tools changed in coturn's keys
    /// (within a second). [`Change::Everything`] after a lost connection; a receiver that lags is
    /// told so by the channel, and has to act as on [`Change::Everything`]. A change may be told
    /// more than once.
    fn changes(&self) -> broadcast::Receiver<Change>;
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A user's key or record.
    User {
        /// The realm.
        realm: Realm,
        /// The name.
        name: String,
    },
    /// The secrets of a realm.
    Secrets {
        /// The realm.
        realm: Realm,
    },
    /// The keys of third-party authorization.
    OauthKeys,
    /// A realm's document or options.
    Realm {
        /// The realm.
        realm: Realm,
        /// Its new revision; 0 where unknown.
        revision: u64,
    },
    /// A document.
    Document {
        /// Its name.
        name: String,
        /// Its new revision.
        revision: u64,
    },
    /// The blocks.
    Blocks,
    /// The tokens.
    Tokens,
    /// A node joined or left.
    Nodes,
    /// New events are in the tail.
    Events,
    /// Anything may have changed: read it all again.
    Everything,
}

/// Messages that a mailbox holds; the oldest makes room for the next.
pub const MAILBOX_CAPACITY: usize = 1000;
/// How long a mailbox lives after its last message.
pub const MAILBOX_TTL: Duration = Duration::from_secs(30);
/// Silence after which a node that did not stop cleanly may be forgotten.
pub const NODE_SILENT: Duration = Duration::from_secs(5);
/// How long a node that died is listed, and all that it owns is kept.
pub const NODE_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Events kept in the live tail.
pub const EVENTS_KEPT: usize = 10_000;
/// Users that are written at once: coturn's file is locked for all of them, and coturn drops what it cannot
/// write meanwhile.
pub const USERS_AT_ONCE: usize = 50;
/// Audit records kept.
pub const AUDIT_KEPT: usize = 100_000;
/// How long an operation may take unless its method says otherwise.
pub const DEADLINE: Duration = Duration::from_millis(500);
/// Changes kept for a receiver that lags; one that lags further reads everything again.
pub const CHANGES_KEPT: usize = 4096;

/// What became of a node that was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is forgotten.
    Removed,
    /// There is no such node.
    Unknown,
    /// It lives, has come back, or is starting: nothing was removed.
    Alive,
}

/// A mailbox: one of the two that each node has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mailbox {
    /// Questions and commands for this node.
    Node(NodeId),
    /// Answers for this node.
    Reply(NodeId),
}

/// A user with its key.
#[derive(Clone, Debug)]
pub struct StoredUser {
    /// The realm.
    pub realm: Realm,
    /// The name.
    pub name: String,
    /// Its keys.
    pub keys: UserKeys,
    /// What coturn has no place for.
    pub record: UserRecord,
}

/// What coturn has no place for. Unknown fields are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRecord {
    /// Switched off: refused like an unknown user.
    pub disabled: bool,
    /// Own session limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Own rate limit, over all its sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_bps: Option<u64>,
    /// For operators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// A shared secret with its value.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// The value: in coturn's set while it is accepted, beside it else.
    pub value: Secret<String>,
    /// For operators; empty where another tool wrote it.
    pub label: String,
    /// When it was added; 0 where another tool wrote it.
    pub created_at_ms: u64,
    /// Where it is in its life: active where another tool wrote it.
    pub state: SecretState,
}

/// A realm's document.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRealm {
    /// The name.
    pub name: Realm,
    /// Counts changes from 1; 0: other tools' options only.
    pub revision: u64,
    /// The settings.
    pub document: RealmDocument,
    /// When it changed last.
    pub changed_at_ms: u64,
    /// By whom; `external` for other tools.
    pub changed_by: String,
}

/// A token with the hash of its secret part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// What may be shown.
    #[serde(flatten)]
    pub view: TokenView,
    /// SHA-256 of the secret part, in hex.
    pub hash: String,
}

/// All that a restore or an adopter needs of a session; a reference to the key, never the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Version of this layout; readers accept this one and the one before.
    pub v: u8,
    /// The id.
    pub id: SessionId,
    /// The epoch of the node that wrote it.
    pub epoch: u64,
    /// Client address.
    pub client: std::net::SocketAddr,
    /// Listener address.
    pub server: std::net::SocketAddr,
    /// Client transport.
    pub transport: shared::Transport,
    /// The realm.
    pub realm: Realm,
    /// The full STUN USERNAME.
    pub username: shared::Username,
    /// Which shared secret signed it; absent for a stored user.
    pub secret_id: Option<String>,
    /// When a time-limited credential ends, in Unix seconds.
    pub credential_expiry: Option<u64>,
    /// The local relay address.
    pub relay_local: std::net::SocketAddr,
    /// The relayed address as the client was told.
    pub relay_external: std::net::SocketAddr,
    /// When it was created.
    pub created_at_ms: u64,
    /// When it expires, on the wall clock.
    pub expires_at_ms: u64,
    /// The lifetime granted last.
    pub lifetime_secs: u32,
    /// Permissions and when they expire.
    pub permissions: Vec<(std::net::IpAddr, u64)>,
    /// Channel numbers, their peers and when they expire.
    pub channels: Vec<(u16, std::net::SocketAddr, u64)>,
    /// Totals: packets and bytes in, packets and bytes out.
    pub totals: [u64; 4],
    /// The second relayed address of a dual allocation: local, external, and when it expires. Since
    /// version 2.
    #[serde(default)]
    pub second_relay: Option<(std::net::SocketAddr, std::net::SocketAddr, u64)>,
    /// When the first relayed address of a dual allocation expires, where that is before
    /// `expires_at_ms`. Since version 3, as all that follows.
    #[serde(default)]
    pub first_expires_at_ms: Option<u64>,
    /// What its key was made with: the number of a PASSWORD-ALGORITHM (RFC 8489 §18.5), 0 before
    /// version 3.
    #[serde(default)]
    pub algorithm: u16,
    /// The limit of the user that the realm's gives way to, in bits per second and direction.
    #[serde(default)]
    pub user_rate_bps: Option<u64>,
    /// The access token that it came with (RFC 7635): when it was made, in Unix seconds, and for how
    /// many seconds it is good.
    #[serde(default)]
    pub token: Option<(u64, u32)>,
    /// Of a client that may move (RFC 8016): the number of its ticket, and the source address that
    /// the session counts for.
    #[serde(default)]
    pub mobility: Option<(u16, std::net::IpAddr)>,
    /// Which key of its user it came with, as a keyed fingerprint; 0: of no stored user.
    #[serde(default)]
    pub key_id: u32,
}

impl SessionRecord {
    /// The layout written now.
    pub const VERSION: u8 = 3;
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, or too slow; may work later.
    #[error("the store is out of reach: {0}")]
    Unavailable(String),
    /// There, but it does not do this for the time being: it loads its data, is full, moves keys or
    /// looks for a master. May work later.
    #[error("the store refuses for now: {0}")]
    NotNow(String),
    /// Another realm has the origin.
    #[error("the origin {origin} belongs to the realm {realm}")]
    OriginTaken {
        /// The origin.
        origin: String,
        /// Whose it is, as coturn's table says.
        realm: String,
    },
    /// Somebody else changed it first; the revision that is there now.
    #[error("revision conflict: the store has revision {current}")]
    RevisionConflict {
        /// The revision in the store.
        current: u64,
    },
    /// A newer incarnation of this node id is running.
    #[error(
        "another process runs as this node, with epoch {epoch}: give each node an id of its own"
    )]
    Fenced {
        /// The epoch in the store.
        epoch: u64,
    },
    /// The store refused for good: rights, wrong type.
    #[error("the store refused: {0}")]
    Refused(String),
    /// Something in the store is not what it should be.
    #[error("unreadable record {key}: {reason}")]
    Corrupt {
        /// Which record.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same call may work later with nobody's help: what it was to write is kept, and
    /// written then.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NotNow(_))
    }
}
