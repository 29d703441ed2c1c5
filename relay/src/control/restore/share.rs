//! Which worker takes up which session, and what it needs of its record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{NodeId, PasswordAlgorithm, SessionId, Transport, WorkerId};
use turn_proto::auth::token::TokenSpan;
use turn_proto::channel_data::ChannelNumber;
use turn_proto::server::{
    RestoreDetails, RestoredMobility, RestoredRelay, RestoredSession, SessionCounters,
    SessionSnapshot,
};

use crate::control::clock::Moment;
use crate::control::directory::Directory;
use crate::control::mirror;
use crate::store::record::{decode_session, encode_session};
use crate::store::{SessionRecord, StoreError};
use crate::udp::selector::worker_of;
use crate::worker::Restore;

/// The longest that a permission or a channel lives: a record that promises more was written under
/// another clock.
const LONGEST: Duration = Duration::from_secs(3600);
/// What secrets of access tokens begin with.
const TOKEN: &str = "oauth:";

/// Sessions by the worker that restores them.
#[derive(Debug, Default)]
pub struct Shared {
    /// By worker.
    pub workers: Vec<Restore>,
    /// Those that no worker could restore.
    pub refused: Vec<SessionId>,
}

/// Shares sessions out among workers. Of two that claim one 5-tuple or relay address the newer one is
/// right: the other's end was not written any more.
#[must_use]
pub fn share_out(records: Vec<SessionRecord>, workers: u16) -> Shared {
    share_out_at(records, workers, Moment::now())
}

/// Records of sessions for another process, as the store has them.
///
/// # Errors
/// One that cannot be written.
pub fn records_of(sessions: &[SessionSnapshot]) -> Result<Vec<Vec<u8>>, StoreError> {
    let now = Moment::now();
    let mut books = Directory::new(nobody(), BTreeMap::new());
    for session in sessions {
        books.upsert(session.clone(), now);
    }
    let rows = sessions.iter().filter_map(|s| books.row(s.id, now));
    rows.map(|row| encode_session(&mirror::record(&row, 0, now)))
        .collect()
}

fn nobody() -> NodeId {
    "heir".parse().expect("a node id")
}

/// Shares sessions out that another process passes on. Those over connections stay with the worker that
/// has the connection.
#[must_use]
pub fn share_bequest(records: Vec<(WorkerId, Vec<u8>)>, workers: u16) -> Shared {
    let now = Moment::now();
    let (mut by_udp, mut by_stream) = (Vec::new(), Vec::new());
    for (worker, record) in records {
        let Some(record) = decode_session(&record) else {
            tracing::error!("A session that was passed on cannot be read.");
            continue;
        };
        match record.transport {
            Transport::Udp => by_udp.push(record),
            _ => by_stream.push((worker, record)),
        }
    }
    let mut shared = share_out_at(by_udp, workers, now);
    for (worker, record) in by_stream {
        let share = shared.workers.get_mut(usize::from(worker.0));
        match (share, session(&record, now)) {
            (Some(share), Some(session)) => share.sessions.push(session),
            _ => shared.refused.push(record.id),
        }
    }
    shared
}

fn share_out_at(mut records: Vec<SessionRecord>, workers: u16, now: Moment) -> Shared {
    records.sort_by_key(|record| std::cmp::Reverse((record.epoch, record.created_at_ms)));
    let mut shares = vec![Vec::new(); usize::from(workers)];
    let mut refused = Vec::new();
    let mut relocated = HashMap::new();
    let mut tuples: HashSet<(SocketAddr, SocketAddr)> = HashSet::new();
    let mut relays: HashSet<SocketAddr> = HashSet::new();
    for record in records {
        let worker = worker_of(record.client, workers);
        let second = record.second_relay.map(|(local, _, _)| local);
        let is_taken = tuples.contains(&(record.client, record.server))
            || relays.contains(&record.relay_local)
            || second.is_some_and(|second| relays.contains(&second));
        let share = shares.get_mut(usize::from(worker.0));
        // The store has those over UDP only: connections ended with their process.
        let restored = session(&record, now).filter(|s| s.tuple.transport == Transport::Udp);
        match (restored, share) {
            (Some(session), Some(share)) if !is_taken => {
                tuples.insert((record.client, record.server));
                relays.insert(record.relay_local);
                relays.extend(second);
                if session.details.mobility.is_some() {
                    relocated.insert(session.id, worker);
                }
                share.push(session);
            }
            _ => refused.push(record.id),
        }
    }
    let relocated = Arc::new(relocated);
    let workers = shares.into_iter().map(|sessions| Restore {
        sessions,
        relocated: Arc::clone(&relocated),
    });
    Shared {
        workers: workers.collect(),
        refused,
    }
}

/// What a worker needs of a record; `None`: such a session cannot come back.
fn session(record: &SessionRecord, now: Moment) -> Option<RestoredSession> {
    let secret = record.secret_id.as_deref();
    // A record of version 2 does not say when the token ends.
    let is_unclear =
        record.token.is_none() && secret.is_some_and(|secret| secret.starts_with(TOKEN));
    if matches!(record.transport, Transport::Tls | Transport::Dtls) || is_unclear {
        return None;
    }
    let lifetime = Duration::from_secs(u64::from(record.lifetime_secs));
    let relay = |local, external, expires_ms| RestoredRelay {
        local,
        external,
        expires: moment(now, expires_ms, lifetime),
    };
    let first_expires = record.first_expires_at_ms.unwrap_or(record.expires_at_ms);
    let age = Duration::from_millis(now.unix_ms.saturating_sub(record.created_at_ms));
    let permissions = record.permissions.iter();
    let channels = record.channels.iter();
    let bound = |(number, peer, ends): &(u16, SocketAddr, u64)| {
        let number = ChannelNumber::new(*number)?;
        Some((number, *peer, moment(now, *ends, LONGEST)))
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
        key_id: record.key_id,
        details: details(record),
        first: relay(record.relay_local, record.relay_external, first_expires),
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
        counters: counters(record.totals),
    })
}

fn details(record: &SessionRecord) -> RestoreDetails {
    let sha256 = PasswordAlgorithm::Sha256;
    let is_sha256 = record.algorithm == sha256.number();
    RestoreDetails {
        algorithm: if is_sha256 {
            sha256
        } else {
            PasswordAlgorithm::Md5
        },
        user_rate_bps: record.user_rate_bps,
        token: record
            .token
            .map(|(made, lifetime)| TokenSpan { made, lifetime }),
        mobility: record.mobility.map(|(serial, source)| RestoredMobility {
            serial,
            source,
            pending: None,
        }),
        first_expires: None,
    }
}

fn counters([in_packets, in_bytes, out_packets, out_bytes]: [u64; 4]) -> SessionCounters {
    SessionCounters {
        in_packets,
        in_bytes,
        out_packets,
        out_bytes,
        ..SessionCounters::default()
    }
}

/// When that is on the monotonic clock, and no later than `longest` from now, whatever the other clock
/// did meanwhile. What is over is now.
fn moment(now: Moment, unix_ms: u64, longest: Duration) -> Instant {
    let left = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms));
    now.mono + left.min(longest)
}

#[cfg(test)]
mod tests;
