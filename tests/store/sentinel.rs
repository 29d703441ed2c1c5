//! Redis Sentinel: the store follows the master, whatever becomes of it.

use std::time::{Duration, Instant};

use kit::redis::{PASSWORD, RedisServer};
use kit::sentinel::{MASTER, Sentinels};
use kit::wait::wait_for_async;
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Store, StoreError};
use shared::Secret;

use crate::cluster::{node, now_ms, session};
use crate::world::{acl, key, realm};

/// A second until the sentinels find out, a few until they agree, and ours to follow.
const FAILOVER: Duration = Duration::from_secs(120);
/// How much later those far away answer: long after the nearest, and within the second that each of them has.
const FAR: Duration = Duration::from_millis(400);

#[expect(clippy::print_stdout, reason = "a run tells what it saw")]
fn report(text: &str) {
    println!("{text}");
}

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

/// The rules that ship are enough for both roles to find the master and to follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_roles_follow_the_master_under_the_rules_that_ship() {
    let rules = format!("{}\n{}", acl("gateway", ""), acl("relay", "fra-1"));
    let mut sentinels = Sentinels::start_with_acl(&rules);
    let login = |user: &str, gateway: bool| {
        let options = RedisOptions {
            username: Some(user.to_owned()),
            password: Some(Secret::new(PASSWORD.to_owned())),
            sentinels: sentinels.list(),
            gateway,
            ..RedisOptions::new(format!("redis://{MASTER}/"))
        };
        RedisStore::connect(&options).unwrap()
    };
    let (gateway, relay) = (login("relayd-gateway", true), login("relayd-fra-1", false));
    let (id, north) = ("fra-1".parse().unwrap(), realm("north.gov"));
    let epoch = relay.next_epoch(&id).await.unwrap();
    writes(&gateway, &sentinels, "before").await;
    relay.heartbeat(&node("fra-1", epoch)).await.unwrap();
    assert!(relay.user(&north, "before").await.unwrap().is_some());
    wait_for_async("all servers to be known", FAILOVER, || async {
        // Both servers and three sentinels.
        (relay.servers().len() >= 5).then_some(())
    })
    .await;
    let first = sentinels.master();
    sentinels.servers[first].kill();
    writes(&gateway, &sentinels, "after").await;
    wait_for_async("the relay at the new master", FAILOVER, || async {
        relay.heartbeat(&node("fra-1", epoch)).await.ok()?;
        relay.user(&north, "after").await.ok()?
    })
    .await;
    let sessions = [session(1, now_ms() + 60_000)];
    relay
        .flush_sessions(&id, epoch, &sessions, &[])
        .await
        .unwrap();
    assert_eq!(relay.sessions(&id).await.unwrap().len(), 1);
    let refused = relay.put_user(&north, "after", &key(2)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    let unknown = RedisOptions {
        username: Some("relayd-fra-1".to_owned()),
        password: Some(Secret::new("wrong".to_owned())),
        sentinels: sentinels.list(),
        ..RedisOptions::new(format!("redis://{MASTER}/"))
    };
    let refused = RedisStore::connect(&unknown).unwrap().ping().await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
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

/// It answers first, its server is a master, and nobody writes there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_was_forgotten_is_outvoted() {
    let former = RedisServer::start();
    let mut sentinels = Sentinels::start();
    let mut list = vec![sentinels.forget_one(&former)];
    list.extend(sentinels.list());
    let options = RedisOptions {
        sentinels: list,
        ..RedisOptions::new(format!("redis://{MASTER}/"))
    };
    for number in 0..5 {
        let store = RedisStore::connect(&options).unwrap();
        writes(&store, &sentinels, &format!("user-{number}")).await;
        // Nobody's peer is any of the servers, whoever of them knows it.
        let ports = sentinels.servers.iter().map(|server| server.port);
        let ports: Vec<u16> = ports.chain([former.port]).collect();
        wait_for_async("all servers to be known", FAILOVER, || async {
            let known = store.servers();
            let is_known = |port: &u16| known.iter().any(|at| at.port() == *port);
            ports.iter().all(is_known).then_some(())
        })
        .await;
    }
    assert_eq!(former.cli(&["DBSIZE"]), "0");
}

/// The one that was forgotten is near, and all others are far away: they are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_sentinel_is_outvoted_by_those_far_away() {
    let mut sentinels = Sentinels::start();
    let gates = sentinels.behind_gates();
    for gate in &gates {
        gate.slow_down(b"GET-MASTER-ADDR-BY-NAME", FAR);
    }
    let far = gates.iter().map(|gate| format!("127.0.0.1:{}", gate.port));
    let far: Vec<String> = far.collect();
    // The machine may be busy, so that they are too late: one of the rounds is enough.
    for round in 0..5 {
        let former = RedisServer::start();
        let mut list = vec![sentinels.forget_one(&former)];
        list.extend(far.iter().cloned());
        let options = RedisOptions {
            sentinels: list,
            ..RedisOptions::new(format!("redis://{MASTER}/"))
        };
        let store = RedisStore::connect(&options).unwrap();
        writes(&store, &sentinels, &format!("user-{round}")).await;
        if former.cli(&["DBSIZE"]) == "0" {
            return;
        }
    }
    panic!("each time the forgotten one's server was written to");
}

/// Who waits for a master that does not come back does not ask all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_more_rarely_the_longer_the_master_is_away() {
    let mut sentinels = Sentinels::start();
    let gate = sentinels.behind_gates().swap_remove(0);
    let options = RedisOptions {
        sentinels: vec![format!("127.0.0.1:{}", gate.port)],
        ..RedisOptions::new(format!("redis://{MASTER}/"))
    };
    let store = RedisStore::connect(&options).unwrap();
    writes(&store, &sentinels, "before").await;
    for server in &mut sentinels.servers {
        server.kill();
    }
    wait_for_async("the store to be away", FAILOVER, || async {
        store.ping().await.is_err().then_some(())
    })
    .await;
    // Who all are is asked by these looks alone.
    gate.count(b"SENTINELS");
    let began = Instant::now();
    wait_for_async("some looks", FAILOVER, || async {
        (gate.counted() >= 6).then_some(())
    })
    .await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5), "six looks in {took:?}");
    for server in &mut sentinels.servers {
        server.restart();
    }
    let (looks, back) = (gate.counted(), Instant::now());
    wait_for_async("the store to be back", FAILOVER, || async {
        store.ping().await.ok()
    })
    .await;
    wait_for_async("a look at once", FAILOVER, || async {
        (gate.counted() > looks).then_some(())
    })
    .await;
    report(&format!(
        "six looks took {took:?}; back and looked around after {:?}",
        back.elapsed()
    ));
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
