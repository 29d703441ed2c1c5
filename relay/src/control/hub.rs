//! What the tasks of the control plane share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::api::{EventKind, EventView, NodeState, Severity, StoreState};
use shared::{NodeId, Secret};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::alerts::Alerts;
use super::bans::Bans;
use super::clock::Moment;
use super::cluster::Cluster;
use super::credentials::Credentials;
use super::denials::Denials;
use super::directory::Directory;
use super::dirty::Dirty;
use super::documents::Documents;
use super::drain::NodeDrain;
use super::health::{StoreHealth, Turn};
use super::history::History;
use super::local::{Local, OnDisk};
use super::parts::ControlParts;
use super::policy::PolicyKeeper;
use super::quota::{NodeQuota, Places};
use super::recorder::Recorder;
use super::redirects::Redirects;
use super::refusals::RecentRefusals;
use super::restore::{Progress, Restoring};
use super::revocation::Revocation;
use super::running_users::RunningUsers;
use super::service::events::LiveTail;
use super::service::jobs::Jobs;
use super::service::users::UserIndex;
use super::settings::Settings;
use super::statsdb::Statsdb;
use super::tokens::Tokens;
use super::upgrade::Upgrade;
use super::waiters::Waiters;
use super::workers::Workers;
use crate::config::Config;
use crate::store::{Store, StoreError};

/// What a hub is made of.
#[derive(Debug)]
pub(super) struct HubParts {
    /// What `node.rs` gave.
    pub parts: ControlParts,
    /// The policy.
    pub keeper: PolicyKeeper,
    /// The quota.
    pub quota: Arc<NodeQuota>,
    /// Bans and blocks that an earlier start could not write.
    pub local: Local,
    /// The drain that the node starts in.
    pub drain: NodeDrain,
    /// The workers.
    pub workers: Arc<dyn Workers>,
    /// What they take up.
    pub restoring: Restoring,
    /// Whether the store answered when the first policy was built.
    pub store_answered: bool,
    /// Ends everything.
    pub cancel: CancellationToken,
}

/// The shared state of the control plane. Locks are held for the time of a table operation, never
/// across an await.
#[derive(Debug)]
pub(super) struct Hub {
    /// This node.
    pub node: NodeId,
    /// What `node.rs` gave.
    pub parts: ControlParts,
    /// When the control plane started.
    pub started: Moment,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The key of mailbox messages.
    pub mailbox_key: Secret<[u8; 32]>,
    /// The policy and where it comes from.
    pub keeper: PolicyKeeper,
    /// The quota.
    pub quota: Arc<NodeQuota>,
    /// The workers.
    pub workers: Arc<dyn Workers>,
    /// Certificates shall be read again at once.
    pub reload_certificates: Notify,
    /// Sessions that wait for a place among those of all nodes.
    pub places: Places,
    /// Look-ups.
    pub credentials: Credentials,
    /// Users of running sessions who may have changed.
    pub running_users: RunningUsers,
    /// Credentials that are worth nothing any more, and the sessions that they take along.
    pub revocation: Revocation,
    /// Banned networks.
    pub bans: Bans,
    /// What is on disk of bans and blocks that the store has not yet.
    pub local: OnDisk,
    /// Held while session records are written: what ended is removed after what was written before.
    pub mirroring: tokio::sync::Mutex<()>,
    /// Failed calls of operators, so that nobody fills the audit with them.
    pub denials: Denials,
    /// Events and audit on their way to the store.
    pub recorder: Recorder,
    /// Callers that wait for a session.
    pub waiters: Waiters,
    /// The other nodes.
    pub cluster: Cluster,
    /// Who is told of sessions in coturn's words; mostly nobody.
    pub statsdb: Option<Statsdb>,
    /// Figures over time.
    pub history: History,
    /// Kill jobs.
    pub jobs: Jobs,
    /// The configuration and the store's overrides of it.
    pub settings: Settings,
    /// Conditions that are judged.
    pub alerts: Alerts,
    /// Documents of the store.
    pub documents: Documents,
    /// The drain of this node.
    pub drain: NodeDrain,
    /// The process that takes over.
    pub upgrade: Upgrade,
    /// Redirects.
    pub redirects: Redirects,
    /// Tokens.
    pub tokens: Tokens,
    /// Stored users, for pages.
    pub user_index: UserIndex,
    /// Followers of events.
    pub tail: LiveTail,
    /// Whether the store is there.
    pub health: StoreHealth,
    /// Wakes the task that keeps the policy.
    pub policy_stale: Notify,
    /// The number of this start; 0 until the store gave it.
    pub epoch: AtomicU64,
    /// Ends everything.
    pub cancel: CancellationToken,
    books: Mutex<Directory>,
    dirty: Mutex<Dirty>,
    refusals: Mutex<RecentRefusals>,
    serving: AtomicBool,
    fenced: AtomicBool,
    /// Some session changed that the store is to know.
    pub changed: Notify,
    /// Sessions of an earlier start.
    pub restoring: Progress,
}

