//! The self-test of nodes: chosen, confirmed, watched, stopped, read.

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use shared::api::{NodeState, Role};

use super::Rig;
use crate::console::message::Message;
use crate::console::model::Dialog;
use crate::console::verify::{News, RunState, VerifyDialog, VerifyNews};
use crate::guardrails::Rule;
use crate::turn::check::{Report, Stage, Status, Step, Verdict};
use crate::verify::{Progress, Verified};

/// A console on three nodes with listeners.
fn rig(size: (u16, u16)) -> Rig {
    let mut rig = Rig::new(12, size);
    rig.api.edit_nodes(|nodes| {
        for (at, node) in nodes.iter_mut().enumerate() {
            let host = format!("192.0.2.{}", 10 + at);
            node.urls = vec![
                format!("turn:{host}:3478?transport=udp"),
                format!("turns:{host}:5349?transport=tcp"),
            ];
        }
    });
    rig.line(":rw");
    rig.model.toast = None;
    rig
}

fn dialog(rig: &Rig) -> &VerifyDialog {
    match &rig.model.dialog {
        Some(Dialog::Verify(dialog)) => dialog,
        _ => panic!("{}", rig.screen()),
    }
}

/// Posts news of the run that was begun last.
fn post(rig: &mut Rig, what: News) {
    let run = rig.verifying.last().unwrap().run;
    rig.post(Message::Verified(Box::new(VerifyNews { run, what })));
}

fn step(step: Stage, ms: f64, text: &str) -> Step {
    Step {
        step,
        status: Status::Ok,
        ms,
        server: None,
        text: text.to_owned(),
        remedy: None,
    }
}

/// The steps that lead to an allocation.
fn first_steps() -> Vec<Step> {
    vec![
        step(Stage::Resolve, 0.1, "udp 192.0.2.10:3478 (address)"),
        step(Stage::Connect, 0.2, "from 203.0.113.5:40112"),
        step(
            Stage::Binding,
            11.9,
            "srflx 203.0.113.5:40112, server relayd",
        ),
    ]
}

/// Has the first listener of a node pass, and the second fail at its allocation.
fn play(rig: &mut Rig, node: &str) {
    let id: shared::NodeId = node.parse().unwrap();
    let progress = |progress| News::Progress(id.clone(), progress);
    for (at, fails) in [(0, false), (1, true)] {
        post(rig, progress(Progress::Begun(at)));
        let mut report = Report::new(format!("turn:{node}:3478"));
        let mut steps = first_steps();
        if fails {
            steps.push(Step {
                status: Status::Failed,
                remedy: Some("the session quota of the user or of the realm is used up".to_owned()),
                ..step(Stage::Allocate, 12.4, "486 Allocation Quota Reached")
            });
            report.verdict = Verdict::Allocate;
        } else {
            steps.push(step(
                Stage::Allocate,
                13.0,
                "relay 192.0.2.10:50001, lifetime 600 s, realm acme",
            ));
            steps.push(step(Stage::Permission, 12.0, "203.0.113.5"));
            steps.push(step(Stage::Channel, 12.1, "0x4000 203.0.113.5:40112"));
            steps.push(step(
                Stage::Echo,
                1_021.0,
                "50 of 50 came back, rtt 11.8/12.4/19.9 ms",
            ));
            steps.push(step(Stage::Release, 12.2, "lifetime 0"));
        }
        for step in steps {
            report.steps.push(step.clone());
            post(rig, progress(Progress::Step(at, step)));
        }
        let mut verified = Verified::of(&id, "udp", report);
        if !fails {
            verified.rtt_avg_ms = Some(12.4);
            verified.loss_percent = Some(0.0);
            verified.relay = "192.0.2.10:50001".to_owned();
        }
        post(rig, progress(Progress::Ended(at, verified)));
    }
}

