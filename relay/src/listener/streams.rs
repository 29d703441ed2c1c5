//! The connections of one worker: a slab of them, their deadlines, and who has something to write.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use shared::{IpRange, Transport};
use slab::Slab;
use socket2::SockRef;
use turn_proto::expiry::ExpiryQueue;
use turn_proto::five_tuple::{FiveTuple, FiveTupleMap};
use turn_proto::server::Security;

use super::connection::{Brought, Connection, Terms};
use super::outbound::Kind;
use super::tally::Closing;
use super::{Listening, StreamBuffers};
use crate::config::ConnectionLimits;
use crate::room::ClientSource;

/// How long a listener rests when the system is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Steps of TLS handshakes per turn. A step may sign with RSA (a millisecond), and packets of all
/// others wait meanwhile.
const HANDSHAKE_STEPS: u32 = 4;

/// Names a connection of one worker. Reused after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// What became of one attempt to accept.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A connection.
    Yes,
    /// A connection that was closed at once, or that broke before it was accepted.
    Refused,
    /// Nobody waits, or accepting pauses.
    No,
}

/// What became of bytes for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Queued; [`Streams::write_next`] sends them.
    Queued(StreamId),
    /// Dropped, because the client reads too slowly.
    Dropped,
    /// Not even an answer has room: the connection is of no use.
    Stuck(StreamId),
    /// Nobody has that 5-tuple any more.
    Gone,
}

/// A listener of this worker.
#[derive(Debug)]
struct Acceptor {
    address: SocketAddr,
    socket: TcpListener,
    terms: Terms,
    proxies: Vec<IpRange>,
    ready: bool,
}

/// The TCP side of a worker.
#[derive(Debug)]
pub struct Streams {
    pub(super) shared: Arc<Listening>,
    pub(super) registry: Registry,
    token_of: fn(StreamId) -> Token,
    acceptors: Vec<Acceptor>,
    pub(super) connections: Slab<Connection>,
    /// Those that the core knows of, by their [`key`].
    pub(super) by_tuple: FiveTupleMap<StreamId>,
    /// One live entry per connection.
    deadlines: ExpiryQueue<(u32, u64)>,
    /// Connections with something to write; may name some that are gone.
    dirty: Vec<StreamId>,
    /// Tells connections apart that have the same id one after the other.
    serial: u64,
    handshakes: usize,
    steps_left: u32,
    /// When paused listeners try again.
    resume_at: Option<Instant>,
}

/// What a connection is found by: TLS or not, there is one of its addresses.
pub(super) fn key(tuple: &FiveTuple) -> FiveTuple {
    FiveTuple {
        transport: Transport::Tcp,
        ..*tuple
    }
}

impl Streams {
    /// A worker's, without listeners.
    #[must_use]
    pub fn new(
        shared: Arc<Listening>,
        registry: Registry,
        token_of: fn(StreamId) -> Token,
    ) -> Self {
        Self {
            shared,
            registry,
            token_of,
            acceptors: Vec::new(),
            connections: Slab::new(),
            by_tuple: FiveTupleMap::default(),
            deadlines: ExpiryQueue::default(),
            dirty: Vec::new(),
            serial: 0,
            handshakes: 0,
            steps_left: HANDSHAKE_STEPS,
            resume_at: None,
        }
    }

    /// Adds a listener; its number is that of listeners before.
    ///
    /// # Errors
    /// When it cannot be polled.
    pub fn listen(
        &mut self,
        listener: std::net::TcpListener,
        transports: &[Transport],
        proxies: Vec<IpRange>,
        token: Token,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        let mut socket = TcpListener::from_std(listener);
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        self.acceptors.push(Acceptor {
            address,
            socket,
            terms: Terms {
                tcp: transports.contains(&Transport::Tcp),
                tls: transports.contains(&Transport::Tls),
                proxied: !proxies.is_empty(),
            },
            proxies,
            ready: false,
        });
        Ok(())
    }

    /// What the listener of that address allows.
    pub(super) fn terms_of(&self, address: SocketAddr) -> Option<Terms> {
        let acceptor = self.acceptors.iter().find(|a| a.address == address)?;
        Some(acceptor.terms.clone())
    }

    /// Accepts nobody any more; other processes may have the same listeners.
    pub fn stop_listening(&mut self) {
        for mut acceptor in self.acceptors.drain(..) {
            if let Err(error) = self.registry.deregister(&mut acceptor.socket) {
                tracing::debug!(%error, "A listener was not registered.");
            }
        }
    }

