//! Bad configuration: everything wrong is named at once, and nothing starts or changes.

use std::process::Command;
use std::time::Duration;

use kit::node::{Node, NodeOptions, stored_login};
use kit::program::{Sinks, finish, ours, spawn, text};
use kit::wait::wait_until;

/// Runs `relayd` on a file with this text; exit code and all it wrote.
fn relayd_with(config: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relayd.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(ours("relayd"));
    command
        .arg("--config")
        .arg(&file)
        .current_dir(folder.path());
    let child = spawn("this workspace", command, &Sinks::Pipes);
    let output = finish("relayd", child, Duration::from_secs(20));
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(
        left,
        [file],
        "a node that does not start leaves nothing behind"
    );
    (output.status.code(), text(&output))
}

#[test]
fn every_mistake_is_named_with_file_line_key_and_remedy() {
    let (code, wrote) = relayd_with(
        "state_dir = \"state\"\nworkers = 0\nlisten = [\"nowhere\"]\nrelay_ports = \"9-1\"\n\
         colour = \"red\"\n[[realm]]\nname = \"north.gov\"\nsecrets = [\"\"]\n",
    );
    assert!(code.is_some_and(|code| code != 0), "{code:?}: {wrote}");
    for (line, key) in [
        (2, "workers"),
        (3, "listen"),
        (4, "relay_ports"),
        (5, "colour"),
    ] {
        let named =
            |text: &str| text.contains(&format!("relayd.toml:{line}")) && text.contains(key);
        assert!(wrote.lines().any(named), "line {line}, {key}:\n{wrote}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    let (code, wrote) = relayd_with("workers = 1\nlisten = [\n");
    assert!(code.is_some_and(|code| code != 0), "{wrote}");
    assert!(wrote.contains("relayd.toml:"), "{wrote}");
}

#[test]
fn no_password_of_a_bad_file_is_printed() {
    let (code, wrote) = relayd_with(
        "workers = 0\n[store]\nurl = \"redis://u:hunter2hunter2@127.0.0.1:1x\"\n[[realm]]\n\
         name = \"a b\"\nsecrets = [\"s3cr3t-s3cr3t-s3cr3t\"]\n\
         users = [{ name = \"\", password = \"opensesame\" }]\n",
    );
    assert!(code.is_some_and(|code| code != 0), "{wrote}");
    for secret in ["hunter2", "s3cr3t", "opensesame"] {
        assert!(!wrote.contains(secret), "{wrote}");
    }
}

#[test]
fn a_bad_file_at_sighup_is_refused_and_the_node_goes_on() {
    let node = Node::start(NodeOptions::default());
    let good = std::fs::read_to_string(node.config_path()).unwrap();
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    std::fs::write(
        node.config_path(),
        good.replace("workers = 2", "workers = \"many\""),
    )
    .unwrap();
    node.signal("HUP");
    wait_until("the refusal in the log", Duration::from_secs(10), || {
        node.log().contains("relayd.toml:3")
    });
    assert_eq!(client.refresh(600).unwrap(), 600);
    node.client(&stored_login()).allocate().unwrap();
}

#[test]
fn users_of_the_file_change_at_sighup() {
    let node = Node::start(NodeOptions::default());
    let good = std::fs::read_to_string(node.config_path()).unwrap();
    std::fs::write(
        node.config_path(),
        good.replace("wonderland", "looking-glass"),
    )
    .unwrap();
    node.signal("HUP");
    let login = kit::client::Login::new("alice", "looking-glass");
    wait_until("the new password to work", Duration::from_secs(10), || {
        node.client(&login).allocate().is_ok()
    });
    assert_eq!(
        node.client(&stored_login()).allocate().unwrap_err().code(),
        Some(401)
    );
}
