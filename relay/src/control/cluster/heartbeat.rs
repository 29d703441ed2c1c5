//! The heartbeat: writes this node's record each second and reads everybody's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shared::Realm;
use shared::api::{Capacity, EventKind, NodeRole, NodeState, NodeView, Severity};
use tokio::time::MissedTickBehavior;
use turn_proto::policy::RelayEndpoint;
use turn_proto::server::RefusalReason;

use super::registry::{Transition, show_relay};
use crate::beside::Coturn;
use crate::control::certificates;
use crate::control::clock::Moment;
use crate::control::directory::RefusalKey;
use crate::control::drain;
use crate::control::hub::Hub;
use crate::control::process::{ProcessMeter, ProcessUsage};
use crate::control::redirects;
use crate::control::sampler::Sample;
use crate::store::{Change, StoreError};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least time between beats that are wanted before their time.
const GAP: Duration = Duration::from_millis(200);
/// Realms near their limit that the record names.
const MAX_FULL_REALMS: usize = 50;
/// Heartbeats between complaints about a store that refuses them.
const COMPLAIN_EVERY: u32 = 60;

/// Beats until the node stops.
pub(crate) async fn run(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = ProcessMeter::new(Instant::now());
    let mut earliest = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = interval.tick() => {
                sample(&hub);
                look_at_store(&hub);
                look_at_coturn(&hub).await;
                let usage = meter.read(Instant::now());
                hub.cluster.registry().own_usage = usage;
                if beat(&hub).await {
                    look(&hub).await;
                }
                // Without a store the others get silent by and by.
                follow_redirects(&hub);
            }
            () = hub.cluster.look.notified() => {
                look(&hub).await;
            }
            () = beat_soon(&hub, earliest) => {
                beat(&hub).await;
                earliest = tokio::time::Instant::now() + GAP;
            }
        }
    }
}

/// Waits until a beat is wanted before its time, and may be. Given up for another, that one does.
async fn beat_soon(hub: &Hub, earliest: tokio::time::Instant) {
    hub.cluster.beat_soon.notified().await;
    tokio::time::sleep_until(earliest).await;
}

/// What is known of the store without asking it: where its servers are, which nobody may have as
/// peers, and whether it takes again what it refused.
fn look_at_store(hub: &Hub) {
    if hub.keeper.set_store_servers(hub.store.servers()) {
        hub.policy_stale.notify_one();
    }
    hub.look_at_refusals();
}

/// What the coturn that stands in the place of workers is called, and whether it forgot that it was
/// drained.
async fn look_at_coturn(hub: &Hub) {
    let Some(coturn) = hub.workers.coturn() else {
        return;
    };
    hub.books().set_software(&coturn.software());
    if coturn.take_was_gone() {
        drain::end(hub, "the end of coturn's process").await;
    }
}

/// Writes the record; `false` when the store did not take it.
pub(crate) async fn beat(hub: &Hub) -> bool {
    let _turn = hub.cluster.beating.lock().await;
    if hub.fenced() {
        return true;
    }
    if hub.epoch.load(Ordering::Relaxed) == 0 {
        match hub.noted(hub.store.next_epoch(&hub.node).await) {
            Ok(epoch) => hub.epoch.store(epoch, Ordering::Relaxed),
            Err(error) => {
                complain(hub, &error);
                return false;
            }
        }
    }
    let own = own_view(hub);
    if redirects::note_use(hub, &own) && redirects::apply(hub) {
        hub.policy_stale.notify_one();
    }
    match hub.noted(hub.store.heartbeat(&own).await) {
        Ok(was_unknown) => {
            // The first beat of this process, or one after it was forgotten: with its sessions, which
            // it still has.
            if hub.cluster.listed.swap(true, Ordering::Relaxed) && was_unknown {
                let ids: Vec<_> = hub.books().ids().collect();
                let mut dirty = hub.dirty();
                ids.into_iter().for_each(|id| dirty.changed(id));
            }
            true
        }
        Err(StoreError::Fenced { epoch }) => {
            hub.fence(epoch);
            true
        }
        Err(error) => {
            complain(hub, &error);
            false
        }
    }
}

