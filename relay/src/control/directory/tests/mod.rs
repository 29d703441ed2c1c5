//! The books of a node: reports, rates and what they add up to.

mod groups;
mod pages;

use shared::api::{GroupBy, GroupQuery, SessionView};
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
        let own = books.entries.iter().filter(|entry| entry.worker == worker);
        let relayed: Vec<_> = own.map(|s| (s.id.0, s.id.0 % 7 * 1000)).collect();
        books.report(worker, usage(&relayed), start);
    }
    books
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
    books.upsert(snapshot(SessionId(4), "b", "acme"), now);
    let lost = books.keep_only(WorkerId(0), &[SessionId(2), SessionId(4)], now);
    assert_eq!(lost.iter().map(|view| view.id.0).collect::<Vec<_>>(), [1]);
    let mut left: Vec<_> = books.ids().map(|id| id.0).collect();
    left.sort_unstable();
    assert_eq!(left, [2, 3, 4]);
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
            let transport = row.kept().transport.as_str();
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
    let some = books.rows(start).find(|row| row.worker() == WorkerId(0));
    let some = some.unwrap().id();
    // Named twice: counted once.
    let again = usage(&[(some.0, 900_000), (some.0, 950_000)]);
    books.report(WorkerId(0), again, at(start, 1000));
    check(&books, at(start, 1000));
    books.keep_only(WorkerId(1), &[], at(start, 1500));
    check(&books, at(start, 1500));
    assert_eq!(check(&books, at(start, 60_000)).rate_in_bps, 0);
}
