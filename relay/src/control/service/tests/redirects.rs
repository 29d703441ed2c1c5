//! Redirects: what may be added, and who follows it.

use std::sync::Arc;

use shared::Transport;
use shared::api::{
    ApiError, ErrorKind, EventKind, ListQuery, NodeRole, RedirectCreate, RedirectHealth, Role,
};
use turn_proto::policy::Redirect;

use crate::control::testing::{FlakyStore, TestNode, admin, caller, config, eventually, store};
use crate::store::Store;
use crate::store::document::REDIRECTS;

/// TLS: such targets are not probed.
fn tls(target: &str) -> RedirectCreate {
    RedirectCreate {
        transport: Transport::Tls,
        target: target.parse().unwrap(),
        domain: None,
        node: None,
        weight: None,
        note: String::new(),
        reason: "test".to_owned(),
    }
}

fn only_at(node: &str, create: RedirectCreate) -> RedirectCreate {
    RedirectCreate {
        node: Some(node.parse().unwrap()),
        ..create
    }
}

fn followed(node: &TestNode) -> Vec<Redirect> {
    node.workers.policy().unwrap().redirects.clone()
}

async fn refused(node: &TestNode, create: RedirectCreate) -> ApiError {
    let created = node.service.create_redirect(&admin(), create).await;
    created.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_follows_what_one_was_told_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    let everywhere = RedirectCreate {
        domain: Some("relay.example".to_owned()),
        weight: Some(7),
        note: "maintenance".to_owned(),
        ..tls("9.9.9.9:5349")
    };
    eventually("a knows b", async || {
        a.service
            .nodes(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 2
    })
    .await;
    let added = a
        .service
        .create_redirect(&admin(), everywhere)
        .await
        .unwrap();
    assert_eq!((added.id.len(), added.weight), (8, 7));
    assert_eq!(added.health, RedirectHealth::Unknown);
    let policy = followed(&a);
    assert_eq!(policy.len(), 1, "here at once");
    assert_eq!(policy[0].domain.as_deref(), Some("relay.example"));
    assert_eq!(policy[0].target, added.target);
    eventually("b follows it", async || followed(&b) == policy).await;
    let of_b = only_at("b", tls("9.9.9.10:5349"));
    let of_b = a.service.create_redirect(&admin(), of_b).await.unwrap();
    eventually("b follows its own too", async || followed(&b).len() == 2).await;
    assert_eq!(followed(&a).len(), 1);
    let filter = ListQuery {
        filter: Some("node=b".to_owned()),
        ..ListQuery::default()
    };
    eventually("b lists both", async || {
        let page = b.service.redirects(&admin(), &filter).await.unwrap();
        (page.total, page.items.first()) == (2, Some(&of_b))
    })
    .await;
    b.service
        .delete_redirect(&admin(), &added.id, "done")
        .await
        .unwrap();
    eventually("a serves again", async || followed(&a).is_empty()).await;
    let gone = b.service.delete_redirect(&admin(), &added.id, "").await;
    assert_eq!(gone.unwrap_err().error, ErrorKind::NotFound);
    eventually("events and audit tell of it", async || {
        let events = store.events(None, 100).await.unwrap();
        let told = events
            .iter()
            .filter(|e| e.kind == EventKind::RedirectChanged);
        let audit = store.audit(None, 100).await.unwrap();
        let of_redirects = audit.iter().filter(|a| a.action.starts_with("redirect."));
        told.count() == 3 && of_redirects.count() == 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_no_client_should_be_sent_to_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for target in [
        "0.0.0.0:3478",
        "[::]:3478",
        "9.9.9.9:0",
        "127.0.0.1:3478",
        "10.0.0.1:3478",
        "169.254.169.254:80",
        "224.0.0.1:3478",
        "[::ffff:10.0.0.1]:3478",
        "[fe80::1]:3478",
    ] {
        let error = refused(&node, tls(target)).await;
        assert_eq!(error.error, ErrorKind::BadRequest, "{target}");
    }
    let fine = || tls("9.9.9.9:5349");
    let wrong = [
        RedirectCreate {
            weight: Some(0),
            ..fine()
        },
        RedirectCreate {
            weight: Some(1001),
            ..fine()
        },
        RedirectCreate {
            note: "x".repeat(201),
            ..fine()
        },
        RedirectCreate {
            domain: Some("not a name".to_owned()),
            ..fine()
        },
        RedirectCreate {
            transport: Transport::Tcp,
            domain: Some("relay.example".to_owned()),
            ..fine()
        },
    ];
    for create in wrong {
        let text = format!("{create:?}");
        let error = refused(&node, create).await;
        assert_eq!(error.error, ErrorKind::BadRequest, "{text}");
    }
    let nobody = refused(&node, only_at("nobody", fine())).await;
    assert_eq!(nobody.error, ErrorKind::NotFound);
    let itself = refused(&node, only_at("a", tls("192.0.2.1:3478"))).await;
    assert_eq!(itself.error, ErrorKind::Conflict);
    assert!(store.document(REDIRECTS).await.unwrap().is_none());
    node.service
        .create_redirect(&admin(), fine())
        .await
        .unwrap();
    assert_eq!(refused(&node, fine()).await.error, ErrorKind::Conflict);
    // The node's own address, on a port of somebody else's.
    let beside = tls("192.0.2.1:5349");
    node.service
        .create_redirect(&admin(), beside)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_never_both_target_and_redirecting() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let away = only_at("a", tls("9.9.9.9:5349"));
    let away = node.service.create_redirect(&admin(), away).await.unwrap();
    let back = refused(&node, tls("192.0.2.1:3478")).await;
    assert_eq!(back.error, ErrorKind::Conflict);
    assert!(back.message.contains(&away.id), "{}", back.message);
    node.service
        .delete_redirect(&admin(), &away.id, "")
        .await
        .unwrap();
    let here = node
        .service
        .create_redirect(&admin(), tls("192.0.2.1:3478"))
        .await;
    let here = here.unwrap();
    let away = refused(&node, only_at("a", tls("9.9.9.9:5349"))).await;
    assert!(away.message.contains(&here.id), "{}", away.message);
    let of_all = node
        .service
        .create_redirect(&admin(), tls("9.9.9.9:5349"))
        .await;
    of_all.unwrap();
    assert!(followed(&node).is_empty(), "it serves what comes to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_256_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for port in 1..=256 {
        let create = tls(&format!("9.9.9.9:{port}"));
        node.service
            .create_redirect(&admin(), create)
            .await
            .unwrap();
    }
    let error = refused(&node, tls("9.9.9.9:257")).await;
    assert_eq!(error.error, ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_of_all_realms_redirect() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for who in [
        caller(Role::Operator, &[]),
        caller(Role::Admin, &["acme"]),
        caller(Role::Viewer, &[]),
    ] {
        let created = node.service.create_redirect(&who, tls("9.9.9.9:1")).await;
        assert_eq!(created.unwrap_err().error, ErrorKind::Denied);
        let deleted = node.service.delete_redirect(&who, "00000000", "").await;
        assert_eq!(deleted.unwrap_err().error, ErrorKind::Denied);
        assert!(
            node.service
                .redirects(&who, &ListQuery::default())
                .await
                .is_ok()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_the_known_ones_hold_and_none_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let flaky = FlakyStore::new(store(dir.path()));
    let over: Arc<dyn Store> = flaky.clone();
    let both = config(dir.path(), &[NodeRole::Relay, NodeRole::Gateway]);
    let node = TestNode::start_with(both, "a", 1, &over).await;
    node.service
        .create_redirect(&admin(), tls("9.9.9.9:1"))
        .await
        .unwrap();
    flaky.set_away(true);
    let error = refused(&node, tls("9.9.9.9:2")).await;
    assert_eq!(error.error, ErrorKind::Unavailable);
    assert_eq!(followed(&node).len(), 1);
    let page = node
        .service
        .redirects(&admin(), &ListQuery::default())
        .await;
    assert_eq!(page.unwrap().total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_another_hand_redirects_nobody_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let strange = serde_json::json!({"redirects": [{"transport": "sctp"}]});
    store
        .put_document(REDIRECTS, &strange, 0, "x")
        .await
        .unwrap();
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let error = refused(&node, tls("9.9.9.9:1")).await;
    assert_eq!(error.error, ErrorKind::Internal);
    assert!(followed(&node).is_empty());
    let kept = store.document(REDIRECTS).await.unwrap().unwrap();
    assert_eq!(kept.body, strange);
}
