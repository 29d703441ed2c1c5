//! `relayd config convert`: coturn's file as a `relayd.toml`.

use kit::client::Login;
use kit::program::{self, Sinks, ours, spawn};

use crate::start::{Migrated, configuration};

const LINES: &str = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nlt-cred-mech\n\
                     user=alice:wonderland-wonder\nuser-quota=3\ntotal-quota=50\nec-curve-name=P-256\n";

#[test]
fn what_is_written_starts_a_node_that_answers_the_same_users() {
    let mut node = Migrated::prepare(LINES, &["config", "convert", "turnserver.conf"]);
    let mut command = node.command();
    // The file says all that the surroundings of the suite do not.
    command.env_remove("RELAYD_STORE_TURNDB");
    command.env("RELAYD_STORE_TURNDB", node.file("turndb"));
    let child = spawn("this workspace", command, &Sinks::Pipes);
    let output = program::finish("relayd", child, std::time::Duration::from_secs(30));
    assert!(output.status.success(), "{}", program::text(&output));
    let notes = String::from_utf8_lossy(&output.stderr);
    for expected in [
        "ec-curve-name: TLS is rustls",
        "max_sessions = 50: counts on each node, so N nodes admit N times 50",
    ] {
        assert!(notes.contains(expected), "{expected}:\n{notes}");
    }
    std::fs::write(node.file("relayd.toml"), &output.stdout).unwrap();
    node.set_flags(&["-c", "relayd.toml"]);
    node.launch();
    node.wait_ready();
    let mut client = node.client(&Login::new("alice", "wonderland-wonder"));
    client.allocate().unwrap();
    let realm = node.ctl().json(&["realm", "show", "north.gov"]);
    assert!(realm.to_string().contains("\"max_sessions\":50"), "{realm}");
}

#[test]
fn a_file_of_our_own_is_not_converted() {
    let node = Migrated::prepare(
        configuration("minimal"),
        &["config", "convert", "relayd.toml"],
    );
    std::fs::write(node.file("relayd.toml"), "workers = 1\n").unwrap();
    let (code, said) = node.run_to_end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is no configuration of coturn"), "{said}");
    assert!(ours("relayd").exists());
}
