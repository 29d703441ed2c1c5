//! Keys of third-party authorization (RFC 7635).

use serde::{Deserialize, Serialize};

use crate::{OauthAlgorithm, Realm};

/// A key shared with an authorization server, without its value. coturn: `oauth_key`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct OauthKeyView {
    /// Its name, which clients send as USERNAME.
    pub kid: String,
    /// What tokens are encrypted with.
    pub algorithm: OauthAlgorithm,
    /// The only realm it is good for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// When it becomes good; absent: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// `PUT /v1/oauth/keys/{kid}`: adds a key or replaces it.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct OauthKeyPut {
    /// The key in base64: 32 bytes for A256GCM, 16 for A128GCM; what is longer is cut off, as coturn
    /// does. Absent: one is generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What tokens are encrypted with.
    pub algorithm: OauthAlgorithm,
    /// The only realm it is good for; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
    /// For how many seconds from now it is good; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Why; kept in the audit.
    pub reason: String,
}

impl std::fmt::Debug for OauthKeyPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthKeyPut")
            .field("algorithm", &self.algorithm)
            .field("realm", &self.realm)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// The answer: a generated key this once, never one that was given.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct OauthKeyCreated {
    /// What is stored.
    #[serde(flatten)]
    pub view: OauthKeyView,
    /// The generated key in base64, for the authorization server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl std::fmt::Debug for OauthKeyCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthKeyCreated")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}
