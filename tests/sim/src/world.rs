//! The server and its driver: opens relays, answers look-ups, keeps connections, and checks what the
//! core promises after every step.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use shared::{PasswordAlgorithm, Secret, SessionId, Transport};
use turn_proto::auth::credential::{
    CredentialAnswer, LongTermKey, Sha256Key, UserCredential, UserhashAnswer, userhash,
};
use turn_proto::five_tuple::LinkId;
use turn_proto::policy::{NodeSettings, Quota, QuotaExceeded, QuotaLimits, RestSecret};
use turn_proto::stun::Message;
use turn_proto::{
    AddressFamily, Arrival, Command, Event, FiveTuple, Forward, Now, OpenError, Output, Policy,
    PortRequest, RealmPolicy, RelayId, RelayOpened, RelayRequest, ReservationToken, Server,
    ServerConfig, ServerLimits,
};
use turn_proto::{Budget, Budgets, Claimant};

/// The realm of the world.
pub const REALM: &str = "example.org";
/// Its shared secret.
pub const SECRET: &str = "a secret of the simulation";
/// Its users with a password.
pub const USERS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];
/// When it begins, in Unix seconds.
pub const BEGIN: u64 = 1_800_000_000;
/// The first relay port.
const FIRST_PORT: u16 = 50_000;
/// Nothing the core asks to be called for lies further off.
const FOR_EVER: Duration = Duration::from_secs(4 * 86_400);
/// More calls than any idle core wants in that time.
const MAX_TIMEOUTS: usize = 1_000_000;

/// Counts sessions, says no at a limit, and has budgets to draw from.
#[derive(Debug)]
struct Count {
    held: AtomicI64,
    budgets: Budgets,
}

impl Count {
    fn new(origin: Instant) -> Self {
        let budget = || Arc::new(Budget::new(origin));
        Self {
            held: AtomicI64::new(0),
            budgets: Budgets {
                user: Some(budget()),
                realm: budget(),
                node: budget(),
            },
        }
    }
}

impl Quota for Count {
    fn try_reserve(
        &self,
        claimant: Claimant<'_>,
        limits: QuotaLimits,
    ) -> Result<Budgets, QuotaExceeded> {
        let held = self.held.load(Ordering::Relaxed);
        let over = |limit: Option<u32>| limit.is_some_and(|limit| held >= limit.into());
        if !claimant.user.is_empty() && over(limits.per_user) {
            return Err(QuotaExceeded::User);
        }
        if over(limits.per_realm) {
            return Err(QuotaExceeded::Realm);
        }
        if over(limits.per_source) {
            return Err(QuotaExceeded::Source);
        }
        if over(limits.per_node) {
            return Err(QuotaExceeded::Node);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(self.budgets.clone())
    }

    fn release(&self, _: Claimant<'_>) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A packet that the core let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// From the relay socket with this address to a peer.
    ToPeer {
        /// The relay socket's address.
        from: SocketAddr,
        /// The peer.
        peer: SocketAddr,
        /// The payload.
        payload: Vec<u8>,
    },
    /// To a client: header, payload and padding as they go out.
    ToClient {
        /// Whom to.
        tuple: FiveTuple,
        /// All bytes.
        bytes: Vec<u8>,
    },
}

/// How the world treats what the core asks of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Questions for relay sockets wait for [`World::answer_opening`].
    pub hold_openings: bool,
    /// Questions for users wait for [`World::answer_lookup`].
    pub hold_lookups: bool,
}

/// The server, what it has open, and what it said.
#[derive(Debug)]
pub struct World {
    /// The core itself.
    pub server: Server,
    /// The time.
    pub now: Now,
    /// How questions are answered.
    pub habits: Habits,
    /// STUN messages for clients, oldest first.
    pub sent: VecDeque<(FiveTuple, Vec<u8>)>,
    /// Connections that the core wants closed; they are until somebody looks.
    pub disconnected: VecDeque<FiveTuple>,
    /// Live sessions.
    pub sessions: Vec<SessionId>,
    /// Open relay sockets.
    pub relays: HashMap<RelayId, SocketAddr>,
    /// Connections with peers.
    pub links: Vec<LinkId>,
    openings: VecDeque<(RelayId, RelayRequest)>,
    lookups: VecDeque<(shared::Realm, shared::Username)>,
    reserved: HashMap<ReservationToken, SocketAddr>,
    connections: HashSet<FiveTuple>,
    quota: Arc<Count>,
    revision: u64,
    next_port: u16,
    entropy: u32,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Habits::default())
    }
}

