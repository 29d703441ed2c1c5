//! The drain of nodes without sockets, on one store.

use std::path::Path;
use std::sync::Arc;

use shared::api::{
    DrainRequest, DrainView, ErrorKind, EventKind, KillRequest, NodeRole, NodeState, Role,
};
use turn_proto::policy::Drain;

use crate::control::clock::Moment;
use crate::control::testing::*;
use crate::store::Store;

/// A node with a state directory of its own.
async fn start(dir: &Path, name: &str, base: u32, store: &Arc<dyn Store>) -> TestNode {
    let state = dir.join(name);
    std::fs::create_dir_all(&state).unwrap();
    TestNode::start(name, base, store, &state).await
}

async fn stop(node: TestNode) {
    node.cancel.cancel();
    node.handle.stopped().await;
}

fn request(reason: &str) -> DrainRequest {
    DrainRequest {
        reason: reason.to_owned(),
        ..DrainRequest::default()
    }
}

async fn drain(by: &TestNode, of: &TestNode, request: DrainRequest) -> DrainView {
    let drained = by.service.drain_node(&admin(), &of.id, request).await;
    drained.unwrap()
}

async fn state(by: &TestNode, of: &str) -> NodeState {
    let node = by.service.node(&admin(), &of.parse().unwrap()).await;
    node.unwrap().state
}

async fn sees(by: &TestNode, of: &str, wanted: NodeState) {
    eventually("the state is known", async || {
        let node = by.service.node(&admin(), &of.parse().unwrap()).await;
        node.is_ok_and(|node| node.state == wanted)
    })
    .await;
}

fn mode(node: &TestNode) -> Option<Drain> {
    node.workers.policy().unwrap().drain
}

