//! Binding (RFC 8489 §3): tells a client its address as seen from here.

use super::Server;
use super::exchange::Exchange;
use super::rejection::Rejection;
use crate::stun::{AttributeType, Message};
use crate::time::Now;

impl Server {
    /// Needs no credentials and leaves no state.
    pub(super) fn binding(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        if !self.may_answer_binding(now, exchange) {
            return Ok(());
        }
        if let Some(done) = self.discover_nat(exchange, message) {
            return done;
        }
        Rejection::unknown_attributes(message)?;
        self.counters.bindings += 1;
        let client = exchange.tuple.client;
        let answer = exchange
            .success()
            .xor_address(AttributeType::XOR_MAPPED_ADDRESS, client);
        self.respond(exchange, answer);
        Ok(())
    }
}
