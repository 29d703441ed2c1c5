//! What only Redis has: going away and coming back, errors of all classes, what it costs.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use kit::redis::{RedisServer, Setup};
use kit::wait::{wait_for_async, window};
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Change, DEADLINE, Mailbox, Removal, Store, StoreError, StoredSecret};
use shared::Secret;
use shared::api::{RealmDocument, SecretState};

use crate::cluster::{gone, node, now_ms, session};
use crate::world::{Backend, World, acl, key, options, ready, realm, told};

/// How long a node may take to be back after Redis is.
const BACK_WITHIN: Duration = Duration::from_secs(5);

fn server(world: &World) -> &RedisServer {
    let Backend::Redis { server } = &world.backend else {
        unreachable!("a world of Redis")
    };
    server
}

async fn back(store: &dyn Store) {
    wait_for_async("Redis to be back", BACK_WITHIN, || async {
        store.ping().await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_refused_quickly_and_found_again() {
    let mut server = RedisServer::start();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let north = realm("north.gov");
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    let mut changes = store.changes();
    server.kill();
    let started = Instant::now();
    for _ in 0..20 {
        let answer = store.user(&north, "gorst").await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(started.elapsed() < 10 * DEADLINE, "{:?}", started.elapsed());
    server.restart();
    back(&store).await;
    told(&mut changes, |change| *change == Change::Everything).await;
    assert!(store.user(&north, "gorst").await.unwrap().is_some());
    // Listening works again too, and the mailbox connection is made anew.
    server.cli(&["SET", "turn/realm/north.gov/user/new/key", &"ab".repeat(16)]);
    told(
        &mut changes,
        |change| matches!(change, Change::User { name, .. } if name == "new"),
    )
    .await;
    let mailbox = Mailbox::Node("fra-1".parse().unwrap());
    store.post(&mailbox, b"x".to_vec()).await.unwrap();
    assert_eq!(
        store
            .receive(&mailbox, Duration::from_secs(1))
            .await
            .unwrap(),
        [b"x"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_before_redis_does() {
    let mut server = RedisServer::start();
    server.kill();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let answer = store.ping().await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
    let mut changes = store.changes();
    server.restart();
    back(&store).await;
    told(&mut changes, |change| *change == Change::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_costs_one_deadline_at_most() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let mailbox = Mailbox::Node("fra-1".parse().unwrap());
    store.ping().await.unwrap();
    server.pause();
    let started = Instant::now();
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(started.elapsed() < 5 * DEADLINE, "{:?}", started.elapsed());
    wait_for_async("calls to be refused at once", BACK_WITHIN, || async {
        let started = Instant::now();
        store.ping().await.is_err().then_some(())?;
        (started.elapsed() < Duration::from_millis(50)).then_some(())
    })
    .await;
    let started = Instant::now();
    assert!(
        store
            .receive(&mailbox, Duration::from_millis(100))
            .await
            .is_err()
    );
    assert!(started.elapsed() < 5 * DEADLINE, "{:?}", started.elapsed());
    server.resume();
    back(&store).await;
}

/// Nobody is told that a user is not there while nobody could look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loads_or_is_busy_is_waited_for() {
    let mut server = RedisServer::start_as(Setup {
        arguments: [
            ["--key-load-delay", "1000"],
            ["--loading-process-events-interval-bytes", "1024"],
            ["--busy-reply-threshold", "50"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect(),
        ..Setup::default()
    });
    let many = "for i = 1, 2000 do redis.call('SET', 'aside:' .. i, i) end";
    server.cli(&["EVAL", many, "0"]);
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let north = realm("north.gov");
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    // Asks all the time until the other side is done.
    let (asked, name) = (&store, &north);
    let asks = async |done: tokio::task::JoinHandle<RedisServer>| {
        let mut refused = 0_u32;
        while !done.is_finished() {
            match asked.user(name, "gorst").await {
                Ok(user) => assert!(user.is_some(), "it is there"),
                Err(error) => {
                    assert!(error.may_pass(), "{error:?}");
                    refused += 1;
                }
            }
            window(Duration::from_millis(10)).await;
        }
        (done.await.unwrap(), refused)
    };
    let loading = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let (server, refused) = asks(loading).await;
    assert!(refused > 10, "{refused} refused while it loads");
    back(&store).await;
    let busy = tokio::task::spawn_blocking(move || {
        let script = "local t = redis.call('TIME')[1] + 2 \
                      while tonumber(redis.call('TIME')[1]) < t do end";
        server.cli(&["EVAL", script, "0"]);
        server
    });
    let (_server, refused) = asks(busy).await;
    assert!(refused > 10, "{refused} refused while it is busy");
    back(&store).await;
    assert!(store.user(&north, "gorst").await.unwrap().is_some());
}

/// A count that a replaced master took along: whoever was fenced must not write again.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_starts_that_was_lost_is_set_right_by_the_newest() {
    let world = World::redis();
    let (store, id) = (&world.store, "fra-1".parse().unwrap());
    store.next_epoch(&id).await.unwrap();
    assert_eq!(store.next_epoch(&id).await.unwrap(), 2);
    let count = "relay:node:{fra-1}:epoch";
    server(&world).cli(&["SET", count, "1"]);
    let sessions = [session(1, now_ms() + 60_000)];
    let written = store.flush_sessions(&id, 2, &sessions, &[]);
    written.await.unwrap();
    let fenced = store.flush_sessions(&id, 1, &[], &[sessions[0].id]).await;
    assert!(
        matches!(fenced, Err(StoreError::Fenced { epoch: 2 })),
        "{fenced:?}"
    );
    assert_eq!(store.next_epoch(&id).await.unwrap(), 3);
    let lease: u64 = server(&world).cli(&["PTTL", count]).parse().unwrap();
    assert!(lease > 0, "it goes with the rest of the node");
}

/// It says so as it refuses somebody's password; only this passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_room_for_connections_is_away_and_refuses_nobody() {
    let server = RedisServer::start();
    let first = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    first.ping().await.unwrap();
    server.cli(&["CONFIG", "SET", "maxclients", "3"]);
    let crowd = [(); 3].map(|()| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)));
    let second = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let crowded = second.ping().await;
    assert!(
        matches!(&crowded, Err(StoreError::Unavailable(_))),
        "{crowded:?}"
    );
    drop(crowd);
    back(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_written_while_nobody_listened_are_found() {
    let server = RedisServer::start();
    for i in 0..1500 {
        let key = format!("turn/realm/north.gov/user/u{i:04}/key");
        if i < 3 {
            server.cli(&["SET", &key, &"ab".repeat(16)]);
        }
    }
    let script = "for i = 3, 1499 do redis.call('SET', string.format('turn/realm/north.gov/user/u%04d/key', i), string.rep('ab', 16)) end";
    server.cli(&["EVAL", script, "0"]);
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    wait_for_async("all users", Duration::from_secs(5), || async {
        let page = store.users(None, None, 2000).await.unwrap();
        (page.len() == 1500 && store.user_count(None).await.unwrap() == 1500).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_together_runs_no_command_that_stops_redis() {
    let world = World::redis();
    let (store, north) = (&world.store, realm("north.gov"));
    ready(store).await;
    server(&world).cli(&["CONFIG", "RESETSTAT"]);
    let id = "fra-1".parse().unwrap();
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    store.users(None, None, 100).await.unwrap();
    store.user_count(None).await.unwrap();
    store
        .put_realm(&north, &RealmDocument::default(), 0, &"a".into())
        .await
        .unwrap();
    store.realms().await.unwrap();
    store.realm_revisions(&north).await.unwrap();
    store.heartbeat(&node("fra-1", 1)).await.unwrap();
    store.nodes().await.unwrap();
    store
        .flush_sessions(&id, 1, &[session(1, now_ms() + 60_000)], &[])
        .await
        .unwrap();
    store.sessions(&id).await.unwrap();
    store
        .post(&Mailbox::Node(id.clone()), vec![1])
        .await
        .unwrap();
    store
        .receive(&Mailbox::Node(id.clone()), Duration::from_secs(1))
        .await
        .unwrap();
    store.heartbeat(&gone("fra-1", 1)).await.unwrap();
    assert_eq!(store.remove_node(&id).await.unwrap(), Removal::Removed);
    store.delete_realm(&north, 1, &"a".into()).await.unwrap();
    let stats = server(&world).cli(&["INFO", "commandstats"]);
    let used: BTreeSet<&str> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(used.contains("get") && used.contains("eval"), "{used:?}");
    for costly in [
        "keys",
        "save",
        "bgsave",
        "flushall",
        "flushdb",
        "sort",
        "script|load",
    ] {
        assert!(!used.contains(costly), "{costly} in {used:?}");
    }
    assert!(
        !stats.contains("rejected_calls=1"),
        "refused by the ACL: {stats}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_hostile_names_are_the_expected_ones() {
    let world = World::redis();
    let north = realm("a{b} *");
    for name in ["x y\n{z}", "%s", "*"] {
        world.store.put_user(&north, name, &key(1)).await.unwrap();
        world
            .store
            .put_user_record(&north, name, &Default::default())
            .await
            .unwrap();
    }
    let listed = server(&world).cli(&["--scan", "--pattern", "relay:*"]);
    let mut keys: Vec<&str> = listed.lines().map(|line| line.trim_matches('"')).collect();
    keys.retain(|key| *key != "relay:heal");
    keys.sort_unstable();
    let realm_tag = "{YXtifSAq}";
    let mut expected = vec![
        "relay:realms".to_owned(),
        format!("relay:userhashes:{realm_tag}"),
        format!("relay:users:{realm_tag}"),
    ];
    for name in ["eCB5Cnt6fQ", "JXM", "Kg"] {
        expected.push(format!("relay:user:{realm_tag}:{name}"));
    }
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let count = server(&world).cli(&["EVAL", "return #redis.call('KEYS', 'turn/*')", "0"]);
    assert!(count.ends_with('3'), "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_error_is_answered_and_none_panics() {
    let mut server = RedisServer::start();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let north = realm("north.gov");
    let refused = |result: Result<(), StoreError>, what: &str| {
        assert!(
            matches!(result, Err(StoreError::Refused(_))),
            "{what}: {result:?}"
        );
    };
    let not_now = |result: Result<(), StoreError>, what: &str| {
        assert!(
            matches!(result, Err(StoreError::NotNow(_))),
            "{what}: {result:?}"
        );
    };
    server.cli(&["SET", "relay:realms", "a string"]);
    refused(store.realms().await.map(drop), "WRONGTYPE");
    refused(
        store.put_user(&north, "a", &key(1)).await,
        "WRONGTYPE in a pipeline",
    );
    server.cli(&["FLUSHALL"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    not_now(store.put_user(&north, "a", &key(1)).await, "OOM");
    let document = RealmDocument::default();
    let put = store.put_realm(&north, &document, 0, &"a".into()).await;
    not_now(put.map(drop), "OOM");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    server.cli(&["SET", "relay:realm:{bm9ydGguZ292}", "not json"]);
    let corrupt = store
        .put_realm(&north, &RealmDocument::default(), 0, &"a".into())
        .await;
    assert!(corrupt.is_err(), "{corrupt:?}");
    server.cli(&["SADD", "relay:realms", "north.gov"]);
    let corrupt = store.realms().await;
    assert!(
        matches!(corrupt, Err(StoreError::Corrupt { .. })),
        "{corrupt:?}"
    );
    server.cli(&["FLUSHALL"]);
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    not_now(store.put_user(&north, "a", &key(1)).await, "READONLY");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    back(&store).await;
    server.kill();
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
}

/// A secret that goes from the one place to the other is in one of them whatever Redis takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_loses_no_secret_and_says_so() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    let north = realm("north.gov");
    let secret = |state| StoredSecret {
        value: Secret::new("deep".to_owned()),
        label: "web".to_owned(),
        created_at_ms: 1,
        state,
    };
    for (before, after) in [
        (SecretState::Pending, SecretState::Active),
        (SecretState::Active, SecretState::Retired),
    ] {
        store.put_secret(&north, &secret(before)).await.unwrap();
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = store.put_secret(&north, &secret(after)).await;
        assert!(refused.is_err_and(|error| error.may_pass()));
        let stored = store.secrets(&north).await.unwrap();
        assert_eq!((stored.len(), stored[0].state), (1, before));
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        store.put_secret(&north, &secret(after)).await.unwrap();
        assert_eq!(store.secrets(&north).await.unwrap()[0].state, after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_users_is_warned_of() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.warnings(), Vec::<String>::new());
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let warnings = wait_for_async("a warning", Duration::from_secs(30), || async {
        Some(store.warnings()).filter(|all| !all.is_empty())
    })
    .await;
    assert!(warnings[0].contains("allkeys-lru") && warnings[0].contains("noeviction"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_noticed_and_filled_again() {
    let world = World::redis();
    let (store, id) = (&world.store, "fra-1".parse().unwrap());
    store.heartbeat(&node("fra-1", 3)).await.unwrap();
    server(&world).cli(&["ZADD", "relay:nodes", "1700000000000", "fra-1"]);
    let nodes = store.nodes().await.unwrap();
    assert!(nodes.is_empty(), "silent for more than a day: {nodes:?}");
    let mut changes = store.changes();
    server(&world).cli(&["FLUSHALL"]);
    told(&mut changes, |change| *change == Change::Everything).await;
    assert!(store.nodes().await.unwrap().is_empty());
    store.heartbeat(&node("fra-1", 3)).await.unwrap();
    assert_eq!(store.nodes().await.unwrap().len(), 1);
    assert_eq!(
        store.next_epoch(&id).await.unwrap(),
        4,
        "a living node brings its count back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_client_tracking_everything_is_read_again() {
    let rules = acl("gateway", "").replace("+client|tracking", "");
    let server = RedisServer::start_with_acl(&rules);
    let store = RedisStore::connect(&options(&server, "relayd-gateway")).unwrap();
    store.ping().await.unwrap();
    let mut changes = store.changes();
    server.cli(&[
        "SET",
        "turn/realm/north.gov/user/gorst/key",
        &"ab".repeat(16),
    ]);
    let everything = tokio::time::timeout(Duration::from_secs(8), changes.recv()).await;
    assert_eq!(everything.unwrap().unwrap(), Change::Everything);
    wait_for_async("the user in a page", Duration::from_secs(8), || async {
        (store.users(None, None, 10).await.unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_given_authority_only() {
    let server = RedisServer::start_with_tls();
    let trusting = RedisOptions {
        ca_file: Some(server.ca_file()),
        ..RedisOptions::new(server.url())
    };
    let store = RedisStore::connect(&trusting).unwrap();
    store
        .put_user(&realm("north.gov"), "gorst", &key(1))
        .await
        .unwrap();
    let mailbox = Mailbox::Node("fra-1".parse().unwrap());
    store.post(&mailbox, b"x".to_vec()).await.unwrap();
    assert_eq!(
        store
            .receive(&mailbox, Duration::from_secs(1))
            .await
            .unwrap(),
        [b"x"]
    );
    let strict = RedisStore::connect(&RedisOptions::new(server.url())).unwrap();
    assert!(
        strict.ping().await.is_err(),
        "the system knows nothing of this authority"
    );
    let careless = RedisOptions {
        insecure: true,
        ..RedisOptions::new(server.url())
    };
    RedisStore::connect(&careless)
        .unwrap()
        .ping()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_can_never_work_are_refused_without_showing_a_password() {
    for url in [
        "nonsense:hunter2",
        "redis://user:hunter2@192.0.2.1/",
        "http://hunter2@x/",
    ] {
        let error = RedisStore::connect(&RedisOptions::new(url)).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let store = RedisStore::connect(&RedisOptions::new("redis://user:hunter2@127.0.0.1:1/"));
    assert!(!format!("{store:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_takes_less_than_the_stated_memory() {
    const COUNT: u32 = 20_000;
    let world = World::redis();
    let id = "fra-1".parse().unwrap();
    let later = now_ms() + 600_000;
    let all: Vec<_> = (0..COUNT).map(|i| session(i, later)).collect();
    world.store.flush_sessions(&id, 1, &all, &[]).await.unwrap();
    let key = "relay:node:{fra-1}:sessions";
    let used = server(&world).cli(&["MEMORY", "USAGE", key, "SAMPLES", "0"]);
    let used: u64 = used.trim_start_matches("(integer) ").parse().unwrap();
    let each = used / u64::from(COUNT);
    assert!((100..=400).contains(&each), "{each} bytes a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_owns_goes_with_its_lease() {
    let world = World::redis();
    let (store, id) = (&world.store, "fra-1".parse().unwrap());
    let epoch = store.next_epoch(&id).await.unwrap();
    let sessions = [session(1, now_ms() + 60_000)];
    store.flush_sessions(&id, 1, &sessions, &[]).await.unwrap();
    store.heartbeat(&node("fra-1", epoch)).await.unwrap();
    let keys = ["", ":epoch", ":sessions"].map(|what| format!("relay:node:{{fra-1}}{what}"));
    for key in &keys {
        let left: i64 = server(&world).cli(&["PTTL", key]).trim().parse().unwrap();
        let day = 24 * 3600 * 1000;
        assert!((day - 60_000..=day).contains(&left), "{key}: {left}");
    }
    // The lease is over: others take it off the list, and it owns nothing any more.
    server(&world).cli(&["ZADD", "relay:nodes", "1700000000000", "fra-1"]);
    for key in &keys {
        server(&world).cli(&["DEL", key]);
    }
    store.heartbeat(&node("ams-1", 1)).await.unwrap();
    let listed = server(&world).cli(&["ZRANGE", "relay:nodes", "0", "-1"]);
    assert!(
        !listed.contains("fra-1") && listed.contains("ams-1"),
        "{listed}"
    );
    assert!(store.heartbeat(&node("fra-1", epoch)).await.unwrap());
}
