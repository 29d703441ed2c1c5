use shared::filter::SortKey;

use super::query::{QueryError, SessionAnswer, SessionQuestion};
use super::*;
use crate::control::testing::{realm, snapshot};

fn directory() -> Directory {
    let labels = BTreeMap::from([("region".to_owned(), "fra".to_owned())]);
    Directory::new("n1".parse().unwrap(), labels)
}

fn at(start: Moment, millis: u64) -> Moment {
    Moment {
        mono: start.mono + Duration::from_millis(millis),
        unix_ms: start.unix_ms + millis,
    }
}

fn usage(sessions: &[(u64, u64)]) -> UsageReport {
    let sessions = sessions.iter().map(|(id, bytes)| {
        let counters = SessionCounters {
            in_bytes: *bytes,
            ..SessionCounters::default()
        };
        (SessionId(*id), counters)
    });
    UsageReport {
        sessions: sessions.collect(),
        ..UsageReport::default()
    }
}

fn question(sort: &str, limit: usize) -> SessionQuestion {
    SessionQuestion {
        filter: String::new(),
        sort: sort.to_owned(),
        after: None,
        ranking: None,
        limit,
        realms: Vec::new(),
    }
}

fn ids(answer: &SessionAnswer) -> Vec<u64> {
    answer.rows.iter().map(|(_, row)| row.id.0).collect()
}

#[test]
fn rates_are_deltas_between_reports_and_zero_without_one() {
    let start = Moment::now();
    let mut books = directory();
    books.upsert(snapshot(SessionId(1), "alice", "acme"), start);
    books.report(WorkerId(0), usage(&[]), start);
    books.report(WorkerId(0), usage(&[(1, 1000)]), at(start, 1000));
    let rate =
        |books: &mut Directory, now| books.entry(SessionId(1), now).unwrap().view.rate_in_bps;
    assert_eq!(rate(&mut books, at(start, 1000)), 8000);
    // Described in between: totals move, the rate stays.
    let mut described = snapshot(SessionId(1), "alice", "acme");
    described.counters.in_bytes = 1500;
    books.upsert(described, at(start, 1500));
    assert_eq!(rate(&mut books, at(start, 1500)), 8000);
    books.report(WorkerId(0), usage(&[(1, 3000)]), at(start, 2000));
    assert_eq!(rate(&mut books, at(start, 2000)), 16_000);
    books.report(WorkerId(0), usage(&[]), at(start, 3000));
    assert_eq!(rate(&mut books, at(start, 3000)), 0);
}

#[test]
fn a_worker_that_reports_no_more_has_no_rates() {
    let start = Moment::now();
    let mut books = directory();
    books.upsert(snapshot(SessionId(1), "alice", "acme"), start);
    books.report(WorkerId(0), usage(&[(1, 1000)]), start);
    assert!(books.entry(SessionId(1), start).unwrap().view.rate_in_bps > 0);
    let later = at(start, 3000);
    assert_eq!(
        books.entry(SessionId(1), later).unwrap().view.rate_in_bps,
        0
    );
}

#[test]
fn a_snapshot_removes_what_it_does_not_name_and_keeps_other_workers() {
    let now = Moment::now();
    let mut books = directory();
    for id in 1..=3 {
        let mut session = snapshot(SessionId(id), "alice", "acme");
        session.worker = WorkerId(u16::from(id == 3));
        books.upsert(session, now);
    }
    let named = vec![
        snapshot(SessionId(2), "alice", "acme"),
        snapshot(SessionId(4), "b", "acme"),
    ];
    let lost = books.replace_worker(WorkerId(0), named, now);
    assert_eq!(lost.iter().map(|view| view.id.0).collect::<Vec<_>>(), [1]);
    let mut left: Vec<_> = books.ids().map(|id| id.0).collect();
    left.sort_unstable();
    assert_eq!(left, [2, 3, 4]);
}

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
    assert_eq!(ids(&first), [4, 5, 2]);
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
    assert_eq!(ids(&second), [3, 1]);
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

#[test]
fn sums_are_by_user_realm_and_secret() {
    let now = Moment::now();
    let mut books = directory();
    for id in 1..=3 {
        let mut session = snapshot(SessionId(id), if id == 3 { "b" } else { "a" }, "acme");
        session.secret_id = (id > 1).then(|| "0011".into());
        books.upsert(session, now);
    }
    books.report(WorkerId(0), usage(&[(1, 1000), (2, 1000)]), now);
    let (users, count) = books.user_loads(&[], 1, now);
    assert_eq!(count, 2);
    assert_eq!((users[0].user.as_str(), users[0].load.sessions), ("a", 2));
    assert_eq!(users[0].load.rate_in_bps, 16_000);
    let realms = books.realm_loads(now);
    assert_eq!((realms[0].users, realms[0].load.sessions), (2, 3));
    assert_eq!(
        books.secret_use(&realm("acme")),
        BTreeMap::from([("0011".to_owned(), 2)])
    );
    assert_eq!(
        books.node_load(now).1,
        BTreeMap::from([("udp".to_owned(), 3)])
    );
}

#[test]
fn a_prefix_counts_its_matches() {
    let now = Moment::now();
    let mut books = directory();
    for count in 1..=3 {
        books.upsert(
            snapshot(SessionId::new(0xabcd_ef01, count), "u", "acme"),
            now,
        );
    }
    let found = |text: &str| books.by_prefix(text.parse().unwrap());
    assert_eq!(found("abcdef").1, 3);
    assert_eq!(
        found("abcdef0100000002"),
        (vec![SessionId::new(0xabcd_ef01, 2)], 1)
    );
    assert_eq!(found("000000").1, 0);
}

#[test]
fn new_peers_are_counted_over_ten_seconds_from_descriptions_and_reports() {
    let start = Moment::now();
    let mut books = directory();
    let described = |count| {
        let mut session = snapshot(SessionId(1), "alice", "acme");
        session.counters.new_peers = count;
        session
    };
    // What was permitted before the books knew the session is no part of the last ten seconds.
    books.upsert(described(200), start);
    let per_sec = |books: &mut Directory, now| {
        let entry = books.entry(SessionId(1), now).unwrap();
        entry.view.new_peers_per_sec
    };
    assert_eq!(per_sec(&mut books, start), 0.0);
    books.upsert(described(230), at(start, 1000));
    assert_eq!(per_sec(&mut books, at(start, 1000)), 3.0);
    // The same total in a report counts nothing twice.
    let mut report = usage(&[(1, 1000)]);
    report.sessions[0].1.new_peers = 231;
    books.report(WorkerId(0), report, at(start, 2000));
    assert_eq!(per_sec(&mut books, at(start, 2000)), 3.1);
    let mut ranked = question("newpeers:desc", 10);
    ranked.ranking = Some(1);
    assert!(query::needs_ranking("newpeers"));
    let page = books.page(&ranked, at(start, 2000)).unwrap();
    assert_eq!(page.rows[0].0, SortKey::Number(3.1));
    assert_eq!(per_sec(&mut books, at(start, 20_000)), 0.0);
}
