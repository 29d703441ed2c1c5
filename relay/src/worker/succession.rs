//! A worker's part in a planned restart: what it passes on to another process, and what it takes up.
//!
//! The one that passes on stands still from [`Core::estate`] until it is told whether the other process
//! serves. Then it lets go of what moved, and goes on with what cannot: TLS, DTLS, connections with
//! peers. Datagrams of its DTLS clients reach the other process from then on, and come back through a
//! [`Doorway`].

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, SyncSender};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use shared::{RelayTransport, SessionId, Transport};
use turn_proto::Now;
use turn_proto::five_tuple::FiveTuple;
use turn_proto::server::SessionSnapshot;

use super::restore::Restore;
use super::run::{Core, Drained, Worker, read_clocks};
use super::token::Source;
use crate::listener::StreamEstate;
use turn_udp::batch::SendBatch;

/// Two addresses with their ports in front of a datagram: client, listener.
const HEADER: usize = 2 * (16 + 2);
/// The longest datagram that there is, with its header.
const LONGEST: usize = HEADER + 65_536;
/// Datagrams taken from the doorway per turn.
const BUDGET: usize = 128;

/// What a worker passes on: copies, until the other process serves.
#[derive(Debug)]
pub struct WorkerEstate {
    /// Sessions over UDP and TCP.
    pub sessions: Vec<SessionSnapshot>,
    /// Their relay sockets, by local address.
    pub relays: Vec<(SocketAddr, OwnedFd)>,
    /// Connections in the clear.
    pub streams: Vec<StreamEstate>,
    /// Doors of processes before it that still live: their DTLS clients reach the other process, too.
    pub doorways: Vec<OwnedFd>,
}

/// What a worker takes up besides relay sockets.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Connections.
    pub streams: Vec<StreamEstate>,
    /// Where datagrams of DTLS clients go that this process does not know: one for each process before
    /// it that lives.
    pub doorways: Vec<UnixDatagram>,
}

/// A worker is to stand still.
#[derive(Debug)]
pub(super) struct Freeze {
    pub(super) estate: SyncSender<io::Result<WorkerEstate>>,
    pub(super) resume: Receiver<UnixDatagram>,
}

/// Where datagrams come from, or go to, that another process received or serves.
#[derive(Debug)]
pub(super) struct Doorway(UnixDatagram);

impl Doorway {
    fn new(socket: UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    fn register(&self, registry: &Registry) -> io::Result<()> {
        let mut source = SourceFd(&self.0.as_raw_fd());
        registry.register(&mut source, Source::Doorway.token(), Interest::READABLE)
    }

    /// Whether somebody is behind the door. Says nothing to him.
    fn leads_somewhere(&self) -> bool {
        is_heard(self.0.send(&[]))
    }

    /// Sends a datagram of a client; `false`: nobody is behind the door any more. What has no room is
    /// lost, as datagrams may be.
    fn pass(&self, tuple: &FiveTuple, bytes: &[u8]) -> bool {
        let mut message = Vec::with_capacity(HEADER + bytes.len());
        for address in [tuple.client, tuple.server] {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            message.extend_from_slice(&ip.octets());
            message.extend_from_slice(&address.port().to_be_bytes());
        }
        message.extend_from_slice(bytes);
        is_heard(self.0.send(&message))
    }

    /// Takes a datagram of a DTLS client; `None`: nothing is there.
    fn take<'b>(&self, buffer: &'b mut [u8]) -> Option<(FiveTuple, &'b [u8])> {
        let length = loop {
            let length = self.0.recv(buffer).ok()?;
            // Anything shorter was a question whether somebody is here.
            if length >= HEADER {
                break length;
            }
        };
        let (header, bytes) = buffer[..length].split_at_checked(HEADER)?;
        let (client, server) = header.split_at(HEADER / 2);
        let address = |part: &[u8]| {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&part[..16]).ok()?);
            let port = u16::from_be_bytes(part[16..].try_into().ok()?);
            Some(SocketAddr::new(ip.to_canonical(), port))
        };
        let tuple = FiveTuple {
            client: address(client)?,
            server: address(server)?,
            transport: Transport::Dtls,
        };
        Some((tuple, bytes))
    }
}

/// Whether a message has a receiver, who may be slow.
fn is_heard(sent: io::Result<usize>) -> bool {
    sent.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
}

/// Whether another process can carry the session on: neither secrets of a handshake nor connections
/// with peers hang on it.
fn can_move(session: &SessionSnapshot) -> bool {
    matches!(session.tuple.transport, Transport::Udp | Transport::Tcp)
        && session.relay_transport == RelayTransport::Udp
        && session.links.is_empty()
}

impl Worker {
    /// Takes up connections of the process before this one, and sessions of an earlier start, before
    /// anything is read.
    pub(super) fn restore(&mut self, inheritance: Inheritance, restore: Restore) {
        let now = read_clocks();
        self.core.inherit(now, inheritance);
        self.core.restore(now, restore);
    }

    /// Stands still until it is known whether another process carries on what can move.
    pub(super) fn freeze(&mut self, now: Now, freeze: Freeze) {
        let Freeze { estate, resume } = freeze;
        if estate.send(self.core.estate()).is_err() {
            return;
        }
        // An error: nobody took it, and everything goes on here.
        if let Ok(doorway) = resume.recv() {
            self.core.part(now, self.poll.registry(), doorway);
            // What waits there is the other process's.
            self.ready
                .retain(|source| !matches!(source, Source::Listener(_) | Source::Acceptor(_)));
        }
    }
}

impl Core {
    fn moving(&self) -> Vec<SessionSnapshot> {
        let mut sessions = self.server.snapshots();
        sessions.retain(can_move);
        sessions
    }

