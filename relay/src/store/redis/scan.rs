//! All of a large hash, step by step, so that it does not stop its server for the others.
//!
//! A cursor means something to the server that gave it and to no other: each one hashes with a seed of its
//! own. A scan that went on elsewhere, where the slot moved to or another server took over, would pass
//! over some fields and say that these were all. So it stays with one connection from its first step to
//! its last, and begins anew where the key is said to have gone.

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd, pipe};

use super::error::map;
use super::link::{Link, silent};
use super::shards::{REDIRECTIONS, Shards, Target, in_circles, redirection};
use crate::store::{DEADLINE, StoreError};

/// Fields asked for in one step.
const STEP: usize = 512;

/// A field of a hash and its value.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// How a scan ended.
enum Ended {
    /// These are all.
    Whole(Vec<Field>),
    /// Not at all: the key is elsewhere by now.
    SentOn(Target),
}

/// All fields of a hash that it has from the beginning to the end; one that changes meanwhile may be there
/// twice.
///
/// # Errors
/// Those of the servers. Never less than all.
pub(super) async fn hash(shards: &Shards, key: &str) -> Result<Vec<Field>, StoreError> {
    let mut target = Target::Owner;
    for _ in 0..=REDIRECTIONS {
        let link = shards.link_for(key, &target).await?;
        match over(&link, key, matches!(target, Target::Ask(_))).await? {
            Ended::Whole(fields) => return Ok(fields),
            Ended::SentOn(next) => target = next,
        }
        shards.prepare([&target].into_iter()).await;
    }
    Err(in_circles())
}

async fn over(link: &Link, key: &str, asking: bool) -> Result<Ended, StoreError> {
    let connection = link.connection().await?;
    let mut all = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let answer = step(link, connection.clone(), key, &cursor, asking).await?;
        if let Some(next) = redirection(&answer, &link.address) {
            return Ok(Ended::SentOn(next));
        }
        let answer = answer.extract_error().map_err(map)?;
        let (next, fields): (String, Vec<Field>) =
            redis::from_redis_value(answer).map_err(|error| map(error.into()))?;
        all.extend(fields);
        cursor = next;
        if cursor == "0" {
            return Ok(Ended::Whole(all));
        }
    }
}

/// `asking`: the slot is not the server's yet, so that each step has to be announced.
async fn step(
    link: &Link,
    connection: MultiplexedConnection,
    key: &str,
    cursor: &str,
    asking: bool,
) -> Result<Value, StoreError> {
    let mut step = pipe();
    if asking {
        step.add_command(cmd("ASKING"));
    }
    step.cmd("HSCAN")
        .arg(key)
        .arg(cursor)
        .arg("COUNT")
        .arg(STEP);
    let answers = link.commands_over(connection, &step);
    let answers = tokio::time::timeout(DEADLINE, answers).await;
    let mut answers = answers.unwrap_or_else(|_| Err(silent()))?;
    answers.pop().ok_or_else(silent)
}
