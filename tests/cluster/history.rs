//! Figures over time, of a cluster with traffic and with a node that dies.

use std::net::SocketAddr;
use std::time::Duration;

use kit::client::TurnClient;
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{Node, REALM, rest_login, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{FleetApi as _, HistoryOf};
use serde_json::Value;
use shared::api::{HistorySample, HistoryView};

/// Two steps of ten seconds, and what a busy machine adds.
const STEPS: Duration = Duration::from_secs(40);

fn history(node: &Node, of: &HistoryOf) -> HistoryView {
    let answer = node.admin().call(|client| client.history(of));
    answer.unwrap_or_else(|error| panic!("{of:?}: {error}"))
}

/// The newest sample.
fn last(view: &HistoryView) -> Option<HistorySample> {
    view.samples.last().copied().flatten()
}

fn session(node: &Node, login: &kit::client::Login, peer: SocketAddr) -> (TurnClient, SocketAddr) {
    let mut client = node.client(login);
    let allocated = client.allocate().unwrap();
    client.bind_channel(0x4000, peer).unwrap();
    (client, allocated.relay)
}

fn talk(clients: &mut [&mut TurnClient]) {
    for client in clients {
        for _ in 0..4 {
            client.send_channel(0x4000, &[7; 500]).unwrap();
            let _ = client.recv(Duration::from_millis(20)).unwrap();
        }
    }
}

fn row(node: &Node, relay: SocketAddr) -> Value {
    wait_for("the session in the list", STEPS, || {
        let sessions = node.ctl().items(&["session", "list"]);
        sessions
            .into_iter()
            .find(|session| session["relay"] == relay.to_string())
    })
}

#[test]
fn traffic_shows_in_every_history_and_a_dead_node_is_missing_and_leaves_gaps() {
    let (mut cluster, peer) = (Cluster::start(), Peer::start());
    let (mut alice, relay) = session(&cluster.nodes[0], &stored_login(), peer.address);
    let (mut guest, _) = session(&cluster.nodes[1], &rest_login("guest"), peer.address);
    let id = row(&cluster.nodes[2], relay)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let asked = &cluster.nodes[2];
    let realm: shared::Realm = REALM.parse().unwrap();
    let of_session = HistoryOf::Session(id.parse().unwrap());
    let moving = |of: &HistoryOf, sessions: u64| {
        let sample = last(&history(asked, of));
        sample.is_some_and(|sample| {
            sample.sessions == sessions && sample.rate_in_bps > 0 && sample.rate_out_bps > 0
        })
    };
    wait_until("the watched session by the second", STEPS, || {
        talk(&mut [&mut alice, &mut guest]);
        let view = history(asked, &of_session);
        assert_eq!((view.step_secs, view.samples.len()), (1, 120));
        let seen = view.samples.iter().flatten();
        seen.filter(|sample| sample.rate_in_bps > 0).count() >= 3
    });
    let name = |index: usize| HistoryOf::Node(kit::cluster::IDS[index].parse().unwrap());
    let subjects = [
        (HistoryOf::Cluster, 2),
        (name(0), 1),
        (HistoryOf::Realm(realm.clone()), 2),
        (HistoryOf::User(realm.clone(), "alice".into()), 1),
        (HistoryOf::User(realm, "guest".into()), 1),
    ];
    wait_until("everything in steps of ten seconds", STEPS, || {
        talk(&mut [&mut alice, &mut guest]);
        subjects.iter().all(|(of, sessions)| moving(of, *sessions))
    });
    let idle = last(&history(asked, &name(2)));
    assert_eq!(idle, Some(HistorySample::default()), "known to be nothing");

    cluster.nodes[0].signal("KILL");
    cluster.nodes[0].wait_exit();
    let asked = &cluster.nodes[2];
    wait_until("the dead node's share to be missing", STEPS, || {
        talk(&mut [&mut guest]);
        let view = history(asked, &HistoryOf::Cluster);
        let named = view.missing.len() == 1 && view.missing[0].node.as_str() == "ams1";
        named && last(&view).is_some_and(|sample| sample.sessions == 1)
    });
    let dead = history(asked, &name(0));
    assert_eq!(dead.samples, vec![None; 360]);
    assert_eq!(dead.missing.len(), 1);
    let gone = asked.admin().call(|client| client.history(&of_session));
    assert!(
        gone.is_err() || gone.is_ok_and(|view| view.missing.len() == 1),
        "nobody can say anything about its session"
    );

    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    let asked = &cluster.nodes[2];
    // Its session goes on; what it relayed before is gone with the process.
    wait_until("a gap before the new start", STEPS, || {
        let view = history(asked, &name(0));
        view.missing.is_empty()
            && last(&view).is_some_and(|sample| sample.sessions == 1)
            && view.samples[..300] == [None; 300]
    });
}

#[test]
fn a_client_that_scans_has_new_peers_and_its_permissions_have_rates() {
    let (cluster, peer) = (Cluster::start(), Peer::start());
    let (mut alice, relay) = session(&cluster.nodes[0], &stored_login(), peer.address);
    let mut next = 1_u8;
    wait_until("new peers per second at another node", STEPS, || {
        next += 1;
        alice
            .permit(&[std::net::IpAddr::from([127, 0, 1, next])])
            .unwrap();
        let top = cluster.nodes[1].ctl();
        let arguments = [
            "session",
            "list",
            "--sort",
            "newpeers:desc",
            "--filter",
            "newpeers>0",
        ];
        let rows = top.items(&arguments);
        rows.first().is_some_and(|row| {
            row["relay"] == relay.to_string() && row["new_peers_per_sec"].as_f64() > Some(0.2)
        })
    });
    let id = row(&cluster.nodes[1], relay)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    wait_until(
        "the rate of the one permission that carries traffic",
        STEPS,
        || {
            talk(&mut [&mut alice]);
            let detail = cluster.nodes[1].ctl().json(&["session", "show", &id]);
            let detail = detail
                .get("session")
                .filter(|s| s.is_object())
                .unwrap_or(&detail)
                .clone();
            let permissions = detail["permissions"].as_array().unwrap().clone();
            let moving = |permission: &&Value| permission["rate_in_bps"].as_u64() > Some(0);
            let moving: Vec<_> = permissions.iter().filter(moving).collect();
            detail["permission_rates_ms"].as_u64() >= Some(80)
                && moving.len() == 1
                && moving[0]["peer"] == peer.address.ip().to_string()
        },
    );
}
