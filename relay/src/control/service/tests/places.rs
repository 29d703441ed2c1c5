//! Places among the sessions of all nodes.

use turn_proto::policy::{Claimant, PlaceAnswer, Quota as _, QuotaLimits};

use super::*;
use crate::control::testing::FlakyStore;
use crate::store::quota::{QUOTA_TURN, QuotaTurn, UserTurn};
use crate::store::{QuotaAnswer, Store};

/// What the store has of a user at others than the one that asks.
async fn others(store: &dyn Store, user: &str) -> u32 {
    let turn = QuotaTurn {
        realm: realm("acme"),
        holder: "other/1".to_owned(),
        replaces: Vec::new(),
        sessions: 0,
        limit: None,
        users: vec![UserTurn {
            user: user.to_owned(),
            ..UserTurn::default()
        }],
    };
    let answer: QuotaAnswer = store.settle_quota(&turn).await.unwrap();
    answer.users[0].others
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_was_taken_without_an_answer_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::shared(Arc::clone(&inner));
    let shared: Arc<dyn Store> = flaky.clone();
    let node = TestNode::start("a", 1, &shared, dir.path()).await;
    let (acme, workers) = (realm("acme"), &node.workers);
    // The lease of his node is renewed: what nobody takes back would count for ever.
    workers.claim("acme", "bob", 5);
    eventually("bob has a place", async || workers.place("bob").is_some()).await;
    assert_eq!(others(&*inner, "bob").await, 1);
    flaky.set_loses_answers(true);
    workers.claim("acme", "alice", 1);
    eventually("alice is answered", async || {
        workers.place("alice").is_some()
    })
    .await;
    assert_eq!(others(&*inner, "alice").await, 1, "it was taken");
    if workers.place("alice") == Some(PlaceAnswer::Granted) {
        // Her client is gone.
        node.service.hub.quota.give_back(&acme, "alice");
    }
    flaky.set_loses_answers(false);
    eventually("nobody has it", async || {
        others(&*inner, "alice").await == 0
    })
    .await;
    assert_eq!(others(&*inner, "bob").await, 1);
    assert_eq!(
        node.service
            .hub
            .quota
            .user_sessions_everywhere(&acme, "alice"),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_waits_for_a_slice_of_the_rest_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let flaky = FlakyStore::shared(store(dir.path()));
    let shared: Arc<dyn Store> = flaky.clone();
    let node = TestNode::start("a", 1, &shared, dir.path()).await;
    let (quota, acme) = (&node.service.hub.quota, realm("acme"));
    let slices = 20;
    let limits = QuotaLimits {
        per_user: Some(9),
        ..QuotaLimits::default()
    };
    flaky.hold();
    for number in 0..slices * QUOTA_TURN {
        let claimant = Claimant {
            realm: &acme,
            user: &format!("user {number}"),
            source: [192, 0, 2, 1].into(),
        };
        quota.try_reserve(claimant, limits).unwrap();
    }
    let begun = async |count: usize| {
        eventually("the next slice is under way", async || {
            flaky.begun() >= count
        })
        .await;
    };
    // The first one has who was there when it began, the second one as many as there may be.
    begun(1).await;
    flaky.let_through(1);
    begun(2).await;
    node.workers.claim("acme", "alice", 1);
    let mut let_through = 1;
    while node.workers.place("alice").is_none() {
        flaky.let_through(1);
        let_through += 1;
        assert!(
            let_through < 6,
            "{let_through} of {slices} slices before her"
        );
        // Her answer came before anything else began.
        begun(let_through + 1).await;
    }
    flaky.let_through(1000);
}

/// However long the store takes nothing, and however many come and go, what a node remembers to tell
/// it is bounded by who is there; then it is told who that is.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_that_refuses_is_told_later_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::shared(Arc::clone(&inner));
    let shared: Arc<dyn Store> = flaky.clone();
    let node = TestNode::start("a", 1, &shared, dir.path()).await;
    let (quota, acme, workers) = (&node.service.hub.quota, realm("acme"), &node.workers);
    let placed = async |user: &str| {
        workers.claim("acme", user, 5);
        eventually("an answer", async || workers.place(user).is_some()).await;
        assert_eq!(workers.place(user), Some(PlaceAnswer::Granted));
    };
    for user in ["alice", "bob"] {
        placed(user).await;
        assert_eq!(others(&*inner, user).await, 1);
    }
    flaky.set_refuses(true);
    let batches = 20;
    for batch in 0..batches {
        let users: Vec<_> = (0..50).map(|n| format!("user {batch} {n}")).collect();
        users.iter().for_each(|user| workers.claim("acme", user, 5));
        for user in &users {
            eventually("an answer", async || workers.place(user).is_some()).await;
            assert_eq!(workers.place(user), Some(PlaceAnswer::Granted));
            quota.give_back(&acme, user);
        }
        let (counted, to_tell) = quota.remembered();
        assert!(counted <= 2, "{counted} counted of {batch} batches");
        assert!(to_tell <= 2, "{to_tell} to tell of {batch} batches");
    }
    // Meanwhile one left, and another came.
    quota.give_back(&acme, "bob");
    placed("carol").await;
    flaky.set_refuses(false);
    for (user, held) in [("alice", 1), ("bob", 0), ("carol", 1), ("user 7 7", 0)] {
        eventually("the store to know", async || {
            others(&*inner, user).await == held
        })
        .await;
    }
    eventually("nothing to be left to say", async || {
        quota.remembered() == (2, 0)
    })
    .await;
}
