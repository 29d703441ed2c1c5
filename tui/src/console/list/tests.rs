use proptest::prelude::*;

use super::*;

impl Row for u32 {
    fn key(&self) -> String {
        self.to_string()
    }
}

fn page(rows: &[u32], next: Option<&str>) -> Page<u32> {
    Page {
        schema: "numbers/1".to_owned(),
        as_of_ms: 1,
        items: rows.to_vec(),
        next: next.map(str::to_owned),
        matched: rows.len() as u64,
        total: rows.len() as u64,
        missing: Vec::new(),
    }
}

fn list(rows: &[u32]) -> ListState<u32> {
    let mut list = ListState {
        height: 5,
        ..ListState::default()
    };
    list.take(0, page(rows, None));
    list
}

#[test]
fn the_cursor_stays_on_its_id_when_rows_are_sorted_anew() {
    let mut list = list(&[1, 2, 3, 4]);
    list.move_by(1);
    assert_eq!(list.cursor.as_deref(), Some("2"));
    list.take(0, page(&[4, 3, 1, 2], None));
    assert_eq!((list.cursor.as_deref(), list.at), (Some("2"), 3));
}

#[test]
fn the_cursor_takes_the_place_of_a_row_that_vanished() {
    let mut list = list(&[1, 2, 3]);
    list.move_by(1);
    list.take(0, page(&[1, 3], None));
    assert_eq!(list.cursor.as_deref(), Some("3"));
}

#[test]
fn the_next_page_is_asked_for_before_the_end_is_reached() {
    let first: Vec<u32> = (0..PAGE_ROWS as u32).collect();
    let second: Vec<u32> = (PAGE_ROWS as u32..2 * PAGE_ROWS as u32).collect();
    let mut list = ListState {
        height: 20,
        ..ListState::default()
    };
    list.take(0, page(&first, Some("b")));
    assert_eq!(list.wanted_page(), None);
    list.move_by(170);
    assert_eq!(list.wanted_page(), Some(1));
    assert_eq!(list.query(1).cursor.as_deref(), Some("b"));
    list.take(1, page(&second, None));
    assert_eq!(list.rows.len(), 2 * PAGE_ROWS);
    assert_eq!(list.cursor.as_deref(), Some("170"));
    assert_eq!(list.wanted_page(), None);
}

#[test]
fn pages_far_from_the_viewport_are_dropped_and_fetched_again() {
    let mut list = ListState {
        height: 20,
        ..ListState::default()
    };
    for index in 0..8_usize {
        let rows: Vec<u32> = (0..PAGE_ROWS)
            .map(|i| (index * PAGE_ROWS + i) as u32)
            .collect();
        list.take(index, page(&rows, Some("next")));
        list.to_end();
    }
    assert_eq!(list.rows.len(), PAGES_HELD * PAGE_ROWS);
    assert_eq!(list.cursor.as_deref(), Some("1599"));
    list.move_by(-(list.rows.len() as isize));
    assert_eq!(list.wanted_page(), Some(3));
}

#[test]
fn a_wrong_filter_keeps_the_old_rows() {
    let mut list = list(&[1, 2, 3]);
    list.set_filter("nonsense");
    assert_eq!(list.rows, [1, 2, 3]);
}

proptest! {
    #[test]
    fn the_cursor_is_always_on_a_visible_row(
        steps in prop::collection::vec((0_u8..4, prop::collection::vec(0_u32..50, 0..40), -60_isize..60), 1..20),
    ) {
        let mut list = ListState { height: 7, ..ListState::default() };
        for (what, rows, by) in steps {
            match what {
                0 => list.take(0, page(&rows, None)),
                1 => list.move_by(by),
                2 => list.toggle_mark(),
                _ => list.set_height(by.unsigned_abs() + 1),
            }
            if list.rows.is_empty() {
                prop_assert_eq!(list.cursor.as_deref(), None);
            } else {
                prop_assert_eq!(list.cursor.clone(), Some(list.rows[list.at].key()));
                prop_assert!(list.top <= list.at && list.at < list.top + list.height);
            }
        }
    }
}
