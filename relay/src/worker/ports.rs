//! Relay ports of the node: one pool for all workers, and the ports kept under reservation tokens.
//!
//! The pool sits behind one lock that is taken when an allocation begins or ends and never for a
//! packet. Leasing blocks of ports to workers would save that lock, but then a worker could answer
//! 508 while another one sits on free ports; 508 has to mean that the node is out of ports.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use turn_proto::five_tuple::{AddressFamily, ReservationToken};
use turn_proto::server::{OpenError, PortRequest, RelayOpened, RelayRequest};

use crate::udp::socket::bind_relay;

/// How long a reserved port is kept (RFC 8656 §7.2: at least 30 seconds).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// Ports kept under tokens at the same time; one more is refused with 508.
const MAX_RESERVATIONS: usize = 4096;
/// How many ports that something else on the host has bound are skipped before giving up.
const BIND_ATTEMPTS: usize = 32;

/// A local address to relay from, and what peers and clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// Where sockets are bound.
    pub local: IpAddr,
    /// What XOR-RELAYED-ADDRESS says (the public address behind a 1:1 NAT).
    pub external: IpAddr,
}

/// How many ports are in use, over all relay addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUsage {
    /// Taken by sessions or reservations.
    pub used: u64,
    /// In all.
    pub total: u64,
}

/// The node's relay addresses, ports and reservations.
#[derive(Debug)]
pub struct PortPool {
    addresses: Vec<RelayAddress>,
    first: u16,
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One bitmap per relay address; a set bit is a port in use.
    taken: Vec<Vec<u64>>,
    used: Vec<usize>,
    reserved: HashMap<ReservationToken, Reservation>,
    random: SmallRng,
}

#[derive(Debug)]
struct Reservation {
    socket: UdpSocket,
    address: usize,
    expires: Instant,
}

/// A bound relay socket and what the core is told about it.
#[derive(Debug)]
pub struct OpenedSocket {
    /// The socket, non-blocking.
    pub socket: UdpSocket,
    /// Its addresses and the token of the port next to it.
    pub opened: RelayOpened,
}

impl PortPool {
    /// A pool over `ports` of each address.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing could be safe then.
    #[must_use]
    pub fn new(addresses: Vec<RelayAddress>, ports: &RangeInclusive<u16>) -> Self {
        let count = usize::from(*ports.end()).saturating_sub(usize::from(*ports.start())) + 1;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the operating system has randomness");
        let state = State {
            taken: vec![vec![0; count.div_ceil(64)]; addresses.len()],
            used: vec![0; addresses.len()],
            reserved: HashMap::new(),
            random: SmallRng::from_seed(seed),
        };
        Self {
            addresses,
            first: *ports.start(),
            count,
            state: Mutex::new(state),
        }
    }

    /// The relay addresses.
    #[must_use]
    pub fn addresses(&self) -> &[RelayAddress] {
        &self.addresses
    }

