//! A coturn in the cluster: `relayd --beside-coturn` beside a real `turnserver`, and beside a double that
//! speaks as a newer one does.

use std::net::SocketAddr;
use std::time::Duration;

use kit::client::TurnClient;
use kit::cluster::cluster_key;
use kit::coturn::{Uclient, Way};
use kit::coturn_host::{self, CLI_PASSWORD, CoturnHost};
use kit::ctl::Answer;
use kit::fake_cli::{Drain, FakeCli};
use kit::node::{Node, NodeOptions, stored_login};
use kit::redis::RedisServer;
use kit::turnserver;
use kit::wait::{wait_for, wait_until};
use relayctl::client::AdminApi as _;
use serde_json::Value;
use shared::NodeId;
use shared::api::{DrainRequest, NodeView};

/// coturn is listed every other second; a busy machine gets more.
const SOON: Duration = Duration::from_secs(30);

/// A node of ours and one that speaks for a coturn, around one Redis. Fields drop in order.
struct Mixed {
    ours: Node,
    beside: Node,
    coturn: CoturnHost,
    redis: RedisServer,
    _key: tempfile::TempDir,
}

impl Mixed {
    fn start(with_statsdb: bool) -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let key = cluster_key(&folder);
        let coturn = CoturnHost::start(with_statsdb.then_some(redis.port));
        let options = |id: &str| NodeOptions {
            id: id.to_owned(),
            redis: Some(redis.url()),
            cluster_key: Some(key.clone()),
            ..NodeOptions::default()
        };
        let beside = coturn_host::start(coturn.options(options("cot1")));
        let ours = Node::start(options("ams1"));
        let mixed = Self {
            ours,
            beside,
            coturn,
            redis,
            _key: folder,
        };
        wait_until("the nodes to see each other", SOON, || {
            let nodes = mixed.ours.ctl().items(&["node", "list"]);
            let are_ready = nodes.iter().filter(|node| node["state"] == "ready").count() == 2;
            let beside = seen(&mixed.ours, "cot1").and_then(|view| view.beside);
            are_ready && beside.is_some_and(|beside| beside.away.is_none())
        });
        mixed
    }

    /// The sessions that our node lists, in that order.
    fn sessions(&self, arguments: &[&str]) -> Vec<Value> {
        let all = [&["session", "list"], arguments].concat();
        self.ours.ctl().items(&all)
    }

    fn coturns(&self) -> Vec<Value> {
        self.sessions(&["-f", "software~coturn"])
    }
}

/// What `at` knows of node `id`.
fn seen(at: &Node, id: &str) -> Option<NodeView> {
    let id: NodeId = id.parse().unwrap();
    at.admin().call(|api| api.node(&id)).ok()
}

fn address(value: &Value) -> SocketAddr {
    value.as_str().unwrap().parse().unwrap()
}

/// Why a node that speaks for a coturn says that it is not ready.
fn away(node: &Node) -> String {
    seen(node, node.id())
        .and_then(|view| view.beside?.away)
        .unwrap_or_default()
}

/// A node of its own that speaks for whatever listens at `cli`.
fn alone(cli: SocketAddr, password: &str) -> Node {
    let mut node = coturn_host::launch(coturn_host::beside(
        cli,
        password,
        None,
        NodeOptions::default(),
    ));
    node.wait_answering("/healthz");
    node
}

fn allocated(mut client: TurnClient) -> TurnClient {
    client.allocate().unwrap();
    client
}

#[test]
fn sessions_of_a_coturn_stand_beside_ours_and_are_killed_from_anywhere() {
    let mixed = Mixed::start(false);
    let _ours = allocated(mixed.ours.client(&stored_login()));
    let mut theirs = allocated(mixed.coturn.client());
    let peer = "127.0.0.1:9".parse().unwrap();
    theirs.bind_channel(0x4000, peer).unwrap();
    let both = wait_for("both sessions in one list", SOON, || {
        let rows = mixed.sessions(&["-s", "node"]);
        let has_peer = |row: &Value| row["peer_count"] == 1;
        (rows.len() == 2 && rows.iter().any(has_peer)).then_some(rows)
    });
    let nodes: Vec<_> = both
        .iter()
        .map(|row| row["node"].as_str().unwrap())
        .collect();
    assert_eq!(nodes, ["ams1", "cot1"], "sorted together");
    assert!(both[0].get("software").is_none(), "{}", both[0]);
    let row = &both[1];
    assert_eq!(row["software"], turnserver::software());
    assert_eq!(
        (&row["user"], &row["realm"]),
        (&"alice".into(), &"north.gov".into())
    );
    assert_eq!(address(&row["client"]), theirs.local());
    assert_eq!(address(&row["server"]), mixed.coturn.turn);
    let users = mixed
        .ours
        .ctl()
        .items(&["user", "list", "-f", "user=alice"]);
    assert_eq!(users[0]["sessions"], 2, "{users:?}");
    // Nobody could restore them.
    let keys = mixed.redis.cli(&["HLEN", "relay:{cot1}:sessions"]);
    assert_eq!(keys.trim(), "0");
    let id = row["id"].as_str().unwrap();
    let killed = mixed
        .ours
        .ctl()
        .run(&["session", "kill", id, "--yes", "--reason", "test"]);
    assert_eq!(killed.code, 0, "{killed:?}");
    assert!(
        mixed.coturns().is_empty(),
        "it is confirmed by another list"
    );
    let refused = theirs.refresh(600).unwrap_err();
    assert_eq!(refused.code(), Some(437), "the client notices: {refused}");
    assert_eq!(mixed.sessions(&[]).len(), 1, "ours goes on");
}

