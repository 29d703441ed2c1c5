//! How the kit's clients prove who they are (RFC 8489 §9.2): the same over every transport.

use std::net::SocketAddr;

use shared::PasswordAlgorithm;
use turn_proto::auth::credential::{IntegrityKey, userhash};
use turn_proto::stun::integrity::IntegrityKind;
use turn_proto::stun::password_algorithm;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method};

use crate::client::{ClientError, fresh_id};
use crate::login::Login;

/// A login, and what the server's last challenge said.
#[derive(Debug)]
pub(crate) struct Credentials {
    login: Login,
    realm: String,
    nonce: Vec<u8>,
    key: Option<IntegrityKey>,
    /// Whether to use what the server offers of RFC 8489.
    pub(crate) rfc8489: bool,
    /// PASSWORD-ALGORITHMS as it came, and what was chosen of it.
    chosen: Option<(Vec<u8>, PasswordAlgorithm)>,
    /// ALTERNATE-SERVER of the last 300 that was signed with our key.
    pub(crate) alternate: Option<SocketAddr>,
}

/// A client, whatever it talks over.
pub(crate) trait Asking {
    fn credentials(&mut self) -> &mut Credentials;

    /// Sends a request, again where its transport may lose it, and waits for its answer.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError>;

    /// An authenticated request; the whole success answer. A 401 or 438 is followed by a second
    /// attempt with the realm and nonce given.
    fn ask(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> Result<Vec<u8>, ClientError> {
        let mut challenged = 0;
        loop {
            let request = fill(MessageBuilder::request(method, fresh_id()));
            let request = self.credentials().signed(request).finish();
            let bytes = self.exchange(&request)?;
            let answer = parse(&bytes)?;
            let credentials = self.credentials();
            if answer.class() == Class::Success {
                credentials.verify(&answer)?;
                return Ok(bytes);
            }
            let code = answer.error_code();
            let code = code.ok_or(ClientError::Incomplete("ERROR-CODE"))?.get();
            if code == 300 {
                credentials.note_alternate(&answer)?;
            }
            let first_401 = code == 401 && credentials.key.is_none();
            if challenged > 1 || !(first_401 || code == 438) {
                return Err(ClientError::Refused(code));
            }
            challenged += 1;
            credentials.accept_challenge(&answer)?;
        }
    }

    /// Binding: our address as the server sees it.
    fn ask_binding(&mut self) -> Result<SocketAddr, ClientError> {
        let request = MessageBuilder::request(Method::Binding, fresh_id()).finish();
        let answer = self.exchange(&request)?;
        let kind = AttributeType::XOR_MAPPED_ADDRESS;
        address(&parse(&answer)?, kind, "XOR-MAPPED-ADDRESS")
    }

    /// ChannelBind.
    fn ask_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), ClientError> {
        let answer = self.ask(Method::ChannelBind, |request| {
            request
                .number(AttributeType::CHANNEL_NUMBER, u32::from(number) << 16)
                .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
        });
        answer.map(drop)
    }
}

impl Credentials {
    pub(crate) fn new(login: Login) -> Self {
        Self {
            login,
            realm: String::new(),
            nonce: Vec::new(),
            key: None,
            rfc8489: false,
            chosen: None,
            alternate: None,
        }
    }

    /// What the client chose of PASSWORD-ALGORITHMS.
    pub(crate) fn algorithm(&self) -> Option<PasswordAlgorithm> {
        self.chosen.as_ref().map(|(_, chosen)| *chosen)
    }

    /// The second bit of the nonce cookie's features: of the six in its first character.
    pub(crate) fn is_anonymous(&self) -> bool {
        let features = self
            .nonce
            .strip_prefix(b"obMatJos2")
            .and_then(<[u8]>::first);
        self.rfc8489 && matches!(features, Some(b'Q' | b'w'))
    }

    /// Adds credentials and signs, once the server has asked for that.
    fn signed(&self, mut request: MessageBuilder) -> MessageBuilder {
        let Some(key) = &self.key else {
            return request;
        };
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

    fn is_signed(&self, answer: &Message<'_>) -> bool {
        let signed = |key: &IntegrityKey| answer.verify_integrity(key.as_bytes());
        self.key.as_ref().is_some_and(signed)
    }

    /// Whether a success was signed with our key, by SHA-256 alone where the client chose an
    /// algorithm (RFC 8489 §9.2.4).
    fn verify(&self, answer: &Message<'_>) -> Result<(), ClientError> {
        let kind = self.chosen.as_ref().map(|_| IntegrityKind::Sha256);
        let fits = kind.is_none_or(|kind| answer.integrity_kind() == Some(kind));
        if self.is_signed(answer) && fits {
            Ok(())
        } else {
            Err(ClientError::Unsigned)
        }
    }

    fn note_alternate(&mut self, answer: &Message<'_>) -> Result<(), ClientError> {
        if !self.is_signed(answer) {
            return Err(ClientError::Unsigned);
        }
        let server = answer.plain_address(AttributeType::ALTERNATE_SERVER);
        let server = server.ok().flatten();
        self.alternate = Some(server.ok_or(ClientError::Incomplete("ALTERNATE-SERVER"))?);
        Ok(())
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
        let algorithm = self.algorithm().unwrap_or(PasswordAlgorithm::Md5);
        let Login { username, password } = &self.login;
        let key = IntegrityKey::derive(algorithm, username, &self.realm, password);
        self.key = Some(key);
        Ok(())
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Message<'_>, ClientError> {
    Message::parse(bytes).map_err(|_| ClientError::Incomplete("a sound frame"))
}

pub(crate) fn address(
    answer: &Message<'_>,
    kind: AttributeType,
    name: &'static str,
) -> Result<SocketAddr, ClientError> {
    let found = answer.xor_address(kind).ok().flatten();
    found.ok_or(ClientError::Incomplete(name))
}
