//! One session in the books.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use shared::api::{
    ChannelView, PeerConnectionState, PeerConnectionView, PermissionView, SessionView,
};
use shared::{NodeId, Realm, SessionId, WorkerId};
use turn_proto::server::{LinkState, SessionCounters, SessionSnapshot, SessionTally};

use super::kept::{Homes, Kept};
use super::new_peers::NewPeers;
use crate::control::clock::Moment;

/// Peers in a row of the list.
const LISTED_PEERS: usize = 8;

/// A session: what its worker said last, and what was measured. What most walks look at is here, side
/// by side; all else is behind a pointer.
#[derive(Debug)]
pub(super) struct Entry {
    /// The id.
    pub id: SessionId,
    /// The worker that owns it.
    pub worker: WorkerId,
    /// The user.
    pub user: Arc<str>,
    /// [`head_of`] the user.
    pub user_head: u64,
    /// The client's address.
    pub client: SocketAddr,
    /// When it was created, in Unix seconds.
    pub created_unix: u64,
    /// The realm.
    pub realm: Realm,
    /// What the worker said last, with the totals of its last report.
    pub kept: Box<Kept>,
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
    pub(super) fn new(snapshot: SessionSnapshot, homes: &mut Homes) -> Self {
        let counters = &snapshot.counters;
        Self {
            // One that is learnt from a snapshot has a past that is no part of the last second.
            measured: (counters.in_bytes, counters.out_bytes),
            id: snapshot.id,
            worker: snapshot.worker,
            user: Arc::clone(&snapshot.user),
            user_head: head_of(&snapshot.user),
            client: snapshot.tuple.client,
            created_unix: snapshot.created_unix,
            realm: snapshot.realm.clone(),
            kept: Box::new(Kept::new(snapshot, homes)),
            rates: (0, 0),
            report: 0,
            new_peers: None,
        }
    }

    pub(super) fn update(&mut self, snapshot: SessionSnapshot, homes: &mut Homes, now: Moment) {
        let counters = snapshot.counters;
        self.worker = snapshot.worker;
        self.user = Arc::clone(&snapshot.user);
        self.user_head = head_of(&snapshot.user);
        self.client = snapshot.tuple.client;
        self.created_unix = snapshot.created_unix;
        self.realm = snapshot.realm.clone();
        let before = std::mem::take(&mut self.kept.tally);
        *self.kept = Kept::new(snapshot, homes);
        self.kept.tally = before;
        self.count(&counters, now);
    }

    /// Takes totals over.
    pub(super) fn count(&mut self, counters: &SessionCounters, now: Moment) {
        let before = self.kept.tally.new_peers;
        let new = counters.new_peers.saturating_sub(before);
        if new > 0 {
            self.new_peers.get_or_insert_default().add(new, now);
        } else {
            self.forget_new_peers(now);
        }
        self.kept.tally = SessionTally::from(counters);
    }

    /// Lets the counts of new peers go when there were none lately.
    pub(super) fn forget_new_peers(&mut self, now: Moment) {
        if self.new_peers_per_sec(now) == 0.0 {
            self.new_peers = None;
        }
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

    /// Takes totals and rates over that somebody else measured.
    pub(super) fn set_measured(
        &mut self,
        counters: &SessionCounters,
        rates: (u64, u64),
        report: u64,
        now: Moment,
    ) {
        self.rates = rates;
        self.measured = (counters.in_bytes, counters.out_bytes);
        self.report = report;
        self.count(counters, now);
    }

    /// Bits per second in and out. `report` is the number of the worker's last report: a session
    /// that was not in it relayed nothing.
    pub(super) fn rates(&self, report: Option<u64>) -> (u64, u64) {
        match report {
            Some(report) if report == self.report => self.rates,
            _ => (0, 0),
        }
    }

    fn new_peers_per_sec(&self, now: Moment) -> f64 {
        match &self.new_peers {
            None => 0.0,
            Some(lately) => lately.per_sec(now),
        }
    }
}

/// A session at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// The session.
    pub(super) entry: &'a Entry,
    /// The node.
    pub(super) node: &'a NodeId,
    /// What relays it, where that is not this program.
    pub(super) software: Option<&'a str>,
    /// The number of its worker's last report, if that is fresh.
    pub(super) report: Option<u64>,
    /// The moment.
    pub(super) now: Moment,
}

