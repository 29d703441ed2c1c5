//! A node over a Redis Cluster: slots move, a master dies, another one stands still; calls go on.

use std::net::SocketAddr;
use std::time::Duration;

use kit::client::Login;
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::gate::Gate;
use kit::node::{Node, NodeOptions, REALM, SECRET};
use kit::redis_cluster::{ClusterSetup, MASTERS, RedisCluster};
use kit::survivors::{Survivors, crowd, sessions};
use kit::wait::{wait_for, wait_until};
use turn_proto::auth::credential::LongTermKey;

use crate::restart::report;

/// The key that has the node's sessions.
const SESSIONS: &str = "relay:node:{ams1}:sessions";
/// A failover takes the servers some seconds, and the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(60);

fn options(cluster: &RedisCluster, folder: &tempfile::TempDir) -> NodeOptions {
    let servers: Vec<String> = cluster
        .list()
        .iter()
        .map(|at| format!("\"{at}\""))
        .collect();
    NodeOptions {
        redis: Some(cluster.servers[0].url()),
        store: format!("cluster = [{}]", servers.join(", ")),
        cluster_key: Some(cluster_key(folder)),
        ..NodeOptions::default()
    }
}

/// Waits until so many sessions are in the store.
#[track_caller]
fn stored(cluster: &RedisCluster, count: usize) {
    let count = count.to_string();
    wait_until("all in the store", FAILOVER, || {
        let mut running = cluster.servers.iter().filter(|server| server.answers());
        // Who is not the master says so.
        running.any(|server| server.cli(&["HLEN", SESSIONS]) == count)
    });
}

#[test]
fn no_packet_is_lost_while_slots_move_and_masters_go() {
    let mut cluster = RedisCluster::start_as(&ClusterSetup {
        replicas: true,
        node_timeout_ms: Some(3000),
        ..ClusterSetup::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(options(&cluster, &folder));
    let peers: Vec<_> = (0..10).map(|_| Peer::start()).collect();
    let talking = Survivors::start(crowd(node.turn, &peers, 0..50), Duration::from_millis(20));
    let talk = || talking.all_heard_within(Duration::from_secs(10));
    stored(&cluster, 50);
    talk();

    // The slot of all that the node owns goes to another server, with everything in it.
    let slot = cluster.slot(SESSIONS);
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    cluster.begin_move(slot, from, to);
    let mut more = crowd(node.turn, &peers, 50..52);
    wait_until("a question to be sent on", FAILOVER, || {
        cluster.errors("ASK") + cluster.errors("TRYAGAIN") > 0
    });
    cluster.move_keys(slot, from, to);
    // What came meanwhile.
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, from, to);
    stored(&cluster, 52);
    wait_until("a command that was sent on", FAILOVER, || {
        cluster.errors("MOVED") > 0
    });
    talk();

    cluster.servers[to].kill();
    talk();
    more.extend(crowd(node.turn, &peers, 52..54));
    stored(&cluster, 54);
    cluster.servers[to].restart();
    cluster.wait_whole();
    let master = cluster.master_of(slot, (to + 1) % MASTERS);
    cluster.servers[master].pause();
    talk();
    more.extend(crowd(node.turn, &peers, 54..56));
    let second = wait_for("another master", FAILOVER, || {
        let knows = (0..cluster.servers.len()).find(|number| *number != master)?;
        Some(cluster.master_of(slot, knows)).filter(|second| *second != master)
    });
    talk();
    cluster.servers[master].resume();
    assert_ne!(second, master);
    cluster.wait_whole();
    stored(&cluster, 56);
    talk();
    let (clients, summary) = talking.stop();
    report(&format!("cluster: {summary:?}"));
    assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
    assert!(summary.sent > 50 * 50, "{summary:?}");

    // None of the six servers may be anybody's peer.
    let mut client = node.client(&Login::rest("4000000000:curious", SECRET));
    client.allocate().unwrap();
    for (channel, server) in (0x4002..).zip(&cluster.servers) {
        let server = SocketAddr::from(([127, 0, 0, 1], server.port));
        let refused = client.bind_channel(channel, server).unwrap_err();
        assert_eq!(refused.code(), Some(403), "{server}");
    }
    drop(more);

    node.kill();
    node.launch();
    node.wait_ready();
    let talking = Survivors::start(clients, Duration::from_millis(20));
    talking.all_heard_within(Duration::from_secs(20));
    assert_eq!(talking.stop().1.doubled, 0);
}

/// A node starts again and reads what it had, and in the middle of that it all moves to another server.
#[test]
fn sessions_go_on_from_a_slot_that_moves_while_they_are_read() {
    const COUNT: usize = 1200;
    let cluster = RedisCluster::start();
    let folder = tempfile::tempdir().unwrap();
    let slot = cluster.slot(SESSIONS);
    let from = cluster.master_of(slot, 0);
    let to = (from + 1) % MASTERS;
    let gate = Gate::before(cluster.servers[from].port);
    cluster.announce(from, gate.port);
    let mut node = Node::start(options(&cluster, &folder));
    let peer = Peer::start();
    let login = |number| Login::rest(&format!("4000000000:user-{number}"), SECRET);
    let clients = sessions(node.turn, (0..COUNT).map(login).collect(), peer.address);
    let talking = Survivors::start(clients, Duration::from_millis(500));
    stored(&cluster, COUNT);
    node.wait_written();
    node.kill();
    cluster.begin_move(slot, from, to);
    gate.hold(b"HSCAN", 1);
    node.launch();
    gate.wait_held(FAILOVER);
    cluster.move_keys(slot, from, to);
    gate.open();
    talking.mark();
    talking.all_heard_within(FAILOVER);
    let (_, summary) = talking.stop();
    report(&format!("a slot that moved: {summary:?}"));
    assert_eq!(summary.doubled, 0, "{summary:?}");
    node.wait_ready();
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, from, to);
    assert_eq!(node.metric("relayd_sessions"), Some(COUNT as f64));
    stored(&cluster, COUNT);
}

