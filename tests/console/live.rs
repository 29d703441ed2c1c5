//! A console on a real node with real calls: look, filter, drill down, mark, kill, lose the node.

use std::fmt::Write as _;

use kit::node::{Node, NodeOptions, rest_login};
use kit::program::ours;
use kit::pty::{PATIENCE, Pty, PtyCommand};
use kit::traffic::{Calls, End, Media};
use kit::wait::{wait_for, wait_until};

/// A node, some calls on it, and a console.
struct Scene {
    console: Pty,
    // Clients hang up before their node stops.
    _calls: Calls,
    node: Node,
    _home: tempfile::TempDir,
}

/// A command that reads no configuration of this machine.
pub(crate) fn at_home(command: PtyCommand, home: &std::path::Path) -> PtyCommand {
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_STATE_HOME", home.join("state"))
        .folder(home)
}

/// A console on the node's socket.
pub(crate) fn console(node: &Node, home: &std::path::Path, arguments: &[&str]) -> PtyCommand {
    let address = format!("unix:{}", node.socket().display());
    let command = PtyCommand::new(&ours("relayctl"))
        .args(&["--context", &address])
        .args(arguments);
    at_home(command, home)
}

impl Scene {
    fn start(users: &[&str], arguments: &[&str]) -> Self {
        let node = Node::start(NodeOptions::default());
        let mut calls = Calls::new();
        for user in users {
            let end = |side: &str| End {
                server: node.turn,
                login: rest_login(&format!("{user}-{side}")),
            };
            calls.start(Media::Voice, [end("a"), end("b")]);
        }
        let sessions = users.len() * 2;
        let ctl = node.ctl();
        wait_until("all sessions", PATIENCE, || {
            ctl.items(&["session", "list"]).len() == sessions
        });
        let home = tempfile::tempdir().expect("a folder");
        let console = console(&node, home.path(), arguments).start();
        console.wait_text("live 1s");
        Self {
            console,
            _calls: calls,
            node,
            _home: home,
        }
    }

    fn ids(&self) -> Vec<String> {
        self.ids_of(&[""])
    }

    /// Ids of the sessions of users whose names begin so.
    fn ids_of(&self, users: &[&str]) -> Vec<String> {
        let sessions = self.node.ctl().items(&["session", "list"]);
        let of_users = sessions.iter().filter(|session| {
            let user = session["user"].as_str().unwrap_or("");
            users.iter().any(|name| user.starts_with(name))
        });
        of_users
            .filter_map(|session| Some(session["id"].as_str()?.to_owned()))
            .collect()
    }
}

#[test]
fn a_node_is_tested_from_the_list_of_nodes() {
    let mut scene = Scene::start(&[], &["--rw"]);
    let console = &mut scene.console;
    console.keys("2");
    console.wait_text("1-1 of 1");
    console.keys("T");
    console.wait_text("Self-test of ams1");
    console.keys("y");
    // The list moves on while the packets do: both transports, and each step of the last.
    let passed = console.wait("the verdict", |s| s.contains("all passed"));
    for step in [
        "resolve",
        "connect",
        "binding",
        "allocate",
        "permission",
        "channel",
        "release",
    ] {
        assert!(passed.contains(step), "{passed}");
    }
    assert!(passed.contains("2 of 2 listeners, 0 failed"), "{passed}");
    console.keys("\x1b");
    console.wait("the panel to close", |s| !s.contains("all passed"));
    let minted = scene.node.ctl();
    wait_until("the record of what was minted", PATIENCE, || {
        let filter = "action=credential.mint target~relayctl-check.ams1";
        minted.items(&["audit", "-f", filter]).len() == 1
    });
    // What it allocated is gone.
    assert!(scene.ids_of(&["relayctl-check"]).is_empty());
}

