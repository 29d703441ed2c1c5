//! Drains of nodes, ordered at other nodes.

use std::time::Duration;

use kit::client::{ClientError, TurnClient};
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, rest_login, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, FleetApi as _};
use shared::Transport;
use shared::api::{DrainRequest, EventKind, ListQuery, NodeState, NodeView, RedirectCreate};

/// What is promised is a second; a debug build on a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);
/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(30);

/// What `at` knows of node `id`.
fn seen(at: &Node, id: &str) -> Option<NodeView> {
    let id = id.parse().unwrap();
    at.admin().call(|api| api.node(&id)).ok()
}

fn wait_state(at: &Node, id: &str, state: NodeState) {
    wait_until("the state of the node", EVENTUALLY, || {
        seen(at, id).is_some_and(|node| node.state == state)
    });
}

fn drain(at: &Node, id: &str, request: &DrainRequest) {
    let id = id.parse().unwrap();
    at.admin().call(|api| api.drain_node(&id, request)).unwrap();
}

fn undrain(at: &Node, id: &str) {
    let id = id.parse().unwrap();
    at.admin()
        .call(|api| api.undrain_node(&id, "done"))
        .unwrap();
}

/// A cluster whose nodes send no clients to each other.
fn of_loners() -> Cluster {
    Cluster::start_with(&NodeOptions {
        end: "[redirects]\nto_nodes = \"never\"\n".to_owned(),
        ..NodeOptions::default()
    })
}

/// What a new client is told: 0 where it is served.
fn answer(node: &Node) -> u16 {
    let mut client = node.client(&rest_login("newcomer"));
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            0
        }
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")),
    }
}

/// Ends the process by a signal and starts another one; a drained node is never ready.
fn start_again(node: &mut Node, signal: &str) {
    node.signal(signal);
    node.wait_exit();
    node.launch();
    node.wait_answering("/healthz");
    wait_until("the node to answer", EVENTUALLY, || {
        node.client(&stored_login()).binding().is_ok()
    });
}

/// Whether what the client sends on its channel comes back.
fn talks(client: &mut TurnClient) -> bool {
    client.send_channel(0x4000, b"hello").unwrap();
    client.recv(Duration::from_secs(2)).unwrap().is_some()
}

#[test]
fn a_node_drained_from_another_refuses_new_sessions_and_keeps_those_it_has() {
    let (cluster, peer) = (of_loners(), Peer::start());
    let [drained, by, other] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let mut old = drained.client(&stored_login());
    old.allocate().unwrap();
    wait_until("the session in the node's books", EVENTUALLY, || {
        drained.metric("relayd_sessions") == Some(1.0)
    });
    let request = DrainRequest {
        reason: "kernel".to_owned(),
        ..DrainRequest::default()
    };
    drain(by, drained.id(), &request);
    assert_eq!(answer(drained), 508, "from the answer on");
    assert_eq!((answer(by), answer(other)), (0, 0));
    let mut stranger = drained.client(&stored_login());
    stranger.binding().unwrap();
    old.refresh(600).unwrap();
    old.permit(&[peer.address.ip()]).unwrap();
    old.bind_channel(0x4000, peer.address).unwrap();
    assert!(talks(&mut old));

    wait_state(other, drained.id(), NodeState::Draining);
    let view = wait_for("the drain at a third node", EVENTUALLY, || {
        seen(other, drained.id())?.drain
    });
    assert_eq!(view.reason, "kernel");
    assert_eq!(view.sessions_at_start, 1);
    assert_eq!(view.estimate.empty_secs, None, "nothing was observed");
    let (status, text) = kit::http::get(drained.metrics, "/readyz").unwrap();
    assert_eq!((status, text.contains("draining")), (503, true), "{text}");
    wait_until("the refusals to be counted", SOON, || {
        let refused = drained.metric_of("relayd_refusals_total", "reason=\"draining\"");
        refused.is_some_and(|count| count >= 1.0)
    });
    assert!(drained.sample("relayd_state{state=\"draining\"}") == Some(1.0));
    assert!(
        drained
            .metric("relayd_drain_started_timestamp_seconds")
            .is_some()
    );

    undrain(other, drained.id());
    assert_eq!(answer(drained), 0);
    wait_state(by, drained.id(), NodeState::Ready);
    assert_eq!(kit::http::get(drained.metrics, "/readyz").unwrap().0, 200);
}

#[test]
fn a_drain_outlives_kill_9_also_without_the_store() {
    let mut cluster = Cluster::start();
    let id = cluster.nodes[0].id().to_owned();
    drain(&cluster.nodes[1], &id, &DrainRequest::default());
    start_again(&mut cluster.nodes[0], "KILL");
    assert_eq!(answer(&cluster.nodes[0]), 508);
    wait_state(&cluster.nodes[1], &id, NodeState::Draining);
    cluster.redis.kill();
    start_again(&mut cluster.nodes[0], "KILL");
    assert_eq!(answer(&cluster.nodes[0]), 508);
    // The node's own socket is the way now.
    let own = &cluster.nodes[0];
    undrain(own, &id);
    assert_eq!(answer(own), 0);
    drain(own, &id, &DrainRequest::default());
    assert_eq!(answer(own), 508);
}

