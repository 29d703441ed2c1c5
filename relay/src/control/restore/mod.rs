//! Sessions that an earlier start of this node left in the store: read before anything is served, and
//! told to the workers. What could not be read then is read later, and ports that something else
//! holds are asked for again for a while.

mod adopt;
mod share;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::api::{EventKind, Severity};
use shared::{NodeId, SessionId, WorkerId};
use tokio::sync::Notify;
use turn_proto::server::{RestoreRefusal, RestoredSession, SessionSnapshot};

use super::clock::Moment;
use super::cluster::heartbeat;
use super::hub::Hub;
use super::policy;
use crate::store::{Change, SessionRecord, Store, StoreError};
use crate::worker::{NotRestored, Restore};

pub use adopt::Adopted;
pub(super) use adopt::watch;
pub use share::{Shared, records_of, share_bequest, share_out};

/// Between questions to a store that does not answer.
const RETRY: Duration = Duration::from_millis(100);
/// The same once the node serves.
const LATE_RETRY: Duration = Duration::from_secs(1);
/// How long ports are asked for that something else has: a process that ends, mostly.
const PORTS_WITHIN: Duration = Duration::from_secs(5);
/// Between tries of such a port.
const PORT_RETRY: Duration = Duration::from_millis(250);
/// Starts whose ids are told to the other nodes.
const MAX_BASES: usize = 64;

/// What the store has of earlier starts.
#[derive(Debug, Default)]
pub struct Earlier {
    /// The number of this start, which ends what an earlier one may still do; 0: the store did not
    /// say.
    pub epoch: u64,
    /// The sessions.
    pub records: Vec<SessionRecord>,
    /// Whether those are all: the store answered.
    pub is_read: bool,
    /// Those of them that were another node's.
    pub adopted: Vec<Adopted>,
}

impl Earlier {
    /// As if the store had told that there is nothing: another process tells it all.
    #[must_use]
    pub fn passed_on() -> Self {
        Self {
            is_read: true,
            ..Self::default()
        }
    }

    /// Takes the sessions of a node that is dead along, whose addresses this one has now.
    pub async fn adopt(&mut self, store: &dyn Store, node: &NodeId) {
        match adopt::claim(store, node).await {
            Ok((adopted, records)) => {
                self.adopted.push(adopted);
                self.records.extend(records);
            }
            Err(error) => {
                tracing::warn!(%node, %error, "the node's sessions are not taken over at the start");
            }
        }
    }

    /// As if the store had not told the sessions.
    #[must_use]
    pub fn unread(self) -> Self {
        Self {
            records: Vec::new(),
            is_read: false,
            adopted: Vec::new(),
            ..self
        }
    }

    /// Whether a new session could get an id of theirs under that base.
    #[must_use]
    pub fn has_base(&self, base: u32) -> bool {
        self.records.iter().any(|record| record.id.base() == base)
    }
}

/// Counts this start and reads what the store has of this node's sessions; waits for the store at
/// most `patience`.
pub async fn read(store: &dyn Store, node: &NodeId, patience: Duration) -> Earlier {
    let mut earlier = Earlier::default();
    let failure = match tokio::time::timeout(patience, ask(store, node, &mut earlier)).await {
        Ok(Ok(())) => return earlier,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", patience.as_secs()),
    };
    tracing::warn!(
        reason = failure,
        "the store does not tell the sessions of an earlier start: they come back when it does"
    );
    earlier
}

async fn ask(store: &dyn Store, node: &NodeId, earlier: &mut Earlier) -> Result<(), StoreError> {
    loop {
        let answer = async {
            // First: what an earlier start writes after this is refused.
            if earlier.epoch == 0 {
                earlier.epoch = store.next_epoch(node).await?;
            }
            store.sessions(node).await
        };
        match answer.await {
            Ok(records) => {
                earlier.records = records;
                earlier.is_read = true;
                return Ok(());
            }
            Err(error) if error.may_pass() => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error),
        }
    }
}

