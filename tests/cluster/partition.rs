//! A node that is cut off from Redis, silently, and comes back: its calls, new ones, its operators and the
//! others.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kit::client::{Login, TurnClient};
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::netns::{ip, isolated};
use kit::node::{Node, NodeOptions, Place, SECRET};
use kit::redis::RedisServer;
use kit::survivors::{CHANNEL, Survivors};
use kit::wait::wait_until;

const REDIS: &str = "10.9.0.1";
const PEER: &str = "10.9.0.3";
/// Nodes notice silence after five seconds, and try again for some seconds.
const NOTICED: Duration = Duration::from_secs(30);

/// A network of the test's own: Redis, clients and peers on a bridge, each node in a namespace.
fn network(nodes: &[(&str, &str)]) {
    ip("link add br0 type bridge");
    for address in [REDIS, PEER, "10.9.0.4"] {
        ip(&format!("address add {address}/24 dev br0"));
    }
    ip("link set br0 up");
    for (name, address) in nodes {
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ));
        ip(&format!("link set {name} master br0 up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
    }
}

/// What leaves for Redis goes nowhere, without an error.
fn cut(namespace: &str) {
    ip(&format!(
        "-n {namespace} neigh replace {REDIS} lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
    ));
}

fn join(namespace: &str) {
    ip(&format!("-n {namespace} neigh del {REDIS} dev eth0"));
}

fn node(redis: &RedisServer, key: &Path, id: &str, address: &str) -> Node {
    Node::start(NodeOptions {
        id: id.to_owned(),
        // The network is the test's own.
        redis: Some(format!(
            "redis://{REDIS}:{}/\"\ninsecure = true #\"",
            redis.port
        )),
        cluster_key: Some(key.to_owned()),
        allowed_peers: Some("10.9.0.0/24"),
        place: Some(Place {
            namespace: id.to_owned(),
            ip: address.parse().unwrap(),
        }),
        ..NodeOptions::default()
    })
}

fn client(node: &Node, user: &str) -> TurnClient {
    let login = Login::rest(&format!("4000000000:{user}"), SECRET);
    TurnClient::bound("10.9.0.4:0".parse().unwrap(), node.turn, login).unwrap()
}

fn talking(node: &Node, count: usize, peer: SocketAddr) -> Survivors {
    let make = |number: usize| {
        let mut client = client(node, &format!("user-{number}"));
        client.allocate().unwrap();
        client.bind_channel(CHANNEL, peer).unwrap();
        client
    };
    Survivors::start((0..count).map(make).collect(), Duration::from_millis(20))
}

fn state_of(node: &Node, seen_by: &Node) -> String {
    let rows = seen_by.ctl().items(&["node", "list"]);
    let row = rows.into_iter().find(|row| row["id"] == node.id());
    row.map_or_else(String::new, |row| row["state"].as_str().unwrap().to_owned())
}

/// Sessions of the node as another one lists them.
fn listed(seen_by: &Node, of: &Node) -> Vec<String> {
    let filter = format!("node={}", of.id());
    let rows = seen_by.ctl().items(&["session", "list", "-f", &filter]);
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_node_that_is_cut_off_from_redis_serves_on_and_is_found_again() {
    isolated(
        "partition::a_node_that_is_cut_off_from_redis_serves_on_and_is_found_again",
        || {
            network(&[("ams1", "10.9.0.11"), ("fra1", "10.9.0.12")]);
            let redis = RedisServer::start();
            let both = format!("127.0.0.1 {REDIS}");
            redis.cli(&["CONFIG", "SET", "protected-mode", "no"]);
            redis.cli(&["CONFIG", "SET", "bind", &both]);
            let folder = tempfile::tempdir().unwrap();
            let key = cluster_key(&folder);
            let ams1 = node(&redis, &key, "ams1", "10.9.0.11");
            let fra1 = node(&redis, &key, "fra1", "10.9.0.12");
            let peers: Vec<_> = (0..2)
                .map(|_| Peer::start_on(PEER.parse::<IpAddr>().unwrap()))
                .collect();
            let here = talking(&ams1, 25, peers[0].address);
            let there = talking(&fra1, 25, peers[1].address);
            wait_until("each to know the other's sessions", NOTICED, || {
                listed(&fra1, &ams1).len() == 25 && listed(&ams1, &fra1).len() == 25
            });

            cut("ams1");
            wait_until("the silence to be noticed", NOTICED, || {
                state_of(&ams1, &fra1) == "stale"
            });
            wait_until("the node to know that it is cut off", NOTICED, || {
                let overview = ams1.ctl().items(&["node", "list", "-f", "node=ams1"]);
                overview
                    .iter()
                    .any(|row| row["store"]["connected"] == false)
            });
            // New ones, of a secret that it knows; its own operator sees and ends sessions.
            let mut fresh = client(&ams1, "fresh");
            fresh.allocate().unwrap();
            assert_eq!(listed(&ams1, &ams1).len(), 26);
            let fresh_id = {
                let rows = ams1.ctl().items(&["session", "list", "-f", "user=fresh"]);
                rows[0]["id"].as_str().unwrap().to_owned()
            };
            let killed = ams1
                .ctl()
                .run(&["session", "kill", &fresh_id, "--yes", "--reason", "test"]);
            assert_eq!(killed.code, 0, "{}", killed.stderr);
            assert!(fresh.refresh(600).is_err());
            let mut other = client(&ams1, "other");
            other.allocate().unwrap();

            join("ams1");
            wait_until("the node to be found again", NOTICED, || {
                state_of(&ams1, &fra1) == "ready" && state_of(&fra1, &ams1) == "ready"
            });
            wait_until("its sessions to be listed", NOTICED, || {
                let ids = listed(&fra1, &ams1);
                ids.len() == 26 && !ids.contains(&fresh_id)
            });
            for talking in [here, there] {
                let (_, summary) = talking.stop();
                assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
            }
        },
    );
}
