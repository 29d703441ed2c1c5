//! Users' own limits of running sessions: read again when a user changes, told to the workers.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use shared::{Realm, Username};
use tokio::sync::Notify;
use turn_proto::server::Command;

use super::hub::Hub;
use crate::store::StoreError;

/// Conversations with the store at the same time.
const CONCURRENCY: usize = 16;
/// Before another try when the store or a worker had no time.
const RETRY: Duration = Duration::from_secs(1);
/// Users waiting to be read; beyond, all are read.
const MAX_WANTED: usize = 1000;

/// Whose limits are to be read again.
#[derive(Debug, Default)]
pub(super) struct UserLimits {
    wanted: Mutex<Wanted>,
    stale: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    users: BTreeSet<(Realm, String)>,
    /// Every stored user who has sessions here.
    all: bool,
}

impl UserLimits {
    /// A user changed.
    pub(super) fn want(&self, realm: &Realm, name: &str) {
        let mut wanted = self.wanted();
        if wanted.users.len() >= MAX_WANTED {
            wanted.all = true;
        } else {
            wanted.users.insert((realm.clone(), name.to_owned()));
        }
        self.stale.notify_one();
    }

    /// Any user may have changed.
    pub(super) fn want_all(&self) {
        self.wanted().all = true;
        self.stale.notify_one();
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps running sessions within the limits of their users until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.user_limits.stale.notified() => {}
        }
        let wanted = std::mem::take(&mut *hub.user_limits.wanted());
        if follow(&hub, &wanted).await {
            continue;
        }
        {
            let mut again = hub.user_limits.wanted();
            again.all |= wanted.all;
            again.users.extend(wanted.users);
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(RETRY) => hub.user_limits.stale.notify_one(),
        }
    }
}

/// Reads and tells; `false` when that has to be done again.
async fn follow(hub: &Hub, wanted: &Wanted) -> bool {
    let limits = match hub.noted(read(hub, wanted).await) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::debug!(%error, "limits of users stay as they were");
            return false;
        }
    };
    let limits = Arc::new(limits);
    limits.is_empty()
        || hub
            .workers
            .broadcast(&|| Command::SetUserLimits(Arc::clone(&limits)))
}

async fn read(
    hub: &Hub,
    wanted: &Wanted,
) -> Result<HashMap<(Realm, Username), Option<u64>>, StoreError> {
    let mut users = wanted.users.clone();
    if wanted.all {
        users.extend(hub.quota.users());
    }
    let named = users.into_iter().filter_map(|(realm, name)| {
        let has_sessions = hub.quota.user_sessions(&realm, &name) > 0;
        let username = name.parse::<Username>().ok().filter(|_| has_sessions)?;
        Some((realm, username))
    });
    stream::iter(named)
        .map(|(realm, username)| async move {
            let stored = hub.store.user(&realm, username.as_str()).await?;
            let limit = stored.and_then(|user| user.record.max_rate_bps);
            Ok(((realm, username), limit))
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}
