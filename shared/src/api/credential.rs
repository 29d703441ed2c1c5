//! Time-limited credentials (TURN REST), minted by the server.

use serde::{Deserialize, Serialize};

/// `POST /v1/realms/{realm}/credentials`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct MintRequest {
    /// The id part of the username; may be empty.
    pub user: String,
    /// Seconds until it ends, 60 to 604,800; absent: 86,400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
}

/// A minted credential, in the shape of `RTCIceServer`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Credential {
    /// `expiry:user`.
    pub username: String,
    /// base64 of HMAC-SHA1(secret, username).
    pub credential: String,
    /// Seconds until it ends.
    pub ttl_secs: u64,
    /// Where it is good: the listeners of all ready nodes, as `turn:` URIs (RFC 7065).
    pub urls: Vec<String>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("ttl_secs", &self.ttl_secs)
            .finish_non_exhaustive()
    }
}