impl World {
    /// A world whose realm has two users and a secret, small tables, and everything switched on.
    #[must_use]
    pub fn new(habits: Habits) -> Self {
        let begin = begin();
        let quota = Arc::new(Count::new(begin));
        let config = ServerConfig {
            limits: ServerLimits {
                parked_requests: 4,
                ..ServerLimits::default()
            },
            ..ServerConfig::default()
        };
        let shared: Arc<dyn Quota> = Arc::clone(&quota) as Arc<dyn Quota>;
        Self {
            server: Server::new(config, Arc::new(policy(1, 0)), shared),
            now: Now {
                mono: begin,
                unix: BEGIN,
            },
            habits,
            sent: VecDeque::new(),
            disconnected: VecDeque::new(),
            sessions: Vec::new(),
            relays: HashMap::new(),
            links: Vec::new(),
            openings: VecDeque::new(),
            lookups: VecDeque::new(),
            reserved: HashMap::new(),
            connections: HashSet::new(),
            quota,
            revision: 1,
            next_port: FIRST_PORT,
            entropy: 1,
        }
    }

    /// Bytes from a client. A stream that was not announced is announced first.
    pub fn client(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Passed> {
        if tuple.transport != Transport::Udp && self.connections.insert(tuple) {
            let arrival = Arrival::default();
            self.server.handle_connected(self.now, tuple, &arrival);
            self.settle();
        }
        let forward = self.server.handle_client(self.now, tuple, bytes);
        let passed = forward.map(|forward| passed(&self.relays, forward));
        self.settle();
        passed
    }

    /// A datagram from a peer.
    pub fn peer(&mut self, relay: RelayId, from: SocketAddr, bytes: &[u8]) -> Option<Passed> {
        let forward = self.server.handle_peer(self.now, relay, from, bytes);
        let passed = forward.map(|forward| passed(&self.relays, forward));
        self.settle();
        passed
    }

    /// A client's connection ends.
    pub fn disconnect(&mut self, tuple: FiveTuple) {
        if self.connections.remove(&tuple) {
            self.server.handle_disconnected(self.now, tuple);
            self.settle();
        }
    }

    /// An order of the control plane.
    pub fn command(&mut self, command: Command) {
        self.server.handle_command(self.now, command);
        self.settle();
    }

    /// Another policy; `kind` picks one of a few.
    pub fn change_policy(&mut self, kind: u8) {
        self.revision += 1;
        let next = Arc::new(policy(self.revision, kind));
        self.command(Command::SetPolicy(next));
    }

    /// Passes time; the core is called whenever it wants to be.
    pub fn advance(&mut self, time: Duration) {
        let (start, end) = (self.now, self.now.mono + time);
        let at = |mono: Instant| Now {
            mono,
            unix: start.unix + (mono - start.mono).as_secs(),
        };
        for round in 0.. {
            assert!(round < MAX_TIMEOUTS, "the core never rests");
            match self.server.poll_timeout() {
                Some(due) if due <= end => {
                    self.now = at(due.max(self.now.mono));
                    self.server.handle_timeout(self.now);
                    self.settle();
                }
                _ => break,
            }
        }
        self.now = at(end);
    }

    /// Answers the oldest question for a relay socket.
    pub fn answer_opening(&mut self, error: Option<OpenError>) {
        if let Some((relay, request)) = self.openings.pop_front() {
            self.open(relay, request, error);
            self.settle();
        }
    }

    /// Answers the oldest question for a user.
    pub fn answer_lookup(&mut self, available: bool) {
        if let Some((realm, username)) = self.lookups.pop_front() {
            let answer = if available {
                user(username.as_str())
            } else {
                CredentialAnswer::Unavailable
            };
            self.command(Command::Credential {
                realm,
                username,
                answer,
            });
        }
    }

    /// Unpredictable to the core only.
    pub fn draw(&mut self) -> u32 {
        self.entropy = self
            .entropy
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.entropy
    }

    /// Ends everything and checks that nothing is left.
    ///
    /// # Panics
    /// When something is.
    pub fn finish(mut self) {
        self.habits = Habits::default();
        while !self.openings.is_empty() {
            self.answer_opening(None);
        }
        while !self.lookups.is_empty() {
            self.answer_lookup(true);
        }
        for tuple in self.connections.clone() {
            self.disconnect(tuple);
        }
        self.advance(FOR_EVER);
        assert_eq!(
            self.server.sessions(),
            0,
            "sessions outlive their lifetimes"
        );
        assert_eq!(self.sessions, [], "sessions that nobody said are over");
        assert!(self.relays.is_empty(), "relays are left: {:?}", self.relays);
        assert!(self.links.is_empty(), "links are left: {:?}", self.links);
        assert_eq!(self.quota.held.load(Ordering::Relaxed), 0, "quota is left");
        let counters = self.server.counters();
        assert_eq!(counters.allocations, counters.ended);
    }

    /// Does everything that the core asks for, and checks it.
    fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            self.perform(output);
        }
        self.server.check();
        assert_eq!(self.sessions.len(), self.server.sessions());
        let held = self.quota.held.load(Ordering::Relaxed);
        assert!(held >= self.sessions.len() as i64, "quota is lost");
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Transmit { tuple, message } => {
                assert!(
                    Message::parse(&message).is_ok(),
                    "a message nobody can read"
                );
                self.sent.push_back((tuple, message));
            }
            Output::OpenRelay { relay, request } => {
                assert!(!self.relays.contains_key(&relay), "{relay:?} is open");
                if self.habits.hold_openings {
                    self.openings.push_back((relay, request));
                } else {
                    self.open(relay, request, None);
                }
            }
            Output::CloseRelay { relay } => {
                assert!(
                    self.relays.remove(&relay).is_some(),
                    "{relay:?} is not open"
                );
            }
            Output::Disconnect { tuple } => {
                assert!(
                    self.connections.contains(&tuple),
                    "{tuple:?} is not connected"
                );
                self.disconnected.push_back(tuple);
            }
            Output::ConnectPeer { link, .. } => self.links.push(link),
            // There is one worker, so nobody else has a session of its clients.
            Output::PassOn { .. } => panic!("passed on to nobody"),
            Output::Splice { tuple, .. } | Output::HandOver { tuple, .. } => {
                assert!(
                    self.connections.remove(&tuple),
                    "{tuple:?} is not connected"
                );
            }
            Output::ClosePeer { link } => self.forget_link(link),
            Output::LookupCredential { realm, username } => {
                if self.habits.hold_lookups {
                    self.lookups.push_back((realm, username));
                } else {
                    let answer = user(username.as_str());
                    let answer = Command::Credential {
                        realm,
                        username,
                        answer,
                    };
                    self.server.handle_command(self.now, answer);
                }
            }
            Output::LookupUserhash { realm, hash } => {
                let names = USERS.iter().map(|(name, _)| *name);
                let found = names.clone().find(|name| userhash(name, REALM) == hash);
                let found = found.map(|name| name.parse().expect("a name"));
                let answer = found.map_or(UserhashAnswer::Unknown, UserhashAnswer::Known);
                let answer = Command::Userhash {
                    realm,
                    hash,
                    answer,
                };
                self.server.handle_command(self.now, answer);
            }
            Output::Event(event) => self.note(event),
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::SessionCreated(session) => {
                assert!(
                    !self.sessions.contains(&session.id),
                    "two sessions of one id"
                );
                self.sessions.push(session.id);
            }
            Event::SessionChanged(session) => assert!(self.sessions.contains(&session.id)),
            Event::SessionEnded { session, .. } => {
                let before = self.sessions.len();
                self.sessions.retain(|id| *id != session);
                assert_eq!(self.sessions.len() + 1, before, "a session ended twice");
            }
            Event::Snapshot(all) => assert_eq!(all.len(), self.server.sessions()),
            Event::Usage(_) => {}
        }
    }

    /// Forgets a connection with a peer.
    pub fn forget_link(&mut self, link: LinkId) {
        self.links.retain(|other| *other != link);
    }

    fn open(&mut self, relay: RelayId, request: RelayRequest, error: Option<OpenError>) {
        let opened = match error {
            Some(error) => Err(error),
            None => self.bind(request),
        };
        if let Ok(opened) = &opened {
            self.relays.insert(relay, opened.local);
        }
        self.server.handle_relay_opened(self.now, relay, opened);
    }

    fn bind(&mut self, request: RelayRequest) -> Result<RelayOpened, OpenError> {
        let ip: IpAddr = match request.family {
            AddressFamily::V4 => [198, 51, 100, 1].into(),
            AddressFamily::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        };
        let fresh = SocketAddr::new(ip, self.next_port);
        let local = match request.port {
            PortRequest::Reserved(token) => self
                .reserved
                .remove(&token)
                .ok_or(OpenError::UnknownToken)?,
            _ => fresh,
        };
        self.next_port = self.next_port.checked_add(2).unwrap_or(FIRST_PORT);
        let reservation = (request.port == PortRequest::EvenReserveNext).then(|| {
            let mut token = [0; 8];
            token[..4].copy_from_slice(&self.draw().to_be_bytes());
            let token = ReservationToken(token);
            self.reserved
                .insert(token, SocketAddr::new(ip, fresh.port() + 1));
            token
        });
        Ok(RelayOpened {
            local,
            external: local,
            reservation,
        })
    }
}