    /// The relay ports.
    #[must_use]
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.first..=(usize::from(self.first) + self.count - 1) as u16
    }

    /// How full the pool is.
    #[must_use]
    pub fn usage(&self) -> PortUsage {
        let used = self.lock().used.iter().sum::<usize>() as u64;
        PortUsage {
            used,
            total: (self.count * self.addresses.len()) as u64,
        }
    }

    /// Binds the socket that an Allocate asks for.
    ///
    /// # Errors
    /// What the client is to be refused for.
    pub fn open(&self, request: RelayRequest, now: Instant) -> Result<OpenedSocket, OpenError> {
        if let PortRequest::Reserved(token) = request.port {
            return self.claim(token, now);
        }
        let address = self
            .choose_address(&request)
            .ok_or(OpenError::FamilyUnavailable)?;
        let mut failure = OpenError::PortsExhausted;
        for _ in 0..BIND_ATTEMPTS {
            let port = self.take(address, request.port).ok_or(failure)?;
            match self.bind(address, port) {
                Ok(socket) if request.port == PortRequest::EvenReserveNext => {
                    match self.reserve_next(address, port + 1, now) {
                        Ok(token) => return Ok(self.opened(address, port, socket, Some(token))),
                        Err(error) => failure = error,
                    }
                    self.give_back_port(address, port);
                }
                Ok(socket) => return Ok(self.opened(address, port, socket, None)),
                Err(error) => {
                    self.give_back_port(address, port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::warn!(%error, port, "A relay port cannot be bound.");
                        return Err(OpenError::Failed);
                    }
                }
            }
        }
        Err(failure)
    }

    /// Gives the port of a closed relay socket back.
    pub fn close(&self, local: SocketAddr) {
        if let Some(address) = self.addresses.iter().position(|a| a.local == local.ip()) {
            self.give_back_port(address, local.port());
        }
    }

    /// Drops reservations that nobody claimed in time.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let expired: Vec<_> = state
            .reserved
            .iter()
            .filter(|(_, r)| r.expires <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in expired {
            if let Some(reservation) = state.reserved.remove(&token) {
                let port = reservation.socket.local_addr().map(|a| a.port());
                if let Ok(port) = port {
                    state.free(reservation.address, usize::from(port - self.first));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of the listener itself where it relays too, else one drawn at random.
    fn choose_address(&self, request: &RelayRequest) -> Option<usize> {
        let fits =
            |a: &RelayAddress| AddressFamily::of(SocketAddr::new(a.local, 0)) == request.family;
        let own = self
            .addresses
            .iter()
            .position(|a| fits(a) && a.local == request.server.ip());
        own.or_else(|| {
            let candidates: Vec<usize> = (0..self.addresses.len())
                .filter(|&i| fits(&self.addresses[i]))
                .collect();
            let draw = self.lock().random.random_range(0..candidates.len().max(1));
            candidates.get(draw).copied()
        })
    }

    fn bind(&self, address: usize, port: u16) -> io::Result<UdpSocket> {
        bind_relay(SocketAddr::new(self.addresses[address].local, port))
    }

    fn opened(
        &self,
        address: usize,
        port: u16,
        socket: UdpSocket,
        reservation: Option<ReservationToken>,
    ) -> OpenedSocket {
        let RelayAddress { local, external } = self.addresses[address];
        let opened = RelayOpened {
            local: SocketAddr::new(local, port),
            external: SocketAddr::new(external, port),
            reservation,
        };
        OpenedSocket { socket, opened }
    }

    /// Marks a free port as taken: a random one (RFC 6056), or a random even one whose neighbour is
    /// free too.
    fn take(&self, address: usize, request: PortRequest) -> Option<u16> {
        let mut state = self.lock();
        let start = state.random.random_range(0..self.count);
        let fits = |state: &State, i: usize| {
            let even = (usize::from(self.first) + i).is_multiple_of(2);
            let free = !state.is_taken(address, i);
            match request {
                PortRequest::Any | PortRequest::Reserved(_) => free,
                PortRequest::Even => free && even,
                PortRequest::EvenReserveNext => {
                    free && even && i + 1 < self.count && !state.is_taken(address, i + 1)
                }
            }
        };
        let index = (start..self.count)
            .chain(0..start)
            .find(|&i| fits(&state, i))?;
        state.take(address, index);
        Some(self.first + index as u16)
    }

    /// Binds the port next to an even one and keeps it under a fresh token.
    fn reserve_next(
        &self,
        address: usize,
        port: u16,
        now: Instant,
    ) -> Result<ReservationToken, OpenError> {
        let mut token = [0; 8];
        getrandom::fill(&mut token).map_err(|_| OpenError::Failed)?;
        let socket = self
            .bind(address, port)
            .map_err(|_| OpenError::PortsExhausted)?;
        let mut state = self.lock();
        let index = usize::from(port - self.first);
        if state.reserved.len() >= MAX_RESERVATIONS || state.is_taken(address, index) {
            return Err(OpenError::PortsExhausted);
        }
        state.take(address, index);
        let expires = now + RESERVATION_LIFETIME;
        let token = ReservationToken(token);
        state.reserved.insert(
            token,
            Reservation {
                socket,
                address,
                expires,
            },
        );
        Ok(token)
    }

    fn claim(&self, token: ReservationToken, now: Instant) -> Result<OpenedSocket, OpenError> {
        self.sweep(now);
        let reservation = self
            .lock()
            .reserved
            .remove(&token)
            .ok_or(OpenError::UnknownToken)?;
        let port = reservation
            .socket
            .local_addr()
            .map_err(|_| OpenError::Failed)?
            .port();
        Ok(self.opened(reservation.address, port, reservation.socket, None))
    }

    fn give_back_port(&self, address: usize, port: u16) {
        if self.ports().contains(&port) {
            self.lock().free(address, usize::from(port - self.first));
        }
    }
}

impl State {
    fn is_taken(&self, address: usize, index: usize) -> bool {
        self.taken[address][index / 64] & 1 << (index % 64) != 0
    }

    fn take(&mut self, address: usize, index: usize) {
        self.taken[address][index / 64] |= 1 << (index % 64);
        self.used[address] += 1;
    }

    fn free(&mut self, address: usize, index: usize) {
        if self.is_taken(address, index) {
            self.taken[address][index / 64] &= !(1 << (index % 64));
            self.used[address] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ports: RangeInclusive<u16>) -> PortPool {
        let local = "127.0.0.1".parse().unwrap();
        let external = "192.0.2.1".parse().unwrap();
        PortPool::new(vec![RelayAddress { local, external }], &ports)
    }

    fn request(port: PortRequest) -> RelayRequest {
        let server = "127.0.0.1:3478".parse().unwrap();
        RelayRequest {
            server,
            transport: shared::RelayTransport::Udp,
            family: AddressFamily::V4,
            port,
        }
    }

    /// A range of `count` ports from an even one that are free right now.
    fn free_range(count: u16) -> RangeInclusive<u16> {
        for _ in 0..200 {
            let base = UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
                & !1;
            let free = |p| UdpSocket::bind(("127.0.0.1", p)).is_ok();
            if base < 60_000 && (base..base + count).all(free) {
                return base..=base + count - 1;
            }
        }
        panic!("no free range of {count} ports on loopback");
    }

    #[test]
    fn every_port_is_handed_out_once_and_comes_back() {
        let pool = pool(free_range(4));
        let now = Instant::now();
        let open: Vec<_> = (0..4)
            .map(|_| pool.open(request(PortRequest::Any), now).unwrap())
            .collect();
        assert_eq!(pool.usage(), PortUsage { used: 4, total: 4 });
        let refused = pool.open(request(PortRequest::Any), now).unwrap_err();
        assert_eq!(refused, OpenError::PortsExhausted);
        let local = open[2].opened.local;
        assert_eq!(
            open[2].opened.external,
            SocketAddr::new([192, 0, 2, 1].into(), local.port())
        );
        drop(open);
        pool.close(local);
        assert_eq!(
            pool.open(request(PortRequest::Any), now)
                .unwrap()
                .opened
                .local,
            local
        );
    }

    #[test]
    fn a_reserved_port_is_the_next_one_and_is_claimed_once() {
        let pool = pool(free_range(4));
        let now = Instant::now();
        let even = pool
            .open(request(PortRequest::EvenReserveNext), now)
            .unwrap();
        assert!(even.opened.local.port().is_multiple_of(2));
        let token = even.opened.reservation.unwrap();
        let next = pool
            .open(request(PortRequest::Reserved(token)), now)
            .unwrap();
        assert_eq!(next.opened.local.port(), even.opened.local.port() + 1);
        let again = pool
            .open(request(PortRequest::Reserved(token)), now)
            .unwrap_err();
        assert_eq!(again, OpenError::UnknownToken);
    }

    #[test]
    fn an_unclaimed_reservation_gives_its_port_back() {
        let pool = pool(free_range(2));
        let now = Instant::now();
        let even = pool
            .open(request(PortRequest::EvenReserveNext), now)
            .unwrap();
        let token = even.opened.reservation.unwrap();
        assert_eq!(pool.usage().used, 2);
        let later = now + RESERVATION_LIFETIME;
        let refused = pool
            .open(request(PortRequest::Reserved(token)), later)
            .unwrap_err();
        assert_eq!(refused, OpenError::UnknownToken);
        assert_eq!(pool.usage().used, 1);
    }

    #[test]
    fn a_plain_even_port_reserves_nothing() {
        let pool = pool(free_range(2));
        let even = pool
            .open(request(PortRequest::Even), Instant::now())
            .unwrap();
        assert_eq!(even.opened.reservation, None);
        assert_eq!(pool.usage().used, 1);
        let refused = pool
            .open(request(PortRequest::Even), Instant::now())
            .unwrap_err();
        assert_eq!(refused, OpenError::PortsExhausted);
    }

    #[test]
    fn ports_that_others_hold_are_skipped() {
        let range = free_range(4);
        let held: Vec<_> = range
            .clone()
            .take(3)
            .map(|p| UdpSocket::bind(("127.0.0.1", p)).unwrap())
            .collect();
        let pool = pool(range.clone());
        let opened = pool.open(request(PortRequest::Any), Instant::now());
        assert_eq!(opened.unwrap().opened.local.port(), *range.end());
        assert_eq!(pool.usage().used, 1);
        drop(held);
    }

    #[test]
    fn a_family_without_address_is_refused() {
        let pool = pool(free_range(2));
        let v6 = RelayRequest {
            family: AddressFamily::V6,
            ..request(PortRequest::Any)
        };
        assert_eq!(
            pool.open(v6, Instant::now()).unwrap_err(),
            OpenError::FamilyUnavailable
        );
    }
}
