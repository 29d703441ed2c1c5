//! The keys of a user: coturn's, and the SHA-256 key that coturn has no place for.

use sha2::{Digest, Sha256};
use shared::{PasswordAlgorithm, Realm, Secret, opaque_string};
use turn_proto::auth::credential::{LongTermKey, Sha256Key, userhash};

/// A long-term key as coturn stores it: MD5(username ":" realm ":" password) (RFC 8489 §9.2.2).
pub type StoredKey = Secret<[u8; 16]>;
/// A SHA-256 key: SHA-256(username ":" realm ":" password) (RFC 8489 §18.5.1.2).
pub type StoredSha256Key = Secret<[u8; 32]>;

/// What a user can log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKeys {
    /// coturn's key: without it there is no user.
    pub md5: StoredKey,
    /// The SHA-256 key; absent where only coturn's key was ever known.
    pub sha256: Option<StoredSha256Key>,
}

impl UserKeys {
    /// The keys of a password. Realm and password are prepared with OpaqueString where they can be;
    /// the name is taken as it is sent (RFC 8489 §9.2.2).
    #[must_use]
    pub fn derive(name: &str, realm: &str, password: &str) -> Self {
        let realm = prepared(realm);
        let password = Secret::new(prepared(password));
        let md5 = LongTermKey::derive(name, &realm, password.expose());
        let sha256 = Sha256Key::derive(name, &realm, password.expose());
        Self {
            md5: Secret::new(*md5.as_bytes()),
            sha256: Some(Secret::new(*sha256.as_bytes())),
        }
    }

    /// The key of a user whose password nobody told us.
    #[must_use]
    pub fn coturns(md5: StoredKey) -> Self {
        Self { md5, sha256: None }
    }

    /// What the user can log in with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<PasswordAlgorithm> {
        let sha256 = self.sha256.iter().map(|_| PasswordAlgorithm::Sha256);
        [PasswordAlgorithm::Md5].into_iter().chain(sha256).collect()
    }
}

/// Says which MD5 key a SHA-256 key belongs to: when another tool sets a password, the SHA-256 key
/// of the one before must not let anybody in.
pub(crate) fn fingerprint(md5: &StoredKey) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"relayd md5 key");
    hash.update(md5.expose());
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.finalize()[..16]);
    fingerprint
}

/// A SHA-256 key and what it belongs to, as they are stored side by side; `None` where the user's
/// MD5 key is another by now.
pub(crate) fn sha256_of(md5: &StoredKey, stored: &[u8]) -> Option<StoredSha256Key> {
    let (of, key) = stored.split_first_chunk::<16>()?;
    let key = Secret::new(<[u8; 32]>::try_from(key).ok()?);
    (*of == fingerprint(md5)).then_some(key)
}

/// The other way round.
pub(crate) fn sha256_record(keys: &UserKeys) -> Option<Secret<Vec<u8>>> {
    let key = keys.sha256.as_ref()?;
    let mut record = fingerprint(&keys.md5).to_vec();
    record.extend_from_slice(key.expose());
    Some(Secret::new(record))
}

/// USERHASH of a user, whoever wrote it.
pub(crate) fn hash_of(realm: &Realm, name: &str) -> [u8; 32] {
    userhash(&prepared(name), &prepared(realm.as_str()))
}

fn prepared(text: &str) -> String {
    opaque_string(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_another_normalization_form_makes_the_same_keys() {
        let one = UserKeys::derive("gorst", "north.gov", "caf\u{e9}\u{a0}x");
        let other = UserKeys::derive("gorst", "north.gov", "cafe\u{301} x");
        assert_eq!(one, other);
        assert_eq!(one.algorithms(), PasswordAlgorithm::ALL);
    }

    #[test]
    fn a_sha256_key_ends_with_the_md5_key_it_was_made_with() {
        let keys = UserKeys::derive("gorst", "north.gov", "hero");
        let record = sha256_record(&keys).unwrap();
        assert_eq!(sha256_of(&keys.md5, record.expose()), keys.sha256);
        let other = UserKeys::derive("gorst", "north.gov", "hero2");
        assert_eq!(sha256_of(&other.md5, record.expose()), None);
        assert_eq!(sha256_of(&keys.md5, &record.expose()[..47]), None);
        assert_eq!(sha256_record(&UserKeys::coturns(keys.md5.clone())), None);
    }
}
