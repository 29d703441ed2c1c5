//! Writes to the store what a restore or an adopter needs of each session.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use shared::{SessionId, Transport};
use tokio::time::{Instant, MissedTickBehavior};

use super::clock::Moment;
use super::directory::Row;
use super::dirty::Batch;
use super::hub::Hub;
use crate::store::{SessionRecord, StoreError};

/// How often is looked whether something is left to write.
const INTERVAL: Duration = Duration::from_millis(250);
/// The least time between the end of a write and the next one. What changes meanwhile goes together,
/// and a session that is over by then costs the store nothing.
const GAP: Duration = Duration::from_millis(100);
/// How long whoever ends sessions waits for the store.
const FORGET: Duration = Duration::from_millis(300);
/// Ticks between attempts while the store is away.
const AWAY_TICKS: u32 = 8;
/// Ticks between writes of all totals: a minute.
const TOTALS_TICKS: u32 = 240;
/// Ticks that they are spread over.
const TOTALS_SPREAD: usize = 200;
/// The least time between two sweeps for a doubt: each reads all records of the node.
const SWEEP_GAP: Duration = Duration::from_secs(60);
/// The least time between a sweep that failed and the next attempt.
const SWEEP_RETRY: Duration = Duration::from_secs(2);
/// Ticks between sweeps that nothing asked for: ten minutes.
const SWEEP_TICKS: u32 = 2400;
/// Sessions in one write.
const CHUNK: usize = 500;

/// Mirrors until the node stops: a change at once where nothing was written just now, and within
/// [`INTERVAL`] under load. What a client was told and a node that dies then has not written is lost.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ticks, mut totals) = (0_u32, 0);
    let mut ended = Instant::now();
    let (mut swept, mut failed): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        let mut worth_trying = hub.health.connected();
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.changed.notified() => tokio::select! {
                () = hub.cancel.cancelled() => return,
                () = tokio::time::sleep_until(ended + GAP) => {}
            },
            _ = interval.tick() => {
                ticks = ticks.wrapping_add(1);
                worth_trying |= ticks.is_multiple_of(AWAY_TICKS);
                if ticks.is_multiple_of(TOTALS_TICKS) {
                    let books = hub.books();
                    let ids: Vec<_> = books.ids().collect();
                    drop(books);
                    totals = ids.len().div_ceil(TOTALS_SPREAD);
                    hub.dirty().totals(ids);
                }
                if ticks.is_multiple_of(SWEEP_TICKS) {
                    hub.dirty().doubt();
                }
                let is_due = swept.is_none_or(|at| at.elapsed() >= SWEEP_GAP);
                if is_due && worth_trying && hub.dirty().settle_doubt() {
                    swept = Some(Instant::now());
                }
            }
        }
        // Without an epoch the store has not spoken with this node yet.
        if worth_trying && hub.epoch() > 0 && !hub.fenced() {
            if flush(&hub, &mut failed).await {
                flush_totals(&hub, totals).await;
            }
            ended = Instant::now();
        }
    }
}

/// Writes what changed; `false` when the store did not take it all. A sweep reads every record of the
/// node: where a slow store does not answer that in time, `failed` says since when, and what changed is
/// written all the same.
async fn flush(hub: &Hub, failed: &mut Option<Instant>) -> bool {
    let rests = failed.is_some_and(|at| at.elapsed() < SWEEP_RETRY);
    if !rests && hub.restoring.knows_all() && hub.dirty().take_sweep() {
        *failed = None;
        if !sweep(hub).await {
            hub.dirty().want_sweep();
            *failed = Some(Instant::now());
        }
    }
    loop {
        let _turn = hub.mirroring.lock().await;
        let batch = hub.dirty().take(CHUNK);
        if batch == Batch::default() {
            return true;
        }
        let written = write(hub, &batch).await;
        let left = written.as_ref().is_err_and(StoreError::may_pass);
        // In one go: nobody sees a batch as written that is only on its way back.
        hub.dirty().settle(left.then_some(batch));
        match written {
            Ok(()) => {}
            Err(error) if error.may_pass() => return false,
            Err(StoreError::Fenced { epoch }) => {
                hub.fence(epoch);
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "the store does not take session records");
                // Removals among them are found again.
                hub.dirty().doubt();
                return false;
            }
        }
    }
}

async fn write(hub: &Hub, batch: &Batch) -> Result<(), StoreError> {
    // Nobody could restore coturn's sessions.
    if hub.workers.coturn().is_some() {
        return Ok(());
    }
    let records = records(hub, &batch.upserts);
    let store = &hub.store;
    let written = store.flush_sessions(&hub.node, hub.epoch(), &records, &batch.deletes);
    hub.noted(written.await)
}

/// Writes these sessions at once, as they are.
pub(super) async fn write_now(hub: &Hub, sessions: &[SessionId]) -> Result<(), StoreError> {
    let batch = Batch {
        upserts: sessions.to_vec(),
        ..Batch::default()
    };
    let _turn = hub.mirroring.lock().await;
    write(hub, &batch).await
}

