//! ConnectionBind (RFC 6062 §5.4).
//!
//! Nothing but a request with the control connection's own credentials touches a pending
//! connection: whoever guesses its id can neither take nor break it.

use std::net::SocketAddr;

use shared::{Transport, WorkerId};

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{Output, RefusalReason, Server};
use crate::allocation::Identity;
use crate::five_tuple::{ConnectionId, FiveTuple, LinkId};
use crate::stun::{AttributeType, Message, Method};
use crate::time::Now;

impl Server {
    /// Sends a client on to the worker that holds the connection it names, before anything else is
    /// looked at: only that worker knows the credentials that are wanted. Says whether it did.
    ///
    /// The source of a stream is no forgery, and which worker serves it is the client's choice
    /// already (by its port), so this gives a stranger nothing.
    pub(super) fn hand_over(&mut self, exchange: &Exchange, message: &Message<'_>) -> bool {
        let tuple = exchange.tuple;
        let workers = self.config.session_step.max(1);
        let candidate = exchange.method == Method::ConnectionBind
            && message.integrity_kind().is_some()
            && is_stream(&tuple)
            && self.table.slot(&tuple).is_none();
        let named = message.number(AttributeType::CONNECTION_ID);
        let Some(id) = named.ok().flatten().filter(|_| candidate) else {
            return false;
        };
        let owner = id % workers;
        if owner == self.config.session_first % workers {
            return false;
        }
        self.send_away(tuple, WorkerId(owner as u16), message);
        true
    }

    pub(super) fn connection_bind(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        let tuple = exchange.tuple;
        if !is_stream(&tuple) {
            return Err(RefusalReason::TcpOverDatagrams.into());
        }
        if self.table.slot(&tuple).is_some() {
            return Err(RefusalReason::ControlConnection.into());
        }
        let named = message.number(AttributeType::CONNECTION_ID)?;
        let named = named.ok_or(RefusalReason::MissingAttribute)?;
        let pending = self.links.pending(ConnectionId(named));
        let link = pending.ok_or(RefusalReason::UnknownConnection)?;
        let owner = self.owner(link).ok_or(RefusalReason::UnknownConnection)?;
        // The client is told what it is told about an unknown id.
        // Ids are short enough to guess: a token of the realm alone is not enough.
        if !owner.is_same_owner(identity) || !owner.has_key_of(identity) {
            return Err(RefusalReason::ConnectionOfAnother.into());
        }
        self.links.bind(link, tuple);
        self.connections.remove(&tuple);
        self.respond(exchange, exchange.success());
        self.outputs.push_back(Output::Splice { link, tuple });
        if let Some(relay) = self.links.get(link).map(|link| link.relay) {
            self.want_report(now);
            self.describe(relay);
        }
        Ok(())
    }

    /// Whose session the pending connection that a ConnectionBind names belongs to: its key is good
    /// for that request, as it is for others of the session.
    pub(super) fn pending_owner(&self, message: &Message<'_>) -> Option<&Identity> {
        if message.method() != Method::ConnectionBind {
            return None;
        }
        let id = message.number(AttributeType::CONNECTION_ID).ok()??;
        self.owner(self.links.pending(ConnectionId(id))?)
    }

    /// The control connection of the pending one that a ConnectionBind names. A nonce that was made for it is good
    /// for that request: a client that has no other (coturn's) takes the 438 for one of its control connection and
    /// then has one nonce too few for two connections.
    pub(super) fn control_of(
        &self,
        tuple: &FiveTuple,
        message: &Message<'_>,
    ) -> Option<SocketAddr> {
        if message.method() != Method::ConnectionBind || !is_stream(tuple) {
            return None;
        }
        let id = message.number(AttributeType::CONNECTION_ID).ok()??;
        let link = self.links.pending(ConnectionId(id))?;
        let relay = self.links.get(link)?.relay;
        let allocation = self.table.get(relay)?;
        Some(allocation.tuple.client)
    }

    fn owner(&self, link: LinkId) -> Option<&Identity> {
        let relay = self.links.get(link)?.relay;
        self.table.get(relay).map(|allocation| &allocation.identity)
    }
}

/// Whether a client came by TCP or TLS.
pub(super) fn is_stream(tuple: &FiveTuple) -> bool {
    matches!(tuple.transport, Transport::Tcp | Transport::Tls)
}
