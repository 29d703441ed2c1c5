//! Overrides of the configuration on real nodes around one Redis.

use std::time::Duration;

use kit::cluster::Cluster;
use kit::node::{Node, NodeOptions};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, ClientError, ConfigScope, FleetApi as _};
use serde_json::{Value, json};
use shared::api::{
    Applies, ConfigPatch, ConfigResult, ErrorKind, EventKind, SettingSource, SettingView,
};

/// What is promised is a second; a debug build on a busy machine gets more.
const SOON: Duration = Duration::from_secs(5);

fn patch(key: &str, value: Value) -> ConfigPatch {
    ConfigPatch {
        set: [(key.to_owned(), value)].into(),
        reason: "test".to_owned(),
        ..ConfigPatch::default()
    }
}

fn change(
    node: &Node,
    scope: &ConfigScope,
    revision: u64,
    patch: &ConfigPatch,
) -> Result<ConfigResult, ClientError> {
    node.admin()
        .call(|api| api.patch_config(scope, revision, patch))
}

fn of(node: &Node) -> ConfigScope {
    ConfigScope::Node(node.id().parse().unwrap())
}

/// A setting of `node`, as `asked` shows it.
fn setting(asked: &Node, node: &Node, key: &str) -> Option<SettingView> {
    let id = node.id().parse().unwrap();
    let view = asked.admin().call(|api| api.config(&id)).ok()?;
    view.settings.into_iter().find(|setting| setting.key == key)
}

fn shown(asked: &Node, node: &Node, key: &str) -> Option<(Value, SettingSource)> {
    setting(asked, node, key).map(|setting| (setting.value, setting.source))
}

/// At the level `trace` every connection is logged.
fn is_chatty(node: &Node) -> bool {
    let _ = node.admin().call(|api| api.whoami());
    node.log().contains(" TRACE ")
}

#[test]
fn a_log_level_for_all_and_one_per_node_apply_at_once_and_outlive_a_restart() {
    let mut cluster = Cluster::start();
    let [first, second, third] = [0, 1, 2].map(|index| &cluster.nodes[index]);
    assert!(!is_chatty(second) && !is_chatty(third));
    let result = change(second, &of(third), 0, &patch("log.level", json!("warn"))).unwrap();
    assert_eq!(result.changes.len(), 1);
    let result = change(
        first,
        &ConfigScope::All,
        0,
        &patch("log.level", json!("trace")),
    )
    .unwrap();
    assert_eq!((result.overrides.revision, result.changes.len()), (1, 3));
    assert!(result.missing.is_empty());
    wait_until("the others to log more", SOON, || {
        is_chatty(first) && is_chatty(second)
    });
    for asked in [first, second, third] {
        let all = (json!("trace"), SettingSource::Cluster);
        assert_eq!(shown(asked, second, "log.level"), Some(all));
        let own = (json!("warn"), SettingSource::Node);
        assert_eq!(shown(asked, third, "log.level"), Some(own));
    }
    assert!(!is_chatty(third), "its own override is stronger");
    wait_until("the registry to show the revision", SOON, || {
        let nodes = first.ctl().items(&["node", "list"]);
        nodes.iter().all(|node| node["config_revision"] == 1)
    });

    let second = &mut cluster.nodes[1];
    second.signal("TERM");
    assert_eq!(second.wait_exit(), Some(0));
    std::fs::remove_file(second.log_path()).unwrap();
    second.launch();
    second.wait_ready();
    let second = &cluster.nodes[1];
    let all = (json!("trace"), SettingSource::Cluster);
    assert_eq!(shown(second, second, "log.level"), Some(all));
    wait_until("it to log as before", SOON, || is_chatty(second));
}

