//! The server and its driver: opens relays, answers look-ups, keeps connections, and checks what the
//! core promises after every step.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{Realm, SessionId, Transport, Username, WorkerId};
use turn_proto::auth::credential::{CredentialAnswer, UserhashAnswer, userhash};
use turn_proto::auth::parking::Userhash;
use turn_proto::five_tuple::LinkId;
use turn_proto::policy::Quota;
use turn_proto::stun::Message;
use turn_proto::{
    AddressFamily, Arrival, Command, Errand, Event, FiveTuple, Now, OpenError, Output, PlaceClaim,
    Policy, PortRequest, RelayId, RelayOpened, RelayRequest, ReservationToken, Server,
    ServerConfig, ServerLimits,
};

use crate::checks;
use crate::policies::{BEGIN, USERS, policy, user};
use crate::quota::Count;

/// The first relay port.
const FIRST_PORT: u16 = 50_000;
/// Nothing the core asks to be called for lies further off.
const FOR_EVER: Duration = Duration::from_secs(4 * 86_400);
/// More calls than any idle core wants in that time.
const MAX_TIMEOUTS: usize = 1_000_000;

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
    /// Places are asked for where a limit is.
    pub asks_for_places: bool,
    /// Which worker of the node this is.
    pub worker: u16,
    /// How many there are; 0 and 1 are one.
    pub workers: u16,
}

/// What another worker is to do for a client that moved.
#[derive(Clone, Debug)]
pub struct PassedOn {
    /// Whose.
    pub tuple: FiveTuple,
    /// What the client sent.
    pub message: Vec<u8>,
    /// What is to be done.
    pub errand: Errand,
}

