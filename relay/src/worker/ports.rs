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

/// How ports are kept under tokens (RFC 8656 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserving {
    /// How long: at least 30 seconds, says the RFC.
    pub lifetime: Duration,
    /// How many at the same time; one more is refused with 508.
    pub most: usize,
}

/// The node's relay addresses, ports and reservations.
#[derive(Debug)]
pub struct PortPool {
    addresses: Vec<RelayAddress>,
    first: u16,
    count: usize,
    reserving: Reserving,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One bitmap per relay address; a set bit is a port in use.
    taken: Vec<Vec<u64>>,
    used: Vec<usize>,
    reserved: HashMap<ReservationToken, Reservation>,
    /// Sockets of sessions that the process before this one passed on, until they are taken up.
    inherited: HashMap<SocketAddr, UdpSocket>,
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
    pub fn new(
        addresses: Vec<RelayAddress>,
        ports: &RangeInclusive<u16>,
        reserving: Reserving,
    ) -> Self {
        let count = usize::from(*ports.end()).saturating_sub(usize::from(*ports.start())) + 1;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the operating system has randomness");
        let state = State {
            taken: vec![vec![0; count.div_ceil(64)]; addresses.len()],
            used: vec![0; addresses.len()],
            reserved: HashMap::new(),
            inherited: HashMap::new(),
            random: SmallRng::from_seed(seed),
        };
        Self {
            addresses,
            first: *ports.start(),
            count,
            reserving,
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

    /// Binds the listening socket that an Allocate for TCP asks for. Such a relay takes its port of
    /// the pool as any other does: the same port of the other protocol stays closed.
    ///
    /// # Errors
    /// What the client is to be refused for.
    pub fn open_tcp(
        &self,
        request: RelayRequest,
    ) -> Result<(std::net::TcpListener, RelayOpened), OpenError> {
        let address = self
            .choose_address(&request)
            .ok_or(OpenError::FamilyUnavailable)?;
        let RelayAddress { local, external } = self.addresses[address];
        for _ in 0..BIND_ATTEMPTS {
            let port = self.take(address, PortRequest::Any);
            let port = port.ok_or(OpenError::PortsExhausted)?;
            match crate::tcp::socket::listen(SocketAddr::new(local, port)) {
                Ok(socket) => {
                    let opened = RelayOpened {
                        local: SocketAddr::new(local, port),
                        external: SocketAddr::new(external, port),
                        reservation: None,
                    };
                    return Ok((socket, opened));
                }
                Err(error) => {
                    self.give_back_port(address, port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::warn!(%error, port, "A relay port cannot be listened on.");
                        return Err(OpenError::Failed);
                    }
                }
            }
        }
        Err(OpenError::PortsExhausted)
    }

    /// Keeps bound sockets of sessions that are about to be taken up.
    pub fn inherit(&self, sockets: HashMap<SocketAddr, UdpSocket>) {
        self.lock().inherited = sockets;
    }

    /// Closes those that nobody took up.
    pub fn forget_inherited(&self) {
        let left = std::mem::take(&mut self.lock().inherited);
        drop(left);
    }

    /// Binds the socket of a session of an earlier start again, or answers the one that never was
    /// closed, and whether it is that one.
    ///
    /// # Errors
    /// `AddrNotAvailable`: none of the addresses and ports of this pool; `AddrInUse`: a session of this
    /// start or something else on the host has it; whatever else the system says.
    pub fn reopen(&self, local: SocketAddr) -> io::Result<(UdpSocket, bool)> {
        let address = self.addresses.iter().position(|a| a.local == local.ip());
        let address = address.filter(|_| self.ports().contains(&local.port()));
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let index = usize::from(local.port() - self.first);
        {
            let mut state = self.lock();
            if state.is_taken(address, index) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            state.take(address, index);
            if let Some(socket) = state.inherited.remove(&local) {
                return Ok((socket, true));
            }
        }
        let bound = bind_relay(local).inspect_err(|_| self.give_back_port(address, local.port()));
        bound.map(|socket| (socket, false))
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
        if state.reserved.len() >= self.reserving.most || state.is_taken(address, index) {
            return Err(OpenError::PortsExhausted);
        }
        state.take(address, index);
        let expires = now + self.reserving.lifetime;
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
mod tests;
