//! The same rules that end calls, on a node of its own with SQLite.

use std::time::Duration;

use kit::client::Login;
use kit::coturn::{UserDb, turnadmin};
use kit::node::{Node, NodeOptions, REALM, rest_login, stored_login};
use kit::wait::wait_until;

/// What is promised is a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);
/// Where nothing is promised.
const PATIENCE: Duration = Duration::from_secs(20);

fn turnadmin_at(node: &Node, arguments: &[&str]) {
    let db = UserDb::Sqlite(node.state_dir().join("turndb"));
    turnadmin(&db, &[arguments, &["-r", REALM]].concat());
}

#[test]
fn turnadmins_changes_end_calls_where_the_file_says_so() {
    let node = Node::start(NodeOptions {
        end: "revoke_on_user_removal = true\nrevoke_on_password_change = true\n\
              revoke_on_secret_removal = true\n"
            .to_owned(),
        ..NodeOptions::default()
    });
    turnadmin_at(&node, &["-a", "-u", "hatter", "-p", "tea"]);
    turnadmin_at(&node, &["-a", "-u", "hare", "-p", "march"]);
    turnadmin_at(&node, &["-s", "a-secret-of-turnadmin"]);
    let guest = Login::rest(
        &format!("{}:carol", kit::node::unix_now() + 3600),
        "a-secret-of-turnadmin",
    );
    let call = |login: &Login| {
        let mut client = node.client(login);
        wait_until("the login to be accepted", SOON, || {
            client.allocate().is_ok()
        });
        client
    };
    let [mut hatter, mut hare, mut guest] = [
        Login::new("hatter", "tea"),
        Login::new("hare", "march"),
        guest,
    ]
    .map(|login| call(&login));
    let mut others = [call(&stored_login()), call(&rest_login("dinah"))];
    turnadmin_at(&node, &["-d", "-u", "hatter"]);
    wait_until("the deleted user's call to end", SOON, || {
        hatter.refresh(600).is_err()
    });
    assert_eq!(hare.refresh(600).unwrap(), 600);
    turnadmin_at(&node, &["-a", "-u", "hare", "-p", "april"]);
    wait_until("the call of the old password to end", SOON, || {
        hare.refresh(600).is_err()
    });
    assert_eq!(guest.refresh(600).unwrap(), 600);
    turnadmin_at(&node, &["-X", "a-secret-of-turnadmin"]);
    wait_until("the secret's call to end", SOON, || {
        guest.refresh(600).is_err()
    });
    for other in &mut others {
        assert_eq!(other.refresh(600).unwrap(), 600);
    }
}

#[test]
fn calls_go_on_where_nothing_is_said() {
    let node = Node::start(NodeOptions::default());
    turnadmin_at(&node, &["-a", "-u", "hatter", "-p", "tea"]);
    let login = Login::new("hatter", "tea");
    let mut call = node.client(&login);
    wait_until("the login to be accepted", SOON, || call.allocate().is_ok());
    turnadmin_at(&node, &["-d", "-u", "hatter"]);
    wait_until("the deleted user to be refused", SOON, || {
        let answer = node.client(&login).allocate();
        answer.is_err_and(|error| error.code() == Some(401))
    });
    assert_eq!(call.refresh(600).unwrap(), 600);
}

#[test]
fn a_kind_of_credentials_that_is_accepted_no_more_ends_no_call() {
    let node = Node::start(NodeOptions {
        top: "credentials = \"both\"\n".to_owned(),
        end: "revoke_on_user_removal = true\nrevoke_on_secret_removal = true\n".to_owned(),
        ..NodeOptions::default()
    });
    turnadmin_at(&node, &["-a", "-u", "hatter", "-p", "tea"]);
    turnadmin_at(&node, &["-s", "a-secret-of-turnadmin"]);
    let name = format!("{}:carol", kit::node::unix_now() + 3600);
    let logins = [
        Login::new("hatter", "tea"),
        Login::rest(&name, "a-secret-of-turnadmin"),
        rest_login("dinah"),
    ];
    let [mut hatter, mut carol, mut dinah] = logins.map(|login| {
        let mut client = node.client(&login);
        wait_until("the login to be accepted", PATIENCE, || {
            client.allocate().is_ok()
        });
        client
    });
    let file = std::fs::read_to_string(node.config_path()).unwrap();
    std::fs::write(
        node.config_path(),
        file.replace("credentials = \"both\"", "credentials = \"users\""),
    )
    .unwrap();
    node.signal("HUP");
    wait_until("new calls by secrets to be refused", PATIENCE, || {
        let answer = node.client(&rest_login("dinah")).allocate();
        answer.is_err_and(|error| error.code() == Some(401))
    });
    // Whoever ends this call has looked at the secrets under the new setting, too.
    turnadmin_at(&node, &["-d", "-u", "hatter"]);
    wait_until("the deleted user's call to end", PATIENCE, || {
        hatter.refresh(600).is_err()
    });
    for client in [&mut carol, &mut dinah] {
        assert_eq!(client.refresh(600).unwrap(), 600);
    }
    turnadmin_at(&node, &["-X", "a-secret-of-turnadmin"]);
    wait_until("the removed secret's call to end", PATIENCE, || {
        carol.refresh(600).is_err()
    });
    assert_eq!(dinah.refresh(600).unwrap(), 600);
}
