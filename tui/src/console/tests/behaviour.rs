//! Moving about, filters, connection.

use crossterm::event::KeyCode;

use super::Rig;
use crate::console::message::Message;
use crate::console::model::{Mode, Place};

#[test]
fn enter_leads_from_a_node_to_its_sessions_to_one_and_esc_back() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("2");
    rig.press(KeyCode::Enter);
    assert_eq!(*rig.model.place(), Place::Sessions);
    assert_eq!(rig.model.lists.sessions.filter, "node=ams1");
    assert_eq!(rig.model.lists.sessions.facts.as_ref().unwrap().matched, 4);
    rig.press(KeyCode::Enter);
    assert!(matches!(rig.model.place(), Place::Session(_)));
    assert!(rig.screen().contains("Pulse > Nodes > Sessions > 7f3a9001"));
    rig.press(KeyCode::Esc);
    rig.press(KeyCode::Esc);
    assert_eq!(*rig.model.place(), Place::Nodes);
}

#[test]
fn history_goes_back_and_forth_and_minus_swaps() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3");
    rig.keys("5");
    rig.keys("[");
    assert_eq!(*rig.model.place(), Place::Sessions);
    rig.keys("]");
    assert_eq!(*rig.model.place(), Place::Realms);
    rig.keys("-");
    assert_eq!(*rig.model.place(), Place::Sessions);
    rig.keys("-");
    assert_eq!(*rig.model.place(), Place::Realms);
}

#[test]
fn a_wrong_filter_says_why_and_keeps_the_old_result() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3");
    rig.line("/node=fra1");
    assert_eq!(rig.model.lists.sessions.rows.len(), 4);
    rig.keys("/");
    rig.ctrl('u');
    rig.line("nonsense>3");
    assert!(rig.model.prompt.as_ref().unwrap().error.is_some());
    assert_eq!(rig.model.lists.sessions.rows.len(), 4);
    rig.press(KeyCode::Esc);
    assert_eq!(rig.model.lists.sessions.filter, "node=fra1");
    rig.press(KeyCode::Esc);
    assert_eq!(rig.model.lists.sessions.filter, "");
    assert_eq!(rig.model.lists.sessions.rows.len(), 12);
    assert_eq!(*rig.model.place(), Place::Sessions);
}

#[test]
fn totals_come_from_the_server_not_from_the_loaded_rows() {
    let mut rig = Rig::new(1_000, (80, 24));
    rig.keys("3");
    assert_eq!(rig.model.lists.sessions.rows.len(), 200);
    assert!(rig.screen().contains("1-18 of 1,000"), "{}", rig.screen());
    rig.line("/node=fra1");
    assert!(
        rig.screen().contains("1-18 of 334 match (1,000 total)"),
        "{}",
        rig.screen()
    );
}

#[test]
fn scrolling_loads_further_pages() {
    let mut rig = Rig::new(1_000, (80, 24));
    rig.keys("3");
    for _ in 0..60 {
        rig.press(KeyCode::PageDown);
    }
    assert!(
        rig.screen().contains("983-1,000 of 1,000") || rig.screen().contains("983-1000 of 1,000"),
        "{}",
        rig.screen()
    );
    rig.keys("g");
    rig.second();
    assert!(rig.screen().contains("1-18 of 1,000"), "{}", rig.screen());
}

#[test]
fn capital_g_goes_to_the_real_last_row_and_up_from_there() {
    let mut rig = Rig::new(1_000, (80, 24));
    rig.keys("3G");
    assert!(
        rig.screen().contains("983-1,000 of 1,000"),
        "{}",
        rig.screen()
    );
    let asked = rig.called("sessions").pop().unwrap();
    assert!(asked.contains("sort=rate:asc"), "{asked}");
    let slowest = rig.model.lists.sessions.rows.last().unwrap().rate_bps();
    assert!(rig.model.lists.sessions.rows[0].rate_bps() >= slowest);
    for _ in 0..60 {
        rig.press(KeyCode::PageUp);
    }
    assert!(rig.screen().contains("1-18 of 1,000"), "{}", rig.screen());
    rig.keys("Gg");
    assert!(rig.screen().contains("1-18 of 1,000"), "{}", rig.screen());
    assert!(!rig.model.lists.sessions.from_end);
}

#[test]
fn a_range_of_marks_is_told_while_it_grows_and_dropped_by_esc() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3jvjjj");
    let screen = rig.screen();
    assert!(screen.contains("range of 4"), "{screen}");
    assert_eq!(screen.lines().filter(|l| l.starts_with("+ ")).count(), 4);
    rig.press(KeyCode::Esc);
    assert!(rig.model.lists.sessions.marks.is_empty());
    rig.keys("vkkv");
    assert_eq!(rig.model.lists.sessions.marks.len(), 3);
    rig.keys("a");
    assert!(rig.screen().contains("all 40 marked"), "{}", rig.screen());
}

#[test]
fn the_cursor_keeps_its_session_while_rates_move() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3jjj");
    let id = rig.model.lists.sessions.cursor.clone();
    for _ in 0..10 {
        rig.api.tick();
        rig.second();
        assert_eq!(rig.model.lists.sessions.cursor, id);
    }
}

