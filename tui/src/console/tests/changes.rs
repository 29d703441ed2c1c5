//! Killing, blocking and editing: asked first, frozen, and nothing lost.

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use shared::api::{RealmDocument, RealmPut, Role};

use super::Rig;
use crate::client::AdminApi;
use crate::console::model::Dialog;
use crate::console::purpose::Purpose;

#[test]
fn read_only_refuses_changes_and_says_how_to_allow_them() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3X");
    assert!(rig.model.dialog.is_none());
    let screen = rig.screen();
    assert!(screen.contains("read-only: type :rw"), "{screen}");
    assert!(!screen.contains("<X>"));
}

#[test]
fn kill_names_what_ends_and_enter_cancels() {
    let mut rig = Rig::writable(12);
    rig.keys("3X");
    assert_snapshot!("kill_one_80x24", rig.screen());
    rig.press(KeyCode::Enter);
    assert!(rig.model.dialog.is_none());
    assert!(rig.called("kill_session").is_empty());
}

#[test]
fn kill_can_block_the_user_in_the_same_dialog() {
    let mut rig = Rig::writable(12);
    rig.keys("3");
    let id = rig.model.lists.sessions.cursor.clone().unwrap();
    rig.keys("X");
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.line("10m");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::Tab);
    rig.keys("y");
    let calls = rig.called("kill_session");
    assert_eq!(calls.len(), 1, "{calls:?} {}", rig.screen());
    assert!(calls[0].contains(&id), "{calls:?}");
    assert!(
        rig.screen().contains("user blocked until"),
        "{}",
        rig.screen()
    );
}

#[test]
fn a_dialog_keeps_its_target_while_rows_move() {
    let mut rig = Rig::writable(30);
    rig.keys("3");
    let id = rig.model.lists.sessions.cursor.clone().unwrap();
    rig.keys("X");
    for _ in 0..5 {
        rig.api.tick();
        rig.second();
    }
    assert!(rig.screen().contains("FROZEN while dialog open"));
    rig.keys("y");
    assert!(rig.called("kill_session")[0].contains(&id));
}

#[test]
fn a_bulk_kill_needs_the_count_and_reports_each_session() {
    let mut rig = Rig::writable(30);
    rig.keys("3");
    rig.line("/node=fra1");
    rig.keys("aX");
    assert_snapshot!("kill_many_80x24", rig.screen());
    rig.keys("y");
    assert!(rig.called("start_kill_job").is_empty());
    rig.press(KeyCode::BackTab);
    rig.keys("10");
    rig.press(KeyCode::Enter);
    rig.keys("y");
    assert_eq!(rig.called("start_kill_job").len(), 1, "{}", rig.screen());
    let Some(Dialog::Job(dialog)) = &rig.model.dialog else {
        panic!("{}", rig.screen())
    };
    assert_eq!(dialog.job.total, 10);
    assert!(!rig.model.lists.sessions.all);
    rig.press(KeyCode::Esc);
    rig.second();
    rig.press(KeyCode::Esc);
    assert_eq!(rig.api.all_sessions().len(), 20);
}

#[test]
fn marks_survive_scrolling_and_are_what_is_killed() {
    let mut rig = Rig::writable(500);
    rig.keys("3  ");
    assert_eq!(rig.model.lists.sessions.marks.len(), 2);
    for _ in 0..30 {
        rig.press(KeyCode::PageDown);
    }
    rig.keys("X");
    let Some(Dialog::Form(form, _)) = &rig.model.dialog else {
        panic!()
    };
    assert!(form.title.contains("Kill 2 sessions"));
    rig.press(KeyCode::Esc);
    rig.keys("A");
    assert!(rig.model.lists.sessions.marks.is_empty());
}

#[test]
fn killing_a_users_sessions_freezes_them_all() {
    let mut rig = Rig::writable(30);
    rig.keys("4X");
    let Some(Dialog::Form(form, purpose)) = &rig.model.dialog else {
        panic!("{}", rig.screen())
    };
    let Purpose::KillMany(ids) = &**purpose else {
        panic!()
    };
    assert_eq!(ids.len(), 3);
    assert!(form.title.contains("Kill 3 sessions"));
}

#[test]
fn a_guarded_context_must_be_typed() {
    let mut rig = Rig::writable(12);
    rig.model.confirm_typed = true;
    rig.keys("3Xy");
    assert!(rig.called("kill_session").is_empty());
    assert!(
        rig.screen().contains("type prod-eu first"),
        "{}",
        rig.screen()
    );
}

#[test]
fn a_new_user_gets_its_password_and_nobody_sees_it() {
    let mut rig = Rig::writable(12);
    rig.keys("4N");
    rig.ctrl('u');
    rig.line("acme");
    rig.line("zoe");
    rig.line("correct horse");
    rig.line("correct horse");
    assert!(!rig.screen().contains("correct"));
    rig.press(KeyCode::Enter);
    rig.keys("y");
    let calls = rig.called("put_user");
    assert_eq!(calls.len(), 1, "{}", rig.screen());
    assert!(
        calls[0].contains("zoe") && !calls[0].contains("correct"),
        "{calls:?}"
    );
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
}

#[test]
fn users_can_be_edited_blocked_and_deleted() {
    let mut rig = Rig::writable(12);
    rig.keys("4");
    rig.line("/user=bob realm=acme");
    rig.keys("E");
    rig.line("3");
    rig.keys(" ");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    assert_eq!(rig.called("patch_user").len(), 1, "{}", rig.screen());
    rig.keys("By");
    assert_eq!(rig.called("put_block").len(), 1, "{}", rig.screen());
    rig.second();
    rig.keys("By");
    assert_eq!(rig.called("delete_block").len(), 1, "{}", rig.screen());
    rig.keys("Zy");
    assert_eq!(rig.called("delete_user").len(), 1, "{}", rig.screen());
}

