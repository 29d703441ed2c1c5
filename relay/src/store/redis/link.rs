//! The one connection for commands, changes and invalidations, and its coming back.
//!
//! A supervisor connects, listens, and looks every second whether Redis still answers. While it
//! does not, calls are refused at once. The loss is said once, and so is the return.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, TlsCertificates,
};
use shared::{Secret, display_safe};
use tokio::sync::{Notify, mpsc, watch};

use super::error::{is_connection_fault, is_demotion, map};
use super::sentinel::{Sentinels, expect_master};
use crate::store::{DEADLINE, StoreError};

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions to the sentinels.
const MASTER_CHECK: Duration = Duration::from_secs(2);
/// Pushes kept for the listener; when more arrive at once it reads everything again.
const PUSHES_KEPT: usize = 4096;

/// Where Redis is, and who we are to it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://host:port/db`, `rediss://` for TLS, `redis+unix:///path`.
    pub url: Secret<String>,
    /// The ACL user, where the URL names none.
    pub username: Option<String>,
    /// Its password, where the URL holds none.
    pub password: Option<Secret<String>>,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Allows what is unsafe: plain text to another host, certificates that prove nothing.
    pub insecure: bool,
    /// Sentinels as `host:port`, which tell where the master is; the host of `url` is then what they
    /// call it. Empty: `url` says where Redis is.
    pub sentinels: Vec<String>,
    /// The user and the password that the sentinels themselves ask for.
    pub sentinel_login: (Option<String>, Option<Secret<String>>),
    /// Whether this node may change users and realms. Only such a node keeps the index of users
    /// and imports what other tools changed.
    pub gateway: bool,
}

impl RedisOptions {
    /// Options for a URL, as gateway, with everything else left out.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            username: None,
            password: None,
            ca_file: None,
            insecure: false,
            sentinels: Vec::new(),
            sentinel_login: (None, None),
            gateway: true,
        }
    }

    /// What `url` and the rest say of a connection that speaks RESP3, or why there cannot be one.
    fn info(&self) -> Result<ConnectionInfo, StoreError> {
        // Another part of the process may have chosen the same provider before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let text = self.url.expose().as_str();
        let text = match (
            self.insecure && text.starts_with("rediss:"),
            text.contains('#'),
        ) {
            (true, false) => format!("{text}#insecure"),
            _ => text.to_owned(),
        };
        let text = Secret::new(text);
        // The parser's own words may quote the URL with its password.
        let info = text
            .expose()
            .as_str()
            .into_connection_info()
            .map_err(|error| {
                unusable(format!(
                    "{}; expected redis://host:port/db",
                    error.category()
                ))
            })?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let (None, Some(username)) = (settings.username(), &self.username) {
            settings = settings.set_username(username);
        }
        if let (None, Some(password)) = (settings.password(), &self.password) {
            settings = settings.set_password(password.expose());
        }
        Ok(info.set_redis_settings(settings))
    }

    /// A client of that server.
    fn client(&self, info: ConnectionInfo) -> Result<Client, StoreError> {
        if let ConnectionAddr::Tcp(host, _) = info.addr() {
            let local = host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback());
            if !local && !self.insecure {
                return Err(unusable(
                    "plain text to another host shows every key on the way: use rediss://, or set \
                     insecure = true"
                        .to_owned(),
                ));
            }
        }
        let client = match &self.ca_file {
            None => Client::open(info),
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
                let roots = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem),
                };
                Client::build_with_tls(info, roots)
            }
        };
        client.map_err(|error| unusable(display_safe(&error.to_string()).into_owned()))
    }

    /// Who tells where the master is, and what is known of it otherwise.
    fn sentinels(&self, info: &ConnectionInfo) -> Result<Sentinels, StoreError> {
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) =
            info.addr()
        else {
            return Err(unusable("sentinels name servers by TCP".to_owned()));
        };
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (username, password) = &self.sentinel_login;
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        let mut clients = Vec::new();
        for sentinel in &self.sentinels {
            let Some((host, port)) = host_and_port(sentinel) else {
                let sentinel = display_safe(sentinel);
                return Err(unusable(format!(
                    "{sentinel}: write sentinels as host:port"
                )));
            };
            let info = at(info, host, port).set_redis_settings(login.clone());
            clients.push(self.client(info)?);
        }
        Ok(Sentinels::new(clients, name.clone()))
    }
}

fn unusable(reason: String) -> StoreError {
    StoreError::Refused(format!("Redis URL: {reason}"))
}

/// Host, without brackets, and port.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The same login at another server.
fn at(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

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

/// The connection as calls see it.
#[derive(Debug)]
pub(super) struct Link {
    options: RedisOptions,
    info: ConnectionInfo,
    sentinels: Option<Sentinels>,
    /// The server that is the master, as far as is known.
    master: Mutex<Option<((String, u16), Client)>>,
    status: watch::Sender<Status>,
    /// A call failed as if the connection were gone: the supervisor looks at once.
    pub(super) suspicion: Notify,
    /// The server is not the one to write to any more.
    pub(super) demoted: Notify,
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
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let info = options.info()?;
        let sentinels = match options.sentinels.is_empty() {
            true => None,
            false => Some(options.sentinels(&info)?),
        };
        let master = match sentinels {
            Some(_) => None,
            None => Some((Default::default(), options.client(info.clone())?)),
        };
        Ok(Self {
            options: options.clone(),
            info,
            sentinels,
            master: Mutex::new(master),
            status: watch::Sender::new(Status::Starting),
            suspicion: Notify::new(),
            demoted: Notify::new(),
        })
    }

    fn master(&self) -> MutexGuard<'_, Option<((String, u16), Client)>> {
        self.master.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (host, port) = address.clone();
        let client = self.options.client(at(&self.info, host, port))?;
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
            role.unwrap_or_else(|_| {
                Err(StoreError::Unavailable("Redis does not answer".to_owned()))
            })?;
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
    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
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

    /// Runs one conversation within `deadline`.
    async fn run<T>(
        &self,
        deadline: Duration,
        conversation: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let attempt = async {
            let mut connection = self.connection().await?;
            conversation(&mut connection).await.map_err(|error| {
                if is_demotion(&error) {
                    self.demoted.notify_one();
                } else if is_connection_fault(&error) {
                    self.suspicion.notify_one();
                }
                map(error)
            })
        };
        tokio::time::timeout(deadline, attempt)
            .await
            .unwrap_or_else(|_| {
                self.suspicion.notify_one();
                Err(StoreError::Unavailable("Redis does not answer".to_owned()))
            })
    }

    /// One command within the usual deadline.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.run(DEADLINE, async |connection| {
            command.query_async(connection).await
        })
        .await
    }

    /// A pipeline within the usual deadline.
    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, StoreError> {
        self.pipe_within(DEADLINE, pipe).await
    }

    /// A pipeline within `deadline`.
    pub(super) async fn pipe_within<T: FromRedisValue>(
        &self,
        deadline: Duration,
        pipe: &Pipeline,
    ) -> Result<T, StoreError> {
        if pipe.is_empty() {
            return redis::from_redis_value(redis::Value::Array(Vec::new()))
                .map_err(|error| map(error.into()));
        }
        self.run(deadline, async |connection| {
            pipe.query_async(connection).await
        })
        .await
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("the process is stopping".to_owned())
}
