//! Clients over TCP and TLS: a connection each, all in one thread, many messages per read and write.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use shared::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use turn_proto::framing::{Front, MAX_FRAME, front};

use super::plan::Place;
use super::poll::Poll;
use crate::turn::TurnError;
use crate::turn::link::client_config;

/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// Bytes that wait to be written to one connection at most; what is more counts as not sent.
const MOST_WAITING: usize = 8 << 20;

/// The clients.
pub(super) struct Streams {
    server: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// By client; made when it first sends.
    connections: Vec<Option<Box<Connection>>>,
    poll: Poll,
    room: Box<[u8]>,
    /// Clients with something to write.
    touched: Vec<usize>,
    /// Connections that ended, and why.
    ended: Vec<(usize, TurnError)>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("server", &self.server)
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

/// A client's connection.
struct Connection {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    /// The beginning of a message whose end has not come.
    inbox: Vec<u8>,
    /// What is not written yet; behind TLS, that is kept there.
    outbox: Vec<u8>,
    touched: bool,
}

impl Streams {
    /// So many clients of the server in `place`.
    ///
    /// # Errors
    /// What the certificates are to be checked with cannot be used.
    pub(super) fn new(place: &Place, clients: usize) -> Result<Self, TurnError> {
        let tls = match place.transport {
            Transport::Tls => {
                let name = place.tls.name_for(&place.host)?;
                Some((client_config(&place.tls)?, name))
            }
            _ => None,
        };
        Ok(Self {
            server: place.server,
            tls,
            connections: (0..clients).map(|_| None).collect(),
            poll: Poll::new()?,
            room: vec![0; READ].into_boxed_slice(),
            touched: Vec::with_capacity(clients),
            ended: Vec::new(),
        })
    }

    /// Ends the connection of `client`; its next message makes another one.
    pub(super) fn renew(&mut self, client: usize) {
        self.connections[client] = None;
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.poll.fd()
    }

    /// Where messages of `client` come from.
    ///
    /// # Errors
    /// No connection can be made.
    pub(super) fn address(&mut self, client: usize) -> Result<SocketAddr, TurnError> {
        Ok(self.connection(client)?.socket.local_addr()?)
    }

    /// A connection that ended since the last question, and why.
    pub(super) fn take_ended(&mut self) -> Option<(usize, TurnError)> {
        self.ended.pop()
    }

    fn connection(&mut self, client: usize) -> Result<&mut Connection, TurnError> {
        let place = &mut self.connections[client];
        if place.is_none() {
            let socket = connect(self.server)?;
            self.poll.add_stream(socket.as_fd(), client)?;
            let tls = self.tls.as_ref().map(|(config, name)| {
                let mut tls = ClientConnection::new(config.clone(), name.clone())?;
                tls.set_buffer_limit(None);
                Ok(tls)
            });
            let tls: Result<Option<ClientConnection>, rustls::Error> = tls.transpose();
            *place = Some(Box::new(Connection {
                socket,
                tls: tls.map_err(failed_tls)?,
                inbox: Vec::new(),
                outbox: Vec::new(),
                touched: false,
            }));
        }
        place
            .as_deref_mut()
            .ok_or(TurnError::Incomplete("connection"))
    }

    /// Writes messages of clients, those of one client at once. Answers how many were not taken.
    pub(super) fn send<'p>(&mut self, messages: impl Iterator<Item = (usize, &'p [u8])>) -> u64 {
        let mut failed = 0;
        for (client, bytes) in messages {
            let taken = match self.connection(client) {
                Ok(connection) => {
                    let first = !std::mem::replace(&mut connection.touched, true);
                    let taken = connection.push(bytes);
                    if first {
                        self.touched.push(client);
                    }
                    taken
                }
                Err(error) => {
                    self.ended.push((client, error));
                    false
                }
            };
            failed += u64::from(!taken);
        }
        while let Some(client) = self.touched.pop() {
            let Some(connection) = &mut self.connections[client] else {
                continue;
            };
            connection.touched = false;
            if let Err(error) = connection.flush() {
                self.end(client, error);
            }
        }
        failed
    }

    /// Gives what came to clients to `each`, with the client and the time.
    pub(super) fn receive(
        &mut self,
        each: &mut impl FnMut(usize, &[u8], Instant),
    ) -> io::Result<()> {
        while self.poll.look()? {
            for index in 0..self.poll.count() {
                let client = self.poll.number(index);
                let Some(connection) = &mut self.connections[client] else {
                    continue;
                };
                let written = connection.flush();
                let room = &mut self.room;
                let mut each = |message: &[u8], now: Instant| each(client, message, now);
                let read = written.and_then(|()| connection.read(room, &mut each));
                if let Err(error) = read {
                    self.end(client, error);
                }
            }
            if !self.poll.is_full() {
                break;
            }
        }
        Ok(())
    }

    fn end(&mut self, client: usize, error: TurnError) {
        self.connections[client] = None;
        self.ended.push((client, error));
    }
}

