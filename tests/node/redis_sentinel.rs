//! A node whose Redis fails over: calls go on, and the store is in order afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use kit::client::Login;
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, SECRET};
use kit::sentinel::{MASTER, Sentinels};
use kit::survivors::{Survivors, crowd};
use kit::wait::wait_until;

use crate::restart::report;

/// The sentinels take some seconds, and the machine may be busy.
const FAILOVER: Duration = Duration::from_secs(120);

/// Waits until the master of the moment has so many sessions.
#[track_caller]
fn stored(sentinels: &Sentinels, count: &str) {
    wait_until("all in the store", FAILOVER, || {
        let master = &sentinels.servers[sentinels.master()];
        master.cli(&["HLEN", "relay:node:{ams1}:sessions"]) == count
    });
}

fn start(sentinels: &Sentinels, folder: &tempfile::TempDir) -> Node {
    let list = sentinels.list();
    let list: Vec<String> = list.iter().map(|at| format!("\"{at}\"")).collect();
    Node::start(NodeOptions {
        redis: Some(format!("redis://{MASTER}/")),
        store: format!("sentinels = [{}]", list.join(", ")),
        cluster_key: Some(cluster_key(folder)),
        ..NodeOptions::default()
    })
}

#[test]
fn no_packet_is_lost_while_sentinels_make_another_master() {
    let mut sentinels = Sentinels::start();
    let folder = tempfile::tempdir().unwrap();
    let mut node = start(&sentinels, &folder);
    let peers: Vec<_> = (0..10).map(|_| Peer::start()).collect();
    let join = |numbers| crowd(node.turn, &peers, numbers);
    let before = Survivors::start(join(0..25), Duration::from_millis(20));
    stored(&sentinels, "25");
    let first = sentinels.master();
    sentinels.servers[first].kill();
    // Those of a shared secret need no store.
    let during = Survivors::start(join(25..50), Duration::from_millis(20));
    wait_until("another master", FAILOVER, || sentinels.master() != first);
    stored(&sentinels, "50");
    let talk = || {
        before.all_heard_within(Duration::from_secs(10));
        during.all_heard_within(Duration::from_secs(10));
    };
    talk();
    sentinels.servers[first].restart();
    wait_until("the old master to follow", FAILOVER, || {
        let told = sentinels.servers[first].cli(&["INFO", "replication"]);
        told.contains("master_link_status:up")
    });
    let second = sentinels.master();
    sentinels.servers[second].pause();
    talk();
    wait_until("the first one again", FAILOVER, || {
        sentinels.master() == first
    });
    sentinels.servers[second].resume();
    let late = join(50..52);
    stored(&sentinels, "52");
    talk();
    drop(late);
    let mut clients = Vec::new();
    for survivors in [before, during] {
        let (mut heard, summary) = survivors.stop();
        report(&format!("sentinels: {summary:?}"));
        assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
        assert!(summary.sent > 25 * 50, "{summary:?}");
        clients.append(&mut heard);
    }
    refuses_servers_as_peers(&node, &sentinels);

    node.kill();
    node.launch();
    node.wait_ready();
    let talking = Survivors::start(clients, Duration::from_millis(20));
    talking.all_heard_within(Duration::from_secs(20));
    assert_eq!(talking.stop().1.doubled, 0);
}

/// Neither of the two servers may be anybody's peer, nor one of those that watch over them.
#[track_caller]
fn refuses_servers_as_peers(node: &Node, sentinels: &Sentinels) {
    let mut client = node.client(&Login::rest("4000000000:curious", SECRET));
    client.allocate().unwrap();
    let watching = sentinels.list();
    let watching = watching.iter().map(|at| at.parse().unwrap());
    let ports = sentinels.servers.iter().map(|server| server.port);
    let servers = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    for (channel, server) in (0x4002..).zip(servers.chain(watching)) {
        let refused = client.bind_channel(channel, server).unwrap_err();
        assert_eq!(refused.code(), Some(403), "{server}");
    }
}
