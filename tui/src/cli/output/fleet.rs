//! The fields of configuration, history, groups, alerts, redirects and previews.

use serde::Serialize;
use serde_json::{Value, json};
use shared::NodeId;
use shared::api::{
    AlertRule, AlertView, BanResult, BanView, ConfigChange, GroupView, HistorySample,
    ImportOutcome, PermissionView, RealmChange, RealmPreview, RealmRevision, RedirectView,
    RefusalView, SettingView, setting_text,
};

use super::Shown::{Detail, Table, Wide};
use super::Style::{Age, Bytes, Count, Rate, Text, Time};
use super::shows::shows;
use super::{Field, Shows};

shows!(SettingView, "settings/1", |row| row.key.clone(), {
    "key" Table Text row.key;
    "value" Table Text row.value_text();
    "source" Table Text row.source;
    "applies" Table Text row.applies;
    "pending" Table Text row.pending.as_ref().map(setting_text);
    "default" Wide Text setting_text(&row.default);
    "kind" Detail Text row.kind;
    "help" Wide Text row.help;
});

shows!(ConfigChange, "config-changes/1", |row| format!("{}/{}", row.node, row.key), {
    "node" Table Text row.node;
    "key" Table Text row.key;
    "old" Table Text setting_text(&row.old);
    "new" Table Text setting_text(&row.new);
    "applies" Table Text row.applies;
    "hidden_by" Table Text row.hidden_by;
});

/// One override.
#[derive(Clone, Debug, Serialize)]
pub struct OverrideRow {
    /// The node that it is for; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    /// The setting.
    key: String,
    /// Its value.
    value: Value,
}

impl OverrideRow {
    /// An override of `key` for `node`.
    pub(in crate::cli) fn new(key: &str, value: &Value, node: Option<&NodeId>) -> Self {
        Self {
            node: node.cloned(),
            key: key.to_owned(),
            value: value.clone(),
        }
    }
}

shows!(OverrideRow, "overrides/1", |row| row.key.clone(), {
    "key" Table Text row.key;
    "value" Table Text setting_text(&row.value);
    "node" Table Text row.node.as_ref().map_or("all", NodeId::as_str);
});

/// A setting that differs between two nodes.
#[derive(Clone, Debug, Serialize)]
pub struct DiffRow {
    /// The setting.
    pub(in crate::cli) key: String,
    /// Its value on the first node.
    pub(in crate::cli) a: Value,
    /// Its value on the second node.
    pub(in crate::cli) b: Value,
}

shows!(DiffRow, "config-diffs/1", |row| row.key.clone(), {
    "key" Table Text row.key;
    "a" Table Text setting_text(&row.a);
    "b" Table Text setting_text(&row.b);
});

/// What becomes of a realm or its file.
#[derive(Clone, Debug, Serialize)]
pub struct RealmStepRow {
    /// The realm.
    pub(in crate::cli) realm: shared::Realm,
    /// `create`, `change`, `unchanged`, `failed`; of a file `new`, `changed`, `unchanged`.
    pub(in crate::cli) step: String,
    /// What changes, and what that does; of a file its path.
    pub(in crate::cli) changes: Vec<String>,
}

shows!(RealmStepRow, "realm-steps/1", |row| row.realm.to_string(), {
    "realm" Table Text row.realm;
    "step" Table Text row.step;
    "changes" Table Text row.changes.join("; ");
});

/// What an import changes in a realm.
#[derive(Clone, Debug, Serialize)]
pub struct ImportRow {
    realm: shared::Realm,
    /// What was not there.
    added: u64,
    /// What was there and said something else.
    changed: u64,
    /// What is there already.
    same: u64,
    /// What cannot be.
    refused: u64,
    /// What is not done, or not yet.
    pub(in crate::cli) pending: u64,
    /// What changes of its document.
    pub(in crate::cli) settings: Vec<String>,
}

impl ImportRow {
    pub(in crate::cli) fn new(realm: &shared::Realm) -> Self {
        Self {
            realm: realm.clone(),
            added: 0,
            changed: 0,
            same: 0,
            refused: 0,
            pending: 0,
            settings: Vec::new(),
        }
    }

