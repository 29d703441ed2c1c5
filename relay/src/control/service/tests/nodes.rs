//! The registry as lists show it: states, versions.

use shared::api::{AlertRulePatch, NodeState, NodeView};

use super::*;

/// A node of figures only.
async fn ghost(like: &TestNode, id: &str, version: &str, state: NodeState) -> NodeView {
    let view = like.service.node(&admin(), &like.id).await.unwrap();
    NodeView {
        id: id.parse().unwrap(),
        version: version.to_owned(),
        state,
        ..view
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_another_version_than_most_are_marked_and_raise_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let _b = TestNode::start("b", 2, &store, dir.path()).await;
    let old = ghost(&a, "old", "0.0.9", NodeState::Ready).await;
    let stopped = ghost(&a, "stopped", "0.0.8", NodeState::Gone).await;
    store.heartbeat(&stopped).await.unwrap();
    let soon = AlertRulePatch {
        warn: Some(Some(0.5)),
        ..AlertRulePatch::default()
    };
    let patched = a
        .service
        .patch_alert_rule(&admin(), "version-skew", 0, soon)
        .await;
    patched.unwrap();
    eventually("the alert", async || {
        store.heartbeat(&old).await.unwrap();
        let alerts = a.service.alerts(&admin(), &ListQuery::default()).await;
        let alerts = alerts.unwrap().items;
        alerts.iter().any(|alert| alert.id == "version-skew/old")
    })
    .await;
    let query = ListQuery {
        filter: Some("skew=yes".to_owned()),
        ..ListQuery::default()
    };
    let found = a.service.nodes(&admin(), &query).await.unwrap().items;
    let found: Vec<_> = found.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(found, ["old"], "and none that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_joining_until_its_listeners_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let own = dir.path().join("b");
    std::fs::create_dir_all(&own).unwrap();
    let both = [NodeRole::Relay, NodeRole::Gateway];
    let b = TestNode::start_joining(config(&own, &both), "b", 2, &store).await;
    let state = async || {
        let node = a.service.node(&admin(), &b.id).await;
        node.ok().map(|node| node.state)
    };
    eventually("it joins", async || {
        state().await == Some(NodeState::Joining)
    })
    .await;
    let reasons = b.service.readiness().reasons;
    assert_eq!(reasons, ["the node is joining"]);
    b.handle.serving();
    eventually("it is ready", async || {
        state().await == Some(NodeState::Ready)
    })
    .await;
}
