//! coturn's `turnadmin` on the SQLite file of a running node.

use std::time::Duration;

use kit::client::Login;
use kit::coturn::{UserDb, turnadmin};
use kit::node::{Node, NodeOptions, REALM, stored_login};
use kit::traffic::{Calls, End, Media};
use kit::wait::wait_until;

/// Other tools' edits take effect within a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);

fn database(node: &Node) -> UserDb {
    UserDb::Sqlite(node.state_dir().join("turndb"))
}

#[test]
fn a_user_that_turnadmin_adds_is_accepted_and_refused_a_second_after_it_deletes_it() {
    let node = Node::start(NodeOptions::default());
    let login = Login::new("cheshire", "grin");
    assert_eq!(
        node.client(&login).allocate().unwrap_err().code(),
        Some(401)
    );
    turnadmin(
        &database(&node),
        &["-a", "-u", "cheshire", "-r", REALM, "-p", "grin"],
    );
    wait_until("the new user to be accepted", SOON, || {
        node.client(&login).allocate().is_ok()
    });
    turnadmin(&database(&node), &["-d", "-u", "cheshire", "-r", REALM]);
    wait_until("the deleted user to be refused", SOON, || {
        node.client(&login)
            .allocate()
            .is_err_and(|error| error.code() == Some(401))
    });
}

#[test]
fn turnadmin_lists_what_relayctl_added() {
    let node = Node::start(NodeOptions::default());
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "off-with-her-head\n").unwrap();
    let add = ["user", "add", "queen", "--realm", REALM, "--password-stdin"];
    let answer = node.ctl().run_with_input(&add, Some(password.path()));
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let listed = turnadmin(&database(&node), &["-l", "-r", REALM]);
    assert!(listed.contains("queen"), "{listed}");
}

#[test]
fn two_hundred_quick_additions_beside_a_busy_node_lose_none() {
    let node = Node::start(NodeOptions::default());
    let mut calls = Calls::new();
    let end = || End {
        server: node.turn,
        login: stored_login(),
    };
    for media in [Media::Voice, Media::Video] {
        calls.start(media, [end(), end()]);
    }
    let db = database(&node);
    for number in 0..200 {
        let name = format!("guest{number}");
        turnadmin(&db, &["-a", "-u", &name, "-r", REALM, "-p", "tea"]);
    }
    let listed = turnadmin(&db, &["-l", "-r", REALM]);
    let names = listed
        .lines()
        .filter(|line| line.trim_start().starts_with("guest"))
        .count();
    assert_eq!(names, 200, "{listed}");
    node.client(&Login::new("guest199", "tea"))
        .allocate()
        .unwrap();
}
