//! Clicks and the wheel.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::Rig;
use crate::console::message::Message;
use crate::console::model::Place;

fn mouse(rig: &mut Rig, kind: MouseEventKind, at: (usize, usize)) {
    let (column, row) = (at.0 as u16, at.1 as u16);
    let modifiers = KeyModifiers::NONE;
    rig.post(Message::Mouse(MouseEvent {
        kind,
        column,
        row,
        modifiers,
    }));
}

fn click(rig: &mut Rig, at: (usize, usize)) {
    mouse(rig, MouseEventKind::Down(MouseButton::Left), at);
}

/// Where a text stands on the screen.
fn find(rig: &Rig, text: &str) -> (usize, usize) {
    let screen = rig.screen();
    let mut lines = screen.lines().enumerate();
    let found = lines.find_map(|(y, line)| Some((line[..line.find(text)?].chars().count(), y)));
    found.unwrap_or_else(|| panic!("{text} is not on the screen:\n{screen}"))
}

#[test]
fn a_click_selects_and_a_second_one_opens() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3");
    rig.line(":set mouse on");
    let row = rig.model.lists.sessions.rows[4].clone();
    let at = find(&rig, &row.id.to_string()[11..]);
    click(&mut rig, at);
    assert_eq!(rig.model.lists.sessions.selected().unwrap().id, row.id);
    rig.second();
    rig.second();
    // Too late to be the second one.
    click(&mut rig, at);
    assert_eq!(*rig.model.place(), Place::Sessions);
    click(&mut rig, at);
    assert_eq!(*rig.model.place(), Place::Session(row.id));
}

#[test]
fn a_click_on_a_title_sorts_and_once_more_turns_round() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3");
    rig.line(":set mouse on");
    let title = find(&rig, "USER");
    click(&mut rig, title);
    assert_eq!(rig.model.lists.sessions.sort, Some(("user", false)));
    click(&mut rig, title);
    assert_eq!(rig.model.lists.sessions.sort, Some(("user", true)));
}

#[test]
fn the_wheel_moves_the_cursor_and_the_help() {
    let mut rig = Rig::new(30, (80, 24));
    rig.keys("3");
    rig.line(":set mouse on");
    mouse(&mut rig, MouseEventKind::ScrollDown, (5, 5));
    assert_eq!(rig.model.lists.sessions.at, 3);
    mouse(&mut rig, MouseEventKind::ScrollUp, (5, 5));
    assert_eq!(rig.model.lists.sessions.at, 0);
    rig.keys("?");
    let before = rig.screen();
    mouse(&mut rig, MouseEventKind::ScrollDown, (5, 5));
    assert_ne!(rig.screen(), before);
    mouse(&mut rig, MouseEventKind::ScrollUp, (5, 5));
    assert_eq!(rig.screen(), before);
}

#[test]
fn a_mouse_that_is_off_or_over_a_dialog_does_nothing() {
    let mut rig = Rig::writable(30);
    rig.keys("3");
    mouse(&mut rig, MouseEventKind::ScrollDown, (5, 5));
    click(&mut rig, (5, 8));
    assert_eq!(rig.model.lists.sessions.at, 0);
    rig.line(":set mouse on");
    rig.keys("X");
    let before = rig.screen();
    for y in 0..24 {
        click(&mut rig, (40, y));
    }
    assert_eq!(rig.screen(), before);
    assert!(rig.called("kill").is_empty());
    // Where nothing is, nothing happens.
    rig.press(crossterm::event::KeyCode::Esc);
    for place in ["1", "2", "4", "5", "6"] {
        rig.keys(place);
        for at in [(0, 0), (79, 23), (200, 200), (3, 4)] {
            click(&mut rig, at);
        }
    }
}
