//! The configuration of nodes: what is in force, where it comes from, and what the store overrides.
//!
//! Layers, weakest first: built-in default, configuration file, override for all nodes, override for
//! one node, environment, flag. Overrides live in the store as one document per scope, so a change
//! survives restarts and reaches every node within a second.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::api::MissingNode;

/// `GET /v1/nodes/{id}/config`: every setting of a node as it is in force.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ConfigView {
    /// Name and version of this type: `config/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// Whose settings these are.
    pub node: NodeId,
    /// Revision of the overrides for all nodes that this node applies; 0: there are none.
    pub cluster_revision: u64,
    /// Revision of the overrides for this node that it applies; 0: there are none.
    pub node_revision: u64,
    /// The settings, in the order of the documentation.
    pub settings: Vec<SettingView>,
}

/// One setting of one node.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SettingView {
    /// Its name, as in the file: `log.level`.
    pub key: String,
    /// What it holds.
    pub kind: SettingKind,
    /// The value in force; `null` where there is none, and for secrets.
    pub value: serde_json::Value,
    /// The built-in default; `null` where there is none.
    #[serde(default)]
    pub default: serde_json::Value,
    /// Which layer the value comes from.
    pub source: SettingSource,
    /// When a change of it applies.
    pub applies: Applies,
    /// A value that waits for the next start of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<serde_json::Value>,
    /// The value is hidden.
    #[serde(default)]
    pub secret: bool,
    /// One line.
    pub help: String,
}

impl SettingView {
    /// A value as one line of text: as in flags and the environment, `-` where there is none,
    /// `(hidden)` for a secret.
    #[must_use]
    pub fn value_text(&self) -> String {
        if self.secret {
            return "(hidden)".to_owned();
        }
        setting_text(&self.value)
    }
}

/// A value of a setting as one line of text: lists joined by commas, tables as `name=text`.
#[must_use]
pub fn setting_text(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(setting_text).collect();
            items.join(",")
        }
        Value::Object(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(name, value)| format!("{name}={}", setting_text(value)))
                .collect();
            pairs.join(",")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingKind {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of texts.
    List,
    /// Names and texts.
    Table,
}

/// The layer that a value comes from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingSource {
    /// Built in.
    Default,
    /// The configuration file.
    File,
    /// The override for all nodes.
    Cluster,
    /// The override for this node.
    Node,
    /// The environment.
    Environment,
    /// A flag.
    Flag,
}

impl SettingSource {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// When a change of a setting applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// At once.
    Live,
    /// At the next start of the node.
    Restart,
    /// The store cannot override it: a node must know it before it reaches the store, or it decides
    /// who may change anything. It is changed in the file of the node.
    File,
}

impl Applies {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::File => "file",
        }
    }
}

/// `GET /v1/config` and `GET /v1/nodes/{id}/config/overrides`: overrides of one scope.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ConfigOverrides {
    /// Name and version of this type: `config-overrides/1`.
    pub schema: String,
    /// The node they are for; absent: all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Counts the changes; 0: never changed.
    pub revision: u64,
    /// When they were changed last; 0 when never.
    pub changed_at_ms: u64,
    /// By whom.
    pub changed_by: String,
    /// The values, by key.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// `PATCH /v1/config` and `PATCH /v1/nodes/{id}/config` take this body, with `If-Match: <revision>`
/// of the overrides of that scope (0: there are none yet).
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct ConfigPatch {
    /// New values, by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, serde_json::Value>,
    /// Overrides to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
    /// Only check and tell what would change.
    pub dry_run: bool,
    /// Why; kept in the audit.
    pub reason: String,
}

/// What a [`ConfigPatch`] did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ConfigResult {
    /// Name and version of this type: `config-result/1`.
    pub schema: String,
    /// The overrides afterwards (of a dry run: as they would be, under the revision that is there).
    pub overrides: ConfigOverrides,
    /// What changes on which node.
    pub changes: Vec<ConfigChange>,
    /// Nodes that did not answer: they apply the change when they see it.
    #[serde(default)]
    pub missing: Vec<MissingNode>,
}

/// One changed value of one node.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ConfigChange {
    /// The node.
    pub node: NodeId,
    /// The setting.
    pub key: String,
    /// The value in force before; of a setting that applies at a restart, the one of the next start.
    pub old: serde_json::Value,
    /// The same afterwards.
    pub new: serde_json::Value,
    /// When it applies.
    pub applies: Applies,
    /// A stronger layer (environment, flag, the node's own override) hides the change there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_by: Option<SettingSource>,
}
