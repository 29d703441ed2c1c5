//! Paths of the admin API, used by the router and by the client.
//!
//! Constants are router patterns; functions build the path of one thing, names percent-encoded.

use crate::{NodeId, Realm};

/// `GET`: [`WhoAmI`](super::WhoAmI).
pub const WHOAMI: &str = "/v1/whoami";
/// `GET`: [`Overview`](super::Overview).
pub const OVERVIEW: &str = "/v1/overview";
/// `GET`: [`HistoryView`](super::HistoryView).
pub const OVERVIEW_HISTORY: &str = "/v1/overview/history";
/// `GET`: page of [`NodeView`](super::NodeView).
pub const NODES: &str = "/v1/nodes";
/// `GET`: [`NodeView`](super::NodeView). `DELETE`: forgets a node that is gone or stale.
pub const NODE: &str = "/v1/nodes/{id}";
/// `POST` [`UpgradeRequest`](super::UpgradeRequest): [`UpgradeView`](super::UpgradeView).
pub const NODE_UPGRADE: &str = "/v1/nodes/{id}/upgrade";
/// `PUT` [`DrainRequest`](super::DrainRequest): [`DrainView`](super::DrainView). `DELETE`: takes new
/// sessions again.
pub const NODE_DRAIN: &str = "/v1/nodes/{id}/drain";
/// `GET`: [`HistoryView`](super::HistoryView).
pub const NODE_HISTORY: &str = "/v1/nodes/{id}/history";
/// `GET`: [`ConfigView`](super::ConfigView). `PATCH` [`ConfigPatch`](super::ConfigPatch) with
/// `If-Match`: [`ConfigResult`](super::ConfigResult).
pub const NODE_CONFIG: &str = "/v1/nodes/{id}/config";
/// `GET`: [`ConfigOverrides`](super::ConfigOverrides) of the node.
pub const NODE_CONFIG_OVERRIDES: &str = "/v1/nodes/{id}/config/overrides";
/// `GET`: [`ConfigOverrides`](super::ConfigOverrides) of all nodes. `PATCH`
/// [`ConfigPatch`](super::ConfigPatch) with `If-Match`: [`ConfigResult`](super::ConfigResult).
pub const CONFIG: &str = "/v1/config";
/// `GET`: page of [`SessionView`](super::SessionView).
pub const SESSIONS: &str = "/v1/sessions";
/// `GET`: [`SessionDetail`](super::SessionDetail), by id or unique prefix. `DELETE` with a
/// [`KillRequest`](super::KillRequest): [`KillResult`](super::KillResult).
pub const SESSION: &str = "/v1/sessions/{id}";
/// `GET`: page of [`GroupView`](super::GroupView), asked for with a
/// [`GroupQuery`](super::GroupQuery).
pub const SESSION_GROUPS: &str = "/v1/sessions/groups";
/// `GET`: [`HistoryView`](super::HistoryView), by full id.
pub const SESSION_HISTORY: &str = "/v1/sessions/{id}/history";
/// `POST` [`SessionsKill`](super::SessionsKill): [`JobView`](super::JobView).
pub const SESSIONS_KILL: &str = "/v1/sessions/kill";
/// `GET`: page of [`JobView`](super::JobView).
pub const JOBS: &str = "/v1/jobs";
/// `GET`: [`JobView`](super::JobView). `DELETE`: stops it.
pub const JOB: &str = "/v1/jobs/{id}";
/// `GET`: page of [`UserView`](super::UserView) over all realms.
pub const USERS: &str = "/v1/users";
/// `GET`: [`UserView`](super::UserView). `PUT` [`UserPut`](super::UserPut), `PATCH`
/// [`UserPatch`](super::UserPatch), `DELETE`.
pub const USER: &str = "/v1/realms/{realm}/users/{user}";
/// `GET`: [`HistoryView`](super::HistoryView).
pub const USER_HISTORY: &str = "/v1/realms/{realm}/users/{user}/history";
/// `GET`: page of [`BlockView`](super::BlockView).
pub const BLOCKS: &str = "/v1/blocks";
/// `PUT` [`BlockRequest`](super::BlockRequest): [`BlockView`](super::BlockView). `DELETE`: unblocks.
pub const BLOCK: &str = "/v1/realms/{realm}/blocks/{user}";
/// `GET`: page of [`RealmView`](super::RealmView).
pub const REALMS: &str = "/v1/realms";
/// `GET`: [`RealmView`](super::RealmView). `PUT` [`RealmPut`](super::RealmPut) with `If-Match`,
/// `DELETE` with `If-Match`.
pub const REALM: &str = "/v1/realms/{realm}";
/// `GET`: [`HistoryView`](super::HistoryView).
pub const REALM_HISTORY: &str = "/v1/realms/{realm}/history";
/// `POST` [`RealmPut`](super::RealmPut): [`RealmPreview`](super::RealmPreview).
pub const REALM_PREVIEW: &str = "/v1/realms/{realm}/preview";
/// `GET`: page of [`RealmRevision`](super::RealmRevision), newest first.
pub const REALM_REVISIONS: &str = "/v1/realms/{realm}/revisions";
/// `GET`: [`RealmRevision`](super::RealmRevision) with its document.
pub const REALM_REVISION: &str = "/v1/realms/{realm}/revisions/{revision}";
/// `GET` [`RealmDiffQuery`](super::RealmDiffQuery): [`RealmDiff`](super::RealmDiff).
pub const REALM_DIFF: &str = "/v1/realms/{realm}/diff";
/// `POST` [`RealmUndo`](super::RealmUndo) with `If-Match`: [`RealmView`](super::RealmView).
pub const REALM_UNDO: &str = "/v1/realms/{realm}/undo";
/// `POST` [`RealmImport`](super::RealmImport): [`ImportResult`](super::ImportResult).
pub const REALM_IMPORT: &str = "/v1/realms/{realm}/import";
/// `POST` [`RevealRequest`](super::RevealRequest): [`Revealed`](super::Revealed).
pub const REALM_REVEAL: &str = "/v1/realms/{realm}/reveal";
/// `GET`: page of [`SecretView`](super::SecretView). `POST` [`SecretCreate`](super::SecretCreate).
pub const SECRETS: &str = "/v1/realms/{realm}/secrets";
/// `GET`: page of [`SecretUsage`](super::SecretUsage).
pub const SECRET_USAGE: &str = "/v1/realms/{realm}/secrets/usage";
/// `PATCH` [`SecretPatch`](super::SecretPatch): [`SecretView`](super::SecretView). `DELETE`.
pub const SECRET: &str = "/v1/realms/{realm}/secrets/{id}";
/// `POST` [`MintRequest`](super::MintRequest): [`Credential`](super::Credential).
pub const CREDENTIALS: &str = "/v1/realms/{realm}/credentials";
/// `GET`: page of the newest [`EventView`](super::EventView)s, oldest first.
pub const EVENTS: &str = "/v1/events";
/// `GET`: the same as server-sent events; `Last-Event-ID` resumes.
pub const EVENTS_STREAM: &str = "/v1/events/stream";
/// `GET`: page of [`AuditView`](super::AuditView), newest first.
pub const AUDIT: &str = "/v1/audit";
/// `GET`: page of [`RefusalCount`](super::RefusalCount).
pub const REFUSALS: &str = "/v1/refusals";
/// `GET`: page of [`RefusalView`](super::RefusalView), newest first.
pub const REFUSALS_RECENT: &str = "/v1/refusals/recent";
/// `GET`: page of [`AlertView`](super::AlertView), worst first.
pub const ALERTS: &str = "/v1/alerts";
/// `GET`: [`AlertRules`](super::AlertRules).
pub const ALERT_RULES: &str = "/v1/alerts/rules";
/// `PATCH` [`AlertRulePatch`](super::AlertRulePatch) with `If-Match`:
/// [`AlertRules`](super::AlertRules).
pub const ALERT_RULE: &str = "/v1/alerts/rules/{name}";
/// `GET`: page of [`RedirectView`](super::RedirectView). `POST`
/// [`RedirectCreate`](super::RedirectCreate).
pub const REDIRECTS: &str = "/v1/redirects";
/// `DELETE`.
pub const REDIRECT: &str = "/v1/redirects/{id}";
/// `GET`: page of [`BanView`](super::BanView). `POST` [`BanCreate`](super::BanCreate):
/// [`BanResult`](super::BanResult).
pub const BANS: &str = "/v1/bans";
/// `DELETE`.
pub const BAN: &str = "/v1/bans/{id}";
/// `GET`: page of [`OauthKeyView`](super::OauthKeyView).
pub const OAUTH_KEYS: &str = "/v1/oauth/keys";
/// `PUT` [`OauthKeyPut`](super::OauthKeyPut), `DELETE`.
pub const OAUTH_KEY: &str = "/v1/oauth/keys/{kid}";
/// `GET`: page of [`TokenView`](super::TokenView). `POST` [`TokenCreate`](super::TokenCreate).
pub const TOKENS: &str = "/v1/tokens";
/// `DELETE`.
pub const TOKEN: &str = "/v1/tokens/{id}";
/// `GET`: the OpenAPI document.
pub const OPENAPI: &str = "/v1/openapi.json";

