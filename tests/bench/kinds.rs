//! Kinds of load other than relaying, and transports other than UDP.

use std::process::Command;
use std::time::Duration;

use kit::broken_server::{BrokenServer, Fault};
use kit::certificate::{HOST, TestCertificate};
use kit::node::{Node, NodeOptions, SECRET, USER};
use kit::program::{Sinks, finish, ours, signal, spawn};
use kit::turnserver::Turnserver;
use kit::wait::wait_until;
use serde_json::Value;

use crate::{assert_clean, count, report, run};

/// How long a run that was interrupted may take to end.
const END: Duration = Duration::from_secs(20);

fn login() -> [&'static str; 4] {
    ["--user", USER.0, "--password", USER.1]
}

/// A node for as many sessions as any test makes, with TLS.
fn roomy(certificate: &TestCertificate) -> NodeOptions {
    NodeOptions {
        max_sessions_per_user: Some(1000),
        end: certificate.section(),
        ..NodeOptions::default()
    }
}

/// A run that has to succeed.
#[track_caller]
fn good(arguments: &[&str]) -> Value {
    let (code, report) = report(arguments);
    assert_eq!(code, 0, "{report:#}");
    report
}

/// The ways to a server, with what it takes to believe it.
fn ways(address: &str) -> [String; 3] {
    [
        format!("turn:{address}"),
        format!("turn:{address}?transport=tcp"),
        format!("turns:{address}?transport=tcp"),
    ]
}

/// Churn, idle sessions and Binding requests, over all transports.
#[track_caller]
fn every_kind(address: &str, certificate: &TestCertificate) {
    let ca = certificate.certificate().display().to_string();
    let believed = ["--ca", &ca, "--server-name", HOST];
    let all = [&login()[..], &believed[..]].concat();
    for uri in ways(address) {
        let churn = ["churn", &uri, "--cycles", "60", "--concurrency", "7"];
        let churn = good(&[&churn[..], &all].concat());
        assert_eq!(count(&churn, "/cycles"), 60, "{uri}: {churn:#}");
        assert_eq!(count(&churn, "/failed"), 0, "{uri}: {churn:#}");
        assert!(churn["cycles_per_sec"].as_f64() > Some(0.0), "{churn:#}");
        let idle = [
            "idle",
            &uri,
            "--sessions",
            "30",
            "--hold",
            "50ms",
            "--rounds",
            "2",
        ];
        let idle = good(&[&idle[..], &all].concat());
        assert_eq!(idle["rounds"].as_array().map(Vec::len), Some(2), "{idle:#}");
        for round in ["/rounds/0", "/rounds/1"] {
            let left = count(&idle, &format!("{round}/not_released"));
            assert_eq!(left, 0, "{uri}: {idle:#}");
        }
        let binding = ["binding", &uri, "--requests", "500", "--clients", "20"];
        let binding = good(&[&binding[..], &believed].concat());
        let counts = ["/received", "/wrong", "/lost"].map(|pointer| count(&binding, pointer));
        assert_eq!(counts, [500, 0, 0], "{uri}: {binding:#}");
    }
}

/// Packets of all sizes over TCP and TLS, both ways, there and back.
#[track_caller]
fn streams_relay(address: &str, certificate: &TestCertificate) {
    let ca = certificate.certificate().display().to_string();
    let believed = ["--ca", &ca, "--server-name", HOST];
    let all = [&login()[..], &believed[..]].concat();
    for uri in &ways(address)[1..] {
        for more in [
            &["--sessions", "20", "--burst", "4"][..],
            &["--sessions", "3", "--direction", "echo", "--size", "13"],
            &[
                "--sessions",
                "4",
                "--pair",
                "--size",
                "1201",
                "--window",
                "16",
            ],
            &["--method", "indication", "--size", "15", "--sessions", "2"],
            &["--direction", "up", "--size", "1", "--settle", "1ms"],
            &["--direction", "down", "--size", "0", "--window", "16"],
        ] {
            let relay = ["relay", uri, "--packets", "1000"];
            let (code, found) = report(&[&relay[..], &all, more].concat());
            assert_clean(code, &found);
            let received = count(&found, "/received/up") + count(&found, "/received/down");
            let echo = u64::from(found["direction"] == "echo");
            assert_eq!(received, 1000 * (1 + echo), "{uri}: {found:#}");
        }
    }
}

#[test]
fn relayd_bears_every_kind_over_every_transport() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(roomy(&certificate));
    every_kind(&node.turn.to_string(), &certificate);
    streams_relay(&node.turn.to_string(), &certificate);
    let gone = || node.ctl().items(&["session", "list"]).is_empty();
    wait_until("the sessions to be released", Duration::from_secs(5), gone);
}

#[test]
fn coturn_bears_every_kind_over_every_transport() {
    let certificate = TestCertificate::rsa();
    let cert = format!("--cert={}", certificate.certificate().display());
    let key = format!("--pkey={}", certificate.key().display());
    let server = Turnserver::start_with(&[&cert, &key]);
    every_kind(&server.address.to_string(), &certificate);
    streams_relay(&server.address.to_string(), &certificate);
}

