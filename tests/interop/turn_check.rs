//! `relayctl turn check` against `relayd` and against coturn: what passes, what fails and how it
//! says so.

use std::path::Path;
use std::time::Duration;

use kit::certificate::{HOST, TestCertificate};
use kit::ctl::{Answer, Ctl};
use kit::node::{Node, NodeOptions, REALM, SECRET, USER};
use kit::turnserver::{self, Turnserver};
use serde_json::Value;

/// A command line without any node.
fn alone() -> Ctl {
    Ctl::new(Path::new("/nowhere/relayd.sock"))
}

fn check(uri: &str, arguments: &[&str]) -> Answer {
    let mut all = vec!["turn", "check", uri, "--timeout", "5s", "--packets", "20"];
    all.extend(arguments);
    alone().run(&all)
}

pub(crate) fn report(uri: &str, arguments: &[&str]) -> (i32, Value) {
    let answer = check(uri, &[arguments, &["-o", "json"]].concat());
    let value = serde_json::from_str(&answer.stdout);
    let value = value.unwrap_or_else(|e| panic!("{e}: {}{}", answer.stdout, answer.stderr));
    (answer.code, value)
}

/// The steps and how they ended.
pub(crate) fn steps(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().expect("steps");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    steps
        .iter()
        .map(|step| format!("{} {}", text(&step["step"]), text(&step["status"])))
        .collect()
}

const ALL_GOOD: [&str; 8] = [
    "resolve ok",
    "connect ok",
    "binding ok",
    "allocate ok",
    "permission ok",
    "channel ok",
    "echo ok",
    "release ok",
];

pub(crate) fn login() -> [&'static str; 4] {
    ["--user", USER.0, "--password", USER.1]
}

#[track_caller]
fn assert_passed(uri: &str, arguments: &[&str]) -> Value {
    let (code, report) = report(uri, arguments);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["verdict"], "ok", "{report:#}");
    let echo = &report["echo"][0];
    assert_eq!(
        (&echo["sent"], &echo["received"]),
        (&20.into(), &20.into()),
        "{report:#}"
    );
    assert!(echo["rtt_min_ms"].as_f64() > Some(0.0), "{report:#}");
    assert!(
        echo["rtt_p99_ms"].as_f64() >= echo["rtt_min_ms"].as_f64(),
        "{report:#}"
    );
    report
}

#[test]
fn every_step_passes_on_relayd_over_udp() {
    let node = Node::start(NodeOptions::default());
    let uri = format!("turn:{}", node.turn);
    let report = assert_passed(&uri, &login());
    assert_eq!(steps(&report), ALL_GOOD);
    assert_eq!(report["realm"], REALM);
    assert_eq!(report["echo"][0]["over_second_relay"], false);
    let kinds: Vec<_> = report["candidates"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&kinds[0]["type"], &kinds[1]["type"]),
        (&"srflx".into(), &"relay".into())
    );

    let relayed = assert_passed(&uri, &["--secret", SECRET, "--echo", "relay"]);
    assert_eq!(relayed["echo"][0]["over_second_relay"], true);
    let gone = || node.ctl().items(&["session", "list"]).is_empty();
    kit::wait::wait_until("the sessions to be released", Duration::from_secs(5), gone);
}

#[test]
fn a_node_that_denies_private_peers_is_checked_relay_to_relay() {
    let node = Node::start(NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    });
    let report = assert_passed(&format!("turn:{}", node.turn), &login());
    assert_eq!(report["echo"][0]["over_second_relay"], true);
    let steps = steps(&report);
    assert_eq!(
        steps[4..6],
        ["permission warn", "allocate ok"],
        "{report:#}"
    );
    let step = &report["steps"][4];
    assert!(step["text"].as_str().unwrap().contains("403"), "{step}");
    assert!(
        step["remedy"]
            .as_str()
            .unwrap()
            .contains("denies that peer"),
        "{step}"
    );
}

#[test]
fn every_step_passes_on_coturn_over_udp() {
    let server = Turnserver::start();
    let uri = format!("turn:{}", server.address);
    let report = assert_passed(&uri, &login());
    assert_eq!(steps(&report), ALL_GOOD);
    assert!(
        report["software"].as_str().unwrap().contains("Coturn"),
        "{report:#}"
    );
    let relayed = assert_passed(&uri, &[&login()[..], &["--echo", "relay"]].concat());
    assert_eq!(relayed["echo"][0]["over_second_relay"], true);
}

