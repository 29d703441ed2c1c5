//! Which peers may be talked to.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use shared::IpRange;

use super::net_set::NetSet;
use super::realm::RealmPolicy;
use super::special_use::{embedded_v4, is_special_use, is_tunnelled};

/// Rules of the node, judged together with those of the realm.
///
/// Order, after every embedded IPv4 form was reduced: Teredo, 6to4, the unspecified address (which the
/// system takes for this very host), banned networks and the cluster's own services are refused always;
/// relay endpoints of the cluster's nodes are allowed on their relay ports, and on others only where a
/// list allows them; then the realm's allow and deny lists, then the node's; then the special-use list;
/// everything else is allowed.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// Allowed although a rule or the special-use list denies them.
    pub allowed: Vec<IpRange>,
    /// Denied.
    pub denied: Vec<IpRange>,
    /// Banned: refused whatever anything else says.
    pub banned: NetSet,
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

/// What the policy says about a peer's address before its port is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressVerdict {
    /// Every port is allowed.
    Allowed,
    /// No port is.
    Denied,
    /// A service or a relay lives there: each datagram is judged by its port.
    ByPort,
}

impl PeerRules {
    /// Judges a peer's address, as CreatePermission names it.
    #[must_use]
    pub fn judge_address(&self, realm: &RealmPolicy, peer: IpAddr) -> AddressVerdict {
        let mut verdict = AddressVerdict::Allowed;
        if is_nobody(peer) || self.is_banned(peer) {
            return AddressVerdict::Denied;
        }
        for form in Self::forms(peer) {
            let local = self.to_local(SocketAddr::new(form, 0)).ip();
            let here = |s: &SocketAddr| self.serves(s.ip(), form) || self.serves(s.ip(), local);
            let here = self.services.iter().any(here);
            let relays = self.relays.iter().any(|relay| relay.address == form);
            if relays {
                verdict = AddressVerdict::ByPort;
            } else if !self.lists_allow(realm, form) {
                return AddressVerdict::Denied;
            } else if here {
                verdict = AddressVerdict::ByPort;
            }
        }
        verdict
    }

    /// Whether a peer is in a banned network, in any of its forms.
    #[must_use]
    pub fn is_banned(&self, peer: IpAddr) -> bool {
        !self.banned.is_empty() && Self::forms(peer).any(|ip| self.banned.contains(ip))
    }

    /// Whether datagrams may pass between a relay and this peer.
    #[must_use]
    pub fn allows(&self, realm: &RealmPolicy, peer: SocketAddr) -> bool {
        peer.port() != 0
            && !is_nobody(peer.ip())
            && !self.is_banned(peer.ip())
            && Self::forms(peer.ip()).all(|ip| self.allows_form(realm, ip, peer.port()))
    }

    /// Whether a TCP connection may pass between a relay and this peer (RFC 6062). Relay ports of
    /// the cluster are excepted for datagrams only: behind the same numbers some TCP service of the
    /// node may listen.
    #[must_use]
    pub fn allows_stream(&self, realm: &RealmPolicy, peer: SocketAddr) -> bool {
        let allows = |ip: IpAddr| {
            let own = self.relays.iter().any(|relay| relay.address == ip);
            self.allows_form(realm, ip, peer.port())
                && (!own || self.listed(realm, ip) == Some(true))
        };
        peer.port() != 0
            && !is_nobody(peer.ip())
            && !self.is_banned(peer.ip())
            && Self::forms(peer.ip()).all(allows)
    }

    /// The local address that datagrams for an external one are sent to.
    #[must_use]
    pub fn to_local(&self, peer: SocketAddr) -> SocketAddr {
        let mapping = self
            .external_to_local
            .iter()
            .find(|(external, _)| *external == peer.ip());
        mapping.map_or(peer, |&(_, local)| SocketAddr::new(local, peer.port()))
    }

    /// The external addresses that a local one is known by.
    pub fn to_external(&self, local: IpAddr) -> impl Iterator<Item = IpAddr> {
        let of_local =
            move |(external, other): &(IpAddr, IpAddr)| (*other == local).then_some(*external);
        self.external_to_local.iter().filter_map(of_local)
    }

    fn allows_form(&self, realm: &RealmPolicy, ip: IpAddr, port: u16) -> bool {
        let named = SocketAddr::new(ip, port);
        let target = self.to_local(named);
        let reached = |service: &SocketAddr| {
            let hosts = [named.ip(), target.ip()];
            service.port() == port && hosts.iter().any(|ip| self.serves(service.ip(), *ip))
        };
        if self.services.iter().any(reached) {
            return false;
        }
        let mut relays = self
            .relays
            .iter()
            .filter(|relay| relay.address == ip)
            .peekable();
        if relays.peek().is_none() {
            return self.lists_allow(realm, ip);
        }
        // A cluster node has more to lose than its relay ports: the rest needs an explicit rule.
        relays.any(|relay| relay.ports.contains(&port)) || self.listed(realm, ip) == Some(true)
    }

    /// Whether a service bound to `bound` is reached at `ip`; one bound to the wildcard address is
    /// at every address of the node that we know.
    fn serves(&self, bound: IpAddr, ip: IpAddr) -> bool {
        let own = || ip.is_loopback() || self.relays.iter().any(|relay| relay.address == ip);
        bound == ip || bound.is_unspecified() && own()
    }

    fn lists_allow(&self, realm: &RealmPolicy, ip: IpAddr) -> bool {
        self.listed(realm, ip)
            .unwrap_or_else(|| !is_special_use(ip))
    }

    /// What the lists say, the realm's before the node's: a realm can close what the node opens
    /// to all, and open what the node closes to others.
    fn listed(&self, realm: &RealmPolicy, ip: IpAddr) -> Option<bool> {
        let lists = [
            (&realm.allowed_peers, true),
            (&realm.denied_peers, false),
            (&self.allowed, true),
            (&self.denied, false),
        ];
        let listing = |list: &[IpRange]| list.iter().any(|range| range.contains(ip));
        lists
            .into_iter()
            .find(|(list, _)| listing(list))
            .map(|(_, allowed)| allowed)
    }

    /// The address and every IPv4 address embedded in it: all of them are judged.
    fn forms(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
        let v6 = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        };
        std::iter::once(ip).chain(v6.into_iter().flat_map(embedded_v4).map(IpAddr::V4))
    }
}

/// Whether no rule can make a peer of it.
fn is_nobody(ip: IpAddr) -> bool {
    is_tunnelled(ip) || ip.to_canonical().is_unspecified()
}
