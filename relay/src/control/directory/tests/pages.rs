//! Lists: filters, orders and pages, while sessions come and go.

use super::*;

#[test]
fn pages_by_a_stable_column_continue_after_the_last_row() {
    let now = Moment::now();
    let mut books = directory();
    for id in 1..=5 {
        books.upsert(
            snapshot(SessionId(id), &format!("u{}", id / 2), "acme"),
            now,
        );
    }
    let first = books.page(&question("user:desc", 3), now).unwrap();
    assert_eq!(ids(&first), [5, 4, 3]);
    assert_eq!((first.matched, first.total, first.more), (5, 5, true));
    let (key, row) = first.rows.last().unwrap();
    let after = Some((key.clone(), row.id));
    let second = books
        .page(
            &SessionQuestion {
                after,
                ..question("user:desc", 3)
            },
            now,
        )
        .unwrap();
    assert_eq!(ids(&second), [2, 1]);
    assert!(!second.more);
}

#[test]
fn pages_by_rate_follow_the_ranking_while_rates_change() {
    let start = Moment::now();
    let mut books = directory();
    for id in 1..=4 {
        books.upsert(snapshot(SessionId(id), "u", "acme"), start);
    }
    books.report(
        WorkerId(0),
        usage(&[(1, 100), (2, 200), (3, 300), (4, 400)]),
        start,
    );
    let first = SessionQuestion {
        ranking: Some(9),
        ..question("rate:desc", 2)
    };
    let first = books.page(&first, start).unwrap();
    assert_eq!(ids(&first), [4, 3]);
    // Now the last is the fastest; the pages go on as they began.
    books.report(WorkerId(0), usage(&[(1, 99_999)]), at(start, 1000));
    let (key, row) = first.rows.last().unwrap();
    let after = Some((key.clone(), row.id));
    let next = SessionQuestion {
        ranking: Some(9),
        after,
        ..question("rate:desc", 2)
    };
    let second = books.page(&next, at(start, 1000)).unwrap();
    assert_eq!(ids(&second), [2, 1]);
    assert!(!second.more);
    assert!(second.rows[1].1.rate_in_bps > 0, "rows are live");
    assert_eq!(
        books.page(&next, at(start, 31_000)),
        Err(QueryError::RankingGone)
    );
}

#[test]
fn filter_scope_and_labels_apply_before_the_cut() {
    let now = Moment::now();
    let mut books = directory();
    books.upsert(snapshot(SessionId(1), "alice", "acme"), now);
    books.upsert(snapshot(SessionId(2), "bob", "acme"), now);
    books.upsert(snapshot(SessionId(3), "bob", "globex"), now);
    let filtered = |filter: &str, realms: Vec<Realm>| SessionQuestion {
        filter: filter.to_owned(),
        realms,
        ..question("id", 10)
    };
    let answer = books
        .page(&filtered("user=bob label.region=fra", Vec::new()), now)
        .unwrap();
    assert_eq!(
        (ids(&answer), answer.matched, answer.total),
        (vec![2, 3], 2, 3)
    );
    let answer = books
        .page(&filtered("", vec![realm("globex")]), now)
        .unwrap();
    assert_eq!(
        (ids(&answer), answer.matched, answer.total),
        (vec![3], 1, 1)
    );
    let answer = books.page(
        &filtered("peer=198.51.100.0/24 relay=:50000", Vec::new()),
        now,
    );
    assert_eq!(answer.unwrap().matched, 3);
    assert!(matches!(
        books.page(&filtered("nonsense=1", Vec::new()), now),
        Err(QueryError::Invalid(_))
    ));
}

#[test]
fn age_orders_by_the_start() {
    let now = Moment::now();
    let mut books = directory();
    for (id, started) in [(1, 100), (2, 50), (3, 200)] {
        let mut session = snapshot(SessionId(id), "u", "acme");
        session.created_unix = started;
        books.upsert(session, now);
    }
    let oldest = books.page(&question("age:desc", 10), now).unwrap();
    assert_eq!(ids(&oldest), [2, 1, 3]);
    assert_eq!(oldest.rows[0].0, SortKey::Number(-50_000.0));
}

/// Every column, labels included.
fn columns() -> impl Iterator<Item = &'static str> {
    let names = SESSION_COLUMNS.iter().map(|column| column.name);
    let labels = ["label.region", "label.none"];
    names.filter(|name| *name != "label.*").chain(labels)
}

