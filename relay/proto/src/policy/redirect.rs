//! Where new allocations are sent instead of being served (RFC 8489 §10).

use std::net::SocketAddr;

use shared::Transport;

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
    /// Its share among those that a client could be told.
    pub weight: u32,
}
