//! A Redis Cluster that changes in the middle of what the store is doing.

use std::time::{Duration, Instant};

use kit::gate::Gate;
use kit::redis_cluster::{ClusterSetup, MASTERS, RedisCluster};
use kit::wait::{wait_for_async, wait_until, window};
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Author, Change, Mailbox, Store, StoreError};
use shared::NodeId;
use shared::api::{BlockView, RealmDocument};

use crate::cluster::{now_ms, session};
use crate::world::{acl, key, options, realm, told};

/// What the servers may take to agree, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key that has a node's sessions.
const SESSIONS: &str = "relay:node:{fra-1}:sessions";

fn connect(cluster: &RedisCluster) -> RedisStore {
    let options = RedisOptions {
        cluster: cluster.list(),
        ..RedisOptions::new(cluster.servers[0].url())
    };
    RedisStore::connect(&options).unwrap()
}

fn spare() -> RedisCluster {
    RedisCluster::start_as(&ClusterSetup {
        spare: true,
        ..ClusterSetup::default()
    })
}

fn fra() -> NodeId {
    "fra-1".parse().unwrap()
}

/// A cursor of one server means nothing to another: what is read on elsewhere would not be all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_in_the_middle_of_a_restore_costs_no_session() {
    const COUNT: u32 = 3000;
    let cluster = RedisCluster::start();
    let slot = cluster.slot(SESSIONS);
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    let gate = Gate::before(cluster.servers[from].port);
    cluster.announce(from, gate.port);
    let store = connect(&cluster);
    let epoch = store.next_epoch(&fra()).await.unwrap();
    let all: Vec<_> = (0..COUNT).map(|n| session(n, now_ms() + 600_000)).collect();
    store
        .flush_sessions(&fra(), epoch, &all, &[])
        .await
        .unwrap();
    cluster.begin_move(slot, from, to);
    wait_for_async("a move in the middle", PATIENCE, || async {
        gate.hold(b"HSCAN", 2);
        let reading = {
            let store = store.clone();
            tokio::spawn(async move { store.sessions(&fra()).await })
        };
        wait_for_async("the third step", PATIENCE, || async {
            gate.holds().then_some(())
        })
        .await;
        cluster.move_keys(slot, from, to);
        gate.open();
        let read = reading.await.unwrap();
        let Err(error) = &read else {
            assert_eq!(read.unwrap().len(), COUNT as usize);
            return Some(());
        };
        // The move took longer than an answer may: once more, from the beginning.
        assert!(error.may_pass(), "{error}");
        cluster.move_keys(slot, to, from);
        None
    })
    .await;
    assert!(cluster.errors("ASK") > 0, "it was sent on");
    assert_eq!(store.sessions(&fra()).await.unwrap().len(), COUNT as usize);
    cluster.end_move(slot, from, to);
    wait_for_async("all of them at the other server", PATIENCE, || async {
        let read = store.sessions(&fra()).await.ok()?;
        assert_eq!(read.len(), COUNT as usize);
        Some(())
    })
    .await;
}

/// What has expired is removed, and not what was written anew since it was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expired_is_removed_unless_it_was_written_anew() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot(SESSIONS);
    let server = cluster.master_of(slot, 0);
    let gate = Gate::before(cluster.servers[server].port);
    cluster.announce(server, gate.port);
    let (store, other) = (connect(&cluster), connect(&cluster));
    let epoch = store.next_epoch(&fra()).await.unwrap();
    let late = [session(1, 1), session(2, 1)];
    store
        .flush_sessions(&fra(), epoch, &late, &[])
        .await
        .unwrap();
    // The script that removes is held while the other writes.
    gate.hold(b"'HGET', KEYS[1], ARGV[i]", 0);
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.sessions(&fra()).await })
    };
    wait_for_async("the removal", PATIENCE, || async {
        gate.holds().then_some(())
    })
    .await;
    let renewed = [session(2, now_ms() + 600_000)];
    let written = other.flush_sessions(&fra(), epoch, &renewed, &[]).await;
    gate.open();
    written.unwrap();
    let read = reading.await.unwrap().unwrap();
    assert!(read.is_empty(), "both had expired: {read:?}");
    wait_until("the other one to be removed", PATIENCE, || {
        cluster.servers[server].cli(&["HLEN", SESSIONS]) == "1"
    });
    let read = store.sessions(&fra()).await.unwrap();
    assert_eq!(read.len(), 1);
}

