//! The demo, as a person starts it: figures move on every node, and leaving it leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod pages;

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kit::program::{Sinks, finish, ours, spawn, text};
use kit::redis::RedisServer;
use kit::tmux::Terminal;

const NODES: [&str; 3] = ["ams1", "fra1", "nyc1"];
const PATIENCE: Duration = Duration::from_secs(60);

/// One demo at a time: each keeps a core busy.
static ALONE: Mutex<()> = Mutex::new(());

fn headless(arguments: &[&str]) -> String {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(ours("demo"));
    command
        .args(["--headless", "--seconds", "8"])
        .args(arguments);
    let output = finish(
        "demo",
        spawn("this workspace", command, &Sinks::Pipes),
        PATIENCE,
    );
    let wrote = text(&output);
    assert!(output.status.success(), "{wrote}");
    wrote
}

#[track_caller]
fn assert_traffic_on_every_node(wrote: &str) {
    for node in NODES {
        let row = wrote.lines().find(|line| line.starts_with(node));
        let numbers: Vec<u64> = row
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(
            numbers.len() == 2 && numbers.iter().all(|number| *number > 0),
            "{wrote}"
        );
    }
}

#[test]
fn three_nodes_in_one_process_relay_voice_and_video() {
    assert_traffic_on_every_node(&headless(&[]));
}

#[test]
fn three_processes_around_a_redis_relay_voice_and_video_and_clean_up() {
    let redis = RedisServer::start();
    assert_traffic_on_every_node(&headless(&["--redis", &redis.url()]));
    let users = redis.cli(&["--scan", "--pattern", "turn/realm/*"]);
    assert_eq!(users, "", "users and secrets of the demo are gone");
}

/// Opens the demo in a terminal of that size and looks at its views.
fn look_at(width: u16, height: u16) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let demo = ours("demo");
    let line = format!("{}; echo status $?; exec cat", demo.display());
    let terminal = Terminal::start(width, height, &line);
    terminal.wait_screen("the console", PATIENCE, |screen| screen.contains("live"));
    terminal.keys(&["3"]);
    terminal.wait_screen("sessions with rates on every node", PATIENCE, |screen| {
        NODES
            .iter()
            .all(|node| screen.lines().any(|line| is_busy_session(line, node)))
    });
    // Once out of the sessions, once out of the console.
    terminal.keys(&["q"]);
    terminal.wait_screen("the first view", PATIENCE, |screen| {
        screen.contains("Transport")
    });
    terminal.keys(&["q"]);
    terminal.wait_screen("the demo to end", PATIENCE, |screen| {
        screen.contains("status 0")
    });
}

/// Whether `line` is a row of a session on `node` that has a rate, as in `64.0k` or `1.2M`.
fn is_busy_session(line: &str, node: &str) -> bool {
    let rate = |word: &str| {
        let number = word.strip_suffix(['k', 'K', 'M']);
        number.is_some_and(|number| number.parse::<f64>().is_ok_and(|number| number > 0.0))
    };
    line.contains(node) && line.split_whitespace().any(rate)
}

#[test]
fn a_small_terminal_shows_sessions_with_rates_on_every_node() {
    look_at(80, 24);
}

#[test]
fn a_large_terminal_shows_sessions_with_rates_on_every_node() {
    look_at(160, 45);
}

#[test]
fn the_tour_of_the_readme_can_still_be_walked() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(
        kit::tour::is_in(&readme),
        "run cargo run -p relayd-tests --bin tour"
    );
    assert_eq!(kit::tour::walk().len(), kit::tour::STOPS.len());
}
