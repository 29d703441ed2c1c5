//! Clients that come with a ticket of another worker's session (RFC 8016).
//!
//! A session never changes its worker; its client's new path is led there. A TCP or TLS connection
//! goes to the owner as it is. Datagrams keep coming to the worker that the selector names, the
//! client's home, which passes them on; a DTLS association goes to the owner, and its records are
//! passed on. A guest that leaves for a third worker goes by way of its home, which alone can lead
//! its datagrams elsewhere: so nothing is ever passed in a circle.

use std::time::{Duration, Instant};

use shared::{SessionId, Transport, WorkerId};

use super::exchange::Exchange;
use super::{Errand, Forward, Output, RefusalReason, Server};
use crate::auth::ticket::Ticket;
use crate::five_tuple::{FiveTuple, FiveTupleMap};
use crate::policy::source_of;
use crate::stun::{AttributeType, Class, Message, Method};
use crate::time::Now;

/// Clients whose sessions other workers own; the next one is refused with 508.
const MAX_GUESTS: usize = 4096;
/// Of those, for one session: the 5-tuple it comes from, and the one it moves to. As many from each
/// source of which the owner has not said yet that the ticket was theirs: they push nobody else out.
const ALIKE: usize = 2;

/// Clients at home here whose datagrams another worker gets.
#[derive(Debug, Default)]
pub(crate) struct Guests(FiveTupleMap<Guest>);

#[derive(Clone, Copy, Debug)]
struct Guest {
    session: SessionId,
    worker: WorkerId,
    seen: Instant,
    /// The owner found the ticket to be theirs.
    is_confirmed: bool,
}

impl Guests {
    /// Whose client this is, if another worker's.
    fn owner(&mut self, tuple: &FiveTuple, now: Instant) -> Option<WorkerId> {
        if self.0.is_empty() {
            return None;
        }
        let guest = self.0.get_mut(tuple)?;
        guest.seen = now;
        Some(guest.worker)
    }

    fn admit(&mut self, tuple: FiveTuple, guest: Guest) -> bool {
        let source = source_of(tuple.client.ip());
        self.make_room(&tuple, |other, known| {
            !known.is_confirmed
                && known.session == guest.session
                && source_of(other.client.ip()) == source
        });
        let fits = self.0.len() < MAX_GUESTS || self.0.contains_key(&tuple);
        if fits {
            self.0.insert(tuple, guest);
        }
        fits
    }

    /// A client has a session with the worker that it was passed on to.
    fn confirm(&mut self, tuple: &FiveTuple, worker: WorkerId, session: SessionId) {
        let guest = self.0.get_mut(tuple);
        let Some(guest) = guest.filter(|guest| guest.worker == worker) else {
            return;
        };
        (guest.session, guest.is_confirmed) = (session, true);
        self.make_room(tuple, |_, known| {
            known.is_confirmed && known.session == session
        });
    }

    /// Forgets the most silent of those that are alike, where they are too many with the newcomer.
    fn make_room(&mut self, newcomer: &FiveTuple, alike: impl Fn(&FiveTuple, &Guest) -> bool) {
        let others = self.0.iter();
        let others = others.filter(|(tuple, guest)| *tuple != newcomer && alike(tuple, guest));
        let others: Vec<_> = others.map(|(tuple, guest)| (guest.seen, *tuple)).collect();
        if others.len() >= ALIKE
            && let Some((_, silent)) = others.iter().min_by_key(|(seen, _)| *seen)
        {
            self.0.remove(silent);
        }
    }

    /// The client is served here from now on.
    pub(super) fn forget(&mut self, tuple: &FiveTuple) {
        self.0.remove(tuple);
    }

    /// Forgets clients that were silent longer than any session lives unrefreshed.
    pub(super) fn sweep(&mut self, now: Instant, longest: Duration) {
        self.0
            .retain(|_, guest| now.saturating_duration_since(guest.seen) <= longest);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Server {
    /// The worker that has the association of a DTLS client, if it is not this one: its records go
    /// there unopened.
    pub fn host_of(&mut self, now: Now, tuple: &FiveTuple) -> Option<WorkerId> {
        self.guests.owner(tuple, now.mono)
    }

    /// Takes what another worker, the home of its client, passed on ([`Output::PassOn`]), or handed
    /// over with an association ([`Output::HandOver`]).
    pub fn handle_passed_on<'b>(
        &mut self,
        now: Now,
        home: WorkerId,
        tuple: FiveTuple,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        self.touch(now);
        let belongs_elsewhere = self.has_place(&tuple)
            && Message::parse(bytes).is_ok_and(|message| self.foreign_ticket(&message).is_some());
        if belongs_elsewhere {
            self.outputs.push_back(Output::PassOn {
                tuple,
                worker: home,
                message: bytes.to_vec(),
                errand: Errand::TakeBack,
            });
            return None;
        }
        let before = self.session_of(&tuple);
        let forward = self.take(now, tuple, bytes);
        if let Some(session) = self.session_of(&tuple)
            && before != Some(session)
        {
            self.outputs.push_back(Output::PassOn {
                tuple,
                worker: home,
                message: Vec::new(),
                errand: Errand::Confirm(session),
            });
        }
        forward
    }

    /// Whether another worker's session may come from there.
    fn has_place(&self, tuple: &FiveTuple) -> bool {
        self.table.slot(tuple).is_none() || self.is_left(tuple)
    }

    fn session_of(&mut self, tuple: &FiveTuple) -> Option<SessionId> {
        let (_, allocation) = self.table.by_tuple(tuple)?;
        Some(allocation.id)
    }

    /// Takes note that a client has a session with the worker that it was passed on to.
    pub fn handle_confirmed(&mut self, from: WorkerId, tuple: FiveTuple, session: SessionId) {
        self.guests.confirm(&tuple, from, session);
    }

    /// Takes a datagram back that was passed on to `from`, where its client has no session any
    /// more.
    pub fn handle_returned<'b>(
        &mut self,
        now: Now,
        from: WorkerId,
        tuple: FiveTuple,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        self.touch(now);
        if self.guests.owner(&tuple, now.mono) == Some(from) {
            self.guests.forget(&tuple);
        }
        if self.pass_on(now, &tuple, bytes) {
            return None;
        }
        self.take(now, tuple, bytes)
    }

