//! Bans of networks: the cluster's document of them, those that the store has not yet, and the end of
//! the sessions that a new one hits.
//!
//! Workers judge by the policy: a client's net at its requests, a peer's with the other rules for
//! peers. A ban that the store did not take holds on this node, and is written when the store is back.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::IpRange;
use shared::api::{BanKind, BanView, EventKind, Severity};
use tokio::sync::Notify;
use turn_proto::server::EndCause;

use super::clock::Moment;
use super::ending::{Told, end_where};
use super::hub::Hub;
use super::{documents, keys, local, policy};
use crate::store::document::BANS;
use crate::store::{StoreError, StoredDocument};

/// Bans in a cluster.
pub(super) const MAX_BANS: usize = 1000;
/// How often what the store has not yet is offered to it, and bans that ended are left out.
const COMPARE: Duration = Duration::from_secs(5);
/// When sessions that began in the very moment of a ban are looked for.
const AFTERWARDS: Duration = Duration::from_millis(250);
/// How often a change is tried again after somebody else was faster.
const ATTEMPTS: usize = 5;

/// One ban as the document has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredBan {
    pub kind: BanKind,
    pub net: IpRange,
    pub until_ms: u64,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub by: String,
    /// What a newer release says of it.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

impl StoredBan {
    /// What it is called.
    #[must_use]
    pub(super) fn id(&self) -> String {
        let name = format!("{} {}", self.kind.as_str(), self.net);
        keys::sha256_hex(name.as_bytes())[..12].to_owned()
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.kind, self.net) == (other.kind, other.net)
    }

    fn view(self, stored: bool) -> BanView {
        BanView {
            id: self.id(),
            kind: self.kind,
            net: self.net,
            until_ms: self.until_ms,
            reason: self.reason,
            by: self.by,
            stored,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    #[serde(default)]
    bans: Vec<StoredBan>,
}

/// The nets in force, as the policy has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BannedNets {
    pub clients: Vec<IpRange>,
    pub peers: Vec<IpRange>,
}

/// Bans that the store has not yet.
#[derive(Debug, Default)]
pub(super) struct Bans {
    pending: Mutex<Vec<StoredBan>>,
    stale: Notify,
    /// Sessions are there that no ban has met.
    unmet: AtomicBool,
}

impl Bans {
    /// With what an earlier start could not write.
    #[must_use]
    pub(super) fn new(pending: Vec<StoredBan>) -> Self {
        Self {
            pending: Mutex::new(pending),
            ..Self::default()
        }
    }

    /// Those that the store has not yet.
    #[must_use]
    pub(super) fn waiting(&self) -> Vec<StoredBan> {
        self.pending().clone()
    }

