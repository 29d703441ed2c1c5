//! What tokens of the admin API and OAuth keys have in common: they let people in, in any realm.

use shared::api::{ApiError, Page, Role};

use super::{Caller, Service, bad, need, need_all_realms};
use crate::control::clock::Moment;

/// The longest time that either is good: ten years.
const MAX_TTL: u64 = 10 * 366 * 86_400;

impl Service {
    /// Admins of the whole cluster only, and only where there is a gateway to keep them.
    pub(super) fn may_manage_access(&self, caller: &Caller) -> Result<(), ApiError> {
        need(caller, Role::Admin)?;
        need_all_realms(caller)?;
        self.need_gateway()
    }
}

/// Whether something can be good for so many seconds; `None`: it has no end.
pub(super) fn check_ttl(secs: Option<u64>) -> Result<(), ApiError> {
    match secs {
        Some(secs) if !(60..=MAX_TTL).contains(&secs) => Err(bad(format!(
            "ttl_secs: 60 to {MAX_TTL}; omit it for no end"
        ))),
        _ => Ok(()),
    }
}

/// All there are, on one page.
pub(super) fn whole<T>(schema: &str, items: Vec<T>) -> Page<T> {
    let count = items.len() as u64;
    Page {
        schema: schema.to_owned(),
        as_of_ms: Moment::now().unix_ms,
        items,
        next: None,
        matched: count,
        total: count,
        missing: Vec::new(),
    }
}
