//! Rules over the text of single Rust files.

use crate::source::Source;
use crate::{fails, hold, passes};

/// Lines of a file, its `tests.rs` not counted.
const MAX_FILE_LINES: usize = 600;
/// The only folder with `unsafe`.
const UNSAFE_HOME: &str = "relay/udp/src/sys/";
/// The only parts of the console's package that know `turn-proto`: the client of `turn check`, and the
/// clients of `bench`.
const TURN_CLIENTS: [&str; 2] = ["tui/src/turn/", "tui/src/bench/"];
/// The modules of `turn-proto` that are codec and keys, as against the server.
const CODEC: [&str; 4] = ["stun::", "channel_data::", "auth::", "framing::"];
/// The only file of the suites that may sleep: it polls on behalf of all others.
const SLEEP_HOME: &str = "tests/src/wait.rs";

/// Complains about each shipped line that contains one of `words`.
fn forbid(file: &Source, words: &[&str], why: &str) -> Vec<String> {
    let lines = file.shipped().filter_map(|(number, line)| {
        let word = words.iter().find(|word| contains_word(line, word))?;
        Some(format!("line {number}: `{word}` {why}"))
    });
    lines.collect()
}

/// Whether `line` contains `word`, not as the tail or the head of a longer identifier.
fn contains_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_start = word.starts_with(part) && before.is_some_and(part);
        let open_end = word.ends_with(part) && after.is_some_and(part);
        !open_start && !open_end
    })
}

fn file_length(file: &Source) -> Vec<String> {
    let lines = file.text.lines().count();
    if file.is_unit_tests() || lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![format!(
        "{lines} lines; a file has one subject and at most {MAX_FILE_LINES} lines"
    )]
}

fn module_docs(file: &Source) -> Vec<String> {
    if file.is_unit_tests() || file.text.starts_with("//!") {
        return Vec::new();
    }
    vec!["begins without `//!`: say what the module owns".to_owned()]
}

fn core_purity(file: &Source) -> Vec<String> {
    if !file.path.starts_with("relay/proto/src/") {
        return Vec::new();
    }
    let words = [
        "tokio",
        "mio",
        "redis",
        "serde",
        "serde_json",
        "tracing",
        "libc",
        "socket2",
        "shared::api",
        "UdpSocket",
        "TcpStream",
        "TcpListener",
        "std::fs",
        "std::thread",
        "std::env",
        "Mutex",
        "RwLock",
        "Instant::now",
        "SystemTime",
        ".elapsed()",
    ];
    forbid(
        file,
        &words,
        "in the core, which takes time as an argument and performs no IO",
    )
}

fn console_ignorance(file: &Source) -> Vec<String> {
    if !file.path.starts_with("tui/") {
        return Vec::new();
    }
    let words = ["relay::", "turn_proto", "redis::", "rusqlite"];
    let at_the_client = TURN_CLIENTS.iter().any(|home| file.path.starts_with(home));
    let words = words
        .into_iter()
        .filter(|word| !at_the_client || *word != "turn_proto");
    let mut found = forbid(
        file,
        &words.collect::<Vec<_>>(),
        "in the console, which speaks the admin API only",
    );
    found.extend(file.shipped().filter_map(|(number, line)| {
        let mut uses = line.split("turn_proto::").skip(1);
        let foreign = |rest: &str| !CODEC.iter().any(|module| rest.starts_with(module));
        let foreign = at_the_client && uses.any(foreign);
        foreign.then(|| format!("line {number}: more of turn-proto than its codec"))
    }));
    found
}

fn vocabulary_purity(file: &Source) -> Vec<String> {
    if !file.path.starts_with("shared/") {
        return Vec::new();
    }
    let words = [
        "relay::",
        "turn_proto",
        "redis::",
        "tokio",
        "mio",
        "ratatui",
        "relayctl",
        "UdpSocket",
    ];
    forbid(file, &words, "in the vocabulary that all packages share")
}

