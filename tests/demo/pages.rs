//! The pages of the demo in headless Chromium: what is gathered, a call to oneself, and a call of two.

use std::process::{Child, Command};

use kit::browser::Browser;
use kit::ctl::Ctl;
use kit::program::{self, Sinks, ours, spawn};
use kit::wait::{wait_for, wait_until};
use tempfile::TempDir;

use super::{ALONE, PATIENCE};

/// A demo with pages and without a console. Dropping it ends it.
struct Demo {
    url: String,
    child: Child,
    folder: TempDir,
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Demo {
    fn start() -> Self {
        let alone = ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(ours("demo"));
        // One call per pair of nodes: the pages' sessions are what is looked at.
        command.args([
            "--headless",
            "--seconds",
            "600",
            "--calls",
            "1",
            "--pages=127.0.0.1:0",
            "--state",
        ]);
        command.arg(folder.path());
        let output = folder.path().join("output");
        let child = spawn("this workspace", command, &Sinks::File(&output));
        let url = wait_for("the pages", PATIENCE, || {
            let text = std::fs::read_to_string(&output).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("pages: "));
            line.map(str::to_owned)
        });
        Self {
            url,
            child,
            folder,
            _alone: alone,
        }
    }

    fn page(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What an operator has.
    fn ctl(&self) -> Ctl {
        Ctl::new(&self.folder.path().join("ams1/relayd.sock"))
    }

    /// The pages' sessions.
    fn sessions(&self) -> Vec<serde_json::Value> {
        self.ctl()
            .items(&["session", "list", "--filter", "realm=try.example"])
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        program::signal(&self.child, "TERM");
        if program::ended(&mut self.child, PATIENCE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until the element reads as `wanted` says.
#[track_caller]
fn wait_text(browser: &Browser, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
    let what = format!("{selector} of the page");
    let mut seen = String::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for(&what, PATIENCE, || {
            seen = browser.text_of(selector);
            wanted(&seen).then(|| seen.clone())
        })
    }));
    found.unwrap_or_else(|_| {
        panic!(
            "{what} reads {seen:?}; all of it: {}",
            browser.text_of("body")
        )
    })
}

/// The frames of a line as in `640x480, 57 frames, 30 a second, ...`.
fn frames(line: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ',']).collect();
    let at = words.iter().position(|word| *word == "frames");
    at.and_then(|at| words[at - 1].parse().ok())
        .unwrap_or_default()
}

/// A camera and a microphone that play a test picture and a tone to every page that asks.
const CAMERA: [&str; 2] = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
];
/// Only the way out is used, without telling pages what addresses it has: what a server saw is news then.
const ONE_WAY_OUT: [&str; 1] = ["--force-webrtc-ip-handling-policy=default_public_interface_only"];

/// Gathers and calls with the page, and answers what it says of server reflexive candidates.
fn gather(browser: &Browser) -> String {
    let demo = Demo::start();
    browser.open(&demo.page("ice"));
    browser.click("#start");
    wait_text(browser, "#state", |text| text == "calling through relays");
    wait_until("the call among the sessions", PATIENCE, || {
        demo.sessions().len() >= 2
    });
    wait_text(browser, "#state", |text| text == "done");
    let page = browser.text_of("body");
    let verdict = |id: &str| browser.text_of(id);
    assert!(verdict("#relay").starts_with("yes: 127."), "{page}");
    assert!(verdict("#call").starts_with("yes: "), "{page}");
    assert!(frames(&verdict("#video")) > 100, "{page}");
    assert!(verdict("#way").starts_with("relay by udp 127."), "{page}");
    assert!(verdict("#until").contains("(600 s)"), "{page}");
    assert_eq!(verdict("#errors"), "", "{page}");
    let candidates = verdict("#candidates");
    // Chromium names the way to the relay where it is not UDP.
    assert!(candidates.contains("relay udp 127."), "{page}");
    assert!(candidates.contains("relay udp by tcp 127."), "{page}");
    wait_until("its sessions to end with it", PATIENCE, || {
        demo.sessions().is_empty()
    });
    // Whether one comes is the browser's and the network's affair; the page tells what came.
    let srflx = verdict("#srflx");
    let came = candidates.lines().any(|line| line.contains(" srflx "));
    assert!(
        srflx.starts_with(if came { "yes: " } else { "no: " }),
        "{page}"
    );
    srflx
}

#[test]
fn a_page_gathers_candidates_and_calls_itself_through_a_relay() {
    gather(&Browser::start());
}

#[test]
fn a_browser_that_hides_its_addresses_gathers_those_that_a_server_saw() {
    let srflx = gather(&Browser::start_with(&ONE_WAY_OUT));
    assert!(srflx.starts_with("yes: "), "{srflx}");
}

#[test]
fn two_browsers_call_each_other_and_an_operator_sees_and_ends_it() {
    let demo = Demo::start();
    let [caller, callee] = [Browser::start(), Browser::start_with(&CAMERA)];
    caller.open(&demo.page("call?room=ward-7"));
    callee.open(&demo.page("call"));
    caller.click("#enter");
    wait_text(&caller, "#state", |text| text.contains("waiting"));
    callee.type_into("#room", "ward-7");
    callee.click("#camera");
    callee.click("#enter");
    for end in [&caller, &callee] {
        wait_text(end, "#state", |text| text == "in the call");
        wait_text(end, "#video", |text| frames(text) > 60);
        let way = end.text_of("#way");
        assert!(way.starts_with("relay by udp"), "{way}");
    }
    let third = Browser::start();
    third.open(&demo.page("call?room=ward-7"));
    third.click("#enter");
    wait_text(&third, "#state", |text| {
        text.contains("two are in this room")
    });
    drop(third);
    // One for each address that a browser may use.
    assert!(demo.sessions().len() >= 2);
    let killed = demo.ctl().run(&[
        "session",
        "kill",
        "--filter",
        "realm=try.example",
        "--yes",
        "--reason",
        "test",
    ]);
    assert_eq!(killed.code, 0, "{}{}", killed.stdout, killed.stderr);
    for end in [&caller, &callee] {
        wait_text(end, "#state", |text| text != "in the call");
    }
    caller.click("#leave");
    wait_text(&callee, "#state", |text| text.contains("left; waiting"));
    callee.click("#leave");
    assert!(demo.sessions().is_empty());
}
