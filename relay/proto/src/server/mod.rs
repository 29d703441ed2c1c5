//! The TURN server as a state machine. One file per STUN method.

mod allocate;
mod arrival;
mod authenticate;
mod binding;
mod channel_bind;
mod command;
pub mod config;
mod connect;
pub mod connection;
mod connection_attempt;
mod connection_bind;
mod counters;
mod create_permission;
pub mod data_connection;
mod end_cause;
mod exchange;
mod guests;
mod icmp;
mod limits;
mod mobility;
mod nat_discovery;
mod opening;
pub mod output;
mod peer_data;
mod redirect;
mod refresh;
mod refusals;
pub mod rejection;
mod restore;
mod send;
mod source_limit;
mod tally;
mod timeout;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use shared::{Realm, SessionId, Transport, Username, WorkerId};

pub use config::{ServerConfig, ServerLimits};
pub use connection::Arrival;
pub use counters::{ByCause, ByFlaw, ByTransport, Counts, Flaw, ServerCounters};
pub use data_connection::Direction;
pub use end_cause::{EndCause, Revocation};
pub(crate) use exchange::Exchange;
pub(crate) use icmp::IcmpBudget;
pub use icmp::IcmpError;
pub(crate) use mobility::Mobility;
pub(crate) use opening::Opening;
pub use output::*;
pub use rejection::RefusalReason;
pub use restore::{
    RestoreDetails, RestoreRefusal, RestoredMobility, RestoredRelay, RestoredRelays,
    RestoredSession,
};
pub use tally::SessionTally;

use crate::allocation::{Allocation, AllocationTable, Identity, Links, Shares, Slot};
use crate::auth::cache::LookupCache;
use crate::auth::credential::KnownUser;
use crate::auth::nonce::NonceMint;
use crate::auth::parking::{ParkingLot, Userhash};
use crate::demux::Protocol;
use crate::expiry::ExpiryQueue;
use crate::five_tuple::{AddressFamily, FiveTuple, FiveTupleMap, RelayId};
use crate::policy::{Claimant, PlaceAnswer, Policy, Quota};
use crate::stun::{AttributeType, Class, Message, Method};
use crate::time::Now;
use authenticate::Halt;
use connection::Connection;
use guests::Guests;
use refusals::Refusals;
use rejection::Rejection;
use source_limit::SourceLimiter;
use timeout::{Due, REPORT_INTERVAL, due};

/// A TURN server without sockets, clock or threads.
///
/// Whoever drives it calls one of the `handle_*` methods, acts on the [`Forward`] that it may
/// return, and then drains [`poll_output`](Self::poll_output) to `None` before the next call.
/// [`handle_timeout`](Self::handle_timeout) is due at [`poll_timeout`](Self::poll_timeout), which
/// changes with every call. Time never runs backwards.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    policy: Arc<Policy>,
    quota: Arc<dyn Quota>,
    /// What was answered to the claim of the request that goes on, until it is used.
    place: Option<(Box<PlaceClaim>, PlaceAnswer)>,
    nonces: NonceMint,
    credentials: LookupCache<(Realm, Username), Arc<KnownUser>>,
    /// Whose a USERHASH is.
    usernames: LookupCache<(Realm, Userhash), Username>,
    parking: ParkingLot,
    table: AllocationTable,
    /// What is held of the budgets that sessions share with those of other workers.
    shares: Shares,
    /// How much unproven sources drew lately.
    sources: SourceLimiter,
    /// TCP, TLS and DTLS clients that are connected.
    connections: FiveTupleMap<Connection>,
    /// Clients that moved to addresses of this worker and belong to other workers.
    guests: Guests,
    /// Mobile sessions of earlier starts, of all workers, and who has them now.
    relocated: Arc<HashMap<SessionId, WorkerId>>,
    /// Connections with peers, of all sessions.
    links: Links,
    /// One live entry per session: its nearest deadline.
    expiry: ExpiryQueue<Due>,
    outputs: VecDeque<Output>,
    counters: ServerCounters,
    refusals: Refusals,
    next_session: u32,
    /// Sessions whose counters moved since the last report; some may be gone.
    changed: Vec<RelayId>,
    /// When the next usage report is due; `None` while nothing happened.
    report_at: Option<std::time::Instant>,
}

