//! Where new clients of a drained or full node go without anybody's redirect: to nodes like it that have room.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kit::certificate::{HOST, TestCertificate};
use kit::client::{ClientError, TurnClient};
use kit::cluster::cluster_key;
use kit::ctl::Ctl;
use kit::node::{Node, NodeOptions, USER, rest_login};
use kit::redis::RedisServer;
use kit::wait::{wait_for, wait_until};
use relayctl::client::AdminApi as _;
use serde_json::Value;
use shared::api::DrainRequest;

/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(30);
/// Redirects that are looked at where several targets are possible.
const LOOKS: usize = 40;

/// Nodes around one Redis.
struct Fleet {
    nodes: Vec<Node>,
    redis: RedisServer,
    _key: tempfile::TempDir,
}

impl Fleet {
    /// Nodes with these ids and options.
    fn start(options: Vec<(&str, NodeOptions)>) -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let key = cluster_key(&folder);
        let count = options.len();
        let start = |(id, options): (&str, NodeOptions)| {
            Node::start(NodeOptions {
                id: id.to_owned(),
                redis: Some(redis.url()),
                cluster_key: Some(key.clone()),
                ..options
            })
        };
        let fleet = Self {
            nodes: options.into_iter().map(start).collect(),
            redis,
            _key: folder,
        };
        for node in &fleet.nodes {
            wait_until("the nodes to see each other", EVENTUALLY, || {
                let ready = node.ctl().items(&["node", "list", "-f", "state=ready"]);
                ready.len() == count
            });
        }
        fleet
    }

    fn drain(&self, which: usize) {
        let id = self.nodes[which].id().parse().unwrap();
        let request = DrainRequest::default();
        let admin = self.nodes[0].admin();
        admin.call(|api| api.drain_node(&id, &request)).unwrap();
    }

    fn undrain(&self, which: usize) {
        let id = self.nodes[which].id().parse().unwrap();
        let admin = self.nodes[0].admin();
        admin.call(|api| api.undrain_node(&id, "done")).unwrap();
    }
}

fn in_region(region: &str) -> NodeOptions {
    NodeOptions {
        top: format!("labels = {{ region = \"{region}\" }}\n"),
        ..NodeOptions::default()
    }
}

/// What a new client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Served,
    To(SocketAddr),
    Refused(u16),
}

fn told(node: &Node) -> Told {
    let mut client = node.client(&rest_login("newcomer"));
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            Told::Served
        }
        Err(ClientError::Refused(300)) => Told::To(client.alternate().unwrap()),
        Err(ClientError::Refused(code)) => Told::Refused(code),
        Err(error) => panic!("{error}"),
    }
}

/// All that new clients are told, one after another.
fn all_told(node: &Node) -> BTreeSet<Told> {
    (0..LOOKS).map(|_| told(node)).collect()
}

#[track_caller]
fn wait_told(what: &str, node: &Node, wanted: Told) {
    let mut last = None;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(what, EVENTUALLY, || {
            last = Some(told(node));
            last == Some(wanted)
        });
    }));
    assert!(found.is_ok(), "{what}: {last:?}, wanted {wanted:?}");
}

/// `relayctl turn check` of a URI, as a user would: exit code and report.
fn check(uri: &str, arguments: &[&str]) -> (i32, Value) {
    let ctl = Ctl::new(Path::new("/nowhere/relayd.sock"));
    let mut all = vec!["turn", "check", uri, "--timeout", "5s", "--packets", "10"];
    all.extend(["--user", USER.0, "--password", USER.1, "-o", "json"]);
    all.extend(arguments);
    let answer = ctl.run(&all);
    let report = serde_json::from_str(&answer.stdout);
    (
        answer.code,
        report.unwrap_or_else(|error| panic!("{error}: {}", answer.stderr)),
    )
}

/// Which server the last step of a check was done at.
fn ended_at(report: &Value) -> String {
    let steps = report["steps"].as_array().unwrap();
    steps.last().unwrap()["server"].as_str().unwrap().to_owned()
}