/// The first slot of a new master: until it has arrived, nobody tells of that server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_their_way_to_a_server_without_slots_are_found_there() {
    let cluster = spare();
    let store = connect(&cluster);
    let mailbox = Mailbox::Node(fra());
    let epoch = store.next_epoch(&fra()).await.unwrap();
    let sessions: Vec<_> = (0..20).map(|n| session(n, now_ms() + 600_000)).collect();
    let (id, written) = (fra(), &store);
    let flush = |from: usize| written.flush_sessions(&id, epoch, &sessions[from..], &[]);
    flush(10).await.unwrap();
    let slot = cluster.slot(SESSIONS);
    let from = cluster.master_of(slot, 0);
    let to = MASTERS;
    cluster.begin_move(slot, from, to);
    assert!(cluster.move_keys(slot, from, to) > 0);
    wait_for_async("a write to the new server", PATIENCE, || async {
        flush(0).await.ok()
    })
    .await;
    assert!(cluster.errors("ASK") > 0);
    assert_eq!(store.sessions(&fra()).await.unwrap().len(), 20);
    store.post(&mailbox, b"asked".to_vec()).await.unwrap();
    let received = store.receive(&mailbox, Duration::from_secs(2)).await;
    assert_eq!(received.unwrap(), [b"asked"]);
    assert!(store.is_whole(), "who has no slots is missed by nobody");
    wait_until("the new server to be known as one", PATIENCE, || {
        let known = store.servers();
        known.iter().any(|at| at.port() == cluster.servers[to].port)
    });
    cluster.end_move(slot, from, to);
    wait_for_async("the new master", PATIENCE, || async {
        let read = store.sessions(&fra()).await.ok()?;
        assert_eq!(read.len(), 20);
        store.is_whole().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_could_not_be_linked_is_linked_when_it_can() {
    let cluster = RedisCluster::start_as(&ClusterSetup {
        spare: true,
        tls: true,
        ..ClusterSetup::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let (file, aside) = (folder.path().join("ca.pem"), folder.path().join("aside"));
    std::fs::copy(cluster.servers[0].ca_file(), &file).unwrap();
    let store = RedisStore::connect(&RedisOptions {
        cluster: cluster.list(),
        ca_file: Some(file.clone()),
        ..RedisOptions::new(cluster.servers[0].url())
    })
    .unwrap();
    wait_for_async("the store to be whole", PATIENCE, || async {
        store.ping().await.ok()?;
        store.is_whole().then_some(())
    })
    .await;
    // As while it is replaced.
    std::fs::rename(&file, &aside).unwrap();
    let name = "turn/realm/north.gov/user/gorst/key";
    let slot = cluster.slot(name);
    let (from, to) = (cluster.master_of(slot, 0), MASTERS);
    cluster.begin_move(slot, from, to);
    cluster.end_move(slot, from, to);
    wait_until("the store to miss a server", PATIENCE, || !store.is_whole());
    let north = realm("north.gov");
    let refused = store.put_user(&north, "gorst", &key(1)).await;
    assert!(refused.is_err(), "{refused:?}");
    std::fs::rename(&aside, &file).unwrap();
    wait_until("the store to be whole again", PATIENCE, || store.is_whole());
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    assert_eq!(cluster.servers[to].cli(&["EXISTS", name]), "1");
}

/// Rules that forget a command, or a server that is away for a moment: the document is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realm_that_is_written_is_told_whatever_it_leaves_behind() {
    let whole = acl("gateway", "");
    let less = format!(
        "{} -smembers",
        whole.trim_end().replace("relayd-gateway", "relayd-less")
    );
    let cluster = RedisCluster::start_as(&ClusterSetup {
        acl: Some(format!("{}\n{less}", whole.trim_end())),
        ..ClusterSetup::default()
    });
    let login = |user: &str| {
        let options = RedisOptions {
            cluster: cluster.list(),
            ..options(&cluster.servers[0], user)
        };
        RedisStore::connect(&options).unwrap()
    };
    let (store, other) = (login("relayd-less"), login("relayd-gateway"));
    wait_for_async("both to listen", PATIENCE, || async {
        (store.ping().await.is_ok() && other.ping().await.is_ok()).then_some(())
    })
    .await;
    let mut changes = other.changes();
    let (north, author) = (realm("north.gov"), Author::from("a"));
    for (revision, origin) in (1..).zip(["https://a.example", "https://b.example"]) {
        let document = RealmDocument {
            origins: vec![origin.to_owned()],
            ..RealmDocument::default()
        };
        let written = store.put_realm(&north, &document, revision - 1, &author);
        assert_eq!(written.await.unwrap(), revision);
        told(&mut changes, |change| {
            matches!(change, Change::Realm { realm, revision: told }
                if *realm == north && *told == revision)
        })
        .await;
    }
    let taken = RealmDocument {
        origins: vec!["https://b.example".to_owned()],
        ..RealmDocument::default()
    };
    let south = realm("south.gov");
    let refused = other.put_realm(&south, &taken, 0, &author);
    let refused = refused.await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::OriginTaken { realm, .. } if realm == "north.gov"),
        "{refused:?}"
    );
    store.delete_realm(&north, 2, &author).await.unwrap();
    told(
        &mut changes,
        |change| matches!(change, Change::Realm { realm, revision: 0 } if *realm == north),
    )
    .await;
}

/// A write that neither of two servers can take just now, and what is told behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_a_write_that_has_not_arrived() {
    let cluster = RedisCluster::start();
    let (store, other) = (connect(&cluster), connect(&cluster));
    store.ping().await.unwrap();
    other.ping().await.unwrap();
    let block = |reason: &str| BlockView {
        realm: realm("north.gov"),
        user: "gorst".to_owned(),
        until_ms: now_ms() + 600_000,
        reason: reason.to_owned(),
        by: String::new(),
    };
    store.put_block(&block("first")).await.unwrap();
    let slot = cluster.slot("relay:bans");
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    cluster.begin_move(slot, from, to);
    let port = cluster.servers[to].port.to_string();
    let one = ["MIGRATE", "127.0.0.1", &port, "relay:bans", "0", "5000"];
    assert_eq!(cluster.servers[from].cli(&one), "OK");
    let mut changes = other.changes();
    let divided = store.put_block(&block("second")).await;
    assert!(matches!(divided, Err(StoreError::NotNow(_))), "{divided:?}");
    // Whatever is under way between the servers has arrived by then.
    window(Duration::from_millis(700)).await;
    while let Ok(change) = changes.try_recv() {
        assert_ne!(change, Change::Blocks, "nothing was written");
    }
    cluster.move_keys(slot, from, to);
    store.put_block(&block("third")).await.unwrap();
    told(&mut changes, |change| *change == Change::Blocks).await;
    assert_eq!(other.blocks().await.unwrap()[0].reason, "third");
}

