//! Redis Sentinel: the store follows the master, whatever becomes of it.

use std::time::Duration;

use kit::sentinel::{MASTER, Sentinels};
use kit::wait::wait_for_async;
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Store, StoreError};

use crate::world::{key, realm};

/// A second until the sentinels find out, a few until they agree, and ours to follow.
const FAILOVER: Duration = Duration::from_secs(120);

fn store(sentinels: &Sentinels, name: &str) -> RedisStore {
    let options = RedisOptions {
        sentinels: sentinels.list(),
        ..RedisOptions::new(format!("redis://{name}/"))
    };
    RedisStore::connect(&options).unwrap()
}

/// Writes a user until the server that is the master now has it: what one takes that is being
/// replaced is lost with it, as Redis says.
async fn writes(store: &RedisStore, sentinels: &Sentinels, name: &str) {
    let north = realm("north.gov");
    let written = format!("turn/realm/north.gov/user/{name}/key");
    wait_for_async("a write that works", FAILOVER, || async {
        store.put_user(&north, name, &key(1)).await.ok()?;
        let master = &sentinels.servers[sentinels.master()];
        (master.cli(&["EXISTS", &written]) == "1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_follows_the_master() {
    let mut sentinels = Sentinels::start();
    let store = store(&sentinels, MASTER);
    writes(&store, &sentinels, "before").await;
    let first = sentinels.master();
    sentinels.servers[first].kill();
    wait_for_async("another master", FAILOVER, || async {
        (sentinels.master() != first).then_some(())
    })
    .await;
    writes(&store, &sentinels, "after-a-kill").await;
    sentinels.servers[first].restart();
    // It comes back as a replica, and may be the master again.
    wait_for_async("the old master to follow", FAILOVER, || async {
        let told = sentinels.servers[first].cli(&["INFO", "replication"]);
        told.contains("master_link_status:up").then_some(())
    })
    .await;
    sentinels.fail_over();
    writes(&store, &sentinels, "after-an-order").await;
    let changes = store.changes();
    writes(&store, &sentinels, "told").await;
    assert!(!changes.is_empty(), "changes are told after a failover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_cut_off_is_left_when_another_takes_over() {
    let sentinels = Sentinels::start();
    let store = store(&sentinels, MASTER);
    writes(&store, &sentinels, "before").await;
    let first = sentinels.master();
    sentinels.servers[first].pause();
    wait_for_async("another master", FAILOVER, || async {
        (sentinels.master() != first).then_some(())
    })
    .await;
    sentinels.servers[first].resume();
    writes(&store, &sentinels, "after-a-pause").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_the_place_of_the_master_is_no_store() {
    let sentinels = Sentinels::start();
    let replica = &sentinels.servers[1 - sentinels.master()];
    let direct = RedisStore::connect(&RedisOptions::new(replica.url())).unwrap();
    let (north, keys) = (realm("north.gov"), key(1));
    let refused = direct.put_user(&north, "nobody", &keys).await;
    assert!(
        matches!(&refused, Err(StoreError::NotNow(reason)) if reason.contains("ReadOnly")),
        "{refused:?}"
    );
    let unknown = store(&sentinels, "nobodys-master");
    let refused = unknown.ping().await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(reason))
            if reason.contains("nobodys-master") && reason.contains("store.url")),
        "{refused:?}"
    );
}