    /// Counts one; answers the sign of a change.
    pub(in crate::cli) fn count(&mut self, outcome: &ImportOutcome) -> Option<char> {
        *self.counter(outcome) += 1;
        match outcome {
            ImportOutcome::Added => Some('+'),
            ImportOutcome::Changed => Some('~'),
            ImportOutcome::Same | ImportOutcome::Refused(_) => None,
        }
    }

    /// One that was pending came to this, whatever was expected of it.
    pub(in crate::cli) fn settle(&mut self, expected: &ImportOutcome, outcome: &ImportOutcome) {
        *self.counter(expected) -= 1;
        *self.counter(outcome) += 1;
        self.done(1);
    }

    fn counter(&mut self, outcome: &ImportOutcome) -> &mut u64 {
        match outcome {
            ImportOutcome::Added => &mut self.added,
            ImportOutcome::Changed => &mut self.changed,
            ImportOutcome::Same => &mut self.same,
            ImportOutcome::Refused(_) => &mut self.refused,
        }
    }

    /// So many more are done.
    pub(in crate::cli) fn done(&mut self, count: usize) {
        self.pending = self.pending.saturating_sub(count as u64);
    }
}

shows!(ImportRow, "imports/1", |row| row.realm.to_string(), {
    "realm" Table Text row.realm;
    "added" Table Count row.added;
    "changed" Table Count row.changed;
    "same" Table Count row.same;
    "refused" Table Count row.refused;
    "pending" Table Count row.pending;
    "settings" Table Text row.settings.join("; ");
});

shows!(AlertView, "alerts/1", |row| row.id.clone(), {
    "severity" Table Text row.severity;
    "rule" Table Text row.rule;
    "since" Table Time row.since_ms;
    "value" Table Count row.value;
    "threshold" Table Count row.threshold;
    "text" Table Text row.text;
    "node" Wide Text row.node;
    "realm" Wide Text row.realm;
    "id" Detail Text row.id;
});

shows!(AlertRule, "alert-rules/1", |row| row.name.clone(), {
    "rule" Table Text row.name;
    "warn" Table Count row.warn;
    "crit" Table Count row.crit;
    "unit" Table Text row.unit;
    "for" Table Age row.for_secs;
    "enabled" Table Text row.enabled;
    "is_default" Wide Text row.is_default;
    "help" Wide Text row.help;
});

shows!(BanView, "bans/1", |row| row.id.clone(), {
    "id" Table Text row.id;
    "kind" Table Text row.kind.as_str();
    "net" Table Text row.net.to_string();
    "until" Table Time row.until_ms;
    "reason" Table Text row.reason;
    "by" Table Text row.by;
    "stored" Wide Text if row.stored { "yes" } else { "not yet" };
});

shows!(BanResult, "bans/1", |row| row.ban.id.clone(), {
    "id" Table Text row.ban.id;
    "kind" Table Text row.ban.kind.as_str();
    "net" Table Text row.ban.net.to_string();
    "until" Table Time row.ban.until_ms;
    "sessions" Table Count row.sessions;
    "users" Table Count row.users;
    "dry_run" Table Text if row.dry_run { "yes" } else { "no" };
});

shows!(RedirectView, "redirects/1", |row| row.id.clone(), {
    "id" Table Text row.id;
    "transport" Table Text row.transport;
    "target" Table Text row.target.to_string();
    "node" Table Text row.node.as_ref().map_or("all", NodeId::as_str);
    "weight" Table Count row.weight;
    "health" Table Text row.health;
    "since" Wide Time row.health_since_ms;
    "domain" Wide Text row.domain;
    "note" Wide Text row.note;
});

shows!(RefusalView, "refusals-recent/1", |row| row.id.clone(), {
    "time" Table Time row.at_ms;
    "node" Table Text row.node;
    "source" Table Text row.source.to_string();
    "realm" Table Text row.realm;
    "user" Table Text row.user;
    "reason" Table Text row.reason;
    "err" Table Text row.code;
    "count" Table Count row.count;
    "peer" Wide Text row.peer;
    "session" Wide Text row.session;
    "id" Detail Text row.id;
});