#[tokio::test(flavor = "multi_thread")]
async fn any_gateway_drains_any_node_until_it_is_undrained() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (a, b) = (
        start(dir.path(), "a", 1, &store).await,
        start(dir.path(), "b", 2, &store).await,
    );
    sees(&a, "b", NodeState::Ready).await;
    b.workers.create(snapshot(b.session(1), "alice", "acme"));
    b.has_sessions(1).await;
    let view = drain(&a, &b, request("kernel")).await;
    assert_eq!(
        (view.by.as_str(), view.reason.as_str()),
        ("unix:0", "kernel")
    );
    assert_eq!((view.sessions_at_start, view.deadline_at_ms), (1, None));
    assert_eq!(view.estimate.empty_secs, None, "nothing was observed");
    assert_eq!((mode(&b), mode(&a)), (Some(Drain::KeepSessions), None));
    sees(&a, "b", NodeState::Draining).await;
    let readiness = b.service.readiness();
    assert_eq!(
        readiness.reasons,
        ["the node is draining", "sessions left: 1"]
    );
    assert!(!readiness.ready);
    let again = DrainRequest {
        refuse_refresh: true,
        ..request("faster")
    };
    let changed = drain(&a, &b, again).await;
    assert_eq!(changed.started_at_ms, view.started_at_ms);
    assert!(changed.estimate.latest_secs.is_some_and(|secs| secs <= 600));
    assert_eq!(mode(&b), Some(Drain::EndByLifetime));
    a.service.undrain_node(&admin(), &b.id, "").await.unwrap();
    assert_eq!(mode(&b), None);
    sees(&a, "b", NodeState::Ready).await;
    let error = a.service.undrain_node(&admin(), &b.id, "").await;
    assert_eq!(error.unwrap_err().error, ErrorKind::NotFound);
    eventually("both are audited", async || {
        let audit = a
            .service
            .audit(&admin(), &Default::default())
            .await
            .unwrap();
        let has = |action| audit.items.iter().any(|one| one.action == action);
        has("node.drain") && has("node.undrain")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_outlives_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = start(dir.path(), "n1", 1, &store).await;
    let view = drain(&node, &node, request("disk")).await;
    stop(node).await;
    let file = dir.path().join("n1/drain.json");
    assert!(file.exists());
    let node = start(dir.path(), "n1", 2, &store).await;
    assert_eq!(
        mode(&node),
        Some(Drain::KeepSessions),
        "from the first policy on"
    );
    assert_eq!(state(&node, "n1").await, NodeState::Draining);
    let own = node.service.node(&admin(), &node.id).await.unwrap();
    assert_eq!(own.drain.unwrap().started_at_ms, view.started_at_ms);
    stop(node).await;
    // A container's directory is new: the registry knows.
    std::fs::remove_file(&file).unwrap();
    let node = start(dir.path(), "n1", 3, &store).await;
    assert_eq!(mode(&node), Some(Drain::KeepSessions));
    node.service
        .undrain_node(&admin(), &node.id, "")
        .await
        .unwrap();
    stop(node).await;
    let node = start(dir.path(), "n1", 4, &store).await;
    assert_eq!(state(&node, "n1").await, NodeState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_beats_an_older_record_of_the_registry() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = start(dir.path(), "n1", 1, &store).await;
    drain(&node, &node, request("")).await;
    stop(node).await;
    let file = dir.path().join("n1/drain.json");
    std::fs::write(&file, r#"{"drain": null}"#).unwrap();
    let node = start(dir.path(), "n1", 2, &store).await;
    assert_eq!(mode(&node), None);
    stop(node).await;
    let newer = r#"{"drain": {"started_at_ms": 5, "by": "x", "ring": 7}}"#;
    std::fs::write(&file, newer).unwrap();
    let node = start(dir.path(), "n1", 3, &store).await;
    drain(&node, &node, request("again")).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""ring": 7"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = start(dir.path(), "n1", 1, &store).await;
    for count in 0..1500 {
        let session = snapshot(node.session(count), "alice", "acme");
        node.workers.create(session);
    }
    node.has_sessions(1500).await;
    let soon = DrainRequest {
        deadline_secs: Some(1),
        ..request("now")
    };
    let view = drain(&node, &node, soon).await;
    assert!(view.deadline_at_ms.is_some());
    assert!(view.estimate.latest_secs.is_some_and(|secs| secs <= 1));
    node.has_sessions(0).await;
    let mut texts = Vec::new();
    eventually("the end is told", async || {
        let events = node.service.events(&admin(), None, 1000).await.unwrap();
        texts = events.items.into_iter().collect::<Vec<_>>();
        texts.iter().any(|event| event.text.contains("is empty"))
    })
    .await;
    let is_drained = |text: &str| text.contains(" drained, ");
    let ended = texts
        .iter()
        .filter(|event| event.kind == EventKind::SessionEnded);
    assert!(ended.clone().count() > 0);
    assert!(ended.clone().all(|event| is_drained(&event.text)));
    assert_eq!(
        state(&node, "n1").await,
        NodeState::Draining,
        "and it stays so"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_for_operators_of_the_whole_and_for_relays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = start(dir.path(), "n1", 1, &store).await;
    let as_caller = async |caller| {
        let drained = node
            .service
            .drain_node(&caller, &node.id, request(""))
            .await;
        drained.map(drop).map_err(|error| error.error)
    };
    let denied = Err(ErrorKind::Denied);
    assert_eq!(as_caller(caller(Role::Viewer, &[])).await, denied);
    assert_eq!(as_caller(caller(Role::Admin, &["acme"])).await, denied);
    assert_eq!(mode(&node), None);
    assert_eq!(as_caller(caller(Role::Operator, &[])).await, Ok(()));
    let failure = async |id: &str, deadline_secs| {
        let request = DrainRequest {
            deadline_secs,
            ..request("")
        };
        let id = id.parse().unwrap();
        let drained = node.service.drain_node(&admin(), &id, request).await;
        drained.unwrap_err().error
    };
    assert_eq!(failure("n1", Some(0)).await, ErrorKind::BadRequest);
    assert_eq!(failure("n1", Some(u64::MAX)).await, ErrorKind::BadRequest);
    assert_eq!(failure("n2", None).await, ErrorKind::NotFound);
    let state = dir.path().join("gate");
    std::fs::create_dir_all(&state).unwrap();
    let gateway = config(&state, &[NodeRole::Gateway]);
    let gate = TestNode::start_with(gateway, "gate", 2, &store).await;
    sees(&node, "gate", NodeState::Ready).await;
    assert_eq!(failure("gate", None).await, ErrorKind::Conflict);
    stop(gate).await;
    let seen = node
        .service
        .node(&caller(Role::Viewer, &["acme"]), &node.id)
        .await;
    assert_eq!(seen.unwrap().drain.unwrap().by, "", "words of operators");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_estimated_from_sessions_that_ended_here() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = start(dir.path(), "n1", 1, &store).await;
    let create = |count| {
        let mut session = snapshot(node.session(count), "alice", "acme");
        // Whoever is left is younger than whoever ended, however long this takes.
        let age = if count < 60 { 30 } else { 0 };
        session.created_unix = Moment::now().unix_secs() - age;
        node.workers.create(session);
    };
    (0..62).for_each(create);
    node.has_sessions(62).await;
    (0..60).for_each(|count| node.workers.expire(node.session(count)));
    node.has_sessions(2).await;
    // A kill is no observation.
    let id = node.session(61).to_string();
    let killed = node
        .service
        .kill_session(&admin(), &id, KillRequest::default())
        .await;
    killed.unwrap();
    let estimate = drain(&node, &node, request("")).await.estimate;
    assert_eq!(estimate.observed, 60);
    assert!(
        estimate.empty_secs.is_some_and(|secs| secs <= 60),
        "{estimate:?}"
    );
    assert_eq!(estimate.latest_secs, None);
}
