//! One session's requests, without sockets: what to send, when to send it again, and what an answer
//! means. Hundreds of them run at once over the same socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turn_proto::channel_data::ChannelNumber;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use crate::turn::auth::{Authentication, realm_of};
use crate::turn::client::alternate;
use crate::turn::error::Refusal;
use crate::turn::requests::{TRANSPORT_UDP, lifetime};
use crate::turn::timers::Timers;
use crate::turn::{Login, TurnError};

/// How often one request follows a fresh nonce.
const MAX_STALE: u8 = 3;

/// Transaction ids: one random start, and a number for each.
#[derive(Debug)]
pub(super) struct Ids {
    start: [u8; 8],
    next: u32,
}

impl Ids {
    /// A start that nobody can guess.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut start = [0; 8];
        getrandom::fill(&mut start).map_err(std::io::Error::other)?;
        Ok(Self { start, next: 0 })
    }

    pub(super) fn next(&mut self) -> TransactionId {
        self.next = self.next.wrapping_add(1);
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.start);
        id[8..].copy_from_slice(&self.next.to_be_bytes());
        TransactionId(id)
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An allocation; of IPv6 where so.
    Allocate {
        /// Whether REQUESTED-ADDRESS-FAMILY says IPv6.
        ipv6: bool,
    },
    /// A permission for the address of this peer.
    Permit(SocketAddr),
    /// A channel to this peer.
    Bind(ChannelNumber, SocketAddr),
    /// More time.
    Refresh,
    /// The end of the allocation.
    Release,
}

impl Step {
    /// The method of its request.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Allocate { .. } => Method::Allocate,
            Self::Permit(_) => Method::CreatePermission,
            Self::Bind(..) => Method::ChannelBind,
            Self::Refresh | Self::Release => Method::Refresh,
        }
    }

    fn fill(self, request: MessageBuilder) -> MessageBuilder {
        match self {
            Self::Allocate { ipv6 } => {
                let request = request.number(AttributeType::REQUESTED_TRANSPORT, TRANSPORT_UDP);
                match ipv6 {
                    true => request.number(AttributeType::REQUESTED_ADDRESS_FAMILY, 2 << 24),
                    false => request,
                }
            }
            Self::Permit(peer) => request.xor_address(AttributeType::XOR_PEER_ADDRESS, peer),
            Self::Bind(number, peer) => request
                .number(AttributeType::CHANNEL_NUMBER, u32::from(number.get()) << 16)
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer),
            Self::Refresh => request,
            Self::Release => request.number(AttributeType::LIFETIME, 0),
        }
    }
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was no answer to what we asked.
    Nothing,
    /// The request was made anew and has to be sent.
    Send,
    /// The step succeeded.
    Done(Step),
}

/// One client's side.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    login: Option<Arc<Login>>,
    authentication: Option<Box<Authentication>>,
    pending: Option<Box<Pending>>,
    /// The relay address, once there is one.
    pub(super) relayed: Option<SocketAddr>,
    /// What the server gave the allocation.
    pub(super) lifetime: Duration,
    /// When it is to be refreshed.
    pub(super) renew_at: Option<Instant>,
}

/// A request on its way.
#[derive(Debug)]
struct Pending {
    step: Step,
    id: TransactionId,
    request: Vec<u8>,
    signed: bool,
    stale: u8,
    timers: Timers,
    sendings: u32,
    started: Instant,
    due: Instant,
}

impl Negotiation {
    /// A client that has asked for nothing yet.
    pub(super) fn new(login: Option<Arc<Login>>) -> Self {
        Self {
            login,
            ..Self::default()
        }
    }

    /// Whether an answer is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// What is asked for.
    pub(super) fn step(&self) -> Option<Step> {
        self.pending.as_ref().map(|pending| pending.step)
    }

    /// The request that waits for its answer, to be sent now or again.
    pub(super) fn request(&self) -> &[u8] {
        self.pending.as_ref().map_or(&[], |p| &p.request)
    }