#[test]
fn an_operator_may_kill_but_not_edit() {
    let mut rig = Rig::writable(12);
    rig.api.set_role(Role::Operator);
    rig.model.whoami = None;
    rig.second();
    rig.keys("5E");
    assert!(rig.model.dialog.is_none());
    assert!(
        rig.screen()
            .contains("your role is operator; this needs admin"),
        "{}",
        rig.screen()
    );
    rig.keys("3X");
    assert!(rig.model.dialog.is_some());
}

/// Opens the form of the first realm and types a new limit of sessions.
fn edit_first_realm(rig: &mut Rig, limit: &str) {
    rig.keys("5E");
    rig.ctrl('u');
    rig.line(limit);
    for _ in 0..25 {
        rig.press(KeyCode::Enter);
    }
}

#[test]
fn a_realm_is_previewed_and_written_over_its_revision() {
    let mut rig = Rig::writable(12);
    edit_first_realm(&mut rig, "500");
    assert!(
        rig.model.dialog.is_none(),
        "enter on Cancel closes: {}",
        rig.screen()
    );
    rig.keys("5E");
    assert_snapshot!("realm_form_80x24", rig.screen());
    rig.ctrl('u');
    rig.line("500");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    assert_snapshot!("realm_preview_80x24", rig.screen());
    rig.keys("y");
    assert_eq!(rig.called("put_realm").len(), 1, "{}", rig.screen());
    assert!(rig.model.dialog.is_none());
}

#[test]
fn a_lost_compare_and_set_shows_both_and_keeps_what_was_typed() {
    let mut rig = Rig::writable(12);
    rig.keys("5E");
    let name = rig.model.lists.realms.selected().unwrap().clone();
    rig.ctrl('u');
    rig.line("500");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    // Somebody is faster.
    let mut document = name.document.clone();
    document.max_sessions = Some(700);
    let put = RealmPut {
        document,
        reason: String::new(),
    };
    let api = std::sync::Arc::clone(&rig.api);
    rig.runtime
        .block_on(api.put_realm(&name.name, name.revision, &put))
        .unwrap();
    rig.keys("y");
    let screen = rig.screen();
    assert!(screen.contains("theirs 700 | yours 500"), "{screen}");
    rig.keys("y");
    let Some(Dialog::Form(form, purpose)) = &rig.model.dialog else {
        panic!("{}", rig.screen())
    };
    assert_eq!(form.value("max_sessions"), "500");
    let Purpose::RealmForm(base) = &**purpose else {
        panic!()
    };
    assert_eq!(base.revision, name.revision + 1);
}

#[test]
fn a_refused_change_leaves_the_dialog_open() {
    let mut rig = Rig::writable(12);
    rig.keys("3X");
    rig.api.edit_sessions(Vec::clear);
    rig.keys("y");
    let Some(Dialog::Form(form, _)) = &rig.model.dialog else {
        panic!("{}", rig.screen())
    };
    assert!(form.error.is_some() && !form.busy);
}

#[test]
fn marked_sessions_that_have_ended_are_told_when_the_dialog_opens() {
    let mut rig = Rig::writable(30);
    rig.keys("3   ");
    assert_eq!(rig.model.lists.sessions.marks.len(), 3);
    let first = rig
        .model
        .lists
        .sessions
        .marks
        .keys()
        .next()
        .unwrap()
        .clone();
    let gone = first.clone();
    rig.api
        .edit_sessions(move |s| s.retain(|s| s.id.to_string() != gone));
    rig.keys("X");
    assert_snapshot!("kill_marked_80x24", rig.screen());
    assert!(!rig.model.lists.sessions.marks.contains_key(&first));
    rig.press(KeyCode::Esc);
    rig.api.edit_sessions(Vec::clear);
    rig.keys("X");
    assert!(rig.model.dialog.is_none());
    let screen = rig.screen();
    assert!(
        screen.contains("all 2 marked sessions have ended"),
        "{screen}"
    );
}

#[test]
fn a_change_of_a_realm_is_read_and_undone_with_its_preview() {
    let mut rig = Rig::writable(12);
    rig.keys("5H");
    let screen = rig.screen();
    for text in [
        "Revisions of realm acme",
        "revision 41",
        "by unix:0: room for all",
        "max_sessions: 800 -> null",
        "by token:cafe0001: launch",
    ] {
        assert!(screen.contains(text), "{text}\n{screen}");
    }
    rig.press(KeyCode::Esc);
    rig.keys("U");
    let screen = rig.screen();
    for text in [
        "realm acme back to revision 40?",
        "none -> 800",
        "41 by unix:0",
    ] {
        assert!(screen.contains(text), "{text}\n{screen}");
    }
    // Somebody is faster: nothing is written, and the dialog is made anew.
    let name = "acme".parse().unwrap();
    let api = std::sync::Arc::clone(&rig.api);
    let view = rig.runtime.block_on(api.realm(&name)).unwrap();
    let put = RealmPut {
        document: RealmDocument {
            note: "quick".into(),
            ..view.document
        },
        reason: String::new(),
    };
    rig.runtime
        .block_on(api.put_realm(&name, 41, &put))
        .unwrap();
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    let screen = rig.screen();
    assert!(screen.contains("back to revision 41?"), "{screen}");
    assert!(screen.contains("quick -> none"), "{screen}");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    let undone = rig.called("undo_realm");
    let last = undone.last().unwrap();
    assert!(last.contains("expected=42 revision=Some(41)"), "{last}");
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
}
