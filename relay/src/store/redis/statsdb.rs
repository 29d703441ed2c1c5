//! The connection to a Redis that is only told things.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Pipeline, Value, cmd};
use tokio::time::timeout;

use super::error::map;
use super::link::silent;
use super::options::RedisOptions;
use crate::store::StoreError;
use crate::store::statsdb::StatsWrite;

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long Redis may take for one batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where statistics go; not connected by itself.
#[derive(Clone, Debug)]
pub struct StatsDb {
    client: Client,
}

/// What Redis said to a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Writes that it refused.
    pub refused: u64,
    /// Why it refused the first of them.
    pub reason: Option<String>,
}

/// A connection.
#[derive(Debug)]
pub struct StatsConnection {
    connection: MultiplexedConnection,
}

impl StatsDb {
    /// Where the options say.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where they can never work. Never because Redis is away.
    pub fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let client = options.client(options.info()?)?;
        Ok(Self { client })
    }

    /// Connects.
    ///
    /// # Errors
    /// When it does not answer within a second, or does not want us.
    pub async fn connect(&self) -> Result<StatsConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(2 * CONNECT_TIMEOUT, connection).await;
        let connection = connection.map_err(|_| silent())?.map_err(map)?;
        Ok(StatsConnection { connection })
    }
}

impl StatsConnection {
    /// Tells all of it, in this order, and says what Redis refused of it.
    ///
    /// # Errors
    /// When the connection is gone or Redis silent; how much it took is not known then.
    pub async fn tell(&mut self, writes: &[StatsWrite]) -> Result<Told, StoreError> {
        let mut pipe = Pipeline::with_capacity(writes.len());
        for write in writes {
            pipe.add_command(match write {
                StatsWrite::Set { key, value, ttl } => {
                    let mut set = cmd("SET");
                    set.arg(key).arg(value).arg("EX").arg(ttl.as_secs().max(1));
                    set
                }
                StatsWrite::Delete { key } => {
                    let mut delete = cmd("DEL");
                    delete.arg(key);
                    delete
                }
                StatsWrite::Publish { channel, message } => {
                    let mut publish = cmd("PUBLISH");
                    publish.arg(channel).arg(message);
                    publish
                }
            });
        }
        let answers = self.connection.req_packed_commands(&pipe, 0, writes.len());
        let answers = timeout(BATCH_TIMEOUT, answers).await;
        let answers = answers.map_err(|_| silent())?.map_err(map)?;
        let mut told = Told::default();
        for answer in answers {
            if let Err(error) = Value::extract_error(answer) {
                told.refused += 1;
                told.reason.get_or_insert_with(|| map(error).to_string());
            }
        }
        Ok(told)
    }

    /// Whether Redis still answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&mut self) -> Result<(), StoreError> {
        let ping = cmd("PING");
        let answer = timeout(BATCH_TIMEOUT, self.connection.req_packed_command(&ping)).await;
        let answer = answer.map_err(|_| silent())?.map_err(map)?;
        answer.extract_error().map_err(map)?;
        Ok(())
    }
}