/// A store that is away is told of elsewhere, once. One that refuses needs an operator: said at
/// once and then every minute.
fn complain(hub: &Hub, error: &StoreError) {
    if error.may_pass() {
        tracing::debug!(%error, "the heartbeat did not reach the store");
        return;
    }
    let complaints = hub.cluster.complaints.fetch_add(1, Ordering::Relaxed);
    if complaints.is_multiple_of(COMPLAIN_EVERY) {
        tracing::error!(%error, "the store does not take the heartbeat: this node is not seen");
    }
}

/// Has figures of all nodes read for somebody who looks at them, at once where those known are old.
pub(crate) async fn watch(hub: &Hub) {
    let is_old = || hub.cluster.registry().watch(Instant::now());
    if !is_old() || !hub.health.connected() {
        return;
    }
    let _turn = hub.cluster.looking.lock().await;
    // Whoever had the turn before may have looked for all that waited.
    if is_old() {
        look_now(hub).await;
    }
}

/// Looks at the registry and acts on what changed. One look at a time: what an older one found must not
/// come over what a newer one did.
async fn look(hub: &Hub) {
    let _turn = hub.cluster.looking.lock().await;
    look_now(hub).await;
}

async fn look_now(hub: &Hub) {
    let seen = hub.cluster.registry().seen(Instant::now());
    let Ok(glance) = hub.noted(hub.store.glance(&seen).await) else {
        return;
    };
    let now = Instant::now();
    let (transitions, endpoints, names, speaks) = {
        let mut registry = hub.cluster.registry();
        let transitions = registry.take(glance, now);
        let live = registry.live(now);
        // One node tells about the others: the first by name.
        let speaks = live.first().is_none_or(|(node, _)| *node == hub.node);
        let names: Vec<_> = registry
            .views(now)
            .into_iter()
            .map(|view| view.id)
            .collect();
        (transitions, registry.endpoints(&hub.node), names, speaks)
    };
    hub.cluster.known().retain(&names);
    if hub.keeper.set_others(endpoints.0, endpoints.1) {
        hub.policy_stale.notify_one();
    }
    // A target that is drained or gone is no target.
    if !transitions.is_empty() && redirects::apply(hub) {
        hub.policy_stale.notify_one();
    }
    for transition in transitions {
        let own = transition.node == hub.node;
        if own || (speaks && transition.from.is_some()) {
            announce(hub, &transition);
        }
    }
}

/// While clients go to other nodes, those that fill up get fewer of them, and silent ones none.
fn follow_redirects(hub: &Hub) {
    let is_due = redirects::hands_over(hub) || !redirects::sends_to(hub).is_empty();
    if is_due && redirects::apply(hub) {
        hub.policy_stale.notify_one();
    }
}

fn announce(hub: &Hub, transition: &Transition) {
    let node = &transition.node;
    let (severity, word) = match transition.to {
        None => (Severity::Notice, "was removed"),
        Some(NodeState::Joining) => (Severity::Info, "is joining"),
        Some(NodeState::Ready) => (Severity::Info, "is ready"),
        Some(NodeState::Draining) => (Severity::Notice, "takes no new sessions"),
        Some(NodeState::Stale) => (Severity::Crit, "is silent"),
        Some(NodeState::Gone) => (Severity::Notice, "has stopped"),
    };
    hub.event(EventKind::NodeChanged, severity, format!("{node} {word}"));
}

/// Takes the counters whose rates the record shows.
fn sample(hub: &Hub) {
    let books = hub.books();
    let server = books.server_counters();
    let refusals = books.refusals();
    drop(books);
    let mut sample = Sample::from([
        ("created".to_owned(), server.allocations),
        ("ended".to_owned(), server.ended.total()),
        ("packets".to_owned(), server.relayed_packets),
        ("malformed".to_owned(), server.malformed.total()),
        ("drops".to_owned(), server.dropped_packets),
    ]);
    for ((_, reason, code), count) in refusals {
        if is_wrong_credential(reason) {
            *sample.entry("auth".to_owned()).or_default() += count;
        }
        if let Some(code) = code {
            *sample.entry(format!("code {code}")).or_default() += count;
        }
    }
    hub.cluster.sampler().add(Instant::now(), sample);
}

