//! `admin.password`: one password that opens the admin API on a loopback address of this node, as
//! coturn's `cli-password` does.

use std::fmt;

use sha2::{Digest, Sha256};
use shared::Secret;
use subtle::ConstantTimeEq;

use super::cluster_key::parse_hex;
use super::error::Origin;
use super::source::Reader;

/// How it is written.
pub(super) const FORM: &str =
    "write the password, or $5$SALT$DIGEST as `turnadmin -P` prints it (16 and 64 hex digits)";
/// What is wrong with one that cannot be sent.
pub(super) const UNSENDABLE: &str =
    "begins or ends with a blank, or has control characters, which no client can send";
/// The longest one, as of coturn.
const MAX_BYTES: usize = 128;
/// Shorter ones are guessed.
const SHORT: usize = 12;
/// What is tried first.
const COMMON: &[&str] = &[
    "123456", "12345678", "password", "qwerty", "admin", "turn", "coturn", "secret",
];

/// A password that is known by its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalPassword {
    salt: Vec<u8>,
    digest: Secret<[u8; 32]>,
}

impl LocalPassword {
    /// Whether `text` is the password, in constant time.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        digest(&self.salt, text).ct_eq(self.digest.expose()).into()
    }
}

impl fmt::Debug for LocalPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalPassword")
    }
}

/// One round of SHA-256 over salt and password, as coturn has it.
fn digest(salt: &[u8], password: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into()
}

/// Whether a client can send it in a header of HTTP.
pub(super) fn can_be_sent(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}

/// Reads either form.
///
/// # Errors
/// What is wrong, without the text.
pub(super) fn parse(text: &str) -> Result<LocalPassword, &'static str> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err("is empty or longer than 128 bytes");
    }
    if !can_be_sent(text) {
        return Err(UNSENDABLE);
    }
    let Some(hashed) = text.strip_prefix("$5$") else {
        return Ok(LocalPassword {
            salt: Vec::new(),
            digest: Secret::new(digest(&[], text)),
        });
    };
    let (salt, hash) = hashed
        .split_once('$')
        .ok_or("is no digest: $5$SALT$DIGEST")?;
    let salt = parse_hex::<8>(salt).ok_or("has a salt that is not 16 hex digits")?;
    let hash = parse_hex::<32>(hash).ok_or("has a digest that is not 64 hex digits")?;
    Ok(LocalPassword {
        salt: salt.to_vec(),
        digest: Secret::new(hash),
    })
}

/// Reads `admin.password`; `is_loopback`: that is where the admin API listens, if it does.
pub(super) fn resolve(reader: &mut Reader<'_>, is_loopback: Option<bool>) -> Option<LocalPassword> {
    const KEY: &str = "admin.password";
    let (text, origin) = reader.text(KEY)?;
    match is_loopback {
        Some(true) => {}
        Some(false) => {
            let problem = "would be one password for everybody who reaches this node";
            let remedy = "listen on 127.0.0.1, or use tokens: relayctl token create";
            reader.error(&origin, KEY, problem, remedy);
        }
        None => {
            let remedy = "add listen = \"127.0.0.1:5766\" in [admin], or remove it";
            reader.error(&origin, KEY, "opens nothing without admin.listen", remedy);
        }
    }
    warn_of_weak(reader, &origin, &text);
    match parse(&text) {
        Ok(password) => Some(password),
        Err(problem) => {
            reader.error(&origin, KEY, problem, FORM);
            None
        }
    }
}

fn warn_of_weak(reader: &mut Reader<'_>, origin: &Origin, text: &str) {
    let is_common = COMMON
        .iter()
        .any(|word| parse(text).is_ok_and(|known| known.is(word)));
    if is_common || (text.len() < SHORT && !text.starts_with("$5$")) {
        reader.warnings.push(format!(
            "{origin}: the password of administrators is common or has fewer than {SHORT} characters: whoever \
             has a shell on this machine guesses it"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What coturn's tool prints for `qwerty`.
    const HASHED: &str =
        "$5$79a316b350311570$81df9cfb9af7f5e5a76eada31e7097b663a0670f99a3c07ded3f1c8e59c5658a";

    #[test]
    fn both_forms_open_for_the_right_password_only() {
        let hashed = parse(HASHED).unwrap();
        assert!(hashed.is("qwerty") && !hashed.is("qwertz") && !hashed.is(HASHED));
        let plain = parse("open sesame").unwrap();
        assert!(plain.is("open sesame") && !plain.is("") && !plain.is("open"));
    }

    #[test]
    fn what_is_neither_is_told_without_the_text() {
        for text in [
            "",
            "$5$12$34",
            "$5$79a316b350311570",
            "$5$zza316b350311570$00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"x".repeat(129)).is_err());
        assert!(
            parse(" blank").is_err() && parse("blank\u{a0}").is_err() && parse("a\tb").is_err()
        );
        assert!(parse("löwenzahn über 12").unwrap().is("löwenzahn über 12"));
    }
}
