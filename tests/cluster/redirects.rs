//! 300 Try Alternate between nodes, followed by our client and by coturn's.

use std::net::SocketAddr;
use std::time::Duration;

use kit::client::ClientError;
use kit::cluster::Cluster;
use kit::coturn::{FOR_UCLIENT, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};
use kit::wait::wait_until;
use relayctl::client::{AdminApi as _, FleetApi as _};
use shared::Transport;
use shared::api::{EventKind, ListQuery, RedirectCreate, RedirectHealth, RedirectView};

/// What is promised is a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);
/// A settled target is asked every five seconds, then three times within three.
const PROBED: Duration = Duration::from_secs(20);
/// A run of uclient takes a few seconds of its own pacing.
const RUN: Duration = Duration::from_secs(60);

fn to(target: SocketAddr, node: Option<&Node>) -> RedirectCreate {
    RedirectCreate {
        transport: Transport::Udp,
        target,
        domain: None,
        node: node.map(|node| node.id().parse().unwrap()),
        weight: None,
        note: String::new(),
        reason: "test".to_owned(),
    }
}

fn create(at: &Node, create: &RedirectCreate) -> RedirectView {
    at.admin().call(|api| api.create_redirect(create)).unwrap()
}

fn health(at: &Node, id: &str) -> Option<RedirectHealth> {
    let query = ListQuery::default();
    let page = at.admin().call(|api| api.redirects(&query)).ok()?;
    page.items
        .iter()
        .find(|row| row.id == id)
        .map(|row| row.health)
}

/// Where a new client is sent; `None`: it is served.
fn sent_to(node: &Node) -> Option<SocketAddr> {
    let mut client = node.client(&stored_login());
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            None
        }
        Err(ClientError::Refused(300)) => client.alternate(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn new_clients_go_where_the_redirect_says_and_old_ones_stay() {
    let cluster = Cluster::start();
    let [from, target, asked] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let mut old = from.client(&stored_login());
    old.allocate().unwrap();
    let redirect = create(asked, &to(target.turn, Some(from)));
    wait_until("the node to redirect", SOON, || {
        sent_to(from) == Some(target.turn)
    });
    assert_eq!(sent_to(target), None);
    assert_eq!(sent_to(asked), None, "it concerns one node");
    old.refresh(600).unwrap();
    wait_until("every node to know that the target answers", PROBED, || {
        let up = |node| health(node, &redirect.id) == Some(RedirectHealth::Up);
        cluster.nodes.iter().all(up)
    });
    wait_until("the redirects to be counted", SOON, || {
        let redirects = from.metric("relayd_redirects_total");
        redirects.is_some_and(|count| count >= 1.0)
    });
    let everything = ListQuery::default();
    let refusals = from.admin().call(|api| api.recent_refusals(&everything));
    assert_eq!(refusals.unwrap().total, 0, "a redirect is no refusal");
    let delete = asked.admin();
    delete
        .call(|api| api.delete_redirect(&redirect.id, "done"))
        .unwrap();
    wait_until("the node to serve again", SOON, || sent_to(from).is_none());
}

#[test]
fn coturns_client_follows_and_loses_nothing() {
    let cluster = Cluster::start_with(&NodeOptions {
        top: FOR_UCLIENT.to_owned(),
        ..NodeOptions::default()
    });
    let [from, target, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    // From all nodes but the one that it names.
    create(from, &to(target.turn, None));
    wait_until("the node to redirect", SOON, || {
        sent_to(from) == Some(target.turn)
    });
    let uclient = Uclient {
        server: from.turn,
        login: stored_login(),
        way: Way::Channels,
        clients: 1,
        messages: 20,
        flags: &[],
        peer: None,
    };
    let totals = uclient.run(RUN);
    assert!(totals.sent >= 20, "{}", totals.text);
    assert_eq!(totals.received, totals.sent, "{}", totals.text);
    assert_eq!(totals.lost, 0, "{}", totals.text);
    // uclient has two sessions per client: for RTP and RTCP.
    wait_until("the target to have had the sessions", SOON, || {
        let allocations = target.metric("relayd_allocations_total");
        allocations.is_some_and(|count| count >= 2.0)
    });
}

#[test]
fn a_dead_target_is_left_out_and_comes_back() {
    let mut cluster = Cluster::start();
    let (first, second) = (cluster.nodes[1].turn, cluster.nodes[2].turn);
    let from = &cluster.nodes[0];
    let dead = create(from, &to(first, Some(from)));
    create(from, &to(second, Some(from)));
    let targets = |from: &Node, count: usize| {
        let mut seen: Vec<_> = (0..count).map(|_| sent_to(from)).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    let mut both = vec![Some(first), Some(second)];
    both.sort_unstable();
    wait_until("both to be used", SOON, || targets(from, 40) == both);
    cluster.nodes[1].signal("KILL");
    let from = &cluster.nodes[0];
    wait_until("the dead one to be noticed", PROBED, || {
        health(from, &dead.id) == Some(RedirectHealth::Down)
    });
    wait_until("the other to be used alone", SOON, || {
        targets(from, 20) == [Some(second)]
    });
    cluster.nodes[2].signal("KILL");
    wait_until("the node to serve by itself", PROBED, || {
        sent_to(&cluster.nodes[0]).is_none()
    });
    cluster.nodes[1].wait_exit();
    cluster.nodes[1].launch();
    cluster.nodes[1].wait_ready();
    wait_until("the first to be used again", PROBED, || {
        sent_to(&cluster.nodes[0]) == Some(first)
    });
    let events = cluster.nodes[0].admin();
    wait_until("the events to tell of it", SOON, || {
        let page = events.call(|api| api.events(None, 1000)).unwrap();
        let of_target = |event: &&shared::api::EventView| {
            event.kind == EventKind::RedirectChanged && event.text.starts_with(&first.to_string())
        };
        page.items.iter().filter(of_target).count() == 2
    });
}
