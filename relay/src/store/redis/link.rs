//! One connection for commands, changes and invalidations, and its coming back.
//!
//! A supervisor connects, listens, and looks every second whether Redis still answers. While it
//! does not, calls are refused at once. The loss is said once, and so is the return.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, Pipeline};
use redis::{PushInfo, RedisError, Value};
use tokio::sync::{Notify, mpsc, watch};

use super::error::{is_connection_fault, is_demotion, map};
use super::options::{Address, RedisOptions, at};
use super::sentinel::{Sentinels, expect_master};
use crate::store::{DEADLINE, StoreError};

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions to the sentinels.
const MASTER_CHECK: Duration = Duration::from_secs(2);
/// Pushes kept for the listener; when more arrive at once it reads everything again.
const PUSHES_KEPT: usize = 4096;

/// What the supervisor last knew.
#[derive(Clone, Debug)]
pub(super) enum Status {
    /// The first attempt is under way: calls wait for it.
    Starting,
    /// Connected.
    Up(MultiplexedConnection),
    /// Away, and why; `refused`: it is there and does not want us.
    Down {
        /// In words.
        reason: Arc<str>,
        /// Whether it answered with a refusal.
        refused: bool,
    },
}

/// The connection to one server as calls see it: the only one, the master that sentinels name, or
/// one master of a cluster.
#[derive(Debug)]
pub(super) struct Link {
    /// Which server of a cluster it leads to; empty: it is none.
    pub(super) address: Address,
    options: RedisOptions,
    info: ConnectionInfo,
    sentinels: Option<Sentinels>,
    /// The server that is the master, as far as is known.
    master: Mutex<Option<(Address, Client)>>,
    status: watch::Sender<Status>,
    /// A call failed as if the connection were gone: the supervisor looks at once.
    pub(super) suspicion: Notify,
    /// The server is not the one to write to any more.
    pub(super) demoted: Notify,
    /// The server tells what other tools change.
    told: AtomicBool,
}

/// What arrives unasked.
#[derive(Debug)]
pub(super) struct Pushes {
    /// In order.
    pub(super) queue: mpsc::Receiver<PushInfo>,
    /// Set when some did not fit.
    pub(super) lost: Arc<AtomicBool>,
}

