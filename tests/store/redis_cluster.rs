//! Redis Cluster: keys go to their servers, wherever these are now.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kit::redis_cluster::{ClusterSetup, MASTERS, RedisCluster};
use kit::wait::{wait_for_async, wait_until};
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Change, DEADLINE, Mailbox, Store, StoreError};
use shared::api::RealmDocument;

use crate::cluster::{node, now_ms, session};
use crate::world::{acl, key, options, realm, told};

/// A server may be away for a while until another takes over, and the machine be busy.
const FAILOVER: Duration = Duration::from_secs(60);
/// Milliseconds until a silent server counts as away.
const NODE_TIMEOUT: u32 = 3000;

fn connect(cluster: &RedisCluster) -> RedisStore {
    let options = RedisOptions {
        cluster: cluster.list(),
        ..RedisOptions::new(cluster.servers[0].url())
    };
    RedisStore::connect(&options).unwrap()
}

/// Writes users until one of each of the three masters is there, and reads them back.
async fn everywhere(store: &RedisStore, name: &str) {
    let north = realm("north.gov");
    for number in 0..12 {
        let name = format!("{name}-{number}");
        wait_for_async("a write that works", FAILOVER, || async {
            store.put_user(&north, &name, &key(1)).await.ok()
        })
        .await;
        wait_for_async("what was written", FAILOVER, || async {
            store.user(&north, &name).await.ok()?
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_together_spans_no_slots() {
    let cluster = RedisCluster::start();
    let (store, north) = (connect(&cluster), realm("north.gov"));
    let id = "fra-1".parse().unwrap();
    everywhere(&store, "user").await;
    assert_eq!(store.users(None, None, 100).await.unwrap().len(), 12);
    assert_eq!(store.user_count(None).await.unwrap(), 12);
    let document = RealmDocument {
        max_sessions: Some(7),
        origins: vec![
            "https://a.example".to_owned(),
            "https://b.example".to_owned(),
        ],
        ..RealmDocument::default()
    };
    store
        .put_realm(&north, &document, 0, &"a".into())
        .await
        .unwrap();
    assert_eq!(store.realms().await.unwrap()[0].document, document);
    let epoch = store.next_epoch(&id).await.unwrap();
    store.heartbeat(&node("fra-1", epoch)).await.unwrap();
    let sessions: Vec<_> = (0..700).map(|n| session(n, now_ms() + 60_000)).collect();
    store
        .flush_sessions(&id, epoch, &sessions, &[])
        .await
        .unwrap();
    assert_eq!(store.sessions(&id).await.unwrap().len(), 700);
    let mailbox = Mailbox::Node(id);
    store.post(&mailbox, b"x".to_vec()).await.unwrap();
    let received = store.receive(&mailbox, Duration::from_secs(2)).await;
    assert_eq!(received.unwrap(), [b"x"]);
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
    assert!(store.is_whole());
    wait_for_async("all servers to be known", FAILOVER, || async {
        let known = store.servers();
        let ports = cluster.servers.iter().map(|server| server.port);
        let mut missing = ports.filter(|port| known.iter().all(|at| at.port() != *port));
        missing.next().is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tools_users_are_found_on_every_master_and_changes_told_once() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster);
    let other = connect(&cluster);
    store.ping().await.unwrap();
    other.ping().await.unwrap();
    for number in 0..30 {
        let key = format!("turn/realm/north.gov/user/foreign-{number}/key");
        assert_eq!(cluster.cli(&["SET", &key, &"ab".repeat(16)]), "OK");
    }
    wait_for_async("all in a page", FAILOVER, || async {
        let page = store.users(None, None, 100).await.ok()?;
        (page.len() == 30).then_some(())
    })
    .await;
    let mut changes = other.changes();
    while changes.try_recv().is_ok() {}
    store.publish(&Change::Tokens).await.unwrap();
    store.publish(&Change::Nodes).await.unwrap();
    let tokens = AtomicU32::new(0);
    told(&mut changes, |change| {
        tokens.fetch_add(u32::from(*change == Change::Tokens), Ordering::Relaxed);
        *change == Change::Nodes
    })
    .await;
    let tokens = tokens.into_inner();
    assert!(tokens <= 1, "each server tells all of them: {tokens}");
}

/// Keys on their way: `ASK` and `TRYAGAIN` while they go, `MOVED` when they went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_under_the_store_and_nothing_is_lost() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster);
    let id = "fra-1".parse().unwrap();
    let mailbox = Mailbox::Node("fra-1".parse().unwrap());
    store.ping().await.unwrap();
    let slot = cluster.slot("relay:node:{fra-1}");
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    let sessions: Vec<_> = (0..50).map(|n| session(n, now_ms() + 60_000)).collect();
    let epoch = store.next_epoch(&id).await.unwrap();
    store
        .flush_sessions(&id, epoch, &sessions[..20], &[])
        .await
        .unwrap();

    cluster.begin_move(slot, from, to);
    // An empty mailbox has no key that could be here still.
    store.post(&mailbox, b"asked".to_vec()).await.unwrap();
    let received = store.receive(&mailbox, Duration::from_secs(2)).await;
    assert_eq!(received.unwrap(), [b"asked"]);
    assert!(cluster.errors("ASK") > 0);
    // Two keys of one script, one of them gone: neither server can.
    let epoch_key = "relay:node:{fra-1}:epoch";
    let port = cluster.servers[to].port.to_string();
    let moved = cluster.servers[from].cli(&["MIGRATE", "127.0.0.1", &port, epoch_key, "0", "5000"]);
    assert_eq!(moved, "OK");
    let divided = store
        .flush_sessions(&id, epoch, &sessions[20..30], &[])
        .await;
    assert!(matches!(divided, Err(StoreError::NotNow(_))), "{divided:?}");
    assert!(cluster.errors("TRYAGAIN") > 0);
    assert!(cluster.move_keys(slot, from, to) > 0);
    store
        .flush_sessions(&id, epoch, &sessions[20..], &[])
        .await
        .unwrap();
    cluster.end_move(slot, from, to);

    assert_eq!(store.sessions(&id).await.unwrap().len(), 50);
    // The store may have heard of a move before its next command: until one was sent on.
    let (mut here, mut there) = (to, from);
    wait_for_async("a command that is sent on", FAILOVER, || {
        cluster.begin_move(slot, here, there);
        cluster.move_keys(slot, here, there);
        cluster.end_move(slot, here, there);
        std::mem::swap(&mut here, &mut there);
        async {
            assert_eq!(store.sessions(&id).await.unwrap().len(), 50);
            (cluster.errors("MOVED") > 0).then_some(())
        }
    })
    .await;
    store.post(&mailbox, b"moved".to_vec()).await.unwrap();
    wait_for_async("the mailbox", Duration::from_secs(20), || async {
        let received = store.receive(&mailbox, Duration::from_secs(1)).await.ok()?;
        (received == [b"moved"]).then_some(())
    })
    .await;
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
}

/// Who is not there any more was not removed if everything of its server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_was_emptied_is_noticed() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster);
    assert_eq!(store.marks(false).await.unwrap(), None);
    let mut last = store.marks(true).await.unwrap();
    assert!(last.is_some());
    assert_eq!(store.marks(false).await.unwrap(), last);
    for server in &cluster.servers {
        assert_eq!(server.cli(&["FLUSHALL"]), "OK");
        assert_eq!(store.marks(false).await.unwrap(), None);
        let next = store.marks(true).await.unwrap();
        assert!(next.is_some() && next != last);
        last = next;
    }
    // A slot that moves takes its word along.
    let slot = cluster.slot("relay:mark:0");
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    cluster.begin_move(slot, from, to);
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, from, to);
    assert_eq!(store.marks(false).await.unwrap(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_and_the_store_follows() {
    let mut cluster = RedisCluster::start_as(&ClusterSetup {
        replicas: true,
        node_timeout_ms: Some(NODE_TIMEOUT),
        ..ClusterSetup::default()
    });
    let store = connect(&cluster);
    everywhere(&store, "before").await;
    let mut changes = store.changes();
    cluster.servers[0].kill();
    // Refused or not answered: never longer than a call may take.
    let started = Instant::now();
    let _ = store.users(None, None, 100).await;
    assert!(started.elapsed() < 5 * DEADLINE, "{:?}", started.elapsed());
    everywhere(&store, "after-a-kill").await;
    told_late(&mut changes).await;
    cluster.servers[0].restart();
    cluster.wait_whole();
    let second = cluster.master_of(16_383, 1);
    cluster.servers[second].pause();
    everywhere(&store, "after-a-pause").await;
    cluster.servers[second].resume();
    cluster.wait_whole();
    everywhere(&store, "at-last").await;
    wait_until("the store to be whole", FAILOVER, || store.is_whole());
    let names = store.users(None, None, 100).await.unwrap();
    let last = names
        .iter()
        .filter(|user| user.name.starts_with("at-last"))
        .count();
    assert_eq!(last, 12, "{} users", names.len());
}

async fn told_late(changes: &mut tokio::sync::broadcast::Receiver<Change>) {
    let everything = async { while !matches!(changes.recv().await, Ok(Change::Everything)) {} };
    let seen = tokio::time::timeout(FAILOVER, everything).await;
    assert!(seen.is_ok(), "what may have been missed is read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_reached_over_tls_as_an_acl_user() {
    let cluster = RedisCluster::start_as(&ClusterSetup {
        tls: true,
        acl: Some(format!("{}\n{}", acl("gateway", ""), acl("relay", "fra-1"))),
        ..ClusterSetup::default()
    });
    let with = |user: &str, gateway: bool| RedisOptions {
        cluster: cluster.list(),
        ca_file: Some(cluster.servers[0].ca_file()),
        gateway,
        ..options(&cluster.servers[0], user)
    };
    let gateway = RedisStore::connect(&with("relayd-gateway", true)).unwrap();
    everywhere(&gateway, "secure").await;
    let relay = RedisStore::connect(&with("relayd-fra-1", false)).unwrap();
    let north = realm("north.gov");
    assert!(relay.user(&north, "secure-0").await.unwrap().is_some());
    let id = "fra-1".parse().unwrap();
    let epoch = relay.next_epoch(&id).await.unwrap();
    relay.heartbeat(&node("fra-1", epoch)).await.unwrap();
    let refused = relay.put_user(&north, "secure-0", &key(2)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_cluster_is_said_so() {
    let server = kit::redis::RedisServer::start();
    let options = |url: String| RedisOptions {
        cluster: vec![format!("127.0.0.1:{}", server.port)],
        ..RedisOptions::new(url)
    };
    let store = RedisStore::connect(&options(server.url())).unwrap();
    let refused = store.ping().await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(reason)) if reason.contains("cluster support")),
        "{refused:?}"
    );
    for (url, what) in [
        (format!("{}3", server.url()), "database"),
        ("redis+unix:///tmp/x".to_owned(), "TCP"),
    ] {
        let error = RedisStore::connect(&options(url)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    let with_sentinels = RedisOptions {
        sentinels: vec!["127.0.0.1:1".to_owned()],
        ..options(server.url())
    };
    let error = RedisStore::connect(&with_sentinels).unwrap_err();
    assert!(error.to_string().contains("sentinels"), "{error}");
}
