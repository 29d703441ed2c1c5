//! A node that was killed and started again: the others know its sessions as before.

use std::time::Duration;

use kit::cluster::Cluster;
use kit::node::stored_login;
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
