//! A node that was killed, and what goes on: at itself when it starts again, at a standby that has its
//! address.

use std::time::Duration;

use kit::client::TurnClient;
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{Node, rest_login, stored_login};
use kit::survivors::{CHANNEL, Survivors};
use kit::wait::{wait_for, wait_until};

/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(10);

#[test]
fn a_session_that_went_on_is_shown_and_killed_through_other_nodes() {
    let mut cluster = Cluster::start();
    let mut clients: Vec<_> = (0..2)
        .map(|_| {
            let mut client = cluster.nodes[0].client(&stored_login());
            client.allocate().unwrap();
            client
        })
        .collect();
    let ids = |cluster: &Cluster, index: usize| -> Vec<String> {
        let rows = cluster.nodes[index].ctl().items(&["session", "list"]);
        let ids = rows
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let mut before = wait_for("both sessions at another node", EVENTUALLY, || {
        Some(ids(&cluster, 1)).filter(|ids| ids.len() == 2)
    });
    before.sort();
    wait_until("both in the store", EVENTUALLY, || {
        let count = cluster.redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]);
        count.trim() == "2"
    });
    for _ in 0..2 {
        cluster.nodes[0].kill();
        cluster.nodes[0].launch();
        cluster.nodes[0].wait_ready();
    }
    wait_until("both sessions at the others", EVENTUALLY, || {
        let mut after = ids(&cluster, 2);
        after.sort();
        after == before
    });
    let ctl = cluster.nodes[2].ctl();
    for id in &before {
        let shown = ctl.run(&["session", "show", id, "-o", "json"]);
        assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
        assert!(shown.stdout.contains(id), "{}", shown.stdout);
        let killed = ctl.run(&["session", "kill", id, "--yes"]);
        assert_eq!(killed.code, 0, "{}{}", killed.stdout, killed.stderr);
    }
    for client in &mut clients {
        assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
    }
}

/// A client of node 0 that heard its peer once.
fn caller(cluster: &Cluster, number: usize, peer: &Peer) -> TurnClient {
    let login = rest_login(&format!("caller-{number}"));
    let mut client = cluster.nodes[0].client(&login);
    client.allocate().unwrap();
    client.bind_channel(CHANNEL, peer.address).unwrap();
    client
}

fn records(cluster: &Cluster, node: &str) -> String {
    let key = format!("relay:node:{{{node}}}:sessions");
    cluster.redis.cli(&["HLEN", &key])
}

#[test]
fn a_standby_that_gets_the_address_of_a_dead_node_goes_on_with_its_sessions() {
    let (mut cluster, peer) = (Cluster::start(), Peer::start());
    let clients: Vec<_> = (0..20).map(|n| caller(&cluster, n, &peer)).collect();
    wait_until("all in the store", EVENTUALLY, || {
        records(&cluster, "ams1") == "20"
    });
    cluster.nodes[0].wait_written();
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    cluster.nodes[0].kill();
    // The standby has another id and state, and the dead node's address.
    let mut standby = Node::in_place_of(&cluster.nodes[0], "sta1");
    standby.arguments = vec!["--adopt".to_owned(), "ams1".to_owned()];
    standby.launch();
    survivors.all_heard_within(EVENTUALLY);
    wait_until("all records under the standby", EVENTUALLY, || {
        records(&cluster, "sta1") == "20" && records(&cluster, "ams1") == "0"
    });
    standby.wait_ready();
    // Through a third node, by their old ids.
    let ctl = cluster.nodes[1].ctl();
    let rows = wait_for("the sessions at another node", EVENTUALLY, || {
        let rows = ctl.items(&["session", "list", "-f", "node=sta1"]);
        (rows.len() == 20).then_some(rows)
    });
    let id = rows[0]["id"].as_str().unwrap();
    wait_until("a kill by the old id", EVENTUALLY, || {
        ctl.run(&["session", "kill", id, "--yes"]).code == 0
    });
    wait_until("its record to go", EVENTUALLY, || {
        records(&cluster, "sta1") == "19"
    });
    // The standby may die as well.
    standby.kill();
    standby.arguments.clear();
    standby.launch();
    standby.wait_ready();
    let (mut clients, _) = survivors.stop();
    let refreshed = clients.iter_mut().map(|client| client.refresh(600));
    let refused = refreshed.filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 1, "all but the one that was killed");
}

#[test]
fn a_standby_takes_over_by_itself_when_a_node_falls_silent() {
    let (mut cluster, peer) = (Cluster::start(), Peer::start());
    let clients: Vec<_> = (0..5).map(|n| caller(&cluster, n, &peer)).collect();
    wait_until("all in the store", EVENTUALLY, || {
        records(&cluster, "ams1") == "5"
    });
    cluster.nodes[0].wait_written();
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    cluster.nodes[0].kill();
    let mut standby = Node::in_place_of(&cluster.nodes[0], "sta1");
    standby.change(|options| options.top.push_str("adopt = [\"ams1\"]\n"));
    standby.launch();
    survivors.all_heard_within(Duration::from_secs(30));
    drop(survivors.stop());
    // The dead one is told when it wants to go on.
    let listed = |node: &Node| node.ctl().items(&["session", "list"]).len();
    wait_until("the sessions at the standby", EVENTUALLY, || {
        listed(&standby) == 5
    });
}
