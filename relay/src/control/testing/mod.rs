//! What the tests of the control plane share: a node without sockets.

mod flaky;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shared::api::{NodeRole, Role, SessionView};
use shared::{NodeId, Realm, SessionId, Transport, WorkerId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use turn_proto::auth::credential::{CredentialAnswer, UserhashAnswer};
use turn_proto::five_tuple::FiveTuple;
use turn_proto::policy::Policy;
use turn_proto::server::{
    Command, EndCause, Event, PermissionSnapshot, RefusalReason, Refused, SessionCounters,
    SessionSnapshot, UsageReport,
};

use super::keys::ClusterKey;
use super::parts::{ControlHandle, ControlParts, WorkerSide, prepare};
use super::restore::Restoring;
use super::service::{Caller, Service};
use super::workers::Workers;
use crate::config::{Args, Config, ConnectionLimits};
use crate::listener::ConnectionTotals;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::worker::ports::RelayAddress;
use crate::worker::{Restore, WorkerNews};

pub(super) use flaky::FlakyStore;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within ten seconds.
pub(super) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn realm(name: &str) -> Realm {
    name.parse().unwrap()
}

pub(super) fn caller(role: Role, realms: &[&str]) -> Caller {
    let realms = realms.iter().map(|name| realm(name)).collect();
    Caller {
        actor: "unix:0".to_owned(),
        role,
        realms,
    }
}

pub(super) fn admin() -> Caller {
    caller(Role::Admin, &[])
}

/// A session as a worker describes it.
pub(super) fn snapshot(id: SessionId, user: &str, in_realm: &str) -> SessionSnapshot {
    let now = Instant::now();
    SessionSnapshot {
        id,
        worker: WorkerId(0),
        tuple: FiveTuple {
            client: "203.0.113.7:40000".parse().unwrap(),
            server: "192.0.2.1:3478".parse().unwrap(),
            transport: Transport::Udp,
        },
        realm: realm(in_realm),
        username: format!("{user}x").parse().unwrap(),
        user: user.into(),
        credential_expiry: None,
        secret_id: None,
        key_id: 0,
        relay_transport: shared::RelayTransport::Udp,
        is_mobile: false,
        relay_local: "192.0.2.1:50000".parse().unwrap(),
        relay_external: "192.0.2.1:50000".parse().unwrap(),
        second_relay: None,
        created: now,
        created_unix: 1_700_000_000,
        expires: now + Duration::from_secs(600),
        lifetime: Duration::from_secs(600),
        max_rate_bps: None,
        max_user_rate_bps: None,
        permissions: vec![PermissionSnapshot {
            peer: "198.51.100.9".parse().unwrap(),
            last_port: Some(7000),
            expires: now + Duration::from_secs(300),
            in_bytes: 0,
            out_bytes: 0,
        }],
        links: Vec::new(),
        channels: Vec::new(),
        counters: SessionCounters::default(),
        details: None,
    }
}

/// A refusal as a worker tells it.
pub(super) fn refused(user: &str, in_realm: &str, at: Instant) -> Refused {
    Refused {
        reason: RefusalReason::UserQuota,
        client: "203.0.113.7:4000".parse().unwrap(),
        realm: realm(in_realm),
        username: user.parse().ok(),
        user: Some(user.into()),
        session: None,
        peer: None,
        at,
        count: 1,
    }
}

/// A row of the session list.
pub(super) fn session_view(id: SessionId, rate: u64) -> SessionView {
    let moment = super::clock::Moment::now();
    let mut books = super::directory::Directory::new("n1".parse().unwrap(), BTreeMap::new());
    books.upsert(snapshot(id, "alice", "acme"), moment);
    let view = books.row(id, moment).unwrap().view();
    SessionView {
        rate_in_bps: rate,
        ..view
    }
}

/// Workers that relay nothing, but keep sessions and obey.
#[derive(Debug)]
pub(super) struct PaperWorkers {
    news: mpsc::Sender<(WorkerId, WorkerNews)>,
    sessions: Mutex<HashMap<SessionId, SessionSnapshot>>,
    policy: Mutex<Option<Arc<Policy>>>,
    credentials: Mutex<Vec<CredentialAnswer>>,
    userhashes: Mutex<Vec<UserhashAnswer>>,
    forgotten: Mutex<usize>,
}

impl PaperWorkers {
    fn tell(&self, event: Event) {
        self.news
            .try_send((WorkerId(0), WorkerNews::Event(event)))
            .unwrap();
    }

    pub(super) fn create(&self, session: SessionSnapshot) {
        self.sessions
            .lock()
            .unwrap()
            .insert(session.id, session.clone());
        self.tell(Event::SessionCreated(Box::new(session)));
    }

    /// What a worker says about a session from now on.
    pub(super) fn describe_as(&self, session: SessionSnapshot) {
        self.sessions.lock().unwrap().insert(session.id, session);
    }

    pub(super) fn report(&self, bytes: &[(SessionId, u64)]) {
        let sessions = bytes.iter().map(|(id, bytes)| {
            let counters = SessionCounters {
                in_bytes: *bytes,
                in_packets: 1,
                ..SessionCounters::default()
            };
            (*id, counters)
        });
        let usage = UsageReport {
            sessions: sessions.collect(),
            ..UsageReport::default()
        };
        self.tell(Event::Usage(Box::new(usage)));
    }

    pub(super) fn refuse(&self, refused: Vec<Refused>) {
        let usage = UsageReport {
            refused,
            ..UsageReport::default()
        };
        self.tell(Event::Usage(Box::new(usage)));
    }

    pub(super) fn look_up(&self, in_realm: &str, name: &str) {
        let lookup = WorkerNews::Lookup {
            realm: realm(in_realm),
            username: name.parse().unwrap(),
        };
        self.news.try_send((WorkerId(0), lookup)).unwrap();
    }

    pub(super) fn overflow(&self) {
        self.news
            .try_send((WorkerId(0), WorkerNews::Overflowed))
            .unwrap();
    }

    /// Ends a session that nobody refreshed.
    pub(super) fn expire(&self, session: SessionId) {
        self.lose(session);
        self.tell(Event::SessionEnded {
            session,
            cause: EndCause::Expired,
            counters: SessionCounters::default(),
        });
    }

    /// Forgets a session without telling.
    pub(super) fn lose(&self, id: SessionId) {
        self.sessions.lock().unwrap().remove(&id);
    }

    pub(super) fn policy(&self) -> Option<Arc<Policy>> {
        self.policy.lock().unwrap().clone()
    }

    pub(super) fn answers(&self) -> Vec<CredentialAnswer> {
        self.credentials.lock().unwrap().clone()
    }

    pub(super) fn userhashes(&self) -> Vec<UserhashAnswer> {
        self.userhashes.lock().unwrap().clone()
    }

    pub(super) fn look_up_hash(&self, in_realm: &str, hash: [u8; 32]) {
        let realm = realm(in_realm);
        let lookup = WorkerNews::LookupHash { realm, hash };
        self.news.try_send((WorkerId(0), lookup)).unwrap();
    }

    pub(super) fn forgotten(&self) -> usize {
        *self.forgotten.lock().unwrap()
    }
}

impl Workers for PaperWorkers {
    fn count(&self) -> u16 {
        1
    }

    fn send(&self, _: WorkerId, command: Command) -> bool {
        match command {
            Command::Kill { session, cause } => {
                if self.sessions.lock().unwrap().remove(&session).is_some() {
                    let counters = SessionCounters::default();
                    self.tell(Event::SessionEnded {
                        session,
                        cause,
                        counters,
                    });
                }
            }
            Command::SetPolicy(policy) => *self.policy.lock().unwrap() = Some(policy),
            Command::Credential { answer, .. } => self.credentials.lock().unwrap().push(answer),
            Command::Userhash { answer, .. } => self.userhashes.lock().unwrap().push(answer),
            Command::SetUserLimits(_) | Command::Place { .. } => {}
            Command::ForgetCredentials { .. } => *self.forgotten.lock().unwrap() += 1,
            Command::Describe { session } => {
                let session = self.sessions.lock().unwrap().get(&session).cloned();
                if let Some(session) = session {
                    self.tell(Event::SessionChanged(Box::new(session)));
                }
            }
            Command::Snapshot => {
                let all = self.sessions.lock().unwrap().values().cloned().collect();
                self.tell(Event::Snapshot(all));
            }
        }
        true
    }

    fn broadcast(&self, make: &dyn Fn() -> Command) -> bool {
        self.send(WorkerId(0), make())
    }

    fn restore(&self, _: WorkerId, _: Restore) -> bool {
        false
    }

    fn ports(&self) -> (u64, u64) {
        (self.sessions.lock().unwrap().len() as u64, 100)
    }

    fn overflows(&self) -> u64 {
        0
    }

    fn connections(&self) -> ConnectionTotals {
        ConnectionTotals::default()
    }

    fn set_connection_limits(&self, _: &ConnectionLimits) {}
}

/// A store in a directory.
pub(super) fn store(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&dir.join("turndb"), &dir.join("relayd.db")).unwrap())
}

