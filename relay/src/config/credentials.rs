//! `credentials`: which of the two kinds of credentials this node accepts.

use serde_json::{Value, json};

use super::ConfigRealm;
use super::source::Reader;

/// Which credentials clients may show. Access tokens (RFC 7635) are neither and have a switch of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialKinds {
    /// Users, and what was made with a shared secret.
    #[default]
    Both,
    /// Users of the file and the store alone: secrets that are there open nothing.
    Users,
    /// Time-limited credentials made with a shared secret alone: users that are there are refused.
    Secrets,
}

impl CredentialKinds {
    /// Whether users of the file and the store are served.
    #[must_use]
    pub fn has_users(self) -> bool {
        self != Self::Secrets
    }

    /// Whether credentials made with shared secrets are accepted.
    #[must_use]
    pub fn has_secrets(self) -> bool {
        self != Self::Users
    }

    fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Users => "users",
            Self::Secrets => "secrets",
        }
    }
}

/// Reads it; what the file has of the other kind is told of, since it opens nothing.
pub(super) fn resolve(reader: &mut Reader<'_>, realms: &[ConfigRealm]) -> CredentialKinds {
    const KEY: &str = "credentials";
    let Some((text, origin)) = reader.text(KEY) else {
        return CredentialKinds::default();
    };
    let all = [
        CredentialKinds::Both,
        CredentialKinds::Users,
        CredentialKinds::Secrets,
    ];
    let Some(kinds) = all.into_iter().find(|kinds| kinds.word() == text) else {
        let remedy = "write \"both\", \"users\" or \"secrets\"";
        reader.error(&origin, KEY, "is none of the three", remedy);
        return CredentialKinds::default();
    };
    let word = kinds.word();
    let mut tell = |count: usize, what: &str| {
        if count > 0 {
            reader.warnings.push(format!(
                "{origin}: credentials = \"{word}\": {what} of the file are refused ({count}): remove them, or \
                 write \"both\" (--credentials both)"
            ));
        }
    };
    if !kinds.has_users() {
        tell(realms.iter().map(|realm| realm.users.len()).sum(), "users");
    }
    if !kinds.has_secrets() {
        tell(
            realms.iter().map(|realm| realm.secrets.len()).sum(),
            "secrets",
        );
    }
    kinds
}

/// The value of the setting.
pub(super) fn view(kinds: CredentialKinds) -> Value {
    json!(kinds.word())
}
