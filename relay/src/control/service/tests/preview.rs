//! What an edit of a realm would do, and whose origins are whose.

use turn_proto::policy::{Claimant, Quota as _, QuotaLimits};

use super::*;
use crate::control::testing::{TestNode, admin, caller, eventually, realm, snapshot, store};
use crate::store::document::MARK;

fn of(document: RealmDocument) -> RealmPut {
    RealmPut {
        document,
        reason: "why".to_owned(),
    }
}

/// Allows the peer that the sessions of these tests have: without it, it is a special-use address.
fn open() -> RealmDocument {
    RealmDocument {
        allowed_peers: vec!["198.51.100.0/24".parse().unwrap()],
        ..RealmDocument::default()
    }
}

/// Three sessions on `a` and as many on `b`, of alice but for one, and one in another realm.
async fn two_nodes(
    store: &Arc<dyn crate::store::Store>,
    dir: &std::path::Path,
) -> (TestNode, TestNode) {
    let a = TestNode::start("a", 1, store, dir).await;
    let b = TestNode::start("b", 2, store, dir).await;
    for count in 1..=3 {
        a.workers
            .create(snapshot(a.session(count), "alice", "acme"));
        let user = if count == 3 { "bob" } else { "alice" };
        b.workers.create(snapshot(b.session(count), user, "acme"));
    }
    b.workers.create(snapshot(b.session(9), "alice", "globex"));
    a.has_sessions(3).await;
    b.has_sessions(4).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_counts_on_every_node_and_writes_nothing() {
    let (dir, root) = (tempfile::tempdir().unwrap(), admin());
    let store = store(dir.path());
    let (a, _b) = two_nodes(&store, dir.path()).await;
    let acme = realm("acme");
    let limited = RealmDocument {
        max_sessions: Some(2),
        max_sessions_per_user: Some(1),
        ..open()
    };
    eventually("both nodes answer", async || {
        let preview = a.service.preview_realm(&root, &acme, of(limited.clone()));
        preview.await.unwrap().nodes == 2
    })
    .await;
    let ask = async |document| {
        let answer = a.service.preview_realm(&root, &acme, of(document)).await;
        answer.unwrap()
    };
    let preview = ask(limited.clone()).await;
    assert_eq!((preview.revision, preview.sessions), (0, 6));
    assert_eq!((preview.users_over_limit, preview.nodes_over_limit), (1, 2));
    assert_eq!(
        (
            preview.sessions_over_rate,
            preview.sessions_with_denied_peers
        ),
        (0, 0)
    );
    assert!(preview.errors.is_empty() && preview.missing.is_empty());

    let closed = RealmDocument {
        denied_peers: vec!["198.51.100.9".parse().unwrap()],
        ..RealmDocument::default()
    };
    assert_eq!(ask(closed).await.sessions_with_denied_peers, 6);
    let nothing_said = ask(RealmDocument::default()).await;
    assert_eq!(nothing_said.sessions_with_denied_peers, 6, "special use");

    let mut bytes = 0;
    let slow = RealmDocument {
        max_rate_bps: Some(8000),
        ..open()
    };
    eventually("a session is over the rate", async || {
        bytes += 100_000;
        a.workers.report(&[(a.session(1), bytes)]);
        ask(slow.clone()).await.sessions_over_rate == 1
    })
    .await;

    // A limit of their own stands above the realm's.
    let done = a
        .service
        .put_user(&root, &acme, "alice", put("correct horse"));
    done.await.unwrap();
    let patch = UserPatch {
        max_sessions: Some(100),
        ..UserPatch::default()
    };
    let done = a.service.patch_user(&root, &acme, "alice", patch);
    done.await.unwrap();
    assert_eq!(ask(limited).await.users_over_limit, 0);

    assert_eq!(a.service.realm(&root, &acme).await.unwrap().revision, 0);
    let audit = a.service.audit(&root, &ListQuery::default()).await.unwrap();
    assert!(
        audit
            .items
            .iter()
            .all(|record| record.action.starts_with("user."))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_lists_what_is_wrong_and_is_for_admins_of_the_realm() {
    let (dir, root) = (tempfile::tempdir().unwrap(), admin());
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (acme, globex) = (realm("acme"), realm("globex"));
    let with = |origin: &str| RealmDocument {
        origins: vec![origin.to_owned()],
        ..RealmDocument::default()
    };
    let service = &node.service;
    let first = service.put_realm(&root, &globex, 0, of(with("https://a.example")));
    assert_eq!(first.await.unwrap().document.origins, ["https://a.example"]);
    let wrong = RealmDocument {
        max_sessions: Some(0),
        ..with("https://a.example:443")
    };
    let preview = service
        .preview_realm(&root, &acme, of(wrong))
        .await
        .unwrap();
    assert_eq!(preview.errors.len(), 2, "{:?}", preview.errors);
    assert!(preview.errors[1].contains("globex"), "{:?}", preview.errors);

    let taken = service.put_realm(&root, &acme, 0, of(with("https://a.example:443")));
    let taken = taken.await.unwrap_err();
    assert_eq!(taken.error, ErrorKind::Conflict);
    assert!(taken.message.contains("globex"), "{}", taken.message);
    let own = service.put_realm(&root, &globex, 1, of(with("https://a.example:443")));
    assert_eq!(own.await.unwrap().revision, 2);

    for (role, scope) in [(Role::Operator, "acme"), (Role::Admin, "globex")] {
        let caller = caller(role, &[scope]);
        let denied = service.preview_realm(&caller, &acme, of(open())).await;
        assert_eq!(denied.unwrap_err().error, ErrorKind::Denied);
    }
    let confined = caller(Role::Admin, &["acme"]);
    assert!(
        service
            .preview_realm(&confined, &acme, of(open()))
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_vanished_with_an_emptied_store_is_not_foreseen_to_end() {
    let (dir, root) = (tempfile::tempdir().unwrap(), admin());
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    for user in ["alice", "bob"] {
        let done = service.put_user(&root, &acme, user, put("correct horse"));
        done.await.unwrap();
    }
    eventually("the store's mark is there", async || {
        store.document(MARK).await.unwrap().is_some()
    })
    .await;
    let mark = store.document(MARK).await.unwrap().unwrap();
    for (count, user) in (1..).zip(["alice", "bob", "carol"]) {
        let mut session = snapshot(node.session(count), user, "acme");
        // They came with a password, carol with one that nobody has any more.
        session.key_id = 7;
        let claimant = Claimant {
            realm: &acme,
            user,
            source: [192, 0, 2, 1].into(),
        };
        let quota = &service.hub.quota;
        quota.try_reserve(claimant, QuotaLimits::default()).unwrap();
        node.workers.create(session);
    }
    let mut of_secret = snapshot(node.session(4), "dave", "acme");
    of_secret.secret_id = Some("gone".into());
    node.workers.create(of_secret);
    node.has_sessions(4).await;
    let revokes = || {
        of(RealmDocument {
            revoke_on_user_removal: true,
            revoke_on_secret_removal: true,
            ..open()
        })
    };
    let foreseen = async || {
        let preview = service
            .preview_realm(&root, &acme, revokes())
            .await
            .unwrap();
        (preview.sessions_revoked, preview.sessions_unjudged)
    };
    eventually("carol's and dave's would end", async || {
        foreseen().await == (2, 0)
    })
    .await;
    // Another store in its place: nobody looked at its mark since, for no realm revokes.
    store.delete_user(&acme, "alice").await.unwrap();
    let other = serde_json::json!({ "mark": "another" });
    store
        .put_document(MARK, &other, mark.revision, "x")
        .await
        .unwrap();
    assert_eq!(
        foreseen().await,
        (0, 0),
        "who vanished with it did not lose anything"
    );
    store.delete_user(&acme, "bob").await.unwrap();
    assert_eq!(foreseen().await, (0, 0), "nor who was not seen since");
}
