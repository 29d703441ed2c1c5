//! A Redis that is away at the start: the node says so once, serves, and joins when it is back.

use std::time::Duration;

use kit::client::Login;
use kit::cluster::cluster_key;
use kit::node::{Node, NodeOptions, REALM, SECRET, stored_login};
use kit::redis::RedisServer;
use kit::survivors::{Survivors, sessions};
use kit::wait::wait_until;

#[test]
fn a_node_serves_its_file_without_redis_and_joins_when_it_comes() {
    let mut redis = RedisServer::start();
    redis.kill();
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::prepare(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    node.launch();
    node.wait_answering("/healthz");
    wait_until(
        "the file's user to be served",
        Duration::from_secs(15),
        || node.client(&stored_login()).allocate().is_ok(),
    );
    let (_, reasons) = kit::http::get(node.metrics, "/readyz").unwrap();
    assert!(
        reasons.contains("store") || reasons.contains("redis"),
        "{reasons}"
    );

    redis.restart();
    let key = format!("turn/realm/{REALM}/user/dormouse/key");
    let hash = turn_proto::auth::credential::LongTermKey::derive("dormouse", REALM, "sleepy");
    let hash: String = hash
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    redis.cli(&["SET", &key, &hash]);
    let login = Login::new("dormouse", "sleepy");
    wait_until("the node to join", Duration::from_secs(30), || {
        node.client(&login).allocate().is_ok()
    });
    let ctl = node.ctl();
    wait_until("the node in the registry", Duration::from_secs(15), || {
        ctl.items(&["node", "list"])
            .iter()
            .any(|row| row["store"]["connected"] == true)
    });
}

#[test]
fn sessions_notice_nothing_of_a_redis_that_dies() {
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let peer = kit::coturn::Peer::start();
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    client.bind_channel(0x4000, peer.address).unwrap();
    redis.kill();
    for _ in 0..50 {
        client.send_channel(0x4000, b"still here").unwrap();
        assert!(client.recv(Duration::from_secs(2)).unwrap().is_some());
    }
    assert_eq!(client.refresh(600).unwrap(), 600);
}

/// Numbered packets of 50 sessions, 50 a second each: none may be missing.
#[test]
fn no_packet_is_lost_while_redis_is_killed_paused_and_emptied() {
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    // Ten peers: what one of them has to wait for must not fill its socket.
    let peers: Vec<_> = (0..10).map(|_| kit::coturn::Peer::start()).collect();
    let login = |number: usize| Login::rest(&format!("4000000000:user-{number}"), SECRET);
    let join = |numbers: std::ops::Range<usize>| -> Vec<_> {
        let made = numbers.flat_map(|number| {
            let peer = peers[number % peers.len()].address;
            sessions(node.turn, vec![login(number)], peer)
        });
        made.collect()
    };
    let before = Survivors::start(join(0..25), Duration::from_millis(20));
    let talk = || before.all_heard_within(Duration::from_secs(5));
    wait_until("all in the store", Duration::from_secs(10), || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]) == "25"
    });
    redis.kill();
    talk();
    // Those of a shared secret need no store.
    let during = Survivors::start(join(25..50), Duration::from_millis(20));
    during.all_heard_within(Duration::from_secs(5));
    redis.restart();
    wait_until("all in the store again", Duration::from_secs(20), || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]) == "50"
    });
    redis.pause();
    talk();
    during.all_heard_within(Duration::from_secs(5));
    redis.resume();
    talk();
    redis.restart_empty();
    talk();
    wait_until("what the node owns", Duration::from_secs(10), || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]) == "50"
            && redis.cli(&["HEXISTS", "relay:node:{ams1}", "record"]) == "1"
    });
    for survivors in [before, during] {
        let (_, summary) = survivors.stop();
        assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
        assert!(summary.sent > 25 * 25, "{summary:?}");
    }
}

/// What becomes of new sessions while Redis is away is each realm's own choice.
#[test]
fn a_realm_says_whether_new_sessions_begin_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let ctl = node.ctl();
    let set = |value: &str| {
        let setting = format!("new_sessions_without_store={value}");
        let set = ctl.run(&["realm", "set", REALM, &setting, "--yes"]);
        assert_eq!(set.code, 0, "{}", set.stderr);
    };
    let peer = kit::coturn::Peer::start();
    let mut call = node.client(&stored_login());
    call.allocate().unwrap();
    call.bind_channel(0x4000, peer.address).unwrap();
    let guest = |name: &str| {
        let login = Login::rest(&format!("4000000000:{name}"), SECRET);
        node.client(&login).allocate()
    };
    let refused = |name: &str| guest(name).is_err_and(|error| error.code() == Some(508));
    set("refuse");
    guest("with-redis").unwrap();

    redis.kill();
    wait_until("new ones to be refused", Duration::from_secs(15), || {
        refused("without-redis")
    });
    let file = node.client(&stored_login()).allocate();
    assert!(file.is_err_and(|error| error.code() == Some(508)));
    call.send_channel(0x4000, b"still here").unwrap();
    assert!(call.recv(Duration::from_secs(2)).unwrap().is_some());
    assert_eq!(call.refresh(600).unwrap(), 600, "calls go on");
    wait_until("a reason in the counters", Duration::from_secs(10), || {
        let (_, metrics) = kit::http::get(node.metrics, "/metrics").unwrap();
        metrics.contains("reason=\"store_away\"")
    });

    redis.restart();
    wait_until("new ones to be served", Duration::from_secs(20), || {
        guest("with-redis-again").is_ok()
    });
    wait_until(
        "the realm to be kept as before",
        Duration::from_secs(20),
        || {
            let set = [
                "realm",
                "set",
                REALM,
                "new_sessions_without_store=cached",
                "--yes",
            ];
            ctl.run(&set).code == 0
        },
    );
    redis.kill();
    wait_until("the node to notice", Duration::from_secs(15), || {
        let (_, reasons) = kit::http::get(node.metrics, "/readyz").unwrap();
        reasons.contains("store")
    });
    guest("known-by-its-secret").unwrap();
    node.client(&stored_login()).allocate().unwrap();
}