fn passed(relays: &HashMap<RelayId, SocketAddr>, forward: Forward<'_>) -> Passed {
    match forward {
        Forward::ToPeer {
            relay,
            peer,
            payload,
            ..
        } => {
            let from = *relays
                .get(&relay)
                .expect("a packet leaves from an open relay");
            assert_ne!(peer.port(), 0, "no host listens there");
            assert!(!peer.ip().is_loopback(), "loopback is denied");
            assert_eq!(peer.is_ipv4(), from.is_ipv4(), "of the relay's family");
            Passed::ToPeer {
                from,
                peer,
                payload: payload.to_vec(),
            }
        }
        Forward::ToClient {
            tuple,
            header,
            payload,
            pad,
        } => {
            let mut bytes = header.as_slice().to_vec();
            bytes.extend_from_slice(payload);
            bytes.resize(bytes.len() + usize::from(pad), 0);
            Passed::ToClient { tuple, bytes }
        }
    }
}

fn user(name: &str) -> CredentialAnswer {
    let password = USERS.iter().find(|(known, _)| *known == name);
    password.map_or(CredentialAnswer::Unknown, |(_, password)| {
        CredentialAnswer::Known(UserCredential {
            key: LongTermKey::derive(name, REALM, password),
            sha256: Some(Sha256Key::derive(name, REALM, password)),
            max_sessions: None,
            max_rate_bps: None,
        })
    })
}

