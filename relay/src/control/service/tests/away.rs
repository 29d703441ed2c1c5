//! What works while the store is away.

use super::*;
use crate::control::testing::FlakyStore;
use crate::store::Store;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_its_store_and_joins_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let document = RealmDocument {
        max_sessions: Some(7),
        ..RealmDocument::default()
    };
    inner
        .put_realm(&realm("acme"), &document, 0, &"t".into())
        .await
        .unwrap();
    let flaky = FlakyStore::new(Arc::clone(&inner));
    flaky.set_away(true);
    let shared: Arc<dyn Store> = flaky.clone();
    let node = TestNode::start("a", 1, &shared, dir.path()).await;
    let max = || node.workers.policy().unwrap().realms[&realm("acme")].max_sessions;
    assert_eq!(max(), None);
    let readiness = node.service.readiness();
    assert!(readiness.ready && !readiness.reasons.is_empty());
    flaky.set_away(false);
    eventually("the stored realm is in force", async || max() == Some(7)).await;
    eventually("the node is registered", async || {
        inner
            .nodes()
            .await
            .unwrap()
            .iter()
            .any(|(node, _)| node.epoch == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_block_and_known_users_work_and_are_written_down_later() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::new(Arc::clone(&inner));
    let shared: Arc<dyn Store> = flaky.clone();
    let node = TestNode::start("a", 1, &shared, dir.path()).await;
    node.service
        .put_user(&admin(), &realm("acme"), "alice", put("pw"))
        .await
        .unwrap();
    node.workers.look_up("acme", "alice");
    eventually("the key is found", async || {
        node.workers.answers().len() == 1
    })
    .await;
    node.workers
        .create(snapshot(node.session(1), "eve", "acme"));
    node.has_sessions(1).await;

    flaky.set_away(true);
    node.workers.look_up("acme", "alice");
    node.workers.look_up("acme", "nobody");
    eventually(
        "the known user is served, the other is unavailable",
        async || {
            let answers = node.workers.answers();
            let known = answers
                .iter()
                .filter(|a| matches!(a, CredentialAnswer::Known(_)))
                .count();
            known == 2 && answers.contains(&CredentialAnswer::Unavailable)
        },
    )
    .await;
    let id = node.session(1).to_string();
    let request = KillRequest {
        reason: "abuse".to_owned(),
        block_secs: Some(600),
    };
    let killed = node
        .service
        .kill_session(&admin(), &id, request)
        .await
        .unwrap();
    assert!(killed.blocked_until_ms.is_some());
    assert_eq!(node.workers.policy().unwrap().blocks.len(), 1);
    let refused = node
        .service
        .put_user(&admin(), &realm("acme"), "x", put("pw"))
        .await;
    assert_eq!(refused.unwrap_err().error, ErrorKind::Unavailable);

    flaky.set_away(false);
    eventually("block and audit are in the store", async || {
        let audit = inner.audit(None, 10).await.unwrap();
        inner.blocks().await.unwrap().len() == 1
            && audit
                .iter()
                .any(|a| a.action == "session.kill" && a.reason == "abuse")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_in_a_new_realm_makes_the_realm_known() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    a.service
        .put_user(&admin(), &realm("fresh"), "alice", put("pw"))
        .await
        .unwrap();
    for node in [&a, &b] {
        eventually("the realm is served", async || {
            node.workers
                .policy()
                .unwrap()
                .realms
                .contains_key(&realm("fresh"))
        })
        .await;
    }
}
