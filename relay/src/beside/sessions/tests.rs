//! What lists and messages make of the books.

use proptest::prelude::*;
use shared::Transport;

use super::*;
use crate::beside::records::Listing;
use crate::beside::stats::{self, What};
use crate::store::coturn_stats::SAMPLE;

fn naming() -> Naming {
    Naming {
        default_realm: "north.gov".parse().unwrap(),
        rest_separator: Some(':'),
    }
}

fn record(id: u64, username: &str, age_secs: u64) -> Record {
    Record {
        id,
        username: username.to_owned(),
        realm: "north.gov".to_owned(),
        age_secs,
        ttl_secs: 600,
        transport: Transport::Udp,
        relays_tcp: false,
        client: "192.0.2.1:5000".parse().unwrap(),
        server: "203.0.113.1:3478".parse().unwrap(),
        relays: vec![
            format!("203.0.113.1:{}", 50_000 + id % 1000)
                .parse()
                .unwrap(),
        ],
        is_mobile: false,
        max_bytes_per_sec: 0,
        usage: Usage::default(),
        peers: Vec::new(),
    }
}

fn at(start: Instant, secs: u64) -> Now {
    Now {
        mono: start + Duration::from_secs(secs),
        unix: 1_790_000_000 + secs,
    }
}

fn bytes(count: u64) -> Usage {
    Usage {
        in_packets: 1,
        in_bytes: count,
        out_packets: 1,
        out_bytes: 2 * count,
    }
}

fn start() -> Instant {
    Instant::now() + Duration::from_secs(10_000)
}

#[test]
fn a_session_keeps_its_id_and_is_told_of_when_it_changes() {
    let (mut sessions, t) = (Sessions::new(7), start());
    let made = sessions.take(vec![record(1, "alice", 5)], Scope::All, &naming(), at(t, 0));
    let [Event::SessionCreated(made)] = &made[..] else {
        panic!("{made:?}");
    };
    assert_eq!(
        (made.id, made.created_unix),
        (SessionId::new(7, 0), 1_790_000_000 - 5)
    );
    let later = Record {
        age_secs: 65,
        ttl_secs: 540,
        ..record(1, "alice", 5)
    };
    let same = sessions.take(vec![later.clone()], Scope::All, &naming(), at(t, 60));
    assert!(same.is_empty(), "only time went by: {same:?}");
    let talks = Record {
        peers: vec![
            ("198.51.100.1".parse().unwrap(), 0),
            ("198.51.100.1".parse().unwrap(), 9),
        ],
        ..later
    };
    let changed = sessions.take(vec![talks], Scope::All, &naming(), at(t, 61));
    let [Event::SessionChanged(changed)] = &changed[..] else {
        panic!("{changed:?}");
    };
    assert_eq!(changed.id, made.id);
    assert_eq!(changed.permissions.len(), 1);
    assert_eq!(changed.permissions[0].last_port, Some(9));
}

#[test]
fn who_is_not_listed_has_ended_where_the_list_was_about_them() {
    let (mut sessions, t) = (Sessions::new(7), start());
    let both = vec![record(1, "alice", 1), record(2, "bob", 1)];
    sessions.take(both, Scope::All, &naming(), at(t, 0));
    assert!(
        sessions
            .take(Vec::new(), Scope::Part, &naming(), at(t, 1))
            .is_empty()
    );
    let bob = sessions.find(SessionId::new(7, 1)).unwrap();
    assert_eq!(bob, (2, "bob"));
    sessions.doom(SessionId::new(7, 1), EndCause::Killed);
    let ended = sessions.take(Vec::new(), Scope::User("bob"), &naming(), at(t, 2));
    let killed = matches!(
        &ended[..],
        [Event::SessionEnded {
            cause: EndCause::Killed,
            ..
        }]
    );
    assert!(killed, "{ended:?}");
    let ended = sessions.take(Vec::new(), Scope::All, &naming(), at(t, 700));
    let expired = matches!(
        &ended[..],
        [Event::SessionEnded {
            cause: EndCause::Expired,
            ..
        }]
    );
    assert!(expired && sessions.len() == 0, "{ended:?}");
}

