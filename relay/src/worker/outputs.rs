//! What the core asks for besides packets: messages, relay sockets, news.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use mio::net::UdpSocket;
use mio::{Interest, Registry};
use turn_proto::Now;
use turn_proto::five_tuple::RelayId;
use turn_proto::server::{OpenError, Output, RelayOpened, RelayRequest};

use super::mailbox::WorkerNews;
use super::run::{Core, token_of};
use crate::udp::sys;

/// The relay sockets of a worker, by the names that the core gave them.
#[derive(Debug)]
pub(super) struct Relays {
    registry: Registry,
    sockets: Vec<Option<RelaySocket>>,
}

#[derive(Debug)]
struct RelaySocket {
    socket: UdpSocket,
    local: SocketAddr,
    ready: bool,
}

impl Relays {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            sockets: Vec::new(),
        }
    }

    pub(super) fn descriptor(&self, relay: RelayId) -> Option<RawFd> {
        Some(self.get(relay)?.socket.as_raw_fd())
    }

    pub(super) fn ready_flag(&mut self, relay: RelayId) -> Option<&mut bool> {
        let slot = self.sockets.get_mut(relay.0 as usize)?;
        slot.as_mut().map(|s| &mut s.ready)
    }

    /// Sends one datagram with the DF bit set (RFC 8656 §14). Per datagram, because the bit is an
    /// option of the socket and must not stick to the next one.
    pub(super) fn send_unfragmented(&self, relay: RelayId, peer: SocketAddr, payload: &[u8]) {
        let Some(RelaySocket { socket, local, .. }) = self.get(relay) else {
            return;
        };
        let result = sys::set_dont_fragment(socket.as_fd(), local.is_ipv4(), true)
            .and_then(|()| socket.send_to(payload, peer))
            .map(|_| ());
        let restored = sys::set_dont_fragment(socket.as_fd(), local.is_ipv4(), false);
        if let Err(error) = result.and(restored) {
            tracing::trace!(%error, "A datagram with DF was not sent.");
        }
    }

    fn get(&self, relay: RelayId) -> Option<&RelaySocket> {
        self.sockets.get(relay.0 as usize)?.as_ref()
    }

    fn insert(&mut self, relay: RelayId, socket: std::net::UdpSocket) -> std::io::Result<()> {
        let local = socket.local_addr()?;
        let mut socket = UdpSocket::from_std(socket);
        self.registry
            .register(&mut socket, token_of(relay), Interest::READABLE)?;
        let index = relay.0 as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(RelaySocket {
            socket,
            local,
            ready: false,
        });
        Ok(())
    }

    /// Closes a socket and answers its local address.
    fn remove(&mut self, relay: RelayId) -> Option<SocketAddr> {
        let mut closed = self.sockets.get_mut(relay.0 as usize)?.take()?;
        if let Err(error) = self.registry.deregister(&mut closed.socket) {
            tracing::debug!(%error, "A relay socket was not registered.");
        }
        Some(closed.local)
    }
}

impl Core {
    /// Does everything that the core asks for, until it asks for nothing more.
    pub(super) fn drain_outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            self.perform(now, output);
        }
    }

    pub(super) fn perform(&mut self, now: Now, output: Output) {
        match output {
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
            Output::CloseRelay { relay } => {
                if let Some(local) = self.relays.remove(relay) {
                    self.ports.close(local);
                }
            }
            // Connections are the listeners' business; there are none yet.
            Output::Disconnect { .. }
            | Output::ConnectPeer { .. }
            | Output::Splice { .. }
            | Output::ClosePeer { .. }
            | Output::HandOver { .. } => {}
            Output::LookupCredential { realm, username } => {
                self.news.send(WorkerNews::Lookup { realm, username });
            }
            Output::Event(event) => self.news.send(WorkerNews::Event(event)),
        }
    }

    fn open_relay(
        &mut self,
        now: Now,
        relay: RelayId,
        request: RelayRequest,
    ) -> Result<RelayOpened, OpenError> {
        let found = self.ports.open(request, now.mono)?;
        self.relays.insert(relay, found.socket).map_err(|error| {
            tracing::warn!(%error, "A relay socket cannot be polled.");
            self.ports.close(found.opened.local);
            OpenError::Failed
        })?;
        Ok(found.opened)
    }
}