/// A configuration with the realm `acme` and one secret in it, all of it from a file.
pub(super) fn config(dir: &Path, roles: &[NodeRole]) -> Config {
    config_with(dir, roles, BTreeMap::new())
}

/// The same with an environment.
pub(super) fn config_with(
    dir: &Path,
    roles: &[NodeRole],
    environment: BTreeMap<String, String>,
) -> Config {
    let roles: Vec<_> = roles
        .iter()
        .map(|role| serde_json::to_string(role).unwrap())
        .collect();
    let name = roles.join("-").replace('"', "");
    let (roles, state) = (roles.join(", "), dir.display());
    let text = format!(
        "cluster = \"test\"\nroles = [{roles}]\nstate_dir = \"{state}\"\nworkers = 1\n\
         relay_ports = \"50000-50099\"\nnonce_lifetime = \"10m\"\nlabels = {{ region = \"fra\" }}\n\
         admin.socket = \"{state}/admin.sock\"\nmetrics.listen = \"off\"\n\
         [[realm]]\nname = \"acme\"\nsecrets = [\"a-secret-of-the-file\"]\n"
    );
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, text).unwrap();
    let arguments = [
        "relayd".to_owned(),
        "-c".to_owned(),
        file.display().to_string(),
    ];
    let loaded = Config::load(&Args::new(arguments, environment).unwrap());
    Config {
        listeners: Vec::new(),
        ..loaded.unwrap_or_else(|errors| panic!("{errors}"))
    }
}

