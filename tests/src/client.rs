//! A blocking TURN client over UDP, on the core's codec: what the suites and the demo talk with.

pub use crate::login::Login;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use shared::PasswordAlgorithm;
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use crate::credentials::{Asking, Credentials, address, parse};

/// The first wait for an answer; doubled with each retransmission (RFC 8489 §6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The same of a patient client: longer than a busy machine holds anything up.
const PATIENT_WAIT: Duration = Duration::from_secs(5);
/// Sendings of one request.
const ATTEMPTS: u32 = 5;
/// Data kept while the client waits for an answer; the oldest goes first.
const MAX_KEPT: usize = 4096;
/// Room for the largest datagram.
const DATAGRAM: usize = 65_536;
/// REQUESTED-TRANSPORT UDP (RFC 8656 §18.7).
const TRANSPORT_UDP: u32 = 17 << 24;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with this STUN error code.
    #[error("refused with {0}")]
    Refused(u16),
    /// No answer after all retransmissions.
    #[error("no answer")]
    Timeout,
    /// The answer lacks what it must have.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
    /// A success whose MESSAGE-INTEGRITY does not fit the key.
    #[error("the answer is not signed with our key")]
    Unsigned,
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
}

impl ClientError {
    /// The STUN error code, where the server refused.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(code) => Some(*code),
            _ => None,
        }
    }
}

/// What to ask for in an Allocate.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocateOptions {
    /// LIFETIME in seconds.
    pub lifetime: Option<u32>,
    /// EVEN-PORT, with the bit that reserves the next port.
    pub even_port: Option<bool>,
    /// RESERVATION-TOKEN of an earlier answer.
    pub token: Option<[u8; 8]>,
    /// DONT-FRAGMENT.
    pub dont_fragment: bool,
    /// REQUESTED-ADDRESS-FAMILY: 1 or 2.
    pub family: Option<u8>,
}

/// What an Allocate was answered with.
#[derive(Clone, Copy, Debug)]
pub struct Allocated {
    /// XOR-RELAYED-ADDRESS.
    pub relay: SocketAddr,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: SocketAddr,
    /// LIFETIME in seconds.
    pub lifetime: u32,
    /// RESERVATION-TOKEN.
    pub token: Option<[u8; 8]>,
}

/// How data came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// In a Data indication from this peer.
    Peer(SocketAddr),
    /// On this channel.
    Channel(u16),
}

/// An ICMP error about a datagram to a peer (RFC 8656 §18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The peer.
    pub peer: SocketAddr,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// Error Data: an MTU in bytes, or 0.
    pub data: u32,
}

/// A client with at most one allocation.
#[derive(Debug)]
pub struct TurnClient {
    socket: UdpSocket,
    server: SocketAddr,
    credentials: Credentials,
    kept: VecDeque<(From, Vec<u8>)>,
    first_wait: Duration,
    retransmissions: u32,
    buffer: Vec<u8>,
}

