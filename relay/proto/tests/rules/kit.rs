//! A server, a clock and a client for the tests by RFC rule.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::{Realm, Secret, Transport};
use turn_proto::auth::credential::{
    CredentialAnswer, LongTermKey, Sha256Key, UserCredential, UserhashAnswer, userhash,
};
use turn_proto::stun::{AttributeType as A, Class, Message, MessageBuilder, Method, TransactionId};
use turn_proto::{
    Budget, Budgets, Claimant, Command, Errand, Event, FiveTuple, Forward, LinkId, Now, OpenError,
    Output, PlaceClaim, Policy, PortRequest, Quota, QuotaExceeded, QuotaLimits, RealmPolicy,
    Refused, RelayId, RelayOpened, RelayRequest, ReservationToken, RestSecret, Server,
    ServerConfig,
};

pub(crate) const UNIX: u64 = 1_800_000_000;
pub(crate) const REALM: &str = "example.org";
pub(crate) const SERVER: &str = "198.51.100.1:3478";
pub(crate) const CLIENT: &str = "192.0.2.10:40000";
/// A peer that no special-use range holds.
pub(crate) const PEER: &str = "9.9.9.9:7000";
pub(crate) const PEER_V6: &str = "[2a00::9]:7000";

#[allow(clippy::disallowed_types, reason = "a driver may lock")]
type Users = std::sync::Mutex<HashMap<String, Arc<Budget>>>;

/// Counts all sessions alike, and has budgets by user.
#[derive(Debug)]
pub(crate) struct CountingQuota {
    pub(crate) held: AtomicU32,
    /// Places have to be asked for where there is a limit.
    pub(crate) asks: AtomicBool,
    pub(crate) given_back: AtomicU32,
    users: Users,
    realm: Arc<Budget>,
    node: Arc<Budget>,
}

impl Default for CountingQuota {
    fn default() -> Self {
        Self {
            held: AtomicU32::new(0),
            asks: AtomicBool::new(false),
            given_back: AtomicU32::new(0),
            users: Users::default(),
            realm: Arc::new(Budget::new(origin())),
            node: Arc::new(Budget::new(origin())),
        }
    }
}

impl CountingQuota {
    fn budgets(&self, user: &str) -> Budgets {
        let mut users = self.users.lock().unwrap();
        let new = || Arc::new(Budget::new(origin()));
        let of_user = || users.entry(user.to_owned()).or_insert_with(new).clone();
        Budgets {
            user: (!user.is_empty()).then(of_user),
            realm: self.realm.clone(),
            node: self.node.clone(),
        }
    }
}

