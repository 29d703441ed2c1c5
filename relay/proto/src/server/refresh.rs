//! Refresh (RFC 8656 §8).

use super::allocate::{granted, requested_family, seconds};
use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{EndCause, RefusalReason, Server};
use crate::allocation::Identity;
use crate::five_tuple::AddressFamily;
use crate::policy::Drain;
use crate::stun::{AttributeType, Message};
use crate::time::Now;

impl Server {
    pub(super) fn refresh(
        &mut self,
        now: Now,
        exchange: &Exchange,
        identity: &Identity,
        message: &Message<'_>,
    ) -> Result<(), Rejection> {
        let asked = message.number(AttributeType::LIFETIME)?;
        let family = refreshed_family(message)?;
        let barred = self.barred(now, exchange, identity);
        // Whoever gives a session back may always do so.
        let is_last = self.policy.drain == Some(Drain::EndByLifetime) && asked != Some(0);
        let (relay, ticket) = match message.attribute(AttributeType::MOBILITY_TICKET) {
            Some(_) if is_last && barred.is_none() => return Err(RefusalReason::Draining.into()),
            Some(ticket) => {
                if let Some(reason) = barred {
                    return Err(reason.into());
                }
                let (relay, next) = self.move_here(now, exchange, identity, ticket, family)?;
                (relay, Some(next))
            }
            None => (self.own_allocation(exchange, identity)?, None),
        };
        let Some(allocation) = self.table.get_mut(relay) else {
            return Err(RefusalReason::NoAllocation.into());
        };
        if asked == Some(0) && allocation.half_ended == Some(exchange.transaction) {
            // The answer was lost: the half is gone, and so it is told again.
            self.released(exchange);
            return Ok(());
        }
        if family.is_some_and(|family| allocation.half(family).is_none()) {
            return Err(RefusalReason::FamilyMismatch.into());
        }
        if asked == Some(0) {
            match family {
                Some(family) if allocation.second.is_some() => {
                    allocation.half_ended = Some(exchange.transaction);
                    self.end_half(relay, family);
                }
                _ => self.end(relay, EndCause::Released),
            }
            self.released(exchange);
            return Ok(());
        }
        if let Some(reason) = barred {
            return Err(reason.into());
        }
        if is_last {
            return Err(RefusalReason::Draining.into());
        }
        if identity.token.is_some() {
            allocation.identity.renew(identity);
        }
        let granted = granted(asked, &allocation.identity.realm, &self.policy.settings);
        allocation.lifetime = allocation.identity.cap(granted, now.unix);
        let expires = now.mono + allocation.lifetime;
        let lifetime = seconds(allocation.lifetime);
        for half in allocation.halves_mut() {
            if family.is_none_or(|family| half.family() == family) {
                half.expires = expires;
            }
        }
        self.reschedule(relay);
        let mut answer = exchange.success().number(AttributeType::LIFETIME, lifetime);
        if let Some(ticket) = ticket {
            answer = answer.attribute(AttributeType::MOBILITY_TICKET, &ticket);
        }
        let answer = self.with_software(answer);
        self.respond(exchange, answer);
        self.describe(relay);
        Ok(())
    }

    fn released(&mut self, exchange: &Exchange) {
        let answer = exchange.success().number(AttributeType::LIFETIME, 0);
        let answer = self.with_software(answer);
        self.respond(exchange, answer);
    }
}

/// The half of a dual allocation that a Refresh is about; both without REQUESTED-ADDRESS-FAMILY
/// (§8.1).
fn refreshed_family(message: &Message<'_>) -> Result<Option<AddressFamily>, RefusalReason> {
    let value = message.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY);
    match value.map(|value| requested_family(Some(value))) {
        None => Ok(None),
        Some(Ok(family)) => Ok(Some(family)),
        // No allocation has a family that does not exist.
        Some(Err(RefusalReason::FamilyNotSupported)) => Err(RefusalReason::FamilyMismatch),
        Some(Err(reason)) => Err(reason),
    }
}