#[test]
fn sessions_are_filtered_and_opened_down_to_their_peers() {
    let mut scene = Scene::start(&["ann", "bea", "cid"], &[]);
    let console = &mut scene.console;
    console.keys("3");
    console.wait_text("1-6 of 6");
    console.keys("/user~^bea\r");
    console.wait_text("1-2 of 2 match (6 total)");
    // A filter that makes no sense names what is wrong and leaves the rows alone.
    // ^u empties the line, which starts with the filter in force.
    console.keys("/\x15usr=x\r");
    let screen = console.wait("the nearest word", |s| {
        s.lines().any(|l| l.contains("usr=x") && l.contains("user"))
    });
    assert!(screen.contains("bea-a") && screen.contains("bea-b"));
    console.keys("\x1b");
    console.wait("the prompt to close", |s| !s.contains("usr=x"));
    console.keys("\r");
    console.wait("the session", |s| {
        s.contains("Pulse > Sessions > ") && s.contains("bea-")
    });
    console.wait("the peers of the session", |s| s.contains("0x4000"));
    // Back step by step, and out.
    console.keys("\x1b");
    console.wait_text("1-2 of 2 match");
    console.keys("\x1b");
    console.wait_text("1-6 of 6");
    console.keys("qq");
    assert_eq!(console.wait_exit(), 0);
    assert!(!console.on_alternate_screen());
}

#[test]
fn marked_sessions_are_killed_only_after_their_number_was_typed() {
    let mut scene = Scene::start(&["ann", "bea", "cid"], &["--rw"]);
    let console = &mut scene.console;
    console.wait_text("[RW]");
    console.keys("3/user~^bea|^cid\r");
    console.wait_text("1-4 of 4 match (6 total)");
    console.keys("a");
    console.wait_text("4 marked");
    console.keys("X");
    let screen = console.wait_text("Kill 4 sessions");
    assert!(screen.contains("Cancel"), "{screen}");
    // Enter is on Cancel: it never confirms.
    console.keys("\r");
    console.wait("the dialog to close", |s| !s.contains("Kill 4 sessions"));
    let before = scene.ids_of(&["bea", "cid"]);
    assert_eq!((before.len(), scene.ids().len()), (4, 6));
    let console = &mut scene.console;
    console.keys("X");
    console.wait_text("Kill 4 sessions");
    type_into(console, "reason", "ticket 4411");
    type_into(console, "type 4", "4");
    // Tab goes on to the buttons, where Cancel is first; y confirms there and nowhere else.
    console.keys("\ty");
    console.wait_text("killed");
    // The record is written a moment after the answer.
    let record = wait_for("the job in the audit with its reason", PATIENCE, || {
        let audit = scene.node.ctl().items(&["audit"]);
        audit.into_iter().find(|r| r["reason"] == "ticket 4411")
    });
    assert_eq!(record["result"], "ok", "{record}");
    // The clients notice and come back on their own: what was killed is not among them.
    let killed: Vec<String> = before;
    wait_until("the killed sessions to be gone", PATIENCE, || {
        scene.ids().iter().all(|id| !killed.contains(id))
    });
}

/// Goes backwards through the dialog to the field with that label, and fills it in.
pub(crate) fn type_into(console: &mut Pty, label: &str, text: &str) {
    let on_field = |console: &Pty| {
        let screen = console.screen();
        let row = screen
            .lines()
            .position(|line| line.contains(label) && line.contains('['));
        row.is_some_and(|row| console.has_inverted(row as u16))
    };
    for _ in 0..12 {
        if on_field(console) {
            break;
        }
        let before = console.focus();
        console.keys("\x1b[Z");
        wait_until("the focus to move", PATIENCE, || console.focus() != before);
    }
    assert!(on_field(console), "no field {label}:\n{}", console.screen());
    console.keys(text);
    console.wait_text(text);
}

