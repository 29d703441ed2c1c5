//! Realms with their users and secrets.

use super::*;

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
        ..MintRequest::default()
    };
    let minted = node
        .service
        .mint(&caller(Role::Mint, &["acme"]), &acme, minted)
        .await
        .unwrap();
    assert!(minted.username.ends_with(":alice"));
    assert_eq!(minted.urls, ["turn:192.0.2.1:3478?transport=udp"]);
    let [server] = &minted.ice_servers[..] else {
        panic!("{minted:?}")
    };
    assert_eq!(server.urls, minted.urls);
    assert_eq!(server.username, minted.username);
    assert_eq!(server.credential, minted.credential);
    node.service
        .delete_secret(&admin(), &acme, &made.secret.id, "")
        .await
        .unwrap();
    let policy = node.workers.policy().unwrap();
    assert_eq!(policy.realms[&acme].secrets.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_configuration_has_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let refused = node.service.delete_realm(&admin(), &acme, 0, "").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.error, ErrorKind::BadRequest);
    assert!(
        refused.message.contains("configuration file"),
        "{}",
        refused.message
    );
    let revisions = node.service.realm_revisions(&admin(), &acme).await;
    assert_eq!(revisions.unwrap_err().error, ErrorKind::NotFound);
    assert!(store.realm_revisions(&acme).await.unwrap().is_empty());
}
