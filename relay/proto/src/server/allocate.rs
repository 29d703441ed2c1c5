//! Allocate (RFC 8656 §7).

use std::net::SocketAddr;
use std::time::Duration;

use shared::{RelayTransport, SessionId};

use super::connection_bind::is_stream;
use super::exchange::Exchange;
use super::output::*;
use super::rejection::Rejection;
use super::{IcmpBudget, RefusalReason, Server};
use crate::allocation::{Allocation, Channels, Identity, Permissions, Slot};
use crate::five_tuple::{AddressFamily, RelayId, ReservationToken};
use crate::policy::{Policy, QuotaExceeded, QuotaLimits, RealmPolicy};
use crate::stun::{AttributeType, ErrorCode, Message, MessageBuilder};
use crate::time::Now;

/// IANA's protocol numbers, as REQUESTED-TRANSPORT holds them.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// An Allocate whose relay socket is being bound.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) exchange: Exchange,
    pub(crate) identity: Identity,
    transport: RelayTransport,
    lifetime: Duration,
    not_allocated: Option<NotAllocated>,
}

/// The half of a dual allocation that there is none of: ADDRESS-ERROR-CODE.
#[derive(Clone, Copy, Debug)]
struct NotAllocated {
    attribute: AttributeType,
    family: AddressFamily,
}

/// What a well-formed Allocate asks for.
#[derive(Debug)]
struct Wish {
    transport: RelayTransport,
    port: PortRequest,
    family: AddressFamily,
    not_allocated: Option<NotAllocated>,
    lifetime: Option<u32>,
}

impl Server {
    /// Answers a retransmission: with the same bytes once there is an answer, with silence before.
    /// Says whether it was one.
    pub(super) fn replay_allocate(&mut self, exchange: &Exchange, message: &Message<'_>) -> bool {
        match self.table.slot(&exchange.tuple) {
            Some(Slot::Opening(opening)) => opening.exchange.transaction == exchange.transaction,
            Some(Slot::Open(allocation)) => {
                let same = allocation.transaction == exchange.transaction
                    && message.verify_integrity(allocation.identity.key.as_bytes());
                if same {
                    let message = allocation.success.to_vec();
                    self.outputs.push_back(Output::Transmit {
                        tuple: exchange.tuple,
                        message,
                    });
                }
                same
            }
            None => false,
        }
    }

    /// The checks of §7.2 in their order, then the request for a socket.
    pub(super) fn allocate(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: Identity,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        if self.table.slot(&exchange.tuple).is_some() {
            return Err(RefusalReason::AllocationExists.into());
        }
        let wish = Wish::read(exchange, message, &self.policy)?;
        if self.is_blocked(now, &identity) {
            return Err(RefusalReason::UserBlocked.into());
        }
        // A reserved port is kept here and nowhere else.
        let reserved = matches!(wish.port, PortRequest::Reserved(_));
        if !reserved && self.redirect(exchange) {
            return Ok(());
        }
        if !self.policy.accepting {
            return Err(RefusalReason::NotAccepting.into());
        }
        let realm = &identity.realm;
        let limits = QuotaLimits {
            per_user: identity.max_sessions.or(realm.max_sessions_per_user),
            per_realm: realm.max_sessions,
        };
        self.quota
            .try_reserve(&realm.name, &identity.user, limits)
            .map_err(|which| match which {
                QuotaExceeded::User => RefusalReason::UserQuota,
                QuotaExceeded::Realm => RefusalReason::RealmQuota,
            })?;
        let request = RelayRequest {
            server: exchange.tuple.server,
            transport: wish.transport,
            family: wish.family,
            port: wish.port,
        };
        let lifetime = granted(wish.lifetime, realm);
        let exchange = exchange.clone();
        let not_allocated = wish.not_allocated;
        let opening = Opening {
            exchange,
            identity,
            transport: wish.transport,
            lifetime,
            not_allocated,
        };
        let relay = self.table.insert_opening(opening);
        self.outputs.push_back(Output::OpenRelay { relay, request });
        Ok(())
    }

    /// Takes the answer to [`Output::OpenRelay`]: only now the client gets its own.
    pub fn handle_relay_opened(
        &mut self,
        now: Now,
        relay: RelayId,
        opened: Result<RelayOpened, OpenError>,
    ) {
        self.catch_up(now);
        match opened {
            Ok(opened) => self.opened(now, relay, opened),
            Err(error) => self.not_opened(now, relay, error),
        }
    }