    /// Copies of all that another process can carry on.
    pub(super) fn estate(&self) -> io::Result<WorkerEstate> {
        let sessions = self.moving();
        let mut relays = Vec::with_capacity(sessions.len());
        let sockets = self.relays.by_address();
        for local in sessions.iter().flat_map(locals) {
            if let Some(socket) = sockets.get(&local) {
                relays.push((local, socket.try_clone_to_owned()?));
            }
        }
        let doors = self.elders.iter().filter(|door| door.leads_somewhere());
        let doorways: io::Result<_> = doors
            .map(|door| door.0.as_fd().try_clone_to_owned())
            .collect();
        Ok(WorkerEstate {
            sessions,
            relays,
            doorways: doorways?,
            streams: self.streams.estate(|tuple| self.stays(tuple))?,
        })
    }

    /// Whether the session of that client, if it has one, cannot move.
    fn stays(&self, tuple: &FiveTuple) -> bool {
        let session = self.server.snapshot_of(tuple);
        session.is_some_and(|session| !can_move(&session))
    }

    /// Lets go of what another process carries on; the listeners are its too.
    pub(super) fn part(&mut self, now: Now, registry: &Registry, doorway: UnixDatagram) {
        let leaving = self.streams.moving(|tuple| self.stays(tuple));
        let sessions: Vec<SessionId> = self.moving().iter().map(|session| session.id).collect();
        for session in sessions {
            self.server.let_go(session);
            self.drain_outputs(now);
        }
        for (id, tuple) in leaving {
            self.streams.let_go(id);
            // A client that had no session.
            self.server.handle_disconnected(now, tuple);
            self.drain_outputs(now);
        }
        self.streams.stop_listening();
        for listener in &mut self.listeners {
            if let Err(error) = registry.deregister(&mut listener.socket) {
                tracing::warn!(%error, "A listener that was passed on is still read here.");
            }
        }
        // It has the doors of those before, and knocks at them itself.
        self.elders.clear();
        self.open_doorway(registry, doorway);
    }

    fn open_doorway(&mut self, registry: &Registry, socket: UnixDatagram) {
        let opened = Doorway::new(socket).and_then(|doorway| {
            doorway.register(registry)?;
            Ok(doorway)
        });
        match opened {
            Ok(doorway) => self.doorway = Some(doorway),
            Err(error) => tracing::error!(%error, "DTLS clients are not heard any more."),
        }
    }

    /// Takes up connections that another process passed on, before its sessions are restored.
    pub(super) fn inherit(&mut self, now: Now, inheritance: Inheritance) {
        for stream in inheritance.streams {
            match self.streams.inherit(now.mono, stream) {
                Ok(Some(arrived)) => {
                    self.server
                        .handle_connected(now, arrived.tuple, &arrived.arrival);
                    self.drain_outputs(now);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "A connection was not taken over."),
            }
        }
        for socket in inheritance.doorways {
            match Doorway::new(socket) {
                Ok(door) => self.elders.push(door),
                Err(error) => tracing::error!(%error, "DTLS clients are cut off."),
            }
        }
    }

    /// Hands a datagram of a DTLS client to the processes before this one, where they may know the
    /// client; `false`: it is for this one.
    pub(super) fn pass_to_elders(&mut self, tuple: &FiveTuple, bytes: &[u8]) -> bool {
        if self.elders.is_empty() || self.dtls.knows(tuple) || crate::dtls::begins_hello(bytes) {
            return false;
        }
        let before = self.elders.len();
        self.elders.retain(|elder| elder.pass(tuple, bytes));
        if self.elders.len() < before {
            tracing::info!("A process before this one has ended.");
        }
        true
    }

    /// Takes datagrams that the process after this one received.
    pub(super) fn read_doorway(&mut self, now: Now, batch: &mut SendBatch<'_, '_>) -> Drained {
        let mut datagram = vec![0; LONGEST];
        for _ in 0..BUDGET {
            let Some(doorway) = &self.doorway else {
                return Drained::Yes;
            };
            let Some((tuple, bytes)) = doorway.take(&mut datagram) else {
                return Drained::Yes;
            };
            self.dtls.handle_datagram(now.mono, tuple, bytes);
            self.pump_dtls(now, batch);
        }
        Drained::No
    }
}

/// The addresses that a session relays from.
fn locals(session: &SessionSnapshot) -> impl Iterator<Item = SocketAddr> {
    let second = session.second_relay.as_deref();
    let second = second.map(|second| second.local);
    std::iter::once(session.relay_local).chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_go_through_the_door_with_their_addresses() {
        let (here, there) = UnixDatagram::pair().unwrap();
        let (here, there) = (Doorway::new(here).unwrap(), Doorway::new(there).unwrap());
        let mut buffer = vec![0; LONGEST];
        assert!(there.take(&mut buffer).is_none());
        for (client, server) in [
            ("203.0.113.7:4000", "192.0.2.1:3478"),
            ("[2001:db8::7]:4000", "[2001:db8::1]:5349"),
        ] {
            let tuple = FiveTuple {
                client: client.parse().unwrap(),
                server: server.parse().unwrap(),
                transport: Transport::Dtls,
            };
            assert!(here.leads_somewhere());
            assert!(here.pass(&tuple, b"a record"));
            let (arrived, bytes) = there.take(&mut buffer).unwrap();
            assert_eq!((arrived, bytes), (tuple, &b"a record"[..]));
        }
        drop(there);
        let anybody = FiveTuple {
            client: "203.0.113.7:1".parse().unwrap(),
            server: "203.0.113.7:2".parse().unwrap(),
            transport: Transport::Dtls,
        };
        assert!(!here.pass(&anybody, b"nobody is there"));
        assert!(!here.leads_somewhere());
    }
}
