//! [`FleetApi`]: one HTTP request per call.

use async_trait::async_trait;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::api::{
    AlertRulePatch, AlertRules, AlertView, AuditView, BanCreate, BanResult, BanView,
    ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, GroupQuery, GroupView, HistoryView,
    ListQuery, Page, RealmDiff, RealmDiffQuery, RealmPreview, RealmPut, RealmRevision, RealmUndo,
    RealmView, RedirectCreate, RedirectView, RefusalView, route,
};
use shared::{NodeId, Realm};

use super::HttpAdmin;
use crate::client::fleet::{ConfigScope, HistoryOf};
use crate::client::{ClientResult, FleetApi};

impl HttpAdmin {
    /// A change of what still has the revision `expected`.
    async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        expected: u64,
        body: &(impl Serialize + Sync),
    ) -> ClientResult<T> {
        let request = self.request(Method::PATCH, path);
        self.call(request.header("If-Match", expected.to_string()).json(body))
            .await
    }
}

#[async_trait]
impl FleetApi for HttpAdmin {
    async fn config(&self, node: &NodeId) -> ClientResult<ConfigView> {
        self.get(&route::node_config(node)).await
    }

    async fn config_overrides(&self, scope: &ConfigScope) -> ClientResult<ConfigOverrides> {
        match scope {
            ConfigScope::All => self.get(route::CONFIG).await,
            ConfigScope::Node(node) => self.get(&route::node_config_overrides(node)).await,
        }
    }

    async fn patch_config(
        &self,
        scope: &ConfigScope,
        expected: u64,
        patch: &ConfigPatch,
    ) -> ClientResult<ConfigResult> {
        match scope {
            ConfigScope::All => self.patch(route::CONFIG, expected, patch).await,
            ConfigScope::Node(node) => self.patch(&route::node_config(node), expected, patch).await,
        }
    }

    async fn history(&self, of: &HistoryOf) -> ClientResult<HistoryView> {
        let path = match of {
            HistoryOf::Cluster => route::OVERVIEW_HISTORY.to_owned(),
            HistoryOf::Node(node) => route::node_history(node),
            HistoryOf::Realm(realm) => route::realm_history(realm),
            HistoryOf::User(realm, user) => route::user_history(realm, user),
            HistoryOf::Session(id) => route::session_history(&id.to_string()),
        };
        self.get(&path).await
    }

    async fn groups(&self, query: &GroupQuery) -> ClientResult<Page<GroupView>> {
        self.call(
            self.request(Method::GET, route::SESSION_GROUPS)
                .query(query),
        )
        .await
    }

    async fn recent_refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalView>> {
        self.list(route::REFUSALS_RECENT, query).await
    }

    async fn audit(&self, query: &ListQuery) -> ClientResult<Page<AuditView>> {
        self.list(route::AUDIT, query).await
    }

    async fn preview_realm(&self, name: &Realm, put: &RealmPut) -> ClientResult<RealmPreview> {
        self.write(Method::POST, &route::realm_preview(name), put)
            .await
    }

    async fn realm_revisions(&self, name: &Realm) -> ClientResult<Page<RealmRevision>> {
        self.get(&route::realm_revisions(name)).await
    }

    async fn realm_revision(&self, name: &Realm, revision: u64) -> ClientResult<RealmRevision> {
        self.get(&route::realm_revision(name, revision)).await
    }

    async fn realm_diff(&self, name: &Realm, query: &RealmDiffQuery) -> ClientResult<RealmDiff> {
        let request = self.request(Method::GET, &route::realm_diff(name));
        self.call(request.query(query)).await
    }

    async fn undo_realm(
        &self,
        name: &Realm,
        expected: u64,
        undo: &RealmUndo,
    ) -> ClientResult<RealmView> {
        let request = self.request(Method::POST, &route::realm_undo(name));
        self.call(request.header("If-Match", expected.to_string()).json(undo))
            .await
    }

    async fn alerts(&self, query: &ListQuery) -> ClientResult<Page<AlertView>> {
        self.list(route::ALERTS, query).await
    }

    async fn alert_rules(&self) -> ClientResult<AlertRules> {
        self.get(route::ALERT_RULES).await
    }

    async fn patch_alert_rule(
        &self,
        name: &str,
        expected: u64,
        patch: &AlertRulePatch,
    ) -> ClientResult<AlertRules> {
        self.patch(&route::alert_rule(name), expected, patch).await
    }

    async fn bans(&self) -> ClientResult<Page<BanView>> {
        self.get(route::BANS).await
    }

    async fn create_ban(&self, create: &BanCreate) -> ClientResult<BanResult> {
        self.write(Method::POST, route::BANS, create).await
    }

    async fn delete_ban(&self, id: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::ban(id), reason).await
    }

    async fn redirects(&self, query: &ListQuery) -> ClientResult<Page<RedirectView>> {
        self.list(route::REDIRECTS, query).await
    }

    async fn create_redirect(&self, create: &RedirectCreate) -> ClientResult<RedirectView> {
        self.write(Method::POST, route::REDIRECTS, create).await
    }

    async fn delete_redirect(&self, id: &str, reason: &str) -> ClientResult<()> {
        self.delete(&route::redirect(id), reason).await
    }
}
