//! Who may do what: roles, realms and tokens.

use super::*;

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