#[test]
fn no_session_outlives_its_time_unseen() {
    let (mut sessions, t) = (Sessions::new(7), start());
    sessions.take(vec![record(1, "alice", 1)], Scope::All, &naming(), at(t, 0));
    let early = sessions.take(Vec::new(), Scope::Part, &naming(), at(t, 600));
    assert!(early.is_empty(), "{early:?}");
    let late = at(t, 601 + MAX_HOLD.as_secs());
    let over = sessions.take(Vec::new(), Scope::Part, &naming(), late);
    assert!(
        matches!(&over[..], [Event::SessionEnded { .. }]),
        "{over:?}"
    );
}

#[test]
fn a_number_that_begins_anew_is_another_session() {
    let (mut sessions, t) = (Sessions::new(7), start());
    sessions.take(
        vec![record(1, "alice", 100)],
        Scope::All,
        &naming(),
        at(t, 0),
    );
    let events = sessions.take(vec![record(1, "alice", 1)], Scope::All, &naming(), at(t, 5));
    let [
        Event::SessionEnded { session, .. },
        Event::SessionCreated(other),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_ne!(*session, other.id);
}

#[test]
fn rates_are_of_the_time_between_two_figures_and_do_not_stay() {
    let (mut sessions, t) = (Sessions::new(7), start());
    sessions.take(vec![record(1, "alice", 0)], Scope::All, &naming(), at(t, 0));
    let listed = |secs: u64| Record {
        age_secs: secs,
        ttl_secs: 600 - secs,
        usage: bytes(10_000),
        ..record(1, "alice", 0)
    };
    sessions.take(vec![listed(10)], Scope::All, &naming(), at(t, 10));
    let (measured, server) = sessions.measure(at(t, 11).mono);
    assert_eq!(measured[0].2, (8_000, 16_000));
    assert_eq!(server.relayed_bytes, 30_000);
    // The list says the same again: nothing is counted twice.
    sessions.take(vec![listed(12)], Scope::All, &naming(), at(t, 12));
    let (measured, server) = sessions.measure(at(t, 12).mono);
    assert_eq!(
        (measured[0].2, server.relayed_bytes),
        ((8_000, 16_000), 30_000)
    );
    let (measured, _) = sessions.measure(at(t, 31).mono);
    assert_eq!(measured[0].2, (0, 0));
}

#[test]
fn totals_count_when_the_list_has_confirmed_the_end() {
    let (mut sessions, t) = (Sessions::new(7), start());
    let listed = |secs: u64| Record {
        age_secs: secs,
        usage: bytes(10_000),
        ..record(1, "alice", 0)
    };
    let ended = |events: Vec<Event>| match &events[..] {
        [Event::SessionEnded { counters, .. }] => counters.in_bytes,
        other => panic!("{other:?}"),
    };
    sessions.take(vec![listed(0)], Scope::All, &naming(), at(t, 0));
    // Another process of coturn had a session of that number and name.
    sessions.farewell(1, bytes(99_000_000));
    sessions.take(vec![listed(2)], Scope::All, &naming(), at(t, 2));
    let server = sessions.measure(at(t, 2).mono).1;
    assert_eq!(
        server.relayed_bytes, 0,
        "it goes on, and that was not its own"
    );
    assert_eq!(
        ended(sessions.take(Vec::new(), Scope::All, &naming(), at(t, 4))),
        10_000
    );
    sessions.take(vec![listed(0)], Scope::All, &naming(), at(t, 4));
    sessions.farewell(1, bytes(9_000));
    assert_eq!(
        ended(sessions.take(Vec::new(), Scope::All, &naming(), at(t, 6))),
        10_000,
        "less than the list had is another's"
    );
    sessions.take(vec![listed(0)], Scope::All, &naming(), at(t, 6));
    sessions.farewell(1, bytes(12_000));
    let events = sessions.take(Vec::new(), Scope::User("alice"), &naming(), at(t, 8));
    assert_eq!(ended(events), 12_000, "its own, confirmed");
    let server = sessions.measure(at(t, 8).mono).1;
    assert_eq!(server.relayed_bytes, 6_000);
}

#[test]
fn two_processes_of_coturn_have_no_session_in_common() {
    let (mut sessions, t) = (Sessions::new(7), start());
    let before = vec![record(1, "alice", 100), record(2, "bob", 100)];
    assert!(!sessions.knows_any(&before, t));
    sessions.take(before, Scope::All, &naming(), at(t, 0));
    let later = at(t, 30).mono;
    assert!(sessions.knows_any(&[record(9, "eve", 1), record(2, "bob", 130)], later));
    let anew = [record(1, "alice", 1), record(2, "alice", 130)];
    assert!(!sessions.knows_any(&anew, later) && !sessions.knows_any(&[], later));
}

#[test]
fn time_limited_names_have_a_user_and_nobody_is_anonymous() {
    let (mut sessions, t) = (Sessions::new(7), start());
    let nobody = Record {
        realm: String::new(),
        ..record(2, "", 0)
    };
    let all = vec![record(1, "1790000600:bob", 0), nobody];
    sessions.take(all, Scope::All, &naming(), at(t, 0));
    let bob = sessions.snapshot(SessionId::new(7, 0)).unwrap();
    assert_eq!(
        (&*bob.user, bob.credential_expiry),
        ("bob", Some(1_790_000_600))
    );
    let nobody = sessions.snapshot(SessionId::new(7, 1)).unwrap();
    assert_eq!(
        (nobody.username.as_str(), nobody.realm.as_str()),
        (ANONYMOUS, "north.gov")
    );
}

/// Times and totals as they may be printed: any, and the greatest.
fn figures() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(u64::MAX), 0_u64..1000]
}