/// Calls of users whose server lost everything go on; that of one who was removed ends.
#[test]
fn a_server_that_was_emptied_ends_no_call() {
    let cluster = RedisCluster::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        end: "revoke_on_user_removal = true\n".to_owned(),
        ..options(&cluster, &folder)
    });
    let key = |name: &str| format!("turn/realm/{REALM}/user/{name}/key");
    let write = |name: &str| {
        let hash = LongTermKey::derive(name, REALM, "tea");
        let hex = hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        let said = cluster.cli(&["SET", &key(name), &hex.collect::<String>()]);
        assert_eq!(said, "OK");
    };
    let names: Vec<String> = (0..12).map(|number| format!("user-{number}")).collect();
    let mut calls: Vec<_> = names
        .iter()
        .map(|name| {
            write(name);
            let mut client = node.client(&Login::new(name, "tea"));
            wait_until("the login to be accepted", FAILOVER, || {
                client.allocate().is_ok()
            });
            (cluster.master_of(cluster.slot(&key(name)), 0), name, client)
        })
        .collect();
    // Not the one that has the mark of the whole store.
    let marked = cluster.master_of(cluster.slot("relay:document:{mark}"), 0);
    let emptied = (marked + 1) % MASTERS;
    assert_eq!(cluster.servers[emptied].cli(&["FLUSHALL"]), "OK");
    // The one that is removed is known to a server that has everything.
    let removed = calls.iter().position(|(server, ..)| *server != emptied);
    let (_, name, mut client) = calls.swap_remove(removed.unwrap());
    wait_until("the call of a removed user to end", FAILOVER, || {
        cluster.cli(&["DEL", &key(name)]);
        let ended = client.refresh(600).is_err();
        if !ended {
            write(name);
        }
        ended
    });
    let lost = calls.iter().filter(|(server, ..)| *server == emptied);
    assert!(lost.count() > 0, "somebody's server was emptied");
    for (server, name, client) in &mut calls {
        assert_eq!(
            client.refresh(600).unwrap(),
            600,
            "{name} of server {server}"
        );
    }
}
