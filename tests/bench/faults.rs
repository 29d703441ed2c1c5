//! A server that spoils what it relays is found out.

use kit::broken_server::{BrokenServer, Fault};
use serde_json::Value;

use crate::{assert_clean, count, report, run};

/// What the bench finds in a server with this fault.
#[track_caller]
fn found(fault: Fault, direction: &str) -> (i32, Value) {
    let server = BrokenServer::start(fault);
    let uri = format!("turn:{}", server.address);
    let arguments = ["relay", &uri, "--sessions", "4", "--window", "8"];
    let more = ["--packets", "400", "--direction", direction];
    let found = report(&[&arguments[..], &more].concat());
    assert_eq!(server.sessions(), 0, "sessions are released: {:#}", found.1);
    found
}

/// Of all that is counted, only this is not zero, and about every tenth packet.
#[track_caller]
fn assert_only(found: &Value, counted: &str) {
    for pointer in [
        "/lost",
        "/misrouted",
        "/corrupted",
        "/duplicated",
        "/reordered",
    ] {
        let number = count(found, pointer);
        match pointer == counted {
            true => assert!((20..=80).contains(&number), "{pointer}: {found:#}"),
            false => assert_eq!(number, 0, "{pointer}: {found:#}"),
        }
    }
}

#[test]
fn a_server_without_faults_has_none() {
    let (code, found) = found(Fault::None, "both");
    assert_clean(code, &found);
    let received = count(&found, "/received/up") + count(&found, "/received/down");
    assert_eq!(received, 400);
}

#[test]
fn packets_of_one_session_that_come_out_of_another_are_misrouted() {
    for direction in ["up", "down"] {
        let (code, found) = found(Fault::Swap, direction);
        assert_only(&found, "/misrouted");
        assert_eq!(code, 1, "{direction}: {found:#}");
    }
}

#[test]
fn a_changed_byte_is_corruption() {
    for direction in ["up", "down"] {
        let (code, found) = found(Fault::Flip, direction);
        assert_only(&found, "/corrupted");
        assert_eq!(code, 1, "{direction}: {found:#}");
    }
}

#[test]
fn packets_that_come_twice_are_duplicates() {
    for direction in ["up", "down"] {
        let (code, found) = found(Fault::Double, direction);
        assert_only(&found, "/duplicated");
        assert_eq!(code, 1, "{direction}: {found:#}");
        let received = count(&found, "/received/up") + count(&found, "/received/down");
        assert_eq!(received, 400, "each counts once: {found:#}");
    }
}

#[test]
fn lost_and_late_packets_are_counted_and_no_failure() {
    let (code, lost) = found(Fault::Lose, "up");
    assert_only(&lost, "/lost");
    assert_eq!(code, 0, "{lost:#}");
    let (code, late) = found(Fault::Delay, "up");
    assert!(
        count(&late, "/reordered") + count(&late, "/lost") > 0,
        "{late:#}"
    );
    assert_eq!(
        count(&late, "/duplicated") + count(&late, "/misrouted"),
        0,
        "{late:#}"
    );
    assert_eq!(code, 0, "{late:#}");
}

#[test]
fn what_a_fault_is_called_is_told() {
    let server = BrokenServer::start(Fault::Double);
    let uri = format!("turn:{}", server.address);
    let answer = run(&["relay", &uri, "--window", "4", "--packets", "40"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("4 duplicated"), "{}", answer.stderr);
    assert!(answer.stdout.contains("duplicated"), "{}", answer.stdout);
}