/// The policy without time-limited credentials: users may hide their names (USERHASH).
pub const ANONYMOUS: u8 = 6;

/// One of a few policies: the first is generous, the others take something away.
fn policy(revision: u64, kind: u8) -> Policy {
    let mut realm = RealmPolicy::new(REALM.parse().expect("a realm's name"));
    let mut settings = NodeSettings::default();
    realm.secrets = vec![RestSecret {
        id: "s".into(),
        value: Secret::new(SECRET.as_bytes().to_vec()),
    }];
    realm.password_algorithms = vec![PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
    realm.username_anonymity = true;
    match kind % 7 {
        1 => {
            realm.max_rate_bps = Some(80_000);
            realm.max_user_rate_bps = Some(120_000);
            realm.max_new_peers_per_sec = Some(2);
        }
        2 => realm.denied_peers = vec!["9.9.9.0/24".parse().expect("a range")],
        3 => {
            realm.max_sessions_per_user = Some(2);
            settings.max_sessions_per_source = Some(3);
            settings.unauthorized_ratelimit = Some(2);
            settings.binding_ratelimit = Some(2);
            settings.rfc5766_channel_numbers = true;
        }
        4 => {
            realm.max_lifetime = Duration::from_secs(700);
            realm.password_algorithms.clear();
        }
        ANONYMOUS => realm.secrets.clear(),
        _ => {}
    }
    settings.tcp_relay.enabled = true;
    settings.mobility = true;
    settings.permissions_per_session = 6;
    settings.channels_per_session = 4;
    Policy {
        revision,
        settings,
        accepting: kind % 7 != 5,
        ..Policy::new(vec![realm], Secret::new([7; 32]))
    }
}

#[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn begin() -> Instant {
    Instant::now()
}
