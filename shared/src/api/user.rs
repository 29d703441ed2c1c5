//! Users: long-term credentials, and whoever has sessions.

use serde::{Deserialize, Serialize};

use crate::{PasswordAlgorithm, Realm};

/// One row of the user list: stored users and users that only have sessions (TURN REST).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct UserView {
    /// The realm.
    pub realm: Realm,
    /// The name.
    pub name: String,
    /// Whether the store holds a key for it.
    pub stored: bool,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Its own session limit, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// The session limit in force (its own or the realm's); absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Its own rate limit in bits per second and direction, over all its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate_bps: Option<u64>,
    /// The rate limit in force (its own or the realm's `max_user_rate_bps`); absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_bps: Option<u64>,
    /// For operators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What a client can make its key with (RFC 8489 §18.5); none for users that are not stored.
    /// `md5` alone: another tool wrote the key, and setting the password again adds the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<PasswordAlgorithm>,
    /// Refused until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until_ms: Option<u64>,
    /// Live sessions.
    pub sessions: u64,
    /// Bits per second from the client.
    pub rate_in_bps: u64,
    /// Bits per second to the client.
    pub rate_out_bps: u64,
}

/// `PUT /v1/realms/{realm}/users/{name}`: creates a user or sets its password.
///
/// The password is turned into the long-term key at the node that receives it and kept nowhere.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct UserPut {
    /// The password, 1 to 508 bytes.
    pub password: String,
    /// Why; kept in the audit.
    #[serde(default)]
    pub reason: String,
}

impl std::fmt::Debug for UserPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserPut")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// `PATCH /v1/realms/{realm}/users/{name}`: changes what is given, keeps the rest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct UserPatch {
    /// Switch off or on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Own session limit; 0 removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Own rate limit in bits per second and direction, over all its sessions: at least
    /// 8000; 0 removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_bps: Option<u64>,
    /// Note for operators; empty removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why; kept in the audit.
    pub reason: String,
}

/// A user that is refused for a while.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct BlockView {
    /// The realm.
    pub realm: Realm,
    /// The user.
    pub user: String,
    /// Until when.
    pub until_ms: u64,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
}
