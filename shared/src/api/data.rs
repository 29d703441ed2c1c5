//! Users and secrets of a realm in bulk, keys and values with them: what moves between databases.

use serde::{Deserialize, Serialize};

use super::SecretState;

/// `POST /v1/realms/{realm}/import`: adds users by their keys, and secrets. What is there and equal
/// stays as it is, so that it may be done again.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct RealmImport {
    /// Users, [`MAX_IMPORTED`](Self::MAX_IMPORTED) at most.
    pub users: Vec<ImportedUser>,
    /// Values of shared secrets, 1 to 256 bytes of printable ASCII, as many at most.
    pub secrets: Vec<String>,
    /// Only tell what would change.
    pub dry_run: bool,
    /// Why; kept in the audit.
    pub reason: String,
}

impl RealmImport {
    /// Users, and secrets, of one call at most.
    pub const MAX_IMPORTED: usize = 500;
}

impl std::fmt::Debug for RealmImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealmImport")
            .field("users", &self.users.len())
            .field("secrets", &self.secrets.len())
            .field("dry_run", &self.dry_run)
            .field("reason", &self.reason)
            .finish()
    }
}

/// A user as coturn's databases have it.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct ImportedUser {
    /// The name.
    pub name: String,
    /// MD5(name ":" realm ":" password) in 32 hex digits (RFC 8489 §9.2.2).
    pub key: String,
}

impl std::fmt::Debug for ImportedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportedUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What came of a [`RealmImport`]: as many outcomes as there were users and secrets, in their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct ImportResult {
    /// Nothing was written.
    pub dry_run: bool,
    /// Of the users.
    pub users: Vec<ImportOutcome>,
    /// Of the secrets.
    pub secrets: Vec<ImportOutcome>,
}

/// What came of one of them, or would.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "outcome", content = "reason", rename_all = "lowercase")]
pub enum ImportOutcome {
    /// It was not there.
    Added,
    /// It was there with another key.
    Changed,
    /// It is there already.
    Same,
    /// It cannot be, and why.
    Refused(String),
}

/// `POST /v1/realms/{realm}/reveal`: the stored users of a realm with their keys, a page at a time, and
/// its secrets with their values.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct RevealRequest {
    /// Users after this name; absent: from the first one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only the secrets.
    pub secrets_only: bool,
    /// Why; kept in the audit.
    pub reason: String,
}

/// The answer to a [`RevealRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Revealed {
    /// Users in the order of their names.
    pub users: Vec<ImportedUser>,
    /// All stored secrets; on the first page only.
    pub secrets: Vec<RevealedSecret>,
    /// What to give as `after` for the next page; absent: these are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A secret with its value.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct RevealedSecret {
    /// As lists of secrets have it.
    pub id: String,
    /// The value.
    pub value: String,
    /// Where it is in its life: coturn knows those that are accepted.
    pub state: SecretState,
    /// For operators.
    pub label: String,
}

impl std::fmt::Debug for RevealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealedSecret")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
