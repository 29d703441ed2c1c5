//! What the forms of settings, alert rules and redirects mean: from fields to calls.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::NodeId;
use shared::api::{
    AlertRule, AlertRulePatch, Applies, ConfigChange, ConfigPatch, RedirectCreate, SettingKind,
    SettingView, setting_text,
};
use shared::units::parse_duration;

use crate::client::ConfigScope;
use crate::widgets::form::Form;

/// Seconds that a condition may have to hold at most.
const MAX_FOR_SECS: u64 = 3600;

/// A setting that is being edited.
#[derive(Clone, Debug)]
pub(crate) struct SettingEdit {
    /// On whose screen it is.
    pub(crate) node: NodeId,
    /// The setting as it is there.
    pub(crate) setting: SettingView,
    /// Revision of the overrides for all nodes that the edit starts from.
    pub(crate) all_revision: u64,
    /// Revision of the overrides for the node.
    pub(crate) node_revision: u64,
}

impl SettingEdit {
    /// Whom a change is for, and over which revision it is made.
    pub(crate) fn scope(&self, form: &Form) -> (ConfigScope, u64) {
        if form.value("all") == "yes" {
            (ConfigScope::All, self.all_revision)
        } else {
            (ConfigScope::Node(self.node.clone()), self.node_revision)
        }
    }

    /// The change that the form asks for.
    pub(crate) fn patch(&self, form: &Form, dry_run: bool) -> Result<ConfigPatch, String> {
        let mut patch = ConfigPatch {
            dry_run,
            reason: form.value("reason").to_owned(),
            ..ConfigPatch::default()
        };
        let key = self.setting.key.clone();
        if form.value("remove") == "yes" {
            patch.unset.push(key);
        } else {
            let value = parse_value(self.setting.kind, form.raw("value").trim())
                .map_err(|why| format!("{key}: {why}"))?;
            patch.set = BTreeMap::from([(key, value)]);
        }
        Ok(patch)
    }
}

/// Reads a value as it is typed; what it may be is the node's to judge.
pub(crate) fn parse_value(kind: SettingKind, text: &str) -> Result<Value, String> {
    let parts = || {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
    };
    match kind {
        SettingKind::Text if text.is_empty() => {
            Err("a value; to go back to what it was, remove the override".to_owned())
        }
        SettingKind::Text => Ok(json!(text)),
        SettingKind::Integer => {
            let number: i64 = text.parse().map_err(|_| "a whole number".to_owned())?;
            Ok(json!(number))
        }
        SettingKind::Boolean => match text {
            "yes" | "true" => Ok(json!(true)),
            "no" | "false" => Ok(json!(false)),
            _ => Err("yes or no".to_owned()),
        },
        SettingKind::List => Ok(parts().collect()),
        SettingKind::Table => {
            let pairs = parts().map(|part| {
                let (name, value) = part.split_once('=').ok_or("name=value, joined by commas")?;
                Ok((name.trim().to_owned(), json!(value.trim())))
            });
            pairs.collect::<Result<_, String>>().map(Value::Object)
        }
    }
}

/// A value as it is put into the form.
pub(crate) fn typed_value(setting: &SettingView) -> String {
    match (&setting.value, setting.secret) {
        (_, true) | (Value::Null, _) => String::new(),
        (Value::Bool(on), _) => if *on { "yes" } else { "no" }.to_owned(),
        (value, _) => setting_text(value),
    }
}

/// When a change applies, in words.
pub(crate) fn applies(applies: Applies) -> &'static str {
    match applies {
        Applies::Live => "at once",
        Applies::Restart => "at the next start",
        Applies::File => "in the file only",
    }
}

/// One line per kind of change, with the nodes it is on.
pub(crate) fn describe_changes(changes: &[ConfigChange], secret: bool) -> Vec<(String, String)> {
    let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
    for change in changes {
        let text = |value: &Value| match secret {
            true => "(hidden)".to_owned(),
            false => setting_text(value),
        };
        let (old, new) = (text(&change.old), text(&change.new));
        let what = match change.hidden_by {
            Some(by) => format!("stays {old}: {} is stronger", by.as_str()),
            None => format!("{old} -> {new}, {}", applies(change.applies)),
        };
        match lines.iter_mut().find(|(_, known)| *known == what) {
            Some((nodes, _)) => nodes.push(change.node.as_str()),
            None => lines.push((vec![change.node.as_str()], what)),
        }
    }
    lines
        .into_iter()
        .map(|(nodes, what)| {
            let who = match nodes.len() {
                0..=2 => nodes.join(", "),
                count => format!("{} and {} more", nodes[0], count - 1),
            };
            (who, what)
        })
        .collect()
}

