//! What carries the messages of all clients.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use shared::Transport;

use super::datagrams::{Batches, Datagrams};
use super::error::BenchError;
use super::plan::Place;
use super::streams::Streams;
use crate::turn::TurnError;

/// UDP, or a connection each.
#[derive(Debug)]
pub(super) enum Carrier {
    /// UDP.
    Datagrams(Datagrams),
    /// TCP or TLS.
    Streams(Streams),
}

impl Carrier {
    /// So many clients of the server in `place`.
    ///
    /// # Errors
    /// There are no more sockets, or fewer addresses than clients.
    pub(super) fn new(place: &Place, clients: usize) -> Result<Self, BenchError> {
        // A socket each may be more than a shell allows; where it stays so, bind or connect says it.
        let _ = turn_udp::sys::raise_descriptor_limit();
        match place.transport {
            Transport::Udp => Ok(Self::Datagrams(Datagrams::new(place, clients)?)),
            Transport::Tcp | Transport::Tls => {
                let streams = Streams::new(place, clients);
                let failed = |error| BenchError::connection(place.transport, error);
                Ok(Self::Streams(streams.map_err(failed)?))
            }
            Transport::Dtls => {
                let what = "bench speaks UDP, TCP and TLS: turn:, turn:...?transport=tcp or \
                            turns:...?transport=tcp";
                Err(BenchError::Plan(what.to_owned()))
            }
        }
    }

    /// Gives `client` a 5-tuple that it did not have before, as far as there are any.
    ///
    /// # Errors
    /// There is no other socket.
    pub(super) fn renew(&mut self, client: usize) -> Result<(), BenchError> {
        match self {
            Self::Datagrams(datagrams) => Ok(datagrams.renew(client)?),
            Self::Streams(streams) => {
                streams.renew(client);
                Ok(())
            }
        }
    }

    /// Where messages of `client` come from.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) fn address(&mut self, client: usize) -> Result<SocketAddr, TurnError> {
        match self {
            Self::Datagrams(datagrams) => Ok(datagrams.address(client)?),
            Self::Streams(streams) => streams.address(client),
        }
    }

    /// Whether messages follow each other in a stream.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Streams(_))
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagrams(datagrams) => datagrams.fd(),
            Self::Streams(streams) => streams.fd(),
        }
    }

    /// Sends messages of clients; over UDP, those of one client that follow each other leave
    /// `together` where so. Answers how many were not taken.
    pub(super) fn send<'p>(
        &mut self,
        batches: &mut Batches,
        together: bool,
        messages: impl Iterator<Item = (usize, &'p [u8])>,
    ) -> u64 {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(batches, together, messages),
            Self::Streams(streams) => streams.send(messages),
        }
    }

    /// Gives what came to clients to `each`, with the client and the time.
    ///
    /// # Errors
    /// The system tells nothing more of sockets.
    pub(super) fn receive(
        &mut self,
        batches: &mut Batches,
        each: &mut impl FnMut(usize, &[u8], Instant),
    ) -> std::io::Result<()> {
        match self {
            Self::Datagrams(datagrams) => datagrams.receive(batches, each),
            Self::Streams(streams) => streams.receive(each),
        }
    }

    /// A connection that ended since the last question, and why.
    pub(super) fn take_ended(&mut self) -> Option<(usize, TurnError)> {
        match self {
            Self::Datagrams(_) => None,
            Self::Streams(streams) => streams.take_ended(),
        }
    }
}