#[test]
fn the_figures_of_uclient_are_seen_as_they_come() {
    for with_statsdb in [false, true] {
        let mixed = Mixed::start(with_statsdb);
        if with_statsdb {
            let is_up = || {
                seen(&mixed.ours, "cot1")?
                    .beside
                    .map(|view| view.has_live_traffic)
            };
            wait_until("coturn's Redis", SOON, || is_up() == Some(true));
        }
        let driver = Uclient {
            server: mixed.coturn.turn,
            login: coturn_host::login(),
            way: Way::Channels,
            clients: 2,
            messages: 8000,
            flags: &["-c", "-z", "1"],
            peer: None,
        };
        std::thread::scope(|scope| {
            let run = scope.spawn(|| driver.run(Duration::from_secs(120)));
            let row = wait_for("traffic", SOON, || {
                let rows = mixed.coturns();
                let count = |row: &Value, name: &str| row[name].as_u64().unwrap_or(0);
                // coturn tells every 4096 packets; what came before was told with a request.
                let busy =
                    |row: &Value| count(row, "in_packets") + count(row, "out_packets") > 2000;
                rows.into_iter().find(busy)
            });
            assert!(row["in_bytes"].as_u64() > Some(100_000), "{row}");
            wait_until("a rate", SOON, || {
                let rows = mixed.sessions(&["-f", "software~coturn rate>1000"]);
                !rows.is_empty() || run.is_finished()
            });
            let totals = run.join().unwrap();
            assert!(totals.received > 0, "{}", totals.text);
        });
    }
}

#[test]
fn a_redis_that_tells_shows_sessions_at_once() {
    let mixed = Mixed::start(true);
    let is_up = || {
        seen(&mixed.ours, "cot1")?
            .beside
            .map(|view| view.has_live_traffic)
    };
    wait_until("coturn's Redis", SOON, || is_up() == Some(true));
    let mut client = allocated(mixed.coturn.client());
    wait_until("the session", SOON, || mixed.coturns().len() == 1);
    client.refresh(1200).unwrap();
    wait_until("the new lifetime", SOON, || {
        let rows = mixed.coturns();
        rows.first().and_then(|row| row["ttl_secs"].as_u64()) > Some(800)
    });
    client.refresh(0).unwrap();
    wait_until("the end", SOON, || mixed.coturns().is_empty());
}

#[test]
fn a_coturn_that_dies_is_shown_away_and_comes_back() {
    let mut mixed = Mixed::start(false);
    let _first = allocated(mixed.coturn.client());
    wait_until("the session", SOON, || mixed.coturns().len() == 1);
    mixed.coturn.kill();
    let view = wait_for("the node to say so", SOON, || {
        let view = seen(&mixed.ours, "cot1")?;
        view.beside.as_ref()?.away.is_some().then_some(view)
    });
    let why = view.beside.and_then(|beside| beside.away).unwrap();
    wait_until("its sessions to be gone", SOON, || {
        mixed.coturns().is_empty()
    });
    let ready = || kit::http::get(mixed.beside.metrics, "/readyz").unwrap();
    let (status, text) = ready();
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("coturn is away"), "{text} {why}");
    wait_until("the remedy", SOON, || {
        away(&mixed.beside).contains("start coturn")
    });
    wait_until("the alert", SOON, || {
        let alerts = mixed
            .ours
            .ctl()
            .items(&["alert", "list", "-f", "rule=coturn-away"]);
        alerts.iter().any(|alert| alert["node"] == "cot1")
    });
    mixed.coturn.launch();
    let _second = allocated(mixed.coturn.client());
    wait_until("the new session", SOON, || mixed.coturns().len() == 1);
    wait_until("the node to be ready", SOON, || ready().0 == 200);
}