/// A rule that is being edited.
#[derive(Clone, Debug)]
pub(crate) struct RuleEdit {
    /// The rule as it was.
    pub(crate) rule: AlertRule,
    /// Revision of the rules that the edit starts from.
    pub(crate) revision: u64,
}

impl RuleEdit {
    /// The change that the form asks for.
    pub(crate) fn patch(&self, form: &Form) -> Result<AlertRulePatch, String> {
        let reason = form.value("reason").to_owned();
        if form.value("reset") == "yes" {
            return Ok(AlertRulePatch {
                reset: true,
                reason,
                ..AlertRulePatch::default()
            });
        }
        let (warn, crit) = (threshold(form, "warn")?, threshold(form, "crit")?);
        let for_secs = parse_duration(form.value("for"))
            .map(|duration| duration.as_secs())
            .filter(|secs| *secs <= MAX_FOR_SECS)
            .ok_or("for: a duration up to 1h, as in 30s or 5m")?;
        let enabled = form.value("enabled") == "yes";
        let old = &self.rule;
        let patch = AlertRulePatch {
            warn: (warn != old.warn).then_some(warn),
            crit: (crit != old.crit).then_some(crit),
            for_secs: (for_secs != old.for_secs).then_some(for_secs),
            enabled: (enabled != old.enabled).then_some(enabled),
            reset: false,
            reason,
        };
        let empty = AlertRulePatch {
            reason: patch.reason.clone(),
            ..AlertRulePatch::default()
        };
        if patch == empty {
            return Err("nothing is changed".to_owned());
        }
        Ok(patch)
    }
}

fn threshold(form: &Form, name: &str) -> Result<Option<f64>, String> {
    match form.value(name) {
        "" => Ok(None),
        text => {
            let number: Option<f64> = text
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite() && *n >= 0.0);
            number
                .map(Some)
                .ok_or_else(|| format!("{name}: a number, or nothing"))
        }
    }
}

/// A threshold as it is shown.
pub(crate) fn threshold_text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Reads the form of a redirect.
pub(crate) fn redirect(form: &Form) -> Result<RedirectCreate, String> {
    let optional = |name: &str| Some(form.value(name).to_owned()).filter(|text| !text.is_empty());
    let transport = form.value("transport").parse();
    let weight = match form.value("weight") {
        "" => None,
        text => {
            let weight = text
                .parse()
                .ok()
                .filter(|weight| (1..=1000).contains(weight));
            Some(weight.ok_or("weight: 1 to 1000")?)
        }
    };
    let node = match form.value("node") {
        "" | "all" => None,
        name => Some(name.parse().map_err(|e| format!("node: {e}"))?),
    };
    Ok(RedirectCreate {
        transport: transport.map_err(|_| "transport: udp, tcp, tls or dtls")?,
        target: (form.value("target").parse())
            .map_err(|_| "target: address:port, as in 192.0.2.7:3478")?,
        domain: optional("domain"),
        node,
        weight,
        note: form.value("note").to_owned(),
        reason: form.value("reason").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_what_the_setting_holds() {
        let read = |kind, text| parse_value(kind, text);
        assert_eq!(read(SettingKind::Text, "5m"), Ok(json!("5m")));
        assert_eq!(read(SettingKind::Integer, "-3"), Ok(json!(-3)));
        assert_eq!(read(SettingKind::Boolean, "yes"), Ok(json!(true)));
        assert_eq!(read(SettingKind::List, "a, b,,"), Ok(json!(["a", "b"])));
        assert_eq!(read(SettingKind::List, ""), Ok(json!([])));
        assert_eq!(
            read(SettingKind::Table, "a=1,b = x=y"),
            Ok(json!({"a": "1", "b": "x=y"}))
        );
        for (kind, text) in [
            (SettingKind::Text, ""),
            (SettingKind::Integer, "1.5"),
            (SettingKind::Boolean, "maybe"),
            (SettingKind::Table, "alone"),
        ] {
            assert!(read(kind, text).is_err(), "{kind:?} {text}");
        }
    }

    #[test]
    fn equal_changes_stand_on_one_line() {
        let change = |node: &str, hidden_by| ConfigChange {
            node: node.parse().unwrap(),
            key: "log.level".into(),
            old: json!("info"),
            new: json!("debug"),
            applies: Applies::Live,
            hidden_by,
        };
        let by = Some(shared::api::SettingSource::Environment);
        let changes = [
            change("a", None),
            change("b", by),
            change("c", None),
            change("d", None),
        ];
        let lines = describe_changes(&changes, false);
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            lines,
            [
                text("a and 2 more", "info -> debug, at once"),
                text("b", "stays info: environment is stronger"),
            ]
        );
        assert_eq!(
            describe_changes(&changes[..1], true)[0].1,
            "(hidden) -> (hidden), at once"
        );
    }
}
