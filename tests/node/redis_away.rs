//! A Redis that is away at the start: the node says so once, serves, and joins when it is back.

use std::time::Duration;

use kit::client::Login;
use kit::cluster::cluster_key;
use kit::node::{Node, NodeOptions, REALM, stored_login};
use kit::redis::RedisServer;
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
