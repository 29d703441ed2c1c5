//! Counting on one node, and what comes of answers of the store.

use super::*;
use crate::control::clock::Moment;
use crate::control::testing::{self, FlakyStore};
use crate::store::Store as _;
use crate::store::quota::{QuotaAnswer, QuotaTurn, UserAnswer};

fn quota() -> NodeQuota {
    NodeQuota::new(Moment::now().mono, Reach::Node, "ams1/1".to_owned())
}

fn limits(per_user: u32, per_realm: u32) -> QuotaLimits {
    QuotaLimits {
        per_user: Some(per_user),
        per_realm: Some(per_realm),
        ..QuotaLimits::default()
    }
}

fn acme() -> Realm {
    "acme".parse().unwrap()
}

fn claim<'a>(realm: &'a Realm, user: &'a str) -> Claimant<'a> {
    Claimant {
        realm,
        user,
        source: [192, 0, 2, 1].into(),
    }
}

fn claim_of<'a>(realm: &'a Realm, (n, user): &'a (u32, String)) -> Claimant<'a> {
    Claimant {
        source: IpAddr::V4((*n).into()),
        ..claim(realm, user)
    }
}

fn outcome(result: Result<Budgets, QuotaExceeded>) -> Result<(), QuotaExceeded> {
    result.map(|_| ())
}

fn is_empty(quota: &NodeQuota) -> bool {
    quota.realms.iter().all(|s| s.lock().unwrap().is_empty())
        && quota.sources.iter().all(|s| s.lock().unwrap().is_empty())
        && quota.sessions.load(Ordering::Relaxed) == 0
}

#[test]
fn the_limit_that_is_reached_is_named_and_nothing_is_counted_then() {
    let (quota, realm) = (quota(), acme());
    let take = |user, limits| outcome(quota.try_reserve(claim(&realm, user), limits));
    assert_eq!(take("a", limits(1, 2)), Ok(()));
    assert_eq!(take("a", limits(1, 2)), Err(QuotaExceeded::User));
    assert_eq!(take("b", limits(1, 2)), Ok(()));
    assert_eq!(take("c", limits(1, 2)), Err(QuotaExceeded::Realm));
    let of_source = QuotaLimits {
        per_source: Some(2),
        ..QuotaLimits::default()
    };
    assert_eq!(take("c", of_source), Err(QuotaExceeded::Source));
    let of_node = QuotaLimits {
        per_node: Some(2),
        ..QuotaLimits::default()
    };
    assert_eq!(take("c", of_node), Err(QuotaExceeded::Node));
    assert_eq!(quota.user_sessions(&realm, "c"), 0);
    assert_eq!(quota.realm_sessions(&realm), 2);
    quota.release(claim(&realm, "a"));
    assert_eq!(take("c", of_node), Ok(()));
    quota.release(claim(&realm, "b"));
    quota.release(claim(&realm, "c"));
    assert!(is_empty(&quota));
}

#[test]
fn the_empty_user_has_no_limit_of_its_own() {
    let (quota, realm) = (quota(), acme());
    for _ in 0..100 {
        let budgets = quota.try_reserve(claim(&realm, ""), limits(1, 100));
        assert!(budgets.unwrap().user.is_none());
    }
    let one_more = quota.try_reserve(claim(&realm, ""), limits(1, 100));
    assert_eq!(outcome(one_more), Err(QuotaExceeded::Realm));
}

#[test]
fn memory_comes_back_as_sessions_end() {
    let (quota, realm) = (quota(), acme());
    let users: Vec<_> = (0..20_000_u32).map(|n| (n, format!("user {n}"))).collect();
    for user in &users {
        let taken = quota.try_reserve(claim_of(&realm, user), limits(9, 99_999));
        assert_eq!(outcome(taken), Ok(()));
    }
    let places = || {
        let sources = quota.sources.iter().map(|s| s.lock().unwrap().capacity());
        sources.sum::<usize>()
    };
    assert!(places() >= 20_000);
    for user in &users[10..] {
        quota.release(claim_of(&realm, user));
    }
    let sources = places();
    assert!(sources <= 8 * LEAST_PLACES * SHARDS, "{sources} sources");
    users[..10]
        .iter()
        .for_each(|user| quota.release(claim_of(&realm, user)));
    assert!(is_empty(&quota));
}

