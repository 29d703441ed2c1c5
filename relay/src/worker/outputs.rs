//! What the core asks for besides packets: messages, relay sockets, news.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mio::net::UdpSocket;
use mio::{Interest, Registry};
use shared::{RelayTransport, Transport};
use turn_proto::Now;
use turn_proto::five_tuple::{FiveTuple, RelayId};
use turn_proto::server::{Event, IcmpError, OpenError, Output, RelayOpened, RelayRequest};

use super::mailbox::WorkerNews;
use super::run::{Core, prefer_segments};
use super::token::Source;
use turn_udp::batch::SendBatch;
use turn_udp::datagram::{ErrorOrigin, QueuedError};
use turn_udp::grouping::{Device, Outlet};
use turn_udp::sys;

use crate::udp::socket::prepare_relay;

/// Errors taken from the queue of one relay socket per turn: half of what a client can cause in one,
/// because what waits takes room from peers.
const ERROR_BUDGET: usize = 64;
/// Places kept for relay sockets however few there are.
const LEAST_PLACES: usize = 64;
/// Datagrams that a relay socket without a permission may hold, and more: its buffer is of the
/// smallest size.
const MOST_EARLY: usize = 16;

/// The relay sockets of a worker, by the names that the core gave them.
#[derive(Debug)]
pub(super) struct Relays {
    registry: Registry,
    copy_dscp: bool,
    sockets: Vec<Option<RelaySocket>>,
    /// Those that were ready in the process before this one: what waits there was let through.
    in_use: HashSet<RelayId>,
    /// Local addresses, which stand for devices.
    devices: Vec<IpAddr>,
}

#[derive(Debug)]
struct RelaySocket {
    socket: UdpSocket,
    /// Where its local address is among those of the node.
    place: u32,
    port: u16,
    ready: bool,
    /// The error queue holds something.
    errors: bool,
}

impl Relays {
    pub(super) fn new(registry: Registry, copy_dscp: bool) -> Self {
        Self {
            registry,
            copy_dscp,
            sockets: Vec::new(),
            in_use: HashSet::new(),
            devices: Vec::new(),
        }
    }

    /// What stands for the device of a local address.
    pub(super) fn device(&mut self, local: IpAddr) -> Device {
        device_of(self.place(local))
    }

    /// Where a local address is among those of the node, which are a handful.
    fn place(&mut self, local: IpAddr) -> u32 {
        let known = self.devices.iter().position(|known| *known == local);
        let place = known.unwrap_or_else(|| {
            self.devices.push(local);
            self.devices.len() - 1
        });
        place as u32
    }

    /// Where datagrams of a relay leave.
    pub(super) fn outlet(&self, relay: RelayId) -> Option<Outlet> {
        let relay = self.get(relay)?;
        Some(Outlet {
            socket: relay.socket.as_raw_fd(),
            device: device_of(relay.place),
        })
    }

    pub(super) fn ready_flag(&mut self, relay: RelayId) -> Option<&mut bool> {
        let slot = self.sockets.get_mut(relay.0 as usize)?;
        slot.as_mut().map(|s| &mut s.ready)
    }

