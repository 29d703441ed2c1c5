//! How a key is made from a password (RFC 8489 §18.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A password algorithm; its word is the one of the IANA registry in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PasswordAlgorithm {
    /// `MD5(username ":" realm ":" password)`: what coturn keeps.
    #[serde(rename = "md5")]
    Md5,
    /// `SHA-256(username ":" realm ":" password)`.
    #[serde(rename = "sha-256")]
    Sha256,
}

impl PasswordAlgorithm {
    /// All that are registered.
    pub const ALL: [Self; 2] = [Self::Md5, Self::Sha256];

    /// The number in PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    /// The word in settings and on screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha-256",
        }
    }
}

impl fmt::Display for PasswordAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word names no algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password algorithm is md5 or sha-256")]
pub struct UnknownAlgorithm;

impl FromStr for PasswordAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == word);
        known.ok_or(UnknownAlgorithm)
    }
}