#[test]
fn sessions_of_a_user_share_a_budget_that_goes_with_the_last_of_them() {
    let (quota, realm) = (quota(), acme());
    let take = |user| {
        quota
            .try_reserve(claim(&realm, user), limits(9, 9))
            .unwrap()
    };
    let (first, second, other) = (take("a"), take("a"), take("b"));
    let (a, b) = (first.user.unwrap(), other.user.unwrap());
    assert!(Arc::ptr_eq(&a, &second.user.unwrap()) && !Arc::ptr_eq(&a, &b));
    assert!(Arc::ptr_eq(&first.realm, &other.realm));
    for user in ["a", "a", "b", "b"] {
        quota.release(claim(&realm, user));
    }
    assert!(is_empty(&quota), "one release too many counts nothing");
}

#[test]
fn a_walk_takes_slices_without_the_lock_and_misses_nobody_who_stays() {
    let (quota, realm) = (quota(), acme());
    let users: Vec<_> = (0..1000_u32).map(|n| (n, format!("user {n:04}"))).collect();
    for user in &users {
        let taken = quota.try_reserve(claim_of(&realm, user), limits(9, 99_999));
        assert_eq!(outcome(taken), Ok(()));
    }
    let mut seen = Vec::new();
    let mut gone = 0..100;
    let name = |user: &str, _: &mut Count| Some(user.to_owned());
    quota.walk(&realm, name, |some| {
        assert!(some.len() <= walk::SLICE + 1, "{}", some.len());
        seen.extend(some);
        // Others come and go meanwhile: with the lock held this would stand still.
        for n in gone.by_ref().take(10) {
            quota.release(claim_of(&realm, &users[n]));
            quota.release(claim_of(&realm, &users[999 - n]));
            let newcomer = (n as u32, format!("anna {n}"));
            let taken = quota.try_reserve(claim_of(&realm, &newcomer), limits(9, 99_999));
            assert_eq!(outcome(taken), Ok(()));
        }
    });
    assert_eq!(seen[0], "", "the realm itself");
    assert!(seen.is_sorted(), "each of them once");
    for (n, user) in &users[100..900] {
        assert!(seen.binary_search(user).is_ok(), "{n}");
    }
}

