//! The long-term credential mechanism on the server's side (RFC 8489 §9.2.4).
//!
//! The nonce is judged before the user is looked up, so that a forged source costs no look-up.

use std::sync::Arc;

use shared::{PasswordAlgorithm, Realm, Username};

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{Output, RefusalReason, Server};
use crate::allocation::Identity;
use crate::auth::cache::Cached;
use crate::auth::credential::{IntegrityKey, KnownUser, SigningKey, userhash};
use crate::auth::nonce::Offer;
use crate::auth::parking::{Parking, Userhash, Wanted};
use crate::auth::rest::{self, RestUsername};
use crate::auth::token::{MacKey, Token};
use crate::policy::RealmPolicy;
use crate::stun::integrity::IntegrityKind;
use crate::stun::{AttributeType, HEADER_LEN, Message, password_algorithm};
use crate::time::Now;

/// Stands in for the key of nobody, so that an unknown user costs what a wrong password costs.
const NOBODY: [u8; 16] = [0; 16];

/// The name of everybody in a realm without credentials.
const ANYBODY: &str = "anonymous";

/// Why a request goes no further for now.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is parked, or a retransmission of one that is.
    Waiting,
    /// Refused.
    Refused(Rejection),
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<RefusalReason> for Halt {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason.into())
    }
}

/// What a request says of its sender.
struct Claim<'b> {
    user: User<'b>,
    realm: &'b [u8],
    nonce: &'b [u8],
}

