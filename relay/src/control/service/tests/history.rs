//! Figures over time, across nodes.

use super::*;
use crate::control::testing::{TestNode, admin, caller, eventually, realm, snapshot, store};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_watched_from_another_node_from_the_moment_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 0xaaaa_0001, &store, dir.path()).await;
    let b = TestNode::start("b", 0xbbbb_0002, &store, dir.path()).await;
    a.workers.create(snapshot(a.session(1), "alice", "acme"));
    let id = a.session(1).to_string();
    eventually("b finds the session", async || {
        b.service.session(&admin(), &id).await.is_ok()
    })
    .await;
    let view = b.service.session_history(&admin(), &id).await.unwrap();
    assert_eq!(view.subject, format!("session/{id}"));
    assert_eq!((view.step_secs, view.samples.len()), (1, 120));
    assert_eq!(view.end_at_ms % 1000, 0);
    assert!(view.samples[119].is_some_and(|sample| sample.sessions == 1));
    assert_eq!(view.samples[..60], [None; 60]);
    let mut bytes = 0;
    eventually("three seconds with the traffic of each", async || {
        bytes += 10_000;
        a.workers.report(&[(a.session(1), bytes)]);
        let view = b.service.session_history(&admin(), &id).await.unwrap();
        let moving = |sample: &&Option<_>| {
            sample.is_some_and(|sample: shared::api::HistorySample| sample.rate_in_bps > 0)
        };
        view.samples.iter().filter(moving).count() >= 3
    })
    .await;
    let viewer = caller(Role::Viewer, &["globex"]);
    let hidden = b.service.session_history(&viewer, &id).await.unwrap_err();
    assert_eq!(hidden.error, ErrorKind::NotFound);
    let short = b.service.session_history(&admin(), &id[..8]).await;
    assert_eq!(short.unwrap_err().error, ErrorKind::BadRequest);
    let unknown = b
        .service
        .session_history(&admin(), "0123456789abcdef")
        .await;
    assert_eq!(unknown.unwrap_err().error, ErrorKind::NotFound);
    let kill = KillRequest::default();
    b.service.kill_session(&admin(), &id, kill).await.unwrap();
    let over = b.service.session_history(&admin(), &id).await.unwrap_err();
    assert_eq!(over.error, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detail_says_how_long_the_rates_of_its_permissions_were_measured() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let mut session = snapshot(node.session(1), "alice", "acme");
    session.permissions[0].in_bytes = 5000;
    node.workers.create(session.clone());
    node.has_sessions(1).await;
    let id = node.session(1).to_string();
    let detail = node.service.session(&admin(), &id).await.unwrap();
    assert!(detail.permission_rates_ms.is_some_and(|ms| ms >= 80));
    // What it relayed before anybody looked is no rate.
    assert_eq!(detail.permissions[0].rate_in_bps, 0);
    let mut relayed = 5000;
    eventually("the rate of the permission", async || {
        relayed += 50_000;
        session.permissions[0].in_bytes = relayed;
        node.workers.describe_as(session.clone());
        let detail = node.service.session(&admin(), &id).await.unwrap();
        detail.permissions[0].rate_in_bps > 0 && detail.permissions[0].rate_out_bps == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_missing_and_has_gaps_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    eventually("a hears of b", async || {
        let history = a.service.node_history(&admin(), &b.id).await;
        history.is_ok_and(|history| history.missing.is_empty())
    })
    .await;
    let whole = a.service.overview_history(&admin()).await.unwrap();
    assert_eq!((whole.step_secs, whole.samples.len()), (10, 360));
    assert_eq!(whole.end_at_ms % 10_000, 0);
    assert_eq!(whole.missing, []);
    b.cancel.cancel();
    drop(b.handle);
    eventually("b is missing", async || {
        let whole = a.service.overview_history(&admin()).await.unwrap();
        whole.missing.len() == 1 && whole.missing[0].node == b.id
    })
    .await;
    let of_b = a.service.node_history(&admin(), &b.id).await.unwrap();
    assert_eq!(of_b.missing.len(), 1);
    assert_eq!(of_b.samples, vec![None; 360]);
    let nobody = "nobody".parse().unwrap();
    let nobody = a.service.node_history(&admin(), &nobody).await;
    assert_eq!(nobody.unwrap_err().error, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn realms_confine_histories_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (viewer, acme) = (caller(Role::Viewer, &["globex"]), realm("acme"));
    let service = &node.service;
    let kind = |answer: Result<_, ApiError>| answer.map(drop).unwrap_err().error;
    let denied = service.realm_history(&viewer, &acme).await;
    assert_eq!(kind(denied), ErrorKind::Denied);
    let denied = service.user_history(&viewer, &acme, "alice").await;
    assert_eq!(kind(denied), ErrorKind::Denied);
    let unknown = service.realm_history(&admin(), &realm("nowhere")).await;
    assert_eq!(kind(unknown), ErrorKind::NotFound);
    let mint = caller(Role::Mint, &[]);
    assert_eq!(
        kind(service.overview_history(&mint).await),
        ErrorKind::Denied
    );
    let user = service
        .user_history(&admin(), &acme, "ali/ce")
        .await
        .unwrap();
    assert_eq!(user.subject, "user/acme/ali/ce");
    assert_eq!((user.missing.len(), user.samples.len()), (0, 360));
}