impl Link {
    /// To the server that the options name, or to the master that their sentinels do.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let info = options.info()?;
        let sentinels = match options.sentinels.is_empty() {
            true => None,
            false => Some(options.sentinels(&info)?),
        };
        let master = match sentinels {
            Some(_) => None,
            None => Some((Address::default(), options.client(info.clone())?)),
        };
        Ok(Self::with(options, info, sentinels, master))
    }

    /// To this server of a cluster.
    pub(super) fn to(
        options: &RedisOptions,
        info: &ConnectionInfo,
        address: Address,
    ) -> Result<Self, StoreError> {
        let info = at(info, address.clone());
        let client = options.client(info.clone())?;
        let link = Self::with(options, info, None, Some((address.clone(), client)));
        Ok(Self { address, ..link })
    }

    fn with(
        options: &RedisOptions,
        info: ConnectionInfo,
        sentinels: Option<Sentinels>,
        master: Option<(Address, Client)>,
    ) -> Self {
        Self {
            address: Address::default(),
            options: options.clone(),
            info,
            sentinels,
            master: Mutex::new(master),
            status: watch::Sender::new(Status::Starting),
            suspicion: Notify::new(),
            demoted: Notify::new(),
            told: AtomicBool::new(true),
        }
    }

    fn master(&self) -> MutexGuard<'_, Option<(Address, Client)>> {
        self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sentinels that tell where it leads.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        self.sentinels.as_ref()
    }

    /// Whether the server tells what other tools change; true until it refused to.
    pub(super) fn told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    pub(super) fn set_told(&self, told: bool) {
        self.told.store(told, Ordering::Release);
    }

    /// The server to write to: where sentinels tell, they are asked.
    async fn find_master(&self) -> Result<Client, StoreError> {
        let Some(sentinels) = &self.sentinels else {
            return self.known_master();
        };
        let address = sentinels.master().await?;
        if let Some((known, client)) = &*self.master()
            && *known == address
        {
            return Ok(client.clone());
        }
        let client = self.options.client(at(&self.info, address.clone()))?;
        *self.master() = Some((address, client.clone()));
        Ok(client)
    }

    fn known_master(&self) -> Result<Client, StoreError> {
        let master = self.master();
        let client = master.as_ref().map(|(_, client)| client.clone());
        client.ok_or_else(|| StoreError::Unavailable("no master of Redis is known yet".to_owned()))
    }

    /// Asks the sentinels now and then whether the master is still the same, for as long as the
    /// connection lasts: one that was cut off does not know that it was replaced.
    pub(super) async fn watch_master(&self) {
        let Some(sentinels) = &self.sentinels else {
            return;
        };
        loop {
            tokio::time::sleep(MASTER_CHECK).await;
            let Ok(address) = sentinels.master().await else {
                continue;
            };
            let is_same = matches!(&*self.master(), Some((known, _)) if *known == address);
            if !is_same {
                self.demoted.notify_one();
            }
        }
    }

    /// Opens a connection of its own, for calls that block.
    pub(super) async fn dedicated(&self) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        self.known_master()?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(map)
    }

    /// Opens the connection for commands and pushes.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, Pushes), StoreError> {
        let (sender, queue) = mpsc::channel(PUSHES_KEPT);
        let lost = Arc::new(AtomicBool::new(false));
        let overflow = Arc::clone(&lost);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                sender
                    .try_send(push)
                    .inspect_err(|_| overflow.store(true, Ordering::Release))
            });
        let client = self.find_master().await?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connection.await.map_err(map)?;
        if self.sentinels.is_some() {
            let role = tokio::time::timeout(DEADLINE, expect_master(&mut connection)).await;
            role.unwrap_or_else(|_| Err(silent()))?;
        }
        Ok((connection, Pushes { queue, lost }))
    }

    pub(super) fn set(&self, status: Status) {
        self.status.send_replace(status);
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.status.borrow(), Status::Up(_))
    }

    /// The connection; waits only while the first attempt is under way.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut status = self.status.subscribe();
        let settled = status
            .wait_for(|status| !matches!(status, Status::Starting))
            .await;
        let Ok(settled) = settled else {
            return Err(stopping());
        };
        match &*settled {
            Status::Up(connection) => Ok(connection.clone()),
            Status::Down {
                reason,
                refused: true,
            } => Err(StoreError::Refused(reason.to_string())),
            Status::Down { reason, .. } => Err(StoreError::Unavailable(reason.to_string())),
            Status::Starting => Err(stopping()),
        }
    }

    /// Runs one command; what the server refuses is a value.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        let mut connection = self.connection().await?;
        let mut waiting = Waiting::at(self);
        let answer = connection.req_packed_command(command).await;
        waiting.is_over = true;
        match answer {
            Ok(value) => Ok(self.noted(value)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Runs a pipeline; what the server refuses is a value, unless it is a transaction.
    pub(super) async fn commands(&self, pipe: &Pipeline) -> Result<Vec<Value>, StoreError> {
        self.commands_over(self.connection().await?, pipe).await
    }

    /// The same over a connection that it had before, be it gone by now.
    pub(super) async fn commands_over(
        &self,
        mut connection: MultiplexedConnection,
        pipe: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let mut waiting = Waiting::at(self);
        // A transaction: MULTI and each command are answered before what EXEC says.
        let (skipped, expected) = match pipe.is_transaction() {
            true => (pipe.len() + 1, 1),
            false => (0, pipe.len()),
        };
        let answer = connection
            .req_packed_commands(pipe, skipped, expected)
            .await;
        waiting.is_over = true;
        match answer {
            Ok(values) => Ok(values.into_iter().map(|value| self.noted(value)).collect()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Takes note of a refusal that says something about the server.
    fn noted(&self, value: Value) -> Value {
        if let Value::ServerError(error) = &value
            && is_demotion(&RedisError::from(error.clone()))
        {
            self.demoted.notify_one();
        }
        value
    }

    fn failed(&self, error: RedisError) -> StoreError {
        if is_demotion(&error) {
            self.demoted.notify_one();
        } else if is_connection_fault(&error) {
            self.suspicion.notify_one();
        }
        map(error)
    }

    /// One command to this server within the usual deadline.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(DEADLINE, self.command(command)).await;
        let value = answer.unwrap_or_else(|_| Err(silent()))?;
        let value = value.extract_error().map_err(map)?;
        redis::from_redis_value(value).map_err(|error| map(error.into()))
    }
}

/// A question that is under way: whoever gives up on it doubts the connection.
struct Waiting<'l> {
    link: &'l Link,
    is_over: bool,
}

impl<'l> Waiting<'l> {
    fn at(link: &'l Link) -> Self {
        Self {
            link,
            is_over: false,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.suspicion.notify_one();
        }
    }
}

pub(super) fn silent() -> StoreError {
    StoreError::Unavailable("Redis does not answer".to_owned())
}

pub(super) fn stopping() -> StoreError {
    StoreError::Unavailable("the process is stopping".to_owned())
}