#[test]
fn columns_of_an_entry_are_those_of_its_row() {
    let start = Moment::now();
    let books = varied_directory(200, start);
    let now = at(start, 700);
    for column in columns() {
        let field = Field::new(column, books.whose(), &books.labels);
        let sort = SortSpec::parse(column, SESSION_COLUMNS).unwrap();
        for row in books.rows(now) {
            let view = row.view();
            let listed = LabelledSession {
                session: &view,
                labels: &books.labels,
            };
            let (mut of_row, mut of_entry) = (Vec::new(), Vec::new());
            listed.values(column, &mut |value| of_row.push(SortKey::from(value)));
            row.values(field, &mut |value| of_entry.push(SortKey::from(value)));
            if column == "peer" {
                // The row leaves the permission of a bound peer out.
                assert!(of_row.iter().all(|peer| of_entry.contains(peer)));
                of_entry.truncate(of_row.len());
            }
            assert_eq!(of_row, of_entry, "{column}");
            assert_eq!(
                row.key(field).owned(),
                query::sort_key(&sort, &listed),
                "{column}"
            );
        }
    }
}

const FILTERS: [&str; 7] = [
    "",
    "user~bob",
    "transport=udp|tls !user=alice rate>8",
    "client~203.0.113.1: label.region=fra",
    "bob",
    "peer=198.51.100.9:7001",
    "id=abcd0001 node=n1 stale=no",
];

#[test]
fn a_ranking_made_for_somebody_else_shows_only_the_callers_realms() {
    let now = Moment::now();
    let mut books = directory();
    for (id, realm) in [(1, "acme"), (2, "globex"), (3, "acme"), (4, "globex")] {
        books.upsert(snapshot(SessionId(id), "u", realm), now);
    }
    let mut question = question("rate:desc", 1);
    question.ranking = Some(9);
    let first = books.page(&question, now).unwrap();
    assert_eq!(ids(&first), [4]);
    let (key, row) = &first.rows[0];
    question.after = Some((key.clone(), row.id));
    question.realms = vec![realm("acme")];
    question.limit = 10;
    let second = books.page(&question, now).unwrap();
    assert_eq!(ids(&second), [3, 1]);
}

#[test]
fn pages_put_together_are_the_whole_list_in_every_order() {
    let start = Moment::now();
    let mut books = varied_directory(700, start);
    for column in columns() {
        for (number, filter) in FILTERS.iter().enumerate() {
            let direction = ["asc", "desc"][number % 2];
            let mut question = question(&format!("{column}:{direction}"), 1 + 97 * number);
            question.filter = (*filter).to_owned();
            question.ranking = query::needs_ranking(column).then_some(number as u64);
            if number == 3 {
                question.realms = vec![realm("globex")];
            }
            let (wanted, total) = expected(&books, &question, start);
            let mut got = Vec::new();
            for _ in 0..=wanted.len() / question.limit {
                let page = books.page(&question, start).unwrap();
                assert_eq!((page.matched, page.total), (wanted.len() as u64, total));
                assert!(page.rows.len() <= question.limit);
                got.extend(ids(&page));
                assert_eq!(page.more, got.len() < wanted.len(), "{column} {filter}");
                let Some((key, row)) = page.rows.last() else {
                    break;
                };
                question.after = Some((key.clone(), row.id));
                if question.limit == 1 && got.len() > 20 {
                    break;
                }
            }
            assert_eq!(got, wanted[..got.len()], "{column} {filter}");
            assert!(got.len() == wanted.len() || question.limit == 1);
        }
    }
}

#[test]
fn pages_neither_repeat_nor_miss_what_lives_while_sessions_come_and_go() {
    for (column, ranking) in [("user", None), ("id", None), ("bytes:desc", Some(5))] {
        let start = Moment::now();
        let mut books = varied_directory(600, start);
        let mut question = question(column, 50);
        question.ranking = ranking;
        let (before, _) = expected(&books, &question, start);
        let mut got: Vec<u64> = Vec::new();
        let mut ended = HashSet::new();
        for round in 0_u64..100 {
            let page = books.page(&question, start).unwrap();
            let (now_there, total) = expected(&books, &question, start);
            assert_eq!(page.matched, now_there.len() as u64);
            assert_eq!(page.total, total);
            got.extend(ids(&page));
            let Some((key, row)) = page.rows.last() else {
                break;
            };
            question.after = Some((key.clone(), row.id));
            for id in before.iter().filter(|id| *id % 13 == round % 13).take(9) {
                if books
                    .remove(SessionId(*id), &SessionCounters::default(), start)
                    .is_some()
                {
                    ended.insert(*id);
                }
            }
            books.upsert(varied(1000 + round, start), start);
        }
        let unique: HashSet<_> = got.iter().collect();
        assert_eq!(unique.len(), got.len(), "{column}: nothing twice");
        let lived = before.iter().filter(|id| !ended.contains(*id));
        let seen: Vec<_> = got.iter().filter(|id| before.contains(id)).collect();
        assert!(
            lived.clone().all(|id| unique.contains(id)),
            "{column}: nothing missed"
        );
        let order: Vec<_> = before.iter().filter(|id| unique.contains(id)).collect();
        assert_eq!(seen, order, "{column}: in order");
        assert!(!ended.is_empty());
    }
}
