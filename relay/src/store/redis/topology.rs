//! Who has which slots of a Redis Cluster, as its servers tell.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Client, Pipeline, Value, pipe};

use super::error::map;
use super::options::Address;
use super::slots::SLOTS;
use crate::store::StoreError;

/// How long a server may take to be connected to, and to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The most servers that are taken note of.
const MAX_SERVERS: usize = 256;

/// Who has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    /// First slot, last slot, and the index of their master: sorted.
    ranges: Vec<(u16, u16, usize)>,
    masters: Vec<Address>,
    replicas: Vec<Address>,
    /// Counts the changes that the servers agreed on: the greater, the newer.
    epoch: u64,
}

impl Topology {
    /// The master of a slot; `None`: nobody has it.
    pub(super) fn master_of(&self, slot: u16) -> Option<&Address> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, index) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then(|| self.masters.get(*index))?
    }

    pub(super) fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// Masters and replicas.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Address> {
        self.masters.iter().chain(&self.replicas)
    }

    /// Whether this says more recent things than `other`.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.epoch > other.epoch
    }

    /// Reads what `asked` said: a list of `[first, last, master, replica, ...]`, each server being
    /// `[host, port, id, ...]`; a host that is null or empty is the one that was asked.
    fn parse(slots: &Value, epoch: u64, asked: &Address) -> Option<Self> {
        let Value::Array(entries) = slots else {
            return None;
        };
        let mut topology = Self {
            epoch,
            ..Self::default()
        };
        for entry in entries {
            let Value::Array(parts) = entry else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), servers @ ..] = parts.as_slice() else {
                return None;
            };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            if first > last || last >= SLOTS {
                return None;
            }
            let mut servers = servers.iter().map(|server| address(server, asked));
            let Some(master) = servers.next().flatten() else {
                continue;
            };
            let known = topology.masters.iter().position(|known| *known == master);
            let index = known.unwrap_or(topology.masters.len());
            if known.is_none() {
                topology.masters.push(master);
            }
            topology.ranges.push((first, last, index));
            for replica in servers.flatten() {
                if !topology.replicas.contains(&replica) {
                    topology.replicas.push(replica);
                }
            }
        }
        topology.ranges.sort_unstable();
        let servers = topology.masters.len() + topology.replicas.len();
        (servers > 0 && servers <= MAX_SERVERS).then_some(topology)
    }
}

fn address(server: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = server else {
        return None;
    };
    let [host, Value::Int(port), ..] = parts.as_slice() else {
        return None;
    };
    let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
    let host = match host.as_deref() {
        None | Some("") => asked.0.clone(),
        // It is to announce a name and knows none.
        Some("?") => return None,
        Some(host) => host.to_owned(),
    };
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    Some((host, port))
}

/// What to ask: how recent its view is, and the view.
pub(super) fn question() -> Pipeline {
    let mut question = pipe();
    question.cmd("CLUSTER").arg("INFO");
    question.cmd("CLUSTER").arg("SLOTS");
    question
}

/// Reads the answers to [`question`].
///
/// # Errors
/// What the server refused; [`StoreError::Refused`] where it is no server of a cluster.
pub(super) fn answer(values: Vec<Value>, asked: &Address) -> Result<Topology, StoreError> {
    let mut values = values
        .into_iter()
        .map(|value| value.extract_error().map_err(map));
    let (Some(info), Some(slots)) = (values.next(), values.next()) else {
        return Err(unreadable());
    };
    let (info, slots) = (info?, slots?);
    let info: String = redis::from_redis_value(info).map_err(|error| map(error.into()))?;
    let epoch = info
        .lines()
        .find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    let epoch = epoch.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Topology::parse(&slots, epoch, asked).ok_or_else(unreadable)
}

fn unreadable() -> StoreError {
    StoreError::NotNow("a server of the cluster tells of no slots: it is not set up yet".to_owned())
}

/// Connects to a server and asks it.
pub(super) async fn ask(client: &Client, asked: &Address) -> Result<Topology, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await.map_err(map)?;
    let question = question();
    let values = connection.req_packed_commands(&question, 0, question.len());
    answer(values.await.map_err(map)?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: i64) -> Value {
        Value::Array(vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
            Value::Map(Vec::new()),
        ])
    }

    fn range(first: i64, last: i64, servers: Vec<Value>) -> Value {
        let mut parts = vec![Value::Int(first), Value::Int(last)];
        parts.extend(servers);
        Value::Array(parts)
    }

    #[test]
    fn slots_lead_to_their_masters() {
        let slots = Value::Array(vec![
            range(8192, 16383, vec![server("b", 2)]),
            range(0, 99, vec![server("", 1), server("c", 3)]),
            range(101, 8191, vec![server("a", 1), server("?", 4)]),
        ]);
        let asked = ("a".to_owned(), 9);
        let topology = Topology::parse(&slots, 7, &asked).unwrap();
        let master = |slot| {
            topology
                .master_of(slot)
                .map(|(host, port)| (host.as_str(), *port))
        };
        for slot in [0, 99, 101, 8191] {
            assert_eq!(master(slot), Some(("a", 1)), "{slot}");
        }
        assert_eq!(
            (master(8192), master(16383)),
            (Some(("b", 2)), Some(("b", 2)))
        );
        assert_eq!(master(100), None);
        let all: Vec<_> = topology.servers().map(|(host, _)| host.as_str()).collect();
        assert_eq!(all, ["b", "a", "c"]);
        assert!(topology.is_newer_than(&Topology::default()));
    }

    #[test]
    fn nonsense_is_no_topology() {
        let asked = ("a".to_owned(), 9);
        for slots in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![range(5, 4, vec![server("a", 1)])]),
            Value::Array(vec![range(0, 16384, vec![server("a", 1)])]),
            Value::Array(vec![range(0, 1, vec![server("a", 70_000)])]),
        ] {
            assert_eq!(Topology::parse(&slots, 0, &asked), None, "{slots:?}");
        }
    }
}
