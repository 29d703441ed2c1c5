//! The store that a node works with, and what it finds there of earlier starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shared::NodeId;

use crate::config::{Config, RedisConfig, StoreConfig};
use crate::control::restore::{self, Earlier};
use crate::store::Store;
use crate::store::redis::{RedisOptions, RedisStore, StatsDb};
use crate::store::sqlite::SqliteStore;

/// How long the start waits for the name of the store to be resolved.
const STORE_LOOKUP: Duration = Duration::from_secs(2);
/// Addresses of one name that are taken for the store's.
const MAX_STORE_ADDRESSES: usize = 64;

/// Opens the store; `beside`: another process of this node has it open, too.
pub(super) fn open_store(config: &Config, beside: bool) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match &config.store {
        StoreConfig::Sqlite { turndb, db } if beside => {
            Arc::new(SqliteStore::open_beside(turndb, db)?)
        }
        StoreConfig::Sqlite { turndb, db } => Arc::new(SqliteStore::open(turndb, db)?),
        StoreConfig::Redis(redis) => Arc::new(RedisStore::connect(&redis_options(
            redis,
            config.is_gateway(),
        ))?),
    })
}

/// Who is told of sessions; nothing is connected yet.
pub(super) fn open_statsdb(config: &Config) -> anyhow::Result<Option<StatsDb>> {
    let Some(redis) = &config.statsdb else {
        return Ok(None);
    };
    let options = redis_options(redis, false);
    StatsDb::new(&options).context("statsdb.url").map(Some)
}

fn redis_options(redis: &RedisConfig, gateway: bool) -> RedisOptions {
    RedisOptions {
        url: redis.url.clone(),
        username: redis.username.clone(),
        password: redis.password.clone(),
        ca_file: redis.ca_file.clone(),
        // Plain text to another host was written out in the configuration, which checked it;
        // certificates are verified in any case.
        insecure: !redis.tls,
        sentinels: redis
            .sentinels
            .as_ref()
            .map(|sentinels| sentinels.servers.clone())
            .unwrap_or_default(),
        sentinel_login: redis
            .sentinels
            .as_ref()
            .map(|sentinels| (sentinels.username.clone(), sentinels.password.clone()))
            .unwrap_or_default(),
        cluster: redis.cluster.clone(),
        gateway,
    }
}

/// Every address that the store's name stands for. A name that nobody can resolve does not keep the
/// node from starting.
pub(super) async fn store_addresses(redis: &RedisConfig) -> Vec<SocketAddr> {
    let named = match &redis.sentinels {
        Some(sentinels) => &sentinels.servers,
        None => &redis.cluster,
    };
    if !named.is_empty() {
        // Whoever else is one of them is found when one of these answers.
        let in_url = redis.sentinels.is_none().then_some(&redis.endpoint);
        let mut addresses = Vec::new();
        for server in in_url.into_iter().chain(named).take(MAX_STORE_ADDRESSES) {
            let lookup = tokio::time::timeout(STORE_LOOKUP, tokio::net::lookup_host(server));
            if let Ok(Ok(found)) = lookup.await {
                addresses.extend(found.take(MAX_STORE_ADDRESSES));
            }
        }
        return addresses;
    }
    let lookup = tokio::net::lookup_host((redis.host.as_str(), redis.port));
    let found = tokio::time::timeout(STORE_LOOKUP, lookup).await;
    match found.map_err(std::io::Error::from).flatten() {
        Ok(addresses) => addresses.take(MAX_STORE_ADDRESSES).collect(),
        Err(error) => {
            tracing::warn!(
                host = %shared::display_safe(&redis.host), %error,
                "The store's address is not known: until the next start no rule of its own keeps \
                 clients from it as a peer."
            );
            Vec::new()
        }
    }
}

/// What earlier starts left behind.
pub(super) async fn earlier(config: &Config, store: &dyn Store, id: &NodeId) -> Earlier {
    if !config.is_relay() {
        return Earlier::default();
    }
    let mut earlier = restore::read(store, id, config.restore_wait).await;
    // Whoever says so on the command line knows that the node is dead.
    for other in config.adopt.iter().filter(|_| config.adopts_at_start) {
        if other != id {
            earlier.adopt(store, other).await;
        }
    }
    earlier
}

/// The upper half of this start's session ids: that of no session that comes back.
pub(super) fn session_base(
    earlier: &Earlier,
    is_known: impl Fn(u32) -> bool,
) -> anyhow::Result<u32> {
    loop {
        let mut random = [0; 4];
        getrandom::fill(&mut random).context("the operating system has no randomness")?;
        let base = u32::from_be_bytes(random);
        if !earlier.has_base(base) && !is_known(base) {
            return Ok(base);
        }
    }
}
