//! Going from one context to another.

use std::sync::Arc;

use crossterm::event::KeyCode;

use super::Rig;
use crate::client::fake::FakeAdmin;
use crate::console::message::Message;
use crate::console::model::{Mode, Place};
use crate::console::{Connected, ContextEntry};
use crate::guardrails::Guardrails;

fn entry(name: &str, rw: bool) -> ContextEntry {
    ContextEntry {
        name: name.to_owned(),
        address: format!("http://{name}:8443"),
        rw,
        confirm_typed: name == "prod-us",
    }
}

fn with_contexts() -> Rig {
    let mut rig = Rig::writable(12);
    rig.model.set_contexts(vec![
        entry("lab", true),
        entry("prod-eu", false),
        entry("prod-us", false),
    ]);
    rig
}

/// What the runtime does once the way is found.
fn arrive(rig: &mut Rig, name: &str, rw: bool, sessions: usize) {
    rig.api = Arc::new(FakeAdmin::with_sessions(sessions));
    let connected = Connected {
        api: Arc::<FakeAdmin>::clone(&rig.api),
        entry: entry(name, rw),
        guardrails: Guardrails {
            context: name.to_owned(),
            rules: Vec::new(),
        },
    };
    rig.post(Message::Switched(Ok(connected)));
}

#[test]
fn nothing_of_the_context_before_is_left() {
    let mut rig = with_contexts();
    rig.keys("3  ");
    rig.line(":ctx prod-us");
    assert_eq!(rig.switched_to, ["prod-us"]);
    arrive(&mut rig, "prod-us", false, 5);
    let model = &rig.model;
    assert_eq!((model.mode, model.confirm_typed), (Mode::ReadOnly, true));
    assert_eq!(*model.place(), Place::Pulse);
    assert!(model.lists.sessions.marks.is_empty() && model.lists.sessions.rows.is_empty());
    assert!(model.overview.is_none() && model.events.is_empty());
    rig.second();
    rig.second();
    let screen = rig.screen();
    assert!(screen.contains("prod-us  nodes 3/3  sess 5"), "{screen}");
    assert!(screen.contains("[RO]"), "{screen}");
    rig.keys("-");
    assert_eq!(
        *rig.model.place(),
        Place::Pulse,
        "the trail of before is gone too"
    );
}

#[test]
fn a_context_that_starts_read_write_does_so() {
    let mut rig = with_contexts();
    rig.model.mode = Mode::ReadOnly;
    rig.line(":ctx");
    assert_eq!(*rig.model.place(), Place::Contexts);
    insta::assert_snapshot!("contexts_80x24", rig.screen());
    rig.press(KeyCode::Enter);
    assert_eq!(rig.switched_to, ["lab"]);
    arrive(&mut rig, "lab", true, 5);
    rig.second();
    rig.second();
    assert_eq!(rig.model.mode, Mode::ReadWrite);
    rig.line(":ctx");
    assert!(rig.screen().contains("lab *"), "{}", rig.screen());
}

#[test]
fn one_that_is_away_shows_as_disconnected_and_one_that_is_not_there_is_named() {
    let mut rig = with_contexts();
    rig.line(":ctx prod-ue");
    assert!(
        rig.screen().contains("did you mean prod-us?"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Esc);
    rig.line(":ctx prod-eu");
    assert!(
        rig.screen().contains("this is prod-eu already"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Esc);
    rig.post(Message::Switched(Err("token: no such file".to_owned())));
    assert!(
        rig.screen().contains("token: no such file"),
        "{}",
        rig.screen()
    );
    assert_eq!(rig.model.context, "prod-eu");
    rig.line(":ctx lab");
    arrive(&mut rig, "lab", false, 5);
    rig.api.set_unreachable(true);
    rig.second();
    rig.second();
    let screen = rig.screen();
    assert!(
        screen.contains("lab") && screen.contains("DISCONNECTED"),
        "{screen}"
    );
    assert!(!rig.left);
}