impl Quota for CountingQuota {
    fn try_reserve(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded> {
        let user = claimant.user;
        let held = self.held.load(Ordering::Relaxed);
        let judged = limits.granted;
        if !judged && !user.is_empty() && limits.per_user.is_some_and(|limit| held >= limit) {
            return Err(QuotaExceeded::User);
        }
        if !judged && limits.per_realm.is_some_and(|limit| held >= limit) {
            return Err(QuotaExceeded::Realm);
        }
        if limits.per_source.is_some_and(|limit| held >= limit) {
            return Err(QuotaExceeded::Source);
        }
        if limits.per_node.is_some_and(|limit| held >= limit) {
            return Err(QuotaExceeded::Node);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(self.budgets(user))
    }

    fn release(&self, _: Claimant<'_>) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    fn asks(&self, _: Claimant<'_>, limits: QuotaLimits) -> bool {
        self.asks.load(Ordering::Relaxed) && (limits.per_user.or(limits.per_realm)).is_some()
    }

    fn give_back(&self, _: &Realm, _: &str) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn realm_policy(name: &str) -> RealmPolicy {
    RealmPolicy {
        revision: 1,
        ..RealmPolicy::new(name.parse().unwrap())
    }
}

pub(crate) fn rest_secret(id: &str, value: &str) -> RestSecret {
    RestSecret {
        id: id.into(),
        value: Secret::new(value.as_bytes().to_vec()),
    }
}

pub(crate) fn policy(realms: Vec<RealmPolicy>) -> Policy {
    Policy::new(realms, Secret::new([7; 32]))
}

#[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn origin() -> Instant {
    Instant::now()
}

/// A datagram on its way to another worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) tuple: FiveTuple,
    pub(crate) worker: u16,
    pub(crate) message: Vec<u8>,
    pub(crate) errand: Errand,
}

/// A server with its driver: relays open at once, on ports counted up from 50000.
pub(crate) struct Net {
    pub(crate) server: Server,
    pub(crate) quota: Arc<CountingQuota>,
    pub(crate) now: Now,
    pub(crate) users: HashMap<String, CredentialAnswer>,
    /// Look-ups are answered at once.
    pub(crate) answer_lookups: bool,
    pub(crate) lookups: Vec<String>,
    /// Places that were asked for and are the test's to answer.
    pub(crate) claims: Vec<PlaceClaim>,
    pub(crate) open_with: Option<Result<RelayOpened, OpenError>>,
    /// Leave `OpenRelay` to the test.
    pub(crate) hold_opening: bool,
    pub(crate) requests: Vec<(RelayId, RelayRequest)>,
    pub(crate) prepared: Vec<RelayId>,
    pub(crate) closed: Vec<RelayId>,
    /// Connections that the core wants closed.
    pub(crate) disconnected: Vec<FiveTuple>,
    /// Connections to peers that the core wants.
    pub(crate) connects: Vec<(RelayId, LinkId, SocketAddr)>,
    pub(crate) splices: Vec<(LinkId, FiveTuple)>,
    pub(crate) closed_peers: Vec<LinkId>,
    /// Connections of clients that go to another worker, with the frame that is handed on.
    pub(crate) handed_over: Vec<(FiveTuple, u16, Vec<u8>)>,
    /// Datagrams that go to another worker.
    pub(crate) passed_on: Vec<Passed>,
    pub(crate) sent: Vec<(FiveTuple, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    next_port: u16,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(ServerConfig::default(), policy(vec![realm_policy(REALM)]))
    }

    pub(crate) fn with_policy(policy: Policy) -> Self {
        Self::with(ServerConfig::default(), policy)
    }

    pub(crate) fn with(config: ServerConfig, policy: Policy) -> Self {
        let quota = Arc::new(CountingQuota::default());
        let server = Server::new(config, Arc::new(policy), quota.clone());
        let mut net = Self {
            server,
            quota,
            now: Now {
                mono: origin(),
                unix: UNIX,
            },
            users: HashMap::new(),
            answer_lookups: true,
            lookups: Vec::new(),
            claims: Vec::new(),
            open_with: None,
            hold_opening: false,
            requests: Vec::new(),
            prepared: Vec::new(),
            closed: Vec::new(),
            disconnected: Vec::new(),
            connects: Vec::new(),
            splices: Vec::new(),
            closed_peers: Vec::new(),
            handed_over: Vec::new(),
            passed_on: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            next_port: 50_000,
        };
        net.add_user("alice", "secret");
        net.add_user("bob", "hunter2");
        net
    }

    pub(crate) fn add_user(&mut self, name: &str, password: &str) {
        let key = LongTermKey::derive(name, REALM, password);
        let user = UserCredential {
            key,
            key_id: 0,
            sha256: Some(Sha256Key::derive(name, REALM, password)),
            max_sessions: None,
            max_rate_bps: None,
        };
        self.users
            .insert(name.into(), CredentialAnswer::Known(user));
    }

