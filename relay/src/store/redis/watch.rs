//! The supervisor of a connection: connects, listens for changes, notices the loss. What was heard
//! over all of them is looked at together.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value, cmd};
use serde::{Deserialize, Serialize};
use shared::{Realm, display_safe};
use tokio::time::MissedTickBehavior;

use super::error::map;
use super::link::{Link, Pushes, Status, silent};
use super::schema::CoturnKey;
use super::{Inner, index, oauth, origins, realms, schema};
use crate::store::{Change, DEADLINE, StoreError};

/// How often Redis is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long changes are gathered before they are looked at.
const GATHER: Duration = Duration::from_millis(50);
/// How often everything is said to have changed where Redis does not tell what other tools change.
const BLIND_INTERVAL: Duration = Duration::from_secs(5);
/// The first wait before another attempt to connect; doubled each time.
const BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Pause before what could not be followed is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Changes that are told apart from their repetitions by other servers.
const RECENT: usize = 512;
/// Realms waiting to be compared; beyond that everything is read again.
const MAX_DIRTY: usize = 1000;

/// What a message on the channel of changes says.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    /// Version of this layout.
    pub(super) v: u32,
    /// The process that wrote it, which needs not hear it.
    pub(super) from: String,
    /// Counts what this process writes, from 1.
    #[serde(default)]
    pub(super) n: u64,
    /// What changed.
    pub(super) change: Change,
}

/// Keeps the connection to one server until the store is dropped, or the server is none of its any
/// more. `late`: the store worked before it.
pub(super) async fn supervise(inner: Arc<Inner>, link: Arc<Link>, late: bool) {
    let mut attempts = 0_u32;
    let mut silent = false;
    let mut first = !late;
    loop {
        let error = match connect(&link).await {
            Ok((connection, pushes)) => {
                link.set(Status::Up(connection.clone()));
                if silent {
                    tracing::debug!("Redis is back");
                }
                if !first || attempts > 0 {
                    inner.tell_here(Change::Everything);
                }
                (silent, first) = (false, false);
                // Options may have been edited while nobody listened, and users added.
                inner.heard.dirty().any_option = true;
                inner.index.pass.notify_one();
                let since = Instant::now();
                let error = serve(&inner, &link, connection, pushes).await;
                // One that breaks at once is as good as none.
                if since.elapsed() >= MAX_BACKOFF {
                    attempts = 0;
                }
                error
            }
            Err(error) => error,
        };
        let refused = matches!(error, StoreError::Refused(_));
        if !silent {
            // What is out of reach is told once, by the control plane; what refuses is not.
            if refused {
                tracing::warn!(%error, "Redis refuses; serving with what is known");
            } else {
                tracing::debug!(%error, "Redis is away");
            }
            silent = true;
        }
        link.set(Status::Down {
            reason: reason(&error).into(),
            refused,
        });
        // Another server may have its slots now.
        inner.link.stale.notify_one();
        tokio::time::sleep(pause(attempts)).await;
        attempts = attempts.saturating_add(1);
    }
}

/// How long to wait after so many attempts in vain: nodes that lost a server together do not come
/// back together.
pub(super) fn pause(attempts: u32) -> Duration {
    let longest = BACKOFF
        .saturating_mul(1 << attempts.min(10))
        .min(MAX_BACKOFF);
    longest.mul_f64(rand::random_range(0.5..1.0))
}

