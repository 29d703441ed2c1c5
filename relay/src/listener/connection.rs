//! One connection: its stage, what was read of it, and what waits to be written.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use shared::Transport;
use turn_proto::Arrival;
use turn_proto::five_tuple::{FiveTuple, LinkId};
use turn_proto::framing::{MAX_FRAME, Partial};
use turn_proto::server::Security;

use super::outbound::Outbound;
use super::proxy::{self, Header};
use super::tally::Closing;
use super::tls::Session;
use super::{Listening, READ, StreamBuffers};
use crate::room::ClientSource;

/// The longest message of a client without a session, in bytes: what an unknown sender may make us
/// keep. The longest request that makes sense (USERNAME, REALM, NONCE, a token) is a third of it.
const MAX_FRAME_BEFORE_SESSION: usize = 8 << 10;

/// How far a connection has come.
#[derive(Debug)]
enum Stage {
    /// A proxy header must come first.
    Proxy,
    /// The first bytes tell TLS from plain.
    Undecided,
    /// TLS, unfinished.
    Handshake(Session),
    /// Messages in the clear.
    Plain,
    /// Messages in TLS.
    Secured(Session),
}

/// What a listener allows.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) tcp: bool,
    pub(super) tls: bool,
    pub(super) proxied: bool,
}

/// A client connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// The client as it is known so far, by its address or by a proxy's header.
    pub(super) tuple: FiveTuple,
    terms: Terms,
    stage: Stage,
    partial: Partial,
    pub(super) out: Outbound,
    /// Since when it waits for what its stage lacks.
    pub(super) since: Instant,
    /// A complete message came.
    pub(super) spoke: bool,
    /// It has a session, as far as was looked.
    pub(super) session: bool,
    /// The source that counts it, while it has no session.
    pub(super) counted: Option<ClientSource>,
    /// Its 5-tuple is claimed by a proxy header.
    pub(super) claimed: bool,
    /// The peer's connection that it is joined with: no messages any more.
    pub(super) link: Option<LinkId>,
    /// It stands in the worker's line.
    pub(super) ready: bool,
    /// The end of the stream, or an error, is there to be read.
    pub(super) ending: bool,
    /// Something waits to be written, and the socket took all it could.
    pub(super) dirty: bool,
    /// Its entry among the deadlines.
    pub(super) scheduled: Option<Instant>,
    /// Tells it from others that had its slot.
    pub(super) serial: u64,
}

/// A client whose messages begin.
#[derive(Debug)]
pub struct Arrived {
    /// Who.
    pub tuple: FiveTuple,
    /// What its handshake said.
    pub arrival: Arrival,
}

/// What one read brought.
#[derive(Debug)]
pub struct Brought {
    /// Bytes of messages at the front of the buffer.
    pub len: usize,
    /// Nothing more is there.
    pub drained: bool,
    /// The client will send nothing more.
    pub finished: bool,
    /// The client became known with this read.
    pub arrived: Option<Arrived>,
}

impl Brought {
    /// Others go first; there may be something.
    pub(super) fn later() -> Self {
        Self::nothing(false)
    }

    fn nothing(drained: bool) -> Self {
        Self {
            len: 0,
            drained,
            finished: false,
            arrived: None,
        }
    }
}

impl Connection {
    /// What TLS agreed on; `None`: there is none, or not yet.
    pub(super) fn security(&self) -> Option<Security> {
        match &self.stage {
            Stage::Secured(session) => Some(session.security()),
            _ => None,
        }
    }

    pub(super) fn new(socket: TcpStream, tuple: FiveTuple, terms: Terms, now: Instant) -> Self {
        let stage = if terms.proxied {
            Stage::Proxy
        } else {
            Stage::Undecided
        };
        Self {
            socket,
            tuple,
            terms,
            stage,
            partial: Partial::default(),
            out: Outbound::default(),
            since: now,
            spoke: false,
            session: false,
            counted: None,
            claimed: false,
            link: None,
            ready: false,
            ending: false,
            dirty: false,
            scheduled: None,
            serial: 0,
        }
    }

