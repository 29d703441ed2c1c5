//! Alerts: conditions over the cluster's figures, judged by the nodes.

use serde::{Deserialize, Serialize};

use super::Severity;
use crate::{NodeId, Realm};

/// One row of `GET /v1/alerts`: a condition that holds.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct AlertView {
    /// The rule and what it is about, as in `node-capacity/fra1`: unique.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Since when it holds.
    pub since_ms: u64,
    /// The figure that is judged, as it is now.
    pub value: f64,
    /// The threshold that it crossed.
    pub threshold: f64,
    /// The node concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The realm concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// In words, with what to do about it.
    pub text: String,
}

/// One row of `GET /v1/alerts/rules`: a condition with its thresholds. The set of rules is fixed;
/// thresholds are the operator's.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct AlertRule {
    /// Its name, as in `node-capacity`.
    pub name: String,
    /// What is judged, in words.
    pub help: String,
    /// The unit of the thresholds: `percent`, `per_sec`, `seconds`, `days` or `count`.
    pub unit: String,
    /// From here on it warns; `None`: it never does.
    #[serde(default)]
    pub warn: Option<f64>,
    /// From here on it is critical; `None`: it never is.
    #[serde(default)]
    pub crit: Option<f64>,
    /// How long the condition must hold, in seconds.
    pub for_secs: u64,
    /// Whether it is judged at all.
    pub enabled: bool,
    /// Nothing of it was changed by an operator.
    pub is_default: bool,
}

/// `GET /v1/alerts/rules`: all rules, under one revision.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct AlertRules {
    /// Name and version of this type: `alert-rules/1`.
    pub schema: String,
    /// Counts the changes; 0: never changed.
    pub revision: u64,
    /// When they were changed last; 0 when never.
    pub changed_at_ms: u64,
    /// By whom.
    pub changed_by: String,
    /// The rules.
    pub rules: Vec<AlertRule>,
}

/// `PATCH /v1/alerts/rules/{name}` takes this body, with `If-Match: <revision>`: changes what is given,
/// keeps the rest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct AlertRulePatch {
    /// New threshold; a JSON `null` removes it.
    #[serde(skip_serializing_if = "Option::is_none", with = "double_option")]
    pub warn: Option<Option<f64>>,
    /// New threshold; a JSON `null` removes it.
    #[serde(skip_serializing_if = "Option::is_none", with = "double_option")]
    pub crit: Option<Option<f64>>,
    /// How long the condition must hold, in seconds, at most 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<u64>,
    /// Judge it or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Back to the built-in values, before anything else.
    pub reset: bool,
    /// Why; kept in the audit.
    pub reason: String,
}

/// Tells an absent field from one that is `null`.
mod double_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::option_option, reason = "absent, null and a value differ")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<f64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(serializer)
    }

    #[expect(clippy::option_option, reason = "absent, null and a value differ")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<f64>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_removes_a_threshold_and_absence_keeps_it() {
        let patch: AlertRulePatch = serde_json::from_str(r#"{"warn":null}"#).unwrap();
        assert_eq!((patch.warn, patch.crit), (Some(None), None));
        let text = serde_json::to_string(&patch).unwrap();
        assert_eq!(text, r#"{"warn":null,"reset":false,"reason":""}"#);
    }
}
