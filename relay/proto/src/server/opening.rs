//! From an Allocate that passed its checks to its answer: the relay sockets (RFC 8656 §7.2).

use std::net::IpAddr;
use std::time::Duration;

use shared::{RelayTransport, SessionId};

use super::allocate::seconds;
use super::exchange::Exchange;
use super::output::*;
use super::timeout::due;
use super::{IcmpBudget, Mobility, RefusalReason, Server, SessionTally};
use crate::allocation::{Allocation, Channels, Half, Identity, Meter, Permissions};
use crate::five_tuple::{AddressFamily, RelayId};
use crate::policy::{Budgets, Claimant, source_of};
use crate::stun::{AttributeType, ErrorCode, MessageBuilder};
use crate::time::Now;

/// An Allocate whose relay sockets are being bound.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) exchange: Exchange,
    pub(crate) identity: Identity,
    transport: RelayTransport,
    lifetime: Duration,
    /// The client wants to move (RFC 8016).
    pub(super) is_mobile: bool,
    /// The source address that the session counts for.
    source: IpAddr,
    budgets: Budgets,
    /// What became of the first socket.
    first: Option<Result<RelayOpened, OpenError>>,
    additional: Option<Additional>,
}

impl Opening {
    pub(super) fn new(
        exchange: Exchange,
        identity: Identity,
        budgets: Budgets,
        transport: RelayTransport,
        lifetime: Duration,
    ) -> Self {
        Self {
            source: source_of(exchange.tuple.client.ip()),
            budgets,
            exchange,
            identity,
            transport,
            lifetime,
            is_mobile: false,
            first: None,
            additional: None,
        }
    }

    /// The name of the second socket.
    pub(crate) fn second(&self) -> Option<RelayId> {
        self.additional?.relay
    }

    fn note(&mut self, is_first: bool, opened: Result<RelayOpened, OpenError>) {
        if is_first {
            self.first = Some(opened);
        } else if let Some(additional) = &mut self.additional {
            additional.opened = Some(opened);
        }
    }
}

/// The second address that a client asks for (ADDITIONAL-ADDRESS-FAMILY).
#[derive(Clone, Copy, Debug)]
pub(super) struct SecondWish {
    /// Its family; the first has the other one.
    pub(super) family: AddressFamily,
    /// The number that ADDRESS-ERROR-CODE has for this client.
    pub(super) error_code: AttributeType,
    /// The node relays both families.
    pub(super) is_relayed: bool,
}

/// The second socket of an allocation to be.
#[derive(Clone, Copy, Debug)]
struct Additional {
    wish: SecondWish,
    /// Its name; `None`: the node does not relay that family.
    relay: Option<RelayId>,
    /// What became of it.
    opened: Option<Result<RelayOpened, OpenError>>,
}

impl Additional {
    fn is_awaited(&self) -> bool {
        self.relay.is_some() && self.opened.is_none()
    }
}

/// The half of a dual allocation that there is none of: ADDRESS-ERROR-CODE.
#[derive(Clone, Copy, Debug)]
struct NotAllocated {
    attribute: AttributeType,
    family: AddressFamily,
    code: ErrorCode,
}

/// The sockets of an allocation to be, of which there is one at least.
#[derive(Clone, Copy, Debug)]
struct Bound {
    first: RelayOpened,
    second: Option<RelayOpened>,
    not_allocated: Option<NotAllocated>,
}

impl Bound {
    fn one(first: RelayOpened, not_allocated: Option<NotAllocated>) -> Self {
        Self {
            first,
            second: None,
            not_allocated,
        }
    }
}

impl Server {
    /// Asks for one socket, or for two.
    pub(super) fn open_relays(
        &mut self,
        opening: Opening,
        request: RelayRequest,
        second: Option<SecondWish>,
    ) {
        let first = self.table.insert_opening(opening);
        self.outputs.push_back(Output::OpenRelay {
            relay: first,
            request,
        });
        let Some(wish) = second else { return };
        let relay = wish.is_relayed.then(|| self.table.insert_second(first));
        if let Some((_, opening)) = self.table.opening_mut(first) {
            opening.additional = Some(Additional {
                wish,
                relay,
                opened: None,
            });
        }
        if let Some(relay) = relay {
            let family = wish.family;
            let request = RelayRequest { family, ..request };
            self.outputs.push_back(Output::OpenRelay { relay, request });
        }
    }

    /// Takes the answer to [`Output::OpenRelay`]: only when all sockets are answered the client
    /// gets its own.
    pub fn handle_relay_opened(
        &mut self,
        now: Now,
        relay: RelayId,
        opened: Result<RelayOpened, OpenError>,
    ) {
        self.catch_up(now);
        let Some((filed, opening)) = self.table.opening_mut(relay) else {
            return;
        };
        opening.note(relay == filed, opened);
        let Some(first) = opening.first else { return };
        if opening.additional.is_some_and(|second| second.is_awaited()) {
            return;
        }
        let second = opening.additional.take();
        self.settle(now, filed, first, second);
    }

