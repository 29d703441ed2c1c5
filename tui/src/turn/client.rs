//! Requests and their answers: retransmission, authentication, data that comes between.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use shared::Secret;
use tokio::time::{Instant, timeout_at};
use turn_proto::auth::rest;
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use super::auth::{Authentication, realm_of};
use super::error::{Refusal, TurnError};
use super::link::Link;
use super::timers::Timers;

/// Data kept while an answer is waited for; the oldest goes first.
const MAX_KEPT: usize = 1024;
/// How often one request follows a fresh nonce: more than that is a server that never likes any.
const MAX_STALE: u32 = 3;

/// What a client logs in with.
#[derive(Clone, Debug)]
pub struct Login {
    /// USERNAME.
    pub username: String,
    /// The password, or what a shared secret makes of the username.
    pub password: Secret<String>,
}

impl Login {
    /// A time-limited credential under a shared secret (TURN REST).
    #[must_use]
    pub fn from_secret(secret: &Secret<String>, expiry_unix_secs: u64, user: &str) -> Self {
        let username = format!("{expiry_unix_secs}:{user}");
        let password = rest::password(secret.expose().as_bytes(), &username);
        Self {
            username,
            password: Secret::new(password),
        }
    }
}

/// Data from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// In a Data indication.
    Data {
        /// XOR-PEER-ADDRESS.
        peer: SocketAddr,
        /// DATA.
        payload: Vec<u8>,
    },
    /// In a ChannelData message.
    Channel {
        /// The channel.
        number: ChannelNumber,
        /// The application data.
        payload: Vec<u8>,
    },
}

impl Incoming {
    /// The application data.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Data { payload, .. } | Self::Channel { payload, .. } => payload,
        }
    }
}

/// A success answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// The message in it.
    pub(super) fn message(&self) -> Result<Message<'_>, TurnError> {
        Message::parse(&self.bytes).map_err(|_| TurnError::Incomplete("frame"))
    }
}

/// A client on one connection to one server.
#[derive(Debug)]
pub struct Client {
    link: Link,
    login: Option<Login>,
    authentication: Option<Authentication>,
    kept: VecDeque<Incoming>,
    software: Option<String>,
    patience: Duration,
}

impl Client {
    /// A client that gives up a request after `patience`, or when RFC 8489's timers end before.
    #[must_use]
    pub fn new(link: Link, login: Option<Login>, patience: Duration) -> Self {
        Self {
            link,
            login,
            authentication: None,
            kept: VecDeque::new(),
            software: None,
            patience,
        }
    }

