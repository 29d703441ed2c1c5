//! Where new allocations are sent instead of being served (RFC 8489 §10).

use std::net::SocketAddr;

use shared::{Realm, Transport};

/// One alternate server. A policy names those only that may be used now: never this node itself,
/// and none that is known to be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The client transport that is redirected.
    pub transport: Transport,
    /// ALTERNATE-SERVER: told to clients of its address family.
    pub target: SocketAddr,
    /// ALTERNATE-DOMAIN, where the target has another certificate.
    pub domain: Option<Box<str>>,
    /// Whose clients it is for: those of this realm, and of realms that clients reach at any listener by a web
    /// origin or a server's name. `None`: everybody's.
    pub realm: Option<Realm>,
    /// Its share among those that a client could be told.
    pub weight: u32,
}
