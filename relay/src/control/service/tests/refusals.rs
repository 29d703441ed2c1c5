//! The latest refusals, over the cluster.

use std::time::{Duration, Instant};

use shared::api::{ErrorKind, ListQuery, Role, Scope};
use turn_proto::server::{RefusalReason, Refused};

use crate::control::testing::{TestNode, admin, caller, eventually, refused, snapshot, store};

fn query(filter: &str, limit: u32) -> ListQuery {
    ListQuery {
        filter: Some(filter.to_owned()),
        limit: Some(limit),
        ..ListQuery::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_all_nodes_are_paged_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    let now = Instant::now();
    let at = |age: u64| now.checked_sub(Duration::from_millis(age)).unwrap();
    for n in 0..30 {
        let on = if n % 2 == 0 { &a } else { &b };
        let user = format!("user{n:02}");
        on.workers.refuse(vec![refused(&user, "acme", at(10 * n))]);
    }
    b.workers.refuse(vec![refused("eve", "globex", at(1000))]);
    let everything = ListQuery::default();
    eventually("a lists the refusals of both", async || {
        let page = a
            .service
            .recent_refusals(&admin(), &everything)
            .await
            .unwrap();
        page.total == 31 && page.missing.is_empty()
    })
    .await;
    let mut users = Vec::new();
    let mut asked = query("realm=acme", 7);
    loop {
        let page = a.service.recent_refusals(&admin(), &asked).await.unwrap();
        assert_eq!((page.matched, page.total), (30, 31));
        users.extend(page.items.into_iter().filter_map(|row| row.user));
        asked.cursor = page.next;
        if asked.cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..30).map(|n| format!("user{n:02}")).collect();
    assert_eq!(users, expected);
    let own = ListQuery {
        scope: Some(Scope::Node),
        ..ListQuery::default()
    };
    let page = a.service.recent_refusals(&admin(), &own).await.unwrap();
    assert_eq!(page.total, 15);
    let confined = caller(Role::Viewer, &["globex"]);
    let page = a
        .service
        .recent_refusals(&confined, &everything)
        .await
        .unwrap();
    assert_eq!(page.total, 1);
    assert_eq!(page.items[0].user.as_deref(), Some("eve"));
    let nonsense = a
        .service
        .recent_refusals(&admin(), &query("usr=x", 5))
        .await;
    assert_eq!(nonsense.unwrap_err().error, ErrorKind::BadRequest);
    let mint = caller(Role::Mint, &[]);
    let denied = a.service.recent_refusals(&mint, &everything).await;
    assert_eq!(denied.unwrap_err().error, ErrorKind::Denied);
    b.cancel.cancel();
    drop(b.handle);
    eventually("b is named as missing", async || {
        let page = a
            .service
            .recent_refusals(&admin(), &everything)
            .await
            .unwrap();
        page.total == 15 && page.missing.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_shows_its_own_refusals() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let id = node.session(1);
    node.workers.create(snapshot(id, "alice", "acme"));
    let now = Instant::now();
    let rows = (0..25).map(|n| Refused {
        session: Some(if n == 24 { node.session(2) } else { id }),
        reason: RefusalReason::DeniedPeer,
        peer: format!("10.0.0.{n}:0").parse().ok(),
        ..refused("alice", "acme", now)
    });
    node.workers.refuse(rows.collect());
    eventually("the session has refusals", async || {
        let detail = node.service.session(&admin(), &id.to_string()).await;
        detail.is_ok_and(|detail| !detail.refusals.is_empty())
    })
    .await;
    let detail = node
        .service
        .session(&admin(), &id.to_string())
        .await
        .unwrap();
    assert_eq!(detail.refusals.len(), 20);
    assert_eq!(detail.refusals[0].peer.as_deref(), Some("10.0.0.23"));
    assert_eq!(detail.refusals[0].code, Some(403));
}
