//! Alerts on real nodes.

use std::time::Duration;

use kit::cluster::Cluster;
use kit::wait::{wait_for, wait_until};
use relayctl::client::FleetApi as _;
use shared::api::{AlertRulePatch, ListQuery};

/// A node counts as silent after five seconds; an alert is over after five of calm.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_node_that_dies_raises_an_alert_at_the_others_until_it_is_back() {
    let mut cluster = Cluster::start();
    cluster.nodes[2].signal("KILL");
    cluster.nodes[2].wait_exit();
    let first = &cluster.nodes[0];
    let admin = first.admin();
    let silent = || {
        let query = ListQuery {
            filter: Some("rule=node-silent".to_owned()),
            ..ListQuery::default()
        };
        admin.call(|api| api.alerts(&query)).unwrap().items
    };
    let alert = wait_for("the alert", PATIENCE, || silent().into_iter().next());
    assert_eq!(alert.id, "node-silent/nyc1");
    assert!(alert.value >= alert.threshold && alert.text.contains("nyc1"));
    let raised = || first.metric("relayd_alerts").is_some_and(|sum| sum >= 1.0);
    assert!(raised(), "and among the metrics");
    let patch = AlertRulePatch {
        enabled: Some(false),
        reason: "test".to_owned(),
        ..AlertRulePatch::default()
    };
    let off = cluster.nodes[1].admin();
    let rules = off.call(|api| api.patch_alert_rule("node-silent", 0, &patch));
    assert_eq!(rules.unwrap().revision, 1);
    wait_until("the rule to be off everywhere", PATIENCE, || {
        silent().is_empty()
    });
    let reset = AlertRulePatch {
        reset: true,
        ..AlertRulePatch::default()
    };
    off.call(|api| api.patch_alert_rule("node-silent", 1, &reset))
        .unwrap();
    wait_until("the alert again", PATIENCE, || !silent().is_empty());
    cluster.nodes[2].launch();
    cluster.nodes[2].wait_ready();
    wait_until("the alert to be over", PATIENCE, || silent().is_empty());
}
