//! A Redis that is full: calls and new sessions go on, the node says so, and what waits is written
//! when there is room again.

use std::time::Duration;

use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions};
use kit::redis::RedisServer;
use kit::survivors::{Survivors, crowd};
use kit::wait::wait_until;

use crate::restart::report;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_full_redis_costs_no_packet_and_gets_all_when_there_is_room() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let peers: Vec<_> = (0..10).map(|_| Peer::start()).collect();
    let stored = |count: &str| {
        wait_until("all in the store", PATIENCE, || {
            redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]) == count
        });
    };
    let before = Survivors::start(crowd(node.turn, &peers, 0..25), Duration::from_millis(20));
    stored("25");
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let during = Survivors::start(crowd(node.turn, &peers, 25..50), Duration::from_millis(20));
    let says = |word: &str| {
        let (_, reasons) = kit::http::get(node.metrics, "/readyz").unwrap();
        reasons.contains(word)
    };
    wait_until("the node to say so", PATIENCE, || says("OOM"));
    assert!(!says("out of reach"));
    let (status, _) = kit::http::get(node.metrics, "/readyz").unwrap();
    assert_eq!(status, 200, "new sessions are served");
    // An edit that is not taken is not said to be done.
    let refused = node
        .ctl()
        .run(&["user", "add", "bob", "--realm", "north.gov"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    before.all_heard_within(Duration::from_secs(10));
    during.all_heard_within(Duration::from_secs(10));
    assert_eq!(redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]), "25");
    let events = redis.cli(&["XLEN", "relay:events"]);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    stored("50");
    wait_until("the events that waited", PATIENCE, || {
        let now = redis.cli(&["XLEN", "relay:events"]);
        let count = |text: &str| text.parse::<u64>().unwrap_or(0);
        count(&now) >= count(&events) + 25
    });
    wait_until("the node to say no more", PATIENCE, || !says("OOM"));
    for survivors in [before, during] {
        let (_, summary) = survivors.stop();
        report(&format!("full: {summary:?}"));
        assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
        assert!(summary.sent > 25 * 25, "{summary:?}");
    }
}
