//! Listening relay sockets and connections with peers, by the names that the core gave them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use turn_proto::expiry::ExpiryQueue;
use turn_proto::five_tuple::{LinkId, RelayId};
use turn_proto::server::Direction;

use super::pair::{Pair, Progress, Turn};
use super::socket;
use crate::listener::{StreamBuffers, StreamId, Streams};

/// How long a relay rests when the system is out of descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// How far a connection with a peer has come.
#[derive(Debug)]
enum Stage {
    /// The system connects.
    Connecting,
    /// The client has not bound it yet. Nothing is read: what the peer sends stays in the kernel's
    /// buffer, whose window slows the peer down when it is full.
    Pending,
    /// Joined with a client's connection.
    Joined(Box<Pair>),
}

/// What the core is to be told of a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// The peer has accepted.
    Connected,
    /// It is over; the client's connection that it was joined with is to be closed, too.
    Over(Option<(StreamId, crate::listener::Closing)>),
    /// It wants another turn.
    More,
}

#[derive(Debug)]
struct Relay {
    socket: TcpListener,
    ready: bool,
}

#[derive(Debug)]
struct Link {
    socket: TcpStream,
    stage: Stage,
    ready: bool,
}

/// How tokens are made of names.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// For relay sockets.
    pub relay: fn(RelayId) -> Token,
    /// For connections.
    pub link: fn(LinkId) -> Token,
}

/// The TCP relays of a worker.
#[derive(Debug)]
pub struct Links {
    registry: Registry,
    tokens: Tokens,
    relays: HashMap<RelayId, Relay>,
    links: HashMap<LinkId, Link>,
    /// Pairs to be asked again; may name some that are gone.
    timers: ExpiryQueue<LinkId>,
    /// Relays that rest, and until when.
    resting: Vec<RelayId>,
    resume_at: Option<Instant>,
}

impl Links {
    /// A worker's, without relays.
    #[must_use]
    pub fn new(registry: Registry, tokens: Tokens) -> Self {
        Self {
            registry,
            tokens,
            relays: HashMap::new(),
            links: HashMap::new(),
            timers: ExpiryQueue::default(),
            resting: Vec::new(),
            resume_at: None,
        }
    }

    /// Whether a relay stands in the worker's line.
    pub fn relay_ready(&mut self, relay: RelayId) -> Option<&mut bool> {
        self.relays.get_mut(&relay).map(|relay| &mut relay.ready)
    }

    /// Whether a connection stands in the worker's line.
    pub fn link_ready(&mut self, link: LinkId) -> Option<&mut bool> {
        self.links.get_mut(&link).map(|link| &mut link.ready)
    }

    /// Adds a relay socket that listens.
    ///
    /// # Errors
    /// When it cannot be polled.
    pub fn listen(&mut self, relay: RelayId, socket: std::net::TcpListener) -> io::Result<()> {
        let mut socket = TcpListener::from_std(socket);
        let token = (self.tokens.relay)(relay);
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        let ready = false;
        self.relays.insert(relay, Relay { socket, ready });
        Ok(())
    }

    /// Closes a relay socket and answers its local address.
    pub fn close_relay(&mut self, relay: RelayId) -> Option<SocketAddr> {
        let mut closed = self.relays.remove(&relay)?;
        self.resting.retain(|resting| *resting != relay);
        if let Err(error) = self.registry.deregister(&mut closed.socket) {
            tracing::debug!(%error, "A relay socket was not registered.");
        }
        closed.socket.local_addr().ok()
    }