    /// Gives up what is waited for.
    pub(super) fn forget(&mut self) {
        self.pending = None;
    }

    /// Makes the request of `step`, to be sent at `now`.
    pub(super) fn begin(&mut self, step: Step, reliable: bool, ids: &mut Ids, now: Instant) {
        let id = ids.next();
        let mut timers = Timers::new(reliable);
        let wait = timers.next().unwrap_or_default();
        let (request, signed) = self.build(step, id);
        self.pending = Some(Box::new(Pending {
            step,
            id,
            request,
            signed,
            stale: 0,
            timers,
            sendings: 1,
            started: now,
            due: now + wait,
        }));
    }

    fn build(&self, step: Step, id: TransactionId) -> (Vec<u8>, bool) {
        let request = step.fill(MessageBuilder::request(step.method(), id));
        match self.login.as_ref().zip(self.authentication.as_ref()) {
            Some((login, authentication)) => (authentication.sign(request, login).finish(), true),
            None => (request.finish(), false),
        }
    }

    /// Whether the request is to be sent again now.
    ///
    /// # Errors
    /// It was sent often enough (RFC 8489 §6.2.1), or `patience` is at its end.
    pub(super) fn again(&mut self, now: Instant, patience: Duration) -> Result<bool, TurnError> {
        let Some(pending) = &mut self.pending else {
            return Ok(false);
        };
        let waited = now.saturating_duration_since(pending.started);
        if now < pending.due && waited < patience {
            return Ok(false);
        }
        match pending.timers.next() {
            Some(wait) if waited < patience => {
                pending.due = now + wait;
                pending.sendings += 1;
                Ok(true)
            }
            _ => Err(TurnError::NoAnswer {
                sendings: pending.sendings,
                waited,
            }),
        }
    }

    /// Takes a message of the server.
    ///
    /// # Errors
    /// The answer is a refusal that a fresh nonce does not mend, or not one that can be believed.
    pub(super) fn answer(
        &mut self,
        bytes: &[u8],
        ids: &mut Ids,
        now: Instant,
    ) -> Result<Outcome, TurnError> {
        let Some(pending) = &self.pending else {
            return Ok(Outcome::Nothing);
        };
        let Ok(message) = Message::parse(bytes) else {
            return Ok(Outcome::Nothing);
        };
        let ours = message.transaction() == pending.id
            && message.method() == pending.step.method()
            && matches!(message.class(), Class::Success | Class::Error);
        if !ours {
            return Ok(Outcome::Nothing);
        }
        let (step, signed) = (pending.step, pending.signed);
        if message.class() == Class::Error {
            return self.refused(&message, ids, now);
        }
        let key = self.authentication.as_ref().filter(|_| signed);
        if key.is_some_and(|key| !key.is_signed(&message)) {
            return Err(TurnError::Integrity);
        }
        self.succeeded(step, &message, now)?;
        self.pending = None;
        Ok(Outcome::Done(step))
    }

