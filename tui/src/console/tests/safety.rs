//! Guardrails, the editor, secrets, dry runs.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;
use shared::api::{ErrorKind, RealmPut};

use super::Rig;
use crate::client::{AdminApi, ClientError};
use crate::console::message::Message;
use crate::console::model::Dialog;
use crate::console::purpose::Purpose;
use crate::guardrails::Rule;

fn guarded(sessions: usize, rules: &str) -> Rig {
    let mut rig = Rig::writable(sessions);
    let table: toml::Table = toml::from_str(rules).unwrap();
    let rules = table["guardrails"].clone().try_into::<Vec<Rule>>().unwrap();
    rig.model.guardrails.rules = rules;
    rig
}

/// Presses y while a button has the focus, wherever it is.
fn confirm(rig: &mut Rig) {
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
}

#[test]
fn what_a_guardrail_denies_opens_no_dialog() {
    let rules = "[[guardrails]]\nrealm = \"acme\"\nlevel = \"deny\"\nreason = \"ask in #ops\"";
    let mut rig = guarded(12, rules);
    rig.keys("3");
    rig.line("/realm=acme");
    for keys in ["X", "B", "aX"] {
        rig.keys(keys);
        assert!(rig.model.dialog.is_none(), "{keys}");
        assert!(rig.screen().contains("ask in #ops"), "{}", rig.screen());
        rig.model.toast = None;
    }
    rig.keys("5");
    rig.line("/realm=acme");
    rig.keys("EV");
    assert!(rig.model.dialog.is_none() && rig.model.editing.is_none());
    assert!(rig.api.changes().is_empty());
    rig.keys("3");
    rig.line("/realm=globex");
    rig.keys("X");
    assert!(rig.model.dialog.is_some());
}

#[test]
fn a_guardrail_makes_the_kill_dialog_ask_for_more() {
    let rules = "[[guardrails]]\naction = \"*.kill\"\nlevel = \"type-context\"\n\
                 require_reason = true\nmax_rate = 20\nmax_bulk = 9\nreason = \"production\"";
    let mut rig = guarded(30, rules);
    rig.keys("3");
    rig.line("/node=fra1 realm=acme");
    rig.keys("aX");
    assert_snapshot!("kill_guarded_80x24", rig.screen());
    rig.keys("y");
    assert!(rig.screen().contains("type 5 first"), "{}", rig.screen());
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("reason").unwrap().set(" ");
    for field in &mut form.fields {
        if let Some(word) = field.expect.clone() {
            field.set(&word);
        }
    }
    rig.keys("y");
    assert!(rig.screen().contains("wants a reason"), "{}", rig.screen());
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("reason").unwrap().set("ticket 7");
    form.field_mut("rate").unwrap().set("21");
    rig.keys("y");
    assert!(rig.screen().contains("allows 20 kills"), "{}", rig.screen());
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("rate").unwrap().set("20");
    rig.keys("y");
    let changes = rig.api.changes();
    assert!(
        changes[0].contains("rate=20") && changes[0].contains("ticket 7"),
        "{changes:?}"
    );
    rig.press(KeyCode::Esc);
    rig.keys("/");
    rig.ctrl('u');
    rig.line("node=ams1");
    rig.keys("aX");
    assert!(
        rig.screen().contains("allows 9 at once"),
        "{}",
        rig.screen()
    );
}

#[test]
fn alt_d_writes_down_what_would_be_killed_and_kills_nothing() {
    let mut rig = Rig::writable(12);
    rig.keys("3aX");
    let alt_d = KeyEvent::new(KeyCode::Char('d'), KeyModifiers::ALT);
    rig.post(Message::Key(alt_d));
    assert!(
        rig.saved[0].contains("7f3a900000000001\n"),
        "{:?}",
        rig.saved
    );
    assert_eq!(
        rig.saved[0].lines().filter(|l| !l.starts_with('#')).count(),
        12
    );
    assert!(rig.model.dialog.is_some() && rig.api.changes().is_empty());
}

#[test]
fn a_realm_goes_through_the_editor_to_the_preview_to_the_node() {
    let mut rig = Rig::writable(12);
    rig.edits.push_back(Box::new(|text| {
        Ok(text.replace("per_user = 12", "per_user = 0"))
    }));
    rig.edits.push_back(Box::new(|text| {
        assert!(
            text.starts_with("#! ") && text.contains("at least 1"),
            "{text}"
        );
        assert!(text.contains("per_user = 0"), "{text}");
        Ok(text.replace("per_user = 0", "per_user = 7\nmax_rate_bps = 8000"))
    }));
    rig.keys("5");
    rig.line("/realm=acme");
    rig.keys("V");
    assert_snapshot!("realm_editor_preview_80x24", rig.screen());
    rig.press(KeyCode::Enter);
    assert!(rig.api.changes().is_empty(), "enter cancels");
    assert!(
        rig.screen().contains("your text is in realm.toml"),
        "{}",
        rig.screen()
    );
    rig.edits.push_back(Box::new(|text| {
        Ok(text.replace("per_user = 12", "per_user = 7"))
    }));
    rig.keys("V");
    rig.press(KeyCode::BackTab);
    rig.keys("ticket 7");
    rig.press(KeyCode::Enter);
    rig.keys("y");
    let changes = rig.api.changes();
    assert_eq!(changes.len(), 1, "{}", rig.screen());
    assert!(
        changes[0].contains("\"max_sessions_per_user\":7")
            && changes[0].ends_with("reason=ticket 7")
    );
    assert_eq!(rig.discarded.len(), 1, "the file is not needed any more");
    assert!(rig.model.editing.is_none());
}