/// The inner words, so that they are not wrapped twice when a call repeats them.
pub(super) fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(text) | StoreError::Refused(text) | StoreError::NotNow(text) => {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// Connects and listens.
async fn connect(link: &Link) -> Result<(MultiplexedConnection, Pushes), StoreError> {
    let (mut connection, pushes) = link.connect().await?;
    let greeting = async {
        // A server that still loads its data answers everything but this.
        cmd("PING")
            .query_async::<Value>(&mut connection)
            .await
            .map_err(map)?;
        connection.subscribe(schema::CHANGES).await.map_err(map)?;
        let mut tracking = cmd("CLIENT");
        tracking
            .arg("TRACKING")
            .arg("ON")
            .arg("BCAST")
            .arg("PREFIX")
            .arg(schema::COTURN_PREFIX)
            .arg("PREFIX")
            .arg(schema::ORIGIN_PREFIX)
            .arg("PREFIX")
            .arg(schema::OAUTH_PREFIX);
        tracking.arg("NOLOOP");
        let told: Result<Value, RedisError> = tracking.query_async(&mut connection).await;
        Ok(told)
    };
    let told = tokio::time::timeout(DEADLINE, greeting)
        .await
        .unwrap_or_else(|_| Err(silent()))?;
    if let Err(error) = &told {
        let error = display_safe(&error.to_string()).into_owned();
        tracing::warn!(
            error,
            "Redis does not tell what other tools change; reading everything every 5 s instead"
        );
    }
    link.set_told(told.is_ok());
    Ok((connection, pushes))
}

/// What the servers told, until it is looked at.
#[derive(Debug, Default)]
pub(super) struct Heard {
    dirty: Mutex<Dirty>,
    /// Published changes that were heard last: in a cluster each server tells all of them.
    recent: Mutex<VecDeque<(String, u64)>>,
}

impl Heard {
    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was not heard before. Those of earlier versions have no number.
    fn is_new(&self, from: &str, number: u64) -> bool {
        if number == 0 {
            return true;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.iter().any(|(of, n)| *n == number && of == from) {
            return false;
        }
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((from.to_owned(), number));
        true
    }
}

/// Realms whose coturn keys changed, until they are looked at.
#[derive(Debug, Default)]
struct Dirty {
    /// Options or peers: to be compared with the document.
    options: BTreeSet<Realm>,
    /// Those of all known realms.
    any_option: bool,
    /// Anything: to be known as a realm.
    seen: BTreeSet<Realm>,
    /// Origins that belong to another realm than before, or to none.
    origins: BTreeSet<String>,
    /// Keys of third-party authorization.
    kids: BTreeSet<String>,
    /// Too much to follow.
    everything: bool,
}

/// Listens until the connection is of no use any more.
async fn serve(
    inner: &Arc<Inner>,
    link: &Arc<Link>,
    connection: MultiplexedConnection,
    mut pushes: Pushes,
) -> StoreError {
    let mut watching = tokio::task::JoinSet::new();
    let watcher = Arc::clone(link);
    watching.spawn(async move { watcher.watch_master().await });
    let mut ping = tokio::time::interval(PING_INTERVAL);
    let mut gather = tokio::time::interval(GATHER);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    gather.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut everything_told = Instant::now();
    loop {
        tokio::select! {
            push = pushes.queue.recv() => match push {
                Some(push) if push.kind != PushKind::Disconnection => {
                    note(inner, &mut inner.heard.dirty(), &push);
                }
                _ => return StoreError::Unavailable("the connection to Redis was lost".to_owned()),
            },
            _ = ping.tick() => if let Err(error) = answers(connection.clone()).await {
                return error;
            },
            () = link.demoted.notified() => {
                return StoreError::Unavailable("Redis has another master now".to_owned());
            }
            () = link.suspicion.notified() => {
                if let Err(error) = answers(connection.clone()).await {
                    return error;
                }
            }
            _ = gather.tick() => {
                let blind = !link.told() && everything_told.elapsed() >= BLIND_INTERVAL;
                if pushes.lost.swap(false, Ordering::AcqRel) || blind {
                    inner.heard.dirty().everything = true;
                }
                if blind {
                    everything_told = Instant::now();
                }
            }
        }
    }
}

/// Looks at what the servers told, for as long as the store lives.
pub(super) async fn follow(inner: Arc<Inner>) {
    let mut gather = tokio::time::interval(GATHER);
    gather.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        gather.tick().await;
        if inner.link.is_up() && !look(&inner).await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

async fn answers(mut connection: MultiplexedConnection) -> Result<(), StoreError> {
    let ping = async {
        cmd("PING")
            .query_async::<Value>(&mut connection)
            .await
            .map_err(map)
    };
    tokio::time::timeout(DEADLINE, ping)
        .await
        .unwrap_or_else(|_| Err(silent()))?;
    Ok(())
}

/// Takes note of what Redis pushed.
fn note(inner: &Inner, dirty: &mut Dirty, push: &PushInfo) {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Invalidate, [Value::Array(keys)]) => {
            keys.iter().for_each(|key| invalidate(inner, dirty, key));
        }
        // Without keys: all of them, as after FLUSHALL.
        (PushKind::Invalidate, _) => dirty.everything = true,
        (PushKind::Message, [_, Value::BulkString(payload)]) => {
            match serde_json::from_slice::<Message>(payload) {
                Ok(message) if message.from == inner.origin => {}
                Ok(message) if !inner.heard.is_new(&message.from, message.n) => {}
                Ok(message) => inner.tell_here(message.change),
                // Of a later version perhaps: something changed.
                Err(_) => dirty.everything = true,
            }
        }
        _ => {}
    }
}

fn invalidate(inner: &Inner, dirty: &mut Dirty, key: &Value) {
    let Value::BulkString(key) = key else { return };
    let most = [dirty.seen.len(), dirty.origins.len(), dirty.kids.len()];
    if most.into_iter().any(|len| len > MAX_DIRTY) {
        *dirty = Dirty {
            everything: true,
            ..Dirty::default()
        };
    }
    let realm = match schema::parse_coturn(key) {
        None => return,
        Some(CoturnKey::User(realm, name)) => {
            inner.index.mark(&realm, &name);
            inner.tell_here(Change::User { realm, name });
            return;
        }
        Some(CoturnKey::Secrets(realm)) => {
            inner.tell_here(Change::Secrets {
                realm: realm.clone(),
            });
            realm
        }
        Some(CoturnKey::Options(realm)) => {
            dirty.options.insert(realm.clone());
            realm
        }
        Some(CoturnKey::Oauth(kid)) => {
            dirty.kids.insert(kid);
            return;
        }
        Some(CoturnKey::Origin(origin)) => {
            dirty.origins.insert(origin);
            return;
        }
    };
    dirty.seen.insert(realm);
}

/// Looks at what was noted; `false`: not all of it could be.
async fn look(inner: &Inner) -> bool {
    let dirty = std::mem::take(&mut *inner.heard.dirty());
    let Dirty {
        mut options,
        any_option,
        mut seen,
        origins: moved,
        kids,
        everything,
    } = dirty;
    if everything {
        inner.tell_here(Change::Everything);
        inner.index.pass.notify_one();
    }
    let moved: Vec<String> = moved.into_iter().collect();
    let kids: Vec<String> = kids.into_iter().collect();
    if !kids.is_empty() {
        inner.tell_here(Change::OauthKeys);
    }
    // Which realm had an origin before, no key tells.
    let all = any_option || everything || !moved.is_empty();
    let work = async {
        if all {
            options.extend(super::users::realm_names(inner).await?);
        }
        let gained = origins::note(inner, &moved).await?;
        options.extend(gained.iter().cloned());
        seen.extend(gained);
        oauth::note(inner, &kids).await?;
        let seen: Vec<Realm> = seen.into_iter().collect();
        index::note_realms(inner, &seen).await?;
        let options: Vec<Realm> = options.into_iter().collect();
        realms::import_foreign_edits(inner, &options).await?;
        index::settle(inner).await
    };
    let Err(error) = work.await else {
        return true;
    };
    tracing::debug!(%error, "could not follow changes of other tools");
    inner.heard.dirty().everything = true;
    false
}