impl Server {
    /// A server without sessions.
    #[must_use]
    pub fn new(config: ServerConfig, policy: Arc<Policy>, quota: Arc<dyn Quota>) -> Self {
        Self {
            nonces: NonceMint::new(&policy.nonce_key, policy.settings.nonce_lifetime),
            credentials: LookupCache::new(config.limits.cached_credentials),
            usernames: LookupCache::new(config.limits.cached_credentials),
            parking: ParkingLot::new(config.limits.parked_requests),
            table: AllocationTable::default(),
            shares: Shares::new(config.session_step),
            sources: SourceLimiter::new(&policy.nonce_key, config.session_step),
            connections: FiveTupleMap::default(),
            guests: Guests::default(),
            relocated: Arc::default(),
            links: Links::default(),
            expiry: ExpiryQueue::default(),
            outputs: VecDeque::new(),
            counters: ServerCounters::default(),
            refusals: Refusals::default(),
            next_session: config.session_first,
            changed: Vec::new(),
            report_at: None,
            config,
            policy,
            quota,
            place: None,
        }
    }

    /// Takes a datagram or frame from a client.
    pub fn handle_client<'b>(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        self.touch(now);
        self.counters.received.count(tuple.transport);
        if self.pass_on(now, &tuple, bytes) {
            return None;
        }
        self.take(now, tuple, bytes)
    }

    fn take<'b>(&mut self, now: Now, tuple: FiveTuple, bytes: &'b [u8]) -> Option<Forward<'b>> {
        match Protocol::of(bytes) {
            Protocol::ChannelData => self.channel_data(now, &tuple, bytes),
            Protocol::OldChannelData if self.policy.settings.rfc5766_channel_numbers => {
                self.channel_data(now, &tuple, bytes)
            }
            Protocol::Stun => match Message::parse(bytes) {
                Ok(message) => self.stun(now, tuple, &message),
                Err(error) => {
                    self.counters.malformed.count(error.into());
                    None
                }
            },
            Protocol::OldChannelData => {
                self.counters.malformed.count(Flaw::ChannelData);
                None
            }
            Protocol::Dtls | Protocol::Unknown => {
                self.counters.malformed.count(Flaw::FirstByte);
                None
            }
        }
    }

    /// Takes a datagram from a peer.
    pub fn handle_peer<'b>(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        self.touch(now);
        self.peer_data(now, relay, peer, bytes)
    }

    /// The next thing to do, besides forwarding.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Sessions that exist.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.len()
    }

    /// Checks that the tables agree with each other.
    ///
    /// # Panics
    /// When they do not: a bug. For tests and simulations.
    pub fn check(&self) {
        self.table.check();
        self.check_links();
        let begun = self.counters.allocations + self.counters.restored;
        assert_eq!(
            begun - self.counters.ended.total() - self.counters.passed_on,
            self.table.len() as u64,
            "what began less what ended or was passed on is what exists"
        );
        assert!(self.parking.len() <= self.config.limits.parked_requests);
        assert!(self.credentials.len() <= self.config.limits.cached_credentials.max(1));
        assert!(self.usernames.len() <= self.config.limits.cached_credentials.max(1));
        assert!(
            self.expiry.len() >= self.table.len(),
            "every session has a deadline"
        );
        assert!(
            self.shares.len() <= 2 * self.table.len() + 1,
            "budgets in use only"
        );
        for (_, allocation) in self.table.iter() {
            assert!(allocation.scheduled <= allocation.next_deadline());
        }
    }

    fn check_links(&self) {
        self.links.check();
        let of_sessions = self.table.iter().flat_map(|(relay, allocation)| {
            assert!(allocation.links.len() <= self.config.limits.connections_per_session);
            allocation.links.iter().map(move |link| (*link, relay))
        });
        let mut known = 0;
        for (link, relay) in of_sessions {
            known += 1;
            let relay_of = self.links.get(link).map(|link| link.relay);
            assert_eq!(relay_of, Some(relay), "a session's connections are its own");
        }
        assert_eq!(known, self.links.iter().count(), "every one has a session");
    }

    fn touch(&mut self, now: Now) {
        self.catch_up(now);
        self.want_report(now);
    }

    fn want_report(&mut self, now: Now) {
        if self.report_at.is_none() {
            self.report_at = Some(now.mono + REPORT_INTERVAL);
        }
    }

    fn stun<'b>(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: &Message<'b>,
    ) -> Option<Forward<'b>> {
        match (message.class(), message.method()) {
            (Class::Indication, Method::Send) => {
                return self.send_indication(now, &tuple, message);
            }
            // A keep-alive (RFC 8489 §6.3.2).
            (Class::Indication, Method::Binding) => {}
            (Class::Request, Method::Binding) if self.policy.settings.stun => {
                let exchange = self.exchange(tuple, message);
                if let Err(rejection) = self.binding(now, &exchange, message) {
                    self.refuse(now, &exchange, rejection);
                }
            }
            (
                Class::Request,
                Method::Allocate
                | Method::Refresh
                | Method::CreatePermission
                | Method::ChannelBind
                | Method::Connect
                | Method::ConnectionBind,
            ) if self.policy.settings.turn || message.method() != Method::Allocate => {
                self.request(now, tuple, message);
            }
            _ => self.refusals.count(None, RefusalReason::UnexpectedClass),
        }
        None
    }

    /// A request that needs credentials: new, or taken out of the parking lot.
    fn request(&mut self, now: Now, tuple: FiveTuple, message: &Message<'_>) {
        let mut exchange = self.exchange(tuple, message);
        if exchange.method == Method::Allocate && self.replay_allocate(&exchange, message) {
            return;
        }
        if self.hand_over(&exchange, message) || self.take_guest(now, &exchange, message) {
            return;
        }
        let identity = match self.authenticate(now, &mut exchange, message) {
            Ok(identity) => identity,
            Err(Halt::Waiting) => return,
            Err(Halt::Refused(rejection)) => return self.refuse(now, &exchange, rejection),
        };
        exchange.key = identity.key.clone();
        let oauth = self.policy.oauth.as_ref();
        let expected = [oauth.map(|_| AttributeType::ACCESS_TOKEN)];
        let done = Rejection::unknown_attributes_but(message, &expected).and_then(|()| {
            match exchange.method {
                Method::Allocate => self.allocate(now, &exchange, identity, message),
                Method::Refresh => self.refresh(now, &exchange, &identity, message),
                Method::CreatePermission => {
                    self.create_permission(now, &exchange, &identity, message)
                }
                Method::ChannelBind => self.channel_bind(now, &exchange, &identity, message),
                Method::Connect => self.connect(now, &exchange, &identity, message),
                Method::ConnectionBind => self.connection_bind(now, &exchange, &identity, message),
                Method::Binding | Method::Send | Method::Data | Method::ConnectionAttempt => Ok(()),
            }
        });
        if let Err(rejection) = done {
            self.refuse(now, &exchange, rejection);
        }
    }

    fn exchange(&self, tuple: FiveTuple, message: &Message<'_>) -> Exchange {
        let realm = self.arrival_realm(&tuple, message).clone();
        let mut exchange = Exchange::new(tuple, message, realm);
        exchange.fingerprint |= self.policy.settings.fingerprint;
        exchange
    }

    /// The allocation of the 5-tuple, if it belongs to whoever asks: 437 and 441 (RFC 8656 §5).
    fn own_allocation(
        &mut self,
        exchange: &Exchange,
        identity: &Identity,
    ) -> Result<RelayId, RefusalReason> {
        let Some((relay, allocation)) = self.table.by_tuple(&exchange.tuple) else {
            return Err(RefusalReason::NoAllocation);
        };
        if allocation.identity.is_same_owner(identity) {
            // Whoever asks for more knows what the first answer said.
            allocation.success = Box::default();
            allocation.identity.complete(identity);
            Ok(relay)
        } else {
            Err(RefusalReason::WrongUser)
        }
    }

    /// Has the sockets of a session made ready, before it gets its first permission.
    fn prepare_relays(&mut self, relay: RelayId) {
        let Some(allocation) = self.table.get_mut(relay) else {
            return;
        };
        if allocation.is_tcp() || std::mem::replace(&mut allocation.is_prepared, true) {
            return;
        }
        let halves = allocation.halves().map(|half| half.relay);
        self.outputs
            .extend(halves.map(|relay| Output::PrepareRelay { relay }));
    }

    /// Ends a session: port, quota and indices come back at once.
    fn end(&mut self, relay: RelayId, cause: EndCause) {
        let Some(allocation) = self.take_out(relay) else {
            return;
        };
        self.counters.ended.count(cause);
        let halves = allocation.halves().map(|half| half.relay);
        let close = halves.map(|relay| Output::CloseRelay { relay });
        let close: Vec<_> = close.collect();
        self.close_links(allocation.links);
        self.outputs.extend(close);
        self.outputs.push_back(Output::Event(Event::SessionEnded {
            session: allocation.id,
            cause,
            counters: allocation.counters.counters(),
        }));
        // Over UDP a client finds out at its next Refresh; here it can be told at once.
        let by_us = matches!(
            cause,
            EndCause::Killed | EndCause::Revoked(_) | EndCause::Banned | EndCause::Drained
        );
        if by_us && allocation.tuple.transport != Transport::Udp {
            self.disconnect(allocation.tuple);
        }
        self.sweep_expiry();
    }

    /// Takes a session out of the tables and gives back what it held of limits.
    fn take_out(&mut self, relay: RelayId) -> Option<Box<Allocation>> {
        let Some(Slot::Open(mut allocation)) = self.table.remove(relay) else {
            return None;
        };
        limits::count_over_rate(&mut self.refusals, &mut allocation);
        self.shares.leave(allocation.meter.shares);
        self.quota.release(Claimant {
            realm: &allocation.identity.realm.name,
            user: &allocation.identity.user,
            source: allocation.meter.source,
        });
        Some(allocation)
    }

    /// Ends one half of a dual allocation; the other one carries the session on.
    fn end_half(&mut self, relay: RelayId, family: AddressFamily) {
        let Some(allocation) = self.table.get_mut(relay) else {
            return;
        };
        let filed = allocation.first.relay;
        let Some(second) = allocation.second.take() else {
            return;
        };
        let closed = if second.family() == family {
            self.table.remove_second(second.relay);
            *second
        } else {
            let first = std::mem::replace(&mut allocation.first, *second);
            self.table.promote(filed, second.relay);
            first
        };
        self.outputs.push_back(Output::CloseRelay {
            relay: closed.relay,
        });
        let kept = if closed.relay == filed {
            second.relay
        } else {
            filed
        };
        let Some(allocation) = self.table.get_mut(kept) else {
            return;
        };
        allocation.forget_family(family);
        if allocation.changed {
            // Listed under a name that may be free by now.
            self.changed.push(kept);
        }
        allocation.scheduled = allocation.next_deadline();
        let (when, id) = (allocation.scheduled, allocation.id);
        self.expiry.push(when, due(kept, id));
        self.sweep_expiry();
        self.describe(kept);
    }

    /// Tells the books what a session looks like now.
    fn describe(&mut self, relay: RelayId) {
        let Some(allocation) = self.table.get(relay) else {
            return;
        };
        let snapshot = Box::new(allocation.snapshot(self.config.worker, &self.links));
        self.outputs
            .push_back(Output::Event(Event::SessionChanged(snapshot)));
    }

    fn relayed(&mut self, relay: RelayId, bytes: u64) {
        self.counters.relayed_packets += 1;
        self.counters.relayed_bytes += bytes;
        self.mark_changed(relay);
    }

    fn drop_packet(&mut self, relay: RelayId, which: impl Fn(&mut SessionCounters) -> &mut u64) {
        self.counters.dropped_packets += 1;
        if let Some(allocation) = self.table.get_mut(relay) {
            *which(allocation.counters.rare()) += 1;
        }
        self.mark_changed(relay);
    }

    fn mark_changed(&mut self, relay: RelayId) {
        if let Some(allocation) = self.table.get_mut(relay)
            && !allocation.changed
        {
            allocation.changed = true;
            self.changed.push(allocation.first.relay);
        }
    }
}
