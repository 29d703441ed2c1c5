//! What access tokens are encrypted with (RFC 7635 §4.1, RFC 7518 §5.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An authenticated encryption algorithm, by its name in RFC 7518.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OauthAlgorithm {
    /// AES-256-GCM, which everybody must support.
    #[default]
    #[serde(rename = "A256GCM")]
    A256gcm,
    /// AES-128-GCM.
    #[serde(rename = "A128GCM")]
    A128gcm,
}

impl OauthAlgorithm {
    /// Bytes of its key.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::A256gcm => 32,
            Self::A128gcm => 16,
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A256gcm => "A256GCM",
            Self::A128gcm => "A128GCM",
        }
    }
}

impl fmt::Display for OauthAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is that of no algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an algorithm is A256GCM or A128GCM")]
pub struct UnknownOauthAlgorithm;

impl FromStr for OauthAlgorithm {
    type Err = UnknownOauthAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownOauthAlgorithm> {
        match name {
            "A256GCM" => Ok(Self::A256gcm),
            "A128GCM" => Ok(Self::A128gcm),
            _ => Err(UnknownOauthAlgorithm),
        }
    }
}
