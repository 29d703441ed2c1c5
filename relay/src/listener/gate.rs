//! Bounds that hold over all workers: connections per source, and one connection per 5-tuple.
//!
//! Locked when a connection begins, gets a session, or ends; never for a packet.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber commonly has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientSource(IpAddr);

impl ClientSource {
    pub(super) fn of(client: SocketAddr) -> Self {
        Self(match client.ip().to_canonical() {
            IpAddr::V6(ip) => {
                let prefix = u128::from(ip) >> 64 << 64;
                Ipv6Addr::from(prefix).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Both tables are no larger than the number of connections.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Connections without a session.
    sources: Mutex<HashMap<ClientSource, usize>>,
    /// Client and server addresses of proxied connections: only there can two be the same.
    claims: Mutex<HashSet<(SocketAddr, SocketAddr)>>,
}

impl Gate {
    fn sources(&self) -> MutexGuard<'_, HashMap<ClientSource, usize>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, HashSet<(SocketAddr, SocketAddr)>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection without a session; `false`: its source has `most` of them already, and it
    /// was not counted.
    pub(super) fn enter(&self, source: ClientSource, most: usize) -> bool {
        let mut sources = self.sources();
        let count = sources.entry(source).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }

    /// A connection ended, or got a session.
    pub(super) fn leave(&self, source: ClientSource) {
        if let Entry::Occupied(mut count) = self.sources().entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Takes a 5-tuple for a proxied connection; `false`: another one has it.
    pub(super) fn claim(&self, client: SocketAddr, server: SocketAddr) -> bool {
        self.claims().insert((client, server))
    }

    /// Gives a 5-tuple back.
    pub(super) fn release(&self, client: SocketAddr, server: SocketAddr) {
        self.claims().remove(&(client, server));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> ClientSource {
        ClientSource::of(address.parse().unwrap())
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_subscriber() {
        assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:1"));
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
    }

    #[test]
    fn a_source_has_so_many_and_no_more_and_leaves_nothing_behind() {
        let (gate, source) = (Gate::default(), source("192.0.2.1:1"));
        assert!(gate.enter(source, 2) && gate.enter(source, 2));
        assert!(!gate.enter(source, 2));
        gate.leave(source);
        assert!(gate.enter(source, 2));
        gate.leave(source);
        gate.leave(source);
        assert!(gate.sources().is_empty());
    }
}
