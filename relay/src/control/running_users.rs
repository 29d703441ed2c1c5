//! Users of running sessions: read again when they change, and a few at a time to heal lost messages.
//! Their limits are told to the workers; whether their sessions may go on is [`revocation`]'s to say.
//!
//! [`revocation`]: super::revocation

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use shared::{Realm, Username};
use tokio::sync::Notify;
use turn_proto::server::Command;

use super::clock::Moment;
use super::hub::Hub;
use crate::store::{StoreError, StoredUser};

/// Conversations with the store at the same time.
const CONCURRENCY: usize = 16;
/// Before another try when the store or a worker had no time.
const RETRY: Duration = Duration::from_secs(1);
/// Users waiting to be read; beyond, all are read.
const MAX_WANTED: usize = 1000;
/// How often some sessions are compared with the store.
const COMPARE: Duration = Duration::from_secs(5);
/// How many: of a node with more, all are compared over a longer time.
const COMPARED: usize = 2000;

/// Who is to be read again.
#[derive(Debug, Default)]
pub(super) struct RunningUsers {
    wanted: Mutex<Wanted>,
    stale: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    users: BTreeSet<(Realm, String)>,
    /// Every stored user who has sessions here.
    all: bool,
}

/// A user with sessions on this node, and what the store says: positively `None`, not there.
#[derive(Debug)]
pub(super) struct Reading {
    pub realm: Realm,
    pub name: Username,
    pub user: Option<StoredUser>,
}

impl RunningUsers {
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

/// Keeps running sessions within what their users may, until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The place in the books to go on below.
    let mut below = 0;
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.running_users.stale.notified() => {}
            _ = compare.tick() => below = want_some(&hub, below),
        }
        let wanted = std::mem::take(&mut *hub.running_users.wanted());
        if wanted.users.is_empty() && !wanted.all || follow(&hub, &wanted).await {
            continue;
        }
        {
            let mut again = hub.running_users.wanted();
            again.all |= wanted.all;
            again.users.extend(wanted.users);
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(RETRY) => hub.running_users.stale.notify_one(),
        }
    }
}

/// Has the users of some more sessions read, in realms where that may end them: a message about
/// them may have been lost.
fn want_some(hub: &Hub, below: usize) -> usize {
    let rules = hub.keeper.revoke_rules();
    if !rules
        .values()
        .any(|of| of.user_removal || of.password_change)
    {
        return 0;
    }
    let below = if below == 0 { usize::MAX } else { below };
    let mut users = BTreeSet::new();
    let next = hub
        .books()
        .walk_down(below, COMPARED, Moment::now(), |row| {
            let follows = |realm| {
                let rules = rules.get(realm);
                rules.is_some_and(|of| of.user_removal || of.password_change)
            };
            if row.kept().key_id != 0 && follows(row.realm()) {
                users.insert((row.realm().clone(), row.user().as_ref().to_owned()));
            }
        });
    hub.running_users.wanted().users.extend(users);
    next
}

/// Reads and tells; `false` when that has to be done again.
async fn follow(hub: &Hub, wanted: &Wanted) -> bool {
    let begun = Instant::now();
    let readings = match hub.noted(read(hub, wanted).await) {
        Ok(readings) => readings,
        Err(error) => {
            tracing::debug!(%error, "users of running sessions stay as they were");
            return false;
        }
    };
    hub.revocation.judge_users(hub, &readings, begun);
    for Reading { realm, name, user } in &readings {
        let limit = user.as_ref().and_then(|user| user.record.max_sessions);
        if limit.is_some() {
            hub.quota.has_own_limit(realm, name.as_str());
        }
    }
    let limits: HashMap<_, _> = readings
        .into_iter()
        .map(|reading| {
            let limit = reading.user.and_then(|user| user.record.max_rate_bps);
            ((reading.realm, reading.name), limit)
        })
        .collect();
    for ((realm, name), _) in limits.iter().filter(|(_, limit)| limit.is_some()) {
        hub.quota.has_own_rate(realm, name.as_str());
    }
    let limits = Arc::new(limits);
    limits.is_empty()
        || hub
            .workers
            .broadcast(&|| Command::SetUserLimits(Arc::clone(&limits)))
}

async fn read(hub: &Hub, wanted: &Wanted) -> Result<Vec<Reading>, StoreError> {
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
        .map(|(realm, name)| async move {
            match hub.store.user(&realm, name.as_str()).await {
                Ok(user) => Ok(Some(Reading { realm, name, user })),
                Err(error) if error.may_pass() => Err(error),
                // One unreadable record says nothing about its user, and holds up no other.
                Err(error) => {
                    tracing::warn!(%realm, %error, "a user with sessions stays as it was");
                    Ok(None)
                }
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_filter_map(|reading| std::future::ready(Ok(reading)))
        .try_collect()
        .await
}
