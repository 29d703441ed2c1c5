//! One request and the way back to whoever sent it.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::{Realm, Username};

use super::refusals::Occurrence;
use super::rejection::Rejection;
use super::{Output, RefusalReason, Server};
use crate::auth::credential::SigningKey;
use crate::auth::rest::split_username;
use crate::five_tuple::FiveTuple;
use crate::policy::RealmPolicy;
use crate::stun::integrity::IntegrityKind;
use crate::stun::password_algorithm;
use crate::stun::{
    AttributeType, Class, ErrorCode, Message, MessageBuilder, Method, TransactionId,
};
use crate::time::Now;

/// What an answer needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) tuple: FiveTuple,
    pub(crate) method: Method,
    pub(crate) transaction: TransactionId,
    /// The answer gets a FINGERPRINT: the request had one, or all answers do.
    pub(crate) fingerprint: bool,
    /// Which attribute signs the answer (RFC 8489 §9.2.4).
    pub(crate) kind: IntegrityKind,
    /// The key that verified the request: the answer is signed with it.
    pub(crate) key: Option<Arc<SigningKey>>,
    /// The realm of the listener.
    pub(crate) realm: Realm,
    /// As the client wrote it.
    pub(crate) username: Option<Username>,
    /// The nonce was good: the source address is no forgery.
    pub(crate) genuine: bool,
}

impl Exchange {
    pub(crate) fn new(tuple: FiveTuple, message: &Message<'_>, realm: Realm) -> Self {
        Self {
            tuple,
            method: message.method(),
            transaction: message.transaction(),
            fingerprint: message.has_fingerprint(),
            kind: message.integrity_kind().unwrap_or(IntegrityKind::Sha1),
            key: None,
            realm,
            username: None,
            genuine: false,
        }
    }

    pub(crate) fn success(&self) -> MessageBuilder {
        MessageBuilder::new(Class::Success, self.method, self.transaction)
    }

    /// Signs an answer as its request was signed.
    pub(crate) fn seal(&self, mut answer: MessageBuilder) -> Vec<u8> {
        if let Some(key) = &self.key {
            answer = key.sign(self.kind, answer);
        }
        if self.fingerprint {
            answer = answer.fingerprint();
        }
        answer.finish()
    }
}

impl Server {
    pub(super) fn respond(&mut self, exchange: &Exchange, answer: MessageBuilder) {
        let message = exchange.seal(answer);
        self.outputs.push_back(Output::Transmit {
            tuple: exchange.tuple,
            message,
        });
    }

    /// Refuses a request: counts it, tells the books, answers.
    pub(super) fn refuse(&mut self, now: Now, exchange: &Exchange, rejection: Rejection) {
        let Rejection {
            reason,
            unknown,
            peer,
        } = rejection;
        let code = reason.code();
        if !exchange.genuine && code.is_some() && !self.may_refuse_unproven(now, exchange) {
            return;
        }
        if reason == RefusalReason::NoCredentials {
            self.counters.challenges += 1;
        } else {
            self.refusals.count(Some(&exchange.realm), reason);
        }
        if exchange.genuine {
            self.tell_refusal(now, exchange, reason, peer);
        }
        let Some(code) = code else { return };
        let answer = MessageBuilder::new(Class::Error, exchange.method, exchange.transaction);
        let mut answer = answer.error_code(code);
        if reason.challenges() {
            answer = self.challenge(now, exchange, code, answer);
        }
        if !unknown.is_empty() {
            let list: Vec<u8> = unknown
                .iter()
                .flat_map(|kind| kind.0.to_be_bytes())
                .collect();
            answer = answer.attribute(AttributeType::UNKNOWN_ATTRIBUTES, &list);
        }
        self.respond(exchange, answer);
    }

    /// Adds what a client needs to authenticate: REALM, NONCE, and what the realm offers.
    fn challenge(
        &mut self,
        now: Now,
        exchange: &Exchange,
        code: ErrorCode,
        mut answer: MessageBuilder,
    ) -> MessageBuilder {
        let realm = self.policy.realms.get(&exchange.realm);
        let offer = realm.map(|realm| realm.offer()).unwrap_or_default();
        let nonce = self.nonces.mint(exchange.tuple.client, now.unix, offer);
        answer = answer
            .attribute(AttributeType::REALM, exchange.realm.as_str().as_bytes())
            .attribute(AttributeType::NONCE, nonce.as_bytes());
        if !offer.algorithms.is_empty() {
            let list = password_algorithm::list(offer.algorithms);
            answer = answer.attribute(AttributeType::PASSWORD_ALGORITHMS, &list);
        }
        if let Some(oauth) = self.policy.oauth.as_ref()
            && code == ErrorCode::UNAUTHENTICATED
        {
            let name = oauth.server_name(&exchange.realm).as_bytes();
            answer = answer.attribute(AttributeType::THIRD_PARTY_AUTHORIZATION, name);
        }
        answer
    }

    /// Keeps a refusal for the next report.
    fn tell_refusal(
        &mut self,
        now: Now,
        exchange: &Exchange,
        reason: RefusalReason,
        peer: Option<SocketAddr>,
    ) {
        self.want_report(now);
        let realm = &exchange.realm;
        let username = exchange.username.as_ref();
        let of_tuple = self.table.by_tuple(&exchange.tuple);
        let one = Occurrence {
            at: now.mono,
            client: exchange.tuple.client,
            realm,
            username,
            session: of_tuple.map(|(_, allocation)| allocation.id),
            peer,
            reason,
            times: 1,
        };
        let policy = self.policy.realms.get(realm);
        let user = || username.map(|name| id_part(policy.map(|policy| &**policy), name));
        if !self.refusals.tell(one, user) {
            self.counters.untold_refusals += 1;
        }
    }
}

/// Whom a username that did not authenticate speaks of, if what it claims is true.
fn id_part(realm: Option<&RealmPolicy>, username: &Username) -> Arc<str> {
    let realm = realm.filter(|realm| !realm.open_secrets().is_empty());
    let split = realm.and_then(|realm| split_username(username.as_str(), realm.rest_separator));
    split.map_or(username.as_str(), |rest| rest.user).into()
}
