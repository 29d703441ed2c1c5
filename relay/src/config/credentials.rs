//! `credentials`: which of the two kinds of credentials this node accepts.

use serde_json::{Value, json};
use shared::api::CredentialKinds;

use super::ConfigRealm;
use super::source::Reader;

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
    let Some(kinds) = all.into_iter().find(|kinds| kinds.as_str() == text) else {
        let remedy = "write \"both\", \"users\" or \"secrets\"";
        reader.error(&origin, KEY, "is none of the three", remedy);
        return CredentialKinds::default();
    };
    let word = kinds.as_str();
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
    json!(kinds.as_str())
}
