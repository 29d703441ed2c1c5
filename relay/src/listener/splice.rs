//! Connections of clients that are none of the core's any more: joined with a peer's (RFC 6062
//! §5.4), or on their way to another worker.

use std::io;
use std::net::Shutdown;

use turn_proto::five_tuple::{FiveTuple, LinkId};

use super::connection::{Arrived, Connection};
use super::outbound::Kind;
use super::streams::{Accepted, StreamId, Streams, key};
use super::tally::Closing;

/// A connection on its way to another worker: socket, TLS, and what was read and not used yet.
#[derive(Debug)]
pub struct Moved(Connection);

/// A connection that came from another worker.
#[derive(Debug)]
pub struct Attached {
    /// Its name here.
    pub id: StreamId,
    /// Whose it is.
    pub arrived: Arrived,
    /// The connection whose place it takes: one that broke, which the poll did not tell yet.
    pub displaced: Option<StreamId>,
}

impl Moved {
    /// Adds what was read behind the last message.
    pub fn keep(&mut self, rest: &[u8]) {
        self.0.keep(rest);
    }
}

impl Streams {
    /// Joins a client's connection with a peer's; answers what was read of it and not used yet.
    pub fn splice(&mut self, tuple: &FiveTuple, link: LinkId) -> Option<(StreamId, Vec<u8>)> {
        let id = self.by_tuple.remove(&key(tuple))?;
        self.note_session(id);
        let connection = self.get_mut(id)?;
        connection.link = Some(link);
        Some((id, connection.take_partial()))
    }

    /// The peer's connection that a client's is joined with.
    #[must_use]
    pub fn link(&self, id: StreamId) -> Option<LinkId> {
        self.connections.get(id.0 as usize)?.link
    }

    /// The peer's connection is gone.
    pub fn unlink(&mut self, id: StreamId) {
        if let Some(connection) = self.get_mut(id) {
            connection.link = None;
        }
    }

    /// Queues bytes of a peer, after [`flush`](Self::flush) said that nothing waits.
    pub fn queue(&mut self, id: StreamId, bytes: &[u8]) {
        if let Some(connection) = self.get_mut(id) {
            connection
                .out
                .push(Kind::Data, [bytes, &[], &[]], usize::MAX);
        }
    }

    /// Writes what waits; `true`: nothing waits any more.
    ///
    /// # Errors
    /// The connection is broken, or gone.
    pub fn flush(&mut self, id: StreamId) -> io::Result<bool> {
        let connection = self.get_mut(id).ok_or(io::ErrorKind::NotFound)?;
        connection.write()?;
        Ok(!connection.has_unsent())
    }

    /// Tells a client that nothing more comes; everything was flushed before.
    ///
    /// # Errors
    /// The connection is broken, or gone.
    pub fn shut(&mut self, id: StreamId) -> io::Result<()> {
        let connection = self.get_mut(id).ok_or(io::ErrorKind::NotFound)?;
        connection.farewell();
        connection.socket.shutdown(Shutdown::Write)
    }

    /// Lets go of a client's connection, as it is.
    pub fn detach(&mut self, tuple: &FiveTuple) -> Option<Moved> {
        let id = self.by_tuple.remove(&key(tuple))?;
        let mut connection = self.connections.try_remove(id.0 as usize)?;
        if let Err(error) = self.registry.deregister(&mut connection.socket) {
            tracing::debug!(%error, "A connection was not registered.");
        }
        connection.dirty = false;
        connection.ready = false;
        connection.scheduled = None;
        Some(Moved(connection))
    }

    /// Takes a connection over from another worker; `None`: it is closed instead.
    pub fn attach(&mut self, moved: Moved) -> Option<Attached> {
        let connection = moved.0;
        let arrived = connection.arrived();
        let id = StreamId(self.connections.vacant_key() as u32);
        if self.insert(connection) != Accepted::Yes {
            return None;
        }
        Some(Attached {
            id,
            displaced: self.by_tuple.insert(key(&arrived.tuple), id),
            arrived,
        })
    }

    /// Closes a connection that no worker can take.
    pub fn abandon(&self, moved: Moved) {
        let mut connection = moved.0;
        connection.farewell();
        self.settle(&mut connection, Closing::Ordered);
    }
}
