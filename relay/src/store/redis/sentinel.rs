//! Redis Sentinel: who the master is. Asked before each connection, and every few seconds after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd};
use shared::display_safe;

use super::error::map;
use super::options::Address;
use crate::store::StoreError;

/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    clients: Vec<Client>,
    /// What they call the master.
    name: String,
    /// The one that answered last.
    last: AtomicUsize,
}

impl Sentinels {
    pub(super) fn new(clients: Vec<Client>, name: String) -> Self {
        Self {
            clients,
            name,
            last: AtomicUsize::new(0),
        }
    }

    /// Host and port of the master, from the first that knows, beginning with the one that answered
    /// last.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where none knows; the reason of the last one asked.
    pub(super) async fn master(&self) -> Result<Address, StoreError> {
        let count = self.clients.len();
        let first = self.last.load(Ordering::Relaxed);
        let mut reason = "none is named".to_owned();
        for index in (0..count).map(|step| (first + step) % count) {
            let Some(client) = self.clients.get(index) else {
                continue;
            };
            match tokio::time::timeout(PATIENCE, self.ask(client)).await {
                Ok(Ok(Some(master))) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok(master);
                }
                Ok(Ok(None)) => {
                    let name = display_safe(&self.name);
                    reason = format!("it knows no master {name}: set it as host of store.url");
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = "no answer".to_owned(),
            }
        }
        Err(StoreError::Unavailable(format!(
            "no sentinel tells the master; the last one: {reason}"
        )))
    }

    /// Host and port of the master, its replicas and the other sentinels, as far as one that answers
    /// knows them.
    pub(super) async fn everybody(&self) -> Vec<Address> {
        for client in &self.clients {
            let told = tokio::time::timeout(PATIENCE, self.ask_for_all(client)).await;
            if let Ok(Ok(told)) = told {
                return told;
            }
        }
        Vec::new()
    }

    async fn ask_for_all(&self, client: &Client) -> Result<Vec<Address>, StoreError> {
        let mut connection = connect(client).await?;
        let mut everybody = Vec::new();
        for kind in ["MASTER", "REPLICAS", "SENTINELS"] {
            let mut question = cmd("SENTINEL");
            question.arg(kind).arg(&self.name);
            let told: Value = question.query_async(&mut connection).await.map_err(map)?;
            let servers = match (kind, told) {
                ("MASTER", server) => vec![server],
                (_, Value::Array(servers)) => servers,
                _ => Vec::new(),
            };
            let addresses = servers.into_iter().filter_map(|server| {
                let mut fields: HashMap<String, String> = redis::from_redis_value(server).ok()?;
                let port = fields.get("port")?.parse().ok()?;
                Some((fields.remove("ip")?, port))
            });
            everybody.extend(addresses);
        }
        Ok(everybody)
    }

    async fn ask(&self, client: &Client) -> Result<Option<Address>, StoreError> {
        let mut connection = connect(client).await?;
        cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.name)
            .query_async(&mut connection)
            .await
            .map_err(map)
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.map_err(map)
}

/// Refuses a connection to a server that is no master: what sentinels say may be of yesterday.
pub(super) async fn expect_master(
    connection: &mut MultiplexedConnection,
) -> Result<(), StoreError> {
    let role: Value = cmd("ROLE").query_async(connection).await.map_err(map)?;
    let name = match &role {
        Value::Array(parts) => parts.first(),
        _ => None,
    };
    let name: Option<String> = name.and_then(|name| redis::from_redis_value(name.clone()).ok());
    match name.as_deref() {
        Some("master") => Ok(()),
        other => Err(StoreError::Unavailable(format!(
            "the sentinels name a server whose role is {}",
            display_safe(other.unwrap_or("unknown"))
        ))),
    }
}
