//! Why sessions end.

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// The client sent a Refresh with lifetime 0.
    Released,
    /// Nobody refreshed it in time.
    Expired,
    /// An operator killed it.
    Killed,
    /// The client's TCP, TLS or DTLS connection ended.
    Disconnected,
    /// Its credential is worth nothing any more, and its realm ends sessions then.
    Revoked(Revocation),
    /// It comes from a network that was banned.
    Banned,
    /// The deadline of the node's drain came.
    Drained,
}

impl EndCause {
    /// How many words there are.
    pub const WORDS: usize = 7;

    /// The word used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Killed => "killed",
            Self::Disconnected => "disconnected",
            Self::Revoked(_) => "revoked",
            Self::Banned => "banned",
            Self::Drained => "drained",
        }
    }

    /// One of each word, as [`ByCause`](crate::server::ByCause) numbers them.
    #[must_use]
    pub fn each() -> [Self; Self::WORDS] {
        [
            Self::Released,
            Self::Expired,
            Self::Killed,
            Self::Disconnected,
            Self::Revoked(Revocation::UserRemoved),
            Self::Banned,
            Self::Drained,
        ]
    }

    /// The text used in events and logs: the word, and more where more is known.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Revoked(why) => why.in_words(),
            Self::Banned => "banned with its network",
            other => other.as_str(),
        }
    }
}

/// Why the credential of a session is worth nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revocation {
    /// The user was deleted.
    UserRemoved,
    /// The user was switched off.
    UserDisabled,
    /// The user has another key now.
    PasswordChanged,
    /// The shared secret that signed it was removed or retired.
    SecretRetired,
    /// The time that a time-limited credential names has passed.
    CredentialExpired,
}

impl Revocation {
    /// The text used in events.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::UserRemoved => "revoked: the user was removed",
            Self::UserDisabled => "revoked: the user was switched off",
            Self::PasswordChanged => "revoked: the password was changed",
            Self::SecretRetired => "revoked: its shared secret is gone",
            Self::CredentialExpired => "revoked: the credential has expired",
        }
    }
}
