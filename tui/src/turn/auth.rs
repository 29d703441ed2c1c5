//! The client's side of the long-term credential mechanism (RFC 8489 §9.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::{AttributeType, Message, MessageBuilder};

use super::client::Login;
use super::error::TurnError;

/// What a nonce begins with when it carries security features (RFC 8489 §9.2).
const NONCE_COOKIE: &[u8] = b"obMatJos2";
/// The first of the 24 security feature bits: password algorithms (RFC 8489 §18.1).
const PASSWORD_ALGORITHMS: u8 = 0x80;

/// What the server told us to authenticate with.
#[derive(Clone, Debug)]
pub(super) struct Authentication {
    realm: String,
    nonce: Vec<u8>,
    key: LongTermKey,
}

impl Authentication {
    /// Takes REALM and NONCE out of a 401 or a 438.
    ///
    /// # Errors
    /// They are missing, or PASSWORD-ALGORITHMS was taken out on the way (RFC 8489 §9.2.5).
    pub(super) fn answer(challenge: &Message<'_>, login: &Login) -> Result<Self, TurnError> {
        let realm = realm_of(challenge).ok_or(TurnError::Challenge("it has no REALM"))?;
        let nonce = challenge
            .attribute(AttributeType::NONCE)
            .ok_or(TurnError::Challenge("it has no NONCE"))?;
        let listed = challenge.attribute(AttributeType::PASSWORD_ALGORITHMS);
        if has_password_algorithms(nonce) && listed.is_none() {
            let what = "its nonce says that it lists password algorithms, and the list is missing: \
                        somebody took it out";
            return Err(TurnError::Challenge(what));
        }
        let key = LongTermKey::derive(&login.username, &realm, login.password.expose());
        Ok(Self {
            realm,
            nonce: nonce.to_vec(),
            key,
        })
    }

    /// The realm.
    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// Appends everything that authenticates a request.
    pub(super) fn sign(&self, request: MessageBuilder, login: &Login) -> MessageBuilder {
        request
            .attribute(AttributeType::USERNAME, login.username.as_bytes())
            .attribute(AttributeType::REALM, self.realm.as_bytes())
            .attribute(AttributeType::NONCE, &self.nonce)
            .integrity_of(IntegrityKind::Sha1, self.key.as_bytes())
    }

    /// Whether the answer is signed with our key.
    pub(super) fn is_signed(&self, answer: &Message<'_>) -> bool {
        answer.verify_integrity(self.key.as_bytes())
    }
}

/// REALM.
pub(super) fn realm_of(message: &Message<'_>) -> Option<String> {
    let realm = message.attribute(AttributeType::REALM)?;
    String::from_utf8(realm.to_vec()).ok()
}

/// Whether the nonce says that its answer lists password algorithms.
fn has_password_algorithms(nonce: &[u8]) -> bool {
    let features = nonce
        .strip_prefix(NONCE_COOKIE)
        .and_then(|rest| rest.get(..4));
    let features = features.and_then(|text| STANDARD.decode(text).ok());
    features.is_some_and(|bits| {
        bits.first()
            .is_some_and(|bits| bits & PASSWORD_ALGORITHMS != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_of_the_password_algorithms_is_read_from_the_nonce() {
        assert!(has_password_algorithms(b"obMatJos2gAAAtail"));
        assert!(!has_password_algorithms(b"obMatJos2QAAAtail"));
        assert!(!has_password_algorithms(b"obMatJos2AAAAtail"));
        assert!(!has_password_algorithms(b"obMatJos2gA"));
        assert!(!has_password_algorithms(b"something else"));
    }
}
