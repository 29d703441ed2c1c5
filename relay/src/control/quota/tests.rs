//! Counting on one node, and what comes of answers of the store.

use super::*;
use crate::control::clock::Moment;

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
        let of_users = quota.realm(&realm).get(&realm).map(|r| r.users.capacity());
        let sources = quota.sources.iter().map(|s| s.lock().unwrap().capacity());
        (of_users.unwrap_or_default(), sources.sum::<usize>())
    };
    let (of_users, sources) = places();
    assert!(of_users >= 20_000 && sources >= 20_000);
    for user in &users[10..] {
        quota.release(claim_of(&realm, user));
    }
    let (of_users, sources) = places();
    assert!(of_users <= 8 * LEAST_PLACES, "{of_users} users");
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
