//! What `/metrics` prints.

use std::collections::BTreeMap;

use shared::NodeId;
use shared::api::{CertificateView, DrainView, NodeState, RefusalCount, Severity, StoreState};
use turn_proto::server::ServerCounters;

use super::Service;
use crate::control::clock::Moment;
use crate::control::cluster::heartbeat;
use crate::control::statsdb::{Statsdb, StatsdbMetrics};
use crate::listener::ConnectionTotals;

/// Realms with series of their own; what exceeds them is left out, so that foreign names cannot
/// blow the exporter up.
const MAX_REALMS: usize = 100;
/// Refusal series.
const MAX_REFUSALS: usize = 500;

/// Everything about this node that is worth a time series. Counters are since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsView {
    /// The node.
    pub node: NodeId,
    /// The version of `relayd`.
    pub version: String,
    /// The number of this start; 0 until the store gave it.
    pub epoch: u64,
    /// Where it is in its life.
    pub state: NodeState,
    /// The drain, while the node is drained.
    pub drain: Option<DrainView>,
    /// Seconds since the start.
    pub uptime_secs: u64,
    /// Worker threads.
    pub workers: u16,
    /// Live sessions.
    pub sessions: u64,
    /// Live sessions by client transport.
    pub transports: BTreeMap<String, u64>,
    /// Client connections over TCP and TLS.
    pub connections: ConnectionTotals,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
    /// Counters of the core, all workers together.
    pub server: ServerCounters,
    /// Refusals by realm, reason and code.
    pub refusals: Vec<RefusalMetric>,
    /// Sessions and rates by realm.
    pub realms: Vec<RealmMetric>,
    /// Relay ports in use.
    pub ports_used: u64,
    /// Relay ports in all.
    pub ports_total: u64,
    /// CPU of the process in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// News of workers that were lost and healed by snapshots.
    pub control_overflows: u64,
    /// The connection to the store.
    pub store: StoreState,
    /// Sessions whose records in the store are behind: what a node that dies now would lose.
    pub unwritten_sessions: usize,
    /// Who is told of sessions in coturn's words, if anybody is.
    pub statsdb: Option<StatsdbMetrics>,
    /// Revision of the policy in force.
    pub policy_revision: u64,
    /// Certificates of listeners.
    pub certificates: Vec<CertificateView>,
    /// Alerts by rule and severity, as this gateway judges them.
    pub alerts: Vec<(&'static str, Severity, u64)>,
}

/// One refusal counter.
pub type RefusalMetric = RefusalCount;

/// One realm's live figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmMetric {
    /// The realm.
    pub realm: shared::Realm,
    /// Live sessions.
    pub sessions: u64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
}

impl Service {
    /// This node in figures.
    #[must_use]
    pub fn metrics(&self) -> MetricsView {
        let hub = &self.hub;
        let view = heartbeat::own_view(hub);
        let mut realms: Vec<_> = hub
            .books()
            .realm_loads(Moment::now())
            .into_iter()
            .map(|realm| RealmMetric {
                realm: realm.realm,
                sessions: realm.load.sessions,
                rate_in_bps: realm.load.rate_in_bps,
                rate_out_bps: realm.load.rate_out_bps,
            })
            .collect();
        realms.sort_by(|a, b| {
            b.sessions
                .cmp(&a.sessions)
                .then_with(|| a.realm.cmp(&b.realm))
        });
        realms.truncate(MAX_REALMS);
        let (server, refusals) = {
            let books = hub.books();
            (books.server_counters(), books.refusals())
        };
        let refusals = refusals.into_iter().take(MAX_REFUSALS);
        let refusals = refusals.map(|((realm, reason, code), count)| RefusalCount {
            node: hub.node.clone(),
            realm,
            reason: reason.as_str().to_owned(),
            code,
            count,
        });
        MetricsView {
            node: view.id,
            version: view.version,
            epoch: view.epoch,
            state: view.state,
            drain: view.drain,
            uptime_secs: view.uptime_secs,
            workers: view.workers,
            sessions: view.sessions,
            transports: view.transports,
            connections: hub.workers.connections(),
            rate_in_bps: view.rate_in_bps,
            rate_out_bps: view.rate_out_bps,
            server,
            refusals: refusals.collect(),
            realms,
            ports_used: view.capacity.ports_used,
            ports_total: view.capacity.ports_total,
            cpu_percent: view.cpu_percent,
            memory_bytes: view.memory_bytes,
            control_overflows: view.control_overflows,
            store: view.store,
            unwritten_sessions: hub.dirty().unwritten(),
            statsdb: hub.statsdb.as_ref().map(Statsdb::metrics),
            policy_revision: hub.keeper.current().revision,
            certificates: view.certificates,
            alerts: if hub.config().is_gateway() {
                hub.alerts.counts()
            } else {
                Vec::new()
            },
        }
    }
}