/// What control has to wait for before its books are whole.
#[derive(Debug, Default)]
pub struct Restoring {
    /// The number of this start, if the store has told it.
    pub epoch: u64,
    /// Workers that will tell what became of their sessions.
    pub workers: u16,
    /// The store did not tell what it has: nothing there may be taken for a leftover.
    pub is_unread: bool,
    /// Sessions that the store told of, whether or not they come back; `None`: they were not asked of
    /// it, and what it has of earlier starts is over.
    pub told: Option<Vec<SessionId>>,
    /// Sessions that nobody restores.
    pub refused: Vec<SessionId>,
    /// Sessions that were another node's.
    pub adopted: Vec<Adopted>,
}

/// How far the node is with it.
#[derive(Debug)]
pub(super) struct Progress {
    inner: Mutex<Inner>,
    /// The store has sessions that it did not tell of at the start.
    found: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Answers of workers that are still to come.
    pending: u32,
    is_unread: bool,
    /// Sessions of earlier starts that the store told of, in order; eight bytes for each of them.
    told: Option<Vec<SessionId>>,
    /// Those that it has, and did not tell of.
    untold: Vec<SessionRecord>,
    /// Ports that something else has are given up then.
    ports_until: Instant,
    restored: u64,
    refused: HashMap<&'static str, u64>,
    /// Records that stay until they expire: another configuration may know their addresses.
    left_alone: HashSet<SessionId>,
    /// The upper halves of the ids that are live again.
    bases: BTreeSet<u32>,
    adopted: Vec<Adopted>,
}

impl Inner {
    fn note_told(&mut self, records: &[SessionRecord]) {
        let told = self.told.get_or_insert_default();
        told.extend(records.iter().map(|record| record.id));
        told.sort_unstable();
        told.dedup();
    }
}