/// Whether a client named a user and did not get in, as guessing does; a first request without
/// credentials is normal.
fn is_wrong_credential(reason: RefusalReason) -> bool {
    matches!(
        reason,
        RefusalReason::UnknownUser
            | RefusalReason::WrongPassword
            | RefusalReason::CredentialExpired
            | RefusalReason::InvalidUsername
            | RefusalReason::WrongUser
    )
}

/// Realms that use at least half of their session limit, as this node counts, in percent; the fullest.
fn realm_use(hub: &Hub) -> BTreeMap<String, f64> {
    let policy = hub.keeper.current();
    let mut full: Vec<(String, f64)> = policy
        .realms
        .values()
        .filter_map(|realm| {
            let limit = f64::from(realm.max_sessions?.max(1));
            let used = f64::from(hub.quota.realm_sessions_everywhere(&realm.name));
            let percent = (1000.0 * used / limit).round() / 10.0;
            (percent >= 50.0).then(|| (realm.name.as_str().to_owned(), percent))
        })
        .collect();
    full.sort_by(|a, b| b.1.total_cmp(&a.1));
    full.truncate(MAX_FULL_REALMS);
    full.into_iter().collect()
}

/// The realm that clients are told at each of this node's URIs.
fn url_realms(hub: &Hub, default: &Realm) -> BTreeMap<String, Realm> {
    let urls = hub.parts.urls.iter();
    let told = urls.map(|(url, own)| (url.clone(), own.as_ref().unwrap_or(default).clone()));
    told.collect()
}

/// This node's record, as of now.
#[must_use]
pub(crate) fn own_view(hub: &Hub) -> NodeView {
    let now = Moment::now();
    let (load, transports) = hub.books().node_load(now);
    let (server, refusals) = {
        let books = hub.books();
        (books.server_counters(), books.refusals())
    };
    let rates = hub.cluster.sampler().rates();
    let rate = |name: &str| rates.get(name).copied().unwrap_or(0.0);
    let usage = hub.cluster.registry().own_usage;
    let config = hub.config();
    let mut per_sec: BTreeMap<_, _> = rates
        .iter()
        .filter_map(|(name, rate)| Some((name.strip_prefix("code ")?.to_owned(), *rate)))
        .collect();
    if rate("malformed") > 0.0 {
        per_sec.insert("malformed".to_owned(), rate("malformed"));
    }
    let connections = hub.workers.connections();
    let closed = connections.closed.into_iter().filter(|(_, n)| *n > 0);
    NodeView {
        id: hub.node.clone(),
        epoch: hub.epoch.load(Ordering::Relaxed),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: config.roles.clone(),
        labels: config.labels.clone(),
        state: hub.state(),
        session_base: format!("{:08x}", hub.parts.session_base),
        restored_bases: hub.restoring.bases(),
        sends_to: redirects::sends_to(hub),
        listeners: hub.parts.listeners.clone(),
        urls: hub.parts.urls.iter().map(|(url, _)| url.clone()).collect(),
        url_realms: url_realms(hub, &config.default_realm),
        credentials: config.credentials,
        relays: relays(hub),
        workers: hub.workers.count(),
        uptime_secs: now
            .mono
            .saturating_duration_since(hub.started.mono)
            .as_secs(),
        heartbeat_age_secs: 0,
        sessions: load.sessions,
        created_per_sec: rate("created"),
        ended_per_sec: rate("ended"),
        rate_in_bps: load.rate_in_bps,
        rate_out_bps: load.rate_out_bps,
        packets_per_sec: rate("packets").round() as u64,
        drops: server.dropped_packets,
        transports,
        capacity: capacity(hub, usage, load.sessions),
        cpu_percent: usage.cpu_percent,
        memory_bytes: usage.memory_bytes,
        store: hub.store_state(),
        realm_revisions: hub.keeper.applied_revisions(),
        config_revision: hub.settings.revisions().0,
        refusals: by_code(&refusals),
        refusals_per_sec: per_sec,
        auth_failures_per_sec: rate("auth"),
        drops_per_sec: rate("drops"),
        realm_use: realm_use(hub),
        connections: connections.tcp + connections.tls + connections.pending,
        connections_closed: closed.map(|(why, n)| (why.to_owned(), n)).collect(),
        control_overflows: hub.workers.overflows(),
        certificates: certificates::views(hub),
        version_skew: false,
        elder_of: hub.parts.elder_of.clone(),
        upgrade: hub.upgrade.view(),
        drain: hub.drain.view(),
        beside: hub.workers.coturn().map(Coturn::view),
    }
}

