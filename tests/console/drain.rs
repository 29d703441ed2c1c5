//! A node is drained and taken back in the console.

use kit::node::{Node, NodeOptions, stored_login};
use kit::pty::PATIENCE;
use kit::wait::wait_until;

use crate::live::console;

#[test]
fn a_node_is_drained_and_undrained_from_the_list_of_nodes() {
    let node = Node::start(NodeOptions::default());
    let mut call = node.client(&stored_login());
    call.allocate().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut console = console(&node, home.path(), &["--rw"]).start();
    console.wait_text("live 1s");
    console.keys("2");
    console.wait_text("1-1 of 1");
    console.keys("D");
    console.wait_text("Drain ams1");
    console.wait_text("ends calls");
    console.keys("\t\tkernel\t\t\ty");
    console.wait_text("ams1 takes no new sessions");
    console.wait_text("draining");
    let code = || {
        let refused = node.client(&stored_login()).allocate();
        refused.err().and_then(|error| error.code())
    };
    assert_eq!(code(), Some(508));
    call.refresh(600).unwrap();
    console.keys(":undrain ams1\r");
    console.wait_text("Undrain ams1");
    console.wait_text("kernel");
    console.keys("\t\tready\ty");
    console.wait_text("ams1 takes new sessions again");
    console.wait("the node to be ready", |s| {
        s.contains("ready") && !s.contains("draining")
    });
    assert_eq!(code(), None);
    let audit = node.ctl();
    wait_until("both to be audited", PATIENCE, || {
        audit.items(&["audit", "-f", "action~^node."]).len() == 2
    });
    console.keys("q");
    console.keys("q");
    assert_eq!(console.wait_exit(), 0);
}