impl TurnClient {
    /// A client on a free port of the loopback address of the server's family.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn new(server: SocketAddr, login: Login) -> io::Result<Self> {
        let local = if server.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        Self::bound(local.parse().expect("a literal address"), server, login)
    }

    /// A client on `local`.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn bound(local: SocketAddr, server: SocketAddr, login: Login) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        Ok(Self {
            socket,
            server,
            credentials: Credentials::new(login),
            kept: VecDeque::new(),
            first_wait: FIRST_WAIT,
            retransmissions: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// The client's own address.
    ///
    /// # Panics
    /// Never for a bound socket.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.socket
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// The socket, for raw traffic.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Has it wait so long before it sends a request again that only a request which was lost is sent again.
    pub fn be_patient(&mut self) {
        self.first_wait = PATIENT_WAIT;
    }

    /// How often a request had to be sent again.
    #[must_use]
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    /// ALTERNATE-SERVER of the last 300 that was signed with our key.
    #[must_use]
    pub fn alternate(&self) -> Option<SocketAddr> {
        self.credentials.alternate
    }

    /// Uses what the server offers of RFC 8489 from its next challenge on: the first password
    /// algorithm of its list, MESSAGE-INTEGRITY-SHA256, and USERHASH.
    pub fn speak_rfc8489(&mut self) {
        self.credentials.rfc8489 = true;
    }

    /// What the client chose of PASSWORD-ALGORITHMS, and whether it sends USERHASH.
    #[must_use]
    pub fn speaks(&self) -> (Option<PasswordAlgorithm>, bool) {
        let credentials = &self.credentials;
        (credentials.algorithm(), credentials.is_anonymous())
    }

    /// Binding: the server-reflexive address.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn binding(&mut self) -> Result<SocketAddr, ClientError> {
        self.ask_binding()
    }

    /// Allocate with defaults.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn allocate(&mut self) -> Result<Allocated, ClientError> {
        self.allocate_with(AllocateOptions::default())
    }

    /// Allocate.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn allocate_with(&mut self, options: AllocateOptions) -> Result<Allocated, ClientError> {
        let answer = self.request(Method::Allocate, |request| {
            let mut request = request.number(AttributeType::REQUESTED_TRANSPORT, TRANSPORT_UDP);
            if let Some(lifetime) = options.lifetime {
                request = request.number(AttributeType::LIFETIME, lifetime);
            }
            if let Some(reserve) = options.even_port {
                request = request.attribute(AttributeType::EVEN_PORT, &[u8::from(reserve) << 7]);
            }
            if let Some(token) = options.token {
                request = request.attribute(AttributeType::RESERVATION_TOKEN, &token);
            }
            if options.dont_fragment {
                request = request.attribute(AttributeType::DONT_FRAGMENT, &[]);
            }
            if let Some(family) = options.family {
                let value = [family, 0, 0, 0];
                request = request.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &value);
            }
            request
        })?;
        let answer = parse(&answer)?;
        Ok(Allocated {
            relay: address(
                &answer,
                AttributeType::XOR_RELAYED_ADDRESS,
                "XOR-RELAYED-ADDRESS",
            )?,
            mapped: address(
                &answer,
                AttributeType::XOR_MAPPED_ADDRESS,
                "XOR-MAPPED-ADDRESS",
            )?,
            lifetime: lifetime(&answer)?,
            token: answer
                .attribute(AttributeType::RESERVATION_TOKEN)
                .and_then(|value| value.try_into().ok()),
        })
    }

    /// Refresh with this LIFETIME in seconds (0 deletes); answers the lifetime granted.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn refresh(&mut self, seconds: u32) -> Result<u32, ClientError> {
        let answer = self.request(Method::Refresh, |request| {
            request.number(AttributeType::LIFETIME, seconds)
        })?;
        lifetime(&parse(&answer)?)
    }

    /// CreatePermission for all of `peers` at once.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn permit(&mut self, peers: &[IpAddr]) -> Result<(), ClientError> {
        let add = |request: MessageBuilder, peer: &IpAddr| {
            request.xor_address(AttributeType::XOR_PEER_ADDRESS, SocketAddr::new(*peer, 0))
        };
        self.request(Method::CreatePermission, |request| {
            peers.iter().fold(request, add)
        })?;
        Ok(())
    }

    /// ChannelBind.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), ClientError> {
        self.ask_channel(number, peer)
    }

    /// Sends `payload` to `peer` in a Send indication.
    ///
    /// # Errors
    /// The socket failed.
    pub fn send(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let message = MessageBuilder::new(Class::Indication, Method::Send, fresh_id())
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::DATA, payload)
            .finish();
        self.socket.send_to(&message, self.server).map(drop)
    }

    /// Sends `payload` to `peer` in a Send indication with DONT-FRAGMENT.
    ///
    /// # Errors
    /// The socket failed.
    pub fn send_whole(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let message = MessageBuilder::new(Class::Indication, Method::Send, fresh_id())
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::DONT_FRAGMENT, &[])
            .attribute(AttributeType::DATA, payload)
            .finish();
        self.socket.send_to(&message, self.server).map(drop)
    }

    /// The next ICMP error; data that comes meanwhile is lost. `None` when none comes within
    /// `wait`.
    ///
    /// # Errors
    /// The socket failed.
    pub fn recv_icmp(&mut self, wait: Duration) -> io::Result<Option<Icmp>> {
        let end = Instant::now() + wait;
        while let Some(bytes) = self.datagram(end)? {
            if let Some(icmp) = icmp_of(&bytes) {
                return Ok(Some(icmp));
            }
        }
        Ok(None)
    }

    /// Sends `payload` on a channel.
    ///
    /// # Errors
    /// The socket failed, or `number` is no channel and `payload` no datagram.
    pub fn send_channel(&self, number: u16, payload: &[u8]) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let number = ChannelNumber::new(number).ok_or_else(invalid)?;
        let len = u16::try_from(payload.len()).map_err(|_| invalid())?;
        let mut message = ChannelData::header(number, len).to_vec();
        message.extend_from_slice(payload);
        self.socket.send_to(&message, self.server).map(drop)
    }

    /// The next data from a peer; `None` when none comes within `wait`.
    ///
    /// # Errors
    /// The socket failed.
    pub fn recv(&mut self, wait: Duration) -> io::Result<Option<(From, Vec<u8>)>> {
        if let Some(data) = self.kept.pop_front() {
            return Ok(Some(data));
        }
        let end = Instant::now() + wait;
        while let Some(bytes) = self.datagram(end)? {
            if let Some((from, payload)) = data_of(&bytes) {
                return Ok(Some((from, payload.to_vec())));
            }
        }
        Ok(None)
    }

    /// An authenticated request; the whole success answer.
    ///
    /// A 401 or 438 is followed by a second attempt with the realm and nonce given.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn request(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> Result<Vec<u8>, ClientError> {
        self.ask(method, fill)
    }

    /// The next datagram from the server before `end`.
    fn datagram(&mut self, end: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut self.buffer) {
                Ok((len, source)) if source == self.server => {
                    return Ok(Some(self.buffer[..len].to_vec()));
                }
                Ok(_) => {}
                // A refused port of an earlier datagram is reported here; the server may come yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Asking for TurnClient {
    fn credentials(&mut self) -> &mut Credentials {
        &mut self.credentials
    }

    /// Sends `request` until it is answered; data that comes meanwhile is kept.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut wait = self.first_wait;
        for attempt in 0..ATTEMPTS {
            self.retransmissions += u32::from(attempt > 0);
            self.socket.send_to(request, self.server)?;
            let end = Instant::now() + wait;
            while let Some(bytes) = self.datagram(end)? {
                if bytes.get(8..20) == request.get(8..20) {
                    return Ok(bytes);
                }
                if let Some((from, payload)) = data_of(&bytes) {
                    if self.kept.len() == MAX_KEPT {
                        self.kept.pop_front();
                    }
                    self.kept.push_back((from, payload.to_vec()));
                }
            }
            wait *= 2;
        }
        Err(ClientError::Timeout)
    }
}