/// Refusals by the STUN error code that was sent.
fn by_code(refusals: &BTreeMap<RefusalKey, u64>) -> BTreeMap<String, u64> {
    let mut by_code = BTreeMap::new();
    for ((_, _, code), count) in refusals {
        if let Some(code) = code {
            *by_code.entry(code.to_string()).or_default() += count;
        }
    }
    by_code
}

fn relays(hub: &Hub) -> Vec<String> {
    let ports = hub.config().relay_ports.clone();
    let shown = hub.parts.relays.iter().map(|relay| {
        show_relay(&RelayEndpoint {
            address: relay.external,
            ports: ports.clone(),
        })
    });
    shown.collect()
}

/// The binding one of ports, descriptors, CPU and the limit of sessions.
fn capacity(hub: &Hub, usage: ProcessUsage, sessions: u64) -> Capacity {
    let (ports_used, total) = hub.workers.ports();
    let percent = |used: u64, total: u64| 100.0 * used as f64 / total.max(1) as f64;
    let cores = f64::from(hub.workers.count().max(1));
    let mut limits = vec![
        ("cpu", (usage.cpu_percent / cores).min(100.0)),
        (
            "descriptors",
            percent(usage.descriptors, usage.descriptor_limit),
        ),
    ];
    if hub.config().roles.contains(&NodeRole::Relay) {
        limits.push(("ports", percent(ports_used, total)));
    }
    if let Some(most) = hub.keeper.current().settings.max_sessions {
        limits.push(("sessions", percent(sessions, most.into())));
    }
    let lasting = limits.iter().filter(|(name, _)| *name != "cpu");
    let used = lasting.map(|(_, percent)| *percent).reduce(f64::max);
    let (bound_by, most) = limits
        .into_iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .expect("there are at least two limits");
    Capacity {
        percent: (most * 10.0).round() / 10.0,
        bound_by: bound_by.to_owned(),
        used_percent: used.map(|percent| (percent * 10.0).round() / 10.0),
        ports_used,
        ports_total: total,
    }
}

/// Says that this node is gone.
pub(crate) async fn farewell(hub: &Hub) {
    if hub.epoch.load(Ordering::Relaxed) == 0 || hub.fenced() {
        return;
    }
    let gone = NodeView {
        state: NodeState::Gone,
        sessions: 0,
        ..own_view(hub)
    };
    if let Err(error) = hub.store.heartbeat(&gone).await {
        tracing::warn!(%error, "the store did not hear that this node stops");
    }
    // Nobody waits for its next heartbeat.
    if let Err(error) = hub.store.publish(&Change::Nodes).await {
        tracing::debug!(%error, "the other nodes see at their next look that this one stops");
    }
    let text = format!("{} has stopped", hub.node);
    let event = hub.new_event(EventKind::NodeChanged, Severity::Notice, text);
    if let Err(error) = hub.store.append_events(&[event]).await {
        tracing::debug!(%error, "the last event was not written");
    }
}
