//! `relayctl turn check` where a name or a redirect leads to the server: DNS by the steps of RFC 5928,
//! and 300 (Try Alternate).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::dns::{Entry, NameServer, address, naptr, srv};
use kit::node::{Node, NodeOptions};
use kit::turnserver::Turnserver;
use kit::wait::wait_until;
use serde_json::Value;

use crate::turn_check::{login, report, steps};

const SOON: Duration = Duration::from_secs(10);

/// A report of a check with this name server, and what that was asked.
fn by_name(uri: &str, entries: Vec<Entry>, arguments: &[&str]) -> (i32, Value, Vec<String>) {
    let names = NameServer::start(entries);
    let server = names.address.to_string();
    let all = [&login()[..], &["--dns", &server], arguments].concat();
    let (code, report) = report(uri, &all);
    (code, report, names.asked())
}

/// The text of the first step.
fn resolved(report: &Value) -> &str {
    report["steps"][0]["text"].as_str().unwrap()
}

/// The server of the last step.
fn last_server(report: &Value) -> &str {
    let steps = report["steps"].as_array().unwrap();
    steps.last().unwrap()["server"].as_str().unwrap()
}

#[test]
fn a_naptr_leads_to_srv_and_addresses_and_nothing_else_is_asked() {
    let node = Node::start(NodeOptions::default());
    let entries = vec![
        // Later in the order, of another application, and for turns: only.
        (
            "example.test",
            naptr(30, "s", "RELAY:turn.tcp", "_turn._tcp.example.test"),
        ),
        (
            "example.test",
            naptr(5, "s", "SIP+D2U", "_sip._udp.example.test"),
        ),
        (
            "example.test",
            naptr(7, "s", "RELAY:turn.tls", "_turns._tcp.example.test"),
        ),
        (
            "example.test",
            naptr(20, "", "RELAY:turn.udp", "relays.example.test"),
        ),
        (
            "relays.example.test",
            naptr(10, "s", "RELAY:turn.udp", "_turn._udp.relays.example.test"),
        ),
        (
            "_turn._udp.relays.example.test",
            srv(1, 1, node.turn.port(), "a.example.test"),
        ),
        ("a.example.test", address(node.ip)),
    ];
    let (code, report, asked) = by_name("turn:example.test", entries, &[]);
    assert_eq!(code, 0, "{report:#}");
    let way = format!(
        "udp {} (SRV _turn._udp.relays.example.test., A a.example.test.",
        node.turn
    );
    assert!(resolved(&report).starts_with(&way), "{report:#}");
    assert_eq!(
        asked,
        [
            "NAPTR example.test",
            "SRV _turn._tcp.example.test",
            "NAPTR relays.example.test",
            "SRV _turn._udp.relays.example.test",
            "A a.example.test",
            "AAAA a.example.test",
        ]
    );
}

#[test]
fn without_naptr_srv_is_asked_by_transport_and_priorities_are_followed() {
    let node = Node::start(NodeOptions::default());
    let nobody = free_port(fresh_ip());
    let entries = vec![
        (
            "_turn._udp.example.test",
            srv(20, 0, node.turn.port(), "a.example.test"),
        ),
        (
            "_turn._udp.example.test",
            srv(10, 0, nobody.port(), "dead.example.test"),
        ),
        ("_turn._tcp.example.test", srv(10, 0, 1, ".")),
        ("a.example.test", address(node.ip)),
        ("dead.example.test", address(nobody.ip())),
    ];
    let (code, report, asked) = by_name("turn:example.test", entries, &[]);
    assert_eq!(code, 0, "{report:#}");
    let text = resolved(&report);
    let (dead, alive) = (
        text.find(&nobody.to_string()),
        text.find(&node.turn.to_string()),
    );
    assert!(dead.is_some() && dead < alive, "{text}");
    assert!(
        text.contains("SRV _turn._tcp.example.test: expressly not offered"),
        "{text}"
    );
    assert!(
        steps(&report)[2].ends_with("warn"),
        "the first is dead: {report:#}"
    );
    assert_eq!(last_server(&report), format!("udp {}", node.turn));
    let kinds: Vec<_> = asked.iter().filter(|one| !one.contains("A ")).collect();
    assert_eq!(
        kinds,
        [
            "NAPTR example.test",
            "SRV _turn._udp.example.test",
            "SRV _turn._tcp.example.test"
        ]
    );
}