#[test]
fn limits_and_switches_are_set_and_set_again_after_a_restart() {
    let mut mixed = Mixed::start(false);
    let set = |assignment: &str| {
        let arguments = [
            "config", "set", assignment, "--node", "cot1", "--yes", "--reason", "test",
        ];
        let answer = mixed.ours.ctl().run(&arguments);
        assert_eq!(answer.code, 0, "{answer:?}");
    };
    set("beside.mobility=true");
    set("beside.user_quota=1");
    set("beside.max_rate_bps=8000000");
    let is_so = |mixed: &Mixed| {
        let beside = seen(&mixed.ours, "cot1")
            .and_then(|view| view.beside)
            .unwrap_or_default();
        let limit = |name: &str| beside.limits.get(name).copied();
        beside.switches.get("mobility") == Some(&true)
            && limit("user-quota") == Some(1)
            && limit("max-bps") == Some(1_000_000)
    };
    wait_until("coturn to be so", SOON, || is_so(&mixed));
    let _first = allocated(mixed.coturn.client());
    // coturn takes limits to its realms every five seconds.
    wait_until("a second session to be refused", SOON, || {
        let mut second = mixed.coturn.client();
        match second.allocate() {
            Ok(_) => second.refresh(0).is_err(),
            Err(error) => error.code() == Some(486),
        }
    });
    mixed.coturn.kill();
    wait_until("coturn to be gone", SOON, || {
        !away(&mixed.beside).is_empty()
    });
    mixed.coturn.launch();
    wait_until("coturn to be so again", SOON, || {
        away(&mixed.beside).is_empty() && is_so(&mixed)
    });
}

#[test]
fn what_coturn_cannot_do_is_refused_with_the_remedy() {
    let mut mixed = Mixed::start(false);
    let beside = seen(&mixed.ours, "cot1")
        .and_then(|view| view.beside)
        .unwrap();
    assert_eq!(beside.refusal("session.kill"), None);
    let upgraded = mixed.ours.ctl().run(&["node", "upgrade", "cot1", "--yes"]);
    assert_ne!(upgraded.code, 0);
    assert!(upgraded.stderr.contains("restart relayd"), "{upgraded:?}");
    match turnserver::release() >= [4, 6, 3] {
        true => a_drain_is_carried_out(&mut mixed),
        false => a_drain_is_refused(&mixed),
    }
}

/// By a coturn that is too old for it, as 4.6.1.
fn a_drain_is_refused(mixed: &Mixed) {
    let id: NodeId = "cot1".parse().unwrap();
    let drained = mixed.ours.admin();
    let request = DrainRequest::default();
    let refused = drained
        .call(|api| api.drain_node(&id, &request))
        .unwrap_err();
    assert!(
        refused.to_string().contains("coturn drains since 4.6.3"),
        "{refused}"
    );
}

/// By a newer one: calls go on, nobody else is let in, and its process ends with the last call.
fn a_drain_is_carried_out(mixed: &mut Mixed) {
    let mut call = allocated(mixed.coturn.client());
    wait_until("the session", SOON, || mixed.coturns().len() == 1);
    let drain = ["node", "drain", "cot1", "--yes", "--reason", "test"];
    let drained = mixed.ours.ctl().run(&drain);
    assert_eq!(drained.code, 0, "{drained:?}");
    let refused = mixed.coturn.client().allocate().unwrap_err();
    assert_eq!(refused.code(), Some(403), "{refused}");
    assert!(call.refresh(600).unwrap() > 0, "the call goes on");
    let is_draining =
        |mixed: &Mixed| seen(&mixed.ours, "cot1").is_some_and(|view| view.drain.is_some());
    wait_until("the state", SOON, || is_draining(mixed));
    assert!(away(&mixed.beside).is_empty(), "its command line is there");
    let undrained = mixed.ours.ctl().run(&["node", "undrain", "cot1"]);
    assert!(
        undrained.stderr.contains("takes no drain back"),
        "{undrained:?}"
    );
    call.refresh(0).unwrap();
    wait_until("its process to end", SOON, || !mixed.coturn.is_alive());
    mixed.coturn.kill();
    mixed.coturn.launch();
    wait_until("the new process to be no drained one", SOON, || {
        away(&mixed.beside).is_empty() && !is_draining(mixed)
    });
    allocated(mixed.coturn.client());
}

