//! Mailboxes: one capped list each, emptied over a connection of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd, pipe};
use tokio::task::JoinHandle;

use super::error::map;
use super::{Inner, schema};
use crate::store::{DEADLINE, MAILBOX_CAPACITY, MAILBOX_TTL, Mailbox, StoreError};

/// Messages taken at once after the first.
const TAKE: usize = 256;

/// How long after its deadline an answer of Redis is still waited for.
const GRACE: Duration = Duration::from_millis(50);

/// The mailboxes that this process receives from.
#[derive(Debug, Default)]
pub(super) struct Receivers(Mutex<HashMap<Mailbox, Arc<tokio::sync::Mutex<Receiver>>>>);

type Taken = (
    Option<MultiplexedConnection>,
    Result<Vec<Vec<u8>>, StoreError>,
);

/// One receiver. The call to Redis runs as a task: if whoever waits gives up, what Redis hands out
/// meanwhile is there for the next call.
#[derive(Debug, Default)]
struct Receiver {
    connection: Option<MultiplexedConnection>,
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
    inner: &Inner,
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
            None => connect(inner, wait).await?,
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        receiver.running = Some(tokio::spawn(take(connection, schema::mailbox(from), left)));
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

/// Connects; while Redis is known to be away it waits first, so that a loop around it does not spin.
async fn connect(inner: &Inner, wait: Duration) -> Result<MultiplexedConnection, StoreError> {
    if !inner.link.is_up() {
        tokio::time::sleep(wait.min(DEADLINE / 2)).await;
    }
    inner.link.dedicated().await
}

async fn take(mut connection: MultiplexedConnection, key: String, wait: Duration) -> Taken {
    let work = async {
        let first: Option<(Value, Vec<u8>)> = if wait.is_zero() {
            let message: Option<Vec<u8>> =
                cmd("LPOP").arg(&key).query_async(&mut connection).await?;
            message.map(|message| (Value::Nil, message))
        } else {
            // Zero would mean "for ever".
            let seconds = wait.as_secs_f64().max(0.01);
            cmd("BLPOP")
                .arg(&key)
                .arg(seconds)
                .query_async(&mut connection)
                .await?
        };
        let Some((_, first)) = first else {
            return Ok(Vec::new());
        };
        let mut messages = vec![first];
        loop {
            let mut rest = pipe();
            rest.atomic();
            rest.cmd("LRANGE").arg(&key).arg(0).arg(TAKE - 1);
            rest.cmd("LTRIM").arg(&key).arg(TAKE).arg(-1);
            let (more, _): (Vec<Vec<u8>>, Value) = rest.query_async(&mut connection).await?;
            let last = more.len() < TAKE || messages.len() >= MAILBOX_CAPACITY;
            messages.extend(more);
            if last {
                return Ok(messages);
            }
        }
    };
    match tokio::time::timeout(wait + DEADLINE, work).await {
        Ok(Ok(messages)) => (Some(connection), Ok(messages)),
        Ok(Err(error)) => (None, Err(map(error))),
        Err(_) => (
            None,
            Err(StoreError::Unavailable("Redis does not answer".to_owned())),
        ),
    }
}
