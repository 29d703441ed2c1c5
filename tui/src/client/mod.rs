//! The admin API as the console and the command line see it.
//!
//! [`AdminApi`] has one method per call; [`HttpAdmin`] makes them over a Unix socket, TCP, or an SSH
//! tunnel. Everything above works with `Arc<dyn AdminApi>`.

mod address;
pub mod data;
mod error;
pub mod fleet;
mod http;
mod sse;
mod ssh;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;
use shared::api::{
    BlockRequest, BlockView, Credential, DrainRequest, DrainView, EventView, JobView, KillRequest,
    KillResult, ListQuery, MintRequest, NodeView, OauthKeyCreated, OauthKeyPut, OauthKeyView,
    Overview, Page, RealmPut, RealmView, RefusalCount, SecretCreate, SecretCreated, SecretPatch,
    SecretUsage, SecretView, SessionDetail, SessionView, SessionsKill, TokenCreate, TokenCreated,
    TokenView, UpgradeRequest, UpgradeView, UserPatch, UserPut, UserView, WhoAmI,
};
use shared::{NodeId, Realm};

pub use address::{Address, AddressError, SshTarget};
pub use data::DataApi;
pub use error::ClientError;
pub use fleet::{ConfigScope, FleetApi, HistoryOf};
pub use http::{ConnectOptions, HttpAdmin};
pub use ssh::Prompting;

/// What every call answers.
pub type ClientResult<T> = Result<T, ClientError>;

/// Events as they happen. Ends with an error when the connection is lost: follow again from the last
/// id that was seen.
pub type EventStream = Pin<Box<dyn Stream<Item = ClientResult<EventView>> + Send>>;

/// The calls of the admin API.
///
/// Every method fails with a [`ClientError`]: `Unreachable` and `Timeout` when there was no answer,
/// `Api` with what the node said, `Protocol` when the answer makes no sense.
#[async_trait]
pub trait AdminApi: FleetApi + DataApi {
    /// Where the calls go, for people.
    fn address(&self) -> String;

    /// Who the caller is to the node, and what it may do.
    async fn whoami(&self) -> ClientResult<WhoAmI>;
    /// The cluster in figures.
    async fn overview(&self) -> ClientResult<Overview>;

    /// A page of nodes.
    async fn nodes(&self, query: &ListQuery) -> ClientResult<Page<NodeView>>;
    /// One node.
    async fn node(&self, id: &NodeId) -> ClientResult<NodeView>;
    /// Removes a node that is gone or stale from the registry.
    async fn forget_node(&self, id: &NodeId, reason: &str) -> ClientResult<()>;
    /// Has a node take no new sessions.
    async fn drain_node(&self, id: &NodeId, request: &DrainRequest) -> ClientResult<DrainView>;
    /// Has it take new sessions again.
    async fn undrain_node(&self, id: &NodeId, reason: &str) -> ClientResult<()>;
    /// Has a node start the process that takes over from it.
    async fn upgrade_node(
        &self,
        id: &NodeId,
        request: &UpgradeRequest,
    ) -> ClientResult<UpgradeView>;

    /// A page of sessions.
    async fn sessions(&self, query: &ListQuery) -> ClientResult<Page<SessionView>>;
    /// One session, by id or a prefix that only one session has.
    async fn session(&self, id: &str) -> ClientResult<SessionDetail>;
    /// Ends one session.
    async fn kill_session(&self, id: &str, request: &KillRequest) -> ClientResult<KillResult>;
    /// Ends many sessions, as a job.
    async fn start_kill_job(&self, request: &SessionsKill) -> ClientResult<JobView>;

    /// Jobs, running and finished.
    async fn jobs(&self) -> ClientResult<Page<JobView>>;
    /// One job.
    async fn job(&self, id: &str) -> ClientResult<JobView>;
    /// Stops a job.
    async fn stop_job(&self, id: &str) -> ClientResult<JobView>;

