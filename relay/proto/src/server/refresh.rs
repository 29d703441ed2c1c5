//! Refresh (RFC 8656 §8).

use super::allocate::{granted, requested_family, seconds};
use super::exchange::Exchange;
use super::rejection::Rejection;
use super::{EndCause, RefusalReason, Server};
use crate::allocation::Identity;
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
        let relay = self.own_allocation(exchange, identity)?;
        let asked = message.number(AttributeType::LIFETIME)?;
        let family = message.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY);
        let blocked = self.is_blocked(now, identity);
        let Some(allocation) = self.table.get_mut(relay) else {
            return Err(RefusalReason::NoAllocation.into());
        };
        if family.is_some() {
            let same = match requested_family(family) {
                Ok(family) => family == allocation.family(),
                Err(RefusalReason::FamilyNotSupported) => false,
                Err(reason) => return Err(reason.into()),
            };
            if !same {
                return Err(RefusalReason::FamilyMismatch.into());
            }
        }
        if asked == Some(0) {
            self.end(relay, EndCause::Released);
            self.respond(
                exchange,
                exchange.success().number(AttributeType::LIFETIME, 0),
            );
            return Ok(());
        }
        if blocked {
            return Err(RefusalReason::UserBlocked.into());
        }
        allocation.lifetime = granted(asked, &allocation.identity.realm);
        allocation.expires = now.mono + allocation.lifetime;
        let lifetime = seconds(allocation.lifetime);
        self.reschedule(relay);
        let answer = exchange.success().number(AttributeType::LIFETIME, lifetime);
        let answer = self.with_software(answer);
        self.respond(exchange, answer);
        self.describe(relay);
        Ok(())
    }
}