/// Takes the records of sessions that have ended out of the store before anybody is told, so that
/// none of them comes back whatever becomes of this process. A store that is away, or slow, is not
/// waited for: it hears of it with the next write.
pub(super) async fn forget_now(hub: &Hub, sessions: &[SessionId]) {
    if sessions.is_empty() || hub.epoch() == 0 || hub.fenced() || !hub.health.connected() {
        return;
    }
    let forget = async {
        let _turn = hub.mirroring.lock().await;
        let batch = Batch {
            deletes: hub.dirty().ended_of(sessions),
            ..Batch::default()
        };
        if batch != Batch::default() {
            write(hub, &batch).await?;
            hub.dirty().removed(&batch.deletes);
        }
        Ok::<_, StoreError>(())
    };
    match tokio::time::timeout(FORGET, forget).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "records of ended sessions are removed later"),
        Err(_) => tracing::debug!("the store is slow: records of ended sessions are removed later"),
    }
}

/// Writes some of the totals that are due; those that the store does not take are due in a minute
/// again.
async fn flush_totals(hub: &Hub, most: usize) {
    let mut left = most;
    while left > 0 {
        let upserts = hub.dirty().take_totals(left.min(CHUNK));
        if upserts.is_empty() {
            return;
        }
        left = left.saturating_sub(upserts.len());
        let batch = Batch {
            upserts,
            ..Batch::default()
        };
        let _turn = hub.mirroring.lock().await;
        if let Err(error) = write(hub, &batch).await {
            tracing::debug!(%error, "the store does not take totals");
            return;
        }
    }
}

/// Removes records of sessions that are over: this start does not have them, although it was told of
/// those of earlier ones.
async fn sweep(hub: &Hub) -> bool {
    let Ok(stored) = hub.noted(hub.store.sessions(&hub.node).await) else {
        return false;
    };
    let known: HashSet<SessionId> = hub.books().ids().collect();
    let unknown = stored
        .into_iter()
        .filter(|record| !known.contains(&record.id) && !hub.restoring.leaves_alone(record.id));
    let over = hub.restoring.over(unknown.collect(), hub.epoch());
    let mut dirty = hub.dirty();
    over.iter().for_each(|record| dirty.ended(record.id));
    true
}

fn records(hub: &Hub, ids: &[SessionId]) -> Vec<SessionRecord> {
    let now = Moment::now();
    let epoch = hub.epoch();
    let books = hub.books();
    let records = ids
        .iter()
        .filter_map(|id| Some(record(&books.row(*id, now)?, epoch, now)))
        // The others end with the process: their connections do.
        .filter(|record| record.transport == Transport::Udp);
    records.collect()
}

pub(super) fn record(row: &Row<'_>, epoch: u64, now: Moment) -> SessionRecord {
    let kept = row.kept();
    let tally = &kept.tally;
    let permissions = kept.permissions.iter();
    let channels = kept.channels.iter();
    let details = kept.details();
    let mobility = details.mobility;
    // Whoever comes back from a restart has one path: the one it was moving to.
    let path = mobility.and_then(|mobility| mobility.pending);
    let path = path.filter(|path| path.transport == Transport::Udp);
    SessionRecord {
        v: SessionRecord::VERSION,
        id: row.id(),
        epoch,
        client: path.map_or(row.client(), |path| path.client),
        server: path.map_or(kept.server(), |path| path.server),
        transport: path.map_or(kept.transport, |path| path.transport),
        realm: row.realm().clone(),
        username: kept.username.clone(),
        secret_id: kept.secret_id().map(str::to_owned),
        credential_expiry: kept.credential_expiry(),
        relay_local: kept.relay_local(),
        relay_external: kept.relay_external(),
        created_at_ms: row.created_unix().saturating_mul(1000),
        expires_at_ms: now.wall_ms(kept.expires),
        lifetime_secs: kept.lifetime_secs,
        permissions: permissions
            .map(|p| (p.peer, now.wall_ms(p.expires)))
            .collect(),
        channels: channels
            .map(|c| (c.number, c.peer, now.wall_ms(c.expires)))
            .collect(),
        totals: [
            tally.in_packets,
            tally.in_bytes,
            tally.out_packets,
            tally.out_bytes,
        ],
        second_relay: kept
            .second_relay()
            .map(|relay| (relay.local, relay.external, now.wall_ms(relay.expires))),
        first_expires_at_ms: details.first_expires.map(|expires| now.wall_ms(expires)),
        algorithm: details.algorithm.number(),
        user_rate_bps: details.user_rate_bps,
        token: details.token.map(|span| (span.made, span.lifetime)),
        mobility: mobility.map(|mobility| (mobility.serial, mobility.source)),
        key_id: kept.key_id,
    }
}

/// Writes what is left when the node stops: changes, then all totals.
pub(super) async fn farewell(hub: &Hub) {
    if hub.epoch() > 0 && !hub.fenced() && flush(hub, &mut None).await {
        let ids: Vec<_> = hub.books().ids().collect();
        let count = ids.len();
        hub.dirty().totals(ids);
        flush_totals(hub, count).await;
    }
}
