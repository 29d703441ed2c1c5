//! The two tasks that take samples.

use std::sync::Arc;
use std::time::Duration;

use super::{STEP_SECS, step_of};
use crate::control::clock::Moment;
use crate::control::directory::aggregate::Load;
use crate::control::directory::tally::Tally;
use crate::control::hub::Hub;

/// Sessions summed up before the books are let go.
const SLICE: usize = 1000;

/// Samples the node, its realms and its users on every tenth second, until the node stops.
pub(in crate::control) async fn sample(hub: Arc<Hub>) {
    while next(&hub, u64::from(STEP_SECS)).await {
        let step = step_of(Moment::now());
        let sums = sum_up(&hub).await;
        let keeper = Arc::clone(&hub);
        // Choosing among a million users takes a while.
        let record = tokio::task::spawn_blocking(move || keeper.history.record(step, &sums));
        if record.await.is_err() {
            return;
        }
    }
}

/// Samples watched sessions every second, until the node stops.
pub(in crate::control) async fn watch(hub: Arc<Hub>) {
    while next(&hub, 1).await {
        let now = Moment::now();
        let ids = {
            let mut watches = hub.history.watches();
            watches.expire(now.mono);
            watches.ids()
        };
        if ids.is_empty() {
            continue;
        }
        let loads: Vec<_> = {
            let books = hub.books();
            let load = |id| books.row(id, now).map(|row| Load::of(&row));
            ids.into_iter().map(|id| (id, load(id))).collect()
        };
        let mut watches = hub.history.watches();
        for (id, load) in loads {
            watches.put(id, now.unix_secs(), load);
        }
    }
}

/// Waits for the next multiple of so many seconds; `false` when the node stops.
async fn next(hub: &Hub, secs: u64) -> bool {
    let step = secs * 1000;
    let wait = step - Moment::now().unix_ms % step;
    tokio::select! {
        () = hub.cancel.cancelled() => false,
        () = tokio::time::sleep(Duration::from_millis(wait)) => true,
    }
}

/// Goes over all sessions in slices, so that nobody waits for the books as long as the whole takes.
async fn sum_up(hub: &Hub) -> Tally {
    let ids: Vec<_> = hub.books().ids().collect();
    let mut sums = Tally::default();
    for slice in ids.chunks(SLICE) {
        let now = Moment::now();
        hub.books().tally(slice, &hub.history.names, &mut sums, now);
        tokio::task::yield_now().await;
    }
    sums
}