#[test]
fn addresses_of_both_families_are_tried_where_there_is_no_srv() {
    let ip = fresh_ip();
    let v6 = free_port(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let v4 = SocketAddr::new(ip, v6.port());
    let _node = Node::start(NodeOptions {
        environment: vec![
            ("RELAYD_LISTEN".to_owned(), format!("{v4},{v6}")),
            (
                "RELAYD_PEERS_ALLOWED".to_owned(),
                "127.0.0.0/8,::1".to_owned(),
            ),
        ],
        ..NodeOptions::default()
    });
    let entries = || {
        vec![
            ("both.example.test", address(v4.ip())),
            ("both.example.test", address(v6.ip())),
        ]
    };
    let uri = format!("turn:both.example.test:{}?transport=udp", v6.port());
    let (code, report, asked) = by_name(&uri, entries(), &["--each"]);
    assert_eq!(code, 0, "{report:#}");
    let (a, aaaa) = ("A both.example.test", "AAAA both.example.test");
    assert_eq!(asked, [a, aaaa], "a port rules out SRV, a transport NAPTR");
    assert_eq!(
        resolved(&report),
        format!("udp {v4} ({a}); udp {v6} ({aaaa})")
    );
    let echoes = report["echo"].as_array().unwrap().len();
    assert!(echoes >= 2, "{report:#}");
    let (code, report, asked) = by_name("turn:nowhere.example.test", entries(), &[]);
    assert_eq!(
        (code, &report["verdict"]),
        (10, &"resolve".into()),
        "{report:#}"
    );
    assert_eq!(asked[0], "NAPTR nowhere.example.test");
    assert!(
        asked.iter().any(|one| one == "A nowhere.example.test"),
        "{asked:?}"
    );
}

/// Sends the clients of one node to another server, which has to be at an address of that node where it is
/// not a public one.
fn redirect(node: &Node, to: SocketAddr) {
    let to = to.to_string();
    let added = node
        .ctl()
        .run(&["redirect", "add", "--transport", "udp", &to, "--yes"]);
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    let uri = format!("turn:{}", node.turn);
    wait_until("the node to redirect", SOON, || {
        let (_, report) = report(&uri, &login());
        report.to_string().contains("300")
    });
}

#[test]
fn a_300_is_followed_once_and_told_step_by_step() {
    let from = Node::start(NodeOptions::default());
    let there = free_port(from.ip);
    let _target = Node::start(NodeOptions {
        id: "fra1".to_owned(),
        environment: vec![("RELAYD_LISTEN".to_owned(), there.to_string())],
        ..NodeOptions::default()
    });
    redirect(&from, there);
    let (code, report) = report(&format!("turn:{}", from.turn), &login());
    assert_eq!(code, 0, "{report:#}");
    let (first, second) = (format!("udp {}", from.turn), format!("udp {there}"));
    let told: Vec<_> = report["steps"].as_array().unwrap().iter().skip(1).collect();
    let servers: Vec<_> = told
        .iter()
        .map(|step| step["server"].as_str().unwrap())
        .collect();
    assert_eq!(servers[..3], [&*first; 3], "{report:#}");
    assert!(
        servers[3..].iter().all(|server| *server == second),
        "{report:#}"
    );
    let text = told[2]["text"].as_str().unwrap();
    let expected = format!("300: the server sends clients to {there}; following");
    assert_eq!(text, expected);
    assert_eq!(
        steps(&report)[3..],
        [
            "allocate ok",
            "connect ok",
            "binding ok",
            "allocate ok",
            "permission ok",
            "channel ok",
            "echo ok",
            "release ok"
        ],
    );
}

#[test]
fn a_second_300_is_the_end_of_the_way() {
    let from = Node::start(NodeOptions::default());
    let nowhere = free_port(fresh_ip());
    let again = Turnserver::start_with(&[
        &format!("--alternate-server={nowhere}"),
        &format!("--listening-ip={}", from.ip),
    ]);
    let again = SocketAddr::new(from.ip, again.address.port());
    redirect(&from, again);
    let (code, report) = report(&format!("turn:{}", from.turn), &login());
    assert_eq!(code, 14, "{report:#}");
    let last = report["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["server"], format!("udp {again}"), "{report:#}");
    let text = last["text"].as_str().unwrap();
    assert!(text.contains(&nowhere.to_string()), "{report:#}");
    let remedy = last["remedy"].as_str().unwrap();
    assert!(remedy.contains("only one 300 is followed"), "{report:#}");
}