    /// Sends one datagram that may not be fragmented (RFC 8656 §14), after all that `batch` holds;
    /// `false`: it was not sent.
    ///
    /// On IPv4 the bit is an option of the socket, which must not stick to the next datagram; on
    /// IPv6 it travels with the datagram.
    pub(super) fn send_whole<'p>(
        &self,
        relay: RelayId,
        peer: SocketAddr,
        payload: &'p [u8],
        batch: &mut SendBatch<'_, 'p>,
    ) -> bool {
        let (Some(RelaySocket { socket, .. }), Some(outlet)) =
            (self.get(relay), self.outlet(relay))
        else {
            return false;
        };
        batch.flush();
        // An error about an earlier datagram must not be taken for this one's.
        let _ = socket.take_error();
        let set = |on| {
            if peer.is_ipv4() {
                sys::set_dont_fragment(socket.as_fd(), on)
            } else {
                Ok(())
            }
        };
        if let Err(error) = set(true) {
            tracing::trace!(%error, "A datagram with DF was not sent.");
            return false;
        }
        batch.push_whole(outlet, peer, payload);
        let sent = batch.flush() == 0;
        if let Err(error) = set(false) {
            tracing::warn!(%error, "A relay socket keeps the DF bit.");
        }
        sent
    }

    /// Notes that the error queue of a relay socket holds something.
    pub(super) fn note_errors(&mut self, relay: RelayId) {
        if let Some(Some(relay)) = self.sockets.get_mut(relay.0 as usize) {
            relay.errors = true;
        }
    }

    /// Whether the error queue of a relay socket holds something; from now on it does not.
    fn take_errors(&mut self, relay: RelayId) -> Option<RawFd> {
        let relay = self.sockets.get_mut(relay.0 as usize)?.as_mut()?;
        std::mem::take(&mut relay.errors).then(|| relay.socket.as_raw_fd())
    }

    /// All sockets by their local addresses.
    pub(super) fn by_address(&self) -> HashMap<SocketAddr, BorrowedFd<'_>> {
        let address = |relay: &RelaySocket| {
            let ip = self.devices.get(relay.place as usize)?;
            Some(SocketAddr::new(*ip, relay.port))
        };
        let sockets = self.sockets.iter().flatten();
        sockets
            .filter_map(|relay| Some((address(relay)?, relay.socket.as_fd())))
            .collect()
    }

    fn get(&self, relay: RelayId) -> Option<&RelaySocket> {
        self.sockets.get(relay.0 as usize)?.as_ref()
    }

    /// Keeps a socket. What comes there is left to the kernel until [`Self::prepare`].
    pub(super) fn insert(
        &mut self,
        relay: RelayId,
        socket: std::net::UdpSocket,
        local: SocketAddr,
    ) {
        let place = self.place(local.ip());
        let socket = UdpSocket::from_std(socket);
        let index = relay.0 as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(RelaySocket {
            socket,
            place,
            port: local.port(),
            ready: false,
            errors: false,
        });
    }

    /// Notes that a socket came from the process before this one with its session.
    pub(super) fn note_in_use(&mut self, relay: RelayId) {
        self.in_use.insert(relay);
    }

    /// All that came are ready, or had no permission yet.
    pub(super) fn all_taken_up(&mut self) {
        self.in_use = HashSet::new();
    }

    /// Makes a socket ready for datagrams, and answers how many came too early: no permission could
    /// have let them through.
    fn prepare(&mut self, id: RelayId) -> std::io::Result<u64> {
        let Some(Some(relay)) = self.sockets.get_mut(id.0 as usize) else {
            return Ok(0);
        };
        let tried = if self.in_use.remove(&id) {
            0
        } else {
            MOST_EARLY
        };
        let early = (0..tried).take_while(|_| relay.socket.recv_from(&mut [0]).is_ok());
        let early = early.count() as u64;
        let device = self.devices.get(relay.place as usize);
        let ipv4 = device.is_some_and(IpAddr::is_ipv4);
        if let Err(error) = set_options(relay.socket.as_fd(), ipv4, self.copy_dscp) {
            tracing::warn!(%error, "A relay socket has not all of its options.");
        }
        let token = Source::Relay(id).token();
        self.registry
            .register(&mut relay.socket, token, Interest::READABLE)?;
        Ok(early)
    }

    /// Closes a socket, which takes it out of the poll, and answers its local address.
    fn remove(&mut self, relay: RelayId) -> Option<SocketAddr> {
        let closed = self.sockets.get_mut(relay.0 as usize)?.take()?;
        let ip = *self.devices.get(closed.place as usize)?;
        while let Some(None) = self.sockets.last() {
            self.sockets.pop();
        }
        if self.sockets.capacity() > 8 * self.sockets.len().max(LEAST_PLACES) {
            self.sockets.shrink_to(2 * self.sockets.len());
        }
        Some(SocketAddr::new(ip, closed.port))
    }
}

/// What a relay socket needs besides being bound; it relays without, if less well.
fn set_options(socket: BorrowedFd<'_>, ipv4: bool, copy_dscp: bool) -> std::io::Result<()> {
    prefer_segments(socket);
    let prepared = prepare_relay(socket, ipv4);
    if copy_dscp {
        sys::set_receive_class(socket, ipv4)?;
    }
    prepared
}

fn device_of(place: u32) -> Device {
    Device(u8::try_from(place).unwrap_or(u8::MAX))
}

/// Whether messages of that client go over a connection of [`Streams`](crate::listener::Streams).
pub(super) fn is_stream(tuple: &FiveTuple) -> bool {
    matches!(tuple.transport, Transport::Tcp | Transport::Tls)
}

