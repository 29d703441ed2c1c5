//! Binding (RFC 8489 §3): tells a client its address as seen from here.

use super::Server;
use super::exchange::Exchange;
use super::rejection::Rejection;
use crate::stun::{AttributeType, Message};

impl Server {
    /// Needs no credentials and leaves no state.
    pub(super) fn binding(
        &mut self,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
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
