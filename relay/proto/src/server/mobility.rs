//! Mobility (RFC 8016): a client takes its allocation along to another address.
//!
//! A ticket is good once. The old 5-tuple carries data until the client sends on the new one, and
//! at most one move is under way per session, so that endless ones keep no memory. Quota belongs to
//! the allocation, whatever becomes of its connection.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use shared::{SessionId, Transport};

use super::connection_bind::is_stream;
use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{RefusalReason, RestoredMobility, Server};
use crate::allocation::Identity;
use crate::auth::ticket::{TICKET_LEN, Ticket};
use crate::five_tuple::{AddressFamily, FiveTuple, RelayId};
use crate::stun::{AttributeType, Message, Method, TransactionId};
use crate::time::Now;

/// How long a used ticket still answers the retransmission of its Refresh (§3.2.2: at least 30 s).
const RETRANSMISSION: Duration = Duration::from_secs(40);

/// What a mobile allocation has besides others.
#[derive(Debug, Default)]
pub(crate) struct Mobility {
    /// Of the ticket that the client holds.
    serial: u16,
    /// The Refresh that used up the ticket before, and until when it may come again.
    last: Option<(TransactionId, Instant)>,
    /// The 5-tuple that the client moves to: from its first data there on the only one.
    pub(crate) pending: Option<FiveTuple>,
}

impl Mobility {
    /// Of a session of an earlier start, whose client holds the ticket of that number.
    pub(super) fn restored(serial: u16) -> Self {
        Self {
            serial,
            ..Self::default()
        }
    }

    /// What a later start needs.
    pub(crate) fn kept(&self, source: IpAddr) -> RestoredMobility {
        RestoredMobility {
            serial: self.serial,
            source,
            pending: self.pending,
        }
    }
}

impl Server {
    /// The ticket of an allocation that is made now.
    pub(super) fn ticket(&self, session: SessionId, serial: u16) -> [u8; TICKET_LEN] {
        let ticket = Ticket {
            session,
            worker: self.config.worker,
            serial,
        };
        ticket.seal(&self.policy.nonce_key)
    }

    /// Whether an Allocate wants a mobile allocation: 400 and 405 (§3.1.2).
    pub(super) fn wants_mobility(&self, message: &Message<'_>) -> Result<bool, RefusalReason> {
        match message.attribute(AttributeType::MOBILITY_TICKET) {
            None => Ok(false),
            Some([]) if self.policy.settings.mobility => Ok(true),
            Some([]) => Err(RefusalReason::MobilityForbidden),
            Some(_) => Err(RefusalReason::InvalidTicket),
        }
    }

    /// Whose session a ticket belongs to: its key is good for the Refresh that brings it.
    pub(super) fn ticket_owner(&self, message: &Message<'_>) -> Option<&Identity> {
        if message.method() != Method::Refresh || !self.policy.settings.mobility {
            return None;
        }
        let value = message.attribute(AttributeType::MOBILITY_TICKET)?;
        let ticket = Ticket::open(&self.policy.nonce_key, value)?;
        let relay = self.table.by_session(ticket.session)?;
        self.table.get(relay).map(|allocation| &allocation.identity)
    }