    fn opened(&mut self, now: Now, relay: RelayId, opened: RelayOpened) {
        let Some(opening) = self.table.opening(relay) else {
            return;
        };
        let success = opening
            .exchange
            .seal(self.allocate_success(opening, &opened));
        let id = SessionId::new(self.config.session_base, self.next_session);
        self.next_session = self.next_session.wrapping_add(self.config.session_step);
        let expires = now.mono + opening.lifetime;
        let mut allocation = Allocation {
            id,
            tuple: opening.exchange.tuple,
            identity: opening.identity.clone(),
            transaction: opening.exchange.transaction,
            success: success.clone().into_boxed_slice(),
            transport: opening.transport,
            relay_local: opened.local,
            relay_external: opened.external,
            created: now.mono,
            created_unix: now.unix,
            expires,
            lifetime: opening.lifetime,
            permissions: Permissions::default(),
            channels: Channels::default(),
            links: Vec::new(),
            counters: SessionCounters::default(),
            changed: false,
            scheduled: expires,
            to_peer: None,
            to_client: None,
            indications: 0,
            icmp: IcmpBudget::new(now.mono),
        };
        allocation.limit_rate(allocation.identity.realm.max_rate_bps, now.mono);
        // The policy may have changed while the socket was being bound.
        allocation.adopt(&self.policy, now.mono);
        let created = Event::SessionCreated(Box::new(
            allocation.snapshot(self.config.worker, &self.links),
        ));
        let tuple = allocation.tuple;
        self.table.open(relay, allocation);
        self.expiry.push(expires, (relay, id));
        self.counters.allocations += 1;
        self.outputs.push_back(Output::Transmit {
            tuple,
            message: success,
        });
        self.outputs.push_back(Output::Event(created));
    }

    fn allocate_success(&self, opening: &Opening, opened: &RelayOpened) -> MessageBuilder {
        let mut answer = opening
            .exchange
            .success()
            .xor_address(AttributeType::XOR_RELAYED_ADDRESS, opened.external)
            .number(AttributeType::LIFETIME, seconds(opening.lifetime));
        if let Some(token) = opened.reservation {
            answer = answer.attribute(AttributeType::RESERVATION_TOKEN, &token.0);
        }
        let client = opening.exchange.tuple.client;
        answer = answer.xor_address(AttributeType::XOR_MAPPED_ADDRESS, client);
        if let Some(missing) = opening.not_allocated {
            let [_, _, class, number] = ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.to_value();
            let value = [family_byte(missing.family), 0, class, number];
            answer = answer.attribute(missing.attribute, &value);
        }
        self.with_software(answer)
    }

    fn not_opened(&mut self, now: Now, relay: RelayId, error: OpenError) {
        let Some(opening) = self.table.remove_opening(relay) else {
            return;
        };
        let identity = &opening.identity;
        self.quota.release(&identity.realm.name, &identity.user);
        let reason = match error {
            OpenError::PortsExhausted => RefusalReason::PortsExhausted,
            OpenError::UnknownToken => RefusalReason::UnknownReservation,
            OpenError::FamilyUnavailable => RefusalReason::FamilyNotSupported,
            OpenError::Failed => RefusalReason::RelayFailed,
        };
        self.refuse(now, &opening.exchange, reason.into());
    }

    /// SOFTWARE, where it is configured.
    pub(super) fn with_software(&self, answer: MessageBuilder) -> MessageBuilder {
        match &self.policy.settings.software {
            Some(name) => answer.attribute(AttributeType::SOFTWARE, name.as_bytes()),
            None => answer,
        }
    }

    pub(super) fn is_blocked(&self, now: Now, identity: &Identity) -> bool {
        if self.policy.blocks.is_empty() {
            return false;
        }
        let key = (identity.realm.name.clone(), Box::from(&*identity.user));
        self.policy
            .blocks
            .get(&key)
            .is_some_and(|until| now.unix < *until)
    }
}

