//! Refusals: counted by realm and reason, and told one by one within a budget.
//!
//! Told are refusals of requests whose source proved itself (a nonce of ours came back), and of
//! datagrams to a denied peer. A report takes at most [`MAX_TOLD`] rows along, and reports are a
//! second apart: what exceeds that is only counted, so that a flood costs the control plane no more
//! than a quiet second does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use shared::{Realm, SessionId, Username};

use super::{RefusalReason, Refused};

/// Counters kept; what comes on top is counted without its realm.
const MAX_ROWS: usize = 4096;
/// Rows told per report; equal refusals share one.
pub(crate) const MAX_TOLD: usize = 64;
/// Of those, rows of one source address: a loud client does not hide the others.
pub(crate) const MAX_TOLD_PER_SOURCE: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    rows: HashMap<(Option<Realm>, RefusalReason), u64>,
    told: Vec<Refused>,
}

/// One refusal, borrowed from where it happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence<'a> {
    pub(crate) at: Instant,
    pub(crate) client: SocketAddr,
    pub(crate) realm: &'a Realm,
    pub(crate) username: Option<&'a Username>,
    pub(crate) session: Option<SessionId>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) reason: RefusalReason,
    pub(crate) times: u64,
}

impl Occurrence<'_> {
    fn equals(&self, row: &Refused) -> bool {
        row.client.ip() == self.client.ip()
            && row.reason == self.reason
            && row.session == self.session
            && row.peer == self.peer
            && row.username.as_ref() == self.username
            && row.realm == *self.realm
    }
}

impl Refusals {
    pub(crate) fn count(&mut self, realm: Option<&Realm>, reason: RefusalReason) {
        self.count_many(realm, reason, 1);
    }

    pub(crate) fn count_many(&mut self, realm: Option<&Realm>, reason: RefusalReason, times: u64) {
        let mut key = (realm.cloned(), reason);
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            key.0 = None;
        }
        *self.rows.entry(key).or_default() += times;
    }

    /// Keeps a refusal for the next report; `false` when it does not fit. `user` is the id part of
    /// a time-limited username, asked for only where a new row needs it.
    pub(crate) fn tell(
        &mut self,
        one: Occurrence<'_>,
        user: impl FnOnce() -> Option<Arc<str>>,
    ) -> bool {
        let mut of_source = 0;
        for row in &mut self.told {
            if one.equals(row) {
                row.client = one.client;
                row.at = one.at;
                row.count += one.times;
                return true;
            }
            of_source += usize::from(row.client.ip() == one.client.ip());
        }
        let fits = self.told.len() < MAX_TOLD && of_source < MAX_TOLD_PER_SOURCE;
        if fits {
            self.told.push(Refused {
                reason: one.reason,
                client: one.client,
                realm: one.realm.clone(),
                username: one.username.cloned(),
                user: user(),
                session: one.session,
                peer: one.peer,
                at: one.at,
                count: one.times,
            });
        }
        fits
    }

    /// What was told since the last report. Datagrams are counted here, per row and not one by
    /// one: a counter's key takes memory, and these come as fast as packets do.
    pub(crate) fn take_told(&mut self) -> Vec<Refused> {
        let told = std::mem::take(&mut self.told);
        for row in told.iter().filter(|row| row.reason.is_datagram()) {
            self.count_many(Some(&row.realm), row.reason, row.count);
        }
        told
    }

    pub(crate) fn rows(&self) -> Vec<(Option<Realm>, RefusalReason, Option<u16>, u64)> {
        let row = |((realm, reason), count): (&(Option<Realm>, RefusalReason), &u64)| {
            (
                realm.clone(),
                *reason,
                reason.code().map(|code| code.get()),
                *count,
            )
        };
        self.rows.iter().map(row).collect()
    }
}
