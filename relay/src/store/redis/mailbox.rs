//! Mailboxes: one capped list each, emptied over a connection of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, pipe};
use tokio::task::JoinHandle;

use super::error::map;
use super::link::silent;
use super::options::Address;
use super::shards::{Target, sent_on};
use super::{Inner, schema};
use crate::store::{DEADLINE, MAILBOX_CAPACITY, MAILBOX_TTL, Mailbox, StoreError};

/// Messages taken at once after the first.
const TAKE: usize = 256;

/// How long after its deadline an answer of Redis is still waited for.
const GRACE: Duration = Duration::from_millis(50);

/// The mailboxes that this process receives from.
#[derive(Debug, Default)]
pub(super) struct Receivers(Mutex<HashMap<Mailbox, Arc<tokio::sync::Mutex<Receiver>>>>);

/// A connection of its own, and to which server of a cluster.
type Own = (Address, MultiplexedConnection);

type Taken = (Option<Own>, Result<Vec<Vec<u8>>, StoreError>);

/// One receiver. The call to Redis runs as a task: if whoever waits gives up, what Redis hands out
/// meanwhile is there for the next call.
#[derive(Debug, Default)]
struct Receiver {
    connection: Option<Own>,
    running: Option<JoinHandle<Taken>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = &self.running {
            task.abort();
        }
    }
}

pub(super) async fn post(inner: &Inner, to: &Mailbox, message: Vec<u8>) -> Result<(), StoreError> {
    let key = schema::mailbox(to);
    let capacity = isize::try_from(MAILBOX_CAPACITY).unwrap_or(isize::MAX);
    let mut writes = pipe();
    writes.atomic();
    writes.cmd("RPUSH").arg(&key).arg(message);
    writes.cmd("LTRIM").arg(&key).arg(-capacity).arg(-1);
    writes
        .cmd("PEXPIRE")
        .arg(&key)
        .arg(MAILBOX_TTL.as_millis() as u64);
    inner.link.pipe::<Value>(&writes).await?;
    Ok(())
}

pub(super) async fn receive(
    inner: &Arc<Inner>,
    from: &Mailbox,
    wait: Duration,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let deadline = tokio::time::Instant::now() + wait;
    let receiver = {
        let mut all = inner
            .receivers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(from.clone()).or_default())
    };
    let mut receiver = receiver.lock().await;
    if receiver.running.is_none() {
        let connection = match receiver.connection.take() {
            Some(connection) => connection,
            None => {
                pause_while_away(inner, wait).await;
                connect(inner, &schema::mailbox(from), &Target::Owner).await?
            }
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let key = schema::mailbox(from);
        receiver.running = Some(tokio::spawn(take(Arc::clone(inner), connection, key, left)));
    }
    let Some(task) = receiver.running.as_mut() else {
        return Ok(Vec::new());
    };
    // It may be that of a call before, with a later deadline.
    let Ok(ended) = tokio::time::timeout_at(deadline + GRACE, task).await else {
        return Ok(Vec::new());
    };
    receiver.running = None;
    let (connection, taken) = ended.unwrap_or_else(|_| (None, Ok(Vec::new())));
    receiver.connection = connection;
    taken
}

/// Waits while Redis is known to be away, so that a loop around it does not spin.
async fn pause_while_away(inner: &Inner, wait: Duration) {
    if !inner.link.is_up() {
        tokio::time::sleep(wait.min(DEADLINE / 2)).await;
    }
}

async fn connect(inner: &Inner, key: &str, target: &Target) -> Result<Own, StoreError> {
    let link = inner.link.link_for(key, target).await?;
    Ok((link.address.clone(), link.dedicated().await?))
}

/// Takes what is there, or comes. What goes wrong makes the next call look for the server anew.
async fn take(
    inner: Arc<Inner>,
    (address, mut connection): Own,
    key: String,
    wait: Duration,
) -> Taken {
    let patience = wait + DEADLINE;
    let taking = take_from(&mut connection, &key, wait, false);
    let error = match tokio::time::timeout(patience, taking).await {
        Ok(Ok(messages)) => return (Some((address, connection)), Ok(messages)),
        Ok(Err(error)) => error,
        Err(_) => {
            inner.link.stale.notify_one();
            return (None, Err(silent()));
        }
    };
    inner.link.stale.notify_one();
    let Some(target @ Target::Ask(_)) = sent_on(&error, &address) else {
        return (None, Err(map(error)));
    };
    // An empty mailbox is already with the server that takes its slot over.
    let asking = async {
        let (_, mut next) = connect(&inner, &key, &target).await?;
        let taken = take_from(&mut next, &key, wait, true).await;
        taken.map_err(map)
    };
    let taken = tokio::time::timeout(patience, asking).await;
    (None, taken.unwrap_or_else(|_| Err(silent())))
}

/// `asking`: the key's slot is not the server's yet, so that each command has to be announced.
async fn take_from(
    connection: &mut MultiplexedConnection,
    key: &str,
    wait: Duration,
    asking: bool,
) -> redis::RedisResult<Vec<Vec<u8>>> {
    let announced = || {
        let mut pipe = pipe();
        if asking {
            pipe.cmd("ASKING").ignore();
        }
        pipe
    };
    let mut first = announced();
    let (message,): (Option<Vec<u8>>,) = if wait.is_zero() {
        first.cmd("LPOP").arg(key);
        first.query_async(connection).await?
    } else {
        // Zero would mean "for ever".
        let seconds = wait.as_secs_f64().max(0.01);
        first.cmd("BLPOP").arg(key).arg(seconds);
        let (popped,): (Option<(Value, Vec<u8>)>,) = first.query_async(connection).await?;
        (popped.map(|(_, message)| message),)
    };
    let Some(message) = message else {
        return Ok(Vec::new());
    };
    let mut messages = vec![message];
    loop {
        // One receiver takes: nothing comes between the two commands but what is added at the end.
        let mut rest = announced();
        rest.cmd("LRANGE").arg(key).arg(0).arg(TAKE - 1);
        if asking {
            rest.cmd("ASKING").ignore();
        } else {
            rest.atomic();
        }
        rest.cmd("LTRIM").arg(key).arg(TAKE).arg(-1);
        // What was taken is not lost for what could not be: it is there for the next call.
        let more: redis::RedisResult<(Vec<Vec<u8>>, Value)> = rest.query_async(connection).await;
        let Ok((more, _)) = more else {
            return Ok(messages);
        };
        let last = more.len() < TAKE || messages.len() >= MAILBOX_CAPACITY;
        messages.extend(more);
        if last {
            return Ok(messages);
        }
    }
}
