//! `relayctl bench` against real servers: it counts what there is to count, and judges no speed.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod faults;
mod kinds;
mod relay;

use std::path::Path;

use kit::ctl::{Answer, Ctl};
use serde_json::Value;

/// Runs `relayctl bench` without any node.
fn run(arguments: &[&str]) -> Answer {
    let ctl = Ctl::new(Path::new("/nowhere/relayd.sock"));
    ctl.run(&[&["bench"], arguments].concat())
}

/// Runs it for its JSON, and answers the exit code with it.
#[track_caller]
fn report(arguments: &[&str]) -> (i32, Value) {
    let answer = run(&[arguments, &["-o", "json"]].concat());
    let value = serde_json::from_str(&answer.stdout);
    let value = value.unwrap_or_else(|e| panic!("{e}: {}{}", answer.stdout, answer.stderr));
    (answer.code, value)
}

/// A count in a report.
#[track_caller]
fn count(report: &Value, pointer: &str) -> u64 {
    let found = report.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no {pointer}: {report:#}"))
}

/// Nothing was lost, spoilt, doubled or left behind.
#[track_caller]
fn assert_clean(code: i32, report: &Value) {
    assert_eq!(code, 0, "{report:#}");
    for pointer in [
        "/lost",
        "/misrouted",
        "/corrupted",
        "/duplicated",
        "/not_released",
    ] {
        assert_eq!(count(report, pointer), 0, "{pointer}: {report:#}");
    }
}
