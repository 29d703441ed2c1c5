//! Sums by user, realm, secret and group.

use super::*;

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
    let used = books.secret_use(&realm("acme")).into_iter();
    let used: Vec<_> = used.map(|(id, used)| (id, used.sessions)).collect();
    assert_eq!(used, [("0011".to_owned(), 2)]);
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
                let bytes = rows.map(|row| row.unwrap().kept().tally.out_bytes);
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
