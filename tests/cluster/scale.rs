//! What a cluster costs its Redis, held against bounds: a small form of the simulation.

use std::process::Command;
use std::time::Duration;

use kit::program::{Sinks, finish, ours, spawn};
use kit::scale::Report;

/// More than a node reads the records of each second: what would grow with their square shows.
const NODES: u32 = 48;
const PAGES: u32 = 5;
/// What the program needs for it, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// A process of its own: its memory is that of its nodes.
fn simulated() -> Report {
    let mut command = Command::new(ours("simulate-scale"));
    let (nodes, pages) = (NODES.to_string(), PAGES.to_string());
    command.args(["--nodes", &nodes, "--pages", &pages]);
    command.args(["--sessions", "20000", "--churn", "40", "--seconds", "10"]);
    command.args(["--output", "json"]);
    let run = spawn("this workspace", command, &Sinks::Pipes);
    let output = finish("simulate-scale", run, DEADLINE);
    let text = kit::program::text(&output);
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Fails with the whole report where a figure is beyond its bounds.
#[track_caller]
fn holds(report: &Report, what: &str, value: f64, bounds: std::ops::RangeInclusive<f64>) {
    assert!(
        bounds.contains(&value),
        "{what}: {value:.1} is not within {bounds:?}\n{report}"
    );
}

#[test]
fn the_cost_of_a_cluster_in_redis_stays_within_its_bounds() {
    // On a machine that is too busy for so many nodes they beat more rarely the longer it lasts: such a run
    // says nothing, and another one is made.
    let keeps_up = |report: &Report| report.busy.commands_per_node > report.idle.commands_per_node;
    let report = (0..3).map(|_| simulated()).find(keeps_up);
    let report = report.expect("one run of three in which nodes keep up");
    // A node beats, looks at the others, and compares realms, users and documents now and then.
    let fixed = report.idle.commands_per_node;
    holds(&report, "commands of an idle node", fixed, 10.0..=80.0);
    let hget = report.idle.calls.iter().find(|(name, _)| name == "hget");
    let read = hget.map_or(0.0, |(_, calls)| calls / f64::from(NODES));
    // Thirty-two in turn, all of them by the one whose list of nodes was asked for.
    holds(&report, "records that a node reads", read, 20.0..=40.0);
    let out_kb = 1000.0 * report.idle.out_mb / f64::from(NODES);
    holds(
        &report,
        "kilobytes that an idle node reads",
        out_kb,
        5.0..=80.0,
    );
    // Two sessions a second begin and end on each node, four others are renewed.
    let more = report.busy.commands_per_node - fixed;
    holds(&report, "commands of a node's sessions", more, 1.0..=40.0);
    let memory = report.redis_bytes_per_session;
    holds(
        &report,
        "memory of a session in Redis",
        memory,
        150.0..=400.0,
    );
    let written = report.written_bytes_per_session;
    holds(
        &report,
        "bytes of a session on its way",
        written,
        100.0..=450.0,
    );
    let record = report.node_record_bytes as f64;
    holds(&report, "the record of a node", record, 500.0..=4096.0);
    let resident = report.node_bytes_per_session;
    holds(
        &report,
        "memory of a session in a node",
        resident,
        200.0..=3000.0,
    );
    for page in &report.pages {
        holds(&report, &page.page, page.p50_ms, 0.1..=2_000.0);
    }
    // A question and an answer per node and page: each is posted and taken with at most ten commands.
    let asked = report.asked.commands - report.busy.commands;
    let pages: f64 = report
        .pages
        .iter()
        .map(|page| page.calls as f64 * page.p50_ms)
        .sum();
    let per_answer = asked * pages / 1000.0 / f64::from(3 * PAGES * (NODES - 1));
    holds(
        &report,
        "commands for an answer of a node",
        per_answer,
        2.0..=40.0,
    );
}
