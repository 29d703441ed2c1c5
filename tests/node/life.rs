//! Start, stop, and what a node leaves in the file system.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use kit::node::{Node, NodeOptions, stored_login};

#[test]
fn sigterm_stops_a_serving_node_cleanly() {
    let mut node = Node::start(NodeOptions::default());
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    node.signal("TERM");
    assert_eq!(node.wait_exit(), Some(0), "{}", node.log());
    assert!(!node.socket().exists(), "the admin socket is gone");
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn a_node_starts_again_on_the_state_it_left() {
    let mut node = Node::start(NodeOptions::default());
    node.signal("TERM");
    assert_eq!(node.wait_exit(), Some(0), "{}", node.log());
    node.launch();
    node.wait_ready();
    node.client(&stored_login()).allocate().unwrap();
}

#[test]
fn a_node_that_was_killed_starts_again() {
    let mut node = Node::start(NodeOptions::default());
    node.signal("KILL");
    node.wait_exit();
    node.launch();
    node.wait_ready();
    node.client(&stored_login()).allocate().unwrap();
}

#[test]
fn the_state_is_its_owners_alone() {
    let node = Node::start(NodeOptions::default());
    let socket = std::fs::metadata(node.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(
        socket.permissions().mode() & 0o007,
        0,
        "others cannot reach the admin socket"
    );
    let state = std::fs::metadata(node.state_dir()).unwrap();
    assert_eq!(
        state.permissions().mode() & 0o077,
        0,
        "the state directory is private"
    );
    assert_eq!(socket.uid(), state.uid());
    for entry in std::fs::read_dir(node.state_dir()).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o007,
            0,
            "{:?}",
            entry.path()
        );
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let first = Node::start(NodeOptions::default());
    let mut second = Node::prepare(NodeOptions::default());
    let text = second
        .config()
        .replace(&second.turn.to_string(), &first.turn.to_string());
    std::fs::write(second.config_path(), text).unwrap();
    second.launch();
    assert!(second.wait_exit().is_some_and(|code| code != 0));
    assert!(
        second.log().contains(&first.turn.to_string()),
        "{}",
        second.log()
    );
}

#[test]
fn secrets_never_reach_the_log() {
    let options = NodeOptions {
        end: "[log]\nlevel = \"trace\"\n".to_owned(),
        ..Default::default()
    };
    let node = Node::start(options);
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    node.client(&kit::client::Login::new("alice\u{1b}[31m", "x"))
        .allocate()
        .unwrap_err();
    let log = node.log();
    assert!(!log.contains(kit::node::SECRET) && !log.contains(kit::node::USER.1));
    assert!(
        !log.contains('\u{1b}'),
        "no escape sequence of the network reaches the log"
    );
}