fn node_ignorance(file: &Source) -> Vec<String> {
    if !file.path.starts_with("relay/") {
        return Vec::new();
    }
    forbid(
        file,
        &["relayctl::", "ratatui", "crossterm"],
        "in the node, which has no terminal",
    )
}

fn core_without_serde_boundary(file: &Source) -> Vec<String> {
    if !file.path.starts_with("relay/src/worker/") && !file.path.starts_with("relay/src/udp/") {
        return Vec::new();
    }
    forbid(
        file,
        &["redis::", "axum", "rusqlite", "serde_json"],
        "on the packet path",
    )
}

fn no_unsafe(file: &Source) -> Vec<String> {
    if file.path.starts_with(UNSAFE_HOME) || file.path.starts_with("tests/tidy/") {
        return Vec::new();
    }
    let lines = file
        .code()
        .filter(|(_, line)| contains_word(line, "unsafe"));
    lines
        .map(|(number, _)| format!("line {number}: unsafe outside {UNSAFE_HOME}"))
        .collect()
}

fn redis_keys_at_home(file: &Source) -> Vec<String> {
    let at_home = file.path.starts_with("relay/src/store/") || file.is_suite();
    if at_home {
        return Vec::new();
    }
    let starts_key = |line: &str, prefix: &str| {
        line.match_indices(prefix).any(|(at, _)| {
            let next = line[at + prefix.len()..].chars().next();
            next.is_some_and(|c| c.is_ascii_lowercase() || c == '{' || c == '"')
        })
    };
    let lines = file
        .code()
        .filter(|(_, line)| starts_key(line, "\"relay:") || starts_key(line, "\"turn/"));
    lines
        .map(|(number, _)| format!("line {number}: a Redis key outside relay/src/store"))
        .collect()
}

fn nothing_unfinished(file: &Source) -> Vec<String> {
    if file.path.starts_with("tests/tidy/") {
        return Vec::new();
    }
    let words = [
        "TODO",
        "FIXME",
        "XXX",
        "todo!",
        "unimplemented!",
        "#[ignore",
        "allow(dead_code)",
    ];
    let lines = file.text.lines().enumerate().filter_map(|(index, line)| {
        let word = words.iter().find(|word| contains_word(line, word))?;
        Some(format!("line {}: `{word}`", index + 1))
    });
    lines.collect()
}

fn tests_wait_for_conditions(file: &Source) -> Vec<String> {
    let tests = file.is_suite() || file.is_unit_tests();
    if !tests || file.path == SLEEP_HOME || file.path.starts_with("tests/tidy/") {
        return Vec::new();
    }
    let lines = file.code().filter(|(_, line)| line.contains("sleep("));
    lines
        .map(|(number, _)| format!("line {number}: tests wait for a condition, never for time"))
        .collect()
}

fn function_limit_stays_on(file: &Source) -> Vec<String> {
    if file.path.starts_with("tests/tidy/") {
        return Vec::new();
    }
    let lines = file
        .code()
        .filter(|(_, line)| line.contains("clippy::too_many_lines"));
    lines
        .map(|(number, _)| format!("line {number}: a function fits a screen; split it"))
        .collect()
}

#[test]
fn files_have_at_most_600_lines() {
    hold(file_length);
    fails(file_length, "relay/src/a.rs", &"x\n".repeat(601));
    fails(file_length, "tests/node/main.rs", &"x\n".repeat(601));
    passes(file_length, "relay/src/a/tests.rs", &"x\n".repeat(601));
}

#[test]
fn every_module_says_what_it_owns() {
    hold(module_docs);
    fails(module_docs, "relay/src/a.rs", "use std::fs;\n");
}

#[test]
fn the_core_has_no_clock_no_io_and_no_api_types() {
    hold(core_purity);
    for line in [
        "use tokio::net;",
        "let now = Instant::now();",
        "use shared::api::UserView;",
        "use std::net::UdpSocket;",
        "SystemTime::now()",
        "serde_json::to_string(&x)",
        "redis::cmd()",
    ] {
        fails(core_purity, "relay/proto/src/server/mod.rs", line);
    }
    passes(
        core_purity,
        "relay/proto/src/server/mod.rs",
        "// Instant::now is the worker's.\nlet a = domio();",
    );
    passes(
        core_purity,
        "relay/proto/src/a.rs",
        "fn a() {}\n#[cfg(test)]\nmod t { fn b() { Instant::now() } }",
    );
}