    /// Sessions came back that began before the bans in force: they have to meet them.
    pub(super) fn look_again(&self) {
        self.unmet.store(true, Ordering::Release);
        self.stale.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Vec<StoredBan>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(document: &StoredDocument) -> Result<Vec<StoredBan>, serde_json::Error> {
    Body::deserialize(&document.body).map(|body| body.bans)
}

/// All bans in force, by kind and net.
#[must_use]
pub(super) fn known(hub: &Hub) -> Vec<BanView> {
    let now = Moment::now().unix_ms;
    let document = hub.documents.get(BANS);
    let stored = document.as_ref().map(|document| read(document));
    let stored = match stored {
        Some(Ok(stored)) => stored,
        Some(Err(error)) => {
            tracing::warn!(%error, "the bans in the store cannot be read");
            Vec::new()
        }
        None => Vec::new(),
    };
    let pending = hub.bans.pending().clone();
    let mut all: Vec<BanView> = stored
        .into_iter()
        .filter(|ban| !pending.iter().any(|newer| newer.is_same(ban)))
        .map(|ban| ban.view(true))
        .collect();
    all.extend(pending.into_iter().map(|ban| ban.view(false)));
    all.retain(|ban| ban.until_ms > now);
    all.sort_by_key(|ban| (ban.kind, ban.net));
    all
}

/// Takes the bans in force into the policy.
pub(super) async fn apply(hub: &Hub) {
    let all = known(hub);
    let of = |kind| {
        let nets = all.iter().filter(|ban| ban.kind == kind);
        nets.map(|ban| ban.net).collect()
    };
    let nets = BannedNets {
        clients: of(BanKind::Client),
        peers: of(BanKind::Peer),
    };
    if hub.keeper.set_bans(nets) {
        policy::refresh(hub).await;
        hub.bans.stale.notify_one();
    }
}

/// Puts a ban in force here at once, and into the store.
///
/// # Errors
/// The store refuses, with a reason that time does not mend. That it is away is no error: `false`.
pub(super) async fn add(hub: &Hub, ban: StoredBan) -> Result<bool, StoreError> {
    {
        let mut pending = hub.bans.pending();
        pending.retain(|known| !known.is_same(&ban));
        pending.push(ban.clone());
    }
    local::keep(hub);
    apply(hub).await;
    let written = write(hub, &ban).await;
    apply(hub).await;
    match written {
        Ok(()) => Ok(true),
        Err(StoreError::RevisionConflict { .. }) => Ok(false),
        Err(error) if error.may_pass() => Ok(false),
        Err(error) => {
            hub.bans.pending().retain(|known| !known.is_same(&ban));
            local::keep(hub);
            apply(hub).await;
            Err(error)
        }
    }
}

async fn write(hub: &Hub, ban: &StoredBan) -> Result<(), StoreError> {
    change(hub, &ban.by, |all| {
        all.retain(|known| !known.is_same(ban));
        all.push(ban.clone());
        true
    })
    .await?;
    hub.bans.pending().retain(|known| known != ban);
    local::keep(hub);
    Ok(())
}

/// Takes a ban back; `false` when there is none of that id.
///
/// # Errors
/// The store is away, or refuses.
pub(super) async fn remove(hub: &Hub, id: &str, actor: &str) -> Result<bool, StoreError> {
    let was_stored = change(hub, actor, |all| {
        let before = all.len();
        all.retain(|known| known.id() != id);
        all.len() < before
    })
    .await?;
    let was_pending = {
        let mut pending = hub.bans.pending();
        let before = pending.len();
        pending.retain(|known| known.id() != id);
        pending.len() < before
    };
    local::keep(hub);
    apply(hub).await;
    Ok(was_stored || was_pending)
}

/// Changes the document, again if somebody else did so meanwhile, and leaves out what has ended.
async fn change(
    hub: &Hub,
    actor: &str,
    change: impl Fn(&mut Vec<StoredBan>) -> bool,
) -> Result<bool, StoreError> {
    let unreadable = |error: serde_json::Error| StoreError::Corrupt {
        key: BANS.to_owned(),
        reason: error.to_string(),
    };
    let mut current = 0;
    for _ in 0..ATTEMPTS {
        let stored = hub.noted(hub.store.document(BANS).await)?;
        let expected = stored.as_ref().map_or(0, |document| document.revision);
        let all = stored.as_ref().map(read).transpose();
        let mut all = all.map_err(unreadable)?.unwrap_or_default();
        if !change(&mut all) {
            return Ok(false);
        }
        let now = Moment::now().unix_ms;
        all.retain(|ban| ban.until_ms > now);
        let body = serde_json::to_value(Body { bans: all }).map_err(unreadable)?;
        let put = hub.store.put_document(BANS, &body, expected, actor).await;
        match hub.noted(put) {
            Err(StoreError::RevisionConflict { current: newer }) => current = newer,
            put => {
                put?;
                documents::refresh(hub).await;
                return Ok(true);
            }
        }
    }
    Err(StoreError::RevisionConflict { current })
}

/// Keeps bans in force until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut changed = hub.documents.subscribe();
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ended = Vec::new();
    let mut once_more = false;
    let mut told = Told::default();
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            result = changed.changed() => if result.is_err() { return },
            () = hub.bans.stale.notified() => {}
            () = tokio::time::sleep(AFTERWARDS), if once_more => {}
            _ = compare.tick() => flush(&hub).await,
        }
        apply(&hub).await;
        let nets = hub.keeper.banned_clients();
        let is_new = nets != ended;
        let unmet = hub.bans.unmet.swap(false, Ordering::AcqRel);
        if is_new || once_more || unmet {
            end(&hub, &mut told, &nets).await;
        }
        once_more = is_new;
        ended = nets;
    }
}

/// Offers the store what it has not yet.
async fn flush(hub: &Hub) {
    let now = Moment::now().unix_ms;
    let pending = {
        let mut pending = hub.bans.pending();
        pending.retain(|ban| ban.until_ms > now);
        pending.clone()
    };
    for ban in pending {
        if let Err(error) = write(hub, &ban).await {
            tracing::debug!(%error, "a ban holds on this node only");
            return;
        }
    }
}

/// Ends the sessions of clients in these nets.
async fn end(hub: &Hub, told: &mut Told, nets: &[IpRange]) {
    if nets.is_empty() {
        return;
    }
    let banned: turn_proto::policy::NetSet = nets.iter().copied().collect();
    let net_of = |client: IpAddr| {
        let net = nets.iter().find(|net| net.contains(client.to_canonical()));
        net.map(ToString::to_string).unwrap_or_default()
    };
    let ended = end_where(hub, told, |row| {
        let client = row.client().ip();
        let is_banned = banned.contains(client);
        is_banned.then(|| (EndCause::Banned, net_of(client).into()))
    })
    .await;
    let mut sums = std::collections::BTreeMap::<Arc<str>, u64>::new();
    for (sum, count) in ended {
        *sums.entry(sum.whom).or_default() += count;
    }
    for (net, count) in sums {
        let text = format!("{count} sessions of clients in {net} end: the network was banned");
        hub.event(EventKind::BanChanged, Severity::Notice, text);
    }
}
