//! Ends the sessions of this node that something is true of: looks at the books in slices, so that
//! nobody waits for a look at a million, and tells the workers, however busy they are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use shared::{Realm, SessionId, WorkerId};
use turn_proto::server::{Command, EndCause};

use super::clock::Moment;
use super::directory::Row;
use super::hub::Hub;

/// Sessions looked at while the books are locked.
const SLICE: usize = 1000;
/// Before a worker whose queue is full is told again.
const RETRY: Duration = Duration::from_millis(10);
/// Sums kept; sessions beyond are counted without their names.
const MAX_SUMS: usize = 1000;

/// Why sessions of whom were ended: the user, or the secret where that is what ended them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sum {
    /// The realm.
    pub realm: Realm,
    /// A user or a secret; empty: of more than are told apart.
    pub whom: Arc<str>,
    /// In words.
    pub cause: &'static str,
}

/// Sessions that were told to end at the last look and perhaps have not yet: they are not counted
/// again.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<SessionId>);

/// Ends every session for which `judge` knows a cause, with the name that it counts under, and
/// answers how many were told to end for the first time. The books hear of it from the workers.
pub(super) async fn end_where(
    hub: &Hub,
    told: &mut Told,
    judge: impl Fn(&Row<'_>) -> Option<(EndCause, Arc<str>)>,
) -> BTreeMap<Sum, u64> {
    let mut sums = BTreeMap::new();
    let mut now_told = HashSet::new();
    let mut below = usize::MAX;
    while below > 0 && !hub.cancel.is_cancelled() {
        let mut found: Vec<(SessionId, WorkerId, EndCause)> = Vec::new();
        below = hub.books().walk_down(below, SLICE, Moment::now(), |row| {
            let Some((cause, whom)) = judge(&row) else {
                return;
            };
            found.push((row.id(), row.worker(), cause));
            now_told.insert(row.id());
            if told.0.contains(&row.id()) {
                return;
            }
            let sum = Sum {
                realm: row.realm().clone(),
                whom,
                cause: cause.in_words(),
            };
            count(&mut sums, sum);
        });
        for (session, worker, cause) in found {
            tell(hub, worker, session, cause).await;
        }
        tokio::task::yield_now().await;
    }
    told.0 = now_told;
    sums
}

fn count(sums: &mut BTreeMap<Sum, u64>, mut sum: Sum) {
    if sums.len() >= MAX_SUMS && !sums.contains_key(&sum) {
        sum.whom = Arc::from("");
    }
    *sums.entry(sum).or_default() += 1;
}

async fn tell(hub: &Hub, worker: WorkerId, session: SessionId, cause: EndCause) {
    while !hub.workers.send(worker, Command::Kill { session, cause }) {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}