/// A question for the store.
#[derive(Clone, Debug)]
enum Lookup {
    Credential(Realm, Username),
    Userhash(Realm, Userhash),
    Place(Box<PlaceClaim>),
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
    /// Those that are ready for datagrams.
    pub prepared: HashSet<RelayId>,
    /// Connections with peers.
    pub links: Vec<LinkId>,
    /// Errands for the other worker.
    pub passed_on: VecDeque<PassedOn>,
    /// Connections for the other worker, with what came last.
    pub handed_over: VecDeque<(FiveTuple, Vec<u8>)>,
    /// The policy in force.
    pub(crate) policy: Arc<Policy>,
    openings: VecDeque<(RelayId, RelayRequest)>,
    lookups: VecDeque<Lookup>,
    reserved: HashMap<ReservationToken, SocketAddr>,
    connections: HashSet<FiveTuple>,
    pub(crate) quota: Arc<Count>,
    /// Starts of the node before this one.
    pub(crate) starts: u32,
    pub(crate) revision: u64,
    pub(crate) next_port: u16,
    pub(crate) entropy: u32,
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
        let quota = Arc::new(Count::new(begin, habits.asks_for_places));
        let config = Self::config(habits);
        let shared: Arc<dyn Quota> = Arc::clone(&quota) as Arc<dyn Quota>;
        let policy = Arc::new(policy(1, 0));
        Self {
            server: Server::new(config, Arc::clone(&policy), shared),
            policy,
            now: Now {
                mono: begin,
                unix: BEGIN,
            },
            habits,
            sent: VecDeque::new(),
            disconnected: VecDeque::new(),
            sessions: Vec::new(),
            relays: HashMap::new(),
            prepared: HashSet::new(),
            links: Vec::new(),
            passed_on: VecDeque::new(),
            handed_over: VecDeque::new(),
            openings: VecDeque::new(),
            lookups: VecDeque::new(),
            reserved: HashMap::new(),
            connections: HashSet::new(),
            quota,
            starts: 0,
            revision: 1,
            next_port: FIRST_PORT,
            entropy: 1,
        }
    }

    /// What the worker is told at its start.
    pub(crate) fn config(habits: Habits) -> ServerConfig {
        ServerConfig {
            worker: WorkerId(habits.worker),
            session_first: habits.worker.into(),
            session_step: u32::from(habits.workers.max(1)),
            limits: ServerLimits {
                connections_per_session: 3,
                waiting_connections: 4,
                parked_requests: 4,
                cached_credentials: 3,
            },
            ..ServerConfig::default()
        }
    }

    /// Tells the core of a stream that it does not know yet.
    pub fn announce(&mut self, tuple: FiveTuple, server_name: Option<&str>) {
        let server_name = server_name.map(Into::into);
        self.connected(tuple, server_name, None);
    }

    fn connected(
        &mut self,
        tuple: FiveTuple,
        server_name: Option<Box<str>>,
        home: Option<WorkerId>,
    ) {
        if tuple.transport != Transport::Udp && self.connections.insert(tuple) {
            let arrival = Arrival { server_name, home };
            self.server.handle_connected(self.now, tuple, &arrival);
            self.settle();
        }
    }

    /// Whether this worker has the client's connection.
    #[must_use]
    pub fn has(&self, tuple: &FiveTuple) -> bool {
        self.connections.contains(tuple)
    }

    /// Takes a connection over from another worker, and what came last on it. `home` is the worker
    /// that its datagrams reach, if not this one.
    pub fn adopt(&mut self, tuple: FiveTuple, home: Option<WorkerId>, message: &[u8]) {
        // One that the client left behind under the same 5-tuple.
        self.disconnect(tuple);
        self.connected(tuple, None, home);
        match home {
            None => {
                self.client(tuple, message);
            }
            Some(from) => self.serve(
                from,
                &PassedOn {
                    tuple,
                    message: message.to_vec(),
                    errand: Errand::Serve,
                },
            ),
        }
    }

    /// Does an errand for another worker.
    pub fn serve(&mut self, from: WorkerId, passed: &PassedOn) {
        let &PassedOn {
            tuple,
            ref message,
            errand,
        } = passed;
        self.advance(Duration::ZERO);
        let (before, now, server) = (self.sent.len(), self.now, &mut self.server);
        let forward = match errand {
            Errand::Serve => server.handle_passed_on(now, from, tuple, message),
            Errand::TakeBack => server.handle_returned(now, from, tuple, message),
            Errand::Confirm(session) => {
                server.handle_confirmed(from, tuple, session);
                None
            }
        };
        if let Some(forward) = forward {
            let _ = checks::passed(&self.relays, &self.prepared, &self.policy, forward);
        }
        self.settle();
        checks::answers(tuple, message, &self.sent.make_contiguous()[before..]);
    }

    /// Bytes from a client. A stream that was not announced is announced first.
    pub fn client(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Passed> {
        self.announce(tuple, None);
        // What is due anyway is no answer to these bytes.
        self.advance(Duration::ZERO);
        let before = self.sent.len();
        let forward = self.server.handle_client(self.now, tuple, bytes);
        let passed = forward
            .map(|forward| checks::passed(&self.relays, &self.prepared, &self.policy, forward));
        self.settle();
        checks::answers(tuple, bytes, &self.sent.make_contiguous()[before..]);
        passed
    }

    /// A datagram from a peer.
    pub fn peer(&mut self, relay: RelayId, from: SocketAddr, bytes: &[u8]) -> Option<Passed> {
        let forward = self.server.handle_peer(self.now, relay, from, bytes);
        let passed = forward
            .map(|forward| checks::passed(&self.relays, &self.prepared, &self.policy, forward));
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
        self.policy = Arc::new(policy(self.revision, kind));
        self.command(Command::SetPolicy(Arc::clone(&self.policy)));
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
        if let Some(lookup) = self.lookups.pop_front() {
            self.answer(lookup, available);
            self.settle();
        }
    }

    fn answer(&mut self, lookup: Lookup, available: bool) {
        let command = match lookup {
            Lookup::Credential(realm, username) => Command::Credential {
                answer: if available {
                    user(&realm, username.as_str())
                } else {
                    CredentialAnswer::Unavailable
                },
                realm,
                username,
            },
            Lookup::Userhash(realm, hash) => {
                let mut names = USERS.iter().map(|(name, _)| *name);
                let found = names.find(|name| userhash(name, realm.as_str()) == hash);
                let found = found.map(|name| name.parse().expect("a name"));
                Command::Userhash {
                    answer: match found {
                        _ if !available => UserhashAnswer::Unavailable,
                        Some(name) => UserhashAnswer::Known(name),
                        None => UserhashAnswer::Unknown,
                    },
                    realm,
                    hash,
                }
            }
            Lookup::Place(claim) => Command::Place {
                answer: self.quota.answer(&claim, available),
                claim,
            },
        };
        self.server.handle_command(self.now, command);
    }

    /// Holds the books of the core against what is open here.
    pub fn audit(&mut self) {
        self.command(Command::Snapshot);
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
        self.habits.hold_openings = false;
        self.habits.hold_lookups = false;
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
        assert_eq!(self.quota.held(), 0, "quota is left");
        let counters = self.server.counters();
        let begun = counters.allocations + counters.restored;
        assert_eq!(begun, counters.ended.total());
    }

    /// Does everything that the core asks for, and checks it.
    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            self.perform(output);
        }
        self.server.check();
        assert_eq!(self.sessions.len(), self.server.sessions());
        let held = self.quota.held();
        let (sessions, openings) = (self.sessions.len() as i64, self.openings.len() as i64);
        assert_eq!(self.quota.granted(), 0, "places are lost");
        assert!(held >= sessions, "quota is lost");
        assert!(held <= sessions + openings, "quota is not given back");
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
            Output::PrepareRelay { relay } => {
                assert!(self.relays.contains_key(&relay), "{relay:?} is not open");
                assert!(self.prepared.insert(relay), "{relay:?} is ready already");
            }
            Output::CloseRelay { relay } => {
                self.prepared.remove(&relay);
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
            Output::PassOn {
                tuple,
                worker,
                message,
                errand,
            } => {
                self.is_other(worker);
                self.passed_on.push_back(PassedOn {
                    tuple,
                    message,
                    errand,
                });
            }
            Output::HandOver {
                tuple,
                worker,
                message,
            } => {
                self.is_other(worker);
                self.lose(tuple);
                self.handed_over.push_back((tuple, message));
            }
            Output::Splice { tuple, link } => {
                assert!(self.links.contains(&link), "{link:?} is not there");
                self.lose(tuple);
            }
            Output::ClosePeer { link } => self.forget_link(link),
            Output::ClaimPlace(claim) => self.ask_store(Lookup::Place(claim)),
            Output::LookupCredential { realm, username } => {
                self.ask_store(Lookup::Credential(realm, username));
            }
            Output::LookupUserhash { realm, hash } => self.ask_store(Lookup::Userhash(realm, hash)),
            Output::Event(event) => self.note(event),
        }
    }

    fn ask_store(&mut self, lookup: Lookup) {
        if self.habits.hold_lookups {
            self.lookups.push_back(lookup);
        } else {
            self.answer(lookup, true);
        }
    }

    fn is_other(&self, worker: WorkerId) {
        let is_other = worker.0 != self.habits.worker && worker.0 < self.habits.workers;
        assert!(is_other, "passed on to {worker:?}");
    }

    /// A connection is the core's no more.
    fn lose(&mut self, tuple: FiveTuple) {
        let known = self.connections.remove(&tuple);
        assert!(known, "{tuple:?} is not connected");
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
            Event::Snapshot(all) => {
                assert_eq!(all.len(), self.server.sessions());
                let (links, opening) = (self.links.len(), self.openings.len());
                checks::books(&all, &self.relays, links, opening);
            }
            Event::Usage(report) => checks::report(&report),
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

#[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn begin() -> Instant {
    Instant::now()
}
