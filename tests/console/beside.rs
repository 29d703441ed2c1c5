//! A coturn in the console: its session is marked, and what it cannot do says why.

use kit::coturn_host::{self, CoturnHost};
use kit::node::NodeOptions;
use kit::pty::PATIENCE;
use kit::turnserver;
use kit::wait::wait_until;

use crate::live::console;

#[test]
fn a_coturn_is_marked_its_session_killed_and_what_it_cannot_do_says_why() {
    let coturn = CoturnHost::start(None);
    let options = NodeOptions {
        id: "cot1".to_owned(),
        ..NodeOptions::default()
    };
    let node = coturn_host::start(coturn.options(options));
    let mut call = coturn.client();
    call.allocate().unwrap();
    let home = tempfile::tempdir().unwrap();
    let console = console(&node, home.path(), &["--rw"]).size(160, 50);
    let mut console = console.start();
    console.wait_text("live 1s");
    console.keys(":sessions\r");
    console.wait_text("*cot1");
    let software = turnserver::software();
    console.wait_text(&software);
    console.keys(":nodes\r");
    console.wait_text("1-1 of 1");
    console.wait_text("*cot1");
    console.wait_text(&software.replace("coturn ", "*"));
    console.wait_text(&format!("{software} answers"));
    console.keys("D");
    let said = match turnserver::release() >= [4, 6, 3] {
        true => "coturn refuses new sessions with 403",
        false => "node.drain is not possible",
    };
    console.wait_text(said);
    console.keys("\u{1b}");
    console.wait("the dialog to close", |s| !s.contains(said));
    console.keys(":sessions\r");
    console.wait_text("*cot1");
    console.keys("X");
    console.wait_text("Kill session");
    console.keys("\t\ttest\t\ty");
    wait_until("the client to notice", PATIENCE, || {
        call.refresh(600)
            .is_err_and(|error| error.code() == Some(437))
    });
    console.wait("the session to be gone", |s| !s.contains("*cot1"));
    console.keys("q");
    console.keys("q");
    assert_eq!(console.wait_exit(), 0);
}
