//! The long-term credential mechanism on the server's side (RFC 8489 §9.2.4).
//!
//! The nonce is judged before the user is looked up, so that a forged source costs no look-up.

use std::sync::Arc;

use shared::Username;

use super::exchange::Exchange;
use super::{Output, RefusalReason, Server};
use crate::allocation::Identity;
use crate::auth::cache::Cached;
use crate::auth::credential::LongTermKey;
use crate::auth::parking::Parking;
use crate::auth::rest::{self, RestUsername};
use crate::policy::RealmPolicy;
use crate::stun::{AttributeType, HEADER_LEN, Message};
use crate::time::Now;

/// Stands in for the key of nobody, so that an unknown user costs what a wrong password costs.
const NOBODY: [u8; 16] = [0; 16];

/// Why a request goes no further for now.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is parked, or a retransmission of one that is.
    Waiting,
    /// Refused.
    Refused(RefusalReason),
}

impl From<RefusalReason> for Halt {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason)
    }
}

impl Server {
    pub(super) fn authenticate(
        &mut self,
        now: Now,
        exchange: &mut Exchange,
        message: &Message<'_>,
    ) -> Result<Identity, Halt> {
        if message.integrity_kind().is_none() {
            let bare = message.as_bytes().len() == HEADER_LEN;
            let reason = if bare {
                RefusalReason::BareRequest
            } else {
                RefusalReason::NoCredentials
            };
            return Err(reason.into());
        }
        let value = |kind| {
            message
                .attribute(kind)
                .ok_or(RefusalReason::IncompleteCredentials)
        };
        let username = value(AttributeType::USERNAME)?;
        let realm = value(AttributeType::REALM)?;
        let nonce = value(AttributeType::NONCE)?;
        if !self.nonces.accepts(nonce, exchange.tuple.client, now.unix) {
            return Err(RefusalReason::StaleNonce.into());
        }
        exchange.genuine = true;
        let username = std::str::from_utf8(username)
            .ok()
            .and_then(|n| n.parse::<Username>().ok());
        let Some(username) = username else {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::InvalidUsername.into());
        };
        exchange.username = Some(username.clone());
        if realm != exchange.realm.as_str().as_bytes() {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::WrongRealm.into());
        }
        // A session outlives its credential: its own key is good for it.
        let session = self
            .table
            .by_tuple(&exchange.tuple)
            .map(|(_, a)| &a.identity);
        let session = match session {
            Some(identity) => Some(identity),
            None => self.pending_owner(message),
        };
        if let Some(identity) = session
            && identity.username == username
            && identity.realm.name == exchange.realm
            && message.verify_integrity(identity.key.as_bytes())
        {
            return Ok(identity.clone());
        }
        let Some(realm) = self.policy.realms.get(&exchange.realm).cloned() else {
            let _ = message.verify_integrity(&NOBODY);
            return Err(RefusalReason::UnknownUser.into());
        };
        self.identify(now, exchange, message, realm, username)
    }

    fn identify(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
        realm: Arc<RealmPolicy>,
        username: Username,
    ) -> Result<Identity, Halt> {
        let mut nobody = RefusalReason::UnknownUser;
        if let Some(rest) = split(&realm, &username) {
            if rest.expiry < now.unix {
                nobody = RefusalReason::CredentialExpired;
            } else if let Some(identity) = verify_rest(&realm, &username, rest, message) {
                return Ok(identity);
            } else {
                nobody = RefusalReason::WrongPassword;
            }
        }
        let name = (exchange.realm.clone(), username);
        match self.credentials.get(&name, now.mono) {
            Cached::Known(user) if message.verify_integrity(user.key.as_bytes()) => Ok(Identity {
                realm,
                user: name.1.as_str().into(),
                username: name.1,
                credential_expiry: None,
                secret_id: None,
                key: user.key,
                max_sessions: user.max_sessions,
            }),
            Cached::Known(_) => Err(RefusalReason::WrongPassword.into()),
            Cached::Unknown => {
                let _ = message.verify_integrity(&NOBODY);
                Err(nobody.into())
            }
            Cached::Nothing => {
                let deadline = now.mono + self.config.park_deadline;
                let bytes = message.as_bytes();
                match self.parking.park(&name, exchange.tuple, bytes, deadline) {
                    Parking::Full => return Err(RefusalReason::ParkingFull.into()),
                    Parking::Waiting | Parking::Duplicate => {}
                    Parking::Ask => {
                        let (realm, username) = name;
                        self.outputs
                            .push_back(Output::LookupCredential { realm, username });
                    }
                }
                Err(Halt::Waiting)
            }
        }
    }
}

fn split<'a>(realm: &RealmPolicy, username: &'a Username) -> Option<RestUsername<'a>> {
    if realm.secrets.is_empty() {
        return None;
    }
    rest::split_username(username.as_str(), realm.rest_separator)
}

fn verify_rest(
    realm: &Arc<RealmPolicy>,
    username: &Username,
    rest: RestUsername<'_>,
    message: &Message<'_>,
) -> Option<Identity> {
    realm.secrets.iter().find_map(|secret| {
        let password = rest::password(secret.value.expose(), username.as_str());
        let key = LongTermKey::derive(username.as_str(), realm.name.as_str(), &password);
        message.verify_integrity(key.as_bytes()).then(|| Identity {
            realm: Arc::clone(realm),
            username: username.clone(),
            user: rest.user.into(),
            credential_expiry: Some(rest.expiry),
            secret_id: Some(Arc::clone(&secret.id)),
            key,
            max_sessions: None,
        })
    })
}
