//! Tokens for the admin API over TCP, and who one is.

use serde::{Deserialize, Serialize};

use crate::{NodeId, Realm};

/// What a caller may do. Each role includes the ones before it, but for `mint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Mints credentials and nothing else.
    Mint,
    /// Reads.
    Viewer,
    /// Kills sessions and blocks users.
    Operator,
    /// Changes users, secrets, realms and tokens.
    Admin,
}

impl Role {
    /// Whether this role may do what `needed` may.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        match needed {
            Self::Mint => matches!(self, Self::Mint | Self::Admin),
            Self::Viewer => matches!(self, Self::Viewer | Self::Operator | Self::Admin),
            Self::Operator => matches!(self, Self::Operator | Self::Admin),
            Self::Admin => self == Self::Admin,
        }
    }

    /// The word used in the API and on screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A token without its value.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TokenView {
    /// The id: 12 hex digits, the part between the underscores of the token.
    pub id: String,
    /// For operators.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// The realms it is confined to; empty: all.
    #[serde(default)]
    pub realms: Vec<Realm>,
    /// When it was created.
    pub created_at_ms: u64,
    /// By whom.
    pub created_by: String,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// When it was used last, to the minute; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TokenCreate {
    /// For operators.
    #[serde(default)]
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// The realms it is confined to; empty: all.
    #[serde(default)]
    pub realms: Vec<Realm>,
    /// Seconds until it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Why; kept in the audit.
    #[serde(default)]
    pub reason: String,
}

/// The answer to a creation: the token itself, this once.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct TokenCreated {
    /// What was created.
    #[serde(flatten)]
    pub view: TokenView,
    /// The token, to be sent as `Authorization: Bearer`.
    pub token: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

/// `GET /v1/whoami`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct WhoAmI {
    /// `unix:<uid>` or `token:<id>`.
    pub actor: String,
    /// What it may do.
    pub role: Role,
    /// The realms it is confined to; empty: all.
    pub realms: Vec<Realm>,
    /// The node that answers.
    pub node: NodeId,
    /// Name of the cluster.
    pub cluster: String,
    /// The version of the node.
    pub version: String,
}