    /// Passes time, calling the server whenever it wants to be called.
    pub(crate) fn advance(&mut self, seconds: f64) {
        let target = self.now.mono + Duration::from_secs_f64(seconds);
        let start = self.now;
        for _ in 0..100_000 {
            match self.server.poll_timeout() {
                Some(due) if due <= target => {
                    self.now.mono = self.now.mono.max(due);
                    self.now.unix = start.unix + (self.now.mono - start.mono).as_secs();
                    self.server.handle_timeout(self.now);
                    self.drain();
                }
                _ => break,
            }
        }
        self.now.mono = target;
        self.now.unix = start.unix + (target - start.mono).as_secs();
        self.server.check();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { tuple, message } => self.sent.push((tuple, message)),
                Output::OpenRelay { relay, request } => {
                    self.requests.push((relay, request));
                    if !self.hold_opening {
                        self.open(relay, request);
                    }
                }
                Output::PrepareRelay { relay } => self.prepared.push(relay),
                Output::CloseRelay { relay } => self.closed.push(relay),
                Output::Disconnect { tuple } => self.disconnected.push(tuple),
                Output::PassOn {
                    tuple,
                    worker,
                    message,
                    errand,
                } => self.passed_on.push(Passed {
                    tuple,
                    worker: worker.0,
                    message,
                    errand,
                }),
                Output::ConnectPeer { relay, link, peer } => {
                    self.connects.push((relay, link, peer));
                }
                Output::Splice { link, tuple } => self.splices.push((link, tuple)),
                Output::ClosePeer { link } => self.closed_peers.push(link),
                Output::HandOver {
                    tuple,
                    worker,
                    message,
                } => self.handed_over.push((tuple, worker.0, message)),
                Output::ClaimPlace(claim) => self.claims.push(*claim),
                Output::LookupCredential { realm, username } => {
                    self.lookups.push(username.as_str().to_owned());
                    if self.answer_lookups {
                        let answer = self.users.get(username.as_str()).cloned();
                        let answer = answer.unwrap_or(CredentialAnswer::Unknown);
                        self.command(Command::Credential {
                            realm,
                            username,
                            answer,
                        });
                    }
                }
                Output::LookupUserhash { realm, hash } => {
                    self.lookups.push(format!("#{:02x}", hash[0]));
                    let mut names = self.users.keys();
                    let name = names.find(|name| userhash(name, realm.as_str()) == hash);
                    let answer = name.map(|name| name.parse().unwrap());
                    let answer = answer.map_or(UserhashAnswer::Unknown, UserhashAnswer::Known);
                    if self.answer_lookups {
                        self.command(Command::Userhash {
                            realm,
                            hash,
                            answer,
                        });
                    }
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        self.server.check();
    }

    /// What was refused since the last report: waits for the next one.
    pub(crate) fn refused(&mut self) -> Vec<Refused> {
        self.events.clear();
        self.advance(1.0);
        let usage = self.events.drain(..).filter_map(|event| match event {
            Event::Usage(usage) => Some(usage.refused),
            _ => None,
        });
        usage.flatten().collect()
    }

    fn open(&mut self, relay: RelayId, request: RelayRequest) {
        self.next_port += 2;
        let ip = if request.family == turn_proto::AddressFamily::V4 {
            "198.51.100.1"
        } else {
            "2001:db8::1"
        };
        let local = SocketAddr::new(ip.parse().unwrap(), self.next_port);
        let reservation = (request.port == PortRequest::EvenReserveNext)
            .then_some(ReservationToken(*b"reserved"));
        let opened = RelayOpened {
            local,
            external: local,
            reservation,
        };
        let opened = self.open_with.unwrap_or(Ok(opened));
        self.server.handle_relay_opened(self.now, relay, opened);
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.server.handle_command(self.now, command);
        self.drain();
    }

    /// Gives the server bytes from a client; STUN answers land in `sent`.
    pub(crate) fn client<'b>(&mut self, tuple: FiveTuple, bytes: &'b [u8]) -> Option<Forward<'b>> {
        let forward = self.server.handle_client(self.now, tuple, bytes);
        self.drain();
        forward
    }

    pub(crate) fn peer<'b>(
        &mut self,
        relay: RelayId,
        peer: &str,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        let forward = self.server.handle_peer(self.now, relay, addr(peer), bytes);
        self.drain();
        forward
    }

    /// Sends bytes and returns the one answer, or nothing.
    pub(crate) fn ask(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Answer> {
        let before = self.sent.len();
        assert!(self.client(tuple, bytes).is_none());
        assert!(self.sent.len() <= before + 1, "one answer at most");
        self.sent.get(before).map(|(to, bytes)| {
            assert_eq!(*to, tuple);
            Answer(bytes.clone())
        })
    }
}

/// A received answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    /// The error code; 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.message().class() {
            Class::Success => 0,
            _ => self.message().error_code().unwrap().get(),
        }
    }

    pub(crate) fn text(&self, kind: A) -> Option<String> {
        self.message()
            .attribute(kind)
            .map(|v| String::from_utf8(v.to_vec()).unwrap())
    }
}

