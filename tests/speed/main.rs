//! What things cost: instructions of the data plane, held against a record; and benchmarks, small and
//! without judgement: they work, whatever the machine.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod compare;
mod instructions;

use std::process::Command;
use std::time::Duration;

use kit::program::{Sinks, finish, ours, spawn, text};

const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn the_benchmark_runs_to_its_end_against_a_small_cluster() {
    let mut command = Command::new(ours("bench-console"));
    command.args(["--smoke", "--sessions", "20000", "--nodes", "3"]);
    let child = spawn("this workspace", command, &Sinks::Pipes);
    let output = finish("bench-console", child, PATIENCE);
    let wrote = text(&output);
    assert!(output.status.success(), "{wrote}");
    for figure in [
        "node, top page",
        "cluster, next page",
        "a frame of sessions drawn",
        "first frame with data",
        "key to screen, p95",
        "idle, rows changing",
        "resident memory",
        "while a session ends",
    ] {
        assert!(wrote.contains(figure), "{figure}:\n{wrote}");
    }
}
