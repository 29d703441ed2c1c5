//! Finds the servers of the store: who has which slots of a cluster, whom sentinels know, and what
//! operators should know about them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::cmd;
use shared::display_safe;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::link::{Link, silent};
use super::options::{Address, at, host_and_port};
use super::shards::{Servers, Shard, Shards};
use super::topology::{PATIENCE, Topology, answer, ask, question};
use super::watch::{pause, reason, supervise};
use crate::store::{DEADLINE, StoreError};

/// How often the servers of a cluster are asked who has which slots, when nothing hints at a change.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often while one of them is away.
const INTERVAL_AWAY: Duration = Duration::from_millis(250);
/// The least time from one such question to the next, however many redirections hint at a change.
const GAP: Duration = Duration::from_millis(250);
/// How long those who know less than was known before are not believed.
const OLDER_AFTER: Duration = Duration::from_secs(10);
/// How often it is looked where all servers are, and how they are set. While one is away, twice as long
/// passes each time until it is as long as this.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// The longest time from one such look to the next until anybody has told where servers are.
const LOOK_UNTOLD: Duration = Duration::from_secs(1);
/// How long the name of a server may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(2);
/// Names that are resolved at the same time.
const LOOKUPS: usize = 16;
/// The most addresses that are taken note of, beside those that servers have now.
const MAX_ADDRESSES: usize = 512;
/// Between attempts to ask what a server refused to say.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What was found out about the servers.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<Findings>);

#[derive(Debug, Default)]
struct Findings {
    servers: BTreeSet<SocketAddr>,
    warnings: Vec<String>,
}

