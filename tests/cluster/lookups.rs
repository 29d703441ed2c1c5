//! coturn's keys in Redis, written by others while nodes run.

use std::time::Duration;

use kit::client::Login;
use kit::cluster::Cluster;
use kit::coturn::{UserDb, turnadmin};
use kit::node::REALM;
use kit::wait::wait_until;

/// Other tools' edits take effect within a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);

fn database(cluster: &Cluster) -> UserDb {
    UserDb::Redis(format!("ip=127.0.0.1 port={} dbname=0", cluster.redis.port))
}

fn refused(cluster: &Cluster, login: &Login) -> bool {
    let refused = |error: kit::client::ClientError| error.code() == Some(401);
    cluster
        .nodes
        .iter()
        .all(|node| node.client(login).allocate().is_err_and(refused))
}

#[test]
fn a_user_that_turnadmin_adds_is_accepted_and_refused_a_second_after_it_deletes_it() {
    let cluster = Cluster::start();
    let db = database(&cluster);
    let login = Login::new("cheshire", "grin");
    assert!(
        refused(&cluster, &login),
        "unknown yet, and remembered as unknown"
    );
    turnadmin(&db, &["-a", "-u", "cheshire", "-r", REALM, "-p", "grin"]);
    for node in &cluster.nodes {
        wait_until("the new user to be accepted", SOON, || {
            node.client(&login).allocate().is_ok()
        });
    }
    turnadmin(&db, &["-d", "-u", "cheshire", "-r", REALM]);
    wait_until("the deleted user to be refused", SOON, || {
        refused(&cluster, &login)
    });
}

#[test]
fn a_key_deleted_with_redis_cli_is_refused_a_second_later() {
    let cluster = Cluster::start();
    turnadmin(
        &database(&cluster),
        &["-a", "-u", "hatter", "-r", REALM, "-p", "tea"],
    );
    let login = Login::new("hatter", "tea");
    for node in &cluster.nodes {
        wait_until("the new user to be accepted", SOON, || {
            node.client(&login).allocate().is_ok()
        });
    }
    let key = format!("turn/realm/{REALM}/user/hatter/key");
    assert_eq!(cluster.redis.cli(&["DEL", &key]), "1");
    wait_until("the deleted user to be refused", SOON, || {
        refused(&cluster, &login)
    });
}

#[test]
fn turnadmin_lists_what_relayctl_added() {
    let cluster = Cluster::start();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "off-with-her-head\n").unwrap();
    let add = ["user", "add", "queen", "--realm", REALM, "--password-stdin"];
    let answer = cluster.nodes[1]
        .ctl()
        .run_with_input(&add, Some(password.path()));
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let listed = turnadmin(&database(&cluster), &["-l", "-r", REALM]);
    assert!(listed.contains("queen"), "{listed}");
}
