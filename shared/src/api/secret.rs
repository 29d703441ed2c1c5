//! Shared secrets of a realm (TURN REST). Their values are never answered but to their creator.

use serde::{Deserialize, Serialize};

use crate::Realm;

/// Where a secret is in its life. To rotate: add the next one pending, hand it out, activate it, retire
/// the one before, and remove that when nobody uses it any more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SecretState {
    /// Known here and nowhere in use: what it signed is refused.
    Pending,
    /// Accepted, and credentials are minted with the newest of these.
    #[default]
    Active,
    /// Accepted still, but nothing is minted with it.
    Retiring,
    /// Refused; kept so that it can be taken back.
    Retired,
}

impl SecretState {
    /// All of them, in the order of their life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Retiring, Self::Retired];

    /// Whether credentials that it signed are accepted. Those are the secrets that coturn knows, too.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }

    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}

impl std::str::FromStr for SecretState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| "pending, active, retiring or retired".to_owned())
    }
}

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
    /// Where it is in its life.
    #[serde(default)]
    pub state: SecretState,
    /// Live sessions whose credential it signed.
    pub sessions: u64,
}

/// `PATCH /v1/realms/{realm}/secrets/{id}`: changes what is given, keeps the rest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct SecretPatch {
    /// The next state; any may follow any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SecretState>,
    /// For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Why; kept in the audit.
    pub reason: String,
}

/// Who uses a secret: a row of `GET /v1/realms/{realm}/secrets/usage`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SecretUsage {
    /// The secret.
    #[serde(flatten)]
    pub secret: SecretView,
    /// Distinct users among those sessions; the empty one, which stands for many people, counts once.
    pub users: u64,
    /// Whether those are all: a node names 1,000 users of a secret at most.
    pub users_complete: bool,
    /// The users with most sessions, 20 at most.
    pub top_users: Vec<SecretUser>,
    /// When the last session with it began, as far as the nodes remember since their start; 0: never.
    pub last_used_at_ms: u64,
}

/// A user of a secret.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SecretUser {
    /// The id part of the time-limited username; may be empty.
    pub user: String,
    /// Live sessions.
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
    /// Added pending: known here, and neither accepted nor minted with until it is activated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
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
