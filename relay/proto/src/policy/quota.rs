//! Session quotas, counted outside the core because they span workers.

use shared::Realm;

/// Counts sessions per user and realm. Touched on Allocate and at the end of a session only, never
/// per packet.
pub trait Quota: Send + Sync + std::fmt::Debug {
    /// Counts one more session, or says which limit is reached. An empty `user` has no limit of its
    /// own: many deployments mint usernames that are only an expiry time.
    ///
    /// # Errors
    /// The limit that is reached; nothing is counted then.
    fn try_reserve(
        &self,
        realm: &Realm,
        user: &str,
        limits: QuotaLimits,
    ) -> Result<(), QuotaExceeded>;

    /// Counts one session less.
    fn release(&self, realm: &Realm, user: &str);
}

/// The limits in force for one user; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Sessions of the user.
    pub per_user: Option<u32>,
    /// Sessions of the realm.
    pub per_realm: Option<u32>,
}

/// Which limit is reached: 486.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaExceeded {
    /// The user's.
    User,
    /// The realm's.
    Realm,
}
