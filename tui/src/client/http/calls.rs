//! [`AdminApi`]: one HTTP request per call.

use async_trait::async_trait;
use reqwest::Method;
use shared::api::{
    BlockRequest, BlockView, Credential, DrainRequest, DrainView, EventView, JobView, KillRequest,
    KillResult, ListQuery, MintRequest, NodeView, OauthKeyCreated, OauthKeyPut, OauthKeyView,
    Overview, Page, RealmPut, RealmView, RefusalCount, SecretCreate, SecretCreated, SecretPatch,
    SecretUsage, SecretView, SessionDetail, SessionView, SessionsKill, TokenCreate, TokenCreated,
    TokenView, UpgradeRequest, UpgradeView, UserPatch, UserPut, UserView, WhoAmI, route,
};
use shared::{NodeId, Realm};

use super::{HttpAdmin, events_of};
use crate::client::{AdminApi, ClientError, ClientResult, EventStream};

#[async_trait]
impl AdminApi for HttpAdmin {
    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn whoami(&self) -> ClientResult<WhoAmI> {
        self.get(route::WHOAMI).await
    }

    async fn overview(&self) -> ClientResult<Overview> {
        self.get(route::OVERVIEW).await
    }

    async fn nodes(&self, query: &ListQuery) -> ClientResult<Page<NodeView>> {
        self.list(route::NODES, query).await
    }

    async fn node(&self, id: &NodeId) -> ClientResult<NodeView> {
        self.get(&route::node(id)).await
    }

    async fn forget_node(&self, id: &NodeId, reason: &str) -> ClientResult<()> {
        self.delete(&route::node(id), reason).await
    }

    async fn drain_node(&self, id: &NodeId, request: &DrainRequest) -> ClientResult<DrainView> {
        self.write(Method::PUT, &route::node_drain(id), request)
            .await
    }

    async fn undrain_node(&self, id: &NodeId, reason: &str) -> ClientResult<()> {
        self.delete(&route::node_drain(id), reason).await
    }

    async fn upgrade_node(
        &self,
        id: &NodeId,
        request: &UpgradeRequest,
    ) -> ClientResult<UpgradeView> {
        self.write(Method::POST, &route::node_upgrade(id), request)
            .await
    }

    async fn sessions(&self, query: &ListQuery) -> ClientResult<Page<SessionView>> {
        self.list(route::SESSIONS, query).await
    }

    async fn session(&self, id: &str) -> ClientResult<SessionDetail> {
        self.get(&route::session(id)).await
    }

    async fn kill_session(&self, id: &str, request: &KillRequest) -> ClientResult<KillResult> {
        self.write(Method::DELETE, &route::session(id), request)
            .await
    }

    async fn start_kill_job(&self, request: &SessionsKill) -> ClientResult<JobView> {
        self.write(Method::POST, route::SESSIONS_KILL, request)
            .await
    }

    async fn jobs(&self) -> ClientResult<Page<JobView>> {
        self.get(route::JOBS).await
    }

    async fn job(&self, id: &str) -> ClientResult<JobView> {
        self.get(&route::job(id)).await
    }

    async fn stop_job(&self, id: &str) -> ClientResult<JobView> {
        self.call(self.request(Method::DELETE, &route::job(id)))
            .await
    }

    async fn users(&self, query: &ListQuery) -> ClientResult<Page<UserView>> {
        self.list(route::USERS, query).await
    }

    async fn user(&self, realm: &Realm, name: &str) -> ClientResult<UserView> {
        self.get(&route::user(realm, name)).await
    }

    async fn put_user(&self, realm: &Realm, name: &str, put: &UserPut) -> ClientResult<UserView> {
        self.write(Method::PUT, &route::user(realm, name), put)
            .await
    }

    async fn patch_user(
        &self,
        realm: &Realm,
        name: &str,
        patch: &UserPatch,
    ) -> ClientResult<UserView> {
        self.write(Method::PATCH, &route::user(realm, name), patch)
            .await
    }