/// Begins a connection.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let domain = Domain::for_address(server);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // What is written together leaves together anyway.
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&server.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

fn failed_tls(error: rustls::Error) -> TurnError {
    TurnError::Tls {
        error,
        certificate: None,
    }
}

fn closed() -> TurnError {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection",
    )
    .into()
}

impl Connection {
    /// Adds a message to what is to be written, if there is room.
    fn push(&mut self, bytes: &[u8]) -> bool {
        if self.outbox.len() + bytes.len() > MOST_WAITING {
            return false;
        }
        match &mut self.tls {
            // A record each: servers there are take a record for a message, and lose what follows.
            Some(tls) => tls.writer().write_all(bytes).is_ok(),
            None => {
                self.outbox.extend_from_slice(bytes);
                true
            }
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> Result<(), TurnError> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                if would_block(tls.write_tls(&mut self.socket))?.is_none() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut written = 0;
        while written < self.outbox.len() {
            match would_block(self.socket.write(&self.outbox[written..]))? {
                Some(count) => written += count,
                None => break,
            }
        }
        if written == self.outbox.len() {
            self.outbox.clear();
        } else {
            self.outbox.drain(..written);
        }
        Ok(())
    }

    /// Reads what there is and gives each whole message to `each`.
    fn read(
        &mut self,
        room: &mut [u8],
        each: &mut impl FnMut(&[u8], Instant),
    ) -> Result<(), TurnError> {
        loop {
            let Some(count) = self.read_some(room)? else {
                return self.flush();
            };
            if count == 0 {
                return Err(closed());
            }
            let now = Instant::now();
            let bytes = &room[..count];
            if self.inbox.is_empty() {
                let taken = take_frames(bytes, now, each)?;
                self.inbox.extend_from_slice(&bytes[taken..]);
            } else {
                self.inbox.extend_from_slice(bytes);
                let taken = take_frames(&self.inbox, now, each)?;
                self.inbox.drain(..taken);
            }
        }
    }

    /// Bytes of messages; `None`: nothing more for now, zero: the end.
    fn read_some(&mut self, room: &mut [u8]) -> Result<Option<usize>, TurnError> {
        let Some(tls) = &mut self.tls else {
            return would_block(self.socket.read(room));
        };
        loop {
            if let Some(count) = would_block(tls.reader().read(room))? {
                return Ok(Some(count));
            }
            match would_block(tls.read_tls(&mut self.socket))? {
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => {
                    let processed = tls.process_new_packets();
                    processed.map_err(failed_tls)?;
                }
            }
        }
    }
}

/// `None` where there is nothing to do for now.
fn would_block(outcome: io::Result<usize>) -> Result<Option<usize>, TurnError> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives the whole messages at the front to `each`, and answers how many bytes they were.
fn take_frames(
    bytes: &[u8],
    now: Instant,
    each: &mut impl FnMut(&[u8], Instant),
) -> Result<usize, TurnError> {
    let mut taken = 0;
    loop {
        match front(&bytes[taken..], MAX_FRAME) {
            Ok(Front::Frame { message, consumed }) => {
                each(message, now);
                taken += consumed;
            }
            Ok(Front::Incomplete) => return Ok(taken),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use turn_proto::channel_data::{ChannelData, ChannelNumber};

    use super::*;

    #[test]
    fn messages_are_taken_whole_wherever_reads_cut_them() {
        let number = ChannelNumber::new(0x4001).unwrap();
        let mut stream = Vec::new();
        for len in [0_u16, 5, 160, 3] {
            stream.extend_from_slice(&ChannelData::header(number, len));
            stream.extend(std::iter::repeat_n(len as u8, usize::from(len)));
            stream.resize(stream.len().next_multiple_of(4), 0);
        }
        for cut in 1..stream.len() {
            let (mut inbox, mut lens) = (Vec::new(), Vec::new());
            for part in stream.chunks(cut) {
                inbox.extend_from_slice(part);
                let each = &mut |message: &[u8], _| lens.push(message.len() - 4);
                let taken = take_frames(&inbox, Instant::now(), each).unwrap();
                inbox.drain(..taken);
            }
            assert_eq!((lens, inbox.len()), (vec![0, 5, 160, 3], 0), "{cut}");
        }
        let garbage = take_frames(&[0xff; 8], Instant::now(), &mut |_, _| {});
        assert!(matches!(garbage, Err(TurnError::Io(_))));
    }
}