#[test]
fn each_failure_has_its_exit_code_and_its_remedy() {
    let node = Node::start(NodeOptions {
        max_sessions_per_user: Some(1),
        ..NodeOptions::default()
    });
    let uri = format!("turn:{}", node.turn);
    let wrong = ["--user", USER.0, "--password", "looking-glass"];
    let nobody = format!("turn:{}", kit::address::free_port(node.ip));
    let relay = [&login()[..], &["--echo", "relay"]].concat();
    let table: [(&str, &[&str], i32, &str); 5] = [
        ("turn:nowhere.invalid", &[], 10, "check the name"),
        (&nobody, &login(), 12, "nothing listens"),
        (&uri, &[], 13, "--user"),
        (&uri, &wrong, 13, "wrong password"),
        (&uri, &relay, 16, "quota"),
    ];
    for (uri, arguments, code, remedy) in table {
        let answer = check(uri, arguments);
        assert_eq!(
            answer.code, code,
            "{uri} {arguments:?}: {}{}",
            answer.stdout, answer.stderr
        );
        assert!(
            answer.stdout.contains(remedy),
            "{uri} {arguments:?}: {}",
            answer.stdout
        );
        assert!(answer.stdout.contains("failed: "), "{}", answer.stdout);
    }
    let usage = check("turn://example.org", &[]);
    assert_eq!(usage.code, 2);
    assert!(usage.stderr.contains("there is no //"), "{}", usage.stderr);
}

#[test]
fn a_node_mints_the_credential_where_a_realm_is_named() {
    let node = Node::start(NodeOptions::default());
    let uri = format!("turn:{}", node.turn);
    let ctl = node.ctl();
    let report = ctl.json(&["turn", "check", &uri, "--realm", REALM, "--packets", "5"]);
    assert_eq!(report["verdict"], "ok", "{report:#}");
    let filter = format!("action=credential.mint target={REALM}/relayctl-check");
    let told = || ctl.items(&["audit", "-f", &filter]).len() == 1;
    kit::wait::wait_until("the audit to tell", Duration::from_secs(5), told);
}

/// Every transport of one server, with its certificate believed and named.
fn every_transport_passes(address: &str, certificate: &TestCertificate, tls: &str) {
    let ca = certificate.certificate().display().to_string();
    let believed = ["--ca", &ca, "--server-name", HOST];
    let all = [&login()[..], &believed[..]].concat();
    let transports = [
        ("turn", "udp", "udp from"),
        ("turn", "tcp", "tcp from"),
        ("turns", "tcp", tls),
        ("turns", "udp", "DTLSv1."),
    ];
    for (scheme, transport, words) in transports {
        let uri = format!("{scheme}:{address}?transport={transport}");
        let report = assert_passed(&uri, &all);
        let connected = report["steps"][1]["text"].as_str().unwrap();
        assert!(connected.starts_with(words), "{uri}: {connected}");
        let shown = connected.contains("certificate for turn.example.org");
        assert_eq!(shown, scheme == "turns", "{connected}");
    }
}

#[test]
fn every_transport_passes_on_relayd() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    });
    every_transport_passes(&node.turn.to_string(), &certificate, "TLSv1.3 from");
}

#[test]
fn every_transport_passes_on_coturn() {
    let certificate = TestCertificate::ecdsa();
    let file = |option: &str, path: std::path::PathBuf| format!("{option}={}", path.display());
    let cert = file("--cert", certificate.certificate());
    let server = Turnserver::start_with(&[&cert, &file("--pkey", certificate.key())]);
    let tls = match turnserver::release() >= [4, 18, 0] {
        true => "TLSv1.3 from",
        // Debian 12's cannot do better.
        false => "TLSv1.2 from",
    };
    every_transport_passes(&server.address.to_string(), &certificate, tls);
}

#[test]
fn a_certificate_that_is_not_believed_stops_the_check_and_is_shown() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    });
    let ca = certificate.certificate().display().to_string();
    for transport in ["tcp", "udp"] {
        let uri = format!("turns:{}?transport={transport}", node.turn);
        let table: [(&[&str], &str); 2] = [
            (&["--ca", &ca], "is for other names"),
            (
                &["--ca", &ca, "--server-name", "example.net"],
                "is for other names",
            ),
        ];
        for (options, remedy) in table {
            let answer = check(&uri, &[&login()[..], options].concat());
            assert_eq!(answer.code, 11, "{uri} {options:?}: {}", answer.stdout);
            assert!(answer.stdout.contains(remedy), "{}", answer.stdout);
            assert!(answer.stdout.contains(HOST), "{}", answer.stdout);
        }
        let insecure = check(&uri, &[&login()[..], &["--insecure"]].concat());
        assert_eq!(insecure.code, 0, "{}{}", insecure.stdout, insecure.stderr);
        assert!(
            insecure.stdout.contains("--insecure takes it"),
            "{}",
            insecure.stdout
        );
    }
    let uri = format!("turns:{}", node.turn);
    let unknown = check(&uri, &[&login()[..], &["--server-name", HOST]].concat());
    assert_eq!(unknown.code, 11, "{}", unknown.stdout);
    assert!(
        unknown.stdout.contains("vouches for it"),
        "{}",
        unknown.stdout
    );
}

