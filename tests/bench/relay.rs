//! `bench relay`.

use kit::node::{Node, NodeOptions, REALM, SECRET, USER};
use kit::turnserver::{self, Turnserver};
use kit::wait::wait_until;
use serde_json::Value;
use std::time::Duration;

use crate::{assert_clean, count, report, run};

/// Runs it against `uri` and expects every packet where it belongs.
#[track_caller]
fn relays(uri: &str, arguments: &[&str]) -> Value {
    let login = ["--user", USER.0, "--password", USER.1];
    assert_eq!(USER, turnserver::USER);
    let all = [&["relay", uri, "--packets", "2000"], &login[..], arguments];
    let (code, report) = report(&all.concat());
    assert_clean(code, &report);
    report
}

/// A node whose user may have more sessions than any test makes.
fn roomy() -> NodeOptions {
    NodeOptions {
        max_sessions_per_user: Some(1000),
        ..NodeOptions::default()
    }
}

/// How many packets arrived.
fn received(report: &Value) -> (u64, u64) {
    (
        count(report, "/received/up"),
        count(report, "/received/down"),
    )
}

/// All ways to relay that a server of any make has to bear.
#[track_caller]
fn every_way(uri: &str) {
    let up = relays(uri, &["--direction", "up", "--sessions", "20"]);
    assert_eq!(received(&up), (2000, 0), "{up:#}");
    let down = relays(uri, &["--direction", "down", "--sessions", "20"]);
    assert_eq!(received(&down), (0, 2000), "{down:#}");
    let both = relays(uri, &["--sessions", "20", "--burst", "4"]);
    let (ups, downs) = received(&both);
    assert!(ups + downs == 2000 && ups > 0 && downs > 0, "{both:#}");
    let echo = relays(uri, &["--direction", "echo", "--sessions", "3"]);
    assert_eq!(received(&echo), (2000, 2000), "{echo:#}");
    assert!(echo["latency_us"]["p50"].as_f64() > Some(0.0), "{echo:#}");
    let pair = relays(uri, &["--pair", "--sessions", "6"]);
    let (ups, downs) = received(&pair);
    assert!(ups + downs == 2000 && ups > 0 && downs > 0, "{pair:#}");
    for size in ["0", "11", "12", "1200"] {
        relays(uri, &["--size", size, "--sessions", "2", "--window", "32"]);
        let by = ["--method", "indication", "--window", "32"];
        relays(
            uri,
            &[&["--size", size, "--sessions", "2"], &by[..]].concat(),
        );
    }
}

#[test]
fn relayd_relays_every_way() {
    let node = Node::start(roomy());
    every_way(&format!("turn:{}", node.turn));
    let gone = || node.ctl().items(&["session", "list"]).is_empty();
    wait_until("the sessions to be released", Duration::from_secs(5), gone);
}

#[test]
fn coturn_relays_every_way() {
    let server = Turnserver::start();
    every_way(&format!("turn:{}", server.address));
}

#[test]
fn segments_windows_and_rates_lose_nothing() {
    let node = Node::start(roomy());
    let uri = format!("turn:{}", node.turn);
    let bursts = ["--sessions", "8", "--burst", "16"];
    for more in [
        &["--segments"][..],
        &["--segments", "--no-receive-segments"],
        &["--settle", "1ms"],
        &["--segments", "--settle", "500us", "--direction", "echo"],
    ] {
        relays(&uri, &[&bursts, more].concat());
    }
    let paced = relays(&uri, &["--sessions", "5", "--rate", "2k"]);
    assert_eq!(paced["rate_per_sec"], 2000.0);
    assert!(paced["window"].is_null());
    // 2,000 packets by the clock: none before its time.
    assert!(paced["duration_ms"].as_f64() > Some(990.0), "{paced:#}");
    let paced = ["--rate", "2k", "--settle", "1ms", "--burst", "7"];
    relays(&uri, &[&["--sessions", "5"], &paced[..]].concat());
}

