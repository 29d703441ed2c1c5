//! Session quotas, counted outside the core because they span workers.

use std::net::IpAddr;

use shared::Realm;

use super::Budgets;

/// Counts sessions and hands out the budgets that they share. Touched on Allocate and at the end of
/// a session only, never per packet.
pub trait Quota: Send + Sync + std::fmt::Debug {
    /// Counts one more session, or says which limit is reached.
    ///
    /// # Errors
    /// The limit that is reached; nothing is counted then.
    fn try_reserve(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded>;

    /// Counts one session less; the claimant is that of [`try_reserve`](Self::try_reserve).
    fn release(&self, claimant: Claimant<'_>);

    /// Whether a place has to be asked for first, where the sessions of all nodes are counted:
    /// [`Output::ClaimPlace`](crate::Output::ClaimPlace).
    fn asks(&self, _: Claimant<'_>, _: QuotaLimits) -> bool {
        false
    }

    /// Takes back a place that was granted and that no session uses.
    fn give_back(&self, _: &Realm, _: &str) {}
}

/// What came of asking for a place, where the sessions of all nodes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceAnswer {
    /// One is kept for the session.
    Granted,
    /// A limit is reached.
    Exceeded(QuotaExceeded),
}

/// Whose session is counted.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The realm.
    pub realm: &'a Realm,
    /// The user. An empty one has no limit of its own: many deployments mint usernames that are
    /// only an expiry time.
    pub user: &'a str,
    /// Where the session was asked for from, as [`source_of`](super::source_of) says.
    pub source: IpAddr,
}

/// The limits in force for one user; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Sessions of the user.
    pub per_user: Option<u32>,
    /// Sessions of the realm.
    pub per_realm: Option<u32>,
    /// Sessions of the source address.
    pub per_source: Option<u32>,
    /// Sessions of the node.
    pub per_node: Option<u32>,
    /// The user has a rate limit of its own, so that its budget is one that limits.
    pub has_own_rate: bool,
    /// A place was granted where all nodes count, which judged the user's limit and the realm's: it
    /// is used up by a session that is counted.
    pub granted: bool,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaExceeded {
    /// The user's: 486.
    User,
    /// The realm's: 486.
    Realm,
    /// The source address's: 486.
    Source,
    /// The node's: 508.
    Node,
}
