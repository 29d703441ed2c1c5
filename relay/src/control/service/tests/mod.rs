mod alerts;
mod audit;
mod away;
mod config;
mod groups;
mod history;
mod preview;
mod redirects;
mod refusals;
mod userhash;

use shared::api::{
    BlockRequest, ItemOutcome, JobState, KillRequest, ListQuery, MintRequest, NodeRole,
    RealmDocument, RealmPut, SecretCreate, SessionsKill, TokenCreate, UserPatch, UserPut,
};
use turn_proto::auth::credential::CredentialAnswer;

use super::*;
use crate::control::testing::{
    TestNode, admin, caller, config, eventually, realm, snapshot, store,
};

fn put(password: &str) -> UserPut {
    UserPut {
        password: password.to_owned(),
        reason: "test".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_listed_described_and_killed_from_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 0xaaaa_0001, &store, dir.path()).await;
    let b = TestNode::start("b", 0xbbbb_0002, &store, dir.path()).await;
    for count in 1..=3 {
        a.workers
            .create(snapshot(a.session(count), "alice", "acme"));
    }
    b.workers.create(snapshot(b.session(1), "bob", "acme"));
    let everything = ListQuery::default();
    eventually("b lists the sessions of both", async || {
        let page = b.service.sessions(&admin(), &everything).await.unwrap();
        page.total == 4 && page.missing.is_empty()
    })
    .await;
    a.workers.report(&[(a.session(2), 1_000_000)]);
    let by_rate = ListQuery {
        sort: Some("rate:desc".into()),
        limit: Some(1),
        ..ListQuery::default()
    };
    eventually("the fastest is first", async || {
        let page = b.service.sessions(&admin(), &by_rate).await.unwrap();
        page.items[0].id == a.session(2) && page.items[0].rate_in_bps > 0 && page.next.is_some()
    })
    .await;
    let id = a.session(1).to_string();
    let detail = b.service.session(&admin(), &id).await.unwrap();
    assert_eq!(detail.session.node, a.id);
    assert_eq!(detail.session.peers, ["198.51.100.9:7000"]);
    let ambiguous = b.service.session(&admin(), "aaaa00").await.unwrap_err();
    assert_eq!(ambiguous.error, ErrorKind::Conflict);
    let killed = b
        .service
        .kill_session(&admin(), &id, KillRequest::default())
        .await
        .unwrap();
    assert_eq!((killed.node, killed.user.as_str()), (a.id.clone(), "alice"));
    a.has_sessions(2).await;
    let gone = b
        .service
        .kill_session(&admin(), &id, KillRequest::default())
        .await
        .unwrap_err();
    assert_eq!(gone.error, ErrorKind::NotFound);
    let users = b
        .service
        .users(&admin(), &ListQuery::default())
        .await
        .unwrap();
    let sessions: Vec<_> = users
        .items
        .iter()
        .map(|u| (u.name.as_str(), u.sessions))
        .collect();
    assert_eq!(sessions, [("alice", 2), ("bob", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_named_and_its_rows_are_marked_stale() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    b.workers.create(snapshot(b.session(1), "bob", "acme"));
    eventually("a sees b's session", async || {
        a.service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 1
    })
    .await;
    let kill = || SessionsKill {
        filter: Some("realm=acme".into()),
        expected: 10,
        dry_run: true,
        ..SessionsKill::default()
    };
    let job = a.service.start_kill_job(&admin(), kill()).await.unwrap();
    assert_eq!((job.total, job.missing.len()), (1, 0));
    // b's tasks end, but it says no goodbye.
    b.cancel.cancel();
    drop(b.handle);
    eventually("b is missing and its row is stale", async || {
        let page = a
            .service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap();
        page.missing.len() == 1 && page.items.len() == 1 && page.items[0].stale
    })
    .await;
    let job = a.service.start_kill_job(&admin(), kill()).await.unwrap();
    assert_eq!((job.total, job.missing.len()), (0, 1));
    assert_eq!(job.missing[0].node, b.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_user_reaches_workers_and_lookups() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let view = node
        .service
        .put_user(&admin(), &acme, "alice", put("pw"))
        .await
        .unwrap();
    assert!(view.stored);
    let last = |answers: Vec<CredentialAnswer>| answers.last().cloned();
    node.workers.look_up("acme", "alice");
    eventually("the key is found", async || {
        matches!(
            last(node.workers.answers()),
            Some(CredentialAnswer::Known(_))
        )
    })
    .await;
    let before = node.workers.forgotten();
    let patch = UserPatch {
        disabled: Some(true),
        max_sessions: Some(3),
        ..UserPatch::default()
    };
    let view = node
        .service
        .patch_user(&admin(), &acme, "alice", patch)
        .await
        .unwrap();
    assert_eq!((view.disabled, view.limit), (true, Some(3)));
    assert!(node.workers.forgotten() > before);
    node.workers.look_up("acme", "alice");
    eventually("a disabled user is unknown", async || {
        last(node.workers.answers()) == Some(CredentialAnswer::Unknown)
    })
    .await;
    node.service
        .delete_user(&admin(), &acme, "alice", "")
        .await
        .unwrap();
    let again = node
        .service
        .delete_user(&admin(), &acme, "alice", "")
        .await
        .unwrap_err();
    assert_eq!(again.error, ErrorKind::NotFound);
    eventually(
        "the audit has every call, the refused one too",
        async || {
            let everything = ListQuery::default();
            let audit = node.service.audit(&admin(), &everything).await.unwrap();
            let calls: Vec<_> = audit
                .items
                .iter()
                .rev()
                .map(|a| (a.action.as_str(), a.result == "ok"))
                .collect();
            calls
                == [
                    ("user.put", true),
                    ("user.patch", true),
                    ("user.delete", true),
                    ("user.delete", false),
                ]
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_edit_is_compared_and_takes_effect_on_every_node() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let a = TestNode::start("a", 1, &store, dir.path()).await;
    let b = TestNode::start("b", 2, &store, dir.path()).await;
    let acme = realm("acme");
    let edit = |max| RealmPut {
        document: RealmDocument {
            max_sessions: Some(max),
            ..RealmDocument::default()
        },
        reason: String::new(),
    };
    let view = a
        .service
        .put_realm(&admin(), &acme, 0, edit(5))
        .await
        .unwrap();
    assert_eq!(view.revision, 1);
    eventually("b judges by it", async || {
        let policy = b.workers.policy().unwrap();
        policy.realms[&acme].max_sessions == Some(5)
    })
    .await;
    let lost = b
        .service
        .put_realm(&admin(), &acme, 0, edit(6))
        .await
        .unwrap_err();
    assert_eq!(
        (lost.error, lost.current_revision),
        (ErrorKind::RevisionConflict, Some(1))
    );
    let invalid = b
        .service
        .put_realm(&admin(), &acme, 1, edit(0))
        .await
        .unwrap_err();
    assert_eq!(invalid.error, ErrorKind::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_has_secrets_as_soon_as_it_has_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let fresh = realm("fresh");
    let added = node
        .service
        .put_user(&admin(), &fresh, "bob", put("correct horse"))
        .await;
    added.unwrap();
    let made = node
        .service
        .create_secret(&admin(), &fresh, SecretCreate::default())
        .await;
    assert_eq!(made.unwrap().secret.realm, fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once_and_only_if_generated() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let made = node
        .service
        .create_secret(&admin(), &acme, SecretCreate::default())
        .await
        .unwrap();
    let value = made.value.clone().unwrap();
    assert_eq!(value.len(), 43);
    let given = SecretCreate {
        value: Some("0123456789abcdef".into()),
        ..SecretCreate::default()
    };
    let given = node
        .service
        .create_secret(&admin(), &acme, given)
        .await
        .unwrap();
    assert_eq!(given.value, None);
    let page = node.service.secrets(&admin(), &acme).await.unwrap();
    assert_eq!(page.total, 3);
    let shown = format!(
        "{} {page:?} {made:?} {:?}",
        serde_json::to_string(&page).unwrap(),
        node.service
    );
    for secret in [value.as_str(), "0123456789abcdef", "a-secret-of-the-file"] {
        assert!(!shown.contains(secret));
    }
    let minted = MintRequest {
        user: "alice".into(),
        ttl_secs: None,
    };
    let minted = node
        .service
        .mint(&caller(Role::Mint, &["acme"]), &acme, minted)
        .await
        .unwrap();
    assert!(minted.username.ends_with(":alice"));
    assert_eq!(minted.urls, ["turn:192.0.2.1:3478?transport=udp"]);
    node.service
        .delete_secret(&admin(), &acme, &made.secret.id, "")
        .await
        .unwrap();
    let policy = node.workers.policy().unwrap();
    assert_eq!(policy.realms[&acme].secrets.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_realms_confine_callers() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    node.workers
        .create(snapshot(node.session(1), "alice", "acme"));
    node.workers
        .create(snapshot(node.session(2), "bob", "globex"));
    node.has_sessions(2).await;
    let (acme, globex) = (realm("acme"), realm("globex"));
    let viewer = caller(Role::Viewer, &["acme"]);
    let page = node
        .service
        .sessions(&viewer, &ListQuery::default())
        .await
        .unwrap();
    assert_eq!((page.total, page.items[0].user.as_str()), (1, "alice"));
    let hidden = node.session(2).to_string();
    let kind = |error: ApiError| error.error;
    let found = node.service.session(&viewer, &hidden).await.unwrap_err();
    assert_eq!(kind(found), ErrorKind::NotFound);
    let id = node.session(1).to_string();
    let kill = node
        .service
        .kill_session(&viewer, &id, KillRequest::default())
        .await
        .unwrap_err();
    assert_eq!(kind(kill), ErrorKind::Denied);
    let operator = caller(Role::Operator, &["acme"]);
    let kill = node
        .service
        .kill_session(&operator, &hidden, KillRequest::default())
        .await;
    assert_eq!(kind(kill.unwrap_err()), ErrorKind::NotFound);
    let confined = caller(Role::Admin, &["acme"]);
    let other = node
        .service
        .put_user(&confined, &globex, "x", put("pw"))
        .await
        .unwrap_err();
    assert_eq!(kind(other), ErrorKind::Denied);
    assert!(
        node.service
            .put_user(&confined, &acme, "x", put("pw"))
            .await
            .is_ok()
    );
    assert_eq!(
        kind(node.service.tokens(&confined).await.unwrap_err()),
        ErrorKind::Denied
    );
    assert_eq!(
        kind(
            node.service
                .audit(&confined, &ListQuery::default())
                .await
                .unwrap_err()
        ),
        ErrorKind::Denied
    );
    let mint = caller(Role::Mint, &[]);
    assert_eq!(
        kind(node.service.overview(&mint).await.unwrap_err()),
        ErrorKind::Denied
    );
    assert_eq!(node.service.overview(&viewer).await.unwrap().sessions, 1);
}

/// Two nodes with thirty sessions of `bot` each.
async fn two_nodes_of_bots(
    store: &Arc<dyn crate::store::Store>,
    dir: &std::path::Path,
) -> (TestNode, TestNode) {
    let a = TestNode::start("a", 1, store, dir).await;
    let b = TestNode::start("b", 2, store, dir).await;
    for count in 1..=30 {
        a.workers.create(snapshot(a.session(count), "bot", "acme"));
        b.workers.create(snapshot(b.session(count), "bot", "acme"));
    }
    eventually("a sees all", async || {
        a.service
            .sessions(&admin(), &ListQuery::default())
            .await
            .unwrap()
            .total
            == 60
    })
    .await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_kills_what_was_expected_and_blocks_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (a, b) = two_nodes_of_bots(&store, dir.path()).await;
    let kill = |expected, dry_run| SessionsKill {
        filter: Some("user=bot".into()),
        expected,
        rate: 10_000,
        block_secs: Some(60),
        dry_run,
        ..SessionsKill::default()
    };
    let more = a
        .service
        .start_kill_job(&admin(), kill(59, false))
        .await
        .unwrap_err();
    assert_eq!(more.error, ErrorKind::Conflict);
    let dry = a
        .service
        .start_kill_job(&admin(), kill(60, true))
        .await
        .unwrap();
    assert!(
        dry.items
            .iter()
            .all(|item| item.outcome == ItemOutcome::WouldKill)
    );
    assert_eq!((dry.state, dry.items.len()), (JobState::Done, 60));
    let job = a
        .service
        .start_kill_job(&admin(), kill(60, false))
        .await
        .unwrap();
    eventually("the job is done", async || {
        let job = b.service.job(&admin(), &job.id).await.unwrap();
        job.state == JobState::Done && job.done == 60 && job.failed == 0
    })
    .await;
    let blocks = b
        .service
        .blocks(&admin(), &ListQuery::default())
        .await
        .unwrap();
    assert_eq!(blocks.items[0].user, "bot");
    eventually("b refuses the user", async || {
        !b.workers.policy().unwrap().blocks.is_empty()
    })
    .await;
    a.service
        .delete_block(&admin(), &realm("acme"), "bot", "")
        .await
        .unwrap();
    let request = BlockRequest {
        secs: 60,
        reason: String::new(),
    };
    let empty = a
        .service
        .put_block(&admin(), &realm("acme"), "", request)
        .await
        .unwrap_err();
    assert_eq!(empty.error, ErrorKind::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_verified_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let create = TokenCreate {
        label: "grafana".to_owned(),
        role: Role::Viewer,
        realms: vec![realm("acme"), realm("acme")],
        ttl_secs: None,
        reason: String::new(),
    };
    let made = node.service.create_token(&admin(), create).await.unwrap();
    let who = node.service.authenticate(&made.token).unwrap();
    assert_eq!((who.role, who.realms), (Role::Viewer, vec![realm("acme")]));
    let wrong = format!("{}x", made.token);
    assert_eq!(node.service.authenticate(&wrong), None);
    assert_eq!(node.service.authenticate("rct_"), None);
    let page = node.service.tokens(&admin()).await.unwrap();
    let shown = format!("{}{page:?}{made:?}", serde_json::to_string(&page).unwrap());
    assert!(!shown.contains(&made.token));
    let cached = crate::control::tokens::Tokens::new(dir.path().join("tokens.json"));
    cached.load();
    assert!(cached.verify(&made.token, Moment::now()).is_some());
    node.service
        .delete_token(&admin(), &made.view.id, "")
        .await
        .unwrap();
    assert_eq!(node.service.authenticate(&made.token), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_news_are_healed_by_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    for count in 1..=3 {
        node.workers
            .create(snapshot(node.session(count), "alice", "acme"));
    }
    node.has_sessions(3).await;
    node.workers.lose(node.session(2));
    node.workers.overflow();
    node.has_sessions(2).await;
    eventually("the store has the two that are left", async || {
        store.sessions(&node.id).await.unwrap().len() == 2
    })
    .await;
}

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