/// `MOVED 1 :7001` is the host that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_name_no_hosts_are_where_they_are_asked() {
    let cluster = RedisCluster::start_as(&ClusterSetup {
        nameless: true,
        ..ClusterSetup::default()
    });
    let store = connect(&cluster);
    let north = realm("north.gov");
    let name = "turn/realm/north.gov/user/gorst/key";
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    let mailbox = Mailbox::Node(fra());
    let (slot, of_mailbox) = (cluster.slot(name), cluster.slot(SESSIONS));
    let owner = cluster.master_of(slot, 0);
    let there = cluster.master_of(of_mailbox, 0);
    let next = |server: usize| (server + 1) % MASTERS;
    cluster.begin_move(slot, owner, next(owner));
    cluster.move_keys(slot, owner, next(owner));
    cluster.begin_move(of_mailbox, there, next(there));
    let said = cluster.servers[owner].cli(&["GET", name]);
    assert!(
        said.starts_with(&format!("ASK {slot} :")),
        "no host is named: {said}"
    );
    assert!(store.user(&north, "gorst").await.unwrap().is_some());
    store.post(&mailbox, b"asked".to_vec()).await.unwrap();
    let received = store.receive(&mailbox, Duration::from_secs(2)).await;
    assert_eq!(received.unwrap(), [b"asked"]);
    cluster.end_move(slot, owner, next(owner));
    let (mut here, mut there) = (next(owner), owner);
    wait_for_async("a command that is sent on", PATIENCE, || {
        cluster.begin_move(slot, here, there);
        cluster.move_keys(slot, here, there);
        cluster.end_move(slot, here, there);
        std::mem::swap(&mut here, &mut there);
        async {
            assert!(store.user(&north, "gorst").await.unwrap().is_some());
            (cluster.errors("MOVED") > 0).then_some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_failures_asks_four_times_a_second() {
    let mut cluster = RedisCluster::start();
    let (store, north) = (connect(&cluster), realm("north.gov"));
    store.ping().await.unwrap();
    let dead = (0..100)
        .map(|number| format!("user-{number}"))
        .find(|name| {
            let key = format!("turn/realm/north.gov/user/{name}/key");
            cluster.master_of(cluster.slot(&key), 0) == MASTERS - 1
        });
    let dead = dead.unwrap();
    cluster.servers[MASTERS - 1].kill();
    wait_for_async("the loss to be noticed", PATIENCE, || async {
        store.user(&north, &dead).await.is_err().then_some(())
    })
    .await;
    let (began, before) = (Instant::now(), cluster.calls("cluster|slots"));
    let mut refused = 0_u32;
    while began.elapsed() < Duration::from_secs(3) {
        let answer = store.user(&north, &dead).await;
        assert!(answer.is_err(), "{answer:?}");
        refused += 1;
        tokio::task::yield_now().await;
    }
    let asked = cluster.calls("cluster|slots") - before;
    let most = began.elapsed().as_millis() as u64 / 250 + 2;
    assert!(refused > 1000, "no storm: {refused}");
    assert!(
        asked <= most * (MASTERS as u64 - 1),
        "{refused} refusals, {asked} questions"
    );
    assert!(asked >= most / 2, "it looks all the same: {asked}");
}

/// What it took last is gone with it, the count of starts too; whoever has it writes it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_in_the_middle_of_a_pipeline_takes_nothing_along_for_good() {
    const COUNT: u32 = 3000;
    let mut cluster = RedisCluster::start_as(&ClusterSetup {
        replicas: true,
        node_timeout_ms: Some(3000),
        ..ClusterSetup::default()
    });
    let master = cluster.master_of(cluster.slot(SESSIONS), 0);
    let gate = Gate::before(cluster.servers[master].port);
    cluster.announce(master, gate.port);
    let store = connect(&cluster);
    assert_eq!(store.next_epoch(&fra()).await.unwrap(), 1);
    let all: Vec<_> = (0..COUNT).map(|n| session(n, now_ms() + 600_000)).collect();
    let (early, id) = (&all[..10], fra());
    store.flush_sessions(&id, 1, early, &[]).await.unwrap();
    // From now on the replica hears of nothing.
    cluster.servers[master + MASTERS].pause();
    assert_eq!(store.next_epoch(&fra()).await.unwrap(), 2);
    gate.hold(b"HSET", 10);
    let writing = {
        let (store, all) = (store.clone(), all.clone());
        tokio::spawn(async move { store.flush_sessions(&fra(), 2, &all, &[]).await })
    };
    wait_for_async("the middle of it", PATIENCE, || async {
        gate.holds().then_some(())
    })
    .await;
    cluster.servers[master].kill();
    gate.open();
    let broken = writing.await.unwrap();
    assert!(
        matches!(&broken, Err(error) if error.may_pass()),
        "{broken:?}"
    );
    cluster.servers[master + MASTERS].resume();
    wait_for_async("another master", PATIENCE, || async {
        store.flush_sessions(&fra(), 2, &all, &[]).await.ok()
    })
    .await;
    let read = store.sessions(&fra()).await.unwrap();
    assert_eq!(read.len(), COUNT as usize);
    let fenced = store.flush_sessions(&fra(), 1, &[], &[all[0].id]).await;
    assert!(
        matches!(fenced, Err(StoreError::Fenced { epoch: 2 })),
        "{fenced:?}"
    );
    assert_eq!(store.next_epoch(&fra()).await.unwrap(), 3);
}
