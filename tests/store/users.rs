//! Users and secrets.

use std::sync::Arc;
use std::time::Duration;

use kit::wait::wait_for_async;
use relay::store::{Change, Store, StoredSecret, USERS_AT_ONCE, UserRecord};
use shared::Secret;
use shared::api::SecretState;

use crate::for_both_stores;
use crate::world::{World, key, ready, realm, told};

for_both_stores!(
    a_user_is_created_changed_and_deleted,
    several_users_are_written_at_once,
    a_record_needs_a_user_and_survives_a_new_password,
    pages_walk_all_users_in_order,
    hostile_names_stay_one_user,
    secrets_are_a_set_with_labels,
    changes_are_told_to_this_node_and_the_others,
);

/// Those that need coturn's own tools.
mod with_coturn {
    use super::a_secret_is_in_coturns_set_only_while_it_is_accepted;
    use crate::for_coturns_stores;

    for_coturns_stores!(a_secret_is_in_coturns_set_only_while_it_is_accepted);
}

/// Waits until no user is counted. A pass over coturn's keys that saw a user just before it was
/// deleted may put it back into the index; the look that follows takes it out again.
async fn nobody_is_counted(store: &Arc<dyn Store>) {
    wait_for_async("the count to be 0", Duration::from_secs(5), || async {
        (store.user_count(None).await.unwrap() == 0).then_some(())
    })
    .await;
}

async fn a_user_is_created_changed_and_deleted(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    assert!(store.user(&north, "gorst").await.unwrap().is_none());
    assert!(!store.delete_user(&north, "gorst").await.unwrap());
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    store.put_user(&north, "gorst", &key(2)).await.unwrap();
    let user = world.other.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!((user.keys, user.record), (key(2), UserRecord::default()));
    assert!(
        store
            .user(&realm("south.gov"), "gorst")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.user_count(Some(&north)).await.unwrap(), 1);
    assert!(store.delete_user(&north, "gorst").await.unwrap());
    assert!(world.other.user(&north, "gorst").await.unwrap().is_none());
    nobody_is_counted(store).await;
}

async fn several_users_are_written_at_once(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    store.put_user(&north, "user07", &key(200)).await.unwrap();
    let name = |n: usize| format!("user{n:02}");
    let users: Vec<_> = (0..USERS_AT_ONCE)
        .map(|n| (name(n), key(u8::try_from(n).unwrap())))
        .collect();
    ready(&world.other).await;
    let mut changes = world.other.changes();
    store.put_users(&north, &users).await.unwrap();
    store.put_users(&north, &[]).await.unwrap();
    let known = world.other.users(Some(&north), None, 100).await.unwrap();
    let known: Vec<_> = known
        .into_iter()
        .map(|user| (user.name, user.keys))
        .collect();
    assert_eq!(known, users);
    // Other nodes hear of each.
    for wanted in [name(0), name(7), name(USERS_AT_ONCE - 1)] {
        told(
            &mut changes,
            |change| matches!(change, Change::User { name, .. } if *name == wanted),
        )
        .await;
    }
}

async fn a_record_needs_a_user_and_survives_a_new_password(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let mut record = UserRecord {
        disabled: true,
        max_sessions: Some(3),
        note: "on leave".to_owned(),
        ..UserRecord::default()
    };
    record
        .extra
        .insert("from_the_future".to_owned(), serde_json::json!([1, 2]));
    assert!(
        !store
            .put_user_record(&north, "gorst", &record)
            .await
            .unwrap()
    );
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    assert!(
        store
            .put_user_record(&north, "gorst", &record)
            .await
            .unwrap()
    );
    store.put_user(&north, "gorst", &key(2)).await.unwrap();
    let user = store.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!((user.keys, &user.record), (key(2), &record));
    let page = store.users(Some(&north), None, 10).await.unwrap();
    assert_eq!(page[0].record, record);
    store.delete_user(&north, "gorst").await.unwrap();
    store.put_user(&north, "gorst", &key(2)).await.unwrap();
    let user = store.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(
        user.record,
        UserRecord::default(),
        "a deleted user's record goes with it"
    );
}

