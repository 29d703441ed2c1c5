//! A client that knows its password: signs requests, follows challenges, learns from answers.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

use shared::{PasswordAlgorithm, Transport};
use turn_proto::FiveTuple;
use turn_proto::auth::credential::{IntegrityKey, userhash};
use turn_proto::auth::rest;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::password_algorithm;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};

use crate::access::AccessToken;
use crate::policies::{REALM, SECRET};
use crate::world::World;

/// How a client signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// As RFC 5389 says: MD5 and SHA-1.
    Classic,
    /// As RFC 8489 says, where it is offered: SHA-256.
    Modern,
    /// And without its name: USERHASH.
    Anonymous,
}

/// Whom a client is.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address and the listener it talks to.
    pub tuple: FiveTuple,
    username: String,
    password: String,
    /// How it signs.
    pub habit: Habit,
    /// The page that it works for, told as ORIGIN.
    pub origin: Option<&'static str>,
    /// The server name that it asks for when it connects.
    pub server_name: Option<&'static str>,
    /// Whether it adds a FINGERPRINT.
    pub fingerprint: bool,
    /// What it shows in place of a password.
    pub access: Option<AccessToken>,
    /// Whether it keeps its token to itself where a session knows it already.
    pub shy: bool,
    /// The realm of the last challenge.
    realm: String,
    /// PASSWORD-ALGORITHMS of the last challenge.
    offered: Option<Vec<u8>>,
    nonce: Vec<u8>,
    /// Every key that it signed with.
    used: HashSet<Vec<u8>>,
    /// The request it sent last, as it went out.
    pub last: Vec<u8>,
    /// RESERVATION-TOKEN of the last answer that had one.
    pub token: [u8; 8],
    /// CONNECTION-ID of the last message that had one.
    pub connection: u32,
    /// MOBILITY-TICKET of the last answer that had one.
    pub ticket: Vec<u8>,
    /// XOR-RELAYED-ADDRESS of the last answer that had one.
    pub relayed: Option<SocketAddr>,
    next: u64,
}

impl Client {
    /// A client with a password.
    #[must_use]
    pub fn new(tuple: FiveTuple, username: &str, password: &str) -> Self {
        Self {
            tuple,
            username: username.to_owned(),
            password: password.to_owned(),
            habit: Habit::Classic,
            origin: None,
            server_name: None,
            fingerprint: false,
            access: None,
            shy: false,
            realm: REALM.to_owned(),
            offered: None,
            nonce: Vec::new(),
            used: HashSet::new(),
            last: Vec::new(),
            token: [0; 8],
            connection: 0,
            ticket: Vec::new(),
            relayed: None,
            next: 0,
        }
    }

    /// A client with a time-limited credential.
    #[must_use]
    pub fn with_rest(tuple: FiveTuple, username: &str) -> Self {
        let password = rest::password(SECRET.as_bytes(), username);
        Self::new(tuple, username, &password)
    }

    /// The same client with another habit.
    #[must_use]
    pub fn signing(self, habit: Habit) -> Self {
        Self { habit, ..self }
    }

