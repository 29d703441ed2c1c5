//! Nodes that stop, fall silent, are forgotten, and come back.

use std::time::{Duration, Instant};

use kit::cluster::Cluster;
use kit::node::{Node, stored_login};
use kit::wait::wait_until;
use relayctl::client::AdminApi as _;
use shared::api::NodeState;

/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(30);
/// A clean stop is told, not found out: well below the five seconds of silence.
const TOLD: Duration = Duration::from_secs(4);

fn state(at: &Node, id: &str) -> Option<NodeState> {
    let id = id.parse().unwrap();
    Some(at.admin().call(|api| api.node(&id)).ok()?.state)
}

#[test]
fn a_clean_stop_says_gone_at_once_and_a_forgotten_node_may_come_back() {
    let mut cluster = Cluster::start();
    let id = cluster.nodes[0].id().to_owned();
    let alive = cluster.nodes[1]
        .ctl()
        .run(&["node", "forget", &id, "--yes"]);
    assert!(alive.stderr.contains("stop it first"), "{}", alive.stderr);
    cluster.nodes[0].signal("TERM");
    cluster.nodes[0].wait_exit();
    let stopped = Instant::now();
    for other in &cluster.nodes[1..] {
        wait_until("the others to know", EVENTUALLY, || {
            state(other, &id) == Some(NodeState::Gone)
        });
    }
    assert!(stopped.elapsed() < TOLD, "{:?}", stopped.elapsed());
    let drained = cluster.nodes[1].ctl().run(&["node", "drain", &id, "--yes"]);
    assert!(drained.stderr.contains("has stopped"), "{}", drained.stderr);
    let forgotten = cluster.nodes[1]
        .ctl()
        .run(&["node", "forget", &id, "--yes"]);
    assert_eq!(forgotten.code, 0, "{}", forgotten.stderr);
    for other in &cluster.nodes[1..] {
        wait_until("the node to leave the list", EVENTUALLY, || {
            state(other, &id).is_none()
        });
    }
    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    cluster.wait_met();
}

#[test]
fn a_node_that_was_forgotten_while_it_was_silent_brings_back_what_it_owns() {
    let cluster = Cluster::start();
    let silent = &cluster.nodes[0];
    let sessions = format!("relay:node:{{{}}}:sessions", silent.id());
    let kept = || cluster.redis.cli(&["HLEN", &sessions]).trim().to_owned();
    let mut client = silent.client(&stored_login());
    client.allocate().unwrap();
    wait_until("the session to be in the store", EVENTUALLY, || {
        kept() == "1"
    });
    silent.signal("STOP");
    wait_until("the node to be silent", EVENTUALLY, || {
        state(&cluster.nodes[1], silent.id()) == Some(NodeState::Stale)
    });
    let forget = ["node", "forget", silent.id(), "--yes"];
    let forgotten = cluster.nodes[1].ctl().run(&forget);
    // Resumed before anything may panic: a stopped process would not end.
    silent.signal("CONT");
    assert_eq!(forgotten.code, 0, "{}", forgotten.stderr);
    cluster.wait_met();
    wait_until("the session to be in the store again", EVENTUALLY, || {
        kept() == "1"
    });
    client.refresh(600).unwrap();
}
