//! 300 Try Alternate with ALTERNATE-SERVER (RFC 8489 §10), for Allocate alone.
//!
//! Nothing is kept: the choice is a MAC over the client and its transaction, so that a
//! retransmission is answered with the same bytes, and no client can pick its server.

use shared::Realm;

use super::Server;
use super::exchange::Exchange;
use crate::auth::nonce::{address_bytes, hmac};
use crate::five_tuple::AddressFamily;
use crate::policy::Redirect;
use crate::stun::{AttributeType, Class, ErrorCode, MessageBuilder};

impl Server {
    /// Sends the client elsewhere, if there is somewhere: says whether it did.
    pub(super) fn redirect(&mut self, exchange: &Exchange, realm: &Realm) -> bool {
        let Some(redirect) = self.alternate(exchange, realm) else {
            return false;
        };
        let answer = MessageBuilder::new(Class::Error, exchange.method, exchange.transaction)
            .error_code(ErrorCode::TRY_ALTERNATE)
            .plain_address(AttributeType::ALTERNATE_SERVER, redirect.target);
        let answer = match &redirect.domain {
            Some(domain) => answer.attribute(AttributeType::ALTERNATE_DOMAIN, domain.as_bytes()),
            None => answer,
        };
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
                    .is_none_or(|served| self.is_served(served, realm))
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

    /// Whether clients of `realm` are served where others are told `served`.
    fn is_served(&self, served: &Realm, realm: &Realm) -> bool {
        let mut named = self
            .policy
            .origins
            .values()
            .chain(self.policy.server_names.values());
        served == realm || named.any(|named| named == realm)
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