/// A transaction id nobody used.
#[must_use]
pub fn fresh_id() -> TransactionId {
    TransactionId(rand::random())
}

/// Data of a peer in `bytes`: ChannelData or a Data indication.
fn data_of(bytes: &[u8]) -> Option<(From, &[u8])> {
    if let Some(data) = ChannelData::parse(bytes) {
        return Some((From::Channel(data.number.get()), data.payload));
    }
    let message = Message::parse(bytes).ok()?;
    if message.class() != Class::Indication || message.method() != Method::Data {
        return None;
    }
    let peer = message
        .xor_address(AttributeType::XOR_PEER_ADDRESS)
        .ok()??;
    Some((From::Peer(peer), message.attribute(AttributeType::DATA)?))
}

fn icmp_of(bytes: &[u8]) -> Option<Icmp> {
    let message = Message::parse(bytes).ok()?;
    let peer = message.xor_address(AttributeType::XOR_PEER_ADDRESS);
    let &[0, 0, kind, code, a, b, c, d] = message.attribute(AttributeType::ICMP)? else {
        return None;
    };
    Some(Icmp {
        peer: peer.ok()??,
        kind,
        code,
        data: u32::from_be_bytes([a, b, c, d]),
    })
}

fn lifetime(answer: &Message<'_>) -> Result<u32, ClientError> {
    answer
        .number(AttributeType::LIFETIME)
        .ok()
        .flatten()
        .ok_or(ClientError::Incomplete("LIFETIME"))
}