impl Findings {
    /// Takes note of where servers are now. Whoever was one is none that clients may reach, since it may
    /// be one again; beyond [`MAX_ADDRESSES`] of those the first are forgotten.
    fn meet(&mut self, now: BTreeSet<SocketAddr>) {
        let mut former: BTreeSet<SocketAddr> = self.servers.difference(&now).copied().collect();
        while former.len() > MAX_ADDRESSES {
            former.pop_first();
        }
        self.servers = now;
        self.servers.append(&mut former);
    }
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
    let mut confirmed = Instant::now();
    loop {
        let began = Instant::now();
        let wait = match look(&inner.link).await {
            Ok(topology) => {
                attempts = 0;
                let is_older = inner.link.now().topology.is_newer_than(&topology);
                if !is_older || confirmed.elapsed() >= OLDER_AFTER {
                    confirmed = Instant::now();
                    apply(&inner, &stop, topology);
                }
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
        let servers = inner.link.now();
        inner
            .link
            .guests
            .forget(|guest| servers.at(guest).is_some());
        let _ = tokio::time::timeout(wait, inner.link.stale.notified()).await;
        // From the beginning of a look: after a slow one the next is due at once.
        tokio::time::sleep_until(began + GAP).await;
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
        answer(
            answers.unwrap_or_else(|_| Err(silent()))?,
            &shard.link.address,
        )
    });
    let mut others: Vec<&Address> = Vec::new();
    if up.is_empty() || !down.is_empty() {
        let all = servers.topology.servers().chain(&shards.seeds);
        let is_up = |address: &Address| up.iter().any(|shard| shard.link.address == *address);
        others.extend(all.filter(|address| !is_up(address)));
        others.sort_unstable();
        others.dedup();
    }
    let others = others.into_iter().map(|address| async {
        let client = shards.options.client(at(&shards.info, address.clone()))?;
        // Those who are connected are not to wait for one that stands still.
        let patience = if up.is_empty() { PATIENCE } else { DEADLINE };
        let told = tokio::time::timeout(patience, ask(&client, address)).await;
        told.unwrap_or_else(|_| Err(silent()))
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

/// Connects to masters that are new, and leaves those that are none any more. One that cannot be linked
/// is tried again at the next look.
fn apply(inner: &Arc<Inner>, stop: &CancellationToken, topology: Topology) {
    let shards = &inner.link;
    let before = shards.now();
    let is_known = before.topology == topology;
    if is_known && before.has_all() {
        return;
    }
    let is_late = !before.shards.is_empty() || before.trouble.is_some();
    let mut after = Vec::new();
    let mut trouble = None;
    for address in topology.masters() {
        let known = before.at(address).cloned();
        if let Some(known) = known.or_else(|| shards.guests.find(address)) {
            after.push(known);
            continue;
        }
        match begin(inner, stop, address.clone(), is_late) {
            Ok(shard) => after.push(Arc::new(shard)),
            Err(error) => {
                if !is_known {
                    let server = display_safe(&address.0).into_owned();
                    tracing::warn!(%error, server, "a server of the cluster cannot be connected to");
                }
                trouble = Some((Arc::from(reason(&error)), true));
            }
        }
    }
    if is_known && after.len() == before.shards.len() {
        return;
    }
    tracing::debug!(masters = after.len(), "the slots of the cluster have moved");
    shards.servers.send_replace(Arc::new(Servers {
        topology,
        trouble: trouble.filter(|_| after.is_empty()),
        shards: after,
    }));
}

/// Begins to connect to a server of a cluster. `late`: the store worked before it.
///
/// # Errors
/// [`StoreError::Refused`] where the options do not allow it, or their CA file is unreadable.
pub(super) fn begin(
    inner: &Arc<Inner>,
    stop: &CancellationToken,
    address: Address,
    late: bool,
) -> Result<Shard, StoreError> {
    let shards = &inner.link;
    let link = Arc::new(Link::to(&shards.options, &shards.info, address)?);
    let stop = stop.child_token();
    let supervisor = supervise(Arc::clone(inner), Arc::clone(&link), late);
    tokio::spawn(stop.clone().run_until_cancelled_owned(supervisor));
    Ok(Shard {
        link,
        _guard: Some(stop.drop_guard()),
    })
}

/// Finds out where all servers are and how they are set, until the store is dropped.
pub(super) async fn look_around(inner: Arc<Inner>) {
    let mut refused: Option<Instant> = None;
    let mut looks = 0;
    loop {
        // Rules of an earlier version do not allow it: asked now and then, not every five seconds.
        let warnings = match refused.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            true => Some(warnings(&inner).await),
            false => None,
        };
        match &warnings {
            Some(Err(StoreError::Refused(_))) => refused = Some(Instant::now()),
            Some(_) => refused = None,
            None => {}
        }
        let (names, is_told) = names(&inner).await;
        let addresses = resolve(&names).await;
        {
            let mut findings = inner.found.findings();
            findings.meet(addresses);
            if let Some(Ok(warnings)) = warnings {
                for warning in &warnings {
                    if !findings.warnings.contains(warning) {
                        tracing::warn!("{warning}");
                    }
                }
                findings.warnings = warnings;
            }
        }
        if inner.link.is_up() {
            looks = 0;
            tokio::time::sleep(LOOK_AROUND).await;
            continue;
        }
        // Sentinels and name servers are not to be asked all the time by everybody who lost the master. That
        // it is back is seen here.
        let until = Instant::now() + away(looks, is_told);
        looks += 1;
        while Instant::now() < until && !inner.link.is_up() {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(INTERVAL_AWAY.min(left)).await;
        }
    }
}

/// How long to wait after so many looks in vain. `is_told`: somebody told where servers are.
fn away(looks: u32, is_told: bool) -> Duration {
    let longest = match is_told {
        true => LOOK_AROUND,
        false => LOOK_UNTOLD,
    };
    let wait = INTERVAL_AWAY.saturating_mul(1 << looks.min(10));
    wait.min(longest).mul_f64(rand::random_range(0.75..1.0))
}

/// All servers that are known: those that options name, those of the cluster, those that others named,
/// those of sentinels; and whether any of those told.
async fn names(inner: &Inner) -> (Vec<Address>, bool) {
    let mut names: Vec<Address> = Vec::new();
    let mut is_told = true;
    let servers = inner.link.now();
    names.extend(servers.topology.servers().cloned());
    names.extend(inner.link.seeds.iter().cloned());
    names.extend(inner.link.guests.addresses());
    for link in inner.link.links() {
        let Some(sentinels) = link.sentinels() else {
            continue;
        };
        let everybody = sentinels.everybody().await;
        is_told = !everybody.is_empty();
        names.extend(everybody);
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
    (names, is_told)
}

async fn resolve(names: &[Address]) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for some in names.chunks(LOOKUPS) {
        let lookups = some.iter().map(|(host, port)| {
            let found = tokio::net::lookup_host((host.as_str(), *port));
            tokio::time::timeout(LOOKUP, found)
        });
        let found = join_all(lookups).await;
        addresses.extend(found.into_iter().flatten().flatten().flatten());
    }
    addresses
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_vain_are_ever_rarer_and_no_two_nodes_keep_step() {
        for (looks, most) in [(0, 250), (1, 500), (3, 2000), (5, 5000), (u32::MAX, 5000)] {
            let wait = away(looks, true).as_millis();
            assert!((most * 3 / 4..=most).contains(&wait), "{looks}: {wait} ms");
        }
        assert!(away(9, false) <= LOOK_UNTOLD);
        let waits: BTreeSet<_> = (0..32).map(|_| away(9, true)).collect();
        assert!(waits.len() > 16, "{waits:?}");
    }

    #[test]
    fn servers_of_now_are_kept_whatever_was_before() {
        let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let mut findings = Findings::default();
        findings.meet([at(1)].into());
        for port in 2..3000 {
            findings.meet([at(1), at(port)].into());
        }
        assert!(findings.servers.contains(&at(1)), "it never left");
        assert!(findings.servers.contains(&at(2999)));
        assert!(findings.servers.contains(&at(2998)), "it was one just now");
        assert_eq!(findings.servers.len(), MAX_ADDRESSES + 2);
    }
}