#[test]
fn what_needs_a_restart_waits_for_it_even_when_redis_is_away_then() {
    let mut cluster = Cluster::start();
    let result = change(
        &cluster.nodes[0],
        &of(&cluster.nodes[1]),
        0,
        &patch("workers", json!(3)),
    );
    let result = result.unwrap();
    assert_eq!(result.changes[0].applies, Applies::Restart);
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let pending = || setting(first, second, "workers")?.pending;
    assert_eq!(wait_for("the pending value", SOON, pending), json!(3));
    assert_eq!(shown(first, second, "workers").unwrap().0, json!(2));
    cluster.nodes[1].signal("TERM");
    assert_eq!(cluster.nodes[1].wait_exit(), Some(0));
    cluster.redis.kill();
    cluster.nodes[1].launch();
    cluster.nodes[1].wait_ready();
    let second = &cluster.nodes[1];
    let workers = setting(second, second, "workers").unwrap();
    assert_eq!((workers.value, workers.pending), (json!(3), None));
    assert_eq!(workers.source, SettingSource::Node);
    cluster.redis.restart();
}

#[test]
fn bad_values_lost_races_and_what_hides_a_change_are_told() {
    let options = NodeOptions {
        environment: vec![(
            "RELAYD_SOFTWARE".to_owned(),
            "of-the-environment".to_owned(),
        )],
        ..NodeOptions::default()
    };
    let cluster = Cluster::start_with(&options);
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let refused = |revision, key: &str, value| {
        let answer = change(first, &ConfigScope::All, revision, &patch(key, value));
        match answer.unwrap_err() {
            ClientError::Api(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = refused(0, "nonce_lifetime", json!("2d"));
    assert_eq!(error.error, ErrorKind::BadRequest);
    let remedy = "write a duration from 1s to 86400s";
    assert!(
        error.message.contains("nonce_lifetime") && error.message.contains(remedy),
        "{}",
        error.message
    );
    change(
        second,
        &ConfigScope::All,
        0,
        &patch("labels", json!("ring=1")),
    )
    .unwrap();
    let error = refused(0, "labels", json!({}));
    let conflict = (ErrorKind::RevisionConflict, Some(1));
    assert_eq!((error.error, error.current_revision), conflict);

    let hidden = patch("software", json!("of-the-store"));
    let result = change(first, &ConfigScope::All, 1, &hidden).unwrap();
    assert_eq!(result.changes.len(), 3);
    for change in &result.changes {
        assert_eq!(change.hidden_by, Some(SettingSource::Environment));
        assert_eq!(change.old, change.new);
    }
    wait_until("the changes among the events", SOON, || {
        let events = first.admin().call(|api| api.events(None, 100)).unwrap();
        let mut told = events.items.iter();
        told.any(|event| event.kind == EventKind::ConfigChanged && event.text.contains("ring=1"))
    });
}

#[test]
fn overrides_that_nothing_can_be_bound_with_keep_no_node_down() {
    let mut cluster = Cluster::start();
    // An address of documentation: no host has it.
    for (revision, key, value) in [
        (0, "listen", json!(["192.0.2.1:3478"])),
        (1, "software", json!("of-the-store")),
    ] {
        let change = change(
            &cluster.nodes[0],
            &ConfigScope::All,
            revision,
            &patch(key, value),
        );
        assert_eq!(change.unwrap().missing, []);
    }
    let restart = |cluster: &mut Cluster| {
        cluster.nodes[1].signal("TERM");
        assert_eq!(cluster.nodes[1].wait_exit(), Some(0));
        cluster.nodes[1].launch();
        cluster.nodes[1].wait_ready();
    };
    restart(&mut cluster);
    let second = &cluster.nodes[1];
    let told = "the store's overrides cannot be used";
    assert!(second.log().contains(told), "{}", second.log());
    let pending = || setting(second, second, "listen")?.pending;
    let wanted = json!(["192.0.2.1:3478"]);
    assert_eq!(wait_for("the pending value", SOON, pending), wanted);
    let software = (json!("of-the-store"), SettingSource::Cluster);
    assert_eq!(shown(second, second, "software"), Some(software));
    // Neither does an address that no session could relay from.
    let mut other = patch("relay_addresses", json!(["192.0.2.1"]));
    other.unset = vec!["listen".to_owned()];
    change(second, &ConfigScope::All, 2, &other).unwrap();
    restart(&mut cluster);
    let second = &cluster.nodes[1];
    let pending = || setting(second, second, "relay_addresses")?.pending;
    let wanted = json!(["192.0.2.1"]);
    assert_eq!(wait_for("the pending value", SOON, pending), wanted);
}
