//! Keys and hashes of users, from the API to the workers.

use shared::PasswordAlgorithm::{Md5, Sha256};
use turn_proto::auth::credential::{CredentialAnswer, Sha256Key, UserhashAnswer, userhash};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_makes_both_keys_and_a_hash_that_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let user = node
        .service
        .put_user(&admin(), &acme, "alice", put("cafe\u{301} au lait"))
        .await
        .unwrap();
    assert_eq!(user.algorithms, [Md5, Sha256]);
    node.workers.look_up("acme", "alice");
    let key = Sha256Key::derive("alice", "acme", "caf\u{e9} au lait");
    eventually("the SHA-256 key of the prepared password", async || {
        matches!(
            node.workers.answers().last(),
            Some(CredentialAnswer::Known(known)) if known.sha256.as_ref() == Some(&key)
        )
    })
    .await;
    for name in ["alice", "nobody"] {
        node.workers.look_up_hash("acme", userhash(name, "acme"));
    }
    eventually("both hashes are answered", async || {
        let answers = node.workers.userhashes();
        answers.len() == 2
            && answers.contains(&UserhashAnswer::Known("alice".parse().unwrap()))
            && answers.contains(&UserhashAnswer::Unknown)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_written_as_clients_send_it_unless_another_tool_wrote_it_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let (decomposed, composed) = ("e\u{301}", "\u{e9}");
    let service = &node.service;
    let given = service
        .put_user(&admin(), &acme, decomposed, put("pw"))
        .await;
    assert_eq!(given.unwrap().name, composed);
    let keys = crate::store::UserKeys::coturns([1; 16].into());
    store.put_user(&acme, decomposed, &keys).await.unwrap();
    let given = service
        .put_user(&admin(), &acme, decomposed, put("pw"))
        .await;
    assert_eq!(given.unwrap().name, decomposed);
    for (name, password) in [("zero\u{200b}width", "pw"), ("bob", "pw\u{ad}")] {
        let refused = service.put_user(&admin(), &acme, name, put(password)).await;
        assert_eq!(refused.unwrap_err().error, ErrorKind::BadRequest);
    }
}
