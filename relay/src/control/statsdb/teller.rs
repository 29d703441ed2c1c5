//! The task that tells: connects, writes the keys of all sessions, then what is queued.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{EventKind, Severity};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Statsdb, key_of};
use crate::control::clock::Moment;
use crate::control::health::Turn;
use crate::control::hub::Hub;
use crate::store::StoreError;
use crate::store::redis::{StatsConnection, Told};

/// Commands in one write.
const BATCH: usize = 500;
/// How long what is queued is left to gather.
const GATHER: Duration = Duration::from_millis(20);
/// How often is looked whether Redis still answers while there is nothing to say.
const PING: Duration = Duration::from_secs(2);
/// How often the keys of all sessions are written again: who empties that Redis, or starts a coturn on
/// it, takes them away.
const REWRITE: Duration = Duration::from_secs(60);
/// The first pause between attempts to connect, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the last words of a process may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Tells until the node stops; the last words are what is queued then.
pub(in crate::control) async fn run(hub: Arc<Hub>) {
    let Some(stats) = &hub.statsdb else { return };
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match stats.db.connect().await {
            Err(error) => error,
            Ok(connection) => {
                pause = FIRST_PAUSE;
                match serve(&hub, stats, connection).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
        };
        if stats.noted(false) != Turn::Same {
            tracing::warn!(%error, "the statistics database is out of reach; what it misses is counted");
            let text = "the statistics database is out of reach";
            hub.event(EventKind::StoreChanged, Severity::Warn, text);
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
        }
    }
}

/// Tells over one connection; `Ok`: the node stops.
async fn serve(
    hub: &Hub,
    stats: &Statsdb,
    mut connection: StatsConnection,
) -> Result<(), StoreError> {
    rewrite(hub, stats, &mut connection).await?;
    if let Turn::Back = stats.noted(true) {
        tracing::info!("the statistics database answers");
        let text = "the statistics database answers";
        hub.event(EventKind::StoreChanged, Severity::Notice, text);
    }
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rewritten = Instant::now();
    loop {
        drain(hub, stats, &mut connection).await?;
        tokio::select! {
            () = hub.cancel.cancelled() => {
                // Whoever ends the process waits no longer for this Redis than that.
                let _ = timeout(FAREWELL, drain(hub, stats, &mut connection)).await;
                return Ok(());
            }
            () = stats.queued.notified() => sleep(GATHER).await,
            _ = ping.tick() => {
                connection.ping().await?;
                if stats.health.accepts_again(Moment::now().unix_ms) {
                    tracing::info!("the statistics database takes again what it refused");
                }
                if rewritten.elapsed() >= REWRITE {
                    rewrite(hub, stats, &mut connection).await?;
                    rewritten = Instant::now();
                }
            }
        }
    }
}

/// Writes what is queued.
async fn drain(
    hub: &Hub,
    stats: &Statsdb,
    connection: &mut StatsConnection,
) -> Result<(), StoreError> {
    loop {
        let writes = stats.take(BATCH);
        if writes.is_empty() {
            return Ok(());
        }
        match connection.tell(&writes).await {
            Ok(told) => heed(hub, stats, told, writes.len()),
            Err(error) => {
                stats.give_up(writes);
                return Err(error);
            }
        }
    }
}

/// Takes note of what Redis said to so many writes, and says when it refuses what it did not before.
fn heed(hub: &Hub, stats: &Statsdb, told: Told, writes: usize) {
    if let Some(reason) = stats.note(told, writes) {
        tracing::warn!(reason, "the statistics database refuses what it is told");
        let text = format!("the statistics database refuses: {reason}");
        hub.event(EventKind::StoreChanged, Severity::Warn, text);
    }
}

/// Writes the keys of all sessions, a slice of the books at a time. What ends meanwhile is queued, and
/// told after this.
async fn rewrite(
    hub: &Hub,
    stats: &Statsdb,
    connection: &mut StatsConnection,
) -> Result<(), StoreError> {
    let mut below = usize::MAX;
    while below > 0 && !hub.fenced() {
        let mut writes = Vec::with_capacity(BATCH);
        below = {
            let books = hub.books();
            books.walk_down(below, BATCH, Moment::now(), |row| writes.push(key_of(&row)))
        };
        if !writes.is_empty() {
            let told = connection.tell(&writes).await?;
            heed(hub, stats, told, writes.len());
        }
    }
    Ok(())
}
