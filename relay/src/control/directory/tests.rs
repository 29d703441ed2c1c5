use shared::api::{GroupBy, GroupQuery};
use shared::filter::{
    Filter, LabelledSession, Row as _, SESSION_COLUMNS, SortKey, SortSpec, equals,
};

use super::field::Field;
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
        |books: &mut Directory, now| books.row(SessionId(1), now).unwrap().view().rate_in_bps;
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
    assert!(books.row(SessionId(1), start).unwrap().view().rate_in_bps > 0);
    let later = at(start, 3000);
    assert_eq!(
        books.row(SessionId(1), later).unwrap().view().rate_in_bps,
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
    assert_eq!((realms[0].users.count(), realms[0].load.sessions), (2, 3));
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
        let row = books.row(SessionId(1), now).unwrap();
        row.new_peers_per_sec()
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

/// Sessions that differ in every column, many of them equal in some.
fn varied(number: u64, start: Moment) -> SessionSnapshot {
    let die = |salt: u64, sides: u64| {
        let product = (number * 31 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> 40) % sides
    };
    let user = ["", "alice", "bob-1", "Bob-2", "\u{202e}zoë"][die(1, 5) as usize];
    let mut session = snapshot(
        SessionId::new(0xabcd_0000 + die(9, 3) as u32, number as u32),
        user,
        ["acme", "globex"][die(2, 2) as usize],
    );
    session.worker = WorkerId(die(3, 3) as u16);
    session.tuple.transport = Transport::ALL[die(4, 4) as usize];
    session.tuple.client = match die(5, 3) {
        0 => "[2001:db8::7]:1024".parse().unwrap(),
        n => format!("203.0.113.{n}:{}", 1000 + die(6, 50))
            .parse()
            .unwrap(),
    };
    session.created = start.mono;
    session.created_unix = 1_700_000_000 + die(7, 20);
    session.expires = start.mono + Duration::from_millis(1 + 400 * die(8, 900));
    session.max_rate_bps = (die(10, 2) == 0).then_some(1000 * die(11, 5));
    session.secret_id = (die(12, 3) == 0).then(|| format!("{:04x}", die(13, 9)).into());
    if die(14, 2) == 0 {
        session.permissions.clear();
    }
    if die(15, 2) == 0 {
        session.channels.push(turn_proto::server::ChannelSnapshot {
            number: 0x4000,
            peer: format!("198.51.100.9:{}", 7000 + die(16, 2))
                .parse()
                .unwrap(),
            expires: start.mono + Duration::from_secs(100),
        });
    }
    session.counters.out_bytes = 100 * die(17, 40);
    session.counters.in_packets = die(18, 10);
    session.counters.drop_over_rate = die(19, 4);
    session
}

fn varied_directory(count: u64, start: Moment) -> Directory {
    let mut books = directory();
    for number in 0..count {
        books.upsert(varied(number, start), start);
    }
    for worker in (0..3).map(WorkerId) {
        let own = books.entries.iter().map(|entry| &entry.snapshot);
        let own = own.filter(|session| session.worker == worker);
        let relayed: Vec<_> = own.map(|s| (s.id.0, s.id.0 % 7 * 1000)).collect();
        books.report(worker, usage(&relayed), start);
    }
    books
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
        let field = Field::new(column, &books.node, &books.labels);
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

/// What a page has to be, worked out the plain way.
fn expected(books: &Directory, question: &SessionQuestion, now: Moment) -> (Vec<u64>, u64) {
    let filter = Filter::parse(&question.filter, SESSION_COLUMNS).unwrap();
    let sort = SortSpec::parse(&question.sort, SESSION_COLUMNS).unwrap();
    let views: Vec<_> = books.rows(now).map(|row| row.view()).collect();
    let scope =
        |view: &&SessionView| question.realms.is_empty() || question.realms.contains(&view.realm);
    let total = views.iter().filter(scope).count() as u64;
    let mut rows: Vec<_> = views
        .iter()
        .filter(scope)
        .map(|session| LabelledSession {
            session,
            labels: &books.labels,
        })
        .filter(|row| filter.matches(row))
        .map(|row| (query::sort_key(&sort, &row), row.session.id))
        .collect();
    rows.sort_by(|a, b| query::position_order(&sort, (&a.0, a.1), (&b.0, b.1)));
    (rows.into_iter().map(|(_, id)| id.0).collect(), total)
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

#[test]
fn the_nodes_load_is_the_sum_of_its_sessions() {
    let start = Moment::now();
    let mut books = varied_directory(300, start);
    let check = |books: &Directory, now: Moment| {
        let (load, transports) = books.node_load(now);
        let mut sum = aggregate::Load::default();
        let mut by_transport: BTreeMap<String, u64> = BTreeMap::new();
        for row in books.rows(now) {
            sum.add(aggregate::Load::of(&row));
            let transport = row.snapshot().tuple.transport.as_str();
            *by_transport.entry(transport.to_owned()).or_default() += 1;
        }
        assert_eq!((load, transports), (sum, by_transport));
        load
    };
    assert!(check(&books, start).rate_in_bps > 0);
    let some: Vec<_> = books.ids().filter(|id| id.0 % 5 == 0).collect();
    for id in some {
        books.remove(id, &SessionCounters::default(), start);
    }
    check(&books, start);
    let some = books
        .rows(start)
        .find(|row| row.snapshot().worker == WorkerId(0));
    let some = some.unwrap().snapshot().id;
    // Named twice: counted once.
    let again = usage(&[(some.0, 900_000), (some.0, 950_000)]);
    books.report(WorkerId(0), again, at(start, 1000));
    check(&books, at(start, 1000));
    books.replace_worker(WorkerId(1), Vec::new(), at(start, 1500));
    check(&books, at(start, 1500));
    assert_eq!(check(&books, at(start, 60_000)).rate_in_bps, 0);
}

fn refused(user: &str, count: u64) -> shared::api::RefusalView {
    shared::api::RefusalView {
        id: String::new(),
        at_ms: 0,
        node: "n1".parse().unwrap(),
        source: "[2001:db8::1]:1".parse().unwrap(),
        realm: Some(realm("acme")),
        user: Some(user.to_owned()),
        session: None,
        peer: Some("198.51.100.9".to_owned()),
        reason: "user_quota".to_owned(),
        code: Some(486),
        count,
    }
}

#[test]
fn groups_add_up_what_their_filters_select() {
    let start = Moment::now();
    let books = varied_directory(500, start);
    let refused = [
        refused("alice", 3),
        refused("alice", 4),
        refused("nobody", 2),
    ];
    for by in GroupBy::ALL {
        for filter in ["", "transport=udp|tls rate>0"] {
            let query = GroupQuery {
                filter: Some(filter.to_owned()),
                ..GroupQuery::new(by)
            };
            let answer = books.groups(&query, &[], &refused, start).unwrap();
            assert_eq!(answer.count, answer.groups.len() as u64);
            assert!(
                answer
                    .groups
                    .is_sorted_by_key(|g| { std::cmp::Reverse(g.rate_in_bps + g.rate_out_bps) })
            );
            for group in &answer.groups {
                let mut of_group = question("id", 1000);
                let realm = group.realm.as_ref().map(|r| equals("realm", r.as_str()));
                of_group.filter = format!(
                    "{filter} {} {}",
                    equals(by.as_str(), &group.key),
                    realm.unwrap_or_default()
                );
                let (selected, _) = expected(&books, &of_group, start);
                assert_eq!(selected.len() as u64, group.sessions, "{}", of_group.filter);
                let rows = selected.iter().map(|id| books.row(SessionId(*id), start));
                let bytes = rows.map(|row| row.unwrap().snapshot().counters.out_bytes);
                assert_eq!(bytes.sum::<u64>(), group.out_bytes);
            }
            let refusals: u64 = answer.groups.iter().map(|g| g.refusals).sum();
            let known = by != GroupBy::User || filter.is_empty();
            assert_eq!(refusals, if known { 9 } else { 7 }, "{by} {filter}");
        }
    }
    let by_user = GroupQuery {
        sort: Some("refusals".to_owned()),
        ..GroupQuery::new(GroupBy::User)
    };
    let own = [realm("globex")];
    let confined = books.groups(&by_user, &own, &[], start).unwrap();
    let foreign = |g: &&shared::api::GroupView| g.realm.as_ref() != Some(&own[0]);
    assert!(confined.count > 0 && !confined.groups.iter().any(|g| foreign(&g)));
    let first = &books.groups(&by_user, &[], &refused, start).unwrap().groups[0];
    assert_eq!((first.key.as_str(), first.refusals), ("alice", 7));
    assert!(matches!(
        books.groups(
            &GroupQuery {
                sort: Some("nonsense".to_owned()),
                ..by_user
            },
            &[],
            &[],
            start
        ),
        Err(QueryError::Invalid(_))
    ));
}

#[test]
fn a_node_tells_its_largest_groups_and_how_many_there_are() {
    let start = Moment::now();
    let mut books = directory();
    for number in 0..2500_u64 {
        let name = format!("{number:04}{}", "\u{1}".repeat(290));
        for copy in 0..=number % 2 {
            books.upsert(snapshot(SessionId(number * 2 + copy), &name, "acme"), start);
        }
    }
    let query = GroupQuery {
        sort: Some("sessions".to_owned()),
        ..GroupQuery::new(GroupBy::User)
    };
    let answer = books.groups(&query, &[], &[], start).unwrap();
    assert_eq!(answer.count, 2500);
    assert!(answer.groups.len() > 1000 && answer.groups.len() < 2000);
    assert!(
        answer.groups[..1000]
            .iter()
            .all(|group| group.sessions == 2)
    );
    let message = serde_json::to_vec(&answer).unwrap();
    assert!(message.len() < crate::control::cluster::message::MAX_MESSAGE);
}