impl Progress {
    pub(super) fn new(restoring: Restoring, started: Moment) -> Self {
        let mut refused = HashMap::new();
        if !restoring.refused.is_empty() {
            refused.insert("cannot come back", restoring.refused.len() as u64);
        }
        let told = restoring.told.map(|mut told| {
            told.sort_unstable();
            told
        });
        Self {
            found: Notify::new(),
            inner: Mutex::new(Inner {
                pending: u32::from(restoring.workers),
                is_unread: restoring.is_unread,
                told,
                untold: Vec::new(),
                ports_until: started.mono + PORTS_WITHIN,
                restored: 0,
                refused,
                left_alone: HashSet::new(),
                bases: BTreeSet::new(),
                adopted: restoring.adopted,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers will tell what became of another node's sessions.
    fn expect(&self, workers: usize, adopted: Adopted) {
        let mut inner = self.inner();
        inner.pending += workers as u32;
        inner.ports_until = Instant::now() + PORTS_WITHIN;
        inner.adopted.push(adopted);
    }

    /// Whether a session that is not in the books is none of this node's.
    pub(super) fn knows_all(&self) -> bool {
        let inner = self.inner();
        !inner.is_unread && inner.pending == 0
    }

    /// Whether a record is to stay although its session is not in the books.
    pub(super) fn leaves_alone(&self, session: SessionId) -> bool {
        self.inner().left_alone.contains(&session)
    }

    /// Leaves of records that are not in the books those that may be removed: their sessions are over.
    /// What an earlier start wrote and the store did not tell of when it was asked, as one that had lost it
    /// for a moment, goes on late.
    pub(super) fn over(&self, records: Vec<SessionRecord>, epoch: u64) -> Vec<SessionRecord> {
        let mut inner = self.inner();
        let Some(told) = &inner.told else {
            return records;
        };
        let is_untold = |r: &SessionRecord| r.epoch < epoch && told.binary_search(&r.id).is_err();
        let (untold, over): (Vec<_>, Vec<_>) = records.into_iter().partition(is_untold);
        inner.untold = untold;
        if !inner.untold.is_empty() {
            self.found.notify_one();
        }
        over
    }

    /// Sessions that the store has and did not tell of, from now on as good as told.
    fn take_untold(&self) -> Vec<SessionRecord> {
        let mut inner = self.inner();
        let untold = std::mem::take(&mut inner.untold);
        inner.note_told(&untold);
        untold
    }

    /// The upper halves of ids that came back, as eight hex digits.
    pub(super) fn bases(&self) -> Vec<String> {
        let inner = self.inner();
        let bases = inner.bases.iter().map(|base| format!("{base:08x}"));
        bases.collect()
    }
}

/// Takes what a worker says of the sessions that it was to take up. Those that go on are in the books
/// again as they were: nobody hears of new ones.
pub(super) fn told(
    hub: &Arc<Hub>,
    worker: WorkerId,
    sessions: Vec<SessionSnapshot>,
    refused: Vec<(RestoredSession, NotRestored)>,
    now: Moment,
) {
    let restored: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let bases: BTreeSet<u32> = sessions.iter().map(|session| session.id.base()).collect();
    let mut books = hub.books();
    for session in sessions {
        let id = session.id;
        books.upsert(session, now);
        if let (Some(stats), Some(row)) = (hub.stats(), books.row(id, now)) {
            stats.goes_on(&row);
        }
    }
    drop(books);
    let mut again = Vec::new();
    let mut ended = Vec::new();
    let mut inner = hub.restoring.inner();
    inner.restored += restored.len() as u64;
    inner.bases.extend(bases);
    while inner.bases.len() > MAX_BASES {
        inner.bases.pop_first();
    }
    for (session, why) in refused {
        match why {
            NotRestored::PortTaken if now.mono < inner.ports_until => {
                again.push(session);
                continue;
            }
            NotRestored::UnknownListener | NotRestored::UnknownRelayAddress => {
                inner.left_alone.insert(session.id);
            }
            // It is in the books, and its record is good.
            NotRestored::Refused(RestoreRefusal::Known) => continue,
            NotRestored::Refused(_) | NotRestored::PortTaken => ended.push(session.id),
        }
        *inner.refused.entry(word(why)).or_default() += 1;
    }
    if again.is_empty() {
        inner.pending = inner.pending.saturating_sub(1);
    }
    let is_done = inner.pending == 0 && !inner.is_unread;
    let adopted = inner.adopted.iter().map(|adopted| {
        let of_node = restored.iter().filter(|id| adopted.sessions.contains(id));
        let of_node: Vec<_> = of_node.copied().collect();
        (adopted.node.clone(), adopted.epoch, of_node)
    });
    let adopted: Vec<_> = adopted.collect();
    if is_done {
        for adopted in inner.adopted.drain(..) {
            hub.quota.replace(&adopted.node);
        }
        hub.quota.is_whole(&hub.node);
    }
    drop(inner);
    for (node, epoch, sessions) in adopted {
        if !sessions.is_empty() {
            adopt::settle(hub, node, epoch, sessions);
        }
    }
    let mut dirty = hub.dirty();
    ended.into_iter().for_each(|id| dirty.ended(id));
    drop(dirty);
    if !again.is_empty() {
        try_again(hub, worker, again);
    }
    if is_done {
        finished(hub);
    }
}

fn word(why: NotRestored) -> &'static str {
    match why {
        NotRestored::PortTaken => "port in use",
        NotRestored::UnknownListener => "no such listener",
        NotRestored::UnknownRelayAddress => "no such relay address",
        NotRestored::Refused(RestoreRefusal::Expired) => "expired",
        NotRestored::Refused(RestoreRefusal::UnknownRealm) => "realm gone",
        NotRestored::Refused(RestoreRefusal::TupleTaken) => "client came back",
        NotRestored::Refused(_) => "cannot come back",
    }
}

/// Asks once more for ports that something else has.
fn try_again(hub: &Arc<Hub>, worker: WorkerId, sessions: Vec<RestoredSession>) {
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let restore = Restore {
            sessions,
            ..Restore::default()
        };
        loop {
            tokio::select! {
                () = hub.cancel.cancelled() => return,
                () = tokio::time::sleep(PORT_RETRY) => {}
            }
            if hub.workers.restore(worker, restore.clone()) {
                return;
            }
        }
    });
}

fn finished(hub: &Arc<Hub>) {
    // Users, secrets and bans may have changed meanwhile.
    hub.running_users.want_all();
    hub.revocation.look();
    hub.bans.look_again();
    let mut inner = hub.restoring.inner();
    let restored = std::mem::take(&mut inner.restored);
    let refused = std::mem::take(&mut inner.refused);
    drop(inner);
    let lost: u64 = refused.values().sum();
    if restored + lost == 0 {
        return;
    }
    // Other nodes find the sessions by what the record says: now, not at the next beat.
    let told = Arc::clone(hub);
    tokio::spawn(async move {
        heartbeat::beat(&told).await;
        let _ = told.store.publish(&Change::Nodes).await;
    });
    let mut text = format!("{}: {restored} sessions go on after the restart", hub.node);
    if lost > 0 {
        let mut why: Vec<_> = refused.iter().collect();
        why.sort_unstable();
        let why: Vec<_> = why.iter().map(|(why, n)| format!("{why} {n}")).collect();
        text = format!("{text}; {lost} do not: {}", why.join(", "));
    }
    tracing::info!(restored, lost, "sessions of an earlier start go on");
    let severity = match lost {
        0 => Severity::Info,
        _ => Severity::Notice,
    };
    hub.event(EventKind::NodeChanged, severity, text);
}

/// Reads what the store did not tell at the start, as soon as it does, and takes up what is found later.
pub(super) async fn late(hub: Arc<Hub>) {
    if hub.restoring.inner().is_unread {
        let Some(records) = read_late(&hub).await else {
            return;
        };
        hub.restoring.inner().note_told(&records);
        let own = hub.epoch();
        let records = records.into_iter().filter(|record| record.epoch < own);
        take_up(&hub, records.collect()).await;
    }
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.restoring.found.notified() => {}
        }
        // Whoever lost them lost realms, too: one that is not back yet is not one that is gone.
        while !policy::read_all(&hub).await {
            tokio::select! {
                () = hub.cancel.cancelled() => return,
                () = tokio::time::sleep(LATE_RETRY) => {}
            }
        }
        let records = hub.restoring.take_untold();
        let count = records.len();
        tracing::warn!(
            count,
            "the store has sessions of an earlier start that it did not tell of"
        );
        take_up(&hub, records).await;
    }
}

/// All that the store has, once it says so; `None`: the node stops.
async fn read_late(hub: &Hub) -> Option<Vec<SessionRecord>> {
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return None,
            () = tokio::time::sleep(LATE_RETRY) => {}
        }
        // Before this start is counted, an earlier one may still write.
        if hub.epoch() == 0 || hub.fenced() {
            continue;
        }
        // A realm that is not known yet is not one that is gone.
        if !policy::read_all(hub).await {
            continue;
        }
        if let Ok(records) = hub.noted(hub.store.sessions(&hub.node).await) {
            return Some(records);
        }
    }
}

/// Has the workers take up sessions while they serve.
async fn take_up(hub: &Arc<Hub>, records: Vec<SessionRecord>) {
    let Shared { workers, refused } = share_out(records, hub.workers.count());
    {
        let mut inner = hub.restoring.inner();
        inner.pending += workers.len() as u32;
        inner.is_unread = false;
        inner.ports_until = Instant::now() + PORTS_WITHIN;
    }
    refused.iter().for_each(|id| hub.dirty().ended(*id));
    for (number, restore) in workers.into_iter().enumerate() {
        while !hub
            .workers
            .restore(WorkerId(number as u16), restore.clone())
        {
            tokio::select! {
                () = hub.cancel.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