/// The path of a node.
#[must_use]
pub fn node(id: &NodeId) -> String {
    fill(NODE, &[id.as_str()])
}

/// The path of a node's upgrade.
#[must_use]
pub fn node_upgrade(id: &NodeId) -> String {
    fill(NODE_UPGRADE, &[id.as_str()])
}

/// The path of a node's drain.
#[must_use]
pub fn node_drain(id: &NodeId) -> String {
    fill(NODE_DRAIN, &[id.as_str()])
}

/// The path of a node's history.
#[must_use]
pub fn node_history(id: &NodeId) -> String {
    fill(NODE_HISTORY, &[id.as_str()])
}

/// The path of a node's configuration.
#[must_use]
pub fn node_config(id: &NodeId) -> String {
    fill(NODE_CONFIG, &[id.as_str()])
}

/// The path of a node's overrides.
#[must_use]
pub fn node_config_overrides(id: &NodeId) -> String {
    fill(NODE_CONFIG_OVERRIDES, &[id.as_str()])
}

/// The path of a session's history.
#[must_use]
pub fn session_history(id: &str) -> String {
    fill(SESSION_HISTORY, &[id])
}

/// The path of a session, given an id or a prefix of one.
#[must_use]
pub fn session(id: &str) -> String {
    fill(SESSION, &[id])
}

