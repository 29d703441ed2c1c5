//! The client's side of the long-term credential mechanism (RFC 8489 §9.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use shared::Secret;
use turn_proto::auth::credential::LongTermKey;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::{AttributeType, Message, MessageBuilder};

use super::client::Login;
use super::error::TurnError;

/// What a nonce begins with when it carries security features (RFC 8489 §9.2).
const NONCE_COOKIE: &[u8] = b"obMatJos2";
/// The first of the 24 security feature bits: password algorithms (RFC 8489 §18.1).
const PASSWORD_ALGORITHMS: u8 = 0x80;
/// The second: username anonymity.
const USERNAME_ANONYMITY: u8 = 0x40;
/// Algorithms of one list that are looked at.
const MAX_ALGORITHMS: usize = 16;

/// A password algorithm (RFC 8489 §18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Md5),
            2 => Some(Self::Sha256),
            _ => None,
        }
    }

    /// The value of PASSWORD-ALGORITHM: the number, and no parameters.
    fn to_value(self) -> [u8; 4] {
        match self {
            Self::Md5 => [0, 1, 0, 0],
            Self::Sha256 => [0, 2, 0, 0],
        }
    }
}

/// What the server told us to authenticate with.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    realm: String,
    nonce: Vec<u8>,
    key: Secret<Vec<u8>>,
    /// PASSWORD-ALGORITHMS as it came, and the one that we take from it; `None`: the server knows
    /// nothing later than RFC 5389.
    algorithms: Option<(Vec<u8>, Algorithm)>,
    /// Whether the name must not be seen: USERHASH goes instead.
    anonymous: bool,
    /// What requests with an algorithm are signed with.
    integrity: IntegrityKind,
}

impl Authentication {
    /// Takes REALM, NONCE and what else they say out of a 401 or a 438.
    ///
    /// # Errors
    /// They are missing, name no algorithm that we know, or were tampered with (RFC 8489 §9.2.5).
    pub(crate) fn answer(challenge: &Message<'_>, login: &Login) -> Result<Self, TurnError> {
        let realm = realm_of(challenge).ok_or(TurnError::Challenge("it has no REALM"))?;
        let nonce = challenge
            .attribute(AttributeType::NONCE)
            .ok_or(TurnError::Challenge("it has no NONCE"))?;
        let features = features(nonce);
        let listed = challenge.attribute(AttributeType::PASSWORD_ALGORITHMS);
        if features & PASSWORD_ALGORITHMS != 0 && listed.is_none() {
            let what = "its nonce says that it lists password algorithms, and the list is missing: \
                        somebody took it out";
            return Err(TurnError::Challenge(what));
        }
        let chosen = |list: &[u8]| {
            let first = first_known(list);
            let algorithm = first.ok_or(TurnError::Challenge("it lists no algorithm we know"))?;
            Ok::<_, TurnError>((list.to_vec(), algorithm))
        };
        let algorithms = listed.map(chosen).transpose()?;
        let algorithm = algorithms.as_ref().map(|(_, algorithm)| *algorithm);
        Ok(Self {
            key: key(login, &realm, algorithm.unwrap_or(Algorithm::Md5)),
            realm,
            nonce: nonce.to_vec(),
            algorithms,
            anonymous: features & USERNAME_ANONYMITY != 0,
            // A list without the bit of its nonce is not RFC 8489's (§9.2.1), and servers that send one
            // (turn-server) know no MESSAGE-INTEGRITY-SHA256 with it. §9.2.5 leaves the choice to us.
            integrity: match features & PASSWORD_ALGORITHMS {
                0 => IntegrityKind::Sha1,
                _ => IntegrityKind::Sha256,
            },
        })
    }

    /// The realm.
    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// Appends everything that authenticates a request.
    pub(crate) fn sign(&self, request: MessageBuilder, login: &Login) -> MessageBuilder {
        let request = if self.anonymous {
            let hash = Sha256::digest(format!("{}:{}", login.username, self.realm));
            request.attribute(AttributeType::USERHASH, &hash)
        } else {
            request.attribute(AttributeType::USERNAME, login.username.as_bytes())
        };
        let request = request
            .attribute(AttributeType::REALM, self.realm.as_bytes())
            .attribute(AttributeType::NONCE, &self.nonce);
        let Some((list, algorithm)) = &self.algorithms else {
            return request.integrity_of(IntegrityKind::Sha1, self.key.expose());
        };
        request
            .attribute(AttributeType::PASSWORD_ALGORITHMS, list)
            .attribute(AttributeType::PASSWORD_ALGORITHM, &algorithm.to_value())
            .integrity_of(self.integrity, self.key.expose())
    }

    /// Whether the answer is signed with our key.
    pub(crate) fn is_signed(&self, answer: &Message<'_>) -> bool {
        answer.verify_integrity(self.key.expose())
    }
}

/// coturn's key of a user: MD5(user ":" realm ":" password) (RFC 8489 §9.2.2).
#[must_use]
pub fn long_term_key(user: &str, realm: &str, password: &str) -> [u8; 16] {
    *LongTermKey::derive(user, realm, password).as_bytes()
}

/// The key of a long-term credential: a hash of user, realm and password (RFC 8489 §18.5.1).
fn key(login: &Login, realm: &str, algorithm: Algorithm) -> Secret<Vec<u8>> {
    let password = login.password.expose();
    Secret::new(match algorithm {
        Algorithm::Md5 => {
            let key = LongTermKey::derive(&login.username, realm, password);
            key.as_bytes().to_vec()
        }
        Algorithm::Sha256 => {
            let parts = [&login.username, ":", realm, ":", password];
            let hash = parts
                .iter()
                .fold(Sha256::new(), |hash, part| hash.chain_update(part));
            hash.finalize().to_vec()
        }
    })
}

