//! Which listeners stand in for each other in NAT behaviour discovery (RFC 5780 §6).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::NatDiscoveryConfig;

/// The listeners to open besides `listeners`, each with the one whose settings it has: the second
/// port of every address that has a partner.
#[must_use]
pub fn alternates(
    listeners: &[SocketAddr],
    usage: &NatDiscoveryConfig,
) -> Vec<(SocketAddr, SocketAddr)> {
    let of_ports = |[first, alt]: [u16; 2]| {
        let addresses = pairs(listeners, first).into_iter().flatten();
        addresses.map(move |ip| [first, alt].map(|port| SocketAddr::new(ip, port)))
    };
    usage
        .ports()
        .flat_map(of_ports)
        .map(|[first, alternate]| (first, alternate))
        .filter(|(_, alternate)| !listeners.contains(alternate))
        .collect()
}

/// For each listener the one with the other address and the other port, where all four are open.
#[must_use]
pub fn others(
    listeners: &[SocketAddr],
    usage: &NatDiscoveryConfig,
) -> HashMap<SocketAddr, SocketAddr> {
    let mut others = HashMap::new();
    let of_ports = |ports: [u16; 2]| {
        pairs(listeners, ports[0])
            .into_iter()
            .map(move |ips| (ports, ips))
    };
    for (ports, ips) in usage.ports().flat_map(of_ports) {
        let four = ips.map(|ip| ports.map(|port| SocketAddr::new(ip, port)));
        if four.iter().flatten().all(|one| listeners.contains(one)) {
            let [[a1p1, a1p2], [a2p1, a2p2]] = four;
            others.extend([(a1p1, a2p2), (a2p2, a1p1), (a1p2, a2p1), (a2p1, a1p2)]);
        }
    }
    others
}

/// The addresses of one port, by family, two by two in their order; an odd one is left over.
fn pairs(listeners: &[SocketAddr], port: u16) -> Vec<[IpAddr; 2]> {
    let of_family = |v4: bool| {
        let fits = move |one: &&SocketAddr| one.port() == port && one.is_ipv4() == v4;
        listeners.iter().filter(fits).map(SocketAddr::ip)
    };
    [true, false]
        .into_iter()
        .flat_map(|v4| {
            let ips: Vec<IpAddr> = of_family(v4).collect();
            let (pairs, _) = ips.as_chunks::<2>();
            pairs.to_vec()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> NatDiscoveryConfig {
        NatDiscoveryConfig {
            first_port: 3478,
            alt_port: 3479,
            ..NatDiscoveryConfig::default()
        }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn two_addresses_of_a_family_get_a_second_port_and_each_other() {
        let mut open = addresses(&["192.0.2.1:3478", "[2001:db8::1]:3478", "192.0.2.2:3478"]);
        let more = alternates(&open, &usage());
        let expected = [
            ("192.0.2.1:3478", "192.0.2.1:3479"),
            ("192.0.2.2:3478", "192.0.2.2:3479"),
        ];
        let expected = expected.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        assert_eq!(more, expected);
        open.extend(more.iter().map(|(_, alternate)| alternate));
        let others = others(&open, &usage());
        assert_eq!(others.len(), 4);
        for (listener, other) in &others {
            assert_ne!(listener.ip(), other.ip());
            assert_ne!(listener.port(), other.port());
            assert_eq!(others.get(other), Some(listener));
        }
    }

    #[test]
    fn a_single_address_has_no_alternate() {
        let open = addresses(&["192.0.2.1:3478", "[2001:db8::1]:3478", "192.0.2.2:5349"]);
        assert!(alternates(&open, &usage()).is_empty());
        assert!(others(&open, &usage()).is_empty());
    }

    #[test]
    fn nobody_stands_in_who_is_not_there() {
        let open = addresses(&["192.0.2.1:3478", "192.0.2.2:3478", "192.0.2.1:3479"]);
        assert!(others(&open, &usage()).is_empty());
    }
}
