//! Where minted credentials lead: to nodes that take the client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kit::certificate::TestCertificate;
use kit::client::{Login, TurnClient};
use kit::cluster::{IDS, cluster_key};
use kit::node::{Node, NodeOptions, REALM, rest_login};
use kit::redis::RedisServer;
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, ClientError};
use shared::Realm;
use shared::api::{Credential, DrainRequest, ErrorKind, MintRequest};

/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(30);

/// Three nodes: two in Europe, of which the second has two ports, and one in America.
struct Fleet {
    nodes: Vec<Node>,
    _redis: RedisServer,
    _key: tempfile::TempDir,
    _certificate: TestCertificate,
}

impl Fleet {
    fn start() -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let key = cluster_key(&folder);
        let certificate = TestCertificate::ecdsa();
        let regions = ["eu", "eu", "us"];
        let ports = ["49152-65535", "50000-50001", "49152-65535"];
        let with = |((id, region), relay_ports): ((&str, &str), &'static str)| {
            Node::start(NodeOptions {
                id: id.to_owned(),
                redis: Some(redis.url()),
                cluster_key: Some(key.clone()),
                top: format!("labels = {{ region = \"{region}\" }}\n"),
                relay_ports,
                end: certificate.section(),
                ..NodeOptions::default()
            })
        };
        let fleet = Self {
            nodes: IDS.into_iter().zip(regions).zip(ports).map(with).collect(),
            _redis: redis,
            _key: folder,
            _certificate: certificate,
        };
        for node in &fleet.nodes {
            wait_until("the nodes to see each other", EVENTUALLY, || {
                node.ctl()
                    .items(&["node", "list", "-f", "state=ready"])
                    .len()
                    == 3
            });
        }
        fleet
    }

    fn mint(
        &self,
        user: &str,
        region: Option<&str>,
        prefer: bool,
    ) -> Result<Credential, ClientError> {
        let realm: Realm = REALM.parse().unwrap();
        let region = region.map(|region| ("region".to_owned(), region.to_owned()));
        let request = MintRequest {
            user: user.to_owned(),
            labels: region.into_iter().collect::<BTreeMap<_, _>>(),
            prefer,
            ..MintRequest::default()
        };
        let admin = self.nodes[2].admin();
        admin.call(|api| api.mint(&realm, &request))
    }

    /// The nodes that a credential names, in the order of their names.
    fn named(&self, region: Option<&str>, prefer: bool) -> Vec<String> {
        let minted = self.mint("ann", region, prefer).unwrap();
        let mut named: Vec<_> = minted.nodes.iter().map(ToString::to_string).collect();
        named.sort_unstable();
        named
    }
}

/// The address behind a URI of UDP.
fn udp(urls: &[String]) -> SocketAddr {
    let mut urls = urls.iter();
    let url = urls.find_map(|url| url.strip_prefix("turn:")?.strip_suffix("?transport=udp"));
    url.unwrap().parse().unwrap()
}

#[test]
fn a_credential_names_the_nodes_that_take_its_client_and_is_good_there() {
    let fleet = Fleet::start();
    assert_eq!(fleet.named(None, false), IDS);
    assert_eq!(fleet.named(Some("eu"), false), ["ams1", "fra1"]);
    assert_eq!(fleet.named(Some("mars"), true), IDS);
    let error = fleet.mint("ann", Some("mars"), false).unwrap_err();
    assert!(
        error.to_string().contains("3 without the labels"),
        "{error}"
    );

    let minted = fleet.mint("ann", None, false).unwrap();
    for (server, id) in minted.ice_servers.iter().zip(&minted.nodes) {
        let node = fleet
            .nodes
            .iter()
            .find(|node| node.id() == id.as_str())
            .unwrap();
        let address = udp(&server.urls);
        assert_eq!(address, node.turn);
        for (scheme, transport) in [("turn", "tcp"), ("turns", "tcp")] {
            let url = format!("{scheme}:{address}?transport={transport}");
            assert!(server.urls.contains(&url), "{:?}", server.urls);
        }
        let login = Login::new(&server.username, &server.credential);
        let mut client = TurnClient::new(address, login).unwrap();
        client.allocate().unwrap();
        client.refresh(0).unwrap();
    }
    wait_until("the same client to get the same nodes", EVENTUALLY, || {
        let mut minted = (0..5).map(|_| fleet.mint("ann", None, false).unwrap().nodes);
        let first = minted.next();
        minted.all(|nodes| Some(nodes) == first)
    });
    wait_until("others to go elsewhere", EVENTUALLY, || {
        let first = |n| fleet.mint(&format!("user{n}"), None, false).unwrap().nodes[0].clone();
        let firsts: BTreeSet<_> = (0..40).map(first).collect();
        firsts.len() == 3
    });
}

