//! Finds the servers of the store: who has which slots of a cluster, whom sentinels know, and what
//! operators should know about them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::cmd;
use shared::display_safe;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::link::{Link, silent};
use super::options::{Address, at, host_and_port};
use super::shards::{Servers, Shard, Shards};
use super::topology::{Topology, answer, ask, question};
use super::watch::{pause, reason, supervise};
use crate::store::{DEADLINE, StoreError};

/// How often the servers of a cluster are asked who has which slots, when nothing hints at a change.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often while one of them is away.
const INTERVAL_AWAY: Duration = Duration::from_millis(250);
/// The least time between two such questions.
const GAP: Duration = Duration::from_millis(50);
/// How often it is looked where all servers are, and how they are set.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How long the name of a server may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(2);
/// The most addresses that are taken note of.
const MAX_ADDRESSES: usize = 512;

/// What was found out about the servers.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<Findings>);

#[derive(Debug, Default)]
struct Findings {
    servers: BTreeSet<SocketAddr>,
    warnings: Vec<String>,
}

impl Found {
    fn findings(&self) -> std::sync::MutexGuard<'_, Findings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they are, in order.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        self.findings().servers.iter().copied().collect()
    }

    /// What operators should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.findings().warnings.clone()
    }
}

/// Follows a cluster until the store is dropped.
pub(super) async fn keep(inner: Arc<Inner>, stop: CancellationToken) {
    let mut attempts = 0;
    loop {
        let wait = match look(&inner.link).await {
            Ok(topology) => {
                attempts = 0;
                apply(&inner, &stop, topology);
                match inner.link.is_up() {
                    true => INTERVAL.mul_f64(rand::random_range(0.75..1.25)),
                    false => INTERVAL_AWAY,
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no server of the cluster tells who has which slots");
                give_up(&inner.link, &error);
                attempts += 1;
                pause(attempts)
            }
        };
        let _ = tokio::time::timeout(wait, inner.link.stale.notified()).await;
        tokio::time::sleep(GAP).await;
    }
}

/// Asks the servers that are connected; where one is not, everybody else who is known, too. Of
/// several answers the newest is right: who was cut off does not know that it was replaced.
async fn look(shards: &Shards) -> Result<Topology, StoreError> {
    let servers = shards.now();
    let (up, down): (Vec<_>, Vec<_>) = servers.shards.iter().partition(|shard| shard.link.is_up());
    let question = question();
    let connected = up.iter().map(|shard| async {
        let answers = shard.link.commands(&question);
        let answers = tokio::time::timeout(DEADLINE, answers).await;
        answer(answers.unwrap_or_else(|_| Err(silent()))?, &shard.address)
    });
    let mut others: Vec<&Address> = Vec::new();
    if up.is_empty() || !down.is_empty() {
        let all = servers.topology.servers().chain(&shards.seeds);
        let is_up = |address: &Address| up.iter().any(|shard| shard.address == *address);
        others.extend(all.filter(|address| !is_up(address)));
        others.sort_unstable();
        others.dedup();
    }
    let others = others.into_iter().map(|address| async {
        let client = shards.options.client(at(&shards.info, address.clone()))?;
        ask(&client, address).await
    });
    let (connected, others) = tokio::join!(join_all(connected), join_all(others));
    let mut newest: Option<Topology> = None;
    let mut failure = silent();
    for told in connected.into_iter().chain(others) {
        match told {
            Ok(told)
                if newest
                    .as_ref()
                    .is_none_or(|known| told.is_newer_than(known)) =>
            {
                newest = Some(told);
            }
            Ok(_) => {}
            Err(error) => failure = error,
        }
    }
    newest.ok_or(failure)
}

/// Nobody tells: said to callers only where nothing is known from before.
fn give_up(shards: &Shards, error: &StoreError) {
    let refused = matches!(error, StoreError::Refused(_));
    let trouble = Some((Arc::from(reason(error)), refused));
    shards.servers.send_if_modified(|servers| {
        if !servers.shards.is_empty() {
            return false;
        }
        *servers = Arc::new(Servers {
            trouble,
            ..Servers::default()
        });
        true
    });
}

/// Connects to masters that are new, and leaves those that are none any more.
fn apply(inner: &Arc<Inner>, stop: &CancellationToken, topology: Topology) {
    let shards = &inner.link;
    let before = shards.now();
    if before.topology == topology {
        return;
    }
    let is_late = !before.shards.is_empty() || before.trouble.is_some();
    let mut after = Vec::new();
    for address in topology.masters() {
        let known = before.shards.iter().find(|shard| shard.address == *address);
        if let Some(known) = known {
            after.push(Arc::clone(known));
            continue;
        }
        let link = match Link::to(&shards.options, &shards.info, address.clone()) {
            Ok(link) => Arc::new(link),
            Err(error) => {
                let server = display_safe(&address.0).into_owned();
                tracing::warn!(%error, server, "a server of the cluster cannot be connected to");
                continue;
            }
        };
        let stop = stop.child_token();
        let supervisor = supervise(Arc::clone(inner), Arc::clone(&link), is_late);
        tokio::spawn(stop.clone().run_until_cancelled_owned(supervisor));
        after.push(Arc::new(Shard {
            address: address.clone(),
            link,
            _guard: Some(stop.drop_guard()),
        }));
    }
    tracing::debug!(masters = after.len(), "the slots of the cluster have moved");
    shards.servers.send_replace(Arc::new(Servers {
        topology,
        shards: after,
        trouble: None,
    }));
}

/// Finds out where all servers are and how they are set, until the store is dropped.
pub(super) async fn look_around(inner: Arc<Inner>) {
    let mut may_ask = true;
    loop {
        let warnings = match may_ask {
            true => warnings(&inner).await,
            false => Ok(Vec::new()),
        };
        // Rules of an earlier version do not allow it: asked once, not every five seconds.
        may_ask &= !matches!(warnings, Err(StoreError::Refused(_)));
        let mut names: Vec<Address> = Vec::new();
        let servers = inner.link.now();
        names.extend(servers.topology.servers().cloned());
        names.extend(inner.link.seeds.iter().cloned());
        for link in inner.link.links() {
            let Some(sentinels) = link.sentinels() else {
                continue;
            };
            names.extend(sentinels.everybody().await);
            let options = &inner.link.options;
            names.extend(
                options
                    .sentinels
                    .iter()
                    .filter_map(|text| host_and_port(text)),
            );
        }
        names.sort_unstable();
        names.dedup();
        let mut addresses = BTreeSet::new();
        for (host, port) in names {
            let found = tokio::net::lookup_host((host.as_str(), port));
            if let Ok(Ok(found)) = tokio::time::timeout(LOOKUP, found).await {
                addresses.extend(found);
            }
        }
        {
            let mut findings = inner.found.findings();
            // Whoever was a server of the store is none that clients may reach: it may be one again.
            findings.servers.extend(addresses);
            while findings.servers.len() > MAX_ADDRESSES {
                findings.servers.pop_first();
            }
            if let Ok(warnings) = warnings {
                for warning in &warnings {
                    if !findings.warnings.contains(warning) {
                        tracing::warn!("{warning}");
                    }
                }
                findings.warnings = warnings;
            }
        }
        let wait = match inner.link.is_up() {
            true => LOOK_AROUND,
            false => INTERVAL_AWAY,
        };
        tokio::time::sleep(wait).await;
    }
}

/// What operators should know about how the servers are set, if all of them say.
async fn warnings(inner: &Inner) -> Result<Vec<String>, StoreError> {
    let mut warnings = BTreeSet::new();
    for link in inner.link.links() {
        let info: String = link.query(cmd("INFO").arg("memory")).await?;
        let policy = info
            .lines()
            .find_map(|line| line.strip_prefix("maxmemory_policy:"));
        let policy = policy.map_or("noeviction", str::trim);
        if policy != "noeviction" {
            warnings.insert(format!(
                "maxmemory-policy of Redis is {}: users and sessions may be evicted; set it to \
                 noeviction",
                display_safe(policy)
            ));
        }
    }
    Ok(warnings.into_iter().collect())
}
