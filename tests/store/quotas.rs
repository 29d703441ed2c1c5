//! Sessions and rates that holders have of limits over all of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kit::wait::wait_for_async;
use relay::store::quota::{
    QUOTA_LEASE, QuotaAnswer, QuotaLimit, QuotaTurn, RateTurn, RateWish, UserTurn, WHOLE,
};
use relay::store::{RateShare, Store};

use crate::for_both_stores;
use crate::world::{World, ready, realm};

for_both_stores!(
    what_a_holder_says_counts_for_the_others,
    a_realms_limit_is_judged_with_the_users,
    claims_at_the_same_time_get_what_there_is,
    a_start_replaces_the_ones_before_it,
    what_a_silent_holder_said_counts_no_more,
);

fn turn(holder: &str, users: &[(&str, u32, u32, Option<u32>)]) -> QuotaTurn {
    let users = users.iter().map(|(user, held, asked, limit)| UserTurn {
        user: (*user).to_owned(),
        held: *held,
        asked: *asked,
        limit: *limit,
    });
    let users: Vec<_> = users.collect();
    QuotaTurn {
        realm: realm("north.gov"),
        holder: holder.to_owned(),
        replaces: Vec::new(),
        sessions: users.iter().map(|user| user.held).sum(),
        limit: None,
        users,
    }
}

async fn settle(store: &dyn Store, turn: QuotaTurn) -> QuotaAnswer {
    store.settle_quota(&turn).await.unwrap()
}

/// What the first user of the turn was granted, and what others have of it.
async fn one(store: &dyn Store, turn: QuotaTurn) -> (u32, u32, Option<QuotaLimit>) {
    let answer = settle(store, turn).await.users[0];
    (answer.granted, answer.others, answer.refused)
}

async fn what_a_holder_says_counts_for_the_others(world: &World) {
    let (store, other) = (&*world.store, &*world.other);
    ready(&world.store).await;
    let first = settle(store, turn("ams1/1", &[("ann", 0, 2, Some(5))])).await;
    assert!(first.is_new && first.others == 0);
    assert_eq!(first.users[0].granted, 2);
    let ask = |asked| turn("fra1/1", &[("ann", 0, asked, Some(5))]);
    assert_eq!(one(other, ask(4)).await, (3, 2, Some(QuotaLimit::User)));
    // Said again, as after an answer that was lost: what counts is what is held.
    assert_eq!(one(other, ask(4)).await, (3, 2, Some(QuotaLimit::User)));
    let full = turn("ams1/1", &[("ann", 2, 1, Some(5))]);
    let answer = settle(store, full).await;
    assert!(!answer.is_new);
    assert_eq!((answer.users[0].granted, answer.others), (0, 3));
    // Others are not concerned, nor are other realms.
    let bob = turn("ams1/1", &[("bob", 0, 1, Some(1))]);
    assert_eq!(one(store, bob).await, (1, 0, None));
    let mut elsewhere = turn("ams1/1", &[("ann", 0, 1, Some(1))]);
    elsewhere.realm = realm("south.gov");
    assert_eq!(one(store, elsewhere).await, (1, 0, None));
    settle(other, turn("fra1/1", &[("ann", 1, 0, None)])).await;
    let again = turn("ams1/1", &[("ann", 2, 3, Some(5))]);
    assert_eq!(one(store, again).await, (2, 1, Some(QuotaLimit::User)));
    // More than the limit, as after a restore: nothing is granted, and nothing is taken.
    let over = turn("ams1/1", &[("ann", 9, 1, Some(5))]);
    assert_eq!(one(store, over).await, (0, 1, Some(QuotaLimit::User)));
}

async fn a_realms_limit_is_judged_with_the_users(world: &World) {
    let store = &*world.store;
    ready(&world.store).await;
    let limited = |holder, sessions, users: &[_]| QuotaTurn {
        limit: Some(4),
        sessions,
        ..turn(holder, users)
    };
    // Nobody's users count for the realm alone.
    let users = [
        ("ann", 0, 2, Some(1)),
        ("", 0, 2, None),
        ("bob", 0, 2, None),
    ];
    let answer = settle(store, limited("ams1/1", 0, &users)).await;
    let granted: Vec<_> = answer.users.iter().map(|user| user.granted).collect();
    assert_eq!(granted, [1, 2, 1]);
    assert_eq!(answer.users[0].refused, Some(QuotaLimit::User));
    assert_eq!(answer.users[1].refused, None);
    assert_eq!(answer.users[2].refused, Some(QuotaLimit::Realm));
    let other = settle(store, limited("fra1/1", 0, &[("", 0, 1, None)])).await;
    assert_eq!((other.others, other.users[0].granted), (4, 0));
    settle(store, limited("ams1/1", 3, &[("bob", 0, 0, None)])).await;
    let other = settle(store, limited("fra1/1", 0, &[("", 0, 9, None)])).await;
    assert_eq!(other.users[0].granted, 1);
}