    /// Finds the session of a ticket, and lets it come from the 5-tuple of the request, too: a
    /// Refresh goes on from there (§3.2.2). Answers the new ticket.
    pub(super) fn move_here(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        ticket: &[u8],
        family: Option<AddressFamily>,
    ) -> Result<(RelayId, [u8; TICKET_LEN]), Rejection> {
        if !self.policy.settings.mobility {
            return Err(RefusalReason::MobilityForbidden.into());
        }
        let ticket = Ticket::open(&self.policy.nonce_key, ticket);
        let ticket = ticket.ok_or(RefusalReason::InvalidTicket)?;
        let tuple = exchange.tuple;
        let is_taken = self.table.relay_of(&tuple).is_some() && !self.is_left(&tuple);
        let relay = self.table.by_session(ticket.session);
        let relay = relay.ok_or(RefusalReason::NoAllocation)?;
        let Some(allocation) = self.table.get_mut(relay) else {
            return Err(RefusalReason::NoAllocation.into());
        };
        let owner = &allocation.identity;
        // A ticket may be read on its way, and any token of the realm would do without this.
        let own = owner.is_same_owner(identity) && owner.has_key_of(identity);
        let fits = family.is_none_or(|family| allocation.half(family).is_some());
        let session = allocation.id;
        let of_streams = allocation.is_tcp();
        let here = [Some(allocation.tuple), allocation.pending()].contains(&Some(tuple));
        let Some(mobility) = allocation.mobility.as_mut() else {
            return Err(RefusalReason::NoAllocation.into());
        };
        let again = mobility.last.is_some_and(|(transaction, until)| {
            transaction == exchange.transaction
                && now.mono < until
                && ticket.serial.wrapping_add(1) == mobility.serial
        });
        if again && here && own {
            let serial = mobility.serial;
            return Ok((relay, self.ticket(session, serial)));
        }
        if here {
            return Err(RefusalReason::NotMoved.into());
        }
        if !own {
            return Err(RefusalReason::WrongUser.into());
        }
        if ticket.serial != mobility.serial {
            return Err(RefusalReason::InvalidTicket.into());
        }
        if !fits {
            return Err(RefusalReason::FamilyMismatch.into());
        }
        if is_taken {
            return Err(RefusalReason::AllocationExists.into());
        }
        if of_streams && !is_stream(&tuple) {
            return Err(RefusalReason::TcpOverDatagrams.into());
        }
        allocation.identity.complete(identity);
        mobility.serial = mobility.serial.wrapping_add(1);
        mobility.last = Some((exchange.transaction, now.mono + RETRANSMISSION));
        let serial = mobility.serial;
        let before = mobility.pending.replace(tuple);
        let old = allocation.tuple;
        if let Some(before) = before {
            self.table.unlink(&before, relay);
        }
        self.vacate(&tuple);
        self.table.link(tuple, relay);
        // Where the old connection is gone, nothing is to be waited for.
        if old.transport != Transport::Udp && !self.connections.contains_key(&old) {
            self.moved(relay);
        }
        Ok((relay, self.ticket(session, serial)))
    }

    /// The client sent data on its new 5-tuple, or the old one is gone: from now on there is only
    /// the new one.
    pub(super) fn moved(&mut self, relay: RelayId) {
        let Some(allocation) = self.table.get_mut(relay) else {
            return;
        };
        let new = allocation.mobility.as_mut().and_then(|m| m.pending.take());
        let Some(new) = new else { return };
        let old = std::mem::replace(&mut allocation.tuple, new);
        self.table.unlink(&old, relay);
        self.describe(relay);
    }

    /// Whether a session has moved away from this 5-tuple, and only the first data on its new one
    /// is missing.
    pub(super) fn is_left(&self, tuple: &FiveTuple) -> bool {
        let relay = self.table.relay_of(tuple);
        let allocation = relay.and_then(|relay| self.table.get(relay));
        allocation.is_some_and(|a| a.tuple == *tuple && a.pending().is_some())
    }

    /// Frees a 5-tuple that a session has moved away from, for whoever asks for a session from there:
    /// the client closed its socket, and the system or a NAT gave the port to somebody else.
    pub(super) fn vacate(&mut self, tuple: &FiveTuple) {
        if self.is_left(tuple)
            && let Some(relay) = self.table.relay_of(tuple)
        {
            self.moved(relay);
        }
    }

    /// Data came on this 5-tuple of a session.
    pub(super) fn note_path(&mut self, relay: RelayId, tuple: &FiveTuple) {
        if self.table.get(relay).is_some_and(|a| a.tuple != *tuple) {
            self.moved(relay);
        }
    }

    /// A connection ended that carried a mobile session, which waits for its client to come back;
    /// says whether it was one.
    pub(super) fn outlives_connection(&mut self, tuple: &FiveTuple) -> bool {
        let Some((relay, allocation)) = self.table.by_tuple(tuple) else {
            return false;
        };
        let Some(mobility) = allocation.mobility.as_mut() else {
            return false;
        };
        if mobility.pending == Some(*tuple) {
            mobility.pending = None;
            self.table.unlink(tuple, relay);
        } else {
            self.moved(relay);
        }
        true
    }
}
