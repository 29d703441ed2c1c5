//! Time-limited credentials from a shared secret (TURN REST).
//!
//! The username is `expiry SEPARATOR user`, `expiry` alone, or coturn's `user SEPARATOR expiry`;
//! the password is the base64 form of `HMAC-SHA1(secret, username)`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The parts of a time-limited username.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestUsername<'a> {
    /// When the credential ends, in Unix seconds.
    pub expiry: u64,
    /// Whom it was made for; empty where the username is only an expiry time.
    pub user: &'a str,
}

/// Splits a time-limited username; `None`: it has not that form.
#[must_use]
pub fn split_username(username: &str, separator: char) -> Option<RestUsername<'_>> {
    let Some((first, second)) = username.split_once(separator) else {
        return seconds(username).map(|expiry| RestUsername { expiry, user: "" });
    };
    if let Some(expiry) = seconds(first) {
        return Some(RestUsername {
            expiry,
            user: second,
        });
    }
    seconds(second).map(|expiry| RestUsername {
        expiry,
        user: first,
    })
}

fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The password that belongs to a time-limited username.
#[must_use]
pub fn password(secret: &[u8], username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_time_limited_username_are_told_from_others() {
        let split = |name| split_username(name, ':').map(|r| (r.expiry, r.user));
        assert_eq!(split("1700000000:alice"), Some((1_700_000_000, "alice")));
        assert_eq!(split("1700000000"), Some((1_700_000_000, "")));
        assert_eq!(split("1700000000:"), Some((1_700_000_000, "")));
        assert_eq!(split("alice:1700000000"), Some((1_700_000_000, "alice")));
        assert_eq!(split("1:a:b"), Some((1, "a:b")));
        for other in [
            "",
            ":",
            "alice",
            "alice:bob",
            "-5:x",
            "99999999999999999999999",
        ] {
            assert_eq!(split(other), None, "{other}");
        }
        assert_eq!(split_username("5|bob", '|').map(|r| r.user), Some("bob"));
    }

    #[test]
    fn the_password_is_the_base64_hmac_of_the_username() {
        // echo -n '1700000000:alice' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            password(b"north", "1700000000:alice"),
            "Cd/49soE35ICqcJF/bCTn8Z4OyE="
        );
    }
}
