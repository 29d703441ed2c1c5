//! A translated configuration as the text of a `relayd.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::translation::Tree;
use crate::config::file::{Item, Value};

/// The text; sections stand behind the settings of the node, realms at the end.
pub(in crate::config) fn write(tree: &Tree) -> String {
    let mut text = "# Holds passwords: chmod 640.\n\n".to_owned();
    let is_section = |item: &&Item| matches!(item.value, Value::Table(_));
    let plain = tree
        .iter()
        .filter(|(name, item)| *name != "realm" && !is_section(item));
    for (name, item) in plain {
        line(&mut text, name, item);
    }
    for (name, item) in tree.iter().filter(|(_, item)| is_section(item)) {
        let _ = writeln!(text, "\n[{name}]");
        table(&mut text, &item.value);
    }
    if let Some(Value::List(realms)) = tree.get("realm").map(|item| &item.value) {
        for realm in realms {
            text.push_str("\n[[realm]]\n");
            table(&mut text, &realm.value);
        }
    }
    text
}

fn table(text: &mut String, value: &Value) {
    if let Value::Table(entries) = value {
        for (name, item) in entries {
            line(text, name, item);
        }
    }
}

fn line(text: &mut String, name: &str, item: &Item) {
    let _ = writeln!(text, "{name} = {}", inline(&item.value));
}

/// Long lists take a line for each entry.
fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(&item.value)).collect();
            let one = items.join(", ");
            match one.len() > 80 {
                true => format!("[\n    {},\n]", items.join(",\n    ")),
                false => format!("[{one}]"),
            }
        }
        Value::Table(entries) => format!("{{ {} }}", pairs(entries)),
        // Never made by a translation.
        Value::Other(_) => "\"\"".to_owned(),
    }
}

fn pairs(entries: &BTreeMap<String, Item>) -> String {
    let pairs = entries.iter();
    let pairs = pairs.map(|(name, item)| format!("{name} = {}", inline(&item.value)));
    pairs.collect::<Vec<_>>().join(", ")
}

/// What limits mean in a cluster: coturn's, and so these, count on each node for itself.
pub(in crate::config) fn limits_per_node(tree: &Tree) -> Vec<String> {
    const OF_REALM: [&str; 3] = ["max_sessions", "max_sessions_per_user", "max_rate_bps"];
    let mut found: Vec<(String, String)> = Vec::new();
    if let Some(Value::List(realms)) = tree.get("realm").map(|item| &item.value) {
        let tables = realms.iter().filter_map(|realm| match &realm.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        for (key, item) in tables
            .flatten()
            .filter(|(key, _)| OF_REALM.contains(&key.as_str()))
        {
            if let Value::Integer(number) = item.value {
                found.push((key.clone(), number.to_string()));
            }
        }
    }
    if let Some(Value::Table(limits)) = tree.get("limits").map(|item| &item.value)
        && let Some(Value::Text(rate)) = limits.get("max_rate_bps").map(|item| &item.value)
    {
        found.push(("limits.max_rate_bps".to_owned(), rate.clone()));
    }
    let meaning = |(key, number): (String, String)| match key.as_str() {
        "max_rate_bps" => format!("{key} = {number}: bits per second of each session, on any node"),
        "limits.max_rate_bps" => {
            format!("{key} = {number}: bits per second of each node: N nodes relay N times as much")
        }
        _ => format!(
            "{key} = {number}: counts on each node, so N nodes admit N times {number}; limits.reach = \"cluster\" \
             admits {number} over all of them"
        ),
    };
    found.into_iter().map(meaning).collect()
}