/// A client with credentials and the nonce it was given.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) tuple: FiveTuple,
    pub(crate) username: String,
    pub(crate) realm: String,
    pub(crate) key: LongTermKey,
    pub(crate) nonce: String,
}

impl Client {
    pub(crate) fn at(address: &str, username: &str, password: &str) -> Self {
        Self {
            tuple: tuple(address),
            username: username.into(),
            realm: REALM.into(),
            key: LongTermKey::derive(username, REALM, password),
            nonce: String::new(),
        }
    }

    pub(crate) fn alice() -> Self {
        Self::at(CLIENT, "alice", "secret")
    }

    /// Gets a nonce by asking without credentials.
    pub(crate) fn greet(mut self, net: &mut Net) -> Self {
        let challenge = net.ask(self.tuple, &allocate().finish()).unwrap();
        assert_eq!(challenge.code(), 401);
        self.nonce = challenge.text(A::NONCE).unwrap();
        self
    }

    /// Adds credentials and integrity.
    pub(crate) fn sign(&self, request: MessageBuilder) -> Vec<u8> {
        request
            .attribute(A::USERNAME, self.username.as_bytes())
            .attribute(A::REALM, self.realm.as_bytes())
            .attribute(A::NONCE, self.nonce.as_bytes())
            .integrity(self.key.as_bytes())
            .finish()
    }

    pub(crate) fn ask(&self, net: &mut Net, request: MessageBuilder) -> Option<Answer> {
        net.ask(self.tuple, &self.sign(request))
    }

    /// The error code of the answer; its integrity is checked.
    pub(crate) fn code(&self, net: &mut Net, request: MessageBuilder) -> u16 {
        let answer = self.ask(net, request).expect("an answer");
        let code = answer.code();
        if !matches!(code, 401 | 438) {
            assert!(
                answer.message().verify_integrity(self.key.as_bytes()),
                "{code} is signed"
            );
        }
        code
    }

    /// A client with an allocation; its relay is the last one opened.
    pub(crate) fn allocated(net: &mut Net) -> (Self, RelayId) {
        let client = Self::alice().greet(net);
        let request = allocate();
        assert_eq!(client.code(net, request), 0);
        (client, net.requests.last().unwrap().0)
    }

    pub(crate) fn permit(&self, net: &mut Net, peer: &str) -> u16 {
        let request = ask_for(Method::CreatePermission).peer(peer);
        self.code(net, request)
    }

    pub(crate) fn bind(&self, net: &mut Net, number: u16, peer: &str) -> u16 {
        let request = ask_for(Method::ChannelBind)
            .number(A::CHANNEL_NUMBER, u32::from(number) << 16)
            .peer(peer);
        self.code(net, request)
    }

    pub(crate) fn refresh(&self, net: &mut Net, lifetime: u32) -> u16 {
        let request = ask_for(Method::Refresh).number(A::LIFETIME, lifetime);
        self.code(net, request)
    }
}

pub(crate) fn tuple(client: &str) -> FiveTuple {
    FiveTuple {
        client: addr(client),
        server: addr(SERVER),
        transport: Transport::Udp,
    }
}

pub(crate) fn allocate() -> MessageBuilder {
    ask_for(Method::Allocate).attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

pub(crate) fn send_to(peer: &str, data: &[u8]) -> Vec<u8> {
    let indication = MessageBuilder::new(Class::Indication, Method::Send, next_id());
    indication.peer(peer).attribute(A::DATA, data).finish()
}

pub(crate) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// A request with an id of its own.
pub(crate) fn ask_for(method: Method) -> MessageBuilder {
    MessageBuilder::request(method, next_id())
}

pub(crate) fn next_id() -> TransactionId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut id = [0x5a; 12];
    id[4..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    TransactionId(id)
}

pub(crate) trait BuilderExt {
    fn peer(self, address: &str) -> Self;
}

impl BuilderExt for MessageBuilder {
    fn peer(self, address: &str) -> Self {
        self.xor_address(A::XOR_PEER_ADDRESS, addr(address))
    }
}
