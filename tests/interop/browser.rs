//! A video call of two `RTCPeerConnection`s in headless Chromium, through `relayd` alone.

use std::time::Duration;

use kit::browser::Browser;
use kit::certificate::TestCertificate;
use kit::cluster::cluster_key;
use kit::netns::{ip, isolated};
use kit::node::{Node, NodeOptions, rest_login};
use kit::redis::RedisServer;
use kit::wait::wait_until;
use serde_json::{Value, json};

/// More frames than this, decoded on each side.
const FRAMES: u64 = 100;
const DEADLINE: Duration = Duration::from_secs(30);
const HANG_UP: &str = "for (const pc of window.call) pc.close(); arguments[0]()";

#[derive(Debug, Default)]
struct Relayed {
    /// Payload bytes that clients sent to peers, and that peers sent to clients.
    from_clients: u64,
    to_clients: u64,
    sessions: usize,
}

/// What the node counts over all its sessions.
fn relayed(node: &Node) -> Relayed {
    let rows = node.ctl().items(&["session", "list"]);
    let sum = |key: &str| rows.iter().filter_map(|row| row[key].as_u64()).sum();
    Relayed {
        from_clients: sum("in_bytes"),
        to_clients: sum("out_bytes"),
        sessions: rows.len(),
    }
}

/// ICE servers for a call through `url` alone.
fn servers(url: &str) -> Value {
    let login = rest_login("browser");
    json!([{ "urls": [url], "username": login.username, "credential": login.password }])
}

/// A call through `url` during which `what` happens to the node, and that goes on.
#[track_caller]
fn call_that_goes_on<T>(node: &mut Node, url: &str, what: impl FnOnce(&mut Node) -> T) -> T {
    let browser = Browser::start();
    let begin = [servers(url), json!(FRAMES), json!(true)];
    let began = browser.run(include_str!("call.js"), &begin);
    assert!(frames(&began).iter().all(|n| *n > FRAMES), "{began}");
    assert!(relayed(node).sessions >= 2, "{began}");
    let happened = what(node);
    let report = browser.run(include_str!("go_on.js"), &[json!(FRAMES)]);
    assert_eq!(report["complete"], true, "{report}");
    let states = report["states"].as_array().cloned().unwrap_or_default();
    assert!(!states.iter().any(|state| state == "failed"), "{report}");
    assert!(relayed(node).sessions >= 2, "{report}");
    let _ = browser.run(HANG_UP, &[]);
    wait_until("the sessions of the call to end", DEADLINE, || {
        relayed(node).sessions == 0
    });
    happened
}

fn frames(report: &Value) -> Vec<u64> {
    let sides = report["sides"].as_array().cloned().unwrap_or_default();
    let frames = sides.iter().map(|side| side["frames"].as_u64());
    frames.map(Option::unwrap_or_default).collect()
}

/// Calls through `urls` and checks what browser and node say about it.
fn call(node: &Node, url: &str, protocol: &str) {
    let servers = servers(url);
    let browser = Browser::start();
    let report = browser.run(
        include_str!("call.js"),
        &[servers, json!(FRAMES), json!(false)],
    );
    let sides = report["sides"].as_array().cloned().unwrap_or_default();
    assert_eq!(sides.len(), 2, "{report}");
    let number = |side: &Value, key: &str| side[key].as_u64().unwrap_or_default();
    for side in &sides {
        assert!(number(side, "frames") > FRAMES, "{report}");
        assert_eq!([&side["local"], &side["remote"]], ["relay"; 2], "{report}");
        assert_eq!(side["relayProtocol"], protocol, "{report}");
    }
    // Both ways through one node: what one session takes in, the other gives out, and both are at
    // least what the browser counts as sent before it stopped its cameras.
    let sent: u64 = sides.iter().map(|side| number(side, "sent")).sum();
    let received: u64 = sides.iter().map(|side| number(side, "received")).sum();
    assert!(sent > 50_000 && received > 50_000, "{report}");
    wait_until(
        "the node's counters agree with the browser's",
        DEADLINE,
        || {
            let Relayed {
                from_clients,
                to_clients,
                sessions,
            } = relayed(node);
            let close = from_clients.abs_diff(to_clients) * 50 <= from_clients;
            sessions >= 2 && close && from_clients >= sent && to_clients >= received
        },
    );
    let _ = browser.run(HANG_UP, &[]);
    wait_until(
        "the sessions of a call that was hung up end",
        DEADLINE,
        || relayed(node).sessions == 0,
    );
}

