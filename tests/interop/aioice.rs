//! aioice (the ICE library of aiortc) through `relayd`, relay candidates only.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kit::certificate::TestCertificate;
use kit::node::{Node, NodeOptions, rest_login};
use kit::program::{Sinks, finish, python, spawn};
use kit::wait::wait_until;
use serde_json::Value;

const MESSAGES: u64 = 50;
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a call, over TLS where there is a certificate to trust.
fn call(node: &Node, transport: &str, certificate: Option<&Path>) -> Value {
    let login = rest_login("aioice");
    let mut command = Command::new(python());
    command.args(["-c", include_str!("aioice_call.py")]);
    command.args([node.turn.ip().to_string(), node.turn.port().to_string()]);
    command.arg(transport);
    command.arg(certificate.unwrap_or(Path::new("-")));
    command.args([&login.username, &login.password, &MESSAGES.to_string()]);
    let child = spawn(
        "tests/run.sh, which makes its environment",
        command,
        &Sinks::Pipes,
    );
    let output = finish("aioice", child, DEADLINE);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

#[track_caller]
fn assert_complete(node: &Node, answer: &Value) {
    let all: Vec<u64> = (0..MESSAGES).collect();
    assert_eq!(answer["received"], serde_json::json!([all, all]));
    let types = answer["types"].as_array().expect("types of candidates");
    assert!(
        !types.is_empty() && types.iter().all(|kind| kind == "relay"),
        "{types:?}"
    );
    wait_until("released sessions are gone", DEADLINE, || {
        node.ctl().items(&["session", "list"]).is_empty()
    });
}

#[test]
fn relay_only_agents_talk_over_udp() {
    let node = Node::start(NodeOptions::default());
    assert_complete(&node, &call(&node, "udp", None));
}

#[test]
fn relay_only_agents_talk_over_tcp() {
    let node = Node::start(NodeOptions::default());
    assert_complete(&node, &call(&node, "tcp", None));
}

#[test]
fn relay_only_agents_talk_over_tls() {
    let pair = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    let answer = call(&node, "tcp", Some(&pair.certificate()));
    assert_complete(&node, &answer);
}
