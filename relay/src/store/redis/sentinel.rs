//! Redis Sentinel: who the master is. Asked before each connection, and every few seconds after.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd};
use shared::display_safe;
use tokio::time::Instant;

use super::error::map;
use super::options::Address;
use crate::store::StoreError;

/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the others are waited for after one has.
const OTHERS: Duration = Duration::from_millis(250);

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    clients: Vec<Client>,
    /// What they call the master.
    name: String,
}

impl Sentinels {
    pub(super) fn new(clients: Vec<Client>, name: String) -> Self {
        Self { clients, name }
    }

    /// Host and port of the master, as most of those say that answer: one that was forgotten when the
    /// servers moved, or cut off from the others, knows the master of another day. Of as many all
    /// nodes choose the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where none knows; the reason of the last one asked.
    pub(super) async fn master(&self) -> Result<Address, StoreError> {
        let asked = self.clients.iter().map(|client| self.ask(client));
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut until = Instant::now() + PATIENCE;
        let mut named: Vec<(Address, usize)> = Vec::new();
        let mut reason = "no answer".to_owned();
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok(Some(master)) => {
                    // The others are not waited for long.
                    until = until.min(Instant::now() + OTHERS);
                    match named.iter_mut().find(|(known, _)| *known == master) {
                        Some((_, votes)) => *votes += 1,
                        None => named.push((master, 1)),
                    }
                }
                Ok(None) => {
                    let name = display_safe(&self.name);
                    reason = format!("it knows no master {name}: set it as host of store.url");
                }
                Err(error) => reason = error.to_string(),
            }
        }
        let most = |(address, votes): &(Address, usize)| (*votes, Reverse(address.clone()));
        let master = named.into_iter().max_by_key(most);
        master.map(|(master, _)| master).ok_or_else(|| {
            StoreError::Unavailable(format!(
                "no sentinel tells the master; the last one: {reason}"
            ))
        })
    }

    /// Host and port of the master, its replicas and the other sentinels, as far as those that answer
    /// know them.
    pub(super) async fn everybody(&self) -> Vec<Address> {
        let asked = self.clients.iter();
        let asked = asked.map(|client| tokio::time::timeout(PATIENCE, self.ask_for_all(client)));
        let told = join_all(asked).await;
        told.into_iter().flatten().flatten().flatten().collect()
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