#[test]
fn a_full_node_and_a_drained_one_are_named_to_nobody() {
    let fleet = Fleet::start();
    let [first, small, asked] = &fleet.nodes[..] else {
        panic!("three nodes")
    };
    let mut clients = [
        small.client(&rest_login("a")),
        small.client(&rest_login("b")),
    ];
    for client in &mut clients {
        client.allocate().unwrap();
    }
    wait_until("the full node to be left out", EVENTUALLY, || {
        fleet.named(Some("eu"), false) == ["ams1"]
    });
    let id = first.id().parse().unwrap();
    let drain = DrainRequest::default();
    small
        .admin()
        .call(|api| api.drain_node(&id, &drain))
        .unwrap();
    wait_until("the drained node to be left out", EVENTUALLY, || {
        fleet.named(Some("eu"), true) == ["nyc1"]
    });
    let error = fleet.mint("ann", Some("eu"), false).unwrap_err();
    let ClientError::Api(refused) = &error else {
        panic!("{error}")
    };
    assert_eq!(refused.error, ErrorKind::Unavailable);
    for reason in [
        "1 draining (ams1)",
        "1 full (fra1)",
        "1 without the labels (nyc1)",
    ] {
        assert!(refused.message.contains(reason), "{error}");
    }
    let ctl = asked.ctl();
    let mint = ["credential", "mint", "-r", REALM, "--user", "ann"];
    let shown = ctl.json(&mint);
    assert_eq!(shown["nodes"], serde_json::json!(["nyc1"]));
    let server = &shown["iceServers"][0];
    assert_eq!(server["username"], shown["username"]);
    assert_eq!(server["urls"], shown["urls"]);
    let table = ctl.run(&mint);
    assert!(table.stdout.contains("nyc1"), "{}", table.stdout);
    let none = ctl.run(&[&mint[..], &["--label", "region=eu"]].concat());
    assert!(
        none.stderr.contains("no node takes this client"),
        "{}",
        none.stderr
    );
    let bare = ctl.json(&[&mint[..], &["--label", "region=eu", "--count", "0"]].concat());
    assert_eq!(bare["iceServers"], serde_json::json!([]));
}

#[test]
fn nodes_that_take_users_only_are_named_to_nobody() {
    let fleet = Fleet::start();
    let set = |node: &str, kind: &str| {
        let assignment = format!("credentials={kind}");
        let arguments = ["config", "set", &assignment, "--node", node, "--yes"];
        let done = fleet.nodes[2].ctl().run(&arguments);
        assert_eq!(done.code, 0, "{done:?}");
    };
    // The gateway that is asked takes none of them itself.
    set("nyc1", "users");
    wait_until("it to be left out", EVENTUALLY, || {
        fleet.named(None, false) == ["ams1", "fra1"]
    });
    let minted = fleet.mint("ann", None, false).unwrap();
    for server in &minted.ice_servers {
        let login = Login::new(&server.username, &server.credential);
        let mut client = TurnClient::new(udp(&server.urls), login).unwrap();
        client.allocate().unwrap();
        client.refresh(0).unwrap();
    }
    let refused = fleet.nodes[2].client(&rest_login("ann")).allocate();
    assert_eq!(refused.unwrap_err().code(), Some(401));
    set("ams1", "users");
    wait_until("the next one to be left out", EVENTUALLY, || {
        fleet.named(None, false) == ["fra1"]
    });
    wait_until("another node to show it", EVENTUALLY, || {
        let shown = fleet.nodes[0].ctl().json(&["node", "show", "nyc1"]);
        shown["credentials"] == "users"
    });
    set("fra1", "users");
    let error = wait_for("no relay to take any", EVENTUALLY, || {
        fleet.mint("ann", None, false).err()
    });
    let ClientError::Api(refused) = &error else {
        panic!("{error}")
    };
    assert_eq!(refused.error, ErrorKind::Conflict, "{error}");
    // It was added for whoever knows better; the event says what it opens.
    let added = fleet.nodes[2]
        .ctl()
        .run(&["secret", "add", "-r", REALM, "--yes"]);
    assert_eq!(added.code, 0, "{added:?}");
    let note = "no relay accepts credentials made with secrets";
    wait_until("the event to say so", EVENTUALLY, || {
        let events = fleet.nodes[2].ctl().items(&["event", "list"]);
        events.iter().any(|event| event.to_string().contains(note))
    });
}