#[test]
fn a_ban_ends_sessions_of_a_coturn_whenever_they_come_and_says_so() {
    let mixed = Mixed::start(false);
    let client = allocated(mixed.coturn.client());
    wait_until("the session", SOON, || mixed.coturns().len() == 1);
    let net = format!("{}/32", client.local().ip());
    let banned = mixed
        .ours
        .ctl()
        .json(&["ban", "add", &net, "--for", "5m", "--yes"]);
    let partly = &banned["partly"][0];
    assert_eq!(partly["node"], "cot1", "{banned}");
    assert!(
        partly["reason"].as_str().unwrap().contains("knows no bans"),
        "{banned}"
    );
    let refused = |mut client: TurnClient| {
        wait_until("coturn to end it", SOON, || {
            client
                .refresh(600)
                .is_err_and(|error| error.code() == Some(437))
        });
    };
    refused(client);
    // It knows nothing of the ban, and takes the client again: that ends as well.
    refused(allocated(mixed.coturn.client()));
}

#[test]
fn a_wrong_password_and_a_closed_port_are_told_with_the_remedy() {
    let mut coturn = CoturnHost::start(None);
    let node = alone(coturn.cli, "not-the-password");
    wait_until("the reason", SOON, || {
        away(&node).contains("refuses the password")
    });
    let (status, text) = kit::http::get(node.metrics, "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(text.contains("beside.password_file"), "{text}");
    let attempts = || coturn.log().matches("CLI authentication error").count();
    assert_eq!(attempts(), 0, "one input of the five that coturn counts");
    assert!(
        node.log().contains("refuses the password"),
        "{}",
        node.log()
    );
    coturn.kill();
    let node = alone(coturn.cli, CLI_PASSWORD);
    wait_until("the reason", SOON, || {
        away(&node).contains("nothing listens")
    });
}

#[test]
fn a_hashed_password_is_taken() {
    let coturn = CoturnHost::start_with_password(None, &coturn_host::hashed(CLI_PASSWORD));
    let node = alone(coturn.cli, CLI_PASSWORD);
    wait_until("coturn to be spoken with", SOON, || away(&node).is_empty());
}

#[test]
fn a_coturn_that_dies_of_the_password_is_told_of() {
    let fake = FakeCli::start();
    fake.answers().dies_of_password = true;
    let node = alone(fake.address, CLI_PASSWORD);
    wait_until("the reason", SOON, || {
        away(&node).contains("hashed cli-password")
    });
    assert_eq!(fake.answers().passwords, 1);
    let (status, text) = kit::http::get(node.metrics, "/readyz").unwrap();
    assert!(status == 503 && text.contains("not sent again"), "{text}");
}

/// Drains the coturn of a node of its own.
fn drain(node: &Node) -> Answer {
    node.ctl()
        .run(&["node", "drain", node.id(), "--yes", "--reason", "old"])
}

fn is_draining(node: &Node) -> bool {
    seen(node, node.id()).is_some_and(|view| view.drain.is_some())
}

#[test]
fn a_coturn_of_4_17_is_read_and_drained() {
    let fake = FakeCli::start();
    fake.answers().software = "Coturn-4.17.1 'Gorst'".to_owned();
    fake.answers().drain = Drain::Said;
    let node = alone(fake.address, CLI_PASSWORD);
    let rows = wait_for("its sessions", SOON, || {
        let rows = node.ctl().items(&["session", "list", "-s", "user"]);
        (rows.len() == 3).then_some(rows)
    });
    let bob = rows.iter().find(|row| row["user"] == "bob").unwrap();
    assert!(bob["username"].as_str().unwrap().ends_with(":bob"), "{bob}");
    assert_eq!(
        (&bob["transport"], &bob["max_rate_bps"]),
        (&"tls".into(), &1_000_000.into())
    );
    assert_eq!(bob["software"], "coturn 4.17.1");
    let view = seen(&node, node.id()).unwrap().beside.unwrap();
    assert_eq!(
        view.truncated_of,
        Some(4),
        "it is told that the list is cut"
    );
    assert_eq!(view.switches.get("no-multicast-peers"), Some(&true));
    let asked = |command: &str| fake.answers().commands.iter().any(|said| said == command);
    assert!(
        asked("cc cli-max-output-sessions 10000"),
        "{:?}",
        fake.answers().commands
    );
    let id: NodeId = node.id().parse().unwrap();
    let request = DrainRequest {
        refuse_refresh: true,
        ..DrainRequest::default()
    };
    let refused = node
        .admin()
        .call(|api| api.drain_node(&id, &request))
        .unwrap_err();
    assert!(
        refused.to_string().contains("refuses no refresh"),
        "{refused}"
    );
    let drained = drain(&node);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert!(asked("drain"));
    wait_until("the state", SOON, || is_draining(&node));
}

#[test]
fn a_connection_that_is_reset_is_a_drain_only_where_another_one_is_too() {
    let fake = FakeCli::start();
    fake.answers().drain = Drain::Breaks;
    let node = alone(fake.address, CLI_PASSWORD);
    wait_until("coturn to be spoken with", SOON, || away(&node).is_empty());
    let failed = drain(&node);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(
        failed.stderr.contains("may not have been told"),
        "{failed:?}"
    );
    assert!(!is_draining(&node));
    fake.answers().drain = Drain::Silent;
    wait_until("coturn to be spoken with again", SOON, || {
        away(&node).is_empty()
    });
    let drained = drain(&node);
    assert_eq!(drained.code, 0, "{drained:?}");
    wait_until("the state", SOON, || is_draining(&node));
}

#[test]
fn a_coturn_that_restarts_at_once_is_not_draining_any_more() {
    let fake = FakeCli::start();
    let node = alone(fake.address, CLI_PASSWORD);
    let count = || node.ctl().items(&["session", "list"]).len();
    wait_until("its sessions", SOON, || count() == 3);
    assert_eq!(drain(&node).code, 0);
    wait_until("the state", SOON, || is_draining(&node));
    // A connection can break; the same sessions are those of the same process.
    fake.hang_up();
    let lists = fake.answers().lists;
    wait_until("more lists", SOON, || fake.answers().lists > lists + 3);
    assert!(is_draining(&node), "its sessions go on");
    let known = fake.answers().sessions.clone();
    fake.answers().sessions = known.replace("north.gov", "south.gov");
    fake.hang_up();
    wait_until("the drain to be over", SOON, || !is_draining(&node));
    wait_until("its sessions to be others", SOON, || {
        let rows = node.ctl().items(&["session", "list"]);
        rows.len() == 3 && rows.iter().all(|row| row["realm"] == "south.gov")
    });
}

#[test]
fn sessions_that_cannot_be_read_are_told_of() {
    let fake = FakeCli::start();
    let good = fake.answers().sessions.clone();
    let whole = good.replace("Total sessions: 4", "Total sessions: 3");
    fake.answers().sessions = whole.replace("client protocol TLS/TCP", "client protocol QUIC");
    let node = alone(fake.address, CLI_PASSWORD);
    let beside = || seen(&node, node.id()).and_then(|view| view.beside);
    let view = wait_for("a session that cannot be read", SOON, || {
        beside().filter(|view| view.unreadable == 1)
    });
    assert_eq!(view.truncated_of, None);
    assert_eq!(node.ctl().items(&["session", "list"]).len(), 2);
    let listed = node.ctl().run(&["node", "list"]);
    assert!(listed.stdout.contains("coturn 4.18.0"), "{listed:?}");
    let shown = node.ctl().run(&["node", "show", node.id()]);
    assert!(shown.stdout.contains("UNREADABLE: 1"), "{shown:?}");
    fake.answers().sessions = whole;
    wait_until("all to be read", SOON, || {
        beside().is_some_and(|view| view.unreadable == 0)
    });
}

#[test]
fn garbage_of_a_command_line_breaks_nothing() {
    let fake = FakeCli::start();
    let node = alone(fake.address, CLI_PASSWORD);
    let count = || node.ctl().items(&["session", "list"]).len();
    wait_until("its sessions", SOON, || count() == 3);
    let good = fake.answers().sessions.clone();
    let garbage = [
        "\u{0}\u{1}\u{ff}) id=, user <>:\n  Total sessions: x\n".to_owned(),
        good.replace("client addr", "client\u{0}addr")
            .replace("700", "99999999999999999999"),
        good.replace('\n', " "),
        "    1) id=18446744073709551615, user <\u{1b}[2J>:\n  Total sessions: 1\n\n".to_owned(),
    ];
    for answer in garbage {
        fake.answers().sessions = answer;
        let before = fake.answers().commands.len();
        // It is asked for again, or the connection is made anew: either way it lives.
        wait_until("an answer", SOON, || {
            count() <= 3 && fake.answers().commands.len() >= before && away(&node).len() < 500
        });
    }
    fake.answers().sessions = good;
    wait_until("its sessions again", SOON, || {
        count() == 3 && away(&node).is_empty()
    });
    fake.answers().software = "SSH-2.0-OpenSSH_9.2".to_owned();
    let other = alone(fake.address, CLI_PASSWORD);
    wait_until("the reason", SOON, || {
        away(&other).contains("is no coturn of 4.5 or later")
    });
}
