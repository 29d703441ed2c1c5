//! What is derived from the cluster key, and other small cryptography.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use shared::{Realm, Secret};
use subtle::ConstantTimeEq;

type HmacSha256 = Hmac<Sha256>;

/// The secret that all nodes of a cluster share, and what comes from it.
#[derive(Clone, Debug)]
pub struct ClusterKey(Secret<Vec<u8>>);

impl ClusterKey {
    /// Wraps the key's bytes, as read from `cluster_key_file`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key of nonces: the same on every node, so that a nonce outlives a restart.
    #[must_use]
    pub fn nonce_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.derive(b"relayd nonce v1"))
    }

    /// The key that authenticates mailbox messages.
    #[must_use]
    pub fn mailbox_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.derive(b"relayd mailbox v1"))
    }

    /// The public name of a shared secret: 12 hex digits of a keyed fingerprint, so that the name
    /// of a weak secret helps nobody to guess it.
    #[must_use]
    pub fn secret_id(&self, realm: &Realm, value: &str) -> String {
        let key = self.derive(b"relayd secret id v1");
        let realm = realm.as_str().as_bytes();
        let length = (realm.len() as u32).to_be_bytes();
        hex(&mac(&key, &[&length, realm, value.as_bytes()])[..6])
    }

    /// Which key a user has, as [`UserCredential::key_id`] says; never 0.
    ///
    /// [`UserCredential::key_id`]: turn_proto::auth::credential::UserCredential::key_id
    #[must_use]
    pub fn key_id(&self, key: &[u8; 16]) -> u32 {
        let digest = mac(&self.derive(b"relayd key id v1"), &[key]);
        let [a, b, c, d, ..] = digest;
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    fn derive(&self, label: &[u8]) -> [u8; 32] {
        mac(self.0.expose(), &[label])
    }
}

/// HMAC-SHA256 over the parts, one after the other.
#[must_use]
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Compares in time that does not depend on the contents.
#[must_use]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256 in hex.
#[must_use]
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex digits.
#[must_use]
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unpredictable bytes of the operating system.
#[must_use]
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// base64url without padding.
#[must_use]
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The inverse of [`base64url`].
#[must_use]
pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_by_purpose_and_cluster() {
        let (a, b) = (ClusterKey::new(vec![1; 32]), ClusterKey::new(vec![2; 32]));
        assert_ne!(a.nonce_key(), b.nonce_key());
        assert_ne!(a.nonce_key(), a.mailbox_key());
        let realm: Realm = "acme".parse().unwrap();
        assert_eq!(a.secret_id(&realm, "s").len(), 12);
        assert_ne!(a.secret_id(&realm, "s"), b.secret_id(&realm, "s"));
        assert!(!format!("{a:?}").contains('1'));
    }
}
