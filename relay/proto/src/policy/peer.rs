//! Which peers may be talked to.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use shared::IpRange;

/// Rules of the node, judged together with those of the realm.
///
/// Order, after every embedded IPv4 form was reduced: the cluster's own services are refused always;
/// relay endpoints of the cluster's nodes are allowed on their relay ports; then the realm's and the
/// node's allow lists; then their deny lists; then the special-use list; everything else is allowed.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// Allowed although a rule or the special-use list denies them.
    pub allowed: Vec<IpRange>,
    /// Denied.
    pub denied: Vec<IpRange>,
    /// Listeners, admin, metrics and store endpoints: refused always.
    pub services: Vec<SocketAddr>,
    /// Relay and external addresses of the cluster's nodes with their relay ports.
    pub relays: Vec<RelayEndpoint>,
    /// External address to the local one it maps to, for this node's own relays.
    pub external_to_local: Vec<(IpAddr, IpAddr)>,
}

/// Where a node of the cluster relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayEndpoint {
    /// The address, local or external.
    pub address: IpAddr,
    /// Its relay ports.
    pub ports: RangeInclusive<u16>,
}