impl Core {
    /// Sends one datagram that may not be fragmented. Where this host itself says that it is too
    /// long, the error names no port on IPv4: it must be read before it can be another's.
    pub(super) fn send_whole<'p>(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        payload: &'p [u8],
        batch: &mut SendBatch<'_, 'p>,
    ) {
        if !self.relays.send_whole(relay, peer, payload, batch) {
            self.relays.note_errors(relay);
            self.read_errors(now, relay, Some(peer));
        }
    }

    /// Takes ICMP errors from the queue of a relay socket; `false`: there may be more. An error
    /// that stays there takes room from what peers send. One that names no port is about `whole`.
    pub(super) fn read_errors(
        &mut self,
        now: Now,
        relay: RelayId,
        whole: Option<SocketAddr>,
    ) -> bool {
        let Some(descriptor) = self.relays.take_errors(relay) else {
            return true;
        };
        for _ in 0..ERROR_BUDGET {
            let Ok(queued) = sys::receive_error(descriptor) else {
                return true;
            };
            if let Some(mut error) = queued.and_then(icmp_error) {
                let same = |peer: &SocketAddr| peer.ip() == error.destination.ip();
                if error.destination.port() == 0
                    && let Some(peer) = whole.filter(same)
                {
                    error.destination = peer;
                }
                self.server.handle_icmp(now, relay, error);
                self.drain_outputs(now);
            }
        }
        self.relays.note_errors(relay);
        false
    }

    /// Does everything that the core asks for, until it asks for nothing more.
    pub(super) fn drain_outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            self.perform(now, output);
        }
    }

    pub(super) fn perform(&mut self, now: Now, output: Output) {
        match output {
            Output::Transmit { tuple, message } if is_stream(&tuple) => {
                self.answer_stream(now, &tuple, &message);
            }
            Output::Transmit { tuple, message } if tuple.transport == Transport::Dtls => {
                self.dtls.send(now.mono, tuple, &[&message]);
            }
            Output::Transmit { tuple, message } => {
                let sent = self
                    .listener(tuple.server)
                    .map(|listener| listener.socket.send_to(&message, tuple.client));
                if let Some(Err(error)) = sent {
                    tracing::trace!(%error, "A STUN message was not sent.");
                }
            }
            Output::OpenRelay { relay, request } => {
                let opened = self.open_relay(now, relay, request);
                self.server.handle_relay_opened(now, relay, opened);
            }
            Output::PrepareRelay { relay } => match self.relays.prepare(relay) {
                Ok(early) => self.server.handle_early(relay, early),
                Err(error) => {
                    tracing::error!(%error, "A relay socket cannot be polled: its session is deaf.");
                }
            },
            Output::CloseRelay { relay } => {
                let closed = self.relays.remove(relay);
                if let Some(local) = closed.or_else(|| self.links.close_relay(relay)) {
                    self.ports.close(local);
                }
            }
            Output::Disconnect { tuple } if tuple.transport == Transport::Dtls => {
                self.dtls.close(now.mono, tuple);
            }
            Output::PassOn {
                tuple,
                worker,
                message,
                errand,
            } => self.pass_on(tuple, worker, message, errand),
            Output::Disconnect { tuple } => self.disconnect(now, &tuple),
            Output::ConnectPeer { relay, link, peer } => self.connect_peer(now, relay, link, peer),
            Output::Splice { link, tuple } => self.splice(now, link, &tuple),
            Output::ClosePeer { link } => self.close_peer(now, link),
            Output::HandOver {
                tuple,
                worker,
                message,
            } => self.leave(now, &tuple, worker, message),
            Output::LookupCredential { realm, username } => {
                self.news.send(WorkerNews::Lookup { realm, username });
            }
            Output::LookupUserhash { realm, hash } => {
                self.news.send(WorkerNews::LookupHash { realm, hash });
            }
            Output::ClaimPlace(claim) => self.news.send(WorkerNews::Claim(claim)),
            Output::Event(mut event) => {
                self.describe(&mut event);
                self.news.send(WorkerNews::Event(event));
            }
        }
    }

    /// Writes in what the core does not know of sessions.
    fn describe(&self, event: &mut Event) {
        let sessions = match event {
            Event::SessionCreated(session) | Event::SessionChanged(session) => {
                std::slice::from_mut(&mut **session)
            }
            Event::Snapshot(sessions) => sessions.as_mut_slice(),
            Event::SessionEnded { .. } | Event::Usage(_) => return,
        };
        for session in sessions {
            session.security = match session.tuple.transport {
                Transport::Udp | Transport::Tcp => None,
                Transport::Tls => self.streams.security(&session.tuple),
                Transport::Dtls => self.dtls.security(&session.tuple),
            };
        }
    }

    fn open_relay(
        &mut self,
        now: Now,
        relay: RelayId,
        request: RelayRequest,
    ) -> Result<RelayOpened, OpenError> {
        if request.transport == RelayTransport::Tcp {
            return self.open_tcp_relay(relay, request);
        }
        let found = self.ports.open(request, now.mono)?;
        self.relays.insert(relay, found.socket, found.opened.local);
        Ok(found.opened)
    }
}

/// What the client is told of an error. That a datagram is too long for the link it would leave by
/// is told as if the first router had said so.
fn icmp_error(error: QueuedError) -> Option<IcmpError> {
    let QueuedError {
        destination,
        origin,
        mtu,
    } = error;
    let (kind, code) = match origin {
        ErrorOrigin::Icmp { kind, code } => (kind, code),
        ErrorOrigin::TooLong if destination.is_ipv4() => {
            (IcmpError::UNREACHABLE_V4, IcmpError::FRAGMENTATION_NEEDED)
        }
        ErrorOrigin::TooLong => (IcmpError::TOO_BIG_V6, 0),
        ErrorOrigin::Other => return None,
    };
    Some(IcmpError {
        destination,
        kind,
        code,
        mtu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_socket_takes_little_memory_besides_the_kernels() {
        assert!(size_of::<Option<RelaySocket>>() <= size_of::<UdpSocket>() + 8);
    }
}
