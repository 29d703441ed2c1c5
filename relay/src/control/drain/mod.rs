//! The drain of this node: what was ordered, how it goes, and the end of what is left at its deadline.
//!
//! The node keeps its order itself: in `state_dir/drain.json`, so that it holds after a restart with the
//! store away; and in its record of the registry, for nodes whose state directory does not outlive
//! them. Nobody else writes it: other nodes ask by mailbox.

mod lengths;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::api::{DrainEstimate, DrainRequest, DrainView, EventKind, MAX_DRAIN_SECS, Severity};
use shared::{display_safe, units};
use tokio::sync::Notify;
use turn_proto::policy::Drain;
use turn_proto::server::{Command, EndCause};

use super::clock::Moment;
use super::cluster::heartbeat;
use super::directory::Ended;
use super::hub::Hub;
use super::parts::ControlParts;
use super::{files, policy, redirects};
pub(in crate::control) use lengths::Lengths;
use lengths::{Observed, forecast};

/// How often a drain is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often its end is estimated anew: every session is looked at for it.
const ESTIMATE_EVERY: Duration = Duration::from_secs(5);
/// How often sessions are ended after the deadline.
const ROUND: Duration = Duration::from_millis(100);
/// Sessions that are ended in one round: the workers' queues have room for other orders.
const PER_ROUND: usize = 1000;
/// How long the start waits for the registry, where the state directory knows nothing.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// An order as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    /// What is shown, without an estimate.
    #[serde(flatten)]
    view: DrainView,
    /// What a newer release says of it.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Order {
    fn mode(&self) -> Drain {
        match self.view.refuse_refresh {
            true => Drain::EndByLifetime,
            false => Drain::KeepSessions,
        }
    }
}

/// The file: that there is no drain is written down too, against an older record in the registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    drain: Option<Order>,
}

/// The drain of this node, if there is one.
#[derive(Debug)]
pub(super) struct NodeDrain {
    file: PathBuf,
    state: Mutex<State>,
    observed: Mutex<Observed>,
    /// Wakes the task when an order came.
    changed: Notify,
    /// Orders are obeyed one after the other.
    applying: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    order: Option<Order>,
    estimate: DrainEstimate,
    /// When that was made.
    estimated: Option<Instant>,
    /// That the node is empty was told.
    told_empty: bool,
}