    /// Decides about an allocation when all its sockets are there or refused (§7.2 step 9).
    fn settle(
        &mut self,
        now: Now,
        relay: RelayId,
        first: Result<RelayOpened, OpenError>,
        second: Option<Additional>,
    ) {
        let Some(Additional {
            wish,
            relay: slot,
            opened,
        }) = second
        else {
            return match first {
                Ok(first) => self.opened(now, relay, None, &Bound::one(first, None)),
                Err(error) => self.not_opened(now, relay, error),
            };
        };
        let second = opened.unwrap_or(Err(OpenError::FamilyUnavailable));
        let missing = |family, error| NotAllocated {
            attribute: wish.error_code,
            family,
            code: refusal(error).code().unwrap_or(ErrorCode::SERVER_ERROR),
        };
        match (first, second, slot) {
            (Ok(first), Ok(second), Some(_)) => {
                let bound = Bound {
                    second: Some(second),
                    ..Bound::one(first, None)
                };
                self.opened(now, relay, slot, &bound);
            }
            (Err(error), Ok(second), Some(slot)) => {
                self.table.promote(relay, slot);
                let bound = Bound::one(second, Some(missing(wish.family.other(), error)));
                self.opened(now, slot, None, &bound);
            }
            (first, second, slot) => {
                if let Some(slot) = slot {
                    self.table.remove_second(slot);
                }
                let error = second.err().unwrap_or(OpenError::FamilyUnavailable);
                let missing = Some(missing(wish.family, error));
                match first {
                    Ok(first) => self.opened(now, relay, None, &Bound::one(first, missing)),
                    Err(error) => self.not_opened(now, relay, error),
                }
            }
        }
    }

    fn opened(&mut self, now: Now, relay: RelayId, second: Option<RelayId>, bound: &Bound) {
        let Some((_, opening)) = self.table.opening_mut(relay) else {
            return;
        };
        let (exchange, identity) = (opening.exchange.clone(), opening.identity.clone());
        let (transport, lifetime) = (opening.transport, opening.lifetime);
        let mobility = opening.is_mobile.then(Box::<Mobility>::default);
        let meter = Meter::new(opening.source, self.shares.join(&opening.budgets));
        let id = SessionId::new(self.config.session_base, self.next_session);
        self.next_session = self.next_session.wrapping_add(self.config.session_step);
        let mut success = self.allocate_success(&exchange, lifetime, bound);
        if mobility.is_some() {
            let ticket = self.ticket(id, 0);
            success = success.attribute(AttributeType::MOBILITY_TICKET, &ticket);
        }
        let success = exchange.seal(success);
        let expires = now.mono + lifetime;
        let half = |relay, opened: RelayOpened| Half {
            relay,
            local: opened.local,
            external: opened.external,
            expires,
        };
        let second = second.zip(bound.second);
        let mut allocation = Allocation {
            id,
            tuple: exchange.tuple,
            identity,
            transaction: exchange.transaction,
            success: success.clone().into_boxed_slice(),
            transport,
            first: half(relay, bound.first),
            second: second.map(|(relay, opened)| Box::new(half(relay, opened))),
            mobility,
            half_ended: None,
            created: now.mono,
            created_unix: now.unix,
            lifetime,
            permissions: Permissions::default(),
            channels: Channels::default(),
            links: Vec::new(),
            counters: SessionTally::default(),
            is_prepared: false,
            changed: false,
            scheduled: expires,
            meter,
            indications: 0,
            icmp: IcmpBudget::new(now.mono),
        };
        // By the policy in force now, not by that of the request.
        allocation.adopt(&self.policy, now.mono);
        let scheduled = allocation.next_deadline();
        allocation.scheduled = scheduled;
        let created = Event::SessionCreated(Box::new(
            allocation.snapshot(self.config.worker, &self.links),
        ));
        let tuple = allocation.tuple;
        self.table.open(relay, allocation);
        self.expiry.push(scheduled, due(relay, id));
        self.counters.allocations += 1;
        self.outputs.push_back(Output::Transmit {
            tuple,
            message: success,
        });
        self.outputs.push_back(Output::Event(created));
    }

    fn allocate_success(
        &self,
        exchange: &Exchange,
        lifetime: Duration,
        bound: &Bound,
    ) -> MessageBuilder {
        let relayed = AttributeType::XOR_RELAYED_ADDRESS;
        let mut answer = exchange
            .success()
            .xor_address(relayed, bound.first.external);
        if let Some(second) = bound.second {
            answer = answer.xor_address(relayed, second.external);
        }
        answer = answer.number(AttributeType::LIFETIME, seconds(lifetime));
        if let Some(token) = bound.first.reservation {
            answer = answer.attribute(AttributeType::RESERVATION_TOKEN, &token.0);
        }
        answer = answer.xor_address(AttributeType::XOR_MAPPED_ADDRESS, exchange.tuple.client);
        if let Some(missing) = bound.not_allocated {
            let [_, _, class, number] = missing.code.to_value();
            let value = [family_byte(missing.family), 0, class, number];
            answer = answer.attribute(missing.attribute, &value);
        }
        self.with_software(answer)
    }

    fn not_opened(&mut self, now: Now, relay: RelayId, error: OpenError) {
        let Some(opening) = self.table.remove_opening(relay) else {
            return;
        };
        self.quota.release(Claimant {
            realm: &opening.identity.realm.name,
            user: &opening.identity.user,
            source: opening.source,
        });
        self.refuse(now, &opening.exchange, refusal(error).into());
    }
}

fn family_byte(family: AddressFamily) -> u8 {
    match family {
        AddressFamily::V4 => 1,
        AddressFamily::V6 => 2,
    }
}

fn refusal(error: OpenError) -> RefusalReason {
    match error {
        OpenError::PortsExhausted => RefusalReason::PortsExhausted,
        OpenError::UnknownToken => RefusalReason::UnknownReservation,
        OpenError::FamilyUnavailable => RefusalReason::FamilyNotSupported,
        OpenError::Failed => RefusalReason::RelayFailed,
    }
}