    /// A page of users over all realms.
    async fn users(&self, query: &ListQuery) -> ClientResult<Page<UserView>>;
    /// One user.
    async fn user(&self, realm: &Realm, name: &str) -> ClientResult<UserView>;
    /// Creates a user or sets its password.
    async fn put_user(&self, realm: &Realm, name: &str, put: &UserPut) -> ClientResult<UserView>;
    /// Changes what is given, keeps the rest.
    async fn patch_user(
        &self,
        realm: &Realm,
        name: &str,
        patch: &UserPatch,
    ) -> ClientResult<UserView>;
    /// Deletes a user.
    async fn delete_user(&self, realm: &Realm, name: &str, reason: &str) -> ClientResult<()>;

    /// A page of blocked users.
    async fn blocks(&self, query: &ListQuery) -> ClientResult<Page<BlockView>>;
    /// Refuses a user for a while.
    async fn put_block(
        &self,
        realm: &Realm,
        user: &str,
        request: &BlockRequest,
    ) -> ClientResult<BlockView>;
    /// Ends a block.
    async fn delete_block(&self, realm: &Realm, user: &str, reason: &str) -> ClientResult<()>;

    /// A page of realms.
    async fn realms(&self, query: &ListQuery) -> ClientResult<Page<RealmView>>;
    /// One realm.
    async fn realm(&self, name: &Realm) -> ClientResult<RealmView>;
    /// Writes a realm's document if its revision still is `expected` (0: creates it).
    async fn put_realm(
        &self,
        name: &Realm,
        expected: u64,
        put: &RealmPut,
    ) -> ClientResult<RealmView>;
    /// Deletes a realm if its revision still is `expected`.
    async fn delete_realm(&self, name: &Realm, expected: u64, reason: &str) -> ClientResult<()>;

    /// Secrets of a realm, without their values.
    async fn secrets(&self, realm: &Realm) -> ClientResult<Page<SecretView>>;
    /// Adds a secret.
    async fn create_secret(
        &self,
        realm: &Realm,
        create: &SecretCreate,
    ) -> ClientResult<SecretCreated>;
    /// Who uses which secret of a realm.
    async fn secret_usage(&self, realm: &Realm) -> ClientResult<Page<SecretUsage>>;
    /// Changes the state or label of a secret.
    async fn patch_secret(
        &self,
        realm: &Realm,
        id: &str,
        patch: &SecretPatch,
    ) -> ClientResult<SecretView>;
    /// Removes a secret.
    async fn delete_secret(&self, realm: &Realm, id: &str, reason: &str) -> ClientResult<()>;
    /// Mints a time-limited credential.
    async fn mint(&self, realm: &Realm, request: &MintRequest) -> ClientResult<Credential>;

    /// The newest events, oldest first: those after `after`, where given, and at most `limit`.
    async fn events(&self, after: Option<&str>, limit: u32) -> ClientResult<Page<EventView>>;
    /// Events as they happen, first those after `after` where given.
    async fn follow_events(&self, after: Option<&str>) -> ClientResult<EventStream>;
    /// Refusal counters.
    async fn refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalCount>>;

    /// Keys of third-party authorization, without their values.
    async fn oauth_keys(&self) -> ClientResult<Page<OauthKeyView>>;
    /// Adds or replaces one.
    async fn put_oauth_key(&self, kid: &str, put: &OauthKeyPut) -> ClientResult<OauthKeyCreated>;
    /// Removes one.
    async fn delete_oauth_key(&self, kid: &str, reason: &str) -> ClientResult<()>;
    /// Tokens, without their values.
    async fn tokens(&self) -> ClientResult<Page<TokenView>>;
    /// Creates a token.
    async fn create_token(&self, create: &TokenCreate) -> ClientResult<TokenCreated>;
    /// Revokes a token.
    async fn delete_token(&self, id: &str, reason: &str) -> ClientResult<()>;
}
