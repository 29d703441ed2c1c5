//! A blocking TURN client over UDP, on the core's codec: what the suites and the demo talk with.

pub use crate::login::Login;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use shared::PasswordAlgorithm;
use turn_proto::auth::credential::{IntegrityKey, userhash};
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::password_algorithm;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

/// The first wait for an answer; doubled with each retransmission (RFC 8489 §6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
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
    login: Login,
    realm: String,
    nonce: Vec<u8>,
    key: Option<IntegrityKey>,
    rfc8489: bool,
    /// PASSWORD-ALGORITHMS as it came, and what was chosen of it.
    chosen: Option<(Vec<u8>, PasswordAlgorithm)>,
    kept: VecDeque<(From, Vec<u8>)>,
    alternate: Option<SocketAddr>,
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
            login,
            realm: String::new(),
            nonce: Vec::new(),
            key: None,
            rfc8489: false,
            chosen: None,
            kept: VecDeque::new(),
            alternate: None,
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

    /// How often a request had to be sent again.
    #[must_use]
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    /// ALTERNATE-SERVER of the last 300 that was signed with our key.
    #[must_use]
    pub fn alternate(&self) -> Option<SocketAddr> {
        self.alternate
    }

    /// Uses what the server offers of RFC 8489 from its next challenge on: the first password
    /// algorithm of its list, MESSAGE-INTEGRITY-SHA256, and USERHASH.
    pub fn speak_rfc8489(&mut self) {
        self.rfc8489 = true;
    }

    /// What the client chose of PASSWORD-ALGORITHMS, and whether it sends USERHASH.
    #[must_use]
    pub fn speaks(&self) -> (Option<PasswordAlgorithm>, bool) {
        let chosen = self.chosen.as_ref().map(|(_, chosen)| *chosen);
        (chosen, self.is_anonymous())
    }

    /// The second bit of the nonce cookie's features: of the six in its first character.
    fn is_anonymous(&self) -> bool {
        let features = self
            .nonce
            .strip_prefix(b"obMatJos2")
            .and_then(<[u8]>::first);
        self.rfc8489 && matches!(features, Some(b'Q' | b'w'))
    }

    /// Adds credentials, and signs.
    fn signed(&self, mut request: MessageBuilder, key: &IntegrityKey) -> MessageBuilder {
        let name = &self.login.username;
        request = if self.is_anonymous() {
            request.attribute(AttributeType::USERHASH, &userhash(name, &self.realm))
        } else {
            request.attribute(AttributeType::USERNAME, name.as_bytes())
        };
        request = request
            .attribute(AttributeType::REALM, self.realm.as_bytes())
            .attribute(AttributeType::NONCE, &self.nonce);
        let Some((list, chosen)) = &self.chosen else {
            return request.integrity(key.as_bytes());
        };
        let chosen = password_algorithm::entry(*chosen);
        request
            .attribute(AttributeType::PASSWORD_ALGORITHMS, list)
            .attribute(AttributeType::PASSWORD_ALGORITHM, &chosen)
            .integrity_of(IntegrityKind::Sha256, key.as_bytes())
    }

    /// Binding: the server-reflexive address.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn binding(&mut self) -> Result<SocketAddr, ClientError> {
        let request = MessageBuilder::request(Method::Binding, fresh_id()).finish();
        let answer = self.exchange(&request)?;
        let answer = Message::parse(&answer).map_err(|_| ClientError::Incomplete("a frame"))?;
        address(
            &answer,
            AttributeType::XOR_MAPPED_ADDRESS,
            "XOR-MAPPED-ADDRESS",
        )
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
        self.request(Method::ChannelBind, |request| {
            request
                .number(AttributeType::CHANNEL_NUMBER, u32::from(number) << 16)
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        })?;
        Ok(())
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
        let mut challenged = 0;
        loop {
            let mut request = fill(MessageBuilder::request(method, fresh_id()));
            if let Some(key) = &self.key {
                request = self.signed(request, key);
            }
            let bytes = self.exchange(&request.finish())?;
            let answer = parse(&bytes)?;
            if answer.class() == Class::Success {
                let signed = self
                    .key
                    .as_ref()
                    .is_some_and(|k| answer.verify_integrity(k.as_bytes()));
                // Of a client that chose an algorithm, SHA-256 alone (RFC 8489 §9.2.4).
                let kind = self.chosen.as_ref().map(|_| IntegrityKind::Sha256);
                let fits = kind.is_none_or(|kind| answer.integrity_kind() == Some(kind));
                return if signed && fits {
                    Ok(bytes)
                } else {
                    Err(ClientError::Unsigned)
                };
            }
            let code = answer
                .error_code()
                .ok_or(ClientError::Incomplete("ERROR-CODE"))?
                .get();
            if code == 300 {
                let signed = |key: &IntegrityKey| answer.verify_integrity(key.as_bytes());
                if !self.key.as_ref().is_some_and(signed) {
                    return Err(ClientError::Unsigned);
                }
                let server = answer.plain_address(AttributeType::ALTERNATE_SERVER);
                let server = server.ok().flatten();
                self.alternate = Some(server.ok_or(ClientError::Incomplete("ALTERNATE-SERVER"))?);
            }
            let first_401 = code == 401 && self.key.is_none();
            if challenged > 1 || !(first_401 || code == 438) {
                return Err(ClientError::Refused(code));
            }
            challenged += 1;
            self.accept_challenge(&answer)?;
        }
    }

    fn accept_challenge(&mut self, answer: &Message<'_>) -> Result<(), ClientError> {
        let nonce = answer.attribute(AttributeType::NONCE);
        let realm = answer.attribute(AttributeType::REALM);
        self.nonce = nonce.ok_or(ClientError::Incomplete("NONCE"))?.to_vec();
        let realm = realm.ok_or(ClientError::Incomplete("REALM"))?;
        self.realm = String::from_utf8_lossy(realm).into_owned();
        let list = answer.attribute(AttributeType::PASSWORD_ALGORITHMS);
        self.chosen = list.filter(|_| self.rfc8489).and_then(|list| {
            let first = password_algorithm::read_list(list).next()?;
            Some((list.to_vec(), first))
        });
        let chosen = self.chosen.as_ref().map(|(_, chosen)| *chosen);
        let algorithm = chosen.unwrap_or(PasswordAlgorithm::Md5);
        let Login { username, password } = &self.login;
        let key = IntegrityKey::derive(algorithm, username, &self.realm, password);
        self.key = Some(key);
        Ok(())
    }

    /// Sends `request` until it is answered; data that comes meanwhile is kept.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut wait = FIRST_WAIT;
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

fn parse(bytes: &[u8]) -> Result<Message<'_>, ClientError> {
    Message::parse(bytes).map_err(|_| ClientError::Incomplete("a sound frame"))
}

fn address(
    answer: &Message<'_>,
    kind: AttributeType,
    name: &'static str,
) -> Result<SocketAddr, ClientError> {
    answer
        .xor_address(kind)
        .ok()
        .flatten()
        .ok_or(ClientError::Incomplete(name))
}

fn lifetime(answer: &Message<'_>) -> Result<u32, ClientError> {
    answer
        .number(AttributeType::LIFETIME)
        .ok()
        .flatten()
        .ok_or(ClientError::Incomplete("LIFETIME"))
}