    async fn delete_user(&self, realm: &Realm, name: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::user(realm, name), reason).await
    }

    async fn blocks(&self, query: &ListQuery) -> ClientResult<Page<BlockView>> {
        self.list(route::BLOCKS, query).await
    }

    async fn put_block(
        &self,
        realm: &Realm,
        user: &str,
        request: &BlockRequest,
    ) -> ClientResult<BlockView> {
        self.write(Method::PUT, &route::block(realm, user), request)
            .await
    }

    async fn delete_block(&self, realm: &Realm, user: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::block(realm, user), reason).await
    }

    async fn realms(&self, query: &ListQuery) -> ClientResult<Page<RealmView>> {
        self.list(route::REALMS, query).await
    }

    async fn realm(&self, name: &Realm) -> ClientResult<RealmView> {
        self.get(&route::realm(name)).await
    }

    async fn put_realm(
        &self,
        name: &Realm,
        expected: u64,
        put: &RealmPut,
    ) -> ClientResult<RealmView> {
        let request = self.request(Method::PUT, &route::realm(name));
        self.call(request.header("If-Match", expected.to_string()).json(put))
            .await
    }

    async fn delete_realm(&self, name: &Realm, expected: u64, reason: &str) -> ClientResult<()> {
        let request = self.request(Method::DELETE, &route::realm(name));
        let request = request.header("If-Match", expected.to_string());
        self.call_empty(request.query(&[("reason", reason)])).await
    }

    async fn secrets(&self, realm: &Realm) -> ClientResult<Page<SecretView>> {
        self.get(&route::secrets(realm)).await
    }

    async fn create_secret(
        &self,
        realm: &Realm,
        create: &SecretCreate,
    ) -> ClientResult<SecretCreated> {
        self.write(Method::POST, &route::secrets(realm), create)
            .await
    }

    async fn secret_usage(&self, realm: &Realm) -> ClientResult<Page<SecretUsage>> {
        self.get(&route::secret_usage(realm)).await
    }

    async fn patch_secret(
        &self,
        realm: &Realm,
        id: &str,
        patch: &SecretPatch,
    ) -> ClientResult<SecretView> {
        self.write(Method::PATCH, &route::secret(realm, id), patch)
            .await
    }

    async fn delete_secret(&self, realm: &Realm, id: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::secret(realm, id), reason).await
    }

    async fn mint(&self, realm: &Realm, request: &MintRequest) -> ClientResult<Credential> {
        self.write(Method::POST, &route::credentials(realm), request)
            .await
    }

    async fn events(&self, after: Option<&str>, limit: u32) -> ClientResult<Page<EventView>> {
        let request = self.request(Method::GET, route::EVENTS);
        self.call(
            request
                .query(&[("after", after)])
                .query(&[("limit", limit)]),
        )
        .await
    }

    async fn follow_events(&self, after: Option<&str>) -> ClientResult<EventStream> {
        let mut request = self
            .request(Method::GET, route::EVENTS_STREAM)
            .header("Accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let after = self.options.call_timeout;
        let response = tokio::time::timeout(after, self.send(request))
            .await
            .map_err(|_| ClientError::Timeout {
                address: self.address(),
                after,
            })??;
        Ok(Box::pin(events_of(self.address(), response)))
    }

    async fn refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalCount>> {
        self.list(route::REFUSALS, query).await
    }

    async fn oauth_keys(&self) -> ClientResult<Page<OauthKeyView>> {
        self.get(route::OAUTH_KEYS).await
    }

    async fn put_oauth_key(&self, kid: &str, put: &OauthKeyPut) -> ClientResult<OauthKeyCreated> {
        self.write(Method::PUT, &route::oauth_key(kid), put).await
    }

    async fn delete_oauth_key(&self, kid: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::oauth_key(kid), reason).await
    }

    async fn tokens(&self) -> ClientResult<Page<TokenView>> {
        self.get(route::TOKENS).await
    }

    async fn create_token(&self, create: &TokenCreate) -> ClientResult<TokenCreated> {
        self.write(Method::POST, route::TOKENS, create).await
    }

    async fn delete_token(&self, id: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::token(id), reason).await
    }
}
