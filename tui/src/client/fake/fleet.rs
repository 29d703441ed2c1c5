//! [`FleetApi`] of the double.

use async_trait::async_trait;
use serde_json::{Value, json};
use shared::api::{
    AlertRule, AlertRulePatch, AlertRules, AlertView, Applies, AuditView, BanCreate, BanKind,
    BanResult, BanView, ConfigChange, ConfigOverrides, ConfigPatch, ConfigResult, ConfigView,
    GroupBy, GroupQuery, GroupView, HistorySample, HistoryView, ListQuery, Page, RealmDiff,
    RealmDiffQuery, RealmPreview, RealmPut, RealmRevision, RealmUndo, RealmView, RedirectCreate,
    RedirectHealth, RedirectView, RefusalView, Role, SettingKind, SettingSource, SettingView,
    Severity,
};
use shared::filter::{
    ALERT_COLUMNS, AUDIT_COLUMNS, Filter, GROUP_COLUMNS, RECENT_REFUSAL_COLUMNS, REDIRECT_COLUMNS,
    SESSION_COLUMNS, equals,
};
use shared::{NodeId, Realm, Transport};

use super::data::{self, START_MS};
use super::places::{query_text, realm_at, revision_conflict};
use super::state::State;
use super::{FakeAdmin, bad_request, not_found};
use crate::client::fleet::{ConfigScope, HistoryOf};
use crate::client::{ClientResult, FleetApi};

pub(super) fn recent_refusals() -> Vec<RefusalView> {
    let refusal = |i: u64, user: &str, reason: &str, code, peer: Option<&str>| RefusalView {
        id: format!("fra1-{i:06}"),
        at_ms: START_MS - i * 2000,
        node: data::node_id("fra1"),
        source: ([203, 0, 113, i as u8], 50_000).into(),
        realm: Some(data::realm_name("acme")),
        user: Some(user.into()),
        session: (i == 3).then(|| data::session(0).id),
        peer: peer.map(str::to_owned),
        reason: reason.into(),
        code,
        count: i,
    };
    vec![
        refusal(1, "alice", "wrong_password", Some(401), None),
        refusal(2, "bot-114", "user_quota", Some(486), None),
        refusal(3, "bob", "denied_peer", Some(403), Some("10.0.0.5")),
    ]
}

/// Oldest first.
pub(super) fn audit() -> Vec<AuditView> {
    let record = |i: u64, action: &str, target: &str, reason: &str, result: &str| AuditView {
        id: format!("{i:06}"),
        at_ms: START_MS - 60_000 + i * 1000,
        node: data::node_id("fra1"),
        actor: if i == 2 {
            "token:cafe0001".into()
        } else {
            "unix:0".into()
        },
        action: action.into(),
        target: target.into(),
        reason: reason.into(),
        result: result.into(),
    };
    vec![
        record(1, "user.put", "acme/bob", "new laptop", "ok"),
        record(
            2,
            "sessions.kill",
            "214 sessions",
            "abuse ticket 4411",
            "214 sessions match, not 12",
        ),
        record(3, "realm.put", "acme", "lower the limit", "ok"),
    ]
}

pub(super) fn alerts() -> Vec<AlertView> {
    vec![AlertView {
        id: "node-capacity/lon1".into(),
        rule: "node-capacity".into(),
        severity: Severity::Warn,
        since_ms: START_MS - 180_000,
        value: 81.0,
        threshold: 80.0,
        node: Some(data::node_id("lon1")),
        realm: None,
        text: "lon1 is 81% full (ports): drain it or add a node".into(),
    }]
}

pub(super) fn alert_rules() -> AlertRules {
    let rule = |name: &str, help: &str, unit: &str, warn, crit| AlertRule {
        name: name.into(),
        help: help.into(),
        unit: unit.into(),
        warn,
        crit,
        for_secs: 30,
        enabled: true,
        is_default: true,
    };
    AlertRules {
        schema: "alert-rules/1".into(),
        revision: 0,
        changed_at_ms: 0,
        changed_by: String::new(),
        rules: vec![
            rule(
                "node-capacity",
                "share of a node's binding limit",
                "percent",
                Some(80.0),
                Some(95.0),
            ),
            rule(
                "node-stale",
                "time since a node's last heartbeat",
                "seconds",
                None,
                Some(10.0),
            ),
        ],
    }
}

