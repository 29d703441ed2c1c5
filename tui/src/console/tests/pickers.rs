//! Columns, their order, and what a list is sorted by.

use crossterm::event::KeyCode;
use insta::assert_snapshot;

use super::Rig;

/// Titles of the columns on the screen.
fn titles(rig: &Rig) -> Vec<String> {
    let screen = rig.screen();
    let line = screen.lines().nth(3).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn columns_are_chosen_and_ordered_while_the_list_shows_it() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3w");
    assert_snapshot!("columns_80x24", rig.screen());
    // REALM goes, USER moves behind it.
    rig.keys("jJj");
    rig.press(KeyCode::Char('k'));
    rig.press(KeyCode::Char('k'));
    rig.keys(" ");
    rig.press(KeyCode::Enter);
    assert!(rig.model.dialog.is_none());
    assert!(
        !titles(&rig).contains(&"REALM".to_owned()),
        "{}",
        rig.screen()
    );
    rig.keys("w");
    rig.keys(" ");
    rig.press(KeyCode::Esc);
    assert_eq!(titles(&rig)[0], "ID");
    rig.keys("wr");
    assert!(titles(&rig).contains(&"REALM".to_owned()));
    assert!(rig.model.lists.sessions.columns.is_none());
}

#[test]
fn the_column_picker_fits_small_and_large_screens() {
    for size in [(60, 15), (160, 45)] {
        let mut rig = Rig::new(40, size);
        rig.keys("3w");
        assert_snapshot!(format!("columns_{}x{}", size.0, size.1), rig.screen());
    }
}

#[test]
fn the_sort_moves_from_column_to_column() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3");
    assert_eq!(rig.model.lists.sessions.sort, Some(("rate", true)));
    rig.keys(">");
    assert_eq!(rig.model.lists.sessions.sort, Some(("age", true)));
    rig.keys("<<");
    let (name, descending) = rig.model.lists.sessions.sort.unwrap();
    assert_eq!((name, descending), ("client", false));
    rig.keys("<<<<<<<<<");
    assert_eq!(rig.model.lists.sessions.sort, Some(("id", false)));
    let asked = rig.called("sessions").pop().unwrap();
    assert!(asked.contains("sort=id:asc"), "{asked}");
}
