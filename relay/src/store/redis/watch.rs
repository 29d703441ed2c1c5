//! The supervisor of the connection: connects, listens for changes, notices the loss.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value, cmd};
use serde::{Deserialize, Serialize};
use shared::{Realm, display_safe};
use tokio::time::MissedTickBehavior;

use super::error::map;
use super::link::{Pushes, Status};
use super::schema::CoturnKey;
use super::{Inner, index, oauth, realms, schema};
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
/// Realms waiting to be compared; beyond that everything is read again.
const MAX_DIRTY: usize = 1000;

/// What a message on the channel of changes says.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    /// Version of this layout.
    pub(super) v: u32,
    /// The process that wrote it, which needs not hear it.
    pub(super) from: String,
    /// What changed.
    pub(super) change: Change,
}

/// Keeps the connection until the store is dropped.
pub(super) async fn supervise(inner: Arc<Inner>) {
    let mut attempts = 0_u32;
    let mut silent = false;
    let mut first = true;
    loop {
        let error = match connect(&inner).await {
            Ok((connection, pushes, told)) => {
                inner.link.set(Status::Up(connection.clone()));
                if silent {
                    tracing::debug!("Redis is back");
                }
                if !first || attempts > 0 {
                    inner.tell_here(Change::Everything);
                }
                (silent, first) = (false, false);
                let since = Instant::now();
                let error = serve(&inner, connection, pushes, told).await;
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
        inner.link.set(Status::Down {
            reason: reason(&error).into(),
            refused,
        });
        let longest = BACKOFF
            .saturating_mul(1 << attempts.min(10))
            .min(MAX_BACKOFF);
        attempts = attempts.saturating_add(1);
        tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

/// The inner words, so that they are not wrapped twice when a call repeats them.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(text) | StoreError::Refused(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Connects and listens; also says whether Redis tells what other tools change.
async fn connect(inner: &Inner) -> Result<(MultiplexedConnection, Pushes, bool), StoreError> {
    let (mut connection, pushes) = inner.link.connect().await?;
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
        .map_err(|_| StoreError::Unavailable("Redis does not answer".to_owned()))??;
    if let Err(error) = &told {
        let error = display_safe(&error.to_string()).into_owned();
        tracing::warn!(
            error,
            "Redis does not tell what other tools change; reading everything every 5 s instead"
        );
    }
    let told = told.is_ok();
    Ok((connection, pushes, told))
}

/// Realms whose coturn keys changed, until they are looked at.
#[derive(Default)]
struct Dirty {
    /// Options or peers: to be compared with the document.
    options: BTreeSet<Realm>,
    /// Anything: to be known as a realm.
    seen: BTreeSet<Realm>,
    /// Origins that belong to another realm than before, or to none.
    origins: BTreeSet<String>,
    /// Keys of third-party authorization.
    kids: BTreeSet<String>,
    /// Too much to follow.
    everything: bool,
}

async fn serve(
    inner: &Arc<Inner>,
    connection: MultiplexedConnection,
    mut pushes: Pushes,
    told: bool,
) -> StoreError {
    let mut healing = tokio::task::JoinSet::new();
    let healer = Arc::clone(inner);
    healing.spawn(async move { index::heal(&healer, told).await });
    let watcher = Arc::clone(inner);
    healing.spawn(async move { watcher.link.watch_master().await });
    let mut ping = tokio::time::interval(PING_INTERVAL);
    let mut gather = tokio::time::interval(GATHER);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    gather.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Options may have been edited while nobody listened.
    let mut dirty = Dirty {
        options: known_realms(inner).await,
        ..Dirty::default()
    };
    let mut everything_told = Instant::now();
    loop {
        tokio::select! {
            push = pushes.queue.recv() => match push {
                Some(push) if push.kind != PushKind::Disconnection => note(inner, &mut dirty, &push),
                _ => return StoreError::Unavailable("the connection to Redis was lost".to_owned()),
            },
            _ = ping.tick() => if let Err(error) = answers(connection.clone()).await {
                return error;
            },
            () = inner.link.demoted.notified() => {
                return StoreError::Unavailable("Redis has another master now".to_owned());
            }
            () = inner.link.suspicion.notified() => {
                if let Err(error) = answers(connection.clone()).await {
                    return error;
                }
            }
            _ = gather.tick() => {
                let blind = !told && everything_told.elapsed() >= BLIND_INTERVAL;
                dirty.everything |= pushes.lost.swap(false, Ordering::AcqRel) || blind;
                if blind {
                    everything_told = Instant::now();
                }
                look(inner, &mut dirty).await;
            }
        }
    }
}

async fn known_realms(inner: &Inner) -> BTreeSet<Realm> {
    let names = super::users::realm_names(inner).await.unwrap_or_default();
    names.into_iter().collect()
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
        .unwrap_or_else(|_| Err(StoreError::Unavailable("Redis does not answer".to_owned())))?;
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

/// Looks at what was noted.
async fn look(inner: &Inner, dirty: &mut Dirty) {
    if std::mem::take(&mut dirty.everything) {
        inner.tell_here(Change::Everything);
        inner.index.pass.notify_one();
        dirty.options.extend(known_realms(inner).await);
    }
    let origins: Vec<String> = std::mem::take(&mut dirty.origins).into_iter().collect();
    if !origins.is_empty() {
        // Which realm had it before, no key tells.
        dirty.options.extend(known_realms(inner).await);
    }
    let gained = realms::note_origins(inner, &origins).await;
    if let Ok(gained) = &gained {
        dirty.options.extend(gained.iter().cloned());
        dirty.seen.extend(gained.iter().cloned());
    }
    let options: Vec<Realm> = std::mem::take(&mut dirty.options).into_iter().collect();
    let seen: Vec<Realm> = std::mem::take(&mut dirty.seen).into_iter().collect();
    let kids: Vec<String> = std::mem::take(&mut dirty.kids).into_iter().collect();
    if !kids.is_empty() {
        inner.tell_here(Change::OauthKeys);
    }
    let work = async {
        gained?;
        oauth::note(inner, &kids).await?;
        index::note_realms(inner, &seen).await?;
        realms::import_foreign_edits(inner, &options).await?;
        index::settle(inner).await
    };
    if let Err(error) = work.await {
        tracing::debug!(%error, "could not follow changes of other tools");
        dirty.everything = true;
    }
}
