//! Calls about the fleet as a whole: its configuration, its figures over time, its alerts, redirects
//! and records.

use async_trait::async_trait;
use shared::api::{
    AlertRulePatch, AlertRules, AlertView, AuditView, BanCreate, BanResult, BanView,
    ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, GroupQuery, GroupView, HistoryView,
    ListQuery, Page, RealmDiff, RealmDiffQuery, RealmPreview, RealmPut, RealmRevision, RealmUndo,
    RealmView, RedirectCreate, RedirectView, RefusalView,
};
use shared::{NodeId, Realm, SessionId};

use super::ClientResult;

/// Whom an override is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConfigScope {
    /// All nodes.
    All,
    /// One node.
    Node(NodeId),
}

/// Whose figures over time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HistoryOf {
    /// All nodes together.
    Cluster,
    /// One node.
    Node(NodeId),
    /// A realm over all nodes.
    Realm(Realm),
    /// A user over all nodes.
    User(Realm, String),
    /// A session; asking is watching.
    Session(SessionId),
}

/// See the module. Errors are those of [`AdminApi`](super::AdminApi).
#[async_trait]
pub trait FleetApi: Send + Sync {
    /// The settings of a node as they are in force.
    async fn config(&self, node: &NodeId) -> ClientResult<ConfigView>;
    /// What the store overrides.
    async fn config_overrides(&self, scope: &ConfigScope) -> ClientResult<ConfigOverrides>;
    /// Changes overrides if their revision still is `expected` (0: there are none), or only tells
    /// what would change.
    async fn patch_config(
        &self,
        scope: &ConfigScope,
        expected: u64,
        patch: &ConfigPatch,
    ) -> ClientResult<ConfigResult>;

    /// Figures over time.
    async fn history(&self, of: &HistoryOf) -> ClientResult<HistoryView>;
    /// The largest groups of sessions.
    async fn groups(&self, query: &GroupQuery) -> ClientResult<Page<GroupView>>;
    /// The latest refusals, newest first.
    async fn recent_refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalView>>;
    /// A page of audit records, newest first.
    async fn audit(&self, query: &ListQuery) -> ClientResult<Page<AuditView>>;

    /// What a realm document would do.
    async fn preview_realm(&self, name: &Realm, put: &RealmPut) -> ClientResult<RealmPreview>;

    /// The revisions of a realm, newest first, without documents.
    async fn realm_revisions(&self, name: &Realm) -> ClientResult<Page<RealmRevision>>;
    /// One of them, with its document.
    async fn realm_revision(&self, name: &Realm, revision: u64) -> ClientResult<RealmRevision>;
    /// What differs between two of them.
    async fn realm_diff(&self, name: &Realm, query: &RealmDiffQuery) -> ClientResult<RealmDiff>;
    /// Brings an earlier document back if the realm's revision still is `expected` (0: deleted).
    async fn undo_realm(
        &self,
        name: &Realm,
        expected: u64,
        undo: &RealmUndo,
    ) -> ClientResult<RealmView>;

    /// Conditions that hold, worst first.
    async fn alerts(&self, query: &ListQuery) -> ClientResult<Page<AlertView>>;
    /// All conditions with their thresholds.
    async fn alert_rules(&self) -> ClientResult<AlertRules>;
    /// Changes a condition if the revision of the rules still is `expected`.
    async fn patch_alert_rule(
        &self,
        name: &str,
        expected: u64,
        patch: &AlertRulePatch,
    ) -> ClientResult<AlertRules>;

    /// Banned networks.
    async fn bans(&self) -> ClientResult<Page<BanView>>;
    /// Bans a network, or only tells what that would hit.
    async fn create_ban(&self, create: &BanCreate) -> ClientResult<BanResult>;
    /// Takes a ban back.
    async fn delete_ban(&self, id: &str, reason: &str) -> ClientResult<()>;

    /// Redirects with their health.
    async fn redirects(&self, query: &ListQuery) -> ClientResult<Page<RedirectView>>;
    /// Adds a redirect.
    async fn create_redirect(&self, create: &RedirectCreate) -> ClientResult<RedirectView>;
    /// Removes a redirect.
    async fn delete_redirect(&self, id: &str, reason: &str) -> ClientResult<()>;
}
