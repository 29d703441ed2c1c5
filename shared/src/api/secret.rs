//! Shared secrets of a realm (TURN REST). Their values are never answered but to their creator.

use serde::{Deserialize, Serialize};

use crate::Realm;

/// A shared secret without its value.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SecretView {
    /// A keyed fingerprint of the value: 12 hex digits.
    pub id: String,
    /// The realm.
    pub realm: Realm,
    /// For operators; empty for secrets that other tools wrote.
    pub label: String,
    /// When it was added; 0 for secrets that other tools wrote.
    pub created_at_ms: u64,
    /// Live sessions whose credential it signed.
    pub sessions: u64,
}

/// `POST /v1/realms/{realm}/secrets`.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct SecretCreate {
    /// The value, 16 to 256 bytes of printable ASCII; absent: one is generated and answered once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// For operators.
    pub label: String,
    /// Why; kept in the audit.
    pub reason: String,
}

impl std::fmt::Debug for SecretCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretCreate")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// The answer to a creation.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct SecretCreated {
    /// What was created.
    #[serde(flatten)]
    pub secret: SecretView,
    /// The generated value, this once; absent when the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl std::fmt::Debug for SecretCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretCreated")
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}
