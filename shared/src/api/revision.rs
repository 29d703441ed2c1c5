//! Revisions of realms: every change is one, and can be undone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RealmDocument;
use crate::Realm;

/// One revision of a realm. A list has them without documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealmRevision {
    /// Counts the changes of the realm from 1. A deletion counts, and a realm that is made again
    /// goes on counting.
    pub revision: u64,
    /// When it was made.
    pub changed_at_ms: u64,
    /// By whom; `external` for other tools.
    pub changed_by: String,
    /// Why; may be empty.
    pub reason: String,
    /// Whether the realm was deleted with it.
    pub deleted: bool,
    /// The fields that it changed, as in [`RealmChange`]; of the first one that is known, none.
    pub changed: Vec<String>,
    /// What the realm was from then on; in answers about one revision, unless it is a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<RealmDocument>,
}

/// What differs between two revisions of a realm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealmDiff {
    /// Name and version of this type: `realm-diff/1`.
    pub schema: String,
    /// The realm.
    pub realm: Realm,
    /// The revision that is compared.
    pub from: u64,
    /// With this one.
    pub to: u64,
    /// The fields that differ, in the order of their names.
    pub changes: Vec<RealmChange>,
}

/// One field of a document that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealmChange {
    /// Its name.
    pub field: String,
    /// What it was; `null`: not set, or there was no document.
    pub before: Value,
    /// What it became.
    pub after: Value,
}

/// The query string of `GET /v1/realms/{realm}/diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RealmDiffQuery {
    /// The revision to compare; absent: the one before `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// With this one; absent: the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// `POST /v1/realms/{realm}/undo` takes this body, with `If-Match: <revision>` (0 where the realm is
/// deleted). The undo is a revision of its own, and can be undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RealmUndo {
    /// The revision whose document comes back; absent: the one before the latest change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why; kept in the audit and with the revision.
    pub reason: String,
}

/// What is shown for a value that may be secret.
const HIDDEN: &str = "(hidden)";

/// The fields that differ between two documents; an absent one has none of them. Lists and limits
/// that are not set are `null`. Values of unknown fields that sound like secrets are not told.
#[must_use]
pub fn realm_changes(
    before: Option<&RealmDocument>,
    after: Option<&RealmDocument>,
) -> Vec<RealmChange> {
    let (before, after) = (fields(before), fields(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let of = |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or(Value::Null);
    let changes = names.into_iter().filter_map(|name| {
        let (before, after) = (of(&before, name), of(&after, name));
        let shown = |value: Value| match value {
            Value::Null => Value::Null,
            _ if sounds_secret(name) => Value::from(HIDDEN),
            value => value,
        };
        (before != after).then(|| RealmChange {
            field: name.clone(),
            before: shown(before),
            after: shown(after),
        })
    });
    changes.collect()
}

fn fields(document: Option<&RealmDocument>) -> Map<String, Value> {
    match document.map(serde_json::to_value) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    }
}

/// A document has no secrets, but what a newer release adds to it is not known.
fn sounds_secret(field: &str) -> bool {
    const KNOWN: [&str; 3] = [
        "password_algorithms",
        "revoke_on_password_change",
        "revoke_on_secret_removal",
    ];
    let words = ["secret", "password", "token", "private", "credential"];
    let known = KNOWN.contains(&field) || field == "revoke_on_credential_expiry";
    !known && words.iter().any(|word| field.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> RealmDocument {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn fields_that_differ_are_told_and_no_others() {
        let before = document(r#"{"max_sessions":5,"note":"a"}"#);
        let after = document(r#"{"max_sessions":6,"note":"a","denied_peers":["10.0.0.0/8"]}"#);
        let changes = realm_changes(Some(&before), Some(&after));
        let told: Vec<_> = changes
            .iter()
            .map(|c| (c.field.as_str(), c.before.to_string(), c.after.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                ("denied_peers", "null".into(), "[\"10.0.0.0/8\"]".into()),
                ("max_sessions", "5".into(), "6".into()),
            ]
        );
        assert!(realm_changes(Some(&after), Some(&after)).is_empty());
        assert!(realm_changes(None, Some(&after)).len() > 5);
        assert!(realm_changes(None, None).is_empty());
    }

    #[test]
    fn what_sounds_like_a_secret_is_not_told() {
        let before = document(r#"{"api_token":"s3cret"}"#);
        let after = document(r#"{"api_token":"other","revoke_on_password_change":true}"#);
        let changes = realm_changes(Some(&before), Some(&after));
        let text = serde_json::to_string(&changes).unwrap();
        assert!(
            !text.contains("s3cret") && !text.contains("other"),
            "{text}"
        );
        assert_eq!(changes[0].before, HIDDEN);
        assert_eq!(changes[1].after, true);
        let gone = realm_changes(Some(&before), None);
        let gone = gone.iter().find(|c| c.field == "api_token").unwrap();
        assert_eq!(gone.after, Value::Null);
    }
}
