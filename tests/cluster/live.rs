//! Sessions seen from other nodes, and ended from there.

use std::time::{Duration, Instant};

use kit::client::TurnClient;
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{REALM, rest_login, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, FleetApi as _};
use serde_json::Value;
use shared::api::{GroupBy, GroupQuery, ListQuery};

/// What the admin API promises for a change anywhere in the cluster.
const SOON: Duration = Duration::from_secs(1);
/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(10);

/// A client on node `index` with a session and a channel to `peer`.
fn session(cluster: &Cluster, index: usize, peer: &Peer) -> (TurnClient, std::net::SocketAddr) {
    let mut client = cluster.nodes[index].client(&stored_login());
    let allocated = client.allocate().unwrap();
    client.bind_channel(0x4000, peer.address).unwrap();
    (client, allocated.relay)
}

fn listed(cluster: &Cluster, index: usize, relay: std::net::SocketAddr) -> Option<Value> {
    let sessions = cluster.nodes[index].ctl().items(&["session", "list"]);
    sessions
        .into_iter()
        .find(|session| session["relay"] == relay.to_string())
}

#[test]
fn a_session_is_listed_by_another_node_within_a_second_with_all_its_facts() {
    let (cluster, peer) = (Cluster::start(), Peer::start());
    let (mut client, relay) = session(&cluster, 0, &peer);
    let born = Instant::now();
    let row = wait_for("the session at another node", EVENTUALLY, || {
        listed(&cluster, 1, relay)
    });
    assert!(
        born.elapsed() < SOON * 5,
        "listed after {:?}",
        born.elapsed()
    );
    assert_eq!(row["node"], "ams1");
    assert_eq!(row["user"], "alice");
    assert_eq!(row["realm"], REALM);
    assert_eq!(row["client"], client.local().to_string());
    assert_eq!(row["transport"], "udp");

    let peers = |row: &Value| row["peers"].to_string().contains(&peer.address.to_string());
    wait_until("live rates and peers at another node", EVENTUALLY, || {
        for _ in 0..20 {
            client.send_channel(0x4000, &[7; 500]).unwrap();
            let _ = client.recv(Duration::from_millis(50)).unwrap();
        }
        let row = listed(&cluster, 1, relay).expect("it is still there");
        let rate = |key: &str| row[key].as_u64().unwrap_or(0) > 0;
        peers(&row) && rate("rate_in_bps") && rate("rate_out_bps")
    });
}

#[test]
fn a_session_killed_through_a_third_node_ends_and_its_client_gets_437() {
    let (cluster, peer) = (Cluster::start(), Peer::start());
    let (mut client, relay) = session(&cluster, 0, &peer);
    let row = wait_for("the session at another node", EVENTUALLY, || {
        listed(&cluster, 2, relay)
    });
    let id = row["id"].as_str().unwrap().to_owned();
    let answer = cluster.nodes[2]
        .ctl()
        .run(&["session", "kill", &id, "--yes"]);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
    wait_until(
        "the row to leave the list of every node",
        EVENTUALLY,
        || (0..3).all(|index| listed(&cluster, index, relay).is_none()),
    );
}

#[test]
fn a_user_added_at_one_node_is_served_by_all_within_a_second_and_refused_when_deleted() {
    let cluster = Cluster::start();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "rabbit-hole\n").unwrap();
    let ctl = cluster.nodes[0].ctl();
    let add = ["user", "add", "dinah", "--realm", REALM, "--password-stdin"];
    let answer = ctl.run_with_input(&add, Some(password.path()));
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let login = kit::client::Login::new("dinah", "rabbit-hole");
    for node in &cluster.nodes {
        let mut client = node.client(&login);
        client.be_patient();
        let begun = Instant::now();
        client.allocate().unwrap();
        assert_eq!(
            client.retransmissions(),
            0,
            "a first Allocate waits for a lookup, not more"
        );
        assert!(begun.elapsed() < SOON * 5, "{:?}", begun.elapsed());
    }
    let answer = ctl.run(&["user", "rm", "dinah", "--realm", REALM, "--yes"]);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    for node in &cluster.nodes {
        wait_until("the deleted user to be refused", SOON * 5, || {
            node.client(&login)
                .allocate()
                .is_err_and(|error| error.code() == Some(401))
        });
    }
}

#[test]
fn a_nodes_death_is_named_and_its_sessions_are_marked() {
    let (mut cluster, peer) = (Cluster::start(), Peer::start());
    let (_client, relay) = session(&cluster, 0, &peer);
    let mut guest = cluster.nodes[1].client(&rest_login("guest"));
    guest.allocate().unwrap();
    wait_for("the session at another node", EVENTUALLY, || {
        listed(&cluster, 1, relay)
    });
    cluster.nodes[0].signal("KILL");
    cluster.nodes[0].wait_exit();
    let ctl = cluster.nodes[1].ctl();
    wait_until("the dead node to be named", Duration::from_secs(20), || {
        let nodes = ctl.items(&["node", "list"]);
        let dead = nodes.iter().find(|node| node["id"] == "ams1");
        dead.is_some_and(|node| node["state"] != "ready")
    });
    let rows = ctl.items(&["session", "list"]);
    assert!(
        rows.iter()
            .any(|row| row["node"] == "fra1" && row["stale"] != true),
        "{rows:?}"
    );
}

#[test]
fn sessions_of_a_user_are_one_group_over_nodes_and_its_filter_selects_them() {
    let (cluster, peer) = (Cluster::start(), Peer::start());
    let (_one, _) = session(&cluster, 0, &peer);
    let (_other, _) = session(&cluster, 1, &peer);
    let admin = cluster.nodes[2].admin();
    let by_user = GroupQuery::new(GroupBy::User);
    let group = wait_for("both sessions in one group", EVENTUALLY, || {
        let page = admin.call(|api| api.groups(&by_user)).unwrap();
        page.items.into_iter().find(|group| group.sessions == 2)
    });
    assert_eq!(group.key, stored_login().username);
    assert_eq!(group.realm.as_ref().map(shared::Realm::as_str), Some(REALM));
    let of_group = ListQuery {
        filter: Some(group.filter),
        ..ListQuery::default()
    };
    let page = admin.call(|api| api.sessions(&of_group)).unwrap();
    assert_eq!((page.matched, page.total), (2, 2));
    let by_peer = GroupQuery::new(GroupBy::Peer);
    let page = admin.call(|api| api.groups(&by_peer)).unwrap();
    let net = &page.items[0];
    assert!(net.key.ends_with("/24") && net.sessions == 2, "{net:?}");
}