    /// Begins to connect to a peer.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(&mut self, relay: RelayId, link: LinkId, peer: SocketAddr) -> io::Result<()> {
        let from = self.relays.get(&relay).ok_or(io::ErrorKind::NotFound)?;
        let socket = socket::connect(&from.socket, peer)?;
        self.insert(link, socket, Stage::Connecting)
    }

    /// Takes the next peer that waits at a relay; `None`: nobody does.
    pub fn accept(&mut self, now: Instant, relay: RelayId) -> Option<(TcpStream, SocketAddr)> {
        let from = self.relays.get(&relay)?;
        loop {
            match from.socket.accept() {
                Ok((stream, peer)) => {
                    socket::prepare(&stream);
                    return Some((stream, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // Reset before it was accepted: the next one may be fine.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "A relay rests from accepting connections.");
                    if !self.resting.contains(&relay) {
                        self.resting.push(relay);
                    }
                    self.resume_at = Some(now + REST);
                    return None;
                }
            }
        }
    }

    /// Keeps a peer's connection until the client binds it.
    ///
    /// # Errors
    /// When it cannot be polled.
    pub fn keep(&mut self, link: LinkId, socket: TcpStream) -> io::Result<()> {
        self.insert(link, socket, Stage::Pending)
    }

    fn insert(&mut self, link: LinkId, mut socket: TcpStream, stage: Stage) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = (self.tokens.link)(link);
        self.registry.register(&mut socket, token, interest)?;
        let ready = false;
        let link_of = Link {
            socket,
            stage,
            ready,
        };
        self.links.insert(link, link_of);
        Ok(())
    }

    /// The client has taken note of the connection.
    pub fn connected(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.stage = Stage::Pending;
        }
    }

    /// Joins a peer's connection with a client's.
    pub fn join(&mut self, link: LinkId, pair: Pair) {
        if let Some(link) = self.links.get_mut(&link) {
            link.stage = Stage::Joined(Box::new(pair));
        }
    }

    /// Takes bytes of the client that were read before it was joined.
    pub fn feed(&mut self, link: LinkId, early: &[u8]) {
        if let Some(link) = self.links.get_mut(&link)
            && let Stage::Joined(pair) = &mut link.stage
        {
            pair.feed(early);
        }
    }

    /// Closes a peer's connection; answers the client's that it was joined with.
    pub fn close(&mut self, link: LinkId) -> Option<StreamId> {
        let mut closed = self.links.remove(&link)?;
        if let Err(error) = self.registry.deregister(&mut closed.socket) {
            tracing::debug!(%error, "A connection of a peer was not registered.");
        }
        match closed.stage {
            Stage::Joined(pair) => Some(pair.stream),
            Stage::Connecting | Stage::Pending => None,
        }
    }

    /// Gives a connection its turn.
    pub fn run(
        &mut self,
        now: Instant,
        id: LinkId,
        streams: &mut Streams,
        buffers: &mut StreamBuffers,
        admit: &mut dyn FnMut(Direction, usize) -> bool,
    ) -> Told {
        let Some(link) = self.links.get_mut(&id) else {
            return Told::Nothing;
        };
        match &mut link.stage {
            Stage::Connecting => match established(&link.socket) {
                Ok(true) => Told::Connected,
                Ok(false) => Told::Nothing,
                Err(error) => {
                    tracing::debug!(%error, "A peer cannot be connected to.");
                    Told::Over(None)
                }
            },
            // Its end alone does not matter yet: the client is to get what came before.
            Stage::Pending => match link.socket.take_error() {
                Ok(None) => Told::Nothing,
                Ok(Some(_)) | Err(_) => Told::Over(None),
            },
            Stage::Joined(pair) => {
                let mut turn = Turn {
                    now,
                    peer: &mut link.socket,
                    streams,
                    buffers,
                    admit,
                };
                match pair.run(&mut turn) {
                    Progress::Idle => Told::Nothing,
                    Progress::More => Told::More,
                    Progress::Until(at) => {
                        self.timers.push(at, id);
                        Told::Nothing
                    }
                    Progress::Over(why) => Told::Over(Some((pair.stream, why))),
                }
            }
        }
    }

    /// When [`next_due`](Self::next_due) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.timers.next(), self.resume_at];
        due.into_iter().flatten().min()
    }

    /// The next pair to be asked again.
    pub fn next_due(&mut self, now: Instant) -> Option<LinkId> {
        self.timers.pop_due(now).map(|(_, link)| link)
    }

    /// Relays that have rested enough.
    pub fn rested(&mut self, now: Instant) -> Vec<RelayId> {
        if self.resume_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.resume_at = None;
        std::mem::take(&mut self.resting)
    }
}

/// Whether a connection that was begun is made.
fn established(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