#[test]
fn the_console_knows_the_admin_api_only() {
    hold(console_ignorance);
    for line in [
        "use relay::store::Store;",
        "use turn_proto::Server;",
        "redis::Client::open(url)",
    ] {
        fails(console_ignorance, "tui/src/views/users/view.rs", line);
    }
    passes(console_ignorance, "tui/src/a.rs", "session.relay");
    let client = "tui/src/turn/client.rs";
    for line in [
        "use turn_proto::Server;",
        "use turn_proto::policy::Policy;",
        "use relay::store::Store;",
    ] {
        fails(console_ignorance, client, line);
    }
    passes(console_ignorance, client, "use turn_proto::stun::Message;");
}

#[test]
fn the_vocabulary_knows_nobody() {
    hold(vocabulary_purity);
    fails(
        vocabulary_purity,
        "shared/src/id.rs",
        "use relay::config::Config;",
    );
    fails(
        vocabulary_purity,
        "shared/src/id.rs",
        "use tokio::sync::mpsc;",
    );
}

#[test]
fn the_node_knows_no_terminal() {
    hold(node_ignorance);
    fails(
        node_ignorance,
        "relay/src/node.rs",
        "use relayctl::console;",
    );
}

#[test]
fn the_packet_path_knows_neither_store_nor_http() {
    hold(core_without_serde_boundary);
    fails(
        core_without_serde_boundary,
        "relay/src/worker/run.rs",
        "redis::cmd(\"GET\")",
    );
}

#[test]
fn unsafe_code_lives_in_the_syscall_folder() {
    hold(no_unsafe);
    fails(
        no_unsafe,
        "relay/src/worker/run.rs",
        "unsafe { libc::getpid() }",
    );
    passes(
        no_unsafe,
        "relay/udp/src/sys/send.rs",
        "unsafe { libc::getpid() }",
    );
    passes(no_unsafe, "relay/src/lib.rs", "#![deny(unsafe_code)]");
}

#[test]
fn redis_keys_are_known_to_the_store_only() {
    hold(redis_keys_at_home);
    fails(
        redis_keys_at_home,
        "relay/src/control/mod.rs",
        "format!(\"relay:node:{id}\")",
    );
    fails(
        redis_keys_at_home,
        "relay/src/admin/mod.rs",
        "let key = \"turn/realm/\";",
    );
    passes(
        redis_keys_at_home,
        "relay/src/store/redis/keys.rs",
        "format!(\"relay:node:{id}\")",
    );
    passes(
        redis_keys_at_home,
        "relay/src/admin/mod.rs",
        "println!(\"relay: {address}\")",
    );
}

#[test]
fn nothing_is_left_for_later() {
    hold(nothing_unfinished);
    for line in [
        "// TODO: more",
        "fn a() { todo!() }",
        "#[ignore = \"slow\"]",
        "#[allow(dead_code)]",
    ] {
        fails(nothing_unfinished, "relay/src/a.rs", line);
    }
}

#[test]
fn tests_never_sleep() {
    hold(tests_wait_for_conditions);
    fails(
        tests_wait_for_conditions,
        "tests/node/main.rs",
        "std::thread::sleep(second);",
    );
    fails(
        tests_wait_for_conditions,
        "relay/src/a/tests.rs",
        "tokio::time::sleep(second).await;",
    );
    passes(
        tests_wait_for_conditions,
        "relay/src/control/clock.rs",
        "tokio::time::sleep(second).await;",
    );
}

#[test]
fn no_function_is_excused_from_the_limit() {
    hold(function_limit_stays_on);
    fails(
        function_limit_stays_on,
        "relay/src/a.rs",
        "#[allow(clippy::too_many_lines)]",
    );
}
