//! 300 Try Alternate with ALTERNATE-SERVER (RFC 8489 §10), for Allocate alone.
//!
//! Nothing is kept: the choice is a MAC over the client and its transaction, so that a
//! retransmission is answered with the same bytes, and no client can pick its server.

use shared::{Realm, Transport};

use super::Server;
use super::exchange::Exchange;
use crate::auth::nonce::{address_bytes, hmac};
use crate::five_tuple::AddressFamily;
use crate::policy::{RealmPolicy, Redirect};
use crate::stun::{AttributeType, Class, ErrorCode, MessageBuilder};
use crate::time::Now;

impl Server {
    /// Sends a client of `realm` elsewhere, if there is somewhere: says whether it did.
    pub(super) fn redirect(&mut self, now: Now, exchange: &Exchange, realm: &RealmPolicy) -> bool {
        let Some(redirect) = self.alternate(exchange, &realm.name).cloned() else {
            return false;
        };
        let mut answer = MessageBuilder::new(Class::Error, exchange.method, exchange.transaction)
            .error_code(ErrorCode::TRY_ALTERNATE)
            .plain_address(AttributeType::ALTERNATE_SERVER, redirect.target);
        if let Some(domain) = &redirect.domain {
            answer = answer.attribute(AttributeType::ALTERNATE_DOMAIN, domain.as_bytes());
        }
        // It comes there from another port, by another connection or through a NAT that gives each server
        // its own, and browsers take no 438 for an answer then. Whoever showed no credential needs none.
        if exchange.key.is_some() {
            let offer = realm.offer();
            let client = exchange.tuple.client;
            let nonce = self.nonces.mint_for_all_ports(client.ip(), now.unix, offer);
            answer = answer
                .attribute(AttributeType::REALM, realm.name.as_str().as_bytes())
                .attribute(AttributeType::NONCE, nonce.as_bytes());
        }
        self.counters.redirects += 1;
        self.respond(exchange, answer);
        true
    }

    /// One of the alternates of the client's transport, family and realm, by weight.
    fn alternate(&self, exchange: &Exchange, realm: &Realm) -> Option<&Redirect> {
        let tuple = &exchange.tuple;
        let family = AddressFamily::of(tuple.client);
        let fits = |one: &&Redirect| {
            one.transport == tuple.transport
                && AddressFamily::of(one.target) == family
                && one
                    .realm
                    .as_ref()
                    .is_none_or(|served| self.is_served(served, realm, tuple.transport))
        };
        let fitting = || self.policy.redirects.iter().filter(fits);
        let total: u64 = fitting().map(|one| u64::from(one.weight)).sum();
        let mut point = self.draw(exchange).checked_rem(total)?;
        fitting().find(|one| {
            let weight = u64::from(one.weight);
            let here = point < weight;
            point = point.saturating_sub(weight);
            here
        })
    }

    /// Whether clients of `realm` are served where others are told `served`: a listener's own realm comes before
    /// names, and names before the default one.
    fn is_served(&self, served: &Realm, realm: &Realm, transport: Transport) -> bool {
        if served == realm {
            return true;
        }
        if *served != self.policy.default_realm {
            return false;
        }
        let is_secure = matches!(transport, Transport::Tls | Transport::Dtls);
        let mut origins = self.policy.origins.values();
        let mut names = self.policy.server_names.values();
        origins.any(|named| named == realm) || is_secure && names.any(|named| named == realm)
    }

    fn draw(&self, exchange: &Exchange) -> u64 {
        let client = exchange.tuple.client;
        let parts = [
            &b"turn redirect"[..],
            &address_bytes(client.ip()),
            &client.port().to_be_bytes(),
            &exchange.transaction.0,
        ];
        let [a, b, c, d, e, f, g, h, ..] = hmac(self.policy.nonce_key.expose(), &parts);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}