    /// A transaction id of its own.
    pub fn transaction(&mut self) -> TransactionId {
        self.next += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.next.to_be_bytes());
        id[8..10].copy_from_slice(&self.tuple.client.port().to_be_bytes());
        TransactionId(id)
    }

    /// A request of this method.
    pub fn request(&mut self, method: Method) -> MessageBuilder {
        MessageBuilder::request(method, self.transaction())
    }

    /// Signs a request; before the first challenge there is nothing to sign with.
    #[must_use]
    pub fn sign(&mut self, mut request: MessageBuilder) -> Vec<u8> {
        if let Some(origin) = self.origin {
            request = request.attribute(A::ORIGIN, origin.as_bytes());
        }
        if !self.nonce.is_empty() {
            request = self.identified(request);
            let key = self.key();
            request = request.integrity_of(self.kind(), &key);
            self.used.insert(key);
        }
        if self.fingerprint {
            request = request.fingerprint();
        }
        request.finish()
    }

    /// Adds all that says who it is, but the signature.
    fn identified(&self, request: MessageBuilder) -> MessageBuilder {
        // The second feature bit of the nonce cookie (RFC 8489 §18.1): user anonymity.
        let anonymity = self.nonce.starts_with(b"obMatJos2wAAA");
        let request = match &self.access {
            Some(access) if self.shy => request.attribute(A::USERNAME, access.kid.as_bytes()),
            Some(access) => request
                .attribute(A::USERNAME, access.kid.as_bytes())
                .attribute(A::ACCESS_TOKEN, &access.value),
            None if self.habit == Habit::Anonymous && anonymity => {
                request.attribute(A::USERHASH, &userhash(&self.username, &self.realm))
            }
            None => request.attribute(A::USERNAME, self.username.as_bytes()),
        };
        let request = request
            .attribute(A::REALM, self.realm.as_bytes())
            .attribute(A::NONCE, &self.nonce);
        let modern = self.habit != Habit::Classic;
        match self.offered.as_ref().filter(|_| modern) {
            Some(offered) => request
                .attribute(A::PASSWORD_ALGORITHMS, offered)
                .attribute(
                    A::PASSWORD_ALGORITHM,
                    &password_algorithm::entry(self.algorithm()),
                ),
            None => request,
        }
    }

    fn algorithm(&self) -> PasswordAlgorithm {
        match self.kind() {
            IntegrityKind::Sha256 => PasswordAlgorithm::Sha256,
            IntegrityKind::Sha1 => PasswordAlgorithm::Md5,
        }
    }

    fn kind(&self) -> IntegrityKind {
        if self.habit != Habit::Classic && self.offered.is_some() {
            IntegrityKind::Sha256
        } else {
            IntegrityKind::Sha1
        }
    }

    fn key(&self) -> Vec<u8> {
        if let Some(access) = &self.access {
            return access.mac_key.clone();
        }
        let algorithm = self.algorithm();
        let key = IntegrityKey::derive(algorithm, &self.username, &self.realm, &self.password);
        key.as_bytes().to_vec()
    }

    /// Whether an answer is signed with a key of its own; another may be in use by now.
    fn signed(&self, answer: &Message<'_>) -> bool {
        self.used.iter().any(|key| answer.verify_integrity(key))
    }

    /// Signs a request and sends it; a challenge is followed once. The error code, 0 for success;
    /// `None`: no answer (yet).
    pub fn ask(&mut self, world: &mut World, request: &MessageBuilder) -> Option<u16> {
        let code = self.ask_once(world, request);
        match code {
            Some(401 | 438) => self.ask_once(world, request),
            other => other,
        }
    }

    fn ask_once(&mut self, world: &mut World, request: &MessageBuilder) -> Option<u16> {
        self.last = self.sign(request.clone());
        self.again(world)
    }

    /// Sends the last request once more, byte for byte.
    pub fn again(&mut self, world: &mut World) -> Option<u16> {
        world.announce(self.tuple, self.server_name);
        let passed = world.client(self.tuple, &self.last);
        assert_eq!(passed, None, "a request is no data");
        self.listen(world)
    }

    /// Reads what was sent to this client; the code of the last answer among it.
    pub fn listen(&mut self, world: &mut World) -> Option<u16> {
        let mine = self.tuple;
        let (own, others): (VecDeque<_>, VecDeque<_>) =
            world.sent.drain(..).partition(|(to, _)| *to == mine);
        world.sent = others;
        let codes = own.iter().map(|(_, bytes)| self.learn(bytes));
        codes.fold(None, |before, code| code.or(before))
    }

    /// Learns from a message: nonce, token, ticket, connection; its code if it is an answer.
    pub fn learn(&mut self, bytes: &[u8]) -> Option<u16> {
        let message = Message::parse(bytes).ok()?;
        if let Some(nonce) = message.attribute(A::NONCE) {
            self.nonce = nonce.to_vec();
            let realm = message.attribute(A::REALM).unwrap_or_default();
            self.realm = String::from_utf8_lossy(realm).into_owned();
            let offered = message.attribute(A::PASSWORD_ALGORITHMS);
            self.offered = offered.map(<[u8]>::to_vec);
        }
        if let Some(token) = message.attribute(A::RESERVATION_TOKEN) {
            self.token = token.try_into().ok()?;
        }
        if let Some(ticket) = message.attribute(A::MOBILITY_TICKET) {
            self.ticket = ticket.to_vec();
        }
        if let Ok(Some(connection)) = message.number(A::CONNECTION_ID) {
            self.connection = connection;
        }
        if let Ok(Some(relayed)) = message.xor_address(A::XOR_RELAYED_ADDRESS) {
            self.relayed = Some(relayed);
        }
        match message.class() {
            Class::Success => {
                assert!(
                    message.method() == Method::Binding || self.signed(&message),
                    "a success of {:?} is signed",
                    message.method()
                );
                Some(0)
            }
            Class::Error => message.error_code().map(|code| code.get()),
            Class::Request | Class::Indication => None,
        }
    }
}

/// A 5-tuple of the simulation.
#[must_use]
pub fn tuple(client: &str, transport: Transport) -> FiveTuple {
    let client: SocketAddr = client.parse().expect("an address");
    let server = if client.is_ipv4() {
        "192.0.2.1:3478"
    } else {
        "[2001:db8::1]:3478"
    };
    FiveTuple {
        client,
        server: server.parse().expect("an address"),
        transport,
    }
}
