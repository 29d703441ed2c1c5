//! A realm edited in the operator's editor, with a script for an operator.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::node::{Node, NodeOptions, REALM};
use kit::pty::{PATIENCE, Pty};
use kit::wait::wait_until;

use crate::live::console;

/// An editor that does what the lines of `script` (a shell's) say with the file `$1`.
fn editor(home: &Path, script: &str) -> PathBuf {
    let path = home.join("editor");
    let text = format!(
        "#!/bin/sh\nset -e\necho opened >> {}\n{script}\n",
        seen(home).display()
    );
    std::fs::write(&path, text).expect("a file in a fresh folder");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our file");
    path
}

/// Where the editor notes that it ran.
fn seen(home: &Path) -> PathBuf {
    home.join("opened")
}

/// A console on the realm list of a node, read-write, with that editor.
fn on_realms(node: &Node, home: &Path, script: &str) -> Pty {
    let mut console = console(node, home, &["--rw"])
        .env("EDITOR", editor(home, script))
        .env_remove("VISUAL")
        .start();
    console.wait_text("[RW]");
    console.keys("5");
    console.wait("the realm", |s| {
        s.contains("Pulse > Realms") && s.contains(REALM)
    });
    console
}

fn limit(node: &Node) -> serde_json::Value {
    let realm = node.ctl().json(&["realm", "show", REALM]);
    let realm = realm.get("item").unwrap_or(&realm);
    realm["document"]["max_sessions_per_user"].clone()
}

#[test]
fn what_the_editor_writes_is_previewed_and_applied() {
    let node = Node::start(NodeOptions::default());
    let home = tempfile::tempdir().expect("a folder");
    let script = "sed -i 's/^.*max_sessions_per_user *=.*/max_sessions_per_user = 6/' \"$1\"";
    let mut console = on_realms(&node, home.path(), script);
    let before = limit(&node);
    console.keys("V");
    console.wait("the preview", |s| {
        s.contains("-> 6") && s.contains("Cancel")
    });
    assert!(seen(home.path()).exists(), "no editor ran");
    // Enter is on Cancel: nothing is written.
    console.keys("\r");
    console.wait("the preview to close", |s| !s.contains("-> 6"));
    assert_eq!(limit(&node), before);
    console.keys("V");
    console.wait("the preview", |s| {
        s.contains("-> 6") && s.contains("Cancel")
    });
    console.keys("\ty");
    wait_until("the new limit", PATIENCE, || limit(&node) == 6);
    console.wait("the list again", |s| {
        s.contains("Pulse > Realms") && !s.contains("Cancel")
    });
    // Keys still arrive after the terminal was lent twice.
    console.keys("3");
    console.wait_text("Pulse > Sessions");
}

#[test]
fn a_document_that_makes_no_sense_comes_back_with_its_errors() {
    let node = Node::start(NodeOptions::default());
    let home = tempfile::tempdir().expect("a folder");
    // Wrong at first; then the errors are in the file, and the operator mends it.
    let script = "if grep -q 'default_lifetime_secs = 0$' \"$1\"; then \
                    cp \"$1\" \"$(dirname \"$0\")/second\"; \
                    sed -i 's/^default_lifetime_secs = 0$/default_lifetime_secs = 900/' \"$1\"; \
                  else \
                    sed -i 's/^.*default_lifetime_secs *=.*/default_lifetime_secs = 0/' \"$1\"; \
                  fi";
    let mut console = on_realms(&node, home.path(), script);
    console.keys("V");
    console.wait("the errors or the second preview", |s| {
        s.contains("between 1 and 86400") || s.contains("-> 900")
    });
    if !console.screen().contains("-> 900") {
        // The dialog offers to edit again.
        console.keys("\ty");
    }
    console.wait_text("-> 900");
    let second = std::fs::read_to_string(home.path().join("second")).expect("opened twice");
    assert!(second.contains("between 1 and 86400"), "{second}");
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let node = Node::start(NodeOptions::default());
    let home = tempfile::tempdir().expect("a folder");
    let mut console = on_realms(&node, home.path(), "echo max_sessions = 1 > \"$1\"; exit 1");
    let before = limit(&node);
    console.keys("V");
    wait_until("the editor", PATIENCE, || seen(home.path()).exists());
    console.wait("the list again", |s| s.contains("Pulse > Realms"));
    console.keys("3");
    console.wait_text("Pulse > Sessions");
    assert_eq!(limit(&node), before);
}
