//! What a node tells of itself, what it does alone, and what a reload changes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_followed_and_a_stop_is_told() {
    use futures_util::StreamExt as _;

    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let mut stream = node.service.follow_events(&admin(), None).await.unwrap();
    node.workers
        .create(snapshot(node.session(1), "alice", "acme"));
    let seen = async {
        while let Some(event) = stream.next().await {
            if event.session == Some(node.session(1)) {
                return true;
            }
        }
        false
    };
    let patience = Duration::from_secs(10);
    assert!(tokio::time::timeout(patience, seen).await.unwrap());
    eventually("the registry has the node", async || {
        !store.nodes().await.unwrap().is_empty()
    })
    .await;
    node.cancel.cancel();
    node.handle.stopped().await;
    let nodes = store.nodes().await.unwrap();
    assert_eq!(nodes[0].0.state, NodeState::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_the_gateway_role_answers_for_itself_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let gateway = TestNode::start("g", 1, &store, dir.path()).await;
    let relay = TestNode::start_with(config(dir.path(), &[NodeRole::Relay]), "r", 2, &store).await;
    gateway
        .workers
        .create(snapshot(gateway.session(1), "alice", "acme"));
    relay
        .workers
        .create(snapshot(relay.session(1), "bob", "acme"));
    eventually("the gateway sees both", async || {
        gateway
            .service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 2
    })
    .await;
    let own = relay
        .service
        .sessions(&admin(), &ListQuery::default())
        .await
        .unwrap();
    assert_eq!((own.total, own.items[0].user.as_str()), (1, "bob"));
    let refused = relay
        .service
        .put_user(&admin(), &realm("acme"), "x", put("pw"))
        .await;
    assert_eq!(refused.unwrap_err().error, ErrorKind::Denied);
    let id = relay.session(1).to_string();
    assert!(
        relay
            .service
            .kill_session(&admin(), &id, KillRequest::default())
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_realms_and_labels_and_nothing_that_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let mut changed = config(dir.path(), &[NodeRole::Relay]);
    changed.realms[0].document.max_sessions = Some(3);
    changed.labels.insert("region".to_owned(), "ams".to_owned());
    node.service.reload_config(&changed).await.unwrap();
    let policy = node.workers.policy().unwrap();
    assert_eq!(policy.realms[&realm("acme")].max_sessions, Some(3));
    let view = node.service.node(&admin(), &node.id).await.unwrap();
    assert_eq!(view.labels["region"], "ams");
    assert_eq!(view.roles, [NodeRole::Relay, NodeRole::Gateway]);
}
