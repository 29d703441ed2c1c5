//! Settings, their overrides, and what becomes of bad ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::NodeId;
use shared::api::{
    Applies, ConfigOverrides, ConfigPatch, ConfigView, EventKind, NodeRole, SettingSource,
    SettingView,
};

use super::*;
use crate::control::testing::{FlakyStore, config_with};

use crate::store::document::{CONFIG, config_of};

const BOTH: [NodeRole; 2] = [NodeRole::Relay, NodeRole::Gateway];

fn set(key: &str, value: Value) -> ConfigPatch {
    ConfigPatch {
        set: BTreeMap::from([(key.to_owned(), value)]),
        reason: "test".to_owned(),
        ..ConfigPatch::default()
    }
}

async fn view(node: &TestNode) -> ConfigView {
    node.service.node_config(&admin(), &node.id).await.unwrap()
}

async fn setting(node: &TestNode, key: &str) -> SettingView {
    let view = view(node).await;
    let found = view.settings.into_iter().find(|setting| setting.key == key);
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_for_all_reaches_every_node_and_one_of_a_node_wins_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    eventually("b is registered", async || {
        a.service.node(&admin(), &b.id).await.is_ok()
    })
    .await;
    let all = set("software", json!("all"));
    let result = a
        .service
        .patch_config(&admin(), None, 0, all)
        .await
        .unwrap();
    assert_eq!(result.overrides.revision, 1);
    let changed: Vec<_> = result
        .changes
        .iter()
        .map(|change| (change.node.as_str(), change.new.clone(), change.applies))
        .collect();
    let live = Applies::Live;
    assert_eq!(
        changed,
        [("a", json!("all"), live), ("b", json!("all"), live)]
    );
    let software = |node: &TestNode| node.workers.policy().unwrap().settings.software.clone();
    assert_eq!(
        software(&a).as_deref(),
        Some("all"),
        "at once where it was set"
    );
    eventually("b has it too", async || {
        software(&b).as_deref() == Some("all")
    })
    .await;

    let own = set("software", json!("own"));
    let result = a.service.patch_config(&admin(), Some(&b.id), 0, own).await;
    assert_eq!(result.unwrap().overrides.node, Some(b.id.clone()));
    eventually("b has its own", async || {
        software(&b).as_deref() == Some("own")
    })
    .await;
    assert_eq!(software(&a).as_deref(), Some("all"));
    // Seen from the other node, and with the revisions that it applies.
    let seen = a.service.node_config(&admin(), &b.id).await.unwrap();
    assert_eq!((seen.cluster_revision, seen.node_revision), (1, 1));
    let of_b = seen.settings.iter().find(|s| s.key == "software").unwrap();
    assert_eq!(
        (&of_b.value, of_b.source),
        (&json!("own"), SettingSource::Node)
    );
    let again = set("software", json!("all-2"));
    let result = a
        .service
        .patch_config(&admin(), None, 1, again)
        .await
        .unwrap();
    let of_b = result.changes.iter().find(|c| c.node == b.id).unwrap();
    assert_eq!(
        (&of_b.new, of_b.hidden_by),
        (&json!("own"), Some(SettingSource::Node))
    );
    eventually("the registry shows the revision", async || {
        let nodes = a
            .service
            .nodes(&admin(), &ListQuery::default())
            .await
            .unwrap();
        nodes.items.iter().all(|node| node.config_revision == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_refused_with_its_remedy_and_a_dry_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let patch = async |caller: &Caller, revision, patch| {
        node.service
            .patch_config(caller, None, revision, patch)
            .await
    };
    let refused = async |key: &str, value| {
        let error = patch(&admin(), 0, set(key, value)).await.unwrap_err();
        assert_eq!(error.error, ErrorKind::BadRequest);
        error.message
    };
    let text = refused("log.level", json!("loud")).await;
    assert!(
        text.contains("log.level") && text.contains("write error, warn"),
        "{text}"
    );
    assert!(
        refused("log.levl", json!("info"))
            .await
            .contains("did you mean")
    );
    assert!(
        refused("admin.listen", json!("0.0.0.0:1"))
            .await
            .contains("the file")
    );
    assert!(
        refused("store.password", json!("x"))
            .await
            .contains("the file")
    );
    refused("workers", json!(null)).await;
    let nothing = patch(&admin(), 0, ConfigPatch::default())
        .await
        .unwrap_err();
    assert_eq!(nothing.error, ErrorKind::BadRequest);
    for weak in [caller(Role::Operator, &[]), caller(Role::Admin, &["acme"])] {
        let denied = patch(&weak, 0, set("log.level", json!("debug"))).await;
        assert_eq!(denied.unwrap_err().error, ErrorKind::Denied);
    }
    let conflict = patch(&admin(), 7, set("log.level", json!("debug"))).await;
    let conflict = conflict.unwrap_err();
    assert_eq!(
        (conflict.error, conflict.current_revision),
        (ErrorKind::RevisionConflict, Some(0))
    );

    let dry = ConfigPatch {
        dry_run: true,
        ..set("workers", json!("3"))
    };
    let result = patch(&admin(), 0, dry).await.unwrap();
    assert_eq!(result.overrides.settings["workers"], json!(3));
    let change = &result.changes[0];
    assert_eq!(
        (&change.old, &change.new, change.applies),
        (&json!(1), &json!(3), Applies::Restart)
    );
    assert_eq!(store.document(CONFIG).await.unwrap(), None);
    eventually(
        "only what could have changed something is in the audit",
        async || {
            let audit = store.audit(None, 100).await.unwrap();
            audit.len() == 9 && audit.iter().all(|record| record.action == "config.set")
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_unset_and_what_waits_for_a_restart_is_pending() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let both = ConfigPatch {
        set: BTreeMap::from([
            ("workers".to_owned(), json!(2)),
            ("labels".to_owned(), json!({"ring": "1"})),
        ]),
        ..ConfigPatch::default()
    };
    node.service
        .patch_config(&admin(), None, 0, both)
        .await
        .unwrap();
    let workers = setting(&node, "workers").await;
    assert_eq!((workers.value, workers.pending), (json!(1), Some(json!(2))));
    let view = node.service.node(&admin(), &node.id).await.unwrap();
    assert_eq!(
        view.labels,
        BTreeMap::from([("ring".to_owned(), "1".to_owned())])
    );
    let back = ConfigPatch {
        unset: vec!["workers".to_owned(), "labels".to_owned()],
        ..ConfigPatch::default()
    };
    let result = node
        .service
        .patch_config(&admin(), None, 1, back)
        .await
        .unwrap();
    assert!(result.overrides.settings.is_empty());
    let workers = setting(&node, "workers").await;
    assert_eq!((workers.value, workers.pending), (json!(1), None));
    assert_eq!(setting(&node, "labels").await.source, SettingSource::File);
    eventually("the change is told", async || {
        let events = store.events(None, 100).await.unwrap();
        events.iter().any(|event| {
            event.kind == EventKind::ConfigChanged && event.text.contains("workers unset")
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_is_told_of_once_and_what_was_in_force_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let good = set("software", json!("good"));
    node.service
        .patch_config(&admin(), None, 0, good)
        .await
        .unwrap();
    let software = || node.workers.policy().unwrap().settings.software.clone();
    let mut revision = 1;
    for body in [
        json!({"nonce_lifetime": "never"}),
        json!([1, 2]),
        json!("x"),
    ] {
        revision = store
            .put_document(CONFIG, &body, revision, "hand")
            .await
            .unwrap();
        eventually("it is told of", async || {
            let events = store.events(None, 100).await.unwrap();
            let told = format!("(revision {revision}, own 0) do not fit");
            events
                .iter()
                .filter(|event| event.text.contains(&told))
                .count()
                == 1
        })
        .await;
        assert_eq!(software().as_deref(), Some("good"));
        assert_eq!(view(&node).await.cluster_revision, 1);
    }
    let mended = json!({"software": "mended", "not.known.here": 1});
    store
        .put_document(CONFIG, &mended, revision, "hand")
        .await
        .unwrap();
    eventually("the next good one counts", async || {
        software().as_deref() == Some("mended")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_overrides_between_its_layers() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let all = set("labels", json!({"ring": "1"}));
    node.service
        .patch_config(&admin(), None, 0, all)
        .await
        .unwrap();
    let environment = BTreeMap::from([("RELAYD_SOFTWARE".to_owned(), "env".to_owned())]);
    let again = config_with(dir.path(), &BOTH, environment.clone());
    let change = node.service.reload_config(&again).await.unwrap();
    assert_eq!(change.live, ["software"]);
    let labels = setting(&node, "labels").await;
    assert_eq!(
        (labels.value, labels.source),
        (json!({"ring": "1"}), SettingSource::Cluster)
    );
    assert_eq!(
        setting(&node, "software").await.source,
        SettingSource::Environment
    );
    let hidden = set("software", json!("all"));
    let result = node
        .service
        .patch_config(&admin(), None, 1, hidden)
        .await
        .unwrap();
    assert_eq!(
        result.changes[0].hidden_by,
        Some(SettingSource::Environment)
    );
    assert_eq!(result.changes[0].new, json!("env"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_the_overrides_of_the_store_or_those_of_the_last_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let id: NodeId = "a".parse().unwrap();
    let put = async |name: &str, body: Value, revision| {
        store
            .put_document(name, &body, revision, "t")
            .await
            .unwrap();
    };
    put(CONFIG, json!({"workers": 2, "cluster": "all"}), 0).await;
    put(&config_of(&id), json!({"cluster": "own"}), 0).await;
    let loaded = config(dir.path(), &BOTH);
    let started = crate::control::at_start(loaded.clone(), &*store, &id).await;
    assert_eq!((started.workers, started.cluster.as_str()), (2, "own"));
    let node = TestNode::start_with(started, "a", 1, &store).await;
    put(CONFIG, json!({"workers": 3, "cluster": "all"}), 1).await;
    eventually("the change is known", async || {
        view(&node).await.cluster_revision == 2
    })
    .await;
    assert_eq!(setting(&node, "workers").await.pending, Some(json!(3)));

    let flaky = FlakyStore::new(Arc::clone(&store));
    flaky.set_away(true);
    let started = crate::control::at_start(loaded.clone(), &*flaky, &id).await;
    assert_eq!((started.workers, started.cluster.as_str()), (3, "own"));
    put(CONFIG, json!({"workers": 0}), 2).await;
    let started = crate::control::at_start(loaded.clone(), &*store, &id).await;
    assert_eq!(
        started.workers, 3,
        "a bad override does not undo the good ones"
    );
    std::fs::write(dir.path().join("overrides.json"), "{ not json").unwrap();
    let started = crate::control::at_start(loaded, &*store, &id).await;
    assert_eq!((started.workers, started.cluster.as_str()), (1, "test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_are_read_by_whoever_sees_all_realms_and_only_of_known_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let of = async |caller: &Caller, id: Option<&NodeId>| -> Result<ConfigOverrides, ApiError> {
        node.service.config_overrides(caller, id).await
    };
    let viewer = caller(Role::Viewer, &[]);
    assert_eq!(of(&viewer, None).await.unwrap().revision, 0);
    assert_eq!(of(&viewer, Some(&node.id)).await.unwrap().revision, 0);
    let confined = caller(Role::Admin, &["acme"]);
    assert_eq!(
        of(&confined, None).await.unwrap_err().error,
        ErrorKind::Denied
    );
    let refused = node.service.node_config(&confined, &node.id).await;
    assert_eq!(refused.unwrap_err().error, ErrorKind::Denied);
    let other: NodeId = "nobody".parse().unwrap();
    assert_eq!(
        of(&viewer, Some(&other)).await.unwrap_err().error,
        ErrorKind::NotFound
    );
    let patch = set("log.level", json!("debug"));
    let refused = node
        .service
        .patch_config(&admin(), Some(&other), 0, patch)
        .await;
    assert_eq!(refused.unwrap_err().error, ErrorKind::NotFound);
    let gone = node.service.node_config(&admin(), &other).await;
    assert_eq!(gone.unwrap_err().error, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_that_every_node_would_have_to_read_again_and_again_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let many = vec!["2001:db8::/32"; 20_000];
    let large = set("peers.denied", json!(many));
    let answer = node.service.patch_config(&admin(), None, 0, large).await;
    let error = answer.map(drop).unwrap_err();
    assert_eq!(error.error, ErrorKind::BadRequest);
    assert!(error.message.contains("at most"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_somebody_tried_to_override_is_nowhere_in_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for key in ["store.password", "realm.secrets"] {
        let patch = set(key, json!("hunter2"));
        let change = node.service.patch_config(&admin(), None, 0, patch).await;
        let error = change.unwrap_err();
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
    let told = set("software", json!("plain"));
    let change = node.service.patch_config(&admin(), None, 0, told).await;
    change.unwrap();
    eventually("the calls are in the audit", async || {
        store.audit_count().await.unwrap() == 3
    })
    .await;
    let audit = store.audit(None, 10).await.unwrap();
    let all = serde_json::to_string(&audit).unwrap();
    assert!(!all.contains("hunter2") && all.contains("store.password"));
    assert!(all.contains("software=plain"), "{all}");
}