async fn claims_at_the_same_time_get_what_there_is(world: &World) {
    ready(&world.store).await;
    let ask = |number: u32| {
        let store = if number.is_multiple_of(2) {
            &world.store
        } else {
            &world.other
        };
        let store = std::sync::Arc::clone(store);
        let turn = turn(&format!("node{number}/1"), &[("ann", 0, 1, Some(7))]);
        tokio::spawn(async move { settle(&*store, turn).await.users[0].granted })
    };
    let asking: Vec<_> = (0..20).map(ask).collect();
    let mut granted = 0;
    for one in asking {
        granted += one.await.unwrap();
    }
    assert_eq!(granted, 7);
}

async fn a_start_replaces_the_ones_before_it(world: &World) {
    let store = &*world.store;
    ready(&world.store).await;
    settle(store, turn("ams1/old", &[("ann", 3, 0, None)])).await;
    settle(store, turn("ams10/old", &[("ann", 1, 0, None)])).await;
    // Until it says that it has all, both count.
    let begins = turn("ams1/new", &[("ann", 2, 1, Some(5))]);
    assert_eq!(one(store, begins).await.1, 4);
    let mut whole = turn("ams1/new", &[("ann", 2, 1, Some(5))]);
    whole.replaces = vec!["ams1".to_owned()];
    assert_eq!(one(store, whole).await, (1, 1, None));
    // The old one speaks again: it is told that it was forgotten.
    let again = settle(store, turn("ams1/old", &[("ann", 0, 0, None)])).await;
    assert!(again.is_new);
}

async fn what_a_silent_holder_said_counts_no_more(world: &World) {
    let store = &*world.store;
    ready(&world.store).await;
    settle(store, turn("ams1/1", &[("ann", 5, 0, None)])).await;
    let ask = || turn("fra1/1", &[("ann", 0, 5, Some(5))]);
    assert_eq!(one(store, ask()).await.0, 0);
    wait_for_async("the lease to end", QUOTA_LEASE * 3, || async {
        (one(store, ask()).await.0 == 5).then_some(())
    })
    .await;
    let back = settle(store, turn("ams1/1", &[("ann", 5, 0, None)])).await;
    assert!(back.is_new, "it has to say everything again");
}