#[test]
fn a_drain_ends_calls_only_where_that_is_wanted() {
    let cluster = of_loners();
    let [drained, by, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let mut client = drained.client(&stored_login());
    client.allocate().unwrap();
    let mut leaver = drained.client(&rest_login("leaver"));
    leaver.allocate().unwrap();
    let ends_calls = DrainRequest {
        refuse_refresh: true,
        ..DrainRequest::default()
    };
    drain(by, drained.id(), &ends_calls);
    assert_eq!(client.refresh(600).unwrap_err().code(), Some(508));
    leaver.refresh(0).unwrap();
    let view = seen(drained, drained.id()).unwrap().drain.unwrap();
    assert!(view.estimate.latest_secs.is_some_and(|secs| secs <= 600));
    // The drain is changed: what is left goes on, and then ends at its deadline.
    let soon = DrainRequest {
        deadline_secs: Some(2),
        ..DrainRequest::default()
    };
    drain(by, drained.id(), &soon);
    client.refresh(600).unwrap();
    wait_until("the session to be ended", EVENTUALLY, || {
        client
            .refresh(600)
            .is_err_and(|error| error.code() == Some(437))
    });
    let events = by.admin();
    wait_until("the events to tell of it", SOON, || {
        let page = events.call(|api| api.events(None, 1000)).unwrap();
        let has = |kind: EventKind, text: &str| {
            let mut events = page.items.iter();
            events.any(|event| event.kind == kind && event.text.contains(text))
        };
        has(EventKind::SessionEnded, " drained, ") && has(EventKind::NodeChanged, "is empty")
    });
    assert_eq!(answer(drained), 508, "it stays drained");
}

#[test]
fn new_clients_of_a_drained_node_follow_its_redirect_and_none_leads_there() {
    let cluster = Cluster::start();
    let [drained, target, asked] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let redirect = |to: &Node, from: Option<&Node>| RedirectCreate {
        transport: Transport::Udp,
        target: to.turn,
        domain: None,
        node: from.map(|node| node.id().parse().unwrap()),
        weight: None,
        note: String::new(),
        reason: "test".to_owned(),
    };
    let sent_to = |node: &Node| {
        let mut client = node.client(&stored_login());
        match client.allocate() {
            Err(ClientError::Refused(300)) => client.alternate(),
            Err(ClientError::Refused(_)) => None,
            Ok(_) => {
                client.refresh(0).unwrap();
                Some(node.turn)
            }
            Err(error) => panic!("{error}"),
        }
    };
    // All nodes send to two of them, which serve.
    for to in [drained, target] {
        let create = redirect(to, None);
        asked
            .admin()
            .call(|api| api.create_redirect(&create))
            .unwrap();
    }
    wait_until("the third to redirect", EVENTUALLY, || {
        sent_to(asked) != Some(asked.turn)
    });
    assert_eq!(sent_to(drained), Some(drained.turn), "a target serves");
    drain(asked, drained.id(), &DrainRequest::default());
    wait_until("the drained one to send on", SOON, || {
        sent_to(drained) == Some(target.turn)
    });
    wait_until("nobody to be sent to the drained one", SOON, || {
        (0..20).all(|_| sent_to(asked) == Some(target.turn))
    });
    drain(asked, target.id(), &DrainRequest::default());
    wait_until("the third to serve by itself", SOON, || {
        sent_to(asked) == Some(asked.turn)
    });
    wait_until("nobody to be passed in a circle", SOON, || {
        sent_to(drained).is_none() && sent_to(target).is_none()
    });
    undrain(asked, drained.id());
    wait_until("the target to serve again", SOON, || {
        sent_to(drained) == Some(drained.turn) && sent_to(asked) == Some(drained.turn)
    });
}

#[test]
fn the_command_line_drains_waits_and_undrains() {
    let cluster = Cluster::start();
    let [drained, by, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let mut client = drained.client(&stored_login());
    client.allocate().unwrap();
    let ctl = by.ctl();
    let id = drained.id();
    let asked = ctl.run(&["node", "drain", id]);
    assert_ne!(asked.code, 0, "it asks before it acts: {}", asked.stderr);
    let late = ["node", "drain", id, "--wait", "--timeout", "1s", "--yes"];
    let answer = ctl.run(&late);
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    assert!(
        answer.stderr.contains("1 of 1 sessions left"),
        "{}",
        answer.stderr
    );
    let wait = [
        "node",
        "drain",
        id,
        "--deadline",
        "2s",
        "--wait",
        "--reason",
        "kernel",
        "--yes",
        "-o",
        "json",
    ];
    let answer = ctl.run(&wait);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stderr.contains("is empty"), "{}", answer.stderr);
    let shown: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(shown["reason"], "kernel");
    let node = ctl.json(&["node", "show", id]);
    assert_eq!(node["state"], "draining");
    assert_eq!(node["drain"]["refuse_refresh"], false);
    let answer = ctl.run(&["node", "undrain", id]);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let again = ctl.run(&["node", "undrain", id]);
    assert!(
        again.stderr.contains("there is no drain of"),
        "{}",
        again.stderr
    );
    let query = ListQuery {
        filter: Some("action~^node.".to_owned()),
        ..ListQuery::default()
    };
    wait_until("the audit", SOON, || {
        let page = by.admin().call(|api| api.audit(&query)).unwrap();
        let ok = page.items.iter().filter(|one| one.result == "ok");
        ok.count() == 3
    });
}

#[test]
fn a_single_node_on_sqlite_is_drained_too() {
    let mut node = Node::start(NodeOptions::default());
    let id = node.id().to_owned();
    drain(&node, &id, &DrainRequest::default());
    assert_eq!(answer(&node), 508);
    start_again(&mut node, "TERM");
    assert_eq!(answer(&node), 508, "after a clean stop as well");
    undrain(&node, &id);
    assert_eq!(answer(&node), 0);
}