pub(super) fn bans() -> Vec<BanView> {
    vec![BanView {
        id: "0badc0ffee00".into(),
        kind: BanKind::Peer,
        net: "198.51.100.0/24".parse().expect("a network"),
        until_ms: START_MS + 7_200_000,
        reason: "scanned from there".into(),
        by: "unix:0".into(),
        stored: true,
    }]
}

pub(super) fn redirects() -> Vec<RedirectView> {
    vec![RedirectView {
        id: "00c0ffee".into(),
        transport: Transport::Udp,
        target: ([192, 0, 2, 12], 3478).into(),
        domain: None,
        node: Some(data::node_id("fra1")),
        weight: 2,
        note: "overflow".into(),
        health: RedirectHealth::Up,
        health_since_ms: START_MS - 60_000,
    }]
}

/// Key, kind, default and when it applies of the settings that the double has.
fn settings() -> [(&'static str, SettingKind, Value, Applies); 4] {
    [
        ("node_id", SettingKind::Text, Value::Null, Applies::File),
        ("listen", SettingKind::List, json!([]), Applies::Restart),
        ("log.level", SettingKind::Text, json!("info"), Applies::Live),
        (
            "permission_lifetime",
            SettingKind::Text,
            json!("5m"),
            Applies::Live,
        ),
    ]
}

fn config(state: &State, node: &NodeId) -> ConfigView {
    let of = |scope: Option<&NodeId>| state.overrides.iter().find(|o| o.node.as_ref() == scope);
    let (all, own) = (of(None), of(Some(node)));
    let settings = settings().into_iter().map(|(key, kind, default, applies)| {
        let own_value = own.and_then(|o| o.settings.get(key));
        let all_value = all.and_then(|o| o.settings.get(key));
        let (value, source) = match (own_value, all_value) {
            (Some(value), _) => (value.clone(), SettingSource::Node),
            (None, Some(value)) => (value.clone(), SettingSource::Cluster),
            (None, None) if key == "node_id" => (json!(node.as_str()), SettingSource::File),
            (None, None) => (default.clone(), SettingSource::Default),
        };
        SettingView {
            key: key.into(),
            kind,
            value,
            default,
            source,
            applies,
            pending: None,
            secret: false,
            help: format!("what {key} is about"),
        }
    });
    ConfigView {
        schema: "config/1".into(),
        as_of_ms: state.now_ms,
        node: node.clone(),
        cluster_revision: all.map_or(0, |o| o.revision),
        node_revision: own.map_or(0, |o| o.revision),
        settings: settings.collect(),
    }
}

fn overrides(state: &State, scope: &ConfigScope) -> ConfigOverrides {
    let node = match scope {
        ConfigScope::All => None,
        ConfigScope::Node(node) => Some(node.clone()),
    };
    let known = state.overrides.iter().find(|o| o.node == node);
    known.cloned().unwrap_or_else(|| ConfigOverrides {
        schema: "config-overrides/1".into(),
        node,
        revision: 0,
        changed_at_ms: 0,
        changed_by: String::new(),
        settings: Default::default(),
    })
}

fn scope_text(scope: &ConfigScope) -> String {
    match scope {
        ConfigScope::All => "all".into(),
        ConfigScope::Node(node) => node.to_string(),
    }
}

#[async_trait]
impl FleetApi for FakeAdmin {
    async fn config(&self, node: &NodeId) -> ClientResult<ConfigView> {
        let state = self.enter(Role::Viewer, format!("config {node}"))?;
        if !state.nodes.iter().any(|n| n.id == *node) {
            return Err(not_found("such node"));
        }
        Ok(config(&state, node))
    }

    async fn config_overrides(&self, scope: &ConfigScope) -> ClientResult<ConfigOverrides> {
        let call = format!("config_overrides {}", scope_text(scope));
        let state = self.enter(Role::Viewer, call)?;
        Ok(overrides(&state, scope))
    }

    async fn patch_config(
        &self,
        scope: &ConfigScope,
        expected: u64,
        patch: &ConfigPatch,
    ) -> ClientResult<ConfigResult> {
        let call = format!(
            "patch_config {} expected={expected} set={} unset={:?} dry_run={} reason={}",
            scope_text(scope),
            json!(patch.set),
            patch.unset,
            patch.dry_run,
            patch.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let mut new = overrides(&state, scope);
        if new.revision != expected {
            return Err(revision_conflict(new.revision));
        }
        let known = |key: &String| {
            settings()
                .iter()
                .any(|s| s.0 == key && s.3 != Applies::File)
        };
        if let Some(key) = patch.set.keys().find(|key| !known(key)) {
            return Err(bad_request(format!(
                "{key}: no setting that can be overridden"
            )));
        }
        let before: Vec<ConfigView> = state.nodes.iter().map(|n| config(&state, &n.id)).collect();
        let kept = state.overrides.clone();
        new.settings.extend(patch.set.clone());
        new.settings.retain(|key, _| !patch.unset.contains(key));
        state.overrides.retain(|o| o.node != new.node);
        if !patch.dry_run {
            new.revision += 1;
            new.changed_at_ms = state.now_ms;
            new.changed_by = "unix:0".into();
        }
        state.overrides.push(new.clone());
        let mut changes = Vec::new();
        for old in before {
            let now = config(&state, &old.node);
            for (old_one, new_one) in old.settings.iter().zip(&now.settings) {
                if old_one.value != new_one.value {
                    changes.push(ConfigChange {
                        node: old.node.clone(),
                        key: old_one.key.clone(),
                        old: old_one.value.clone(),
                        new: new_one.value.clone(),
                        applies: old_one.applies,
                        hidden_by: None,
                    });
                }
            }
        }
        if patch.dry_run {
            state.overrides = kept;
        }
        Ok(ConfigResult {
            schema: "config-result/1".into(),
            overrides: new,
            changes,
            missing: state.missing.clone(),
        })
    }

    async fn history(&self, of: &HistoryOf) -> ClientResult<HistoryView> {
        let (subject, step_secs, count) = match of {
            HistoryOf::Cluster => ("cluster".to_owned(), 10, 360),
            HistoryOf::Node(node) => (format!("node/{node}"), 10, 360),
            HistoryOf::Realm(realm) => (format!("realm/{realm}"), 10, 360),
            HistoryOf::User(realm, user) => (format!("user/{realm}/{user}"), 10, 360),
            HistoryOf::Session(id) => (format!("session/{id}"), 1, 120),
        };
        let state = self.enter(Role::Viewer, format!("history {subject}"))?;
        let samples = (0..count).map(|i: u64| {
            (i >= count / 4).then(|| HistorySample {
                sessions: 10 + i % 7,
                rate_in_bps: 1_000_000 + (i * 37 % 400) * 1000,
                rate_out_bps: 300_000 + (i * 17 % 200) * 1000,
            })
        });
        Ok(HistoryView {
            schema: "history/1".into(),
            as_of_ms: state.now_ms,
            subject,
            step_secs,
            end_at_ms: state.now_ms,
            samples: samples.collect(),
            missing: state.missing.clone(),
        })
    }

    async fn groups(&self, query: &GroupQuery) -> ClientResult<Page<GroupView>> {
        let list = ListQuery {
            sort: Some(query.sort.clone().unwrap_or_else(|| "rate:desc".into())),
            limit: query.limit,
            ..ListQuery::default()
        };
        let filter_text = query.filter.clone().unwrap_or_default();
        let call = format!(
            "groups by={} filter={filter_text}{}",
            query.by,
            query_text(&list)
        );
        let state = self.enter(Role::Viewer, call)?;
        let filter =
            Filter::parse(&filter_text, SESSION_COLUMNS).map_err(|e| bad_request(e.to_string()))?;
        let mut groups: Vec<GroupView> = Vec::new();
        for session in state.sessions.iter().filter(|s| filter.matches(*s)) {
            let realm = (query.by == GroupBy::User).then(|| session.realm.clone());
            let (key, column) = match query.by {
                GroupBy::User => (session.user.clone(), "user"),
                GroupBy::Realm => (session.realm.to_string(), "realm"),
                GroupBy::Client => ("203.0.113.0/24".into(), "client"),
                GroupBy::Peer => ("198.51.100.0/24".into(), "peer"),
                GroupBy::Node => (session.node.to_string(), "node"),
            };
            let at = groups.iter().position(|g| g.key == key && g.realm == realm);
            let at = at.unwrap_or_else(|| {
                groups.push(GroupView {
                    filter: equals(column, &key),
                    key,
                    realm,
                    sessions: 0,
                    rate_in_bps: 0,
                    rate_out_bps: 0,
                    in_bytes: 0,
                    out_bytes: 0,
                    drops: 0,
                    refusals: 0,
                    approximate: false,
                });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.sessions += 1;
            group.rate_in_bps = group.rate_in_bps.saturating_add(session.rate_in_bps);
            group.rate_out_bps = group.rate_out_bps.saturating_add(session.rate_out_bps);
            group.in_bytes = group.in_bytes.saturating_add(session.in_bytes);
            group.out_bytes = group.out_bytes.saturating_add(session.out_bytes);
            group.drops = group.drops.saturating_add(session.drops);
        }
        let page = state.page("groups/1", &groups, GROUP_COLUMNS, &list)?;
        Ok(Page { next: None, ..page })
    }

    async fn recent_refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalView>> {
        let call = format!("recent_refusals{}", query_text(query));
        let state = self.enter(Role::Viewer, call)?;
        let rows = &state.recent_refusals;
        state.page("refusals-recent/1", rows, RECENT_REFUSAL_COLUMNS, query)
    }

    async fn audit(&self, query: &ListQuery) -> ClientResult<Page<AuditView>> {
        let state = self.enter(Role::Operator, format!("audit{}", query_text(query)))?;
        let newest_first: Vec<AuditView> = state.audit.iter().rev().cloned().collect();
        state.page("audit/1", &newest_first, AUDIT_COLUMNS, query)
    }

    async fn preview_realm(&self, name: &Realm, put: &RealmPut) -> ClientResult<RealmPreview> {
        let state = self.enter(Role::Admin, format!("preview_realm {name}"))?;
        let of_realm = || state.sessions.iter().filter(|s| s.realm == *name);
        let limit = put.document.max_rate_bps.unwrap_or(u64::MAX);
        let over = of_realm().filter(|s| s.rate_in_bps.max(s.rate_out_bps) > limit);
        let known = state.realms.iter().find(|r| r.name == *name);
        Ok(RealmPreview {
            schema: "realm-preview/1".into(),
            as_of_ms: state.now_ms,
            revision: known.map_or(0, |r| r.revision),
            errors: put.document.validate().err().unwrap_or_default(),
            nodes: state.nodes.len() as u32,
            sessions: of_realm().count() as u64,
            sessions_over_rate: over.count() as u64,
            sessions_with_denied_peers: 0,
            users_over_limit: 0,
            nodes_over_limit: 0,
            sessions_revoked: 0,
            sessions_unjudged: 0,
            missing: state.missing.clone(),
        })
    }

    async fn realm_revisions(&self, name: &Realm) -> ClientResult<Page<RealmRevision>> {
        let state = self.enter(Role::Viewer, format!("realm_revisions {name}"))?;
        let mut items = state.revisions_of(name)?;
        items.iter_mut().for_each(|one| one.document = None);
        Ok(state.whole("realm-revisions/1", items))
    }

    async fn realm_revision(&self, name: &Realm, revision: u64) -> ClientResult<RealmRevision> {
        let state = self.enter(Role::Viewer, format!("realm_revision {name} {revision}"))?;
        let mut all = state.revisions_of(name)?.into_iter();
        let found = all.find(|one| one.revision == revision);
        found.ok_or_else(|| not_found("such revision"))
    }

    async fn realm_diff(&self, name: &Realm, query: &RealmDiffQuery) -> ClientResult<RealmDiff> {
        let state = self.enter(Role::Viewer, format!("realm_diff {name} {query:?}"))?;
        state.diff_of(name, query)
    }

    async fn undo_realm(
        &self,
        name: &Realm,
        expected: u64,
        undo: &RealmUndo,
    ) -> ClientResult<RealmView> {
        let RealmUndo { revision, reason } = undo;
        let call =
            format!("undo_realm {name} expected={expected} revision={revision:?} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let document = state.undo_target(name, *revision)?;
        let at = realm_at(&state, name, expected)?;
        Ok(state.write_realm(at, document, reason))
    }

    async fn alerts(&self, query: &ListQuery) -> ClientResult<Page<AlertView>> {
        let state = self.enter(Role::Viewer, format!("alerts{}", query_text(query)))?;
        state.page("alerts/1", &state.alerts, ALERT_COLUMNS, query)
    }

    async fn alert_rules(&self) -> ClientResult<AlertRules> {
        Ok(self
            .enter(Role::Viewer, "alert_rules".into())?
            .alert_rules
            .clone())
    }

    async fn patch_alert_rule(
        &self,
        name: &str,
        expected: u64,
        patch: &AlertRulePatch,
    ) -> ClientResult<AlertRules> {
        let call = format!(
            "patch_alert_rule {name} expected={expected} {}",
            json!(patch)
        );
        let mut state = self.enter(Role::Admin, call)?;
        let current = state.alert_rules.revision;
        if current != expected {
            return Err(revision_conflict(current));
        }
        let built_in = alert_rules();
        let rules = &mut state.alert_rules;
        let rule = rules.rules.iter_mut().find(|r| r.name == name);
        let rule = rule.ok_or_else(|| not_found("such rule"))?;
        if patch.reset {
            rule.clone_from(
                built_in
                    .rules
                    .iter()
                    .find(|r| r.name == name)
                    .expect("rules come from the built-in ones"),
            );
        } else {
            rule.is_default = false;
        }
        rule.warn = patch.warn.unwrap_or(rule.warn);
        rule.crit = patch.crit.unwrap_or(rule.crit);
        rule.for_secs = patch.for_secs.unwrap_or(rule.for_secs);
        rule.enabled = patch.enabled.unwrap_or(rule.enabled);
        rules.revision += 1;
        rules.changed_by = "unix:0".into();
        Ok(rules.clone())
    }

    async fn bans(&self) -> ClientResult<Page<BanView>> {
        let state = self.enter(Role::Viewer, "bans".to_owned())?;
        Ok(state.whole("bans/1", state.bans.clone()))
    }

    async fn create_ban(&self, create: &BanCreate) -> ClientResult<BanResult> {
        let (kind, net) = (create.kind, create.net);
        let call = match create.dry_run {
            true => format!("preview_ban {} {net}", kind.as_str()),
            false => format!(
                "create_ban {} {net} secs={} expected={:?} reason={}",
                kind.as_str(),
                create.secs,
                create.expected,
                create.reason
            ),
        };
        let mut state = self.enter(Role::Operator, call)?;
        let ban = BanView {
            id: format!("{:012x}", 0xba00 + state.bans.len()),
            kind,
            net,
            until_ms: state.now_ms + create.secs * 1000,
            reason: create.reason.clone(),
            by: "unix:0".to_owned(),
            stored: !create.dry_run,
        };
        let kept = (!create.dry_run).then(|| ban.clone());
        state.bans.extend(kept);
        Ok(BanResult {
            ban,
            dry_run: create.dry_run,
            sessions: 4,
            users: 3,
            missing: Vec::new(),
            partly: Vec::new(),
        })
    }

    async fn delete_ban(&self, id: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_ban {id} reason={reason}");
        let mut state = self.enter(Role::Operator, call)?;
        let before = state.bans.len();
        state.bans.retain(|ban| ban.id != id);
        match state.bans.len() < before {
            true => Ok(()),
            false => Err(not_found("such ban")),
        }
    }

    async fn redirects(&self, query: &ListQuery) -> ClientResult<Page<RedirectView>> {
        let state = self.enter(Role::Viewer, format!("redirects{}", query_text(query)))?;
        state.page("redirects/1", &state.redirects, REDIRECT_COLUMNS, query)
    }

    async fn create_redirect(&self, create: &RedirectCreate) -> ClientResult<RedirectView> {
        let call = format!(
            "create_redirect {} {} domain={:?} node={:?} weight={:?} note={} reason={}",
            create.transport.as_str(),
            create.target,
            create.domain,
            create.node.as_ref().map(NodeId::as_str),
            create.weight,
            create.note,
            create.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let view = RedirectView {
            id: format!("{:08x}", state.redirects.len() + 1),
            transport: create.transport,
            target: create.target,
            domain: create.domain.clone(),
            node: create.node.clone(),
            weight: create.weight.unwrap_or(1),
            note: create.note.clone(),
            health: RedirectHealth::Unknown,
            health_since_ms: 0,
        };
        state.redirects.push(view.clone());
        Ok(view)
    }

    async fn delete_redirect(&self, id: &str, reason: &str) -> ClientResult<()> {
        let mut state = self.enter(Role::Admin, format!("delete_redirect {id} reason={reason}"))?;
        let before = state.redirects.len();
        state.redirects.retain(|r| r.id != id);
        if state.redirects.len() < before {
            Ok(())
        } else {
            Err(not_found("such redirect"))
        }
    }
}
