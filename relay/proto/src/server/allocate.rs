//! Allocate (RFC 8656 §7).

use std::time::Duration;

use shared::RelayTransport;

use super::authenticate::Halt;
use super::connection_bind::is_stream;
use super::exchange::Exchange;
use super::opening::{Opening, SecondWish};
use super::output::*;
use super::rejection::Rejection;
use super::{RefusalReason, Server};
use crate::allocation::{Identity, Slot};
use crate::auth::parking::Wanted;
use crate::five_tuple::{AddressFamily, ReservationToken};
use crate::policy::{
    Budgets, Claimant, NodeSettings, PlaceAnswer, Policy, QuotaExceeded, QuotaLimits, RealmPolicy,
    source_of,
};
use crate::stun::{AttributeType, Message, MessageBuilder};
use crate::time::Now;

/// IANA's protocol numbers, as REQUESTED-TRANSPORT holds them.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What a well-formed Allocate asks for.
#[derive(Debug)]
struct Wish {
    transport: RelayTransport,
    port: PortRequest,
    family: AddressFamily,
    additional: Option<SecondWish>,
    lifetime: Option<u32>,
}

impl Server {
    /// Answers a retransmission: with the same bytes once there is an answer, with silence before,
    /// and with silence when the client has shown that it got the answer. Says whether it was one.
    pub(super) fn replay_allocate(&mut self, exchange: &Exchange, message: &Message<'_>) -> bool {
        match self.table.slot(&exchange.tuple) {
            Some(Slot::Opening(opening)) => opening.exchange.transaction == exchange.transaction,
            Some(Slot::Open(allocation)) => {
                let same = allocation.transaction == exchange.transaction
                    && allocation.identity.verifies(message);
                if same && !allocation.success.is_empty() {
                    let message = allocation.success.to_vec();
                    self.outputs.push_back(Output::Transmit {
                        tuple: exchange.tuple,
                        message,
                    });
                }
                same
            }
            Some(Slot::Second(_)) | None => false,
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
        self.vacate(&exchange.tuple);
        if self.table.slot(&exchange.tuple).is_some() {
            return Err(RefusalReason::AllocationExists.into());
        }
        let wish = Wish::read(exchange, message, &self.policy, &identity.realm)?;
        let is_mobile = self.wants_mobility(message)?;
        if let Some(reason) = self.barred(now, exchange, &identity) {
            return Err(reason.into());
        }
        // A reserved port is kept here and nowhere else.
        let reserved = matches!(wish.port, PortRequest::Reserved(_));
        if !reserved && self.redirect(now, exchange, &identity.realm) {
            return Ok(());
        }
        if !self.policy.accepting {
            return Err(RefusalReason::NotAccepting.into());
        }
        if self.policy.drain.is_some() {
            return Err(RefusalReason::Draining.into());
        }
        if self.policy.store_away && identity.realm.needs_store {
            return Err(RefusalReason::StoreAway.into());
        }
        let Some(budgets) = self.reserve(now, exchange, &identity, message)? else {
            return Ok(());
        };
        let realm = &identity.realm;
        let request = RelayRequest {
            server: exchange.tuple.server,
            transport: wish.transport,
            family: wish.family,
            port: wish.port,
        };
        let lifetime = granted(wish.lifetime, realm, &self.policy.settings);
        let lifetime = identity.cap(lifetime, now.unix);
        let mut opening = Opening::new(
            exchange.clone(),
            identity,
            budgets,
            wish.transport,
            lifetime,
        );
        opening.is_mobile = is_mobile;
        self.open_relays(opening, request, wish.additional);
        Ok(())
    }

    /// Counts the session; `None`: the request is parked until there is an answer where all nodes count.
    fn reserve(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        message: &Message<'_>,
    ) -> Result<Option<Budgets>, Rejection> {
        let realm = &identity.realm;
        let mut limits = QuotaLimits {
            per_user: identity.max_sessions.or(realm.max_sessions_per_user),
            per_realm: realm.max_sessions,
            per_source: self.policy.settings.max_sessions_per_source,
            per_node: self.policy.settings.max_sessions,
            has_own_rate: identity.max_rate_bps.is_some(),
            granted: false,
        };
        let claimant = Claimant {
            realm: &realm.name,
            user: &identity.user,
            source: source_of(exchange.tuple.client.ip()),
        };
        let answer = self.place.as_ref().filter(|(claim, _)| {
            (claim.tuple, &claim.realm, &*claim.user)
                == (exchange.tuple, claimant.realm, &*identity.user)
        });
        match answer {
            Some((_, PlaceAnswer::Granted)) => limits.granted = true,
            Some((_, PlaceAnswer::Exceeded(which))) => return Err(over(*which).into()),
            None if self.quota.asks(claimant, limits) => {
                let question = Output::ClaimPlace(Box::new(PlaceClaim {
                    tuple: exchange.tuple,
                    realm: realm.name.clone(),
                    user: Box::from(&*identity.user),
                    per_user: limits.per_user.filter(|_| !identity.user.is_empty()),
                    per_realm: limits.per_realm,
                }));
                let wanted = Wanted::Place(exchange.tuple);
                return match self.park(now, exchange, message, &wanted, question) {
                    Halt::Waiting => Ok(None),
                    Halt::Refused(rejection) => Err(rejection),
                };
            }
            None => {}
        }
        let budgets = self.quota.try_reserve(claimant, limits).map_err(over)?;
        if limits.granted {
            self.place = None;
        }
        Ok(Some(budgets))
    }

    /// SOFTWARE, where it is configured.
    pub(super) fn with_software(&self, answer: MessageBuilder) -> MessageBuilder {
        match &self.policy.settings.software {
            Some(name) => answer.attribute(AttributeType::SOFTWARE, name.as_bytes()),
            None => answer,
        }
    }

    /// Why an operator wants nothing to begin or to go on for this client, if so.
    pub(super) fn barred(
        &self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
    ) -> Option<RefusalReason> {
        let policy = &self.policy;
        if policy.banned_clients.contains(exchange.tuple.client.ip()) {
            return Some(RefusalReason::ClientBanned);
        }
        if policy.blocks.is_empty() {
            return None;
        }
        let key = (identity.realm.name.clone(), Box::from(&*identity.user));
        let until = policy.blocks.get(&key)?;
        (now.unix < *until).then_some(RefusalReason::UserBlocked)
    }
}

impl Wish {
    /// Everything that §7.2 checks before capacity and policy, in its order.
    fn read(
        exchange: &Exchange,
        message: &Message<'_>,
        policy: &Policy,
        realm: &RealmPolicy,
    ) -> Result<Self, Rejection> {
        let tcp = realm.tcp_relay.unwrap_or(policy.settings.tcp_relay.enabled);
        let transport = requested_transport(exchange, message, policy.settings.udp_relay, tcp)?;
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
            additional: None,
            lifetime: message.number(AttributeType::LIFETIME)?,
        };
        if let Some((value, error_code)) = additional {
            if port == PortRequest::EvenReserveNext || !matches!(value, [2, _, _, _]) {
                return Err(RefusalReason::ConflictingAttributes.into());
            }
            if !policy.relay_v4 {
                wish.family = AddressFamily::V6;
            }
            wish.additional = Some(SecondWish {
                family: wish.family.other(),
                error_code,
                // RFC 6062 knows no dual allocations.
                is_relayed: policy.relay_v4 && policy.relay_v6 && transport == RelayTransport::Udp,
            });
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

/// Reads REQUESTED-TRANSPORT, and makes the checks that TCP needs (RFC 6062 §5.1). `tcp`: whether the
/// realm's clients may have it.
fn requested_transport(
    exchange: &Exchange,
    message: &Message<'_>,
    udp: bool,
    tcp: bool,
) -> Result<RelayTransport, RefusalReason> {
    let transport = message.attribute(AttributeType::REQUESTED_TRANSPORT);
    match transport.ok_or(RefusalReason::MissingAttribute)? {
        [UDP, _, _, _] if udp => return Ok(RelayTransport::Udp),
        [TCP, _, _, _] if tcp => {}
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

fn over(which: QuotaExceeded) -> RefusalReason {
    match which {
        QuotaExceeded::User => RefusalReason::UserQuota,
        QuotaExceeded::Realm => RefusalReason::RealmQuota,
        QuotaExceeded::Source => RefusalReason::SourceQuota,
        QuotaExceeded::Node => RefusalReason::NodeQuota,
    }
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

/// The lifetime granted: what is asked, but not above the realm's maximum nor below its default
/// (§7.2), or below the node's minimum where it has one.
pub(super) fn granted(
    asked: Option<u32>,
    realm: &RealmPolicy,
    settings: &NodeSettings,
) -> Duration {
    let default = realm.default_lifetime;
    let shortest = settings
        .min_lifetime
        .map_or(default, |min| min.min(default));
    let asked = asked.map_or(default, |s| Duration::from_secs(s.into()));
    asked.min(realm.max_lifetime).max(shortest)
}

pub(super) fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}