impl Wish {
    /// Everything that §7.2 checks before capacity and policy, in its order.
    fn read(
        exchange: &Exchange,
        message: &Message<'_>,
        policy: &Policy,
    ) -> Result<Self, Rejection> {
        let transport = requested_transport(exchange, message, policy)?;
        let even = message.attribute(AttributeType::EVEN_PORT);
        let token = message.attribute(AttributeType::RESERVATION_TOKEN);
        let family = message.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY);
        let additional = [
            (
                AttributeType::ADDITIONAL_ADDRESS_FAMILY,
                AttributeType::ADDRESS_ERROR_CODE,
            ),
            (
                AttributeType::DRAFT_ADDITIONAL_ADDRESS_FAMILY,
                AttributeType::DRAFT_ADDRESS_ERROR_CODE,
            ),
        ];
        let additional = additional
            .iter()
            .find_map(|&(asked, answer)| message.attribute(asked).map(|value| (value, answer)));
        if token.is_some() && (even.is_some() || family.is_some() || additional.is_some())
            || family.is_some() && additional.is_some()
        {
            return Err(RefusalReason::ConflictingAttributes.into());
        }
        let port = port_request(even, token)?;
        let mut wish = Self {
            transport,
            port,
            family: requested_family(family)?,
            not_allocated: None,
            lifetime: message.number(AttributeType::LIFETIME)?,
        };
        if let Some((value, attribute)) = additional {
            if port == PortRequest::EvenReserveNext || !matches!(value, [2, _, _, _]) {
                return Err(RefusalReason::ConflictingAttributes.into());
            }
            wish.family = if policy.relay_v4 {
                AddressFamily::V4
            } else {
                AddressFamily::V6
            };
            let family = if policy.relay_v4 {
                AddressFamily::V6
            } else {
                AddressFamily::V4
            };
            wish.not_allocated = Some(NotAllocated { attribute, family });
        }
        // The kept port of a token has the family it has.
        let relayed = match wish.family {
            AddressFamily::V4 => policy.relay_v4,
            AddressFamily::V6 => policy.relay_v6,
        };
        if !relayed && token.is_none() {
            return Err(RefusalReason::FamilyNotSupported.into());
        }
        Ok(wish)
    }
}

/// Reads REQUESTED-TRANSPORT, and makes the checks that TCP needs (RFC 6062 §5.1).
fn requested_transport(
    exchange: &Exchange,
    message: &Message<'_>,
    policy: &Policy,
) -> Result<RelayTransport, RefusalReason> {
    let transport = message.attribute(AttributeType::REQUESTED_TRANSPORT);
    match transport.ok_or(RefusalReason::MissingAttribute)? {
        [UDP, _, _, _] => return Ok(RelayTransport::Udp),
        [TCP, _, _, _] if policy.settings.tcp_relay.enabled => {}
        [_, _, _, _] => return Err(RefusalReason::UnsupportedTransport),
        _ => return Err(RefusalReason::MalformedAttribute),
    }
    if !is_stream(&exchange.tuple) {
        return Err(RefusalReason::TcpOverDatagrams);
    }
    let of_datagrams = [
        AttributeType::DONT_FRAGMENT,
        AttributeType::EVEN_PORT,
        AttributeType::RESERVATION_TOKEN,
    ];
    if of_datagrams
        .iter()
        .any(|kind| message.attribute(*kind).is_some())
    {
        return Err(RefusalReason::ConflictingAttributes);
    }
    Ok(RelayTransport::Tcp)
}

fn port_request(even: Option<&[u8]>, token: Option<&[u8]>) -> Result<PortRequest, Rejection> {
    Ok(match (even, token) {
        (None, None) => PortRequest::Any,
        (Some([flags]), _) if flags & 0x80 != 0 => PortRequest::EvenReserveNext,
        (Some([_]), _) => PortRequest::Even,
        (Some(_), _) => return Err(RefusalReason::MalformedAttribute.into()),
        (None, Some(token)) => {
            let token = token
                .try_into()
                .map_err(|_| RefusalReason::MalformedAttribute)?;
            PortRequest::Reserved(ReservationToken(token))
        }
    })
}

/// Reads REQUESTED-ADDRESS-FAMILY; without one it is IPv4.
pub(super) fn requested_family(value: Option<&[u8]>) -> Result<AddressFamily, RefusalReason> {
    match value {
        None | Some([1, _, _, _]) => Ok(AddressFamily::V4),
        Some([2, _, _, _]) => Ok(AddressFamily::V6),
        Some([_, _, _, _]) => Err(RefusalReason::FamilyNotSupported),
        Some(_) => Err(RefusalReason::MalformedAttribute),
    }
}

fn family_byte(family: AddressFamily) -> u8 {
    match family {
        AddressFamily::V4 => 1,
        AddressFamily::V6 => 2,
    }
}

/// The lifetime granted: what is asked, but not above the realm's maximum nor below its default
/// (§7.2).
pub(super) fn granted(asked: Option<u32>, realm: &RealmPolicy) -> Duration {
    let asked = asked.map_or(realm.default_lifetime, |s| Duration::from_secs(s.into()));
    asked.min(realm.max_lifetime).max(realm.default_lifetime)
}

pub(super) fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// Whether an address belongs to a family.
pub(super) fn is_of(family: AddressFamily, address: SocketAddr) -> bool {
    AddressFamily::of(address) == family
}
