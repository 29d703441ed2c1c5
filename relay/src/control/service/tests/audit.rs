//! Pages of the audit record.

use shared::api::{AuditView, ErrorKind, ListQuery, Page, Role, SessionsKill};

use crate::control::testing::{TestNode, admin, caller, eventually, store};
use crate::store::Store;

async fn fill(store: &dyn Store, count: u64) {
    for n in 0..count {
        let actor = if n % 3 == 0 { "token:ab12" } else { "unix:0" };
        let record = AuditView {
            id: String::new(),
            at_ms: 1000 + n,
            node: "a".parse().unwrap(),
            actor: actor.to_owned(),
            action: "user.put".to_owned(),
            target: format!("acme/user{n}"),
            reason: String::new(),
            result: "ok".to_owned(),
        };
        store.append_audit(&record).await.unwrap();
    }
}

async fn pages(node: &TestNode, mut query: ListQuery) -> Vec<Page<AuditView>> {
    let mut pages = Vec::new();
    loop {
        let page = node.service.audit(&admin(), &query).await.unwrap();
        query.cursor.clone_from(&page.next);
        pages.push(page);
        if query.cursor.is_none() {
            return pages;
        }
    }
}

fn times(pages: &[Page<AuditView>]) -> Vec<u64> {
    let items = pages.iter().flat_map(|page| &page.items);
    items.map(|record| record.at_ms).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_paged_newest_first_filtered_and_sorted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    fill(&*store, 50).await;
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let seven = ListQuery {
        limit: Some(7),
        ..ListQuery::default()
    };
    let all = pages(&node, seven.clone()).await;
    assert_eq!(all.len(), 8);
    assert!(
        all.iter()
            .all(|page| (page.matched, page.total) == (50, 50))
    );
    let newest_first: Vec<u64> = (1000..1050).rev().collect();
    assert_eq!(times(&all), newest_first);
    let by_token = ListQuery {
        filter: Some("actor=token:ab12".to_owned()),
        ..seven.clone()
    };
    let some = pages(&node, by_token).await;
    assert!(
        some.iter()
            .all(|page| (page.matched, page.total) == (17, 50))
    );
    let of_token: Vec<u64> = newest_first
        .iter()
        .copied()
        .filter(|at| (at - 1000) % 3 == 0)
        .collect();
    assert_eq!(times(&some), of_token);
    let oldest_first = ListQuery {
        sort: Some("time:asc".to_owned()),
        ..seven.clone()
    };
    let upwards: Vec<u64> = (1000..1050).collect();
    assert_eq!(times(&pages(&node, oldest_first.clone()).await), upwards);
    let foreign = ListQuery {
        cursor: all[0].next.clone(),
        ..oldest_first
    };
    let error = node.service.audit(&admin(), &foreign).await.unwrap_err();
    assert_eq!(error.error, ErrorKind::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_written_meanwhile_move_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    fill(&*store, 10).await;
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let query = ListQuery {
        limit: Some(4),
        ..ListQuery::default()
    };
    let first = node.service.audit(&admin(), &query).await.unwrap();
    fill(&*store, 5).await;
    let query = ListQuery {
        cursor: first.next.clone(),
        ..query
    };
    let second = node.service.audit(&admin(), &query).await.unwrap();
    assert_eq!(
        times(&[first, second]),
        [1009, 1008, 1007, 1006, 1005, 1004, 1003, 1002]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_viewers_see_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for (filter, sort, cursor) in [
        (Some("actr=x"), None, None),
        (None, Some("tme"), None),
        (None, None, Some("x")),
    ] {
        let query = ListQuery {
            filter: filter.map(str::to_owned),
            sort: sort.map(str::to_owned),
            cursor: cursor.map(str::to_owned),
            ..ListQuery::default()
        };
        let error = node.service.audit(&admin(), &query).await.unwrap_err();
        assert_eq!(error.error, ErrorKind::BadRequest, "{query:?}");
    }
    let viewer = caller(Role::Viewer, &[]);
    let denied = node.service.audit(&viewer, &ListQuery::default()).await;
    assert_eq!(denied.unwrap_err().error, ErrorKind::Denied);
    let empty = node
        .service
        .audit(&admin(), &ListQuery::default())
        .await
        .unwrap();
    assert_eq!((empty.total, empty.next), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_denied_leaves_a_short_record_however_long_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let viewer = caller(Role::Viewer, &["acme"]);
    let long = "\u{e4}".repeat(100_000);
    let denied = node.service.delete_redirect(&viewer, &long, &long).await;
    assert!(denied.is_err());
    eventually("the call is in the audit", async || {
        store.audit_count().await.unwrap() == 1
    })
    .await;
    let audit = store.audit(None, 1).await.unwrap();
    assert_eq!(audit[0].action, "redirect.delete");
    assert!(audit[0].target.starts_with("\u{e4}\u{e4}"));
    let size = serde_json::to_vec(&audit).unwrap().len();
    assert!(size < 4000, "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_no_record_of_sessions_killed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let kill = |realm: &str, dry_run| SessionsKill {
        filter: Some(format!("realm={realm}")),
        expected: 10,
        dry_run,
        ..SessionsKill::default()
    };
    for (realm, dry_run) in [("acme", true), ("globex", false)] {
        let request = kill(realm, dry_run);
        let outcome = node.service.start_kill_job(&admin(), request).await;
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    eventually("the job is in the audit", async || {
        store.audit_count().await.unwrap() > 0
    })
    .await;
    let audit = store.audit(None, 10).await.unwrap();
    let targets: Vec<&str> = audit.iter().map(|record| record.target.as_str()).collect();
    assert_eq!(targets, ["realm=globex"]);
}