#[test]
fn a_user_with_a_rate_of_its_own_is_known_for_as_long_as_it_has_sessions() {
    let realm = acme();
    let quota = NodeQuota::new(Moment::now().mono, Reach::Cluster, "ams1/1".to_owned());
    let plain = limits(9, 9);
    let own = QuotaLimits {
        has_own_rate: true,
        ..plain
    };
    let fresh = || std::mem::take(&mut *quota.fresh()).len();
    quota.try_reserve(claim(&realm, "a"), plain).unwrap();
    assert_eq!(fresh(), 2, "the realm's budget, and the user's");
    // The limit came while there was a session.
    quota.try_reserve(claim(&realm, "a"), own).unwrap();
    assert_eq!(fresh(), 1);
    let is_own = |user| quota.budget_of(&realm, Some(user)).map(|(_, own)| own);
    assert_eq!((is_own("a"), is_own("b")), (Some(true), None));
    quota.has_own_rate(&realm, "a");
    quota.has_own_rate(&realm, "b");
    assert_eq!(fresh(), 0, "nothing new, and nobody there");
    quota.release(claim(&realm, "a"));
    quota.release(claim(&realm, "a"));
    assert_eq!(is_own("a"), None, "nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_published_is_told_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = FlakyStore::shared(testing::store(dir.path()));
    let quota = NodeQuota::new(Moment::now().mono, Reach::Processes, "ams1/1".to_owned());
    let realms = ["acme", "globex"].map(testing::realm);
    for realm in &realms {
        for number in 0..600 {
            let user = (number, format!("user {number}"));
            quota
                .try_reserve(claim_of(realm, &user), limits(9, 999))
                .unwrap();
        }
    }
    quota.follow(true);
    store.set_away(true);
    publish(&*store, &quota).await;
    let stale = std::mem::take(&mut *quota.stale()).take(usize::MAX, usize::MAX);
    let told_later = stale.iter().map(|(_, users)| users.len()).sum::<usize>();
    assert_eq!(told_later, 2 * 601, "all, and both realms");
    quota.note_all();
    store.set_away(false);
    publish(&*store, &quota).await;
    assert!(quota.stale().is_empty());
    let everything = (None, Some(9));
    let asked = [("user 7".into(), 0, None)];
    for realm in &realms {
        let turn = QuotaTurn {
            holder: "ams1/2".to_owned(),
            sessions: 0,
            ..quota.turn(realm, everything, &asked)
        };
        let answer = store.settle_quota(&turn).await.unwrap();
        assert_eq!((answer.others, answer.users[0].others), (600, 1));
    }
}

#[test]
fn who_counts_alone_again_forgets_what_others_held() {
    let realm = acme();
    let quota = NodeQuota::new(Moment::now().mono, Reach::Processes, "ams1/1".to_owned());
    quota.follow(true);
    for user in ["a", "b"] {
        quota
            .try_reserve(claim(&realm, user), limits(9, 9))
            .unwrap();
    }
    let asked = ["a", "b"].map(|user| (user.into(), 0, None));
    let turn = quota.turn(&realm, (None, Some(9)), &asked);
    let others = UserAnswer {
        others: 2,
        ..UserAnswer::default()
    };
    let answer = QuotaAnswer {
        others: 4,
        users: vec![others; 2],
        ..QuotaAnswer::default()
    };
    quota.settled(&turn, &answer);
    assert_eq!(quota.user_sessions_everywhere(&realm, "a"), 3);
    quota.follow(false);
    quota.release(claim(&realm, "b"));
    // Another process again, at once: what the store knows is put right.
    quota.follow(true);
    let stale = std::mem::take(&mut *quota.stale()).take(9, 9);
    assert_eq!(stale[0].1, ["", "a", "b"].map(Box::from));
    quota.follow(false);
    let long_ago = Instant::now().checked_sub(held::REPLACED).unwrap();
    *quota.alone.lock().unwrap() = Some(long_ago);
    quota.follow(false);
    assert_eq!(quota.user_sessions_everywhere(&realm, "a"), 1);
    assert_eq!(quota.realm_sessions_everywhere(&realm), 1);
    quota.release(claim(&realm, "a"));
    assert!(is_empty(&quota));
}

#[test]
fn a_node_is_said_to_be_replaced_while_what_it_held_may_count() {
    let quota = quota();
    let replaced: shared::NodeId = "ams2".parse().unwrap();
    quota.replace(&replaced);
    assert_eq!(quota.replaced_after(0), (1, vec!["ams2".to_owned()]));
    assert_eq!(quota.replaced_after(1), (1, Vec::new()));
    // Long ago: it may be back.
    let long_ago = Instant::now().checked_sub(held::REPLACED).unwrap();
    quota.replaces.lock().unwrap()[0].1 = long_ago;
    assert_eq!(quota.replaced_after(0), (1, Vec::new()));
}

#[test]
fn a_walk_over_many_holds_nobody_up_for_long() {
    let (quota, realm) = (quota(), acme());
    for number in 0..100_000_u32 {
        let user = (number, format!("user {number}"));
        quota
            .try_reserve(claim_of(&realm, &user), limits(9, u32::MAX))
            .unwrap();
    }
    let walk = || {
        let begun = Instant::now();
        let name = |user: &str, _: &mut Count| Some(Box::<str>::from(user));
        let mut all = HashSet::new();
        quota.walk(&realm, name, |some| all.extend(some));
        assert_eq!(all.len(), 100_001);
        begun.elapsed()
    };
    // The longest wait for the lock, as a part of the time that a walk takes. The machine may be busy:
    // one of the walks is enough.
    let parts = (0..10).map(|_| {
        std::thread::scope(|scope| {
            let walking = scope.spawn(walk);
            let mut longest = std::time::Duration::ZERO;
            while !walking.is_finished() {
                let begun = Instant::now();
                assert_eq!(quota.user_sessions(&realm, "user 7"), 1);
                longest = longest.max(begun.elapsed());
            }
            longest.as_secs_f64() / walking.join().unwrap().as_secs_f64()
        })
    });
    let parts: Vec<_> = parts.collect();
    assert!(parts.iter().any(|part| *part < 0.2), "{parts:.3?}");
}

#[test]
fn what_the_store_refuses_for_good_is_told_once() {
    let mut refusal = Refusal::default();
    let [acl, full] =
        ["no permission", "something else"].map(|text| StoreError::Refused(text.to_owned()));
    let away = StoreError::Unavailable("no answer".to_owned());
    assert!(refusal.is_news(Some(&acl)) && !refusal.is_news(Some(&acl)));
    assert!(!refusal.is_news(Some(&away)) && !refusal.is_news(Some(&acl)));
    assert!(refusal.is_news(Some(&full)));
    assert!(!refusal.is_news(None) && refusal.is_news(Some(&full)));
}
