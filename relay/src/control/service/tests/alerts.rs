//! Alerts of a running cluster, and changes of their rules.

use shared::api::{AlertRulePatch, AlertRules, AlertView, EventKind, Severity};

use super::*;

fn thresholds(warn: f64, crit: Option<f64>) -> AlertRulePatch {
    AlertRulePatch {
        warn: Some(Some(warn)),
        crit: Some(crit),
        for_secs: Some(0),
        ..AlertRulePatch::default()
    }
}

async fn alerts(node: &TestNode, caller: &Caller, filter: &str) -> Vec<AlertView> {
    let query = ListQuery {
        filter: Some(filter.to_owned()),
        ..ListQuery::default()
    };
    node.service.alerts(caller, &query).await.unwrap().items
}

async fn patch(
    node: &TestNode,
    name: &str,
    revision: u64,
    patch: AlertRulePatch,
) -> Result<AlertRules, ApiError> {
    node.service
        .patch_alert_rule(&admin(), name, revision, patch)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_raised_by_all_gateways_told_by_one_and_over_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    patch(&a, "quota-refusals", 0, thresholds(50.0, None))
        .await
        .unwrap();
    let like = b.service.node(&admin(), &b.id).await.unwrap();
    // A node of figures only, which beats as long as it is asked about.
    let beat = async |rate: f64| {
        let node = shared::api::NodeView {
            id: "z".parse().unwrap(),
            state: NodeState::Ready,
            refusals_per_sec: [("486".to_owned(), rate)].into(),
            ..like.clone()
        };
        store.heartbeat(&node).await.unwrap();
    };
    for node in [&a, &b] {
        eventually("both gateways raise it", async || {
            beat(60.0).await;
            let found = alerts(node, &admin(), "rule=quota-refusals").await;
            found.first().is_some_and(|alert| {
                alert.id == "quota-refusals/z" && (alert.value, alert.threshold) == (60.0, 50.0)
            })
        })
        .await;
        let counts = node.service.metrics().alerts;
        let of_rule = counts.iter().filter(|(rule, ..)| *rule == "quota-refusals");
        assert_eq!(of_rule.map(|(_, _, count)| count).sum::<u64>(), 1);
    }
    let confined = caller(Role::Viewer, &["acme"]);
    let hidden = alerts(&a, &confined, "rule=quota-refusals").await;
    assert!(hidden.is_empty(), "it counts what happens in other realms");
    eventually("it is over", async || {
        beat(0.0).await;
        alerts(&a, &admin(), "rule=quota-refusals").await.is_empty()
    })
    .await;
    eventually("both turns are told, once", async || {
        let events = store.events(None, 1000).await.unwrap();
        let of_rule = events.iter().filter(|event| {
            event.kind == EventKind::Alert && event.text.starts_with("quota-refusals/z")
        });
        let told: Vec<_> = of_rule
            .map(|event| (event.node.as_str(), event.severity))
            .collect();
        told == [("a", Severity::Warn), ("a", Severity::Notice)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_falls_silent_is_told_of_and_its_absence_after_a_clean_stop_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let silent = a.service.node(&admin(), &a.id).await.unwrap();
    let ghost = |id: &str, state| shared::api::NodeView {
        id: id.parse().unwrap(),
        state,
        ..silent.clone()
    };
    store
        .heartbeat(&ghost("dead", NodeState::Ready))
        .await
        .unwrap();
    store
        .heartbeat(&ghost("stopped", NodeState::Gone))
        .await
        .unwrap();
    eventually("it is told of", async || {
        let found = alerts(&a, &admin(), "rule=node-silent").await;
        found.len() == 1 && found[0].node == Some("dead".parse().unwrap())
    })
    .await;
    let confined = caller(Role::Viewer, &["acme"]);
    assert_eq!(alerts(&a, &confined, "rule=node-silent").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_by_revision_and_keep_to_sense() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let rules = node
        .service
        .alert_rules(&caller(Role::Viewer, &["acme"]))
        .await
        .unwrap();
    assert_eq!(rules.revision, 0);
    assert!(rules.rules.iter().all(|rule| rule.is_default));
    let changed = patch(&node, "node-drops", 0, thresholds(5.0, Some(6.0)))
        .await
        .unwrap();
    let rule = changed
        .rules
        .iter()
        .find(|rule| rule.name == "node-drops")
        .unwrap();
    assert_eq!(
        (rule.warn, rule.crit, rule.is_default),
        (Some(5.0), Some(6.0), false)
    );
    assert_eq!(
        (changed.revision, changed.changed_by.as_str()),
        (1, "unix:0")
    );
    let lost = patch(&node, "node-drops", 0, thresholds(1.0, None))
        .await
        .unwrap_err();
    assert_eq!(
        (lost.error, lost.current_revision),
        (ErrorKind::RevisionConflict, Some(1))
    );
    let unknown = patch(&node, "node-drop", 1, thresholds(1.0, None))
        .await
        .unwrap_err();
    assert!(unknown.error == ErrorKind::NotFound && unknown.message.contains("node-drops"));
    let nonsense = [
        (thresholds(7.0, Some(6.0)), "crit"),
        (thresholds(f64::NAN, None), "warn"),
        (thresholds(0.0, None), "warn"),
        (
            AlertRulePatch {
                for_secs: Some(3601),
                ..AlertRulePatch::default()
            },
            "for_secs",
        ),
    ];
    for (patched, field) in nonsense {
        let error = patch(&node, "node-drops", 1, patched).await.unwrap_err();
        assert!(error.error == ErrorKind::BadRequest && error.message.contains(field));
    }
    let reset = AlertRulePatch {
        reset: true,
        ..AlertRulePatch::default()
    };
    let back = patch(&node, "node-drops", 1, reset).await.unwrap();
    assert!(back.rules.iter().all(|rule| rule.is_default));
    let operator = caller(Role::Operator, &[]);
    let denied = node
        .service
        .patch_alert_rule(&operator, "node-drops", 2, thresholds(1.0, None));
    assert_eq!(denied.await.unwrap_err().error, ErrorKind::Denied);
    store
        .put_document("alert-rules", &serde_json::json!([7]), 2, "hand")
        .await
        .unwrap();
    let after = node.service.alert_rules(&admin()).await.unwrap();
    assert!(after.revision == 3 && after.rules.iter().all(|rule| rule.is_default));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_rule_leaves_those_of_a_newer_release_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let body = serde_json::json!({
        "of-the-future": {"per": "minute"},
        "store-away": {"warn": [1, 2]},
        "node-capacity": {"warn": 50.0, "for_secs": 1, "enabled": true, "sound": "bell"},
    });
    store
        .put_document("alert-rules", &body, 0, "newer")
        .await
        .unwrap();
    let changed = patch(&node, "node-drops", 1, thresholds(5.0, None))
        .await
        .unwrap();
    let warn = |name| changed.rules.iter().find(|rule| rule.name == name)?.warn;
    assert_eq!(
        (warn("node-drops"), warn("node-capacity")),
        (Some(5.0), Some(50.0))
    );
    assert_eq!(warn("store-away"), Some(2.0), "as it is built in");
    let stored = store.document("alert-rules").await.unwrap().unwrap().body;
    for name in ["of-the-future", "store-away", "node-capacity"] {
        assert_eq!(stored[name], body[name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_apply_the_configuration_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let soon = AlertRulePatch {
        warn: Some(Some(1.0)),
        ..AlertRulePatch::default()
    };
    patch(&node, "config-lag", 0, soon).await.unwrap();
    let bad = serde_json::json!({"workers": 0});
    store.put_document("config", &bad, 0, "hand").await.unwrap();
    eventually("it is told of", async || {
        let found = alerts(&node, &admin(), "rule=config-lag").await;
        found
            .first()
            .is_some_and(|alert| alert.text.contains("revision 0"))
    })
    .await;
    let empty = serde_json::json!({});
    store
        .put_document("config", &empty, 1, "hand")
        .await
        .unwrap();
    eventually("it is over", async || {
        alerts(&node, &admin(), "rule=config-lag").await.is_empty()
    })
    .await;
}
