//! Long-term keys (RFC 8489 §9.2.2) and what the store says about a name.

use md5::{Digest, Md5};
use shared::Secret;

/// The MD5 key of a long-term credential: `MD5(username ":" realm ":" password)`.
///
/// Equivalent to the password for TURN, so it never shows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongTermKey(Secret<[u8; 16]>);

impl LongTermKey {
    /// Derives the key from a password. Names and password are taken as they are: whoever stores
    /// them applies OpaqueString (RFC 8265).
    #[must_use]
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        let mut hash = Md5::new();
        for part in [username, ":", realm, ":", password] {
            hash.update(part.as_bytes());
        }
        Self(Secret::new(hash.finalize().into()))
    }

    /// Wraps a stored key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key, for an HMAC or a store write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.expose()
    }
}

/// What is stored about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCredential {
    /// The key.
    pub key: LongTermKey,
    /// Sessions this user may have, where that differs from the realm's rule.
    pub max_sessions: Option<u32>,
}

/// The answer to a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialAnswer {
    /// The user exists and may log in.
    Known(UserCredential),
    /// No such user, or disabled: the client cannot tell.
    Unknown,
    /// The store does not answer: 500, and nothing is remembered.
    Unavailable,
}
