//! One session in the books.

use std::net::SocketAddr;
use std::time::Instant;

use shared::NodeId;
use shared::api::{ChannelView, PermissionView, SessionView};
use turn_proto::server::{SessionCounters, SessionSnapshot};

use super::new_peers::NewPeers;
use crate::control::clock::Moment;

/// Peers in a row of the list.
const LISTED_PEERS: usize = 8;

/// A session: its row, kept up to date in place, and what the row leaves out.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The row. Age, rates and time to live are as of the last refresh.
    pub view: SessionView,
    /// What the worker said last.
    pub snapshot: Box<SessionSnapshot>,
    /// Bytes in and out at the last report, where rates are measured from.
    measured: (u64, u64),
    /// Bits per second in and out as of `report`.
    rates: (u64, u64),
    /// The worker's report that the rates come from.
    report: u64,
    /// Peers permitted lately; absent while there are none.
    new_peers: Option<Box<NewPeers>>,
}

impl Entry {
    pub(super) fn new(node: &NodeId, snapshot: SessionSnapshot, now: Moment) -> Self {
        let counters = snapshot.counters;
        let mut entry = Self {
            view: row(node, &snapshot),
            // One that is learnt from a snapshot has a past that is no part of the last second.
            measured: (counters.in_bytes, counters.out_bytes),
            snapshot: Box::new(snapshot),
            rates: (0, 0),
            report: 0,
            new_peers: None,
        };
        entry.count(&counters, now);
        entry.refresh(None, now);
        entry
    }

    pub(super) fn update(&mut self, snapshot: SessionSnapshot, now: Moment) {
        let rates = (self.view.rate_in_bps, self.view.rate_out_bps);
        self.view = row(&self.view.node, &snapshot);
        (self.view.rate_in_bps, self.view.rate_out_bps) = rates;
        let counters = snapshot.counters;
        let before = std::mem::replace(&mut *self.snapshot, snapshot).counters;
        self.snapshot.counters = before;
        self.count(&counters, now);
        self.refresh_times(now);
    }

    /// Takes totals over.
    pub(super) fn count(&mut self, counters: &SessionCounters, now: Moment) {
        let before = self.snapshot.counters.new_peers;
        let new = counters.new_peers.saturating_sub(before);
        if new > 0 {
            self.new_peers.get_or_insert_default().add(new, now);
        }
        self.view.in_packets = counters.in_packets;
        self.view.in_bytes = counters.in_bytes;
        self.view.out_packets = counters.out_packets;
        self.view.out_bytes = counters.out_bytes;
        self.view.drops = counters.drops();
        self.snapshot.counters = *counters;
    }

    /// Takes totals over and measures rates from the report before.
    pub(super) fn measure(
        &mut self,
        counters: &SessionCounters,
        report: u64,
        elapsed: f64,
        now: Moment,
    ) {
        let bps = |now: u64, before: u64| {
            (now.saturating_sub(before) as f64 * 8.0 / elapsed).round() as u64
        };
        let (in_before, out_before) = self.measured;
        self.rates = (
            bps(counters.in_bytes, in_before),
            bps(counters.out_bytes, out_before),
        );
        self.measured = (counters.in_bytes, counters.out_bytes);
        self.report = report;
        self.count(counters, now);
    }

    /// Brings what depends on time up to date. `report` is the number of the worker's last report:
    /// a session that was not in it relayed nothing.
    pub(super) fn refresh(&mut self, report: Option<u64>, now: Moment) {
        let current = report.is_some_and(|report| report == self.report);
        let (rate_in, rate_out) = if current { self.rates } else { (0, 0) };
        self.view.rate_in_bps = rate_in;
        self.view.rate_out_bps = rate_out;
        self.refresh_times(now);
    }

    fn refresh_times(&mut self, now: Moment) {
        let age = now.mono.saturating_duration_since(self.snapshot.created);
        self.view.age_secs = age.as_secs();
        self.view.ttl_secs = ttl(self.snapshot.expires, now);
        self.view.new_peers_per_sec = match &self.new_peers {
            None => 0.0,
            Some(lately) => lately.per_sec(now),
        };
        if self.view.new_peers_per_sec == 0.0 {
            self.new_peers = None;
        }
    }

    /// All peers, in the form of the row.
    #[must_use]
    pub(crate) fn all_peers(&self) -> Vec<String> {
        peers(&self.snapshot, usize::MAX)
    }

    /// Permissions as the API shows them.
    #[must_use]
    pub(crate) fn permissions(&self, now: Moment) -> Vec<PermissionView> {
        let permissions = self.snapshot.permissions.iter();
        permissions
            .map(|permission| PermissionView {
                peer: permission.peer,
                last_port: permission.last_port,
                ttl_secs: ttl(permission.expires, now),
                in_bytes: permission.in_bytes,
                out_bytes: permission.out_bytes,
                rate_in_bps: 0,
                rate_out_bps: 0,
            })
            .collect()
    }

    /// Channels as the API shows them.
    #[must_use]
    pub(crate) fn channels(&self, now: Moment) -> Vec<ChannelView> {
        let channels = self.snapshot.channels.iter();
        channels
            .map(|channel| ChannelView {
                number: channel.number,
                peer: channel.peer,
                ttl_secs: ttl(channel.expires, now),
            })
            .collect()
    }
}

/// Whole seconds until then, a begun one counted.
fn ttl(expires: Instant, now: Moment) -> u64 {
    let left = expires.saturating_duration_since(now.mono);
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

fn row(node: &NodeId, snapshot: &SessionSnapshot) -> SessionView {
    let local = snapshot.relay_local;
    SessionView {
        id: snapshot.id,
        node: node.clone(),
        worker: snapshot.worker,
        user: snapshot.user.as_ref().to_owned(),
        username: snapshot.username.as_str().to_owned(),
        realm: snapshot.realm.clone(),
        transport: snapshot.tuple.transport,
        client: snapshot.tuple.client,
        server: snapshot.tuple.server,
        relay: snapshot.relay_external,
        relay_local: (local != snapshot.relay_external).then_some(local),
        started_at_ms: snapshot.created_unix.saturating_mul(1000),
        age_secs: 0,
        ttl_secs: 0,
        peers: peers(snapshot, LISTED_PEERS),
        peer_count: snapshot.permissions.len() as u32,
        rate_in_bps: 0,
        rate_out_bps: 0,
        in_packets: 0,
        in_bytes: 0,
        out_packets: 0,
        out_bytes: 0,
        drops: 0,
        new_peers_per_sec: 0.0,
        max_rate_bps: snapshot.max_rate_bps,
        secret_id: snapshot.secret_id.as_deref().map(str::to_owned),
        stale: false,
    }
}

/// Bound channels first, then permissions without one.
fn peers(snapshot: &SessionSnapshot, limit: usize) -> Vec<String> {
    let bound = snapshot
        .channels
        .iter()
        .map(|channel| channel.peer.to_string());
    let others = snapshot.permissions.iter().filter(|permission| {
        !snapshot
            .channels
            .iter()
            .any(|channel| channel.peer.ip() == permission.peer)
    });
    let others = others.map(|permission| match permission.last_port {
        Some(port) => SocketAddr::new(permission.peer, port).to_string(),
        None => permission.peer.to_string(),
    });
    bound.chain(others).take(limit).collect()
}