impl<'a> Row<'a> {
    /// What the worker said last, with the totals of its last report.
    #[must_use]
    pub(crate) fn kept(&self) -> &'a Kept {
        &self.entry.kept
    }

    /// The id.
    #[must_use]
    pub(crate) fn id(&self) -> SessionId {
        self.entry.id
    }

    /// The worker that owns it.
    #[must_use]
    pub(crate) fn worker(&self) -> WorkerId {
        self.entry.worker
    }

    /// The realm.
    #[must_use]
    pub(crate) fn realm(&self) -> &'a Realm {
        &self.entry.realm
    }

    /// The user.
    #[must_use]
    pub(crate) fn user(&self) -> &'a Arc<str> {
        &self.entry.user
    }

    /// The client's address.
    #[must_use]
    pub(crate) fn client(&self) -> SocketAddr {
        self.entry.client
    }

    /// When it was created, in Unix seconds.
    #[must_use]
    pub(crate) fn created_unix(&self) -> u64 {
        self.entry.created_unix
    }

    /// Bits per second in and out.
    #[must_use]
    pub(crate) fn rates(&self) -> (u64, u64) {
        self.entry.rates(self.report)
    }

    /// Peers permitted for the first time, per second, over the last ten seconds.
    #[must_use]
    pub(crate) fn new_peers_per_sec(&self) -> f64 {
        self.entry.new_peers_per_sec(self.now)
    }

    /// Whole seconds since it was created.
    #[must_use]
    pub(crate) fn age_secs(&self) -> u64 {
        let age = self.now.mono.saturating_duration_since(self.kept().created);
        age.as_secs()
    }

    /// Whole seconds until it expires.
    #[must_use]
    pub(crate) fn ttl_secs(&self) -> u64 {
        ttl(self.kept().expires, self.now)
    }

    /// The row as lists show it.
    #[must_use]
    pub(crate) fn view(&self) -> SessionView {
        let kept = self.kept();
        let tally = &kept.tally;
        let (local, external) = (kept.relay_local(), kept.relay_external());
        let (rate_in_bps, rate_out_bps) = self.rates();
        SessionView {
            id: self.id(),
            node: self.node.clone(),
            worker: self.worker(),
            user: self.user().as_ref().to_owned(),
            username: kept.username.as_str().to_owned(),
            realm: self.realm().clone(),
            transport: kept.transport,
            relay_transport: kept.relay_transport,
            mobile: kept.is_mobile,
            client: self.client(),
            server: kept.server(),
            relay: external,
            relay_local: (local != external).then_some(local),
            second_relay: kept.second_relay().map(|relay| relay.external),
            started_at_ms: self.created_unix().saturating_mul(1000),
            age_secs: self.age_secs(),
            ttl_secs: self.ttl_secs(),
            peers: peers(kept, LISTED_PEERS),
            peer_count: kept.permissions.len() as u32,
            rate_in_bps,
            rate_out_bps,
            in_packets: tally.in_packets,
            in_bytes: tally.in_bytes,
            out_packets: tally.out_packets,
            out_bytes: tally.out_bytes,
            drops: tally.drops(),
            throttled: tally.throttled(),
            new_peers_per_sec: self.new_peers_per_sec(),
            max_rate_bps: kept.max_rate_bps(),
            secret_id: kept.secret_id().map(str::to_owned),
            software: self.software.map(str::to_owned),
            stale: false,
        }
    }

    /// All peers, in the form of the row.
    #[must_use]
    pub(crate) fn all_peers(&self) -> Vec<String> {
        peers(self.kept(), usize::MAX)
    }

    /// Permissions as the API shows them.
    #[must_use]
    pub(crate) fn permissions(&self) -> Vec<PermissionView> {
        let permissions = self.kept().permissions.iter();
        permissions
            .map(|permission| PermissionView {
                peer: permission.peer,
                last_port: permission.last_port,
                ttl_secs: ttl(permission.expires, self.now),
                in_bytes: permission.in_bytes,
                out_bytes: permission.out_bytes,
                rate_in_bps: 0,
                rate_out_bps: 0,
            })
            .collect()
    }

    /// Channels as the API shows them.
    #[must_use]
    pub(crate) fn channels(&self) -> Vec<ChannelView> {
        let channels = self.kept().channels.iter();
        channels
            .map(|channel| ChannelView {
                number: channel.number,
                peer: channel.peer,
                ttl_secs: ttl(channel.expires, self.now),
            })
            .collect()
    }

    /// Connections with peers as the API shows them.
    #[must_use]
    pub(crate) fn peer_connections(&self) -> Vec<PeerConnectionView> {
        let links = self.kept().links().iter();
        links
            .map(|link| PeerConnectionView {
                peer: link.peer,
                state: match link.state {
                    LinkState::Connecting => PeerConnectionState::Connecting,
                    LinkState::Pending => PeerConnectionState::Pending,
                    LinkState::Bound => PeerConnectionState::Bound,
                },
                incoming: link.incoming,
                client: link.client,
                in_bytes: link.in_bytes,
                out_bytes: link.out_bytes,
            })
            .collect()
    }
}

/// The first bytes of a text as a number that orders as they do: most texts are told apart without
/// a look at them.
#[must_use]
pub(super) fn head_of(text: &str) -> u64 {
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    u64::from_be_bytes(head)
}

/// Whole seconds until then, a begun one counted.
fn ttl(expires: Instant, now: Moment) -> u64 {
    let left = expires.saturating_duration_since(now.mono);
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

/// Bound channels first, then permissions without one.
fn peers(kept: &Kept, limit: usize) -> Vec<String> {
    let bound = kept.channels.iter().map(|channel| channel.peer.to_string());
    let others = kept.permissions.iter().filter(|permission| {
        !kept
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
