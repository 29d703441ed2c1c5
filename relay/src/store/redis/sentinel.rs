//! Redis Sentinel: who the master is. Asked before each connection, and every few seconds after.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd};
use shared::display_safe;
use tokio::time::Instant;

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
}

impl Sentinels {
    pub(super) fn new(clients: Vec<Client>, name: String) -> Self {
        Self { clients, name }
    }

    /// Host and port of the master, as most of those say that answer within [`PATIENCE`]: one that was
    /// forgotten when the servers moved, or cut off from the others, knows the master of another day, and
    /// may be the nearest. Nobody is waited for when more than half of all have said the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where none knows; the reason of the last one asked.
    pub(super) async fn master(&self) -> Result<Address, StoreError> {
        let asked = self.clients.iter().map(|client| self.ask(client));
        let answers = asked.collect::<FuturesUnordered<_>>();
        let told = vote(answers, self.clients.len(), PATIENCE).await;
        told.map_err(|error| {
            let reason = match error {
                None => "no answer".to_owned(),
                Some(Silence::Unknown) => {
                    let name = display_safe(&self.name);
                    format!("it knows no master {name}: set it as host of store.url")
                }
                Some(Silence::Failed(error)) => error.to_string(),
            };
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

/// Why one of them named no master.
#[derive(Debug)]
enum Silence {
    /// It watches over none of that name.
    Unknown,
    /// It could not be asked.
    Failed(StoreError),
}

/// What more than half of all `voters` say, as soon as they have; else what most of those say that answered
/// in time: of as many all nodes choose the same. Where none did, why the last one did not.
async fn vote(
    mut answers: impl Stream<Item = Result<Option<Address>, StoreError>> + Unpin,
    voters: usize,
    patience: Duration,
) -> Result<Address, Option<Silence>> {
    let until = Instant::now() + patience;
    let mut named: Vec<(Address, usize)> = Vec::new();
    let mut silence = None;
    while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
        let master = match answer {
            Ok(Some(master)) => master,
            Ok(None) => {
                silence = Some(Silence::Unknown);
                continue;
            }
            Err(error) => {
                silence = Some(Silence::Failed(error));
                continue;
            }
        };
        let votes = match named.iter_mut().find(|(known, _)| *known == master) {
            Some((_, votes)) => {
                *votes += 1;
                *votes
            }
            None => {
                named.push((master.clone(), 1));
                1
            }
        };
        if votes > voters / 2 {
            return Ok(master);
        }
    }
    let most = |(address, votes): &(Address, usize)| (*votes, Reverse(address.clone()));
    let master = named.into_iter().max_by_key(most);
    master.map(|(master, _)| master).ok_or(silence)
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

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use futures_util::stream;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    type Answer = Result<Option<Address>, StoreError>;

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(3600);

    fn says(host: &str) -> Answer {
        Ok(Some((host.to_owned(), 6379)))
    }

    fn answers() -> (UnboundedSender<Answer>, impl Stream<Item = Answer> + Unpin) {
        let (sender, mut receiver) = unbounded_channel();
        (
            sender,
            stream::poll_fn(move |context| receiver.poll_recv(context)),
        )
    }

    #[tokio::test]
    async fn the_others_are_waited_for_until_more_than_half_say_the_same() {
        let (sender, answers) = answers();
        let mut told = std::pin::pin!(vote(answers, 5, LONG));
        for answer in [says("old"), Ok(None), says("new"), says("new")] {
            sender.send(answer).unwrap();
            assert!(poll!(&mut told).is_pending(), "two of five are no majority");
        }
        // Nobody waits for the fifth: it is not asked any more.
        sender.send(says("new")).unwrap();
        assert_eq!(told.await.unwrap().0, "new");
    }

    #[tokio::test]
    async fn where_they_are_few_most_of_those_that_answered_in_time_are_right() {
        let (sender, some) = answers();
        for host in ["a", "c", "b", "c", "b"] {
            sender.send(says(host)).unwrap();
        }
        let told = vote(some, 9, Duration::from_millis(50)).await;
        assert_eq!(told.unwrap().0, "b", "of as many the first by name");
        // Nobody is left to be waited for.
        let (sender, some) = answers();
        let away = || StoreError::Unavailable("away".to_owned());
        sender.send(Err(away())).unwrap();
        sender.send(says("a")).unwrap();
        drop(sender);
        assert_eq!(vote(some, 3, LONG).await.unwrap().0, "a");
        let (sender, some) = answers();
        sender.send(Err(away())).unwrap();
        sender.send(Ok(None)).unwrap();
        drop(sender);
        let told = vote(some, 3, LONG).await;
        assert!(matches!(told, Err(Some(Silence::Unknown))), "{told:?}");
    }
}