    /// Whether messages may come and go: the core knows of it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Plain | Stage::Secured(_))
    }

    /// The transport, once it is known.
    pub(super) fn transport(&self) -> Option<Transport> {
        self.is_open().then_some(self.tuple.transport)
    }

    /// Whether it costs a step of a TLS handshake to go on.
    pub(super) fn is_costly(&self) -> bool {
        match self.stage {
            Stage::Handshake(_) => true,
            Stage::Proxy | Stage::Undecided => self.terms.tls,
            Stage::Plain | Stage::Secured(_) => false,
        }
    }

    /// Whether a proxy header or a handshake is awaited.
    pub(super) fn is_securing(&self) -> bool {
        matches!(self.stage, Stage::Proxy | Stage::Handshake(_))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Handshake(_))
    }

    /// The longest message that it may send now.
    pub(super) fn frame_limit(&self) -> usize {
        if self.session {
            MAX_FRAME
        } else {
            MAX_FRAME_BEFORE_SESSION
        }
    }

    /// What was read and not used yet.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial).into_bytes()
    }

    /// The same, left where it is.
    pub(super) fn partial_bytes(&self) -> &[u8] {
        self.partial.bytes()
    }

    /// Whether another process can carry it on: nothing of TLS hangs on it, nor a peer's connection.
    pub(super) fn can_move(&self) -> bool {
        let is_untouched = matches!(self.stage, Stage::Undecided) && self.partial.is_empty();
        (matches!(self.stage, Stage::Plain) || is_untouched) && self.link.is_none()
    }

    /// Makes one of another process what it was there; answers the client where messages have begun.
    pub(super) fn take_up(&mut self, has_begun: bool) -> Option<Arrived> {
        if has_begun {
            return Some(self.open(Stage::Plain));
        }
        self.stage = Stage::Undecided;
        None
    }

    /// The client, and what its handshake said.
    pub(super) fn arrived(&self) -> Arrived {
        let server_name = match &self.stage {
            Stage::Secured(session) => session.server_name(),
            _ => None,
        };
        Arrived {
            tuple: self.tuple,
            arrival: Arrival {
                server_name,
                home: None,
            },
        }
    }

    /// Whether something waits to be written, records of TLS included.
    pub(super) fn has_unsent(&self) -> bool {
        let records = match &self.stage {
            Stage::Handshake(session) | Stage::Secured(session) => session.has_unsent(),
            Stage::Proxy | Stage::Undecided | Stage::Plain => false,
        };
        records || !self.out.is_empty()
    }

    /// Keeps the incomplete message at the end of what was read.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.partial.keep(rest);
    }

    /// Reads once and gets as far as that goes.
    pub(super) fn read(
        &mut self,
        now: Instant,
        shared: &Listening,
        buffers: &mut StreamBuffers,
    ) -> Result<Brought, Closing> {
        let StreamBuffers { clear, cipher } = buffers;
        if let Stage::Handshake(_) | Stage::Secured(_) = self.stage {
            let Some(count) = receive(&mut self.socket, &mut cipher[..READ])? else {
                return Ok(Brought::nothing(true));
            };
            let drained = count < READ && !self.ending;
            return self.decrypt(now, &cipher[..count], clear, drained);
        }
        let kept = self.partial.take(clear);
        let received = receive(&mut self.socket, &mut clear[kept..kept + READ]);
        if !matches!(received, Ok(Some(_))) {
            self.partial.keep(&clear[..kept]);
        }
        let Some(count) = received? else {
            return Ok(Brought::nothing(true));
        };
        let mut len = kept + count;
        let drained = count < READ && !self.ending;
        if let Stage::Proxy = self.stage {
            let Some(consumed) = self.proxy_header(&clear[..len], shared)? else {
                self.partial.keep(&clear[..len]);
                return Ok(Brought::nothing(drained));
            };
            clear.copy_within(consumed..len, 0);
            len -= consumed;
        }
        let mut arrived = None;
        if let Stage::Undecided = self.stage {
            match clear[..len] {
                [] => return Ok(Brought::nothing(drained)),
                // A TLS record of a handshake (RFC 8446 §5.1); no STUN or ChannelData begins so.
                [0x16, ..] => {
                    self.begin_tls(shared)?;
                    cipher[..len].copy_from_slice(&clear[..len]);
                    return self.decrypt(now, &cipher[..len], clear, drained);
                }
                _ if !self.terms.tcp => return Err(Closing::NotServed),
                _ => arrived = Some(self.open(Stage::Plain)),
            }
        }
        Ok(Brought {
            len,
            drained,
            finished: false,
            arrived,
        })
    }

    /// Why it ends really: a client that closes may have been in the middle of something.
    pub(super) fn ended(&self, why: Closing) -> Closing {
        match why {
            Closing::Client if self.is_handshaking() || !self.partial.is_empty() => {
                Closing::Truncated
            }
            why => why,
        }
    }

    /// Takes a proxy header off the front and answers its length; `None`: more of it must come.
    fn proxy_header(&mut self, bytes: &[u8], shared: &Listening) -> Result<Option<usize>, Closing> {
        let Header::Complete { consumed, client } =
            proxy::parse(bytes).map_err(|_| Closing::Proxy)?
        else {
            return Ok(None);
        };
        if let Some(client) = client {
            self.become_client(client, shared)?;
        }
        self.stage = Stage::Undecided;
        Ok(Some(consumed))
    }

    fn become_client(&mut self, client: SocketAddr, shared: &Listening) -> Result<(), Closing> {
        self.tuple.client = client;
        if !shared.gate.claim(client, self.tuple.server) {
            return Err(Closing::Duplicate);
        }
        self.claimed = true;
        let source = ClientSource::of(client);
        if !shared
            .room
            .count(source, shared.limits.load().max_per_source)
        {
            return Err(Closing::SourceLimit);
        }
        if let Some(proxy) = self.counted.replace(source) {
            shared.room.discount(proxy);
        }
        Ok(())
    }

    fn begin_tls(&mut self, shared: &Listening) -> Result<(), Closing> {
        let config = shared.tls.tls().filter(|_| self.terms.tls);
        let config: Arc<rustls::ServerConfig> = config.ok_or(Closing::NotServed)?;
        let session = Session::new(config).map_err(|_| Closing::Tls)?;
        self.stage = Stage::Handshake(session);
        Ok(())
    }

    fn decrypt(
        &mut self,
        now: Instant,
        records: &[u8],
        clear: &mut [u8],
        drained: bool,
    ) -> Result<Brought, Closing> {
        let (Stage::Handshake(session) | Stage::Secured(session)) = &mut self.stage else {
            return Ok(Brought::nothing(drained));
        };
        let kept = self.partial.take(clear);
        let opened = session.open(records, clear, kept).map_err(|error| {
            tracing::debug!(%error, "TLS with a client failed.");
            Closing::Tls
        })?;
        self.dirty = true;
        let mut arrived = None;
        if self.is_handshaking() {
            arrived = self.secured(now);
        }
        Ok(Brought {
            len: opened.len,
            drained,
            finished: opened.finished,
            arrived,
        })
    }

    /// Takes note of a handshake that is over.
    fn secured(&mut self, now: Instant) -> Option<Arrived> {
        match std::mem::replace(&mut self.stage, Stage::Undecided) {
            Stage::Handshake(session) if !session.is_handshaking() => {
                self.since = now;
                self.tuple.transport = Transport::Tls;
                Some(self.open(Stage::Secured(session)))
            }
            unfinished => {
                self.stage = unfinished;
                None
            }
        }
    }

    fn open(&mut self, stage: Stage) -> Arrived {
        self.stage = stage;
        self.arrived()
    }

    /// Writes what waits until there is nothing left or the socket takes no more.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let done = match &mut self.stage {
            Stage::Handshake(session) | Stage::Secured(session) => {
                session.write(&mut self.out, &mut self.socket)
            }
            Stage::Proxy | Stage::Undecided | Stage::Plain => self.write_plain(),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }

    fn write_plain(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.socket.write(self.out.pending())? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.out.advance(count),
            }
        }
        Ok(())
    }

    /// Sends what can still be sent before the socket closes, an alert of TLS included.
    pub(super) fn farewell(&mut self) {
        if let Stage::Secured(session) = &mut self.stage {
            session.say_goodbye();
        }
        if let Err(error) = self.write() {
            tracing::trace!(%error, "A connection is closed with words unsaid.");
        }
    }
}

/// Reads what is there; `None`: nothing yet.
fn receive(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, Closing> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Err(Closing::Client),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Err(Closing::Broken),
        };
    }
}
