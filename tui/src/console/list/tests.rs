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

/// A list that holds the first page of two, twenty rows of it visible, and the rows of the second.
fn first_of_two_pages() -> (ListState<u32>, Vec<u32>) {
    let rows = PAGE_ROWS as u32;
    let mut list = ListState {
        height: 20,
        ..ListState::default()
    };
    list.take(0, page(&(0..rows).collect::<Vec<_>>(), Some("b")));
    (list, (rows..2 * rows).collect())
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
    let (mut list, second) = first_of_two_pages();
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
fn a_movement_goes_on_when_the_rows_behind_the_loaded_ones_come() {
    let (mut list, second) = first_of_two_pages();
    for _ in 0..11 {
        list.move_by(20);
    }
    assert_eq!(list.cursor.as_deref(), Some("199"));
    list.take(1, page(&second, None));
    assert_eq!(list.cursor.as_deref(), Some("220"));
    // Once it has gone on, it stays.
    list.take(1, page(&second, None));
    assert_eq!(list.cursor.as_deref(), Some("220"));
    list.move_by(isize::MAX);
    list.take(1, page(&second, None));
    assert_eq!(list.cursor.as_deref(), Some("399"));
}

#[test]
fn a_movement_back_takes_back_what_was_owed() {
    let (mut list, second) = first_of_two_pages();
    list.move_by(190);
    list.move_by(20);
    list.move_by(-1);
    list.take(1, page(&second, None));
    assert_eq!(list.cursor.as_deref(), Some("198"));
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
        list.move_by(isize::MAX);
    }
    assert_eq!(list.rows.len(), PAGES_HELD * PAGE_ROWS);
    assert_eq!(list.cursor.as_deref(), Some("1599"));
    list.move_by(-(list.rows.len() as isize));
    assert_eq!(list.wanted_page(), Some(3));
}

/// Rows on a server: an id and the value that they are sorted by, which changes. Ties go by id, and
/// both follow the direction.
#[derive(Default)]
struct Server(Vec<(u32, u32)>);

#[derive(Clone, Debug, PartialEq)]
struct Item(u32, u32);

impl Row for Item {
    fn key(&self) -> String {
        self.1.to_string()
    }
}

impl Server {
    /// All ids, smallest value first.
    fn in_order(&self) -> Vec<(u32, u32)> {
        let mut rows: Vec<(u32, u32)> = self.0.iter().map(|(id, value)| (*value, *id)).collect();
        rows.sort_unstable();
        rows
    }

    fn answer(&self, query: &ListQuery) -> Page<Item> {
        let mut rows = self.in_order();
        let descending = query.sort.as_deref() == Some("value:desc");
        if descending {
            rows.reverse();
        }
        let start = query.cursor.as_deref().map_or(0, |cursor| {
            let (value, id) = cursor.split_once(':').unwrap();
            let after = (value.parse().unwrap(), id.parse().unwrap());
            rows.partition_point(|row| {
                if descending {
                    *row >= after
                } else {
                    *row <= after
                }
            })
        });
        let items: Vec<Item> = rows[start..]
            .iter()
            .take(PAGE_ROWS)
            .map(|(value, id)| Item(*value, *id))
            .collect();
        let more = start + items.len() < rows.len();
        let next = items
            .last()
            .filter(|_| more)
            .map(|i| format!("{}:{}", i.0, i.1));
        Page {
            schema: "items/1".to_owned(),
            as_of_ms: 1,
            items,
            next,
            matched: rows.len() as u64,
            total: rows.len() as u64,
            missing: Vec::new(),
        }
    }

    fn take_in(&self, list: &mut ListState<Item>, page: Option<usize>) {
        let (page, query) = list.page_query(page);
        list.take(page, self.answer(&query));
    }

    /// Answers whatever the viewport wants.
    fn settle(&self, list: &mut ListState<Item>) {
        for _ in 0..50 {
            let Some(page) = list.wanted_page() else {
                return;
            };
            self.take_in(list, Some(page));
        }
        panic!("it never has enough");
    }
}

