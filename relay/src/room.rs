//! Room for clients with a connection: those over TCP, TLS and DTLS count together, over all workers,
//! on the whole (`connections.max`) and by source (`connections.max_per_source`).
//!
//! Touched when a connection or association begins, gets a session, or ends; never for a packet.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber commonly has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientSource(IpAddr);

impl ClientSource {
    /// The source of a client.
    #[must_use]
    pub fn of(client: SocketAddr) -> Self {
        Self(match client.ip().to_canonical() {
            IpAddr::V6(ip) => {
                let prefix = u128::from(ip) >> 64 << 64;
                Ipv6Addr::from(prefix).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// How many clients have a connection.
#[derive(Debug, Default)]
pub struct Room {
    taken: AtomicUsize,
    /// Connections without a session: no more entries than there are connections.
    sources: Mutex<HashMap<ClientSource, usize>>,
}

impl Room {
    /// How many there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// One more, who is there already.
    pub fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// One more, if that makes no more than `most`.
    #[must_use]
    pub fn enter(&self, most: usize) -> bool {
        let more = |taken| (taken < most).then_some(taken + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.taken.fetch_update(set, fetch, more).is_ok()
    }

    /// One fewer.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<ClientSource, usize>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection without a session; `false`: its source has `most` of them already, and it
    /// was not counted.
    #[must_use]
    pub fn count(&self, source: ClientSource, most: usize) -> bool {
        let mut sources = self.sources();
        let count = sources.entry(source).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }

    /// A counted connection ended, or got a session.
    pub fn discount(&self, source: ClientSource) {
        if let Entry::Occupied(mut count) = self.sources().entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_each_end_makes_some() {
        let room = Room::default();
        assert!(room.enter(2) && room.enter(2) && !room.enter(2));
        room.leave();
        assert!(room.enter(2));
        room.take();
        assert_eq!(room.taken(), 3);
        assert!(!room.enter(2));
    }

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
        let (room, source) = (Room::default(), source("192.0.2.1:1"));
        assert!(room.count(source, 2) && room.count(source, 2));
        assert!(!room.count(source, 2));
        room.discount(source);
        assert!(room.count(source, 2));
        room.discount(source);
        room.discount(source);
        assert!(room.sources().is_empty());
    }
}
