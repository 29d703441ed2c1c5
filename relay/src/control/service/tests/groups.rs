//! Sessions in groups, over nodes.

use shared::api::{GroupBy, GroupQuery, ListQuery, Role, Scope};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_added_up_over_nodes_and_their_filters_select_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 0xaaaa_0001, &store, dir.path()).await;
    let b = TestNode::start("b", 0xbbbb_0002, &store, dir.path()).await;
    let hostile = "x\" |realm=acme\u{1b}[2J";
    for (node, count, user, in_realm) in [
        (&a, 1, "alice", "acme"),
        (&a, 2, hostile, "acme"),
        (&b, 1, "alice", "acme"),
        (&b, 2, "alice", "globex"),
        (&b, 3, "", "acme"),
    ] {
        node.workers
            .create(snapshot(node.session(count), user, in_realm));
    }
    let by = GroupQuery::new;
    eventually("all sessions are counted", async || {
        let page = b.service.session_groups(&admin(), &by(GroupBy::Node)).await;
        let page = page.unwrap();
        page.missing.is_empty() && page.items.iter().map(|g| g.sessions).sum::<u64>() == 5
    })
    .await;
    for kind in GroupBy::ALL {
        for filter in [
            None,
            Some("client=203.0.113.7 !id=aaaa000100000001".to_owned()),
        ] {
            let query = GroupQuery {
                sort: Some("sessions:desc".into()),
                filter,
                ..by(kind)
            };
            let page = a.service.session_groups(&admin(), &query).await.unwrap();
            assert_eq!(page.matched, page.items.len() as u64);
            for group in page.items {
                let of_group = ListQuery {
                    filter: Some(group.filter.clone()),
                    ..ListQuery::default()
                };
                let sessions = a.service.sessions(&admin(), &of_group).await.unwrap();
                assert_eq!(sessions.matched, group.sessions, "{}", group.filter);
                assert!(!group.approximate);
            }
        }
    }
    let users = a.service.session_groups(&admin(), &by(GroupBy::User)).await;
    let users = users.unwrap().items;
    let rows: Vec<_> = users.iter().map(|g| (g.key.as_str(), g.sessions)).collect();
    assert_eq!(rows, [("", 1), ("alice", 2), ("alice", 1), (hostile, 1)]);
    let confined = caller(Role::Viewer, &["globex"]);
    let nodes = a
        .service
        .session_groups(&confined, &by(GroupBy::Node))
        .await;
    let nodes = nodes.unwrap().items;
    let rows: Vec<_> = nodes.iter().map(|g| (g.key.as_str(), g.sessions)).collect();
    assert_eq!(rows, [("b", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_for_itself_and_refuses_what_makes_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 0xaaaa_0001, &store, dir.path()).await;
    for (count, user) in [(1, "alice"), (2, "bob")] {
        a.workers.create(snapshot(a.session(count), user, "acme"));
    }
    a.has_sessions(2).await;
    let by = GroupQuery::new;
    let own = GroupQuery {
        scope: Some(Scope::Node),
        limit: Some(1),
        ..by(GroupBy::User)
    };
    let page = a.service.session_groups(&admin(), &own).await.unwrap();
    assert_eq!((page.items.len(), page.matched), (1, 2));
    for (filter, sort) in [("nonsense=1", "rate"), ("", "ttl")] {
        let query = GroupQuery {
            filter: Some(filter.into()),
            sort: Some(sort.into()),
            ..by(GroupBy::User)
        };
        let error = a
            .service
            .session_groups(&admin(), &query)
            .await
            .unwrap_err();
        assert_eq!(error.error, ErrorKind::BadRequest);
    }
}