#[test]
fn an_editor_that_fails_or_changes_nothing_changes_nothing() {
    let mut rig = Rig::writable(12);
    rig.edits
        .push_back(Box::new(|_| Err("no such command".to_owned())));
    rig.keys("5V");
    assert!(rig.screen().contains("no such command"), "{}", rig.screen());
    rig.edits.push_back(Box::new(|text| Ok(text.to_owned())));
    rig.keys("V");
    assert!(
        rig.screen().contains("nothing was changed"),
        "{}",
        rig.screen()
    );
    assert_eq!(rig.discarded.len(), 1);
    assert!(rig.model.dialog.is_none() && rig.model.editing.is_none());
}

#[test]
fn a_lost_race_in_the_editor_merges_ours_over_theirs() {
    let mut rig = Rig::writable(12);
    rig.edits.push_back(Box::new(|text| {
        Ok(text.replace("per_user = 12", "per_user = 7"))
    }));
    rig.keys("5");
    rig.line("/realm=acme");
    rig.keys("V");
    let realm = rig.model.lists.realms.selected().unwrap().clone();
    let mut document = realm.document.clone();
    document.note = "theirs".to_owned();
    let put = RealmPut {
        document,
        reason: String::new(),
    };
    let api = std::sync::Arc::clone(&rig.api);
    rig.runtime
        .block_on(api.put_realm(&realm.name, realm.revision, &put))
        .unwrap();
    rig.keys("y");
    assert!(
        rig.screen().contains("was none") || rig.screen().contains("was faster"),
        "{}",
        rig.screen()
    );
    rig.edits.push_back(Box::new(|text| {
        assert!(
            text.contains("note = \"theirs\"") && text.contains("per_user = 7"),
            "{text}"
        );
        Ok(text.to_owned())
    }));
    rig.keys("y");
    rig.keys("y");
    let last = rig.api.changes().last().cloned().unwrap();
    assert!(
        last.contains("expected=42")
            && last.contains("theirs")
            && last.contains("\"max_sessions_per_user\":7"),
        "{last}"
    );
}

#[test]
fn a_node_that_cannot_preview_is_told_of_and_does_not_lock_the_dialog() {
    let mut rig = Rig::writable(12);
    rig.edits.push_back(Box::new(|text| {
        Ok(text.replace("per_user = 12", "per_user = 7"))
    }));
    rig.keys("5");
    let error = shared::api::ApiError::new(ErrorKind::NotFound, "an old node");
    rig.api.fail_next(ClientError::Api(error));
    rig.keys("V");
    assert!(
        rig.screen().contains("not known: an old node"),
        "{}",
        rig.screen()
    );
    rig.keys("y");
    assert_eq!(rig.api.changes().len(), 1);
}

#[test]
fn a_secret_is_added_shown_once_and_the_old_one_deleted() {
    let mut rig = Rig::writable(12);
    rig.keys("5");
    rig.line("/realm=acme");
    rig.keys("S");
    assert_snapshot!("secrets_80x24", rig.screen());
    rig.keys("y");
    assert!(rig.screen().contains("say what"), "{}", rig.screen());
    for _ in 0..4 {
        rig.press(KeyCode::BackTab);
    }
    rig.keys(" ");
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    confirm(&mut rig);
    assert!(rig.screen().contains("label"), "{}", rig.screen());
    rig.model.dialog = None;
    rig.keys("S");
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("add").unwrap().set("yes");
    rig.keys("yy");
    assert!(
        rig.screen().contains("generated-secret-value"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Right);
    rig.press(KeyCode::Enter);
    assert_eq!(rig.copied, ["generated-secret-value"]);
    rig.press(KeyCode::Esc);
    rig.keys("S");
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("delete").unwrap().set("2f9c");
    rig.keys("y");
    assert!(
        matches!(&rig.model.dialog, Some(Dialog::Form(_, p)) if matches!(**p, Purpose::DeleteSecret(..)))
    );
    rig.press(KeyCode::Enter);
    assert!(
        !rig.api
            .changes()
            .iter()
            .any(|c| c.starts_with("delete_secret"))
    );
    rig.keys("S");
    let Some(Dialog::Form(form, _)) = &mut rig.model.dialog else {
        panic!()
    };
    form.field_mut("delete").unwrap().set("2f9c");
    rig.keys("yy");
    assert!(
        rig.api
            .changes()
            .last()
            .unwrap()
            .starts_with("delete_secret acme/2f9c01ab44de")
    );
}