#[test]
fn node_verify_tells_every_transport_of_every_node() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    });
    let ctl = node.ctl();
    let rows = ctl.items(&["node", "verify", "--all", "--packets", "10"]);
    let transports: Vec<_> = rows
        .iter()
        .map(|row| row["transport"].as_str().unwrap())
        .collect();
    assert_eq!(transports, ["udp", "tcp", "tls", "dtls"]);
    for row in &rows {
        assert_eq!(
            (&row["verdict"], &row["node"]),
            (&"ok".into(), &"ams1".into()),
            "{row:#}"
        );
        assert_eq!(
            (&row["received"], &row["loss_percent"]),
            (&10.into(), &0.0.into()),
            "{row:#}"
        );
        assert!(row["rtt_p99_ms"].as_f64() > Some(0.0), "{row:#}");
    }
    let table = ctl.run(&["node", "verify", "ams1", "--packets", "5"]);
    assert_eq!(table.code, 0, "{}{}", table.stdout, table.stderr);
    assert!(table.stdout.contains("dtls"), "{}", table.stdout);
    let told = || {
        let minted = ctl.items(&[
            "audit",
            "-f",
            "action=credential.mint target~relayctl-check.ams1",
        ]);
        minted.len() == 2
    };
    kit::wait::wait_until("the audit to tell", Duration::from_secs(5), told);

    let ca = certificate.certificate().display().to_string();
    let wrong_name = ["--ca", &ca, "--server-name", "example.net"];
    let partly = ctl.run(
        &[
            &["node", "verify", "ams1", "--packets", "5"],
            &wrong_name[..],
        ]
        .concat(),
    );
    assert_eq!(partly.code, 5, "{}{}", partly.stdout, partly.stderr);
    assert!(
        partly.stderr.contains("2 of 4 checks failed"),
        "{}",
        partly.stderr
    );
    assert!(
        partly.stderr.contains("is for other names"),
        "{}",
        partly.stderr
    );

    let bare = ctl.run(&["realm", "add", "bare", "--yes"]);
    assert_eq!(bare.code, 0, "{}", bare.stderr);
    let unminted = ctl.run(&["node", "verify", "ams1", "--realm", "bare"]);
    assert_eq!(unminted.code, 1, "{}", unminted.stdout);
    assert!(
        unminted.stderr.contains("add or activate one first"),
        "{}",
        unminted.stderr
    );
}

#[test]
fn listeners_with_a_realm_of_their_own_are_checked_and_minted_for_as_that() {
    let south = kit::address::free_port(kit::address::fresh_ip());
    let bare = kit::address::free_port(kit::address::fresh_ip());
    let node = Node::start(NodeOptions {
        listen_also: format!(
            "{{ address = \"{south}\", realm = \"south.gov\" }}, {{ address = \"{bare}\", realm = \"bare.gov\" }}"
        ),
        end: "[[realm]]\nname = \"south.gov\"\nsecrets = [\"another-secret-of-the-suites\"]\n\
              [[realm]]\nname = \"bare.gov\"\n"
            .to_owned(),
        ..NodeOptions::default()
    });
    let ctl = node.ctl();
    let minted = |realm: &str| ctl.json(&["credential", "mint", "-r", realm, "--user", "bob"]);
    for (realm, listener) in [("north.gov", node.turn), ("south.gov", south)] {
        let credential = minted(realm);
        let urls = credential["urls"].as_array().unwrap();
        let of_listener = |url: &&Value| {
            let url = url.as_str().unwrap();
            url.starts_with(&format!("turn:{listener}?"))
        };
        assert_eq!(urls.iter().filter(of_listener).count(), 2, "{credential}");
        assert_eq!(urls.len(), 2, "{credential}");
    }
    let rows = ctl.run(&["node", "verify", "ams1", "--packets", "5", "-o", "json"]);
    assert_eq!(rows.code, 5, "{}{}", rows.stdout, rows.stderr);
    let rows: Value = serde_json::from_str(&rows.stdout).unwrap();
    let verdicts = |listener: std::net::SocketAddr| {
        let of_listener = |row: &&Value| {
            let uri = row["uri"].as_str().unwrap_or_default();
            uri.contains(&listener.to_string())
        };
        let rows = rows["items"].as_array().unwrap().iter();
        let told = |row: &Value| format!("{} {}", row["verdict"], row["text"]);
        rows.filter(of_listener).map(told).collect::<Vec<_>>()
    };
    for listener in [node.turn, south] {
        assert!(
            verdicts(listener)
                .iter()
                .all(|told| told.starts_with("\"ok\"")),
            "{rows:#}"
        );
        assert_eq!(verdicts(listener).len(), 2, "{rows:#}");
    }
    let unminted = verdicts(bare);
    assert_eq!(unminted.len(), 2, "{rows:#}");
    assert!(
        unminted
            .iter()
            .all(|told| told.contains("add or activate one first")),
        "{rows:#}"
    );
}