#[test]
fn sockets_of_their_own_do_as_well_as_one_for_all() {
    let node = Node::start(roomy());
    let uri = format!("turn:{}", node.turn);
    let source = relays(&uri, &["--sessions", "50", "--source", "127.200.0.0/24"]);
    assert_eq!(count(&source, "/sessions"), 50);
    for direction in ["both", "echo"] {
        let own = [
            "--sessions",
            "300",
            "--source",
            "none",
            "--direction",
            direction,
        ];
        relays(&uri, &own);
    }
    let few = ["--sessions", "50", "--source", "127.200.0.0/28"];
    let login = ["--user", USER.0, "--password", USER.1];
    let answer = run(&[&["relay", &uri], &few[..], &login].concat());
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    assert!(answer.stderr.contains("14 addresses"), "{}", answer.stderr);
}

#[test]
fn the_servers_process_is_told() {
    let node = Node::start(roomy());
    let uri = format!("turn:{}", node.turn);
    let pid = node.pid().to_string();
    let report = relays(
        &uri,
        &["--pid", &pid, "--sessions", "10", "--warm-up", "100ms"],
    );
    let process = &report["process"];
    assert_eq!(process["pid"].to_string(), pid);
    for figure in [
        "cpu_ns",
        "cpu_ns_per_packet",
        "rss_bytes_before",
        "rss_bytes_after",
    ] {
        assert!(process[figure].as_f64() > Some(0.0), "{figure}: {report:#}");
    }
    assert!(report["bench"]["cpu_ns_per_packet"].as_f64() > Some(0.0));
    let answer = run(&["relay", &uri, "--pid", "4194305"]);
    assert_eq!(answer.code, 1, "{}", answer.stderr);
}

#[test]
fn sessions_under_a_secret_are_not_one_users() {
    let node = Node::start(NodeOptions {
        max_sessions_per_user: Some(2),
        ..NodeOptions::default()
    });
    let uri = format!("turn:{}", node.turn);
    let secret = ["--secret", SECRET, "--packets", "100", "--sessions", "5"];
    let (code, found) = report(&[&["relay", &uri], &secret[..]].concat());
    assert_clean(code, &found);
    let user = ["--user", USER.0, "--password", USER.1, "--sessions", "5"];
    let answer = run(&[&["relay", &uri], &user[..]].concat());
    assert_eq!(answer.code, 14, "{}", answer.stderr);
    for word in ["486", "max_sessions_per_user", "--secret"] {
        assert!(answer.stderr.contains(word), "{word}: {}", answer.stderr);
    }
    let gone = || node.ctl().items(&["session", "list"]).is_empty();
    wait_until("the sessions to be released", Duration::from_secs(5), gone);
}

#[test]
fn what_a_server_refuses_is_told_with_the_remedy() {
    let node = Node::start(NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    });
    let uri = format!("turn:{}", node.turn);
    let login = ["--user", USER.0, "--password", USER.1];
    let denied = run(&[&["relay", &uri], &login[..]].concat());
    assert_eq!(denied.code, 15, "{}", denied.stderr);
    for word in ["403", "[peers] allowed", "--pair"] {
        assert!(denied.stderr.contains(word), "{word}: {}", denied.stderr);
    }
    let wrong = run(&["relay", &uri, "--user", USER.0, "--password", "wrong"]);
    assert_eq!(wrong.code, 13, "{}", wrong.stderr);
    let nobody = run(&["relay", &uri]);
    assert_eq!(nobody.code, 13, "{}", nobody.stderr);
    assert!(nobody.stderr.contains(REALM), "{}", nobody.stderr);
    let silent = run(&["relay", "turn:127.0.0.1:9", "--timeout", "1s"]);
    assert_eq!(silent.code, 12, "{}", silent.stderr);
    let usage = run(&["relay", &uri, "--pair", "--sessions", "3"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
}