    /// Passes what a client of another worker's session sent on to that worker; says whether it
    /// did.
    pub(super) fn pass_on(&mut self, now: Now, tuple: &FiveTuple, bytes: &[u8]) -> bool {
        let Some(worker) = self.guests.owner(tuple, now.mono) else {
            return false;
        };
        self.outputs.push_back(Output::PassOn {
            tuple: *tuple,
            worker,
            message: bytes.to_vec(),
            errand: Errand::Serve,
        });
        true
    }

    /// Leads a client whose ticket names another worker of this node there, with its Refresh. Only
    /// with a nonce of its own: nobody gets a place here for an address that is not his.
    pub(super) fn take_guest(
        &mut self,
        now: Now,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> bool {
        let tuple = exchange.tuple;
        let ticket = self.foreign_ticket(message);
        let Some(ticket) = ticket.filter(|_| self.has_place(&tuple)) else {
            return false;
        };
        let nonce = message.attribute(AttributeType::NONCE).unwrap_or_default();
        let realm = self.policy.realms.get(&exchange.realm).cloned();
        let offer = realm
            .as_ref()
            .map(|realm| realm.offer())
            .unwrap_or_default();
        if !self.nonces.accepts(nonce, tuple.client, now.unix, offer) {
            return false;
        }
        self.vacate(&tuple);
        let connection = self.connections.get(&tuple);
        if let Some(home) = connection.and_then(|connection| connection.home) {
            self.send_away(tuple, home, message);
            return true;
        }
        if matches!(tuple.transport, Transport::Tcp | Transport::Tls) {
            self.send_away(tuple, ticket.worker, message);
            return true;
        }
        let guest = Guest {
            session: ticket.session,
            worker: ticket.worker,
            seen: now.mono,
            is_confirmed: false,
        };
        if !self.guests.admit(tuple, guest) {
            self.refuse(now, exchange, RefusalReason::TooManyMoved.into());
        } else if tuple.transport == Transport::Dtls {
            self.send_away(tuple, ticket.worker, message);
        } else {
            self.pass_on(now, &tuple, message.as_bytes());
        }
        true
    }

    /// Lets another worker have a client's connection, and answer what came last.
    pub(super) fn send_away(&mut self, tuple: FiveTuple, worker: WorkerId, message: &Message<'_>) {
        self.connections.remove(&tuple);
        self.outputs.push_back(Output::HandOver {
            tuple,
            worker,
            message: message.as_bytes().to_vec(),
        });
    }

    /// The ticket of a Refresh, if the session is another worker's of this node.
    fn foreign_ticket(&self, message: &Message<'_>) -> Option<Ticket> {
        let is_refresh = message.class() == Class::Request && message.method() == Method::Refresh;
        if !is_refresh || !self.policy.settings.mobility {
            return None;
        }
        let value = message.attribute(AttributeType::MOBILITY_TICKET)?;
        let ticket = Ticket::open(&self.policy.nonce_key, value)?;
        let owner = match self.relocated.get(&ticket.session) {
            // Of an earlier start, which may have had another number of workers.
            Some(owner) => *owner,
            None if ticket.session.base() == self.config.session_base => ticket.worker,
            None => return None,
        };
        let is_foreign =
            owner != self.config.worker && u32::from(owner.0) < self.config.session_step;
        is_foreign.then_some(Ticket {
            worker: owner,
            ..ticket
        })
    }

    /// How long a client of another worker may be silent.
    pub(super) fn longest_lifetime(&self) -> Duration {
        let longest = self.policy.realms.values().map(|realm| realm.max_lifetime);
        longest.max().unwrap_or_default() + Duration::from_secs(60)
    }
}