    fn succeeded(
        &mut self,
        step: Step,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<(), TurnError> {
        match step {
            Step::Allocate { .. } => {
                let relayed = message.xor_address(AttributeType::XOR_RELAYED_ADDRESS);
                let relayed = relayed.ok().flatten();
                self.relayed = Some(relayed.ok_or(TurnError::Incomplete("XOR-RELAYED-ADDRESS"))?);
                self.renew(lifetime(message)?, now);
            }
            Step::Refresh => self.renew(lifetime(message)?, now),
            Step::Release => {
                self.relayed = None;
                self.renew_at = None;
            }
            Step::Permit(_) | Step::Bind(..) => {}
        }
        Ok(())
    }

    /// Half of every life: a permission has 300 s, which no answer says (RFC 8656 §9).
    fn renew(&mut self, lifetime: Duration, now: Instant) {
        self.lifetime = lifetime;
        self.renew_at = Some(now + (lifetime / 2).min(Duration::from_secs(150)));
    }

    fn refused(
        &mut self,
        message: &Message<'_>,
        ids: &mut Ids,
        now: Instant,
    ) -> Result<Outcome, TurnError> {
        let Some(pending) = &mut self.pending else {
            return Ok(Outcome::Nothing);
        };
        let code = message.error_code();
        let code = code.ok_or(TurnError::Incomplete("ERROR-CODE"))?.get();
        let fresh = match code {
            401 => !pending.signed,
            438 => pending.stale < MAX_STALE,
            _ => false,
        };
        if !fresh {
            return Err(self.refusal(message, code));
        }
        let Some(login) = &self.login else {
            let realm = realm_of(message).unwrap_or_default();
            return Err(TurnError::LoginNeeded { realm });
        };
        self.authentication = Some(Box::new(Authentication::answer(message, login)?));
        let (step, stale, started) = (pending.step, pending.stale, pending.started);
        let (timers, wait) = pending.timers.anew();
        let id = ids.next();
        let (request, signed) = self.build(step, id);
        self.pending = Some(Box::new(Pending {
            step,
            id,
            request,
            signed,
            stale: stale + u8::from(code == 438),
            timers,
            sendings: 1,
            started,
            due: now + wait,
        }));
        Ok(Outcome::Send)
    }

    fn refusal(&self, message: &Message<'_>, code: u16) -> TurnError {
        let key = self.authentication.as_ref();
        let signed = key.is_some_and(|key| key.is_signed(message));
        if code == 300 {
            return alternate(message, signed);
        }
        let value = message.attribute(AttributeType::ERROR_CODE);
        let phrase = value.and_then(|value| value.get(4..)).unwrap_or_default();
        TurnError::Refused(Refusal {
            method: message.method(),
            code,
            phrase: String::from_utf8_lossy(phrase).into_owned(),
            authenticated: self.pending.as_ref().is_some_and(|p| p.signed),
            signed,
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::Secret;
    use turn_proto::auth::credential::LongTermKey;
    use turn_proto::stun::ErrorCode;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const ALLOCATE: Step = Step::Allocate { ipv6: false };

    fn client() -> (Negotiation, Ids, Instant) {
        let login = Login {
            username: "alice".to_owned(),
            password: Secret::new("wonderland".to_owned()),
        };
        let client = Negotiation::new(Some(Arc::new(login)));
        (client, Ids::new().unwrap(), Instant::now())
    }

    fn key() -> LongTermKey {
        LongTermKey::derive("alice", "realm", "wonderland")
    }

    /// A refusal with a fresh nonce.
    fn challenge(request: &[u8], code: u16, nonce: &[u8]) -> Vec<u8> {
        MessageBuilder::answer(Class::Error, &Message::parse(request).unwrap())
            .error_code(ErrorCode::new(code).unwrap())
            .attribute(AttributeType::REALM, b"realm")
            .attribute(AttributeType::NONCE, nonce)
            .finish()
    }

    fn allocated(request: &[u8], key: &[u8]) -> Vec<u8> {
        MessageBuilder::answer(Class::Success, &Message::parse(request).unwrap())
            .xor_address(AttributeType::XOR_RELAYED_ADDRESS, relay())
            .number(AttributeType::LIFETIME, 600)
            .integrity(key)
            .finish()
    }

    fn relay() -> SocketAddr {
        "192.0.2.1:50000".parse().unwrap()
    }

    #[test]
    fn a_challenge_is_answered_with_its_nonce_and_our_key() {
        let (mut client, mut ids, now) = client();
        client.begin(ALLOCATE, false, &mut ids, now);
        let first = client.request().to_vec();
        assert!(Message::parse(&first).unwrap().integrity_kind().is_none());
        let refusal = challenge(&first, 401, b"one");
        assert_eq!(
            client.answer(&refusal, &mut ids, now).unwrap(),
            Outcome::Send
        );
        let second = client.request().to_vec();
        let message = Message::parse(&second).unwrap();
        assert!(message.verify_integrity(key().as_bytes()));
        assert_eq!(message.attribute(AttributeType::NONCE), Some(&b"one"[..]));
        assert_ne!(
            message.transaction(),
            Message::parse(&first).unwrap().transaction()
        );
        // The answer to the first comes again, late: it answers nothing any more.
        assert_eq!(
            client.answer(&refusal, &mut ids, now).unwrap(),
            Outcome::Nothing
        );
        let stale = challenge(&second, 438, b"two");
        assert_eq!(client.answer(&stale, &mut ids, now).unwrap(), Outcome::Send);
        let answer = allocated(client.request(), key().as_bytes());
        assert_eq!(
            client.answer(&answer, &mut ids, now).unwrap(),
            Outcome::Done(ALLOCATE)
        );
        assert_eq!(client.relayed, Some(relay()));
        assert_eq!(client.renew_at, Some(now + Duration::from_secs(150)));
        assert!(!client.is_waiting());
    }

    #[test]
    fn nonces_that_are_always_stale_and_wrong_passwords_are_refusals() {
        let (mut client, mut ids, now) = client();
        client.begin(ALLOCATE, false, &mut ids, now);
        let mut refusal = challenge(client.request(), 401, b"n");
        client.answer(&refusal, &mut ids, now).unwrap();
        for _ in 0..MAX_STALE {
            refusal = challenge(client.request(), 438, b"n");
            assert_eq!(
                client.answer(&refusal, &mut ids, now).unwrap(),
                Outcome::Send
            );
        }
        refusal = challenge(client.request(), 438, b"n");
        let error = client.answer(&refusal, &mut ids, now).unwrap_err();
        assert_eq!(error.code(), Some(438));
        refusal = challenge(client.request(), 401, b"n");
        let error = client.answer(&refusal, &mut ids, now).unwrap_err();
        assert_eq!(error.code(), Some(401));
    }

    #[test]
    fn a_success_that_is_not_signed_with_our_key_is_none() {
        let (mut client, mut ids, now) = client();
        client.begin(ALLOCATE, false, &mut ids, now);
        let refusal = challenge(client.request(), 401, b"n");
        client.answer(&refusal, &mut ids, now).unwrap();
        let forged = allocated(client.request(), b"another key");
        let error = client.answer(&forged, &mut ids, now).unwrap_err();
        assert!(matches!(error, TurnError::Integrity));
        assert_eq!(client.relayed, None);
    }

    #[test]
    fn a_request_is_sent_seven_times_over_udp_and_once_over_tcp() {
        let (mut client, mut ids, start) = client();
        for (reliable, sendings) in [(false, 7), (true, 1)] {
            client.begin(ALLOCATE, reliable, &mut ids, start);
            let (mut sent, mut now) = (1, start);
            let error = loop {
                now += Duration::from_millis(100);
                match client.again(now, PATIENCE) {
                    Ok(again) => sent += u32::from(again),
                    Err(error) => break error,
                }
            };
            assert_eq!(sent, sendings);
            let waited = now - start;
            assert!(waited.abs_diff(Duration::from_millis(39_500)) < Duration::from_secs(1));
            assert!(matches!(error, TurnError::NoAnswer { sendings: s, .. } if s == sendings));
        }
        client.begin(ALLOCATE, false, &mut ids, start);
        let patience = Duration::from_millis(600);
        assert!(
            client
                .again(start + patience / 2, patience)
                .is_ok_and(|again| !again)
        );
        assert!(client.again(start + patience, patience).is_err());
    }

    #[test]
    fn a_server_that_wants_credentials_is_told_of_by_its_realm() {
        let (_, mut ids, now) = client();
        let mut nobody = Negotiation::new(None);
        nobody.begin(ALLOCATE, false, &mut ids, now);
        let refusal = challenge(nobody.request(), 401, b"n");
        let error = nobody.answer(&refusal, &mut ids, now).unwrap_err();
        assert!(matches!(error, TurnError::LoginNeeded { realm } if realm == "realm"));
    }
}