/// The first algorithm of PASSWORD-ALGORITHMS that we know: number, length and parameters of each,
/// padded to four bytes.
fn first_known(list: &[u8]) -> Option<Algorithm> {
    let mut rest = list;
    for _ in 0..MAX_ALGORITHMS {
        let (&[n0, n1, l0, l1], behind) = rest.split_first_chunk()?;
        let known = Algorithm::from_number(u16::from_be_bytes([n0, n1]));
        if known.is_some() {
            return known;
        }
        let parameters = usize::from(u16::from_be_bytes([l0, l1]));
        rest = behind.get(parameters.next_multiple_of(4)..)?;
    }
    None
}

/// REALM.
pub(crate) fn realm_of(message: &Message<'_>) -> Option<String> {
    let realm = message.attribute(AttributeType::REALM)?;
    String::from_utf8(realm.to_vec()).ok()
}

/// The first eight security feature bits of a nonce.
fn features(nonce: &[u8]) -> u8 {
    let text = nonce.strip_prefix(NONCE_COOKIE);
    let text = text.and_then(|rest| rest.get(..4));
    let bits = text.and_then(|text| STANDARD.decode(text).ok());
    bits.and_then(|bits| bits.first().copied()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use turn_proto::stun::{Class, Method, TransactionId};

    use super::*;

    fn login() -> Login {
        Login {
            username: "user".to_owned(),
            password: Secret::new("pass".to_owned()),
        }
    }

    fn challenge(nonce: &[u8], list: Option<&[u8]>) -> Result<Authentication, TurnError> {
        let mut message =
            MessageBuilder::new(Class::Error, Method::Allocate, TransactionId([0; 12]))
                .attribute(AttributeType::REALM, b"realm")
                .attribute(AttributeType::NONCE, nonce);
        if let Some(list) = list {
            message = message.attribute(AttributeType::PASSWORD_ALGORITHMS, list);
        }
        let bytes = message.finish();
        Authentication::answer(&Message::parse(&bytes).unwrap(), &login())
    }

    /// The attributes of a signed request, with their lengths, and what signs it.
    fn signed(
        authentication: &Authentication,
    ) -> (Vec<(AttributeType, usize)>, Option<IntegrityKind>) {
        let request = MessageBuilder::request(Method::Allocate, TransactionId([0; 12]));
        let bytes = authentication.sign(request, &login()).finish();
        let message = Message::parse(&bytes).unwrap();
        assert!(authentication.is_signed(&message));
        let kinds = message
            .attributes()
            .map(|(kind, value)| (kind, value.len()));
        (kinds.collect(), message.integrity_kind())
    }

    #[test]
    fn the_security_features_are_read_from_the_nonce() {
        assert_eq!(features(b"obMatJos2gAAAtail"), PASSWORD_ALGORITHMS);
        assert_eq!(features(b"obMatJos2QAAAtail"), USERNAME_ANONYMITY);
        assert_eq!(
            features(b"obMatJos2wAAAtail"),
            PASSWORD_ALGORITHMS | USERNAME_ANONYMITY
        );
        assert_eq!(features(b"obMatJos2gA"), 0);
        assert_eq!(features(b"something else"), 0);
    }

    #[test]
    fn the_first_known_algorithm_is_taken_and_the_list_goes_back() {
        let list = [0, 9, 0, 1, 7, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0];
        let answered = challenge(b"obMatJos2gAAAtail", Some(&list)).unwrap();
        assert_eq!(answered.key.expose().len(), 32);
        let (kinds, integrity) = signed(&answered);
        assert!(kinds.contains(&(AttributeType::PASSWORD_ALGORITHMS, list.len())));
        assert!(kinds.contains(&(AttributeType::PASSWORD_ALGORITHM, 4)));
        assert!(kinds.contains(&(AttributeType::USERNAME, 4)));
        assert_eq!(integrity, Some(IntegrityKind::Sha256));
        let unknown = challenge(b"obMatJos2gAAAtail", Some(&[0, 9, 0, 0]));
        assert!(matches!(unknown, Err(TurnError::Challenge(_))));
    }

    #[test]
    fn a_list_that_the_nonce_does_not_announce_goes_back_under_the_older_integrity() {
        let list = [0, 1, 0, 0, 0, 2, 0, 0];
        let integrity = |nonce: &[u8]| {
            let (kinds, integrity) = signed(&challenge(nonce, Some(&list)).unwrap());
            assert!(kinds.contains(&(AttributeType::PASSWORD_ALGORITHMS, list.len())));
            assert!(kinds.contains(&(AttributeType::PASSWORD_ALGORITHM, 4)));
            integrity
        };
        assert_eq!(integrity(b"of another making"), Some(IntegrityKind::Sha1));
        assert_eq!(integrity(b"obMatJos2gAAAtail"), Some(IntegrityKind::Sha256));
    }

    #[test]
    fn a_list_that_was_taken_out_on_the_way_is_noticed() {
        let answered = challenge(b"obMatJos2gAAAtail", None);
        assert!(matches!(answered, Err(TurnError::Challenge(_))));
        assert!(challenge(b"obMatJos2AAAAtail", None).is_ok());
    }

    #[test]
    fn the_name_is_hashed_where_the_server_wants_it_hidden() {
        let (kinds, _) = signed(&challenge(b"obMatJos2QAAAtail", None).unwrap());
        assert_eq!(kinds[0], (AttributeType::USERHASH, 32));
        assert!(
            kinds
                .iter()
                .all(|(kind, _)| *kind != AttributeType::USERNAME)
        );
    }
}
