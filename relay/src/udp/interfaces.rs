//! Wildcard listeners expanded to the addresses of the host.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// The addresses that a listener stands for: itself, or for a wildcard every address of its family
/// that the host has.
///
/// A socket bound to the wildcard would answer from whatever address routing picks, and an answer
/// must leave from the address its request came to (RFC 8489 §6.3.1.2); a socket per address does.
/// Loopback is left out when there is anything else, IPv6 link-local always. A wildcard of a family
/// that the host does not have stands for nothing.
///
/// # Errors
/// When the system does not tell its interfaces.
pub fn expand(listener: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    if !listener.ip().is_unspecified() {
        return Ok(vec![listener]);
    }
    let found = if_addrs::get_if_addrs()?
        .into_iter()
        .map(|interface| interface.ip());
    Ok(choose(listener, found.collect()))
}

/// Every address that something bound to `address` is reached at: none but itself, or for a wildcard
/// all that the host has of either family (an IPv6 wildcard takes IPv4 too).
///
/// # Errors
/// When the system does not tell its interfaces.
pub fn every(address: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    if !address.ip().is_unspecified() {
        return Ok(vec![address]);
    }
    let found = if_addrs::get_if_addrs()?.into_iter();
    Ok(found
        .map(|interface| SocketAddr::new(interface.ip(), address.port()))
        .filter(|one| address.is_ipv6() || one.is_ipv4())
        .collect())
}

/// Whether the host has this address; one of 127.0.0.0/8 it always has.
#[must_use]
pub fn has(address: IpAddr) -> bool {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    address.is_loopback() || found.iter().any(|interface| interface.ip() == address)
}

fn choose(wildcard: SocketAddr, mut addresses: Vec<IpAddr>) -> Vec<SocketAddr> {
    addresses.retain(|ip| ip.is_ipv4() == wildcard.is_ipv4() && !is_link_local(*ip));
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.iter().any(|ip| !ip.is_loopback()) {
        addresses.retain(|ip| !ip.is_loopback());
    }
    addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, wildcard.port()))
        .collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wildcard: &str, addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        choose(wildcard.parse().unwrap(), addresses)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_its_family() {
        let host = [
            "127.0.0.1",
            "192.0.2.7",
            "192.0.2.8",
            "::1",
            "fe80::1",
            "2001:db8::7",
        ];
        assert_eq!(
            chosen("0.0.0.0:3478", &host),
            ["192.0.2.7:3478", "192.0.2.8:3478"]
        );
        assert_eq!(chosen("[::]:3478", &host), ["[2001:db8::7]:3478"]);
    }

    #[test]
    fn loopback_serves_where_there_is_nothing_else() {
        assert_eq!(
            chosen("0.0.0.0:3478", &["127.0.0.1", "::1"]),
            ["127.0.0.1:3478"]
        );
        assert!(chosen("[::]:3478", &["127.0.0.1"]).is_empty());
    }

    #[test]
    fn a_service_on_the_wildcard_is_reached_at_every_address() {
        let every = |text: &str| every(text.parse().unwrap()).unwrap();
        let loopback = "127.0.0.1:9641".parse().unwrap();
        assert!(every("0.0.0.0:9641").contains(&loopback));
        assert!(every("[::]:9641").contains(&loopback));
        assert!(every("0.0.0.0:9641").iter().all(SocketAddr::is_ipv4));
        assert_eq!(every("127.0.0.1:9641"), [loopback]);
    }

    #[test]
    fn an_address_stands_for_itself() {
        let listener = "127.0.0.1:3478".parse().unwrap();
        assert_eq!(expand(listener).unwrap(), [listener]);
    }
}