impl NodeDrain {
    /// The drain that the node was in when it stopped, from its state directory; from the registry
    /// where there is none, if the store answers.
    pub(super) async fn at_start(parts: &ControlParts, store_answers: bool) -> Self {
        let file = parts.config.state_dir.join("drain.json");
        // Whether coturn still knows of it nobody can tell.
        let is_ours = !parts.config.beside.enabled;
        let order = match files::read_json::<Kept>(&file) {
            _ if !is_ours => None,
            Some(kept) => kept.drain,
            None if store_answers => of_registry(parts).await,
            None => None,
        };
        if let Some(order) = &order {
            let by = &order.view.by;
            tracing::warn!(by, "this node is still drained: it takes no new sessions");
        }
        let state = State {
            order,
            ..State::default()
        };
        Self {
            file,
            state: Mutex::new(state),
            observed: Mutex::default(),
            changed: Notify::new(),
            applying: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it means for the core; `None`: the node is not drained.
    #[must_use]
    pub(super) fn mode(&self) -> Option<Drain> {
        self.state().order.as_ref().map(Order::mode)
    }

    /// As nodes show it.
    #[must_use]
    pub(super) fn view(&self) -> Option<DrainView> {
        let state = self.state();
        let view = state.order.as_ref()?.view.clone();
        Some(DrainView {
            estimate: state.estimate,
            ..view
        })
    }

    /// Learns from a session that ended.
    pub(super) fn observe(&self, ended: &Ended, cause: Option<EndCause>) {
        let was_cut = matches!(
            cause,
            Some(EndCause::Killed | EndCause::Drained | EndCause::Revoked(_) | EndCause::Banned)
        );
        let mut observed = self.observed();
        if was_cut {
            observed.cut.add(ended.age);
        } else {
            observed.ended.add(ended.age);
        }
    }

    /// The next start is not drained, whatever this one is.
    pub(super) fn forget(&self) {
        self.keep(None);
    }

    /// Writes the order down; `false` when it would not outlive a restart without the store.
    fn keep(&self, order: Option<Order>) -> bool {
        let kept = files::write_private(&self.file, &Kept { drain: order });
        if let Err(error) = &kept {
            let file = self.file.display();
            tracing::error!(%file, %error, "the drain cannot be kept for the next start");
        }
        kept.is_ok()
    }
}

async fn of_registry(parts: &ControlParts) -> Option<Order> {
    let nodes = tokio::time::timeout(STORE_PATIENCE, parts.store.nodes()).await;
    let (own, _) = nodes
        .ok()?
        .ok()?
        .into_iter()
        .find(|(view, _)| view.id == parts.node)?;
    Some(Order {
        view: own.drain?,
        ..Order::default()
    })
}

/// Begins a drain of this node, or changes the one that it is in.
pub(super) async fn begin(hub: &Hub, actor: &str, request: &DrainRequest) -> DrainView {
    let drain = &hub.drain;
    let _turn = drain.applying.lock().await;
    let now = Moment::now();
    let sessions = hub.books().len() as u64;
    let before = drain.state().order.clone();
    let was_drained = before.is_some();
    let mut order = before.unwrap_or_else(|| Order {
        view: DrainView {
            started_at_ms: now.unix_ms,
            sessions_at_start: sessions,
            ..DrainView::default()
        },
        ..Order::default()
    });
    // Whoever asked was told the bounds; what comes from a mailbox is held to them.
    let deadline = request.deadline_secs.map(|secs| secs.min(MAX_DRAIN_SECS));
    order.view.by = actor.to_owned();
    order.view.reason.clone_from(&request.reason);
    order.view.deadline_at_ms = deadline.map(|secs| now.unix_ms + secs * 1000);
    order.view.refuse_refresh = request.refuse_refresh;
    order.view.estimate = DrainEstimate::default();
    {
        let mut state = drain.state();
        state.order = Some(order.clone());
        state.estimated = None;
        state.told_empty = false;
    }
    let mut text = format!("{} is drained by {actor}", hub.node);
    if was_drained {
        text = format!("{}: the drain was changed by {actor}", hub.node);
    }
    text = format!("{text}, sessions left: {sessions}");
    if let Some(secs) = deadline {
        text = format!("{text}, ended in {}", units::age(Duration::from_secs(secs)));
    }
    if request.refuse_refresh {
        text.push_str(", calls end with their lifetimes");
    }
    if !request.reason.is_empty() {
        text = format!("{text}: {}", display_safe(&request.reason));
    }
    obey(hub, Some(order), text).await;
    drain.view().unwrap_or_default()
}

/// Ends the drain, and answers what it was: new sessions are taken again. `None`: there is none.
pub(super) async fn end(hub: &Hub, actor: &str) -> Option<DrainView> {
    let drain = &hub.drain;
    let _turn = drain.applying.lock().await;
    let ended = std::mem::take(&mut *drain.state()).order?;
    let text = format!("{} is drained no more, by {actor}", hub.node);
    obey(hub, None, text).await;
    Some(ended.view)
}

/// Has everybody know: the file, the workers, the event log, the registry.
async fn obey(hub: &Hub, order: Option<Order>, text: String) {
    let is_kept = hub.drain.keep(order);
    apply(hub);
    hub.event(EventKind::NodeChanged, Severity::Notice, text);
    if !is_kept {
        let text = format!(
            "{}: that cannot be written to the state directory, and may be forgotten at a restart",
            hub.node
        );
        hub.event(EventKind::NodeChanged, Severity::Warn, text);
    }
    estimate(hub);
    hub.drain.changed.notify_one();
    // From here on whoever asked may be gone: what is left happens all the same, only later.
    hub.policy_stale.notify_one();
    policy::refresh(hub).await;
    // The next look is at the registry.
    heartbeat::beat(hub).await;
}

/// Brings policy and redirects in line with the order.
pub(super) fn apply(hub: &Hub) {
    hub.keeper.set_drain(hub.drain.mode());
    redirects::apply(hub);
}

/// Follows the drain until the node stops.
pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        let pace = if is_over(&hub) { ROUND } else { INTERVAL };
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.drain.changed.notified() => {}
            () = tokio::time::sleep(pace) => {}
        }
        if hub.drain.mode().is_none() {
            continue;
        }
        if is_over(&hub) {
            end_some(&hub);
        }
        tell_empty(&hub);
        let fresh = |at: Instant| at.elapsed() < ESTIMATE_EVERY;
        if !hub.drain.state().estimated.is_some_and(fresh) {
            estimate(&hub);
        }
    }
}