/// The path of a job.
#[must_use]
pub fn job(id: &str) -> String {
    fill(JOB, &[id])
}

/// The path of a user.
#[must_use]
pub fn user(realm: &Realm, name: &str) -> String {
    fill(USER, &[realm.as_str(), name])
}

/// The path of a user's history.
#[must_use]
pub fn user_history(realm: &Realm, name: &str) -> String {
    fill(USER_HISTORY, &[realm.as_str(), name])
}

/// The path of a user's block.
#[must_use]
pub fn block(realm: &Realm, name: &str) -> String {
    fill(BLOCK, &[realm.as_str(), name])
}

/// The path of a realm.
#[must_use]
pub fn realm(name: &Realm) -> String {
    fill(REALM, &[name.as_str()])
}

/// The path of a realm's history.
#[must_use]
pub fn realm_history(name: &Realm) -> String {
    fill(REALM_HISTORY, &[name.as_str()])
}

/// The path of a realm's revisions.
#[must_use]
pub fn realm_revisions(name: &Realm) -> String {
    fill(REALM_REVISIONS, &[name.as_str()])
}

/// The path of one of them.
#[must_use]
pub fn realm_revision(name: &Realm, revision: u64) -> String {
    fill(REALM_REVISION, &[name.as_str(), &revision.to_string()])
}

/// The path of what differs between two of them.
#[must_use]
pub fn realm_diff(name: &Realm) -> String {
    fill(REALM_DIFF, &[name.as_str()])
}

/// The path of a realm's undo.
#[must_use]
pub fn realm_undo(name: &Realm) -> String {
    fill(REALM_UNDO, &[name.as_str()])
}

/// The path of a realm's import.
#[must_use]
pub fn realm_import(name: &Realm) -> String {
    fill(REALM_IMPORT, &[name.as_str()])
}

/// The path of a realm's users and secrets with their keys.
#[must_use]
pub fn realm_reveal(name: &Realm) -> String {
    fill(REALM_REVEAL, &[name.as_str()])
}

/// The path of a realm's preview.
#[must_use]
pub fn realm_preview(name: &Realm) -> String {
    fill(REALM_PREVIEW, &[name.as_str()])
}

/// The path of a realm's secrets.
#[must_use]
pub fn secrets(realm: &Realm) -> String {
    fill(SECRETS, &[realm.as_str()])
}

/// The path of who uses which secret of a realm.
#[must_use]
pub fn secret_usage(realm: &Realm) -> String {
    fill(SECRET_USAGE, &[realm.as_str()])
}

/// The path of a secret.
#[must_use]
pub fn secret(realm: &Realm, id: &str) -> String {
    fill(SECRET, &[realm.as_str(), id])
}

/// The path of a realm's credentials.
#[must_use]
pub fn credentials(realm: &Realm) -> String {
    fill(CREDENTIALS, &[realm.as_str()])
}

/// The path of an alert rule.
#[must_use]
pub fn alert_rule(name: &str) -> String {
    fill(ALERT_RULE, &[name])
}

/// The path of a redirect.
#[must_use]
pub fn redirect(id: &str) -> String {
    fill(REDIRECT, &[id])
}

/// The path of a ban.
#[must_use]
pub fn ban(id: &str) -> String {
    fill(BAN, &[id])
}

/// The path of a key of third-party authorization.
#[must_use]
pub fn oauth_key(kid: &str) -> String {
    fill(OAUTH_KEY, &[kid])
}

/// The path of a token.
#[must_use]
pub fn token(id: &str) -> String {
    fill(TOKEN, &[id])
}

/// Replaces the `{...}` segments of `pattern`, in order, by percent-encoded values.
fn fill(pattern: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let segments = pattern.split('/').map(|segment| {
        if segment.starts_with('{') {
            encode(values.next().expect("a value per placeholder"))
        } else {
            segment.to_owned()
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_segment() {
        let realm: Realm = "north.gov".parse().unwrap();
        assert_eq!(
            user(&realm, "a/../b c"),
            "/v1/realms/north.gov/users/a%2F..%2Fb%20c"
        );
        assert_eq!(session("deadbe"), "/v1/sessions/deadbe");
    }
}