#[test]
fn sort_picker_and_reverse_ask_the_server() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3s");
    rig.press(KeyCode::Up);
    rig.press(KeyCode::Enter);
    assert!(!rig.called("sessions").is_empty());
    let (column, descending) = rig.model.lists.sessions.sort.unwrap();
    assert_ne!(column, "rate");
    rig.keys("o");
    assert_eq!(rig.model.lists.sessions.sort, Some((column, !descending)));
}

#[test]
fn pause_freezes_rows_and_continues() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3p");
    let before = rig.model.lists.sessions.rows.clone();
    rig.api.tick();
    rig.second();
    assert_eq!(rig.model.lists.sessions.rows, before);
    assert!(rig.screen().contains("PAUSED"));
    rig.keys("p");
    assert_ne!(rig.model.lists.sessions.rows, before);
}

#[test]
fn commands_complete_and_errors_offer_the_nearest_word() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys(":sess");
    rig.press(KeyCode::Tab);
    assert_eq!(rig.model.prompt.as_ref().unwrap().input.value(), "sessions");
    rig.ctrl('c');
    rig.keys(":node f");
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Enter);
    assert_eq!(rig.model.lists.sessions.filter, "node=fra1");
    rig.line(":sesions");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("did you mean :sessions?"), "{error}");
}

#[test]
fn copying_takes_the_whole_id() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3yy");
    let id = rig.model.lists.sessions.cursor.clone().unwrap();
    assert_eq!(rig.copied, [id]);
}

#[test]
fn a_node_out_of_reach_keeps_the_data_and_the_console() {
    let mut rig = Rig::writable(12);
    rig.keys("3j");
    let (rows, cursor) = (
        rig.model.lists.sessions.rows.clone(),
        rig.model.lists.sessions.cursor.clone(),
    );
    rig.api.set_unreachable(true);
    rig.second();
    for _ in 0..60 {
        rig.second();
    }
    let screen = rig.screen();
    assert!(screen.contains("DISCONNECTED"), "{screen}");
    assert!(screen.contains("!! "), "{screen}");
    assert_eq!(rig.model.lists.sessions.rows, rows);
    rig.keys("X");
    assert!(rig.model.dialog.is_none());
    rig.api.set_unreachable(false);
    rig.keys("R");
    rig.second();
    assert!(rig.screen().contains("live 1s"), "{}", rig.screen());
    assert_eq!(rig.model.lists.sessions.cursor, cursor);
    assert!(!rig.left);
}

#[test]
fn it_starts_without_a_node() {
    let mut rig = Rig::new(12, (80, 24));
    rig.model = crate::console::model::Model::new("prod-eu", Default::default(), (80, 24), 1_000);
    rig.api.set_unreachable(true);
    rig.second();
    assert!(rig.screen().contains("DISCONNECTED"), "{}", rig.screen());
    assert!(rig.screen().contains("nothing is known yet"));
    rig.api.set_unreachable(false);
    for _ in 0..40 {
        rig.second();
    }
    assert!(rig.screen().contains("live 1s"));
}

#[test]
fn interrupting_twice_leaves_and_once_does_not() {
    let mut rig = Rig::new(12, (80, 24));
    rig.ctrl('c');
    assert!(!rig.left);
    rig.second();
    rig.second();
    rig.ctrl('c');
    assert!(!rig.left);
    rig.ctrl('c');
    assert!(rig.left);
}

#[test]
fn pasted_text_never_acts_as_keys() {
    let mut rig = Rig::writable(12);
    rig.keys("3");
    rig.post(Message::Paste("Xq\n".to_owned()));
    assert!(rig.model.dialog.is_none() && !rig.left);
}

#[test]
fn read_write_needs_a_role_that_can_change_something() {
    let mut rig = Rig::new(12, (80, 24));
    rig.api.set_role(shared::api::Role::Viewer);
    rig.model.whoami = None;
    rig.second();
    rig.line(":rw");
    assert_eq!(rig.model.mode, Mode::ReadOnly);
    assert!(
        rig.screen().contains("your role is viewer"),
        "{}",
        rig.screen()
    );
}

#[test]
fn a_short_list_follows_the_filter_while_it_is_typed() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3/user=bo");
    assert!(
        rig.screen().contains("0 of 0 match (40 total)"),
        "{}",
        rig.screen()
    );
    rig.keys("b");
    let screen = rig.screen();
    assert!(
        screen.contains(" match (40 total)") && screen.contains("bob"),
        "{screen}"
    );
    // What makes no sense yet leaves the rows as they are.
    rig.keys(" rate>");
    assert!(rig.screen().contains("bob"));
    rig.press(KeyCode::Esc);
    assert!(rig.screen().contains("of 40"), "{}", rig.screen());
    rig.keys("/user=bob");
    rig.press(KeyCode::Enter);
    rig.press(KeyCode::Esc);
    assert!(
        rig.screen().contains("of 40"),
        "esc clears what was entered"
    );
}

#[test]
fn a_long_list_waits_for_enter() {
    let mut rig = Rig::new(2_001, (80, 24));
    rig.keys("3");
    rig.api.clear_calls();
    rig.keys("/user=bob");
    assert!(
        !rig.called("sessions")
            .iter()
            .any(|call| call.contains("filter="))
    );
    rig.press(KeyCode::Enter);
    assert!(
        rig.called("sessions")
            .iter()
            .any(|call| call.contains("filter=user=bob"))
    );
}