/// Whether the deadline came and sessions are left.
fn is_over(hub: &Hub) -> bool {
    let now = Moment::now().unix_ms;
    let state = hub.drain.state();
    let deadline = state
        .order
        .as_ref()
        .and_then(|order| order.view.deadline_at_ms);
    drop(state);
    deadline.is_some_and(|at| at <= now) && hub.books().len() > 0
}

/// Ends some of what is left. Those that a worker has no room for come up again.
fn end_some(hub: &Hub) {
    let left: Vec<_> = {
        let books = hub.books();
        let ids = books.ids().take(PER_ROUND);
        let now = Moment::now();
        ids.filter_map(|id| Some((id, books.row(id, now)?.worker())))
            .collect()
    };
    for (session, worker) in left {
        let cause = EndCause::Drained;
        hub.workers.send(worker, Command::Kill { session, cause });
    }
}

fn tell_empty(hub: &Hub) {
    if hub.books().len() > 0 {
        return;
    }
    let mut state = hub.drain.state();
    let first = !std::mem::replace(&mut state.told_empty, true);
    let Some(order) = state.order.as_ref().filter(|_| first) else {
        return;
    };
    let took = Moment::now()
        .unix_ms
        .saturating_sub(order.view.started_at_ms)
        / 1000;
    let text = format!(
        "{} is empty, drained in {}",
        hub.node,
        units::age(Duration::from_secs(took))
    );
    drop(state);
    hub.event(EventKind::NodeChanged, Severity::Notice, text);
}

/// Estimates anew when the node will be empty.
fn estimate(hub: &Hub) {
    let now = Moment::now();
    let Some(view) = hub.drain.view() else {
        return;
    };
    let (ages, longest_ttl) = hub.books().ages(view.refuse_refresh, now);
    let (found, observed) = {
        let observed = hub.drain.observed();
        (forecast(&observed, &ages), observed.ended.total())
    };
    let deadline = view.deadline_at_ms;
    let deadline = deadline.map(|at| at.saturating_sub(now.unix_ms).div_ceil(1000));
    let latest_secs = match (deadline, longest_ttl) {
        (Some(deadline), Some(ttl)) => Some(deadline.min(ttl)),
        (deadline, ttl) => deadline.or(ttl),
    };
    // What is certain bounds what is likely.
    let secs = |found: Option<f64>| {
        let found = found.map(|secs| secs.ceil() as u64);
        found.map(|secs| latest_secs.map_or(secs, |latest| secs.min(latest)))
    };
    let mut state = hub.drain.state();
    state.estimated = Some(now.mono);
    state.estimate = DrainEstimate {
        half_secs: secs(found.half),
        most_secs: secs(found.most),
        empty_secs: secs(found.empty),
        latest_secs,
        observed,
    };
}

#[cfg(test)]
mod tests;
