//! Debian's `turnserver` beside us: the same file, the same options.

use std::process::Command;
use std::time::Duration;

use ::relay::config::coturn::options;
use kit::client::Login;
use kit::program::{self, Sinks, spawn};
use kit::turnserver;
use kit::wait::wait_until;

use crate::start::Migrated;

const LINES: &str = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nlistening-port=3478\nrealm=north.gov\n\
                     lt-cred-mech\nuser=alice:wonderland-wonder\nmin-port=49152\nmax-port=49999\nno-tls\n\
                     fingerprint\nstale-nonce=600\nuser-quota=4\ntotal-quota=40\nno-multicast-peers\n\
                     userdb=/var/db/turndb\npidfile=\"/var/run/coturn.pid\"\nlog-file=/var/tmp/turn.log\nsimple-log\n";

#[test]
fn one_file_starts_debians_turnserver_and_relayd() {
    let off = turnserver::known(&["no-cli", "no-dtls"]);
    let lines: String = off.fold(LINES.to_owned(), |lines, name| format!("{lines}{name}\n"));
    let mut node = Migrated::prepare(&lines, &["-c", "turnserver.conf"]);
    let login = Login::new("alice", "wonderland-wonder");
    let mut command = Command::new("turnserver");
    command.arg("-c").arg(node.file("turnserver.conf"));
    let mut coturn = spawn("coturn", command, &Sinks::File(&node.file("terminal.log")));
    wait_until(
        "turnserver to answer its user",
        Duration::from_secs(60),
        || node.client(&login).allocate().is_ok(),
    );
    program::signal(&coturn, "TERM");
    let ended = program::ended(&mut coturn, Duration::from_secs(30));
    if ended.is_none() {
        let _ = coturn.kill();
        let _ = coturn.wait();
    }
    node.launch();
    node.wait_ready();
    node.client(&login).allocate().unwrap();
    let said = node.said();
    assert!(!said.contains("ERROR"), "{said}");
}

#[test]
fn every_option_of_debians_turnserver_has_its_row() {
    let names = turnserver::options();
    assert!(names.len() > 90, "{names:?}");
    // What asks for this very text, and what is no option but a word of a sentence.
    let is_ours = |name: &&String| ["help", "version"].contains(&name.as_str());
    let missing: Vec<_> = names
        .iter()
        .filter(|name| options::find(name).is_none() && !is_ours(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
