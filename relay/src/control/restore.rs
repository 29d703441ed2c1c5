//! Sessions that an earlier start of this node left in the store: read before anything is served, and
//! shared out among the workers that their clients' packets reach.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shared::{NodeId, PasswordAlgorithm, SessionId, Transport, WorkerId};
use turn_proto::channel_data::ChannelNumber;
use turn_proto::server::{RestoredRelay, RestoredSession, SessionCounters};

use super::clock::Moment;
use crate::store::{SessionRecord, Store};
use crate::udp::selector::worker_of;

/// The longest that a permission or a channel lives: a record that promises more was written under
/// another clock.
const LONGEST: Duration = Duration::from_secs(3600);
/// What secrets of access tokens begin with: their sessions need a token again.
const TOKEN: &str = "oauth:";

/// What the store has of an earlier start.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Its sessions.
    pub records: Vec<SessionRecord>,
    /// Whether those are all: the store answered.
    pub is_read: bool,
}

impl Earlier {
    /// Whether a new session could get an id of theirs under that base.
    #[must_use]
    pub fn has_base(&self, base: u32) -> bool {
        self.records.iter().any(|record| record.id.base() == base)
    }
}

/// Reads what the store has of this node's sessions; waits for it at most `patience`.
pub async fn read(store: &dyn Store, node: &NodeId, patience: Duration) -> Earlier {
    let failure = match tokio::time::timeout(patience, store.sessions(node)).await {
        Ok(Ok(records)) => {
            return Earlier {
                records,
                is_read: true,
            };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", patience.as_secs()),
    };
    tracing::warn!(
        reason = failure,
        "sessions of an earlier start are not restored: the store does not tell them"
    );
    Earlier::default()
}

/// What control has to wait for before its books are whole.
#[derive(Debug, Default)]
pub struct Restoring {
    /// Workers that will tell what became of their sessions.
    pub workers: u16,
    /// The store did not tell what it has: nothing there may be taken for a leftover.
    pub is_unread: bool,
    /// Sessions that nobody restores.
    pub refused: Vec<SessionId>,
}

/// Sessions by the worker that restores them.
#[derive(Debug, Default)]
pub struct Shared {
    /// By worker.
    pub workers: Vec<Vec<RestoredSession>>,
    /// Those that no worker could restore.
    pub refused: Vec<SessionId>,
}

/// Shares sessions out among workers. Of two that claim one 5-tuple or relay port the newer one is
/// right: the other's end was not written any more.
#[must_use]
pub fn share_out(mut records: Vec<SessionRecord>, workers: u16) -> Shared {
    share_out_at(&mut records, workers, Moment::now())
}

fn share_out_at(records: &mut Vec<SessionRecord>, workers: u16, now: Moment) -> Shared {
    records.sort_by_key(|record| std::cmp::Reverse((record.epoch, record.created_at_ms)));
    let mut shared = Shared {
        workers: vec![Vec::new(); usize::from(workers)],
        refused: Vec::new(),
    };
    let mut taken: HashSet<(SocketAddr, SocketAddr)> = HashSet::new();
    for record in records.drain(..) {
        let WorkerId(worker) = worker_of(record.client, workers);
        let is_taken = !taken.insert((record.client, record.server));
        match (
            session(&record, now),
            shared.workers.get_mut(usize::from(worker)),
        ) {
            (Some(session), Some(of_worker)) if !is_taken => of_worker.push(session),
            _ => shared.refused.push(record.id),
        }
    }
    shared
}

/// What a worker needs of a record; `None`: such a session cannot come back.
fn session(record: &SessionRecord, now: Moment) -> Option<RestoredSession> {
    let by_token = record.secret_id.as_deref();
    let by_token = by_token.is_some_and(|secret| secret.starts_with(TOKEN));
    if record.transport != Transport::Udp || by_token {
        return None;
    }
    let lifetime = Duration::from_secs(u64::from(record.lifetime_secs));
    let relay = |local, external, expires_ms| RestoredRelay {
        local,
        external,
        expires: moment(now, expires_ms, lifetime),
    };
    let age = Duration::from_millis(now.unix_ms.saturating_sub(record.created_at_ms));
    let [in_packets, in_bytes, out_packets, out_bytes] = record.totals;
    let permissions = record.permissions.iter();
    let channels = record.channels.iter();
    let bound = |(number, peer, ends): &(u16, SocketAddr, u64)| {
        Some((
            ChannelNumber::new(*number)?,
            *peer,
            moment(now, *ends, LONGEST),
        ))
    };
    Some(RestoredSession {
        id: record.id,
        tuple: turn_proto::FiveTuple {
            client: record.client,
            server: record.server,
            transport: record.transport,
        },
        realm: record.realm.clone(),
        username: record.username.clone(),
        credential_expiry: record.credential_expiry,
        secret_id: record.secret_id.as_deref().map(Into::into),
        algorithm: PasswordAlgorithm::Md5,
        first: relay(
            record.relay_local,
            record.relay_external,
            record.expires_at_ms,
        ),
        second: record
            .second_relay
            .map(|(local, external, expires)| relay(local, external, expires)),
        created: now.mono.checked_sub(age).unwrap_or(now.mono),
        created_unix: record.created_at_ms / 1000,
        lifetime,
        permissions: permissions
            .map(|(peer, ends)| (*peer, moment(now, *ends, LONGEST)))
            .collect(),
        channels: channels.filter_map(bound).collect(),
        counters: SessionCounters {
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
            ..SessionCounters::default()
        },
    })
}

/// When that is on the monotonic clock, and no later than `longest` from now, whatever the other clock
/// did meanwhile. What is over is now.
fn moment(now: Moment, unix_ms: u64, longest: Duration) -> Instant {
    let left = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms));
    now.mono + left.min(longest)
}
