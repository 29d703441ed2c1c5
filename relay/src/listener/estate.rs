//! Connections in the clear that another process carries on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use mio::net::TcpStream;
use shared::Transport;
use turn_proto::five_tuple::FiveTuple;

use super::connection::{Arrived, Connection, Terms};
use super::outbound::Kind;
use super::streams::{Accepted, StreamId, Streams, key};
use super::tally::Closing;
use crate::room::ClientSource;

/// A connection with all that was read and not used yet, and all that is to be written.
#[derive(Debug)]
pub struct StreamEstate {
    /// The socket.
    pub socket: OwnedFd,
    /// Whose it is.
    pub client: SocketAddr,
    /// The listener that it came to.
    pub server: SocketAddr,
    /// A message or a part of one came.
    pub has_begun: bool,
    /// A complete message came.
    pub spoke: bool,
    /// It has a session.
    pub session: bool,
    /// Its client was named by a proxy header.
    pub claimed: bool,
    /// The incomplete message at the end of what was read.
    pub partial: Vec<u8>,
    /// What the socket did not take yet.
    pub unsent: Vec<u8>,
}

impl Streams {
    /// Copies of the connections that another process can carry on: in the clear, joined with no peer's,
    /// and not among those that `stays` names.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn estate(&self, stays: impl Fn(&FiveTuple) -> bool) -> io::Result<Vec<StreamEstate>> {
        let moving = self.connections.iter().map(|(_, connection)| connection);
        let moving = moving.filter(|c| c.can_move() && !stays(&c.tuple));
        moving.map(Connection::estate).collect()
    }

    /// Which ones those are.
    pub fn moving(&self, stays: impl Fn(&FiveTuple) -> bool) -> Vec<(StreamId, FiveTuple)> {
        let moving = self.connections.iter();
        let moving = moving.filter(|(_, c)| c.can_move() && !stays(&c.tuple));
        moving
            .map(|(slot, connection)| (StreamId(slot as u32), connection.tuple))
            .collect()
    }

    /// Drops a connection that another process carries on, without a word to its client.
    pub fn let_go(&mut self, id: StreamId) {
        let Some(mut connection) = self.connections.try_remove(id.0 as usize) else {
            return;
        };
        let key = key(&connection.tuple);
        if self.by_tuple.get(&key) == Some(&id) {
            self.by_tuple.remove(&key);
        }
        if let Err(error) = self.registry.deregister(&mut connection.socket) {
            tracing::debug!(%error, "A connection was not registered.");
        }
        self.settle(&mut connection, Closing::PassedOn);
    }

    /// Takes a connection over; answers the client where its messages have begun.
    ///
    /// # Errors
    /// When the socket is none, or cannot be polled.
    pub fn inherit(&mut self, now: Instant, estate: StreamEstate) -> io::Result<Option<Arrived>> {
        let socket = std::net::TcpStream::from(estate.socket);
        socket.set_nonblocking(true)?;
        let tuple = FiveTuple {
            client: estate.client,
            server: estate.server,
            transport: Transport::Tcp,
        };
        let terms = self.terms(estate.server, estate.claimed);
        let socket = TcpStream::from_std(socket);
        let mut connection = Connection::new(socket, tuple, terms, now);
        connection.keep(&estate.partial);
        let unsent: [&[u8]; 3] = [&estate.unsent, &[], &[]];
        connection.out.push(Kind::Answer, unsent, usize::MAX / 2);
        connection.spoke = estate.spoke;
        connection.session = estate.session;
        let shared = std::sync::Arc::clone(&self.shared);
        shared.tally.accepted();
        if estate.claimed {
            connection.claimed = shared.gate.claim(estate.client, estate.server);
        }
        let source = ClientSource::of(estate.client);
        if !estate.session && shared.room.count(source, usize::MAX) {
            connection.counted = Some(source);
        }
        let arrived = connection.take_up(estate.has_begun);
        let id = StreamId(self.connections.vacant_key() as u32);
        if self.insert(connection) != Accepted::Yes {
            return Err(io::Error::other("the connection cannot be polled"));
        }
        if let Some(arrived) = &arrived {
            self.enroll(id, &arrived.tuple);
        }
        Ok(arrived)
    }

    fn terms(&self, server: SocketAddr, claimed: bool) -> Terms {
        self.terms_of(server).unwrap_or(Terms {
            tcp: true,
            tls: false,
            proxied: claimed,
        })
    }
}

impl Connection {
    fn estate(&self) -> io::Result<StreamEstate> {
        Ok(StreamEstate {
            socket: self.socket.as_fd().try_clone_to_owned()?,
            client: self.tuple.client,
            server: self.tuple.server,
            has_begun: self.is_open(),
            spoke: self.spoke,
            session: self.session,
            claimed: self.claimed,
            partial: self.partial_bytes().to_vec(),
            unsent: self.out.pending().to_vec(),
        })
    }
}