/// Who the sender says to be.
enum User<'b> {
    Name(&'b [u8]),
    Hash(&'b [u8]),
}

impl<'b> Claim<'b> {
    fn read(message: &Message<'b>, offer: Offer<'_>) -> Result<Self, RefusalReason> {
        let value = |kind| message.attribute(kind);
        let name = value(AttributeType::USERNAME).map(User::Name);
        let hash = || value(AttributeType::USERHASH).map(User::Hash);
        let user = name.or_else(|| offer.anonymity.then(hash).flatten());
        let claim = user.and_then(|user| {
            Some(Self {
                user,
                realm: value(AttributeType::REALM)?,
                nonce: value(AttributeType::NONCE)?,
            })
        });
        claim.ok_or(RefusalReason::IncompleteCredentials)
    }
}

/// What PASSWORD-ALGORITHM asks for; `None`: the client knows MD5 only. The list must be the one
/// that came with the nonce, else somebody on the path took something out of it.
fn chosen(
    offer: Offer<'_>,
    message: &Message<'_>,
) -> Result<Option<PasswordAlgorithm>, RefusalReason> {
    let one = message.attribute(AttributeType::PASSWORD_ALGORITHM);
    let list = message.attribute(AttributeType::PASSWORD_ALGORITHMS);
    let (one, list) = match (one, list) {
        (None, None) => return Ok(None),
        (Some(one), Some(list)) => (one, list),
        _ => return Err(RefusalReason::PasswordAlgorithmMismatch),
    };
    let same = list == password_algorithm::list(offer.algorithms);
    let chosen = password_algorithm::read(one).filter(|one| offer.algorithms.contains(one));
    match chosen {
        Some(chosen) if same => Ok(Some(chosen)),
        _ => Err(RefusalReason::PasswordAlgorithmMismatch),
    }
}

/// Who everybody is in a realm that asks for no credentials.
fn anybody(realm: &Arc<RealmPolicy>) -> Identity {
    Identity {
        realm: Arc::clone(realm),
        // Limits of users would be one for all clients.
        user: "".into(),
        username: ANYBODY.parse().expect("a short word is a username"),
        secret_id: None,
        credential_expiry: None,
        key: None,
        key_id: 0,
        token: None,
        max_rate_bps: None,
        max_sessions: None,
    }
}

impl Server {
    pub(super) fn authenticate(
        &mut self,
        now: Now,
        exchange: &mut Exchange,
        message: &Message<'_>,
    ) -> Result<Identity, Halt> {
        let realm = self.policy.realms.get(&exchange.realm).cloned();
        if let Some(realm) = realm.as_ref().filter(|realm| realm.anonymous) {
            return Ok(anybody(realm));
        }
        let Some(kind) = message.integrity_kind() else {
            let bare = message.as_bytes().len() == HEADER_LEN;
            let reason = if bare {
                RefusalReason::BareRequest
            } else {
                RefusalReason::NoCredentials
            };
            return Err(reason.into());
        };
        let offer = realm.as_ref().map(|realm| realm.offer());
        let offer = offer.unwrap_or_default();
        let claim = Claim::read(message, offer)?;
        let client = exchange.tuple.client;
        let control = self.control_of(&exchange.tuple, message);
        let control = control.filter(|control| control.ip() == client.ip());
        let mut is_for = |client| self.nonces.accepts(claim.nonce, client, now.unix, offer);
        if !is_for(client) && !control.is_some_and(is_for) {
            return Err(RefusalReason::StaleNonce.into());
        }
        exchange.genuine = true;
        let chosen = chosen(offer, message)?;
        if chosen.is_some() || kind == IntegrityKind::Sha256 {
            exchange.kind = IntegrityKind::Sha256;
        }
        let algorithm = chosen.unwrap_or(PasswordAlgorithm::Md5);
        let token = message.attribute(AttributeType::ACCESS_TOKEN);
        if token.is_some() && self.policy.oauth.is_none() {
            return Err(Rejection::unexpected(AttributeType::ACCESS_TOKEN).into());
        }
        let username = self.claimed(now, exchange, message, &claim.user)?;
        exchange.username = Some(username.clone());
        if claim.realm != exchange.realm.as_str().as_bytes() {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::WrongRealm.into());
        }
        if let (Some(token), Some(realm)) = (token, &realm) {
            return self.authorize(now, message, token, realm, username);
        }
        // A session outlives its credential: its own key is good for it.
        if let Some(identity) = self.session_identity(exchange, message)
            && identity.username == username
            && identity.verifies(message)
        {
            // But not an access token.
            if identity
                .token
                .is_some_and(|span| span.left(now.unix).is_none())
            {
                return Err(RefusalReason::TokenExpired.into());
            }
            return Ok(identity.clone());
        }
        let Some(realm) = realm else {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::UnknownUser.into());
        };
        self.identify(now, exchange, message, realm, username, algorithm)
    }

    /// Checks an access token, and the request by the key in it (RFC 7635 §7).
    fn authorize(
        &self,
        now: Now,
        message: &Message<'_>,
        token: &[u8],
        realm: &Arc<RealmPolicy>,
        kid: Username,
    ) -> Result<Identity, Halt> {
        let oauth = self.policy.oauth.as_ref();
        let opened = oauth.and_then(|oauth| {
            let key = oauth.key(kid.as_str(), &realm.name, now.unix)?;
            Token::open(token, key, oauth.server_name(&realm.name)).ok()
        });
        let Some(Token { mac_key, span }) = opened else {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::TokenRefused.into());
        };
        if span.left(now.unix).is_none() {
            return Err(RefusalReason::TokenExpired.into());
        }
        let keys = [mac_key.as_coturn_reads_it(), Some(mac_key)];
        let signs = |key: &MacKey| message.verify_integrity(key.as_bytes());
        let Some(mac_key) = keys.into_iter().rev().flatten().find(signs) else {
            return Err(RefusalReason::WrongPassword.into());
        };
        Ok(Identity {
            realm: Arc::clone(realm),
            // All clients of an authorization server share its kid, which is nobody's name.
            user: "".into(),
            secret_id: Some(format!("oauth:{}", kid.as_str()).into()),
            username: kid,
            credential_expiry: Some(span.end()),
            key: Some(Arc::new(SigningKey::new(IntegrityKey::Token(Box::new(
                mac_key,
            ))))),
            key_id: 0,
            token: Some(span),
            max_rate_bps: None,
            max_sessions: None,
        })
    }

    /// Who owns the session of the 5-tuple, or the connection that a request is about, if it is one
    /// of the arrival's realm.
    fn session_identity(
        &mut self,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Option<&Identity> {
        let relay = self.table.by_tuple(&exchange.tuple).map(|(relay, _)| relay);
        let identity = match relay {
            Some(relay) => &self.table.get(relay)?.identity,
            None => match self.pending_owner(message) {
                Some(identity) => identity,
                None => self.ticket_owner(message)?,
            },
        };
        (identity.realm.name == exchange.realm).then_some(identity)
    }

    /// The name that a request claims.
    fn claimed(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
        user: &User<'_>,
    ) -> Result<Username, Halt> {
        let found = match user {
            User::Name(name) => std::str::from_utf8(name)
                .ok()
                .and_then(|name| name.parse().ok())
                .ok_or(RefusalReason::InvalidUsername.into()),
            User::Hash(hash) => match <Userhash>::try_from(*hash) {
                Ok(hash) => self.unhash(now, exchange, message, hash),
                Err(_) => Err(RefusalReason::InvalidUsername.into()),
            },
        };
        if matches!(found, Err(Halt::Refused(_))) {
            let _ = message.verify_integrity(&NOBODY);
        }
        found
    }

    /// Whose USERHASH it is (RFC 8489 §14.4).
    fn unhash(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
        hash: Userhash,
    ) -> Result<Username, Halt> {
        if let Some(identity) = self.session_identity(exchange, message)
            && userhash(identity.username.as_str(), exchange.realm.as_str()) == hash
        {
            return Ok(identity.username.clone());
        }
        match self
            .usernames
            .get(&(exchange.realm.clone(), hash), now.mono)
        {
            Cached::Known(username) => Ok(username),
            Cached::Unknown => Err(RefusalReason::UnknownUser.into()),
            Cached::Nothing => {
                let realm = exchange.realm.clone();
                let wanted = Wanted::Username(realm.clone(), hash);
                let question = Output::LookupUserhash { realm, hash };
                Err(self.park(now, exchange, message, &wanted, question))
            }
        }
    }

    fn identify(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
        realm: Arc<RealmPolicy>,
        username: Username,
        algorithm: PasswordAlgorithm,
    ) -> Result<Identity, Halt> {
        let mut nobody = RefusalReason::UnknownUser;
        if let Some(rest) = split(&realm, &username) {
            if rest.expiry < now.unix {
                nobody = RefusalReason::CredentialExpired;
            } else if let Some(identity) = verify_rest(&realm, &username, rest, message, algorithm)
            {
                return Ok(identity);
            } else {
                nobody = RefusalReason::WrongPassword;
            }
        }
        let name = (exchange.realm.clone(), username);
        match self.credentials.get(&name, now.mono) {
            Cached::Known(user) => verify_user(realm, &user, message, algorithm),
            Cached::Unknown => {
                let _ = message.verify_integrity(&NOBODY);
                Err(nobody.into())
            }
            Cached::Nothing => {
                let (realm, username) = name;
                let wanted = Wanted::Credential(realm.clone(), username.clone());
                let question = Output::LookupCredential { realm, username };
                Err(self.park(now, exchange, message, &wanted, question))
            }
        }
    }

    /// Keeps a request until the control plane answers, and asks it unless it is being asked.
    pub(super) fn park(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
        wanted: &Wanted,
        question: Output,
    ) -> Halt {
        let deadline = now.mono + self.config.park_deadline;
        let bytes = message.as_bytes();
        match self.parking.park(wanted, exchange.tuple, bytes, deadline) {
            Parking::Full => return RefusalReason::ParkingFull.into(),
            Parking::Waiting | Parking::Duplicate => {}
            Parking::Ask => self.outputs.push_back(question),
        }
        Halt::Waiting
    }
}

