//! What a listener knows of its sisters, for NAT behaviour discovery (RFC 5780).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Settings of NAT behaviour discovery, where it is switched on.
///
/// Nobody authenticates for it, so answers that reach where the request did not come from, or that
/// are longer than others, have switches of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatDiscovery {
    /// For each listener with an alternate: the other address and the other port (Ca:Cp of RFC 5780
    /// §6.1). All four combinations of two addresses and two ports are listeners.
    pub others: HashMap<SocketAddr, SocketAddr>,
    /// Local address to the public one in front of it.
    pub public: Vec<(IpAddr, IpAddr)>,
    /// Answer PADDING, never with more bytes than the request had.
    pub padding: bool,
    /// Answer to the port that RESPONSE-PORT names.
    pub response_port: bool,
}

impl NatDiscovery {
    /// The address that clients know a local one by.
    #[must_use]
    pub fn to_public(&self, local: SocketAddr) -> SocketAddr {
        let mapping = self.public.iter().find(|(own, _)| *own == local.ip());
        mapping.map_or(local, |&(_, public)| SocketAddr::new(public, local.port()))
    }
}