impl Hub {
    /// Puts everything together.
    #[must_use]
    pub(super) fn new(made: HubParts) -> Arc<Self> {
        let HubParts {
            parts,
            keeper,
            quota,
            local,
            drain,
            workers,
            restoring,
            cancel,
            store_answered,
        } = made;
        let mut dirty = Dirty::new();
        restoring.refused.iter().for_each(|id| dirty.ended(*id));
        let started = Moment::now();
        Arc::new(Self {
            node: parts.node.clone(),
            started,
            store: Arc::clone(&parts.store),
            mailbox_key: parts.cluster_key.mailbox_key(),
            keeper,
            quota,
            workers,
            places: Places::default(),
            credentials: Credentials::default(),
            running_users: RunningUsers::default(),
            revocation: Revocation::default(),
            bans: Bans::new(local.bans.clone()),
            local: OnDisk::new(local),
            mirroring: tokio::sync::Mutex::default(),
            denials: Denials::default(),
            recorder: Recorder::new(parts.node.clone()),
            waiters: Waiters::default(),
            cluster: Cluster::default(),
            statsdb: parts.statsdb.clone().map(Statsdb::new),
            history: History::default(),
            jobs: Jobs::default(),
            settings: Settings::new(&parts.config, parts.log.clone()),
            alerts: Alerts::default(),
            documents: Documents::new(&parts.node),
            drain,
            upgrade: Upgrade::default(),
            redirects: Redirects::new(&parts),
            tokens: Tokens::new(parts.config.state_dir.join("tokens.json")),
            user_index: UserIndex::default(),
            tail: LiveTail::default(),
            health: StoreHealth::new(!store_answered, started.unix_ms),
            policy_stale: Notify::new(),
            reload_certificates: Notify::new(),
            epoch: AtomicU64::new(restoring.epoch),
            cancel,
            books: Mutex::new(Directory::new(
                parts.node.clone(),
                parts.config.labels.clone(),
            )),
            dirty: Mutex::new(dirty),
            refusals: Mutex::new(RecentRefusals::new(parts.node.clone(), started)),
            serving: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            changed: Notify::new(),
            restoring: Progress::new(restoring, started),
            parts,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub(super) fn config(&self) -> Arc<Config> {
        self.keeper.config()
    }

    /// Who is told of sessions in coturn's words. A process that another one replaced tells nothing any
    /// more: its sessions go on there.
    #[must_use]
    pub(super) fn stats(&self) -> Option<&Statsdb> {
        self.statsdb.as_ref().filter(|_| !self.fenced())
    }

    /// The books of this node's sessions.
    pub(super) fn books(&self) -> MutexGuard<'_, Directory> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store does not know yet.
    pub(super) fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest refusals of this node; the place to count them by user, realm or network.
    pub(super) fn refusals(&self) -> MutexGuard<'_, RecentRefusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this start; 0: the store has not told it yet.
    #[must_use]
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The listeners are open.
    pub(super) fn set_serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Another process runs as this node, as its start number `epoch`: this one takes no new
    /// sessions any more, and writes nothing about its own.
    pub(super) fn fence(&self, epoch: u64) {
        if self.fenced.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(
            epoch,
            "another process runs as this node: no new sessions here"
        );
        self.keeper.refuse_allocations();
        self.policy_stale.notify_one();
        let text = format!("{}: another process runs under this id", self.node);
        self.event(EventKind::NodeChanged, Severity::Crit, text);
    }

    /// Whether another process runs as this node.
    #[must_use]
    pub(super) fn fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Where this node is in its life.
    #[must_use]
    pub(super) fn state(&self) -> NodeState {
        if self.cancel.is_cancelled() {
            NodeState::Gone
        } else if self.fenced() || self.parts.elder_of.is_some() {
            NodeState::Draining
        } else if !self.serving.load(Ordering::Relaxed) {
            NodeState::Joining
        } else if self.drain.mode().is_some() {
            NodeState::Draining
        } else {
            NodeState::Ready
        }
    }

    /// The connection to the store, for screens.
    #[must_use]
    pub(super) fn store_state(&self) -> StoreState {
        let (connected, since_ms) = self.health.get();
        let mut troubles = self.store_troubles();
        troubles.extend(self.statsdb.as_ref().and_then(Statsdb::trouble));
        StoreState {
            kind: self.store.kind().to_owned(),
            connected,
            since_ms,
            troubles,
        }
    }

    /// What is wrong with the store although it answers.
    #[must_use]
    pub(super) fn store_troubles(&self) -> Vec<String> {
        let refusal = self.health.refuses();
        let refusal = refusal.map(|reason| format!("it refuses for now: {reason}"));
        refusal.into_iter().chain(self.store.warnings()).collect()
    }

    /// Says when the store takes again what it refused.
    pub(super) fn look_at_refusals(&self) {
        if self.health.accepts_again(Moment::now().unix_ms) {
            let text = "the store takes again what it refused";
            tracing::info!(store = self.store.kind(), "{text}");
            self.event(EventKind::StoreChanged, Severity::Notice, text);
        }
    }

    /// Notes what an answer of the store says about the store, and passes it on.
    ///
    /// # Errors
    /// The one given.
    pub(super) fn noted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let away = match &answer {
            Err(StoreError::Unavailable(reason)) => Some(reason.as_str()),
            _ => None,
        };
        let now = Moment::now().unix_ms;
        if let Err(StoreError::NotNow(reason)) = &answer
            && self.health.refused(reason, now)
        {
            tracing::warn!(
                reason,
                "the store refuses for now; what it does not take is kept"
            );
            let text = format!("the store refuses for now: {reason}");
            self.event(EventKind::StoreChanged, Severity::Crit, text);
        }
        // Of several servers one may be away while others answer: it is back when all are.
        if away.is_none() && !self.health.connected() && !self.store.is_whole() {
            return answer;
        }
        match self.health.note(away.is_none(), now) {
            Turn::Same | Turn::First => {}
            Turn::Lost => {
                let reason = away.unwrap_or_default();
                tracing::warn!(reason, "the store is out of reach; running sessions go on");
                self.event(
                    EventKind::StoreChanged,
                    Severity::Crit,
                    "the store is out of reach",
                );
                self.policy_stale.notify_one();
            }
            Turn::Back => {
                tracing::info!(store = self.store.kind(), "the store answers");
                self.event(
                    EventKind::StoreChanged,
                    Severity::Notice,
                    "the store answers",
                );
                let ids: Vec<_> = self.books().ids().collect();
                self.dirty().everything(ids.into_iter());
                self.quota.note_all();
                self.keeper.want_everything();
                self.policy_stale.notify_one();
                self.documents.stale.notify_one();
            }
        }
        answer
    }

    /// Records an event about the node itself.
    pub(super) fn event(&self, kind: EventKind, severity: Severity, text: impl Into<String>) {
        self.recorder
            .event(self.new_event(kind, severity, text.into()));
    }

    /// An event of this node, now.
    #[must_use]
    pub(super) fn new_event(&self, kind: EventKind, severity: Severity, text: String) -> EventView {
        EventView {
            id: String::new(),
            at_ms: Moment::now().unix_ms,
            node: self.node.clone(),
            severity,
            kind,
            text,
            session: None,
            user: None,
            realm: None,
        }
    }
}