#[test]
fn a_relay_only_video_call_over_turn_udp() {
    let node = Node::start(NodeOptions::default());
    call(&node, &format!("turn:{}?transport=udp", node.turn), "udp");
}

#[test]
fn a_relay_only_video_call_over_turn_tcp() {
    let node = Node::start(NodeOptions::default());
    call(&node, &format!("turn:{}?transport=tcp", node.turn), "tcp");
}

#[test]
fn a_relay_only_video_call_over_turns() {
    let pair = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    call(&node, &format!("turns:{}?transport=tcp", node.turn), "tls");
}

#[test]
fn a_browser_that_comes_to_a_drained_node_calls_through_another() {
    // Browsers follow no 300 to a loopback address: nodes and browser are in a network of their own.
    isolated(
        "browser::a_browser_that_comes_to_a_drained_node_calls_through_another",
        || {
            let addresses = ["10.9.0.11:3478", "10.9.0.12:3478"];
            ip("link add br0 type bridge");
            for host in ["1", "11", "12"] {
                ip(&format!("address add 10.9.0.{host}/24 dev br0"));
            }
            ip("link set br0 up");
            let redis = RedisServer::start();
            let folder = tempfile::tempdir().unwrap();
            let key = cluster_key(&folder);
            let start = |(id, address): (&str, &str)| {
                Node::start(NodeOptions {
                    id: id.to_owned(),
                    redis: Some(redis.url()),
                    cluster_key: Some(key.clone()),
                    allowed_peers: Some("10.9.0.0/24"),
                    environment: vec![("RELAYD_LISTEN".to_owned(), address.to_owned())],
                    ..NodeOptions::default()
                })
            };
            let nodes = ["ams1", "fra1"].into_iter().zip(addresses).map(start);
            let nodes: Vec<Node> = nodes.collect();
            let [drained, other] = &nodes[..] else {
                panic!("two nodes")
            };
            wait_until("the nodes to see each other", DEADLINE, || {
                let ready = drained.ctl().items(&["node", "list", "-f", "state=ready"]);
                ready.len() == nodes.len()
            });
            let drain = ["node", "drain", "ams1", "--yes", "--reason", "test"];
            let answer = other.ctl().run(&drain);
            assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
            for transport in ["udp", "tcp"] {
                call(
                    other,
                    &format!("turn:{}?transport={transport}", addresses[0]),
                    transport,
                );
            }
            wait_until(
                "the clients that were sent on to be counted",
                DEADLINE,
                || drained.metric("relayd_redirects_total") >= Some(4.0),
            );
            assert_eq!(drained.metric("relayd_sessions"), Some(0.0));
        },
    );
}

#[test]
fn a_call_over_udp_goes_on_after_its_node_was_killed() {
    let mut node = Node::start(NodeOptions::default());
    let url = format!("turn:{}?transport=udp", node.turn);
    call_that_goes_on(&mut node, &url, |node| {
        // A hundred frames ago it told the store all that it needs.
        node.kill();
        node.launch();
        node.wait_ready();
    });
}

#[test]
fn a_call_over_udp_or_tcp_moves_to_the_next_process() {
    for transport in ["udp", "tcp"] {
        let mut node = Node::start(NodeOptions::default());
        let url = format!("turn:{}?transport={transport}", node.turn);
        let mut elder = call_that_goes_on(&mut node, &url, Node::upgrade);
        assert_eq!(elder.ended(DEADLINE), Some(0), "{}", node.log());
    }
}

#[test]
fn a_call_over_turns_stays_with_the_process_before_and_lives() {
    let pair = TestCertificate::ecdsa();
    let mut node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    let url = format!("turns:{}?transport=tcp", node.turn);
    let mut elder = call_that_goes_on(&mut node, &url, Node::upgrade);
    // It was hung up: nothing is left of it.
    assert_eq!(elder.ended(DEADLINE), Some(0), "{}", node.log());
}