fn verify_user(
    realm: Arc<RealmPolicy>,
    user: &KnownUser,
    message: &Message<'_>,
    algorithm: PasswordAlgorithm,
) -> Result<Identity, Halt> {
    let Some(key) = user.key_for(algorithm) else {
        let _ = message.verify_integrity(&NOBODY);
        return Err(RefusalReason::NoSuchKey.into());
    };
    if !key.verifies(message) {
        return Err(RefusalReason::WrongPassword.into());
    }
    Ok(Identity {
        realm,
        user: user.username.share(),
        username: user.username.clone(),
        credential_expiry: None,
        secret_id: None,
        key: Some(Arc::clone(key)),
        key_id: user.key_id,
        token: None,
        max_sessions: user.max_sessions,
        max_rate_bps: user.max_rate_bps,
    })
}

fn split<'a>(realm: &RealmPolicy, username: &'a Username) -> Option<RestUsername<'a>> {
    if realm.open_secrets().is_empty() {
        return None;
    }
    rest::split_username(username.as_str(), realm.rest_separator)
}

fn verify_rest(
    realm: &Arc<RealmPolicy>,
    username: &Username,
    rest: RestUsername<'_>,
    message: &Message<'_>,
    algorithm: PasswordAlgorithm,
) -> Option<Identity> {
    realm.open_secrets().iter().find_map(|secret| {
        let password = rest::password(secret.value.expose(), username.as_str());
        let name: &Realm = &realm.name;
        let key = IntegrityKey::derive(algorithm, username.as_str(), name.as_str(), &password);
        let key = SigningKey::new(key);
        key.verifies(message).then(|| Identity {
            realm: Arc::clone(realm),
            username: username.clone(),
            user: rest.user.into(),
            credential_expiry: Some(rest.expiry),
            secret_id: Some(Arc::clone(&secret.id)),
            key: Some(Arc::new(key)),
            key_id: 0,
            token: None,
            max_sessions: None,
            max_rate_bps: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use shared::{Secret, Transport};

    use super::*;
    use crate::auth::credential::{CredentialAnswer, LongTermKey, UserCredential};
    use crate::five_tuple::FiveTuple;
    use crate::policy::{Budgets, Claimant, Policy, Quota, QuotaExceeded, QuotaLimits};
    use crate::server::{Command, ServerConfig};
    use crate::stun::{MessageBuilder, Method, TransactionId, integrity};

    #[derive(Debug)]
    struct Full;

    impl Quota for Full {
        fn try_reserve(&self, _: Claimant<'_>, _: QuotaLimits) -> Result<Budgets, QuotaExceeded> {
            Err(QuotaExceeded::Node)
        }

        fn release(&self, _: Claimant<'_>) {}
    }

    /// A server with one user and one client that guesses.
    struct World {
        server: Server,
        now: Now,
        nonce: Vec<u8>,
        ids: u8,
    }

    impl World {
        #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        fn new() -> Self {
            let realm = RealmPolicy::new("example.org".parse().unwrap());
            let policy = Arc::new(Policy::new(vec![realm], Secret::new([7; 32])));
            let mut world = Self {
                server: Server::new(ServerConfig::default(), policy, Arc::new(Full)),
                now: Now {
                    mono: std::time::Instant::now(),
                    unix: 1_800_000_000,
                },
                nonce: Vec::new(),
                ids: 0,
            };
            let (challenge, _) = world.ask(None);
            let challenge = Message::parse(&challenge).unwrap();
            world.nonce = challenge.attribute(AttributeType::NONCE).unwrap().to_vec();
            world
        }

        /// The answer to an Allocate, and how many HMACs over messages it took.
        fn ask(&mut self, name: Option<&str>) -> (Vec<u8>, u32) {
            self.ids += 1;
            let id = TransactionId([self.ids; 12]);
            let mut request = MessageBuilder::request(Method::Allocate, id)
                .number(AttributeType::REQUESTED_TRANSPORT, 17 << 24);
            if let Some(name) = name {
                request = request
                    .attribute(AttributeType::USERNAME, name.as_bytes())
                    .attribute(AttributeType::REALM, b"example.org")
                    .attribute(AttributeType::NONCE, &self.nonce)
                    .integrity(b"a guess");
            }
            let tuple = FiveTuple {
                client: "192.0.2.1:4000".parse().unwrap(),
                server: "198.51.100.1:3478".parse().unwrap(),
                transport: Transport::Udp,
            };
            let request = request.finish();
            let before = integrity::COMPUTED.get();
            assert!(
                self.server
                    .handle_client(self.now, tuple, &request)
                    .is_none()
            );
            loop {
                match self.server.poll_output().unwrap() {
                    Output::Transmit { message, .. } => {
                        return (message, integrity::COMPUTED.get() - before);
                    }
                    Output::LookupCredential { realm, username } => {
                        let known = CredentialAnswer::Known(UserCredential {
                            key: LongTermKey::derive("alice", "example.org", "secret"),
                            key_id: 0,
                            sha256: None,
                            max_sessions: None,
                            max_rate_bps: None,
                        });
                        let answer = match username.as_str() {
                            "alice" => known,
                            _ => CredentialAnswer::Unknown,
                        };
                        let command = Command::Credential {
                            realm,
                            username,
                            answer,
                        };
                        self.server.handle_command(self.now, command);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_guess_costs_one_hmac_whether_or_not_there_is_such_a_user() {
        let mut world = World::new();
        // The first of each name goes to the store and back, the second does not.
        for _ in 0..2 {
            for name in ["alice", "alicf"] {
                let (answer, computed) = world.ask(Some(name));
                let code = Message::parse(&answer).unwrap().error_code();
                assert_eq!(code.map(|code| code.get()), Some(401));
                assert_eq!(computed, 1, "{name}");
            }
        }
    }
}