#[test]
fn clients_of_a_drained_node_go_to_its_like_and_nobody_in_a_circle() {
    let fleet = Fleet::start(vec![
        ("ams1", in_region("eu")),
        ("fra1", in_region("eu")),
        ("nyc1", in_region("us")),
    ]);
    let [first, second, third] = &fleet.nodes[..] else {
        panic!("three nodes")
    };
    fleet.drain(0);
    // From the answer on: the drained node knows the others.
    assert_eq!(told(first), Told::To(second.turn));
    assert_eq!((told(second), told(third)), (Told::Served, Told::Served));
    let mut stranger = first.client(&kit::client::Login::rest(
        "4000000000:eve",
        "a wrong secret",
    ));
    assert_eq!(
        stranger.allocate().unwrap_err().code(),
        Some(401),
        "only who is somebody is told"
    );
    let (code, report) = check(&format!("turn:{}?transport=tcp", first.turn), &[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(
        ended_at(&report),
        format!("tcp {}", second.turn),
        "{report:#}"
    );
    let sends_to = wait_for("the node to tell", EVENTUALLY, || {
        let shown = third.ctl().json(&["node", "show", "ams1"]);
        shown.get("sends_to").cloned()
    });
    assert_eq!(sends_to, serde_json::json!(["fra1"]));

    fleet.drain(1);
    wait_told(
        "nobody with room and the same labels",
        first,
        Told::Refused(508),
    );
    wait_told(
        "the second to hear of the first",
        second,
        Told::Refused(508),
    );
    assert_eq!(told(third), Told::Served);
    fleet.undrain(0);
    assert_eq!(told(first), Told::Served);
    wait_told(
        "the second to send to the first",
        second,
        Told::To(first.turn),
    );
    fleet.undrain(1);
    assert_eq!(told(second), Told::Served);
}

#[test]
fn a_full_node_sends_new_clients_on_until_it_has_room_again() {
    let small = NodeOptions {
        relay_ports: "50000-50003",
        ..NodeOptions::default()
    };
    let fleet = Fleet::start(vec![("ams1", small), ("fra1", NodeOptions::default())]);
    let [small, large] = &fleet.nodes[..] else {
        panic!("two nodes")
    };
    let guest = |number: usize| {
        let mut client = small.client(&rest_login(&format!("guest-{number}")));
        client.allocate().unwrap();
        client
    };
    let mut guests: Vec<TurnClient> = (0..4).map(guest).collect();
    wait_told("a full node to send on", small, Told::To(large.turn));
    assert_eq!(told(large), Told::Served);
    for guest in &mut guests {
        guest.refresh(600).unwrap();
    }
    guests[0].refresh(0).unwrap();
    wait_told("room again", small, Told::Served);
}

#[test]
fn tls_clients_go_only_where_the_certificate_is_for_the_name_they_came_with() {
    let [same, other] = [
        TestCertificate::ecdsa(),
        TestCertificate::for_names(&["turn.example.net"]),
    ];
    let with = |certificate: &TestCertificate| NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    };
    let fleet = Fleet::start(vec![
        ("ams1", with(&same)),
        ("fra1", with(&same)),
        ("nyc1", with(&other)),
    ]);
    let [first, second, third] = &fleet.nodes[..] else {
        panic!("three nodes")
    };
    fleet.drain(0);
    let both = BTreeSet::from([Told::To(second.turn), Told::To(third.turn)]);
    wait_until("clients by UDP to be shared", EVENTUALLY, || {
        all_told(first) == both
    });
    let ca = same.certificate().display().to_string();
    let name = ["--ca", &ca, "--server-name", HOST];
    for transport in ["tcp", "udp"] {
        let uri = format!("turns:{}?transport={transport}", first.turn);
        for _ in 0..5 {
            let (code, report) = check(&uri, &name);
            assert_eq!(code, 0, "{report:#}");
            assert!(
                ended_at(&report).ends_with(&second.turn.to_string()),
                "{report:#}"
            );
        }
    }
    fleet.drain(1);
    wait_told("the third alone", first, Told::To(third.turn));
    let (code, report) = check(&format!("turns:{}?transport=tcp", first.turn), &name);
    assert_ne!(code, 0, "{report:#}");
    assert!(report.to_string().contains("508"), "{report:#}");
}

#[test]
fn nobody_is_sent_on_where_the_operator_says_never() {
    let never = || NodeOptions {
        end: "[redirects]\nto_nodes = \"never\"\n".to_owned(),
        ..NodeOptions::default()
    };
    let fleet = Fleet::start(vec![("ams1", never()), ("fra1", never())]);
    fleet.drain(0);
    assert_eq!(told(&fleet.nodes[0]), Told::Refused(508));
    let set = [
        "config",
        "set",
        "redirects.to_nodes=drained",
        "--node",
        "ams1",
        "--yes",
    ];
    let changed = fleet.nodes[1].ctl().run(&set);
    assert_eq!(changed.code, 0, "{}{}", changed.stdout, changed.stderr);
    let there = Told::To(fleet.nodes[1].turn);
    wait_told("the setting to count", &fleet.nodes[0], there);
    // Whom nobody has heard of for a while is no target, also when that is for want of a store.
    fleet.redis.pause();
    let nobody = Told::Refused(508);
    wait_told("the others to be silent", &fleet.nodes[0], nobody);
    fleet.redis.resume();
    wait_told("the others to be heard again", &fleet.nodes[0], there);
    let never = [
        "config",
        "set",
        "redirects.to_nodes=never",
        "--node",
        "ams1",
        "--yes",
    ];
    let changed = fleet.nodes[1].ctl().run(&never);
    assert_eq!(changed.code, 0, "{}{}", changed.stdout, changed.stderr);
    wait_told("the setting to count", &fleet.nodes[0], nobody);
}