shows!(GroupView, "groups/1", |row| row.key.clone(), {
    "key" Table Text row.key;
    "realm" Table Text row.realm;
    "sessions" Table Count row.sessions;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "refusals" Table Count row.refusals;
    "drops" Table Count row.drops;
    "in_bytes" Wide Bytes row.in_bytes;
    "out_bytes" Wide Bytes row.out_bytes;
    "approximate" Wide Text row.approximate;
    "filter" Wide Text row.filter;
});

shows!(PermissionView, "peers/1", |row| row.peer.to_string(), {
    "peer" Table Text row.peer.to_string();
    "port" Table Text row.last_port;
    "in" Table Rate row.rate_in_bps;
    "out" Table Rate row.rate_out_bps;
    "in_bytes" Table Bytes row.in_bytes;
    "out_bytes" Table Bytes row.out_bytes;
    "ttl" Table Age row.ttl_secs;
});

/// A sample with its time.
#[derive(Clone, Debug, Serialize)]
pub struct SampleRow {
    /// When it was taken.
    pub(in crate::cli) at_ms: u64,
    /// What was seen.
    #[serde(flatten)]
    pub(in crate::cli) sample: HistorySample,
}

shows!(SampleRow, "samples/1", |row| row.at_ms.to_string(), {
    "time" Table Time row.at_ms;
    "sessions" Table Count row.sample.sessions;
    "in" Table Rate row.sample.rate_in_bps;
    "out" Table Rate row.sample.rate_out_bps;
});

/// A figure over time in one line.
#[derive(Clone, Debug, Serialize)]
pub struct TrendRow {
    /// Which.
    pub(in crate::cli) figure: &'static str,
    /// The newest sample.
    pub(in crate::cli) last: Option<u64>,
    /// The smallest.
    pub(in crate::cli) min: Option<u64>,
    /// The largest.
    pub(in crate::cli) max: Option<u64>,
    /// All of them, drawn.
    pub(in crate::cli) trend: String,
}

shows!(TrendRow, "trends/1", |row| row.figure.to_owned(), {
    "figure" Table Text row.figure;
    "last" Table Rate row.last;
    "min" Table Rate row.min;
    "max" Table Rate row.max;
    "trend" Table Text row.trend;
});

shows!(RealmPreview, "realm-previews/1", |row| row.revision.to_string(), {
    "revision" Table Count row.revision;
    "errors" Table Text row.errors;
    "nodes" Table Count row.nodes;
    "sessions" Table Count row.sessions;
    "sessions_over_rate" Table Count row.sessions_over_rate;
    "sessions_with_denied_peers" Table Count row.sessions_with_denied_peers;
    "users_over_limit" Table Count row.users_over_limit;
    "nodes_over_limit" Table Count row.nodes_over_limit;
    "sessions_revoked" Table Count row.sessions_revoked;
    "sessions_unjudged" Detail Count row.sessions_unjudged;
});

shows!(RealmRevision, "realm-revisions/1", |row| row.revision.to_string(), {
    "revision" Table Count row.revision;
    "time" Table Time row.changed_at_ms;
    "by" Table Text row.changed_by;
    "reason" Table Text row.reason;
    "changed" Table Text if row.deleted { vec!["(deleted)".to_owned()] } else { row.changed.clone() };
});

shows!(RealmChange, "realm-changes/1", |row| row.field.clone(), {
    "field" Table Text row.field;
    "before" Table Text shown(&row.before);
    "after" Table Text shown(&row.after);
});

/// A value of a document, as it would be written.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An origin or a peer rule of a realm.
#[derive(Clone, Debug, Serialize)]
pub struct EntryRow {
    /// `origin`, `allow` or `deny`.
    pub(in crate::cli) kind: &'static str,
    /// The origin or the range of addresses.
    pub(in crate::cli) value: String,
}

shows!(EntryRow, "realm-entries/1", |row| row.value.clone(), {
    "kind" Table Text row.kind;
    "value" Table Text row.value;
});