fn items(height: usize) -> ListState<Item> {
    ListState {
        height,
        ..ListState::sorted("value", true)
    }
}

#[test]
fn the_end_of_a_long_list_is_its_real_end_and_leads_back_to_its_top() {
    let server = Server((0..5_000).map(|id| (id, id / 7)).collect());
    let mut list = items(20);
    server.take_in(&mut list, Some(0));
    assert!(list.to_end());
    server.take_in(&mut list, Some(0));
    assert_eq!(list.shown_range(), Some((4_981, 5_000)));
    assert_eq!(list.cursor.as_deref(), Some("0"));
    let mut seen: Vec<u32> = Vec::new();
    while seen.last() != Some(&4_999) {
        seen.push(list.selected().unwrap().1);
        let before = list.base + list.at;
        server.settle(&mut list);
        list.move_by(-1);
        assert_eq!(list.base + list.at, before.saturating_sub(1));
    }
    let wanted: Vec<u32> = (0..5_000).collect();
    assert_eq!(seen, wanted);
    assert_eq!(list.base, 0);
    assert!(list.to_top());
    server.take_in(&mut list, Some(0));
    assert_eq!((list.shown_range(), list.from_end), (Some((1, 20)), false));
    assert_eq!(list.cursor.as_deref(), Some("4999"));
}

#[test]
fn an_order_that_is_no_longer_kept_is_gone_through_anew_under_the_rows() {
    let server = Server((0..5_000).map(|id| (id, id)).collect());
    let mut list = items(20);
    server.take_in(&mut list, Some(0));
    for _ in 0..60 {
        list.move_by(20);
        server.settle(&mut list);
    }
    let (cursor, range) = (list.cursor.clone(), list.shown_range());
    let generation = list.generation;
    assert!(!list.expire());
    assert!(list.generation > generation && !list.rows.is_empty());
    server.settle(&mut list);
    assert_eq!((list.cursor.clone(), list.shown_range()), (cursor, range));
    list.expire();
    // The second time before it was there: it would never end.
    assert!(list.expire());
    server.take_in(&mut list, None);
    assert_eq!(list.shown_range(), Some((1, 20)));
}

#[test]
fn the_end_is_kept_in_sight_until_the_operator_moves() {
    let mut server = Server((0..1_000).map(|id| (id, 1_000 - id)).collect());
    let mut list = items(20);
    server.take_in(&mut list, Some(0));
    list.to_end();
    server.take_in(&mut list, Some(0));
    server.0.push((2_000, 0));
    server.take_in(&mut list, None);
    assert_eq!(list.cursor.as_deref(), Some("2000"));
    list.move_by(-5);
    let held = list.cursor.clone();
    server.0.push((2_001, 0));
    server.take_in(&mut list, None);
    assert_eq!(list.cursor, held);
}

#[test]
fn another_filter_far_down_begins_at_the_top_of_the_new_rows() {
    let server = Server((0..2_000).map(|id| (id, id)).collect());
    let mut list = items(20);
    server.take_in(&mut list, Some(0));
    for _ in 0..60 {
        list.move_by(20);
        server.settle(&mut list);
    }
    assert!(list.base > 0);
    list.set_filter("other");
    assert_eq!(list.wanted_page(), None);
    assert_eq!(list.refresh_page(), 0);
    let few = Server((0..30).map(|id| (id, id)).collect());
    few.take_in(&mut list, None);
    assert_eq!(list.shown_range(), Some((1, 20)));
    assert_eq!((list.rows.len(), list.at), (30, 0));
}

