//! Keys of third-party authorization (RFC 7635), as coturn keeps them.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use shared::{OauthAlgorithm, Realm, Secret};

use super::StoreError;

/// The longest kid, as wide as coturn's column.
pub const MAX_KID: usize = 128;
/// The most keys that are read.
pub const MAX_KEYS: usize = 256;

/// A key shared with an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOauthKey {
    /// Its name, which clients send as USERNAME.
    pub kid: String,
    /// The keying material; what is longer than the algorithm needs is cut off, as coturn does.
    pub ikm: Secret<Vec<u8>>,
    /// What tokens are encrypted with.
    pub algorithm: OauthAlgorithm,
    /// When the key became good, in Unix seconds; 0: always was.
    pub since: u64,
    /// For how many seconds it is good from then on; 0: for ever.
    pub lifetime_secs: u64,
    /// The only realm it is good for; absent: all.
    pub realm: Option<Realm>,
}

impl StoredOauthKey {
    /// When it ends, in Unix seconds; `None`: never.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        (self.lifetime_secs > 0).then(|| self.since.saturating_add(self.lifetime_secs))
    }
}

/// A key's columns or fields, as text.
#[derive(Clone, Debug)]
pub(crate) struct CoturnOauthKey {
    pub(crate) ikm_key: Secret<String>,
    pub(crate) as_rs_alg: String,
    pub(crate) timestamp: u64,
    pub(crate) lifetime: u64,
    pub(crate) realm: String,
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a key can have this name.
#[must_use]
pub fn is_kid(kid: &str) -> bool {
    (1..=MAX_KID).contains(&kid.len()) && !kid.chars().any(char::is_control)
}

impl CoturnOauthKey {
    /// The key, unless it is one that cannot decrypt anything.
    pub(crate) fn read(self, kid: &str) -> Option<StoredOauthKey> {
        let algorithm = match self.as_rs_alg.trim() {
            "" => OauthAlgorithm::A256gcm,
            word => word.to_ascii_uppercase().parse().ok()?,
        };
        let ikm = Secret::new(BASE64.decode(self.ikm_key.expose().trim()).ok()?);
        let realm = match self.realm.as_str() {
            "" => None,
            name => Some(name.parse().ok()?),
        };
        let usable = is_kid(kid) && ikm.expose().len() >= algorithm.key_len();
        usable.then(|| StoredOauthKey {
            kid: kid.to_owned(),
            ikm,
            algorithm,
            since: self.timestamp,
            lifetime_secs: self.lifetime,
            realm,
        })
    }

    /// What coturn is to find.
    pub(crate) fn of(key: &StoredOauthKey) -> Self {
        Self {
            ikm_key: Secret::new(general_purpose::STANDARD.encode(key.ikm.expose())),
            as_rs_alg: key.algorithm.as_str().to_owned(),
            timestamp: key.since,
            lifetime: key.lifetime_secs,
            realm: key.realm.as_ref().map_or("", Realm::as_str).to_owned(),
        }
    }
}

/// Refuses a name that no key can have.
pub(crate) fn check_kid(kid: &str) -> Result<(), StoreError> {
    if is_kid(kid) {
        Ok(())
    } else {
        Err(StoreError::Refused("a kid has 1 to 128 bytes".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coturn(ikm_key: &str, as_rs_alg: &str) -> CoturnOauthKey {
        CoturnOauthKey {
            ikm_key: Secret::new(ikm_key.to_owned()),
            as_rs_alg: as_rs_alg.to_owned(),
            timestamp: 0,
            lifetime: 0,
            realm: String::new(),
        }
    }

    #[test]
    fn keys_are_read_as_coturn_reads_them() {
        // From coturn's own test data: 33 bytes, the last a line feed.
        let long = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK";
        let short = "MTIzNDU2Nzg5MDEyMzQ1Ngo=";
        for (ikm, algorithm, expected) in [
            (long, "A256GCM", Some(OauthAlgorithm::A256gcm)),
            (long, "", Some(OauthAlgorithm::A256gcm)),
            (short, "a128gcm", Some(OauthAlgorithm::A128gcm)),
            (short, "A256GCM", None),
            (long, "A256CBC-HS512", None),
            ("not base64!", "", None),
        ] {
            let read = coturn(ikm, algorithm).read("north");
            assert_eq!(read.map(|key| key.algorithm), expected, "{ikm} {algorithm}");
        }
        let key = coturn(long, "").read("north").unwrap();
        assert_eq!(CoturnOauthKey::of(&key).read("north"), Some(key));
        assert_eq!(coturn(long, "").read(""), None);
        assert_eq!(coturn(long, "").read(&"k".repeat(129)), None);
    }
}