async fn shares(store: &dyn Store, holder: &str, wanted: Option<[u32; 2]>) -> RateShare {
    let turn = RateTurn {
        realm: realm("north.gov"),
        holder: holder.to_owned(),
        replaces: Vec::new(),
        wishes: vec![RateWish {
            user: Some("ann".to_owned()),
            wanted,
        }],
    };
    store.share_rates(&turn).await.unwrap().shares[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_follow_what_is_wanted_and_never_are_more_than_the_whole() {
    let world = World::redis();
    let store = &*world.store;
    ready(&world.store).await;
    let want = |holder: &'static str, up: u32| shares(store, holder, Some([up, 0]));
    assert_eq!(
        want("a/1", WHOLE).await[0],
        WHOLE,
        "who is alone has it all"
    );
    assert_eq!(want("b/1", WHOLE).await[0], 0, "nothing is free");
    let mut of = [WHOLE, 0, 0];
    let holders = ["a/1", "b/1", "c/1"];
    // Whatever they want, in whatever order they say so.
    let mut dice = 7_u32;
    for _ in 0..300 {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (who, wanted) = ((dice >> 8) as usize % 3, (dice >> 12) % (WHOLE + 1));
        of[who] = want(holders[who], wanted).await[0];
        assert!(of.iter().sum::<u32>() <= WHOLE, "{of:?}");
    }
    let settle_at = async |wishes: [u32; 3]| {
        let mut of = [0; 3];
        for _ in 0..3 {
            for who in 0..3 {
                of[who] = want(holders[who], wishes[who]).await[0];
            }
        }
        of
    };
    let alone = settle_at([WHOLE, 0, 0]).await;
    assert!(alone[0] >= WHOLE / 10 * 9, "{alone:?}");
    let all = settle_at([WHOLE, WHOLE, WHOLE]).await;
    assert!(
        all.iter().all(|share| (300_000..340_000).contains(share)),
        "{all:?}"
    );
    // Who wants little gets that, and the others share the rest.
    let mixed = settle_at([WHOLE / 10, WHOLE, WHOLE]).await;
    assert!((90_000..120_000).contains(&mixed[0]), "{mixed:?}");
    assert!(mixed[1] > 420_000 && mixed[2] > 420_000, "{mixed:?}");
    shares(store, "b/1", None).await;
    shares(store, "c/1", None).await;
    assert_eq!(want("a/1", WHOLE).await[0], WHOLE, "who goes leaves it");
    // Both directions by themselves.
    assert_eq!(shares(store, "d/1", Some([WHOLE, WHOLE])).await[0], 0);
    assert_eq!(shares(store, "a/1", Some([WHOLE, 0])).await[1], 10_000);
    let down = shares(store, "d/1", Some([0, WHOLE])).await[1];
    assert!(down >= WHOLE / 10 * 9, "{down}");
    // The share of a silent holder is free.
    wait_for_async("the lease to end", QUOTA_LEASE * 3, || async {
        (want("e/1", WHOLE).await[0] == WHOLE).then_some(())
    })
    .await;
    assert!(QUOTA_LEASE <= Duration::from_secs(10));
}

/// A lease turn that says nothing: what is asked for.
async fn asked(store: &dyn Store, holder: &str) -> Vec<Option<String>> {
    let turn = RateTurn {
        realm: realm("north.gov"),
        holder: holder.to_owned(),
        replaces: Vec::new(),
        wishes: Vec::new(),
    };
    store.share_rates(&turn).await.unwrap().asked
}

async fn what_an_idle_holder_has_too_much_is_asked_for(store: &dyn Store) {
    let want = |holder: &'static str, up: u32| shares(store, holder, Some([up, 0]));
    assert_eq!(want("a/1", 0).await[0], WHOLE / 2, "nobody else wants it");
    assert!(asked(store, "a/1").await.is_empty());
    assert_eq!(want("b/1", WHOLE).await[0], WHOLE / 2, "what is free");
    assert_eq!(asked(store, "a/1").await, [Some("ann".to_owned())]);
    assert_eq!(want("a/1", 0).await[0], WHOLE / 100);
    assert_eq!(want("b/1", WHOLE).await[0], WHOLE / 100 * 99);
    // It comes back as soon as it is wanted.
    want("a/1", WHOLE).await;
    want("b/1", WHOLE).await;
    let (a, b) = (want("a/1", WHOLE).await[0], want("b/1", WHOLE).await[0]);
    assert!((490_000..=510_000).contains(&a), "{a}");
    assert!((490_000..=510_000).contains(&b), "{b}");
    // Who uses what it has is not asked, and nobody asks for ever.
    wait_for_async("the question to be over", QUOTA_LEASE * 3, || async {
        want("a/1", WHOLE).await;
        want("b/1", WHOLE).await;
        asked(store, "a/1").await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_idle_holder_has_too_much_is_asked_for_on_one_server_and_on_a_cluster() {
    for world in [World::redis(), World::redis_cluster()] {
        ready(&world.store).await;
        what_an_idle_holder_has_too_much_is_asked_for(&*world.store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_makes_no_lease_longer() {
    let world = World::redis();
    let store = &*world.store;
    ready(&world.store).await;
    settle(store, turn("ams1/1", &[("ann", 5, 0, None)])).await;
    shares(store, "ams1/1", Some([WHOLE, WHOLE])).await;
    let encoded = URL_SAFE_NO_PAD.encode("north.gov");
    for leases in ["leases", "rate-leases"] {
        let key = format!("relay:quota:{{{encoded}}}:{leases}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let far = now.as_millis() + 3_600_000;
        world.by_hand("", &["HSET", &key, "ams1/1", &far.to_string()]);
    }
    let ask = || turn("fra1/1", &[("ann", 0, 5, Some(5))]);
    assert_eq!(one(store, ask()).await.0, 0, "it still counts");
    wait_for_async("the lease to end", QUOTA_LEASE * 5, || async {
        let share = shares(store, "fra1/1", Some([WHOLE, WHOLE])).await;
        (one(store, ask()).await.0 == 5 && share[0] == WHOLE).then_some(())
    })
    .await;
}
