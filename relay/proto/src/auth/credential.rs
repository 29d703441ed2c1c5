//! Long-term keys (RFC 8489 §9.2.2) and what the store says about a name.

use md5::{Digest, Md5};
use sha2::Sha256;
use shared::{PasswordAlgorithm, Secret, Username};

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::token::MacKey;
use crate::stun::integrity::{self, IntegrityKind, PreparedSha1};
use crate::stun::{Message, MessageBuilder};

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
        let parts = [username, ":", realm, ":", password];
        Self(Secret::new(digest::<Md5>(&parts).into()))
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

/// The SHA-256 key of a long-term credential: `SHA-256(username ":" realm ":" password)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256Key(Secret<[u8; 32]>);

impl Sha256Key {
    /// Derives the key from a password, names and password as they are.
    #[must_use]
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        let parts = [username, ":", realm, ":", password];
        Self(Secret::new(digest::<Sha256>(&parts).into()))
    }

    /// Wraps a stored key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key, for an HMAC or a store write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// What USERHASH holds: `SHA-256(username ":" realm)` (RFC 8489 §14.4), names as they are.
#[must_use]
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    digest::<Sha256>(&[username, ":", realm]).into()
}

fn digest<D: Digest>(parts: &[&str]) -> md5::digest::Output<D> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize()
}

/// A key that messages are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntegrityKey {
    /// The key that coturn keeps, too.
    Md5(LongTermKey),
    /// The key of PASSWORD-ALGORITHM SHA-256.
    Sha256(Sha256Key),
    /// The session key of an access token (RFC 7635).
    Token(Box<MacKey>),
}

impl IntegrityKey {
    /// Derives the key of an algorithm from a password.
    #[must_use]
    pub fn derive(
        algorithm: PasswordAlgorithm,
        username: &str,
        realm: &str,
        password: &str,
    ) -> Self {
        match algorithm {
            PasswordAlgorithm::Md5 => Self::Md5(LongTermKey::derive(username, realm, password)),
            PasswordAlgorithm::Sha256 => Self::Sha256(Sha256Key::derive(username, realm, password)),
        }
    }

    /// The key, for an HMAC.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Md5(key) => key.as_bytes(),
            Self::Sha256(key) => key.as_bytes(),
            Self::Token(key) => key.as_bytes(),
        }
    }
}

/// A key that is used again and again: requests are checked and answers are signed with it.
#[derive(Debug)]
pub(crate) struct SigningKey {
    key: IntegrityKey,
    sha1: PreparedSha1,
}

impl SigningKey {
    pub(crate) fn new(key: IntegrityKey) -> Self {
        Self {
            sha1: PreparedSha1::new(key.as_bytes()),
            key,
        }
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &IntegrityKey {
        &self.key
    }

    fn compute(&self, kind: IntegrityKind, covered: &[u8]) -> ([u8; 32], usize) {
        match kind {
            IntegrityKind::Sha1 => self.sha1.compute(covered),
            IntegrityKind::Sha256 => integrity::compute(kind, self.key.as_bytes(), covered),
        }
    }

    /// Whether the integrity attribute of a message fits; `false` without one.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        message
            .integrity_parts()
            .is_some_and(|(kind, covered, value)| {
                let (digest, len) = self.compute(kind, covered);
                digest[..len].ct_eq(value).into()
            })
    }

    /// Appends an integrity attribute to an answer.
    pub(crate) fn sign(&self, kind: IntegrityKind, answer: MessageBuilder) -> MessageBuilder {
        answer.integrity_by(kind, |covered| self.compute(kind, covered))
    }
}

/// What a worker keeps of a user whom the store knows. All sessions of the user share it.
#[derive(Debug)]
pub(crate) struct KnownUser {
    /// The name, as the store wrote it.
    pub(crate) username: Username,
    pub(crate) max_sessions: Option<u32>,
    pub(crate) max_rate_bps: Option<u64>,
    pub(crate) key_id: u32,
    md5: Arc<SigningKey>,
    sha256: Option<Arc<SigningKey>>,
}

impl KnownUser {
    pub(crate) fn new(username: Username, credential: &UserCredential) -> Self {
        let signing = |key| Arc::new(SigningKey::new(key));
        let sha256 = credential.key_for(PasswordAlgorithm::Sha256);
        Self {
            username,
            max_sessions: credential.max_sessions,
            max_rate_bps: credential.max_rate_bps,
            key_id: credential.key_id,
            md5: signing(IntegrityKey::Md5(credential.key.clone())),
            sha256: sha256.map(signing),
        }
    }

    /// The user's key for an algorithm.
    pub(crate) fn key_for(&self, algorithm: PasswordAlgorithm) -> Option<&Arc<SigningKey>> {
        match algorithm {
            PasswordAlgorithm::Md5 => Some(&self.md5),
            PasswordAlgorithm::Sha256 => self.sha256.as_ref(),
        }
    }
}

/// What is stored about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCredential {
    /// The MD5 key, which every user has.
    pub key: LongTermKey,
    /// Which key that is: a short keyed fingerprint, from which nobody learns anything about the
    /// password, and which another password has with a chance of one in four thousand millions. It
    /// tells sessions of the password from those of the one before. 0: nobody asks.
    pub key_id: u32,
    /// The SHA-256 key; `None` where only coturn's key is known.
    pub sha256: Option<Sha256Key>,
    /// Sessions this user may have, where that differs from the realm's rule.
    pub max_sessions: Option<u32>,
    /// Bits per second that all sessions of this user may have in each direction, where
    /// that differs from the realm's rule.
    pub max_rate_bps: Option<u64>,
}

impl UserCredential {
    /// The user's key for an algorithm.
    #[must_use]
    pub fn key_for(&self, algorithm: PasswordAlgorithm) -> Option<IntegrityKey> {
        match algorithm {
            PasswordAlgorithm::Md5 => Some(IntegrityKey::Md5(self.key.clone())),
            PasswordAlgorithm::Sha256 => self.sha256.clone().map(IntegrityKey::Sha256),
        }
    }
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

/// The answer to the question which user has a USERHASH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserhashAnswer {
    /// This one has, or had a moment ago.
    Known(Username),
    /// Nobody.
    Unknown,
    /// The store does not answer: 500, and nothing is remembered.
    Unavailable,
}