#[test]
fn a_range_marks_what_lies_between_and_says_what_is_not_loaded() {
    let server = Server((0..2_000).map(|id| (id, id)).collect());
    let mut list = items(20);
    server.take_in(&mut list, Some(0));
    list.move_by(3);
    list.begin_range();
    list.move_by(4);
    assert_eq!(list.range_span(), Some((3, 7, 0)));
    let marked = list.end_range(true);
    assert_eq!(
        (marked.rows, marked.not_loaded, list.marks.len()),
        (5, 0, 5)
    );
    list.begin_range();
    for _ in 0..70 {
        list.move_by(20);
        server.settle(&mut list);
    }
    let base = list.base;
    assert!(base > 7);
    let marked = list.end_range(true);
    assert_eq!(marked.not_loaded, base - 7);
    assert_eq!(marked.rows, list.at + 1);
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

    /// Whatever comes and goes on the server: the cursor keeps its id while that is loaded and no
    /// movement is under way, no row is there twice, marks stay, and positions are inside the list.
    #[test]
    fn the_window_holds_under_inserts_deletes_and_new_ranks(
        rows in 0_u32..1_500,
        steps in prop::collection::vec((0_u8..12, any::<u32>()), 1..60),
    ) {
        let mut server = Server((0..rows).map(|id| (id, id.wrapping_mul(2_654_435_761) % 97)).collect());
        let mut list = items(18);
        server.take_in(&mut list, Some(0));
        let mut fresh = rows;
        for (what, n) in steps {
            let held = list.cursor.clone().filter(|_| list.held);
            let marks: Vec<String> = list.marks.keys().cloned().collect();
            let moved = matches!(what, 3..=8 | 11) || list.owed != 0;
            let mut unmarked = false;
            match what {
                0 => (0..n % 40).for_each(|i| { server.0.push((fresh, (n ^ i) % 97)); fresh += 1; }),
                1 => server.0.retain(|(id, _)| !(id ^ n).is_multiple_of(5)),
                2 => server.0.iter_mut().for_each(|(id, value)| *value = (*id ^ n).wrapping_mul(31) % 97),
                3 => list.move_by(n as isize % 400),
                4 => list.move_by(-(n as isize % 400)),
                5 => { list.to_top(); }
                6 => { list.to_end(); }
                7 => { list.toggle_mark(); unmarked = true; }
                8 => list.set_height(n as usize % 60 + 1),
                9 => server.take_in(&mut list, None),
                10 => { if let Some(page) = list.wanted_page() { server.take_in(&mut list, Some(page)); } }
                _ => list.set_sort("value", n.is_multiple_of(2)),
            }
            let keys: HashSet<String> = list.rows.iter().map(Row::key).collect();
            prop_assert_eq!(keys.len(), list.rows.len());
            prop_assert_eq!(list.cursor.clone(), list.selected().map(Row::key));
            if let Some(id) = held.filter(|id| !moved && keys.contains(id)) {
                prop_assert_eq!(list.cursor.clone(), Some(id));
            }
            prop_assert!(unmarked || marks.iter().all(|id| list.marks.contains_key(id)));
            if list.rows.is_empty() {
                prop_assert_eq!(list.shown_range(), None);
            } else {
                prop_assert!(list.top <= list.at && list.at < list.top + list.height);
                let (first, last) = list.shown_range().unwrap();
                prop_assert!(first >= 1 && first <= last && last <= first + list.height);
            }
        }
        // When the server is quiet again, both ends are the real ones.
        let order: Vec<u32> = server.in_order().iter().map(|(_, id)| *id).collect();
        let ascending = list.sort.is_some_and(|(_, descending)| !descending);
        let (first, last) = if ascending { (order.first(), order.last()) } else { (order.last(), order.first()) };
        list.to_end();
        server.take_in(&mut list, None);
        server.settle(&mut list);
        list.to_end();
        server.take_in(&mut list, None);
        server.settle(&mut list);
        prop_assert_eq!(list.rows.last().map(|item| item.1), last.copied());
        prop_assert_eq!(list.shown_range().map_or(0, |range| range.1), order.len());
        list.to_top();
        server.take_in(&mut list, None);
        server.settle(&mut list);
        prop_assert_eq!(list.rows.first().map(|item| item.1), first.copied());
        prop_assert_eq!(list.base, 0);
    }
}