    /// Our own address.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local(&self) -> Result<SocketAddr, TurnError> {
        Ok(self.link.local()?)
    }

    /// The connection.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// SOFTWARE of the server's last answer: foreign text.
    #[must_use]
    pub fn software(&self) -> Option<&str> {
        self.software.as_deref()
    }

    /// The realm that the server named.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.authentication.as_ref().map(Authentication::realm)
    }

    /// One request: sent again by RFC 8489's timers, authenticated as the server asks, its answer
    /// checked. `fill` appends the attributes; it is called for each transaction anew.
    pub(super) async fn request(
        &mut self,
        method: Method,
        fill: &(dyn Fn(MessageBuilder) -> MessageBuilder + Sync),
    ) -> Result<Answer, TurnError> {
        let mut stale = 0;
        loop {
            let mut id = [0; 12];
            getrandom::fill(&mut id).map_err(std::io::Error::other)?;
            let mut request = fill(MessageBuilder::request(method, TransactionId(id)));
            let signing = self.login.as_ref().zip(self.authentication.as_ref());
            let authenticated = signing.is_some();
            if let Some((login, authentication)) = signing {
                request = authentication.sign(request, login);
            }
            let request = request.fingerprint().finish();
            let answer = self.exchange(&request, method, authenticated).await?;
            let message = answer.message()?;
            if message.class() == Class::Success {
                return Ok(answer);
            }
            let refusal = self.refusal(&message, method, authenticated)?;
            let next = match refusal.code {
                300 => return Err(alternate(&message, refusal.signed)),
                401 if !authenticated => self.challenge(&message)?,
                438 if stale < MAX_STALE => {
                    stale += 1;
                    self.challenge(&message)?
                }
                _ => return Err(TurnError::Refused(refusal)),
            };
            self.authentication = Some(next);
        }
    }

    /// What the next request is authenticated with.
    fn challenge(&self, message: &Message<'_>) -> Result<Authentication, TurnError> {
        let Some(login) = &self.login else {
            let realm = realm_of(message).unwrap_or_default();
            return Err(TurnError::LoginNeeded { realm });
        };
        Authentication::answer(message, login)
    }

    fn refusal(
        &self,
        message: &Message<'_>,
        method: Method,
        authenticated: bool,
    ) -> Result<Refusal, TurnError> {
        let code = message.error_code();
        let code = code.ok_or(TurnError::Incomplete("ERROR-CODE"))?.get();
        let value = message.attribute(AttributeType::ERROR_CODE);
        let phrase = value.and_then(|value| value.get(4..)).unwrap_or_default();
        let signed = |key: &Authentication| key.is_signed(message);
        Ok(Refusal {
            method,
            code,
            phrase: String::from_utf8_lossy(phrase).into_owned(),
            authenticated,
            signed: self.authentication.as_ref().is_some_and(signed),
        })
    }

    /// Sends a request until its answer is there.
    async fn exchange(
        &mut self,
        request: &[u8],
        method: Method,
        authenticated: bool,
    ) -> Result<Answer, TurnError> {
        let start = Instant::now();
        let end = start + self.patience;
        let (mut sendings, mut unsigned) = (0, false);
        for wait in Timers::new(self.link.is_reliable()) {
            self.link.send(request).await?;
            sendings += 1;
            let until = (Instant::now() + wait).min(end);
            while let Ok(packet) = timeout_at(until, self.link.recv()).await {
                let packet = packet?;
                let Some(answer) = self.sort(packet, &request[8..20], method) else {
                    continue;
                };
                match self.is_acceptable(&answer, authenticated)? {
                    true => return Ok(answer),
                    false if self.link.is_reliable() => return Err(TurnError::Integrity),
                    false => unsigned = true,
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        if unsigned {
            return Err(TurnError::Integrity);
        }
        Err(TurnError::NoAnswer {
            sendings,
            waited: start.elapsed(),
        })
    }

    /// Whether an answer to a signed request may be believed.
    ///
    /// RFC 8489 §9.2.5 has unsigned refusals ignored as well. Here they are believed, and said to
    /// be unsigned: whoever checks a server wants to hear its reason rather than wait in vain.
    fn is_acceptable(&self, answer: &Answer, authenticated: bool) -> Result<bool, TurnError> {
        let message = answer.message()?;
        if !authenticated || message.class() == Class::Error {
            return Ok(true);
        }
        let key = self.authentication.as_ref();
        Ok(key.is_some_and(|key| key.is_signed(&message)))
    }

    /// Keeps data, and picks the answer that is waited for; everything else is dropped.
    fn sort(&mut self, packet: Vec<u8>, id: &[u8], method: Method) -> Option<Answer> {
        if let Some(data) = incoming(&packet) {
            self.keep(data);
            return None;
        }
        let message = Message::parse(&packet).ok()?;
        let ours = message.transaction().0 == *id
            && message.method() == method
            && matches!(message.class(), Class::Success | Class::Error);
        if let Some(software) = message.attribute(AttributeType::SOFTWARE)
            && ours
        {
            self.software = Some(String::from_utf8_lossy(software).into_owned());
        }
        ours.then_some(Answer { bytes: packet })
    }

    fn keep(&mut self, data: Incoming) {
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(data);
    }

    /// The next data from a peer. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn data(&mut self) -> Result<Incoming, TurnError> {
        loop {
            if let Some(data) = self.kept.pop_front() {
                return Ok(data);
            }
            let packet = self.link.recv().await?;
            if let Some(data) = incoming(&packet) {
                return Ok(data);
            }
        }
    }

    /// Sends a message that has no answer.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), TurnError> {
        Ok(self.link.send(message).await?)
    }
}

/// The data in a packet, where it is data.
fn incoming(packet: &[u8]) -> Option<Incoming> {
    if let Some(data) = ChannelData::parse(packet) {
        return Some(Incoming::Channel {
            number: data.number,
            payload: data.payload.to_vec(),
        });
    }
    let message = Message::parse(packet).ok()?;
    if (message.class(), message.method()) != (Class::Indication, Method::Data) {
        return None;
    }
    let peer = message
        .xor_address(AttributeType::XOR_PEER_ADDRESS)
        .ok()??;
    let payload = message.attribute(AttributeType::DATA)?.to_vec();
    Some(Incoming::Data { peer, payload })
}

/// Where a 300 sends us (RFC 8489 §10).
pub(crate) fn alternate(message: &Message<'_>, signed: bool) -> TurnError {
    let domain = message.attribute(AttributeType::ALTERNATE_DOMAIN);
    match message.plain_address(AttributeType::ALTERNATE_SERVER) {
        Ok(Some(to)) => TurnError::Alternate {
            to,
            domain: domain.map(|name| String::from_utf8_lossy(name).into_owned()),
            signed,
        },
        _ => TurnError::Incomplete("ALTERNATE-SERVER"),
    }
}
