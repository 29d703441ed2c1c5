//! What needs no node: keys and hashes of passwords.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use shared::Realm;

use crate::turn::auth::long_term_key;

/// `-k`: `0x` and MD5(user ":" realm ":" password) in hex.
pub(super) fn key(user: &str, realm: &Realm, password: &str) -> String {
    format!("0x{}", hex(&long_term_key(user, realm.as_str(), password)))
}

/// `-P`: the hash that coturn keeps of passwords of its CLI and web pages: one round of SHA-256 over salt
/// and password, not what crypt(3) means by `$5$`.
pub(super) fn encrypted(salt: [u8; 8], password: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(password.as_bytes());
    format!("$5${}${}", hex(&salt), hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_hashes_are_coturns() {
        let realm = "north.gov".parse().unwrap();
        assert_eq!(
            key("gorst", &realm, "hero"),
            "0x7da2270ccfa49786e0115366d3a3d14d"
        );
        let salt = [0x43, 0x3e, 0xdc, 0x5c, 0xf9, 0x34, 0xb4, 0xed];
        assert_eq!(
            encrypted(salt, "qwerty"),
            "$5$433edc5cf934b4ed$f34e175e25a6aa228cd55b016205ecb9835646e94bf7201437fd9205a5ccb15a"
        );
    }
}