#[test]
fn a_lost_node_leaves_its_rows_on_the_screen_and_is_found_again() {
    let mut scene = Scene::start(&["ann"], &["--rw"]);
    scene.console.keys("3");
    scene.console.wait_text("1-2 of 2");
    let pid = scene.node.pid().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid])
        .status();
    assert!(killed.expect("kill runs").success());
    let screen = scene.console.wait_text("DISCONNECTED");
    assert!(
        screen.contains("ann-a") && screen.contains("ann-b"),
        "{screen}"
    );
    // Nothing can be changed meanwhile.
    scene.console.keys("X");
    scene.console.wait_text("not connected");
    scene.node.wait_exit();
    scene.node.launch();
    scene.node.wait_ready();
    scene.console.keys("R");
    scene
        .console
        .wait("the node again", |s| s.contains("live 1s"));
    // The clients notice and come back, and so do the rows.
    scene.console.wait("live rows", |s| {
        s.contains("1-2 of 2") && s.contains("ann-a")
    });
    assert!(!scene.console.is_gone());
}

#[test]
fn a_storm_of_sizes_ends_in_a_whole_frame() {
    let mut scene = Scene::start(&["ann"], &[]);
    let console = &mut scene.console;
    console.keys("3");
    console.wait_text("1-2 of 2");
    for (columns, rows) in [
        (20, 5),
        (200, 60),
        (39, 9),
        (40, 10),
        (1, 1),
        (300, 3),
        (60, 15),
    ] {
        for _ in 0..5 {
            console.resize(columns, rows);
            console.resize(rows * 2 + 10, columns.min(50));
        }
    }
    console.resize(40, 9);
    console.wait_text("terminal too small (need 40x10)");
    console.resize(160, 45);
    let screen = console.wait("a whole wide frame", |s| {
        s.contains("ann-a")
            && s.lines().last().is_some_and(|l| l.contains("help"))
            && s.lines().count() == 45
    });
    let widest = screen.lines().map(|l| l.chars().count()).max();
    assert!(widest.is_some_and(|w| w > 100 && w <= 160), "{screen}");
}

#[test]
fn ten_thousand_keys_arrive_in_order() {
    let mut scene = Scene::start(&["ann"], &[]);
    let console = &mut scene.console;
    console.keys("3/");
    console.wait("the prompt", |s| s.lines().any(|l| l.trim() == "/"));
    let mut typed = String::new();
    for i in 0..5_000_u32 {
        let _ = write!(typed, "{}", i % 10);
    }
    // Bursts of more than a terminal's buffer; a mark behind each tells that all of it has come.
    for burst in [&typed[..2_500], &typed[2_500..]] {
        console.keys(burst);
        console.keys("END");
        let tail = format!("{}END", &burst[2_460..]);
        console.wait("the end of the line", |s| s.contains(&tail));
        console.keys("\x7f\x7f\x7f");
    }
    // As many back: one lost on either way would show.
    console.keys(&"\x7f".repeat(2_500));
    console.keys("HALF");
    let tail = format!("{}HALF", &typed[2_460..2_500]);
    console.wait("half of the line", |s| s.contains(&tail));
    console.keys(&"\x7f".repeat(2_503));
    console.wait("the first digit", |s| s.lines().any(|l| l.trim() == "/ 0"));
}

#[test]
fn a_console_without_colours_still_shows_where_it_is() {
    let node = Node::start(NodeOptions::default());
    let home = tempfile::tempdir().expect("a folder");
    let mut console = console(&node, home.path(), &[])
        .env("NO_COLOR", "1")
        .start();
    console.wait_text("live 1s");
    console.keys("2");
    console.wait_text("Pulse > Nodes");
    wait_until("the node's row to be inverted", PATIENCE, || {
        let screen = console.screen();
        let row = screen.lines().position(|l| l.contains(" ready "));
        row.is_some_and(|row| console.inverted_rows() == [row as u16])
    });
    let written = console.written();
    let written = String::from_utf8_lossy(&written);
    for colour in ["\x1b[31m", "\x1b[38;", "\x1b[48;", "\x1b[m"] {
        assert!(!written.contains(colour), "{colour:?}");
    }
}
