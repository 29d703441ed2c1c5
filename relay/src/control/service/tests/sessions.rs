//! Sessions of several nodes in one list, and their ends.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_listed_described_and_killed_from_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 0xaaaa_0001, &store, dir.path()).await;
    let b = TestNode::start("b", 0xbbbb_0002, &store, dir.path()).await;
    for count in 1..=3 {
        a.workers
            .create(snapshot(a.session(count), "alice", "acme"));
    }
    b.workers.create(snapshot(b.session(1), "bob", "acme"));
    let everything = ListQuery::default();
    eventually("b lists the sessions of both", async || {
        let page = b.service.sessions(&admin(), &everything).await.unwrap();
        page.total == 4 && page.missing.is_empty()
    })
    .await;
    a.workers.report(&[(a.session(2), 1_000_000)]);
    let by_rate = ListQuery {
        sort: Some("rate:desc".into()),
        limit: Some(1),
        ..ListQuery::default()
    };
    eventually("the fastest is first", async || {
        let page = b.service.sessions(&admin(), &by_rate).await.unwrap();
        page.items[0].id == a.session(2) && page.items[0].rate_in_bps > 0 && page.next.is_some()
    })
    .await;
    let id = a.session(1).to_string();
    let detail = b.service.session(&admin(), &id).await.unwrap();
    assert_eq!(detail.session.node, a.id);
    assert_eq!(detail.session.peers, ["198.51.100.9:7000"]);
    let ambiguous = b.service.session(&admin(), "aaaa00").await.unwrap_err();
    assert_eq!(ambiguous.error, ErrorKind::Conflict);
    let killed = b
        .service
        .kill_session(&admin(), &id, KillRequest::default())
        .await
        .unwrap();
    assert_eq!((killed.node, killed.user.as_str()), (a.id.clone(), "alice"));
    a.has_sessions(2).await;
    let gone = b
        .service
        .kill_session(&admin(), &id, KillRequest::default())
        .await
        .unwrap_err();
    assert_eq!(gone.error, ErrorKind::NotFound);
    let users = b
        .service
        .users(&admin(), &ListQuery::default())
        .await
        .unwrap();
    let sessions: Vec<_> = users
        .items
        .iter()
        .map(|u| (u.name.as_str(), u.sessions))
        .collect();
    assert_eq!(sessions, [("alice", 2), ("bob", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_named_and_its_rows_are_marked_stale() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    b.workers.create(snapshot(b.session(1), "bob", "acme"));
    eventually("a sees b's session", async || {
        a.service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 1
    })
    .await;
    let kill = || SessionsKill {
        filter: Some("realm=acme".into()),
        expected: 10,
        dry_run: true,
        ..SessionsKill::default()
    };
    let job = a.service.start_kill_job(&admin(), kill()).await.unwrap();
    assert_eq!((job.total, job.missing.len()), (1, 0));
    // b's tasks end, but it says no goodbye.
    b.cancel.cancel();
    drop(b.handle);
    eventually("b is missing and its row is stale", async || {
        let page = a
            .service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap();
        page.missing.len() == 1 && page.items.len() == 1 && page.items[0].stale
    })
    .await;
    let job = a.service.start_kill_job(&admin(), kill()).await.unwrap();
    assert_eq!((job.total, job.missing.len()), (0, 1));
    assert_eq!(job.missing[0].node, b.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_news_are_healed_by_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for count in 1..=3 {
        node.workers
            .create(snapshot(node.session(count), "alice", "acme"));
    }
    node.has_sessions(3).await;
    node.workers.lose(node.session(2));
    node.workers.overflow();
    node.has_sessions(2).await;
    eventually("the store has the two that are left", async || {
        store.sessions(&node.id).await.unwrap().len() == 2
    })
    .await;
}