    /// How many listeners there are.
    #[must_use]
    pub fn acceptors(&self) -> usize {
        self.acceptors.len()
    }

    /// Whether a listener stands in the worker's line.
    pub fn acceptor_ready(&mut self, index: usize) -> Option<&mut bool> {
        self.acceptors.get_mut(index).map(|a| &mut a.ready)
    }

    /// Whether a connection stands in the worker's line.
    pub fn ready(&mut self, id: StreamId) -> Option<&mut bool> {
        self.get_mut(id).map(|connection| &mut connection.ready)
    }

    /// Takes note of what the poll says of a connection.
    pub fn noted(&mut self, id: StreamId, event: &mio::event::Event) {
        let Some(connection) = self.get_mut(id) else {
            return;
        };
        connection.ending |= event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.want_write(id);
        }
    }

    /// A new turn of the worker's loop begins.
    pub fn begin_turn(&mut self) {
        self.steps_left = HANDSHAKE_STEPS;
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Connection> {
        self.connections.get_mut(id.0 as usize)
    }

    /// Accepts one connection.
    pub fn accept(&mut self, now: Instant, index: usize) -> Accepted {
        let Some(acceptor) = self.acceptors.get(index) else {
            return Accepted::No;
        };
        let (socket, client) = match acceptor.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accepted::No,
            Err(error) if is_exhaustion(&error) => {
                tracing::debug!(%error, "Accepting connections pauses.");
                self.shared.tally.paused();
                self.resume_at = Some(now + PAUSE);
                return Accepted::No;
            }
            // Reset before it was accepted, and the like: the next one may be fine.
            Err(_) => return Accepted::Refused,
        };
        self.shared.tally.accepted();
        let tuple = FiveTuple {
            client,
            server: acceptor.address,
            transport: Transport::Tcp,
        };
        let mut connection = Connection::new(socket, tuple, acceptor.terms.clone(), now);
        match self.admit(index, client) {
            Ok(source) => {
                connection.counted = source;
                self.insert(connection)
            }
            Err(why) => {
                reset(&connection.socket);
                self.settle(&mut connection, why);
                Accepted::Refused
            }
        }
    }

    /// Holds a new connection to the bounds; answers the source that counts it. One behind a proxy is
    /// counted when its header tells the client.
    fn admit(&self, index: usize, client: SocketAddr) -> Result<Option<ClientSource>, Closing> {
        let acceptor = &self.acceptors[index];
        if self.shared.is_crowded() {
            return Err(Closing::NodeLimit);
        }
        if acceptor.terms.proxied {
            let ip = client.ip().to_canonical();
            let is_ours = acceptor.proxies.iter().any(|range| range.contains(ip));
            return if is_ours {
                Ok(None)
            } else {
                Err(Closing::Proxy)
            };
        }
        let source = ClientSource::of(client);
        let most = self.shared.limits.load().max_per_source;
        if self.shared.room.count(source, most) {
            Ok(Some(source))
        } else {
            Err(Closing::SourceLimit)
        }
    }

    pub(super) fn insert(&mut self, mut connection: Connection) -> Accepted {
        self.serial += 1;
        connection.serial = self.serial;
        let id = StreamId(self.connections.vacant_key() as u32);
        let token = (self.token_of)(id);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .registry
            .register(&mut connection.socket, token, interest);
        if let Err(error) = registered {
            tracing::warn!(%error, "A connection cannot be polled.");
            self.settle(&mut connection, Closing::Broken);
            return Accepted::Refused;
        }
        self.connections.insert(connection);
        self.schedule(id);
        Accepted::Yes
    }

    /// Reads once from a connection. What came stands in front of `buffers.clear`; whoever takes it
    /// gives back the rest with [`keep`](Self::keep). `None`: the connection is gone, or others go
    /// first with their handshakes, or nothing came.
    ///
    /// # Errors
    /// Why it has to be closed.
    pub fn read(
        &mut self,
        now: Instant,
        id: StreamId,
        buffers: &mut StreamBuffers,
    ) -> Result<Option<Brought>, Closing> {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return Ok(None);
        };
        if connection.is_costly() && self.steps_left == 0 {
            return Ok(Some(Brought::later()));
        }
        let before = connection.is_handshaking();
        let result = connection.read(now, &self.shared, buffers);
        let after = connection.is_handshaking();
        if before || after {
            self.steps_left = self.steps_left.saturating_sub(1);
        }
        match (before, after) {
            (false, true) => self.handshakes += 1,
            (true, false) => self.handshakes -= 1,
            _ => {}
        }
        if after && !before && self.handshakes > self.shared.limits.load().tls_handshakes {
            return Err(Closing::HandshakeLimit);
        }
        let needs_write = connection.dirty;
        connection.dirty = false;
        if needs_write {
            self.want_write(id);
        }
        if let Ok(Brought {
            arrived: Some(_), ..
        }) = &result
        {
            self.schedule(id);
        }
        result.map(Some)
    }

    /// Keeps the incomplete message at the end of what was read.
    pub fn keep(&mut self, id: StreamId, rest: &[u8]) {
        if let Some(connection) = self.get_mut(id) {
            connection.keep(rest);
        }
    }

    /// A client is known and its messages begin: from now on it can be sent to. Answers a connection
    /// whose place it takes: one that broke, which the poll did not tell yet.
    pub fn enroll(&mut self, id: StreamId, tuple: &FiveTuple) -> Option<StreamId> {
        if let Some(connection) = self.connections.get(id.0 as usize)
            && let Some(transport) = connection.transport()
        {
            self.shared.tally.opened(transport);
        }
        self.by_tuple.insert(key(tuple), id)
    }

    /// Who the connection is, and the longest message it may send; `None`: it is closed.
    #[must_use]
    pub fn speaker(&self, id: StreamId, serial: u64) -> Option<usize> {
        let connection = self.connections.get(id.0 as usize)?;
        (connection.serial == serial).then(|| connection.frame_limit())
    }

    /// Tells a connection from others with its id; `None`: there is none.
    #[must_use]
    pub fn serial(&self, id: StreamId) -> Option<(u64, FiveTuple)> {
        let connection = self.connections.get(id.0 as usize)?;
        Some((connection.serial, connection.tuple))
    }

    /// Whether a connection is not known to have a session.
    #[must_use]
    pub fn lacks_session(&self, id: StreamId) -> bool {
        self.connections
            .get(id.0 as usize)
            .is_some_and(|connection| !connection.session)
    }

    /// A complete message came.
    pub fn note_message(&mut self, id: StreamId) {
        if let Some(connection) = self.get_mut(id)
            && !std::mem::replace(&mut connection.spoke, true)
        {
            self.schedule(id);
        }
    }

    /// The client has a session: it counts for its source no more.
    pub fn note_session(&mut self, id: StreamId) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return;
        };
        connection.session = true;
        if let Some(source) = connection.counted.take() {
            self.shared.room.discount(source);
        }
    }

    /// What a client's connection is protected with.
    #[must_use]
    pub fn security(&self, tuple: &FiveTuple) -> Option<Security> {
        let id = self.find(tuple)?;
        self.connections.get(id.0 as usize)?.security()
    }

    /// The connection of a client.
    #[must_use]
    pub fn find(&self, tuple: &FiveTuple) -> Option<StreamId> {
        self.by_tuple.get(&key(tuple)).copied()
    }

    /// Queues the parts of one message for a client.
    pub fn send(&mut self, tuple: &FiveTuple, kind: Kind, parts: [&[u8]; 3]) -> Sent {
        let Some(id) = self.find(tuple) else {
            return Sent::Gone;
        };
        let bound = self.shared.limits.load().write_queue_bytes;
        let Some(connection) = self.get_mut(id) else {
            return Sent::Gone;
        };
        if connection.out.push(kind, parts, bound) {
            self.want_write(id);
            return Sent::Queued(id);
        }
        match kind {
            Kind::Data => Sent::Dropped,
            Kind::Answer => Sent::Stuck(id),
        }
    }

    fn want_write(&mut self, id: StreamId) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return;
        };
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Writes for the next connection that has something to write; `None`: there is none left.
    ///
    /// # Errors
    /// The connection that broke meanwhile.
    pub fn write_next(&mut self) -> Option<Result<(), StreamId>> {
        let id = self.dirty.pop()?;
        let Some(connection) = self.get_mut(id) else {
            return Some(Ok(()));
        };
        connection.dirty = false;
        Some(connection.write().map_err(|_| id))
    }

    /// Closes a connection; answers its 5-tuple where the core knows of it.
    pub fn close(&mut self, id: StreamId, why: Closing) -> Option<FiveTuple> {
        let mut connection = self.connections.try_remove(id.0 as usize)?;
        let why = connection.ended(why);
        tracing::trace!(client = %connection.tuple.client, ?why, "A connection ends.");
        match why {
            Closing::SourceLimit | Closing::HandshakeLimit | Closing::Duplicate => {
                reset(&connection.socket);
            }
            Closing::Broken => {}
            _ => connection.farewell(),
        }
        if let Err(error) = self.registry.deregister(&mut connection.socket) {
            tracing::debug!(%error, "A connection was not registered.");
        }
        if connection.is_handshaking() {
            self.handshakes -= 1;
        }
        let tuple = connection.tuple;
        let key = key(&tuple);
        let known = connection.is_open();
        // Another one may have taken its place already.
        if known && self.by_tuple.get(&key) == Some(&id) {
            self.by_tuple.remove(&key);
        }
        self.settle(&mut connection, why);
        let connections = &self.connections;
        self.deadlines
            .sweep(connections.len(), |when, (slot, serial)| {
                let connection = connections.get(*slot as usize);
                connection.is_some_and(|c| c.serial == *serial && c.scheduled == Some(when))
            });
        known.then_some(tuple)
    }

    /// Gives back what a connection took of bounds that all workers share.
    pub(super) fn settle(&self, connection: &mut Connection, why: Closing) {
        if let Some(source) = connection.counted.take() {
            self.shared.room.discount(source);
        }
        if connection.claimed {
            let FiveTuple { client, server, .. } = connection.tuple;
            self.shared.gate.release(client, server);
        }
        self.shared.tally.closed(why, connection.transport());
    }

    /// When [`next_due`](Self::next_due) or [`resume`](Self::resume) want to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.deadlines.next(), self.resume_at];
        due.into_iter().flatten().min()
    }

    /// Whether paused listeners are to be tried again.
    pub fn resume(&mut self, now: Instant) -> bool {
        let due = self.resume_at.is_some_and(|at| at <= now);
        if due {
            self.resume_at = None;
        }
        due
    }

    /// The next connection whose time is over.
    pub fn next_due(
        &mut self,
        now: Instant,
        has_session: impl Fn(&FiveTuple) -> bool,
    ) -> Option<(StreamId, Closing)> {
        while let Some((when, (slot, serial))) = self.deadlines.pop_due(now) {
            let Some(connection) = self.connections.get_mut(slot as usize) else {
                continue;
            };
            if connection.serial != serial || connection.scheduled != Some(when) {
                continue;
            }
            connection.scheduled = None;
            let id = StreamId(slot);
            let lives = connection.link.is_some() || has_session(&connection.tuple);
            if connection.is_open() && lives {
                self.note_session(id);
                let look_again = now + self.shared.limits.load().max_allocate_timeout;
                self.schedule_at(id, look_again);
                continue;
            }
            if std::mem::replace(&mut connection.session, false) {
                // It ended: the connection may serve for another one, for a while.
                connection.since = now;
                let source = ClientSource::of(connection.tuple.client);
                if self.shared.room.count(source, usize::MAX) {
                    connection.counted = Some(source);
                }
            }
            let (deadline, why) = self.deadline(id)?;
            if deadline <= now {
                return Some((id, why));
            }
            self.schedule_at(id, deadline);
        }
        None
    }

    /// When a connection is over unless something happens, and why.
    fn deadline(&self, id: StreamId) -> Option<(Instant, Closing)> {
        let connection = self.connections.get(id.0 as usize)?;
        let limits = self.shared.limits.load();
        let (patience, why) = connection.patience(&limits);
        Some((connection.since + patience, why))
    }

    fn schedule(&mut self, id: StreamId) {
        if let Some((deadline, _)) = self.deadline(id) {
            self.schedule_at(id, deadline);
        }
    }

    /// A deadline behind the scheduled one needs nothing: it is found when that comes up.
    fn schedule_at(&mut self, id: StreamId, deadline: Instant) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return;
        };
        if connection.scheduled.is_none_or(|at| deadline < at) {
            connection.scheduled = Some(deadline);
            let key = (id.0, connection.serial);
            self.deadlines.push(deadline, key);
        }
    }
}

/// Whether the system is out of something that comes back by itself.
fn is_exhaustion(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// Lets a socket end without TIME_WAIT, so that refusing a flood costs nothing afterwards.
fn reset(socket: &TcpStream) {
    if let Err(error) = SockRef::from(socket).set_linger(Some(Duration::ZERO)) {
        tracing::trace!(%error, "A connection ends the slow way.");
    }
}

impl Connection {
    /// How long it may stay as it is, and why it is closed then.
    fn patience(&self, limits: &ConnectionLimits) -> (Duration, Closing) {
        if self.is_securing() {
            (limits.handshake_timeout, Closing::HandshakeTimeout)
        } else if !self.spoke {
            (limits.first_message_timeout, Closing::FirstMessageTimeout)
        } else {
            (limits.max_allocate_timeout, Closing::AllocateTimeout)
        }
    }
}