async fn pages_walk_all_users_in_order(world: &World) {
    let store = &world.store;
    let (a, b) = (realm("a.org"), realm("b.org"));
    for i in 0..700 {
        let of = if i % 3 == 0 { &a } else { &b };
        store
            .put_user(of, &format!("user{i:03}"), &key(1))
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut after: Option<(shared::Realm, String)> = None;
    loop {
        let position = after.as_ref().map(|(realm, name)| (realm, name.as_str()));
        let page = store.users(None, position, 300).await.unwrap();
        assert!(page.len() <= 300);
        let Some(last) = page.last() else { break };
        after = Some((last.realm.clone(), last.name.clone()));
        seen.extend(page.into_iter().map(|user| (user.realm, user.name)));
    }
    assert_eq!(seen.len(), 700);
    assert!(seen.is_sorted(), "byte order of realm, then name");
    let of_a = store
        .users(Some(&a), Some((&a, "user300")), 1000)
        .await
        .unwrap();
    assert!(
        of_a.iter()
            .all(|user| user.realm == a && user.name.as_str() > "user300")
    );
    assert_eq!(of_a.len(), (301..700).filter(|i| i % 3 == 0).count());
    assert_eq!(store.user_count(Some(&b)).await.unwrap(), 466);
    assert_eq!(store.user_count(None).await.unwrap(), 700);
}

async fn hostile_names_stay_one_user(world: &World) {
    let store = &world.store;
    let north = realm("a b{c}%s*?[x]");
    let long = "x".repeat(508);
    let names = [
        "%s%n",
        "a b",
        "{tag}",
        "a/b/../key",
        "line\nbreak\r\nDEL x",
        "\u{1b}]0;x\u{7}",
        "*",
        "?",
        "[a-z]",
        "'; DROP TABLE turnusers_lt; --",
        "ü\u{202e}日",
        "\0",
        "(",
        "-",
        "+",
        &long,
    ];
    for (i, name) in names.iter().enumerate() {
        store.put_user(&north, name, &key(i as u8)).await.unwrap();
        let record = UserRecord {
            note: format!("number {i}"),
            ..UserRecord::default()
        };
        assert!(store.put_user_record(&north, name, &record).await.unwrap());
    }
    assert_eq!(
        store.user_count(Some(&north)).await.unwrap(),
        names.len() as u64
    );
    for (i, name) in names.iter().enumerate() {
        let user = world.other.user(&north, name).await.unwrap().unwrap();
        assert_eq!(
            (user.keys, user.record.note),
            (key(i as u8), format!("number {i}")),
            "{name:?}"
        );
    }
    let page = store.users(Some(&north), None, 100).await.unwrap();
    let mut listed: Vec<&str> = page.iter().map(|user| user.name.as_str()).collect();
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    for name in listed.drain(..) {
        assert!(store.delete_user(&north, name).await.unwrap(), "{name:?}");
    }
    nobody_is_counted(store).await;
}

async fn secrets_are_a_set_with_labels(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let secret = |value: &str, label: &str, at| StoredSecret {
        value: Secret::new(value.to_owned()),
        label: label.to_owned(),
        created_at_ms: at,
        state: SecretState::Active,
    };
    store
        .put_secret(&north, &secret("one", "web", 5))
        .await
        .unwrap();
    store
        .put_secret(&north, &secret("two", "", 6))
        .await
        .unwrap();
    store
        .put_secret(&north, &secret("one", "mobile", 5))
        .await
        .unwrap();
    let secrets = world.other.secrets(&north).await.unwrap();
    let shown: Vec<_> = secrets
        .iter()
        .map(|s| (s.value.expose().as_str(), s.label.as_str(), s.created_at_ms))
        .collect();
    assert_eq!(shown, [("one", "mobile", 5), ("two", "", 6)]);
    assert!(store.secrets(&realm("south.gov")).await.unwrap().is_empty());
    assert!(store.delete_secret(&north, "one").await.unwrap());
    assert!(!store.delete_secret(&north, "one").await.unwrap());
    assert_eq!(store.secrets(&north).await.unwrap().len(), 1);
}

async fn a_secret_is_in_coturns_set_only_while_it_is_accepted(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let put = async |value: &str, state| {
        let secret = StoredSecret {
            value: Secret::new(value.to_owned()),
            label: "web".to_owned(),
            created_at_ms: 5,
            state,
        };
        store.put_secret(&north, &secret).await.unwrap();
    };
    let shown = async || {
        let secrets = world.other.secrets(&north).await.unwrap();
        let rows = secrets.iter().map(|s| {
            assert_eq!((s.label.as_str(), s.created_at_ms), ("web", 5));
            (s.value.expose().clone(), s.state)
        });
        rows.collect::<Vec<_>>()
    };
    for state in SecretState::ALL.into_iter().chain(SecretState::ALL) {
        put("one", state).await;
        assert_eq!(shown().await, [("one".to_owned(), state)]);
        let coturns = world.turnadmin(&["-S", "-r", "north.gov"]);
        assert_eq!(coturns.contains("one"), state.is_accepted(), "{state:?}");
    }
    // A realm of which nothing else is known stays known.
    let realms = store.realms().await.unwrap();
    assert!(realms.iter().any(|realm| realm.name == north));
    // What another tool accepts is accepted.
    world.turnadmin(&["-s", "one", "-r", "north.gov"]);
    let secrets = world.other.secrets(&north).await.unwrap();
    let states: Vec<_> = secrets.iter().map(|secret| secret.state).collect();
    assert_eq!(states, [SecretState::Active]);
    put("one", SecretState::Pending).await;
    assert!(store.delete_secret(&north, "one").await.unwrap());
    assert!(!store.delete_secret(&north, "one").await.unwrap());
    assert!(store.secrets(&north).await.unwrap().is_empty());
}

async fn changes_are_told_to_this_node_and_the_others(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    ready(&world.other).await;
    let (mut here, mut there) = (world.store.changes(), world.other.changes());
    world
        .store
        .put_user(&north, "gorst", &key(1))
        .await
        .unwrap();
    let user = Change::User {
        realm: north.clone(),
        name: "gorst".to_owned(),
    };
    told(&mut here, |change| *change == user).await;
    told(&mut there, |change| *change == user).await;
    let secret = StoredSecret {
        value: Secret::new("s".to_owned()),
        label: String::new(),
        created_at_ms: 0,
        state: SecretState::Active,
    };
    world.store.put_secret(&north, &secret).await.unwrap();
    told(&mut there, |change| {
        *change
            == Change::Secrets {
                realm: north.clone(),
            }
    })
    .await;
    world.store.publish(&Change::Tokens).await.unwrap();
    told(&mut here, |change| *change == Change::Tokens).await;
    told(&mut there, |change| *change == Change::Tokens).await;
}