proptest! {
    /// Whatever times and totals are told, the clock and the sums bear it.
    #[test]
    fn no_figure_is_too_great(
        figures in prop::collection::vec((figures(), figures(), figures(), figures()), 1..8)
    ) {
        let text = include_str!("../transcripts/ps-4.6.1.txt");
        let (mut sessions, t) = (Sessions::new(7), start());
        for (step, (age, ttl, count, refresh)) in figures.into_iter().enumerate() {
            let mut listing = Listing::default();
            for line in text.lines() {
                let line = match line.trim() {
                    line if line.starts_with("started") => format!("      started {age} secs ago"),
                    line if line.starts_with("expiring") => format!("      expiring in {ttl} secs"),
                    line if line.starts_with("usage") => {
                        format!("      usage: rp={count}, rb={count}, sp={count}, sb={count}")
                    }
                    _ => line.to_owned(),
                };
                listing.line(&line);
            }
            let listed = listing.finish();
            prop_assert!(listed.is_whole());
            let now = at(t, step as u64);
            sessions.take(listed.records, Scope::All, &naming(), now);
            let said = stats::read(SAMPLE, &format!("refreshed lifetime={refresh}"));
            let Some(What::Refreshed(secs)) = said.map(|said| said.what) else {
                panic!("{refresh} was not read");
            };
            for number in [1, 1_000_000_000_000_001] {
                sessions.refreshed(number, secs, now.mono);
            }
            sessions.take(Vec::new(), Scope::Part, &naming(), at(t, step as u64 + 1));
            sessions.measure(now.mono);
            prop_assert_eq!(sessions.len(), 3);
        }
    }

    /// Whatever lists come in whatever order, the events add up to the last one.
    #[test]
    fn events_add_up_to_the_last_list(
        lists in prop::collection::vec(prop::collection::vec((0_u64..6, 0_u64..3, 0_u64..40), 0..8), 1..10)
    ) {
        let (mut sessions, t) = (Sessions::new(7), start());
        let mut books = HashSet::new();
        for (step, list) in lists.into_iter().enumerate() {
            let mut listed: Vec<Record> = Vec::new();
            for (id, name, age) in list {
                if listed.iter().all(|record| record.id != id) {
                    listed.push(record(id, &format!("user{name}"), age));
                }
            }
            let count = listed.len();
            for event in sessions.take(listed, Scope::All, &naming(), at(t, step as u64)) {
                match event {
                    Event::SessionCreated(made) => prop_assert!(books.insert(made.id)),
                    Event::SessionEnded { session, .. } => prop_assert!(books.remove(&session)),
                    Event::SessionChanged(changed) => prop_assert!(books.contains(&changed.id)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!((books.len(), sessions.len()), (count, count));
        }
    }
}