#[test]
fn the_node_under_the_cursor_is_checked_when_it_is_confirmed() {
    let mut rig = rig((80, 24));
    rig.keys("2T");
    assert_snapshot!("verify_form_80x24", rig.screen());
    assert!(
        rig.verifying.is_empty(),
        "nothing runs before it is confirmed"
    );
    rig.keys("y");
    let job = rig.verifying.last().unwrap();
    assert_eq!(job.nodes.len(), 1);
    assert_eq!(job.realm, None);
    play(&mut rig, "ams1");
    assert_snapshot!("verify_80x24", rig.screen());
    post(&mut rig, News::Ended);
    assert_eq!(dialog(&rig).state, RunState::Done);
    let screen = rig.screen();
    assert!(
        screen.contains("FAILED   2 of 2 listeners, 1 failed"),
        "{screen}"
    );
    // It stays until it is closed.
    for _ in 0..30 {
        rig.second();
    }
    rig.keys("k");
    let screen = rig.screen();
    assert!(screen.contains("50 of 50 came back"), "{screen}");
    rig.keys("y");
    let copied = rig.copied.last().unwrap();
    assert!(copied.contains("486 Allocation Quota Reached"), "{copied}");
    rig.press(KeyCode::Esc);
    assert!(rig.model.dialog.is_none());
}

#[test]
fn marked_nodes_are_checked_and_a_wide_screen_shows_all() {
    let mut rig = rig((160, 45));
    rig.keys("2  jT");
    rig.keys("y");
    let nodes: Vec<_> = rig.verifying[0]
        .nodes
        .iter()
        .map(|n| n.id.as_str())
        .collect();
    assert_eq!(nodes, ["ams1", "fra1"]);
    play(&mut rig, "ams1");
    post(
        &mut rig,
        News::Failed(
            "fra1".parse().unwrap(),
            "no shared secret in realm acme".into(),
        ),
    );
    post(&mut rig, News::Ended);
    assert_snapshot!("verify_160x45", rig.screen());
}

#[test]
fn esc_stops_a_run_and_keeps_what_it_found() {
    let mut rig = rig((80, 24));
    rig.line(":verify lon1 realm=globex");
    assert!(rig.screen().contains("[globex"), "{}", rig.screen());
    rig.keys("y");
    let id: shared::NodeId = "lon1".parse().unwrap();
    assert_eq!(rig.verifying[0].realm.as_ref().unwrap().as_str(), "globex");
    post(&mut rig, News::Progress(id.clone(), Progress::Begun(0)));
    for step in first_steps() {
        post(
            &mut rig,
            News::Progress(id.clone(), Progress::Step(0, step)),
        );
    }
    rig.press(KeyCode::Esc);
    assert_eq!(
        (dialog(&rig).state, rig.verify_stops),
        (RunState::Stopping, 1)
    );
    post(&mut rig, News::Ended);
    assert_eq!(dialog(&rig).state, RunState::Stopped);
    assert_snapshot!("verify_stopped_80x24", rig.screen());
    rig.ctrl('c');
    assert!(rig.model.dialog.is_none());
    assert_eq!(rig.verify_stops, 1);
}

#[test]
fn without_names_all_nodes_that_take_sessions_are_checked() {
    let mut rig = rig((80, 24));
    rig.api
        .edit_nodes(|nodes| nodes[1].state = NodeState::Draining);
    rig.line(":verify");
    let screen = rig.screen();
    assert!(screen.contains("Self-test of 2 nodes"), "{screen}");
    assert!(screen.contains("ams1 (draining)"), "{screen}");
    rig.press(KeyCode::Esc);
    rig.line(":verify marked");
    assert!(
        rig.screen().contains("no node is marked"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Esc);
    rig.line(":verify nowhere");
    assert!(rig.model.dialog.is_none() && rig.verifying.is_empty());
}

#[test]
fn guardrails_and_the_role_stand_before_a_credential_is_minted() {
    let mut rig = rig((80, 24));
    let rule =
        "action = \"credential.mint\"\nnode = \"fra*\"\nlevel = \"deny\"\nreason = \"ask the NOC\"";
    rig.model.guardrails.rules = vec![toml::from_str::<Rule>(rule).unwrap()];
    rig.line(":verify fra1 lon1");
    assert!(rig.model.dialog.is_none());
    assert!(rig.screen().contains("ask the NOC"), "{}", rig.screen());
    rig.line(":verify lon1");
    assert!(rig.model.dialog.is_some());
    rig.press(KeyCode::Esc);
    rig.api.set_role(Role::Operator);
    rig.model.whoami = None;
    rig.second();
    rig.keys("2T");
    assert!(rig.screen().contains("this needs mint"), "{}", rig.screen());
    rig.line(":ro");
    rig.line(":verify");
    assert!(rig.screen().contains("read-only"), "{}", rig.screen());
}
