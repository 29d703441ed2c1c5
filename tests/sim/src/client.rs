//! A client that knows its password: signs requests, follows challenges, learns from answers.

use std::collections::VecDeque;
use std::net::SocketAddr;

use shared::{PasswordAlgorithm, Transport};
use turn_proto::FiveTuple;
use turn_proto::auth::credential::{IntegrityKey, userhash};
use turn_proto::auth::rest;
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::password_algorithm;
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};

use crate::world::{REALM, SECRET, World};

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
    habit: Habit,
    /// PASSWORD-ALGORITHMS of the last challenge.
    offered: Option<Vec<u8>>,
    nonce: Vec<u8>,
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
            offered: None,
            nonce: Vec::new(),
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
    pub fn sign(&self, request: MessageBuilder) -> Vec<u8> {
        if self.nonce.is_empty() {
            return request.finish();
        }
        // The second feature bit of the nonce cookie (RFC 8489 §18.1): user anonymity.
        let anonymity = self.nonce.starts_with(b"obMatJos2wAAA");
        let request = if self.habit == Habit::Anonymous && anonymity {
            request.attribute(A::USERHASH, &userhash(&self.username, REALM))
        } else {
            request.attribute(A::USERNAME, self.username.as_bytes())
        };
        let mut request = request
            .attribute(A::REALM, REALM.as_bytes())
            .attribute(A::NONCE, &self.nonce);
        let algorithm = self.algorithm();
        if let Some(offered) = self
            .offered
            .as_ref()
            .filter(|_| self.habit != Habit::Classic)
        {
            request = request
                .attribute(A::PASSWORD_ALGORITHMS, offered)
                .attribute(A::PASSWORD_ALGORITHM, &password_algorithm::entry(algorithm));
        }
        request
            .integrity_of(self.kind(), self.key().as_bytes())
            .finish()
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

    fn key(&self) -> IntegrityKey {
        IntegrityKey::derive(self.algorithm(), &self.username, REALM, &self.password)
    }

    /// Whether an answer is signed with one of its keys; an offer may have changed meanwhile.
    fn signed(&self, answer: &Message<'_>) -> bool {
        PasswordAlgorithm::ALL.into_iter().any(|one| {
            let key = IntegrityKey::derive(one, &self.username, REALM, &self.password);
            answer.verify_integrity(key.as_bytes())
        })
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
        let bytes = self.sign(request.clone());
        let passed = world.client(self.tuple, &bytes);
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