pub(super) fn parts(config: Config, node: &str, base: u32, store: Arc<dyn Store>) -> ControlParts {
    ControlParts {
        config: Arc::new(config),
        node: node.parse().unwrap(),
        elder_of: None,
        can_pass_on: false,
        session_base: base,
        store,
        cluster_key: ClusterKey::new(vec![7; 32]),
        listeners: vec!["192.0.2.1:3478".parse().unwrap()],
        urls: vec![("turn:192.0.2.1:3478?transport=udp".to_owned(), None)],
        listener_realms: HashMap::new(),
        relays: vec![RelayAddress {
            local: "10.0.0.1".parse().unwrap(),
            external: "192.0.2.1".parse().unwrap(),
        }],
        services: Vec::new(),
        certificates: Vec::new(),
        log: None,
    }
}

/// A control plane over [`PaperWorkers`].
#[derive(Debug)]
pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) base: u32,
    pub(super) service: Service,
    pub(super) workers: Arc<PaperWorkers>,
    pub(super) handle: ControlHandle,
    pub(super) cancel: CancellationToken,
}

impl TestNode {
    /// A node of both roles.
    pub(super) async fn start(name: &str, base: u32, store: &Arc<dyn Store>, dir: &Path) -> Self {
        let both = [NodeRole::Relay, NodeRole::Gateway];
        Self::start_with(config(dir, &both), name, base, store).await
    }

    pub(super) async fn start_with(
        config: Config,
        name: &str,
        base: u32,
        store: &Arc<dyn Store>,
    ) -> Self {
        let node = Self::start_joining(config, name, base, store).await;
        node.handle.serving();
        node
    }

    /// The same, before its listeners are open.
    pub(super) async fn start_joining(
        config: Config,
        name: &str,
        base: u32,
        store: &Arc<dyn Store>,
    ) -> Self {
        let prepared = prepare(parts(config, name, base, Arc::clone(store))).await;
        let (sender, news) = mpsc::channel(4096);
        let workers = Arc::new(PaperWorkers {
            news: sender,
            sessions: Mutex::default(),
            policy: Mutex::new(Some(prepared.policy())),
            credentials: Mutex::default(),
            userhashes: Mutex::default(),
            forgotten: Mutex::default(),
        });
        let cancel = CancellationToken::new();
        let side = WorkerSide {
            workers: workers.clone(),
            news,
            restoring: Restoring::default(),
        };
        let handle = prepared.run(side, cancel.clone());
        let id = name.parse().unwrap();
        Self {
            id,
            base,
            service: handle.service(),
            workers,
            handle,
            cancel,
        }
    }

    /// The `count`th session of this node.
    pub(super) fn session(&self, count: u32) -> SessionId {
        SessionId::new(self.base, count)
    }

    /// Waits until this node's list has so many rows.
    pub(super) async fn has_sessions(&self, count: u64) {
        let query = shared::api::ListQuery {
            scope: Some(shared::api::Scope::Node),
            ..shared::api::ListQuery::default()
        };
        eventually("the sessions are in the books", async || {
            self.service.sessions(&admin(), &query).await.unwrap().total == count
        })
        .await;
    }
}