#[test]
fn a_certificate_that_is_not_believed_is_told() {
    let certificate = TestCertificate::ecdsa();
    let node = Node::start(roomy(&certificate));
    let uri = format!("turns:{}", node.turn);
    let doubted = run(&[&["relay", &uri], &login()[..]].concat());
    assert_eq!(doubted.code, 11, "{}", doubted.stderr);
    assert!(doubted.stderr.contains("TLS"), "{}", doubted.stderr);
    let believed = ["relay", &uri, "--insecure", "--packets", "10"];
    let (code, found) = report(&[&believed[..], &login()].concat());
    assert_clean(code, &found);
    let closed = ["relay", "turn:127.0.0.1:9?transport=tcp"];
    let closed = run(&[&closed[..], &login()].concat());
    assert_eq!(closed.code, 11, "{}", closed.stderr);
    assert!(
        closed.stderr.contains("nothing listens"),
        "{}",
        closed.stderr
    );
    let dtls = run(&["relay", &format!("{uri}?transport=udp")]);
    assert_eq!(dtls.code, 2, "{}", dtls.stderr);
}

#[test]
fn figures_of_the_process_are_those_of_the_kind() {
    let node = Node::start(roomy(&TestCertificate::ecdsa()));
    let (uri, pid) = (format!("turn:{}", node.turn), node.pid().to_string());
    let with = [&login()[..], &["--pid", &pid]].concat();
    let churn = good(&[&["churn", &uri, "--cycles", "100"], &with[..]].concat());
    assert!(
        churn["process"]["cpu_ns_per_cycle"].as_f64() > Some(0.0),
        "{churn:#}"
    );
    assert!(churn["process"]["rss_bytes_growth_per_cycle"].is_number());
    let idle = [
        "idle",
        &uri,
        "--sessions",
        "100",
        "--hold",
        "20ms",
        "--rest",
        "100ms",
    ];
    let idle = good(&[&idle[..], &with].concat());
    let round = &idle["rounds"][0];
    for figure in [
        "rss_bytes_before",
        "rss_bytes_with_sessions",
        "rss_bytes_after",
    ] {
        assert!(round[figure].as_u64() > Some(0), "{figure}: {idle:#}");
    }
    assert!(round["rss_bytes_per_session"].is_number(), "{idle:#}");
    let binding = ["binding", &uri, "--requests", "100", "--pid", &pid];
    let binding = good(&binding);
    assert!(
        binding["process"]["cpu_ns_per_answer"].as_f64() > Some(0.0),
        "{binding:#}"
    );
}

#[test]
fn refusals_of_cycles_are_counted_by_their_code() {
    let node = Node::start(NodeOptions {
        max_sessions_per_user: Some(3),
        ..NodeOptions::default()
    });
    let uri = format!("turn:{}", node.turn);
    let churn = ["churn", &uri, "--cycles", "300", "--concurrency", "20"];
    let churn = good(&[&churn[..], &login()].concat());
    let (cycles, failed) = (count(&churn, "/cycles"), count(&churn, "/failed"));
    assert_eq!(cycles + failed, 300, "{churn:#}");
    assert!(cycles > 0 && failed > 0, "{churn:#}");
    assert_eq!(count(&churn, "/refused/486"), failed, "{churn:#}");
    // Under a secret each cycle is a user of its own.
    let each = ["churn", &uri, "--cycles", "300", "--concurrency", "20"];
    let each = good(&[&each[..], &["--secret", SECRET]].concat());
    assert_eq!(count(&each, "/failed"), 0, "{each:#}");
    let wrong = ["churn", &uri, "--user", USER.0, "--password", "wrong"];
    let wrong = run(&wrong);
    assert_eq!(wrong.code, 13, "{}", wrong.stderr);
}

#[test]
fn sessions_outlive_their_lifetimes_and_nonces() {
    let top = "nonce_lifetime = \"1s\"\ndefault_allocate_lifetime = \"2s\"\n\
               min_allocate_lifetime = \"1s\"\npermission_lifetime = \"2s\"\n\
               channel_lifetime = \"2s\"\n";
    let node = Node::start(NodeOptions {
        top: top.to_owned(),
        ..NodeOptions::default()
    });
    let uri = format!("turn:{}", node.turn);
    for method in ["channel", "indication"] {
        let relay = ["relay", &uri, "--sessions", "5", "--rate", "1000"];
        let more = ["--duration", "4s", "--method", method];
        let (code, found) = report(&[&relay[..], &more, &login()].concat());
        assert_clean(code, &found);
    }
}

#[test]
fn an_interrupted_run_releases_its_sessions() {
    let node = Node::start(NodeOptions::default());
    let server = BrokenServer::start(Fault::None);
    for (uri, kind) in [
        (format!("turn:{}", node.turn), "relay"),
        (format!("turn:{}", node.turn), "idle"),
        (format!("turn:{}", server.address), "relay"),
    ] {
        let sessions = || match uri.ends_with(&server.address.to_string()) {
            true => server.sessions(),
            false => node.ctl().items(&["session", "list"]).len(),
        };
        let mut command = Command::new(ours("relayctl"));
        command
            .args(["bench", kind, &uri, "--sessions", "5"])
            .args(login());
        command.args(match kind {
            "idle" => ["--hold", "10m"],
            _ => ["--duration", "10m"],
        });
        let bench = spawn("this workspace", command, &Sinks::Pipes);
        wait_until("five sessions", END, || sessions() == 5);
        signal(&bench, "INT");
        let output = finish("relayctl bench", bench, END);
        assert_eq!(output.status.code(), Some(130), "{kind}: {output:?}");
        wait_until("their release", Duration::from_secs(2), || sessions() == 0);
    }
}
