//! The keys of users, users by USERHASH, and keys of third-party authorization.

use std::time::Duration;

use kit::wait::wait_for_async;
use relay::store::{Change, StoredOauthKey, UserKeys};
use shared::{OauthAlgorithm, PasswordAlgorithm, Realm, Secret};
use turn_proto::auth::credential::{Sha256Key, userhash};

use crate::for_both_stores;
use crate::world::{World, key, ready, realm, told};

for_both_stores!(
    both_keys_of_a_password_are_kept_until_coturns_is_written_alone,
    hostile_names_are_found_by_their_hash,
    oauth_keys_go_both_ways,
    oauth_keys_that_decrypt_nothing_hide_no_others,
);

/// Those that need coturn's own tools.
mod with_coturn {
    use super::{
        a_password_set_by_turnadmin_voids_the_sha256_key,
        a_user_is_found_by_its_hash_whoever_wrote_it,
    };
    use crate::for_coturns_stores;

    for_coturns_stores!(
        a_password_set_by_turnadmin_voids_the_sha256_key,
        a_user_is_found_by_its_hash_whoever_wrote_it
    );
}

const FIVE: Duration = Duration::from_secs(5);

async fn name_of(world: &World, realm: &Realm, name: &str) -> Option<String> {
    let hash = userhash(name, realm.as_str());
    world.other.user_by_hash(realm, &hash).await.unwrap()
}

async fn both_keys_of_a_password_are_kept_until_coturns_is_written_alone(world: &World) {
    let north = realm("north.gov");
    let keys = UserKeys::derive("gorst", "north.gov", "hero");
    world.store.put_user(&north, "gorst", &keys).await.unwrap();
    let read = world.other.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(read.keys, keys);
    let sha256 = Sha256Key::derive("gorst", "north.gov", "hero");
    assert_eq!(read.keys.sha256.unwrap().expose(), sha256.as_bytes());
    let page = world.other.users(Some(&north), None, 10).await.unwrap();
    assert_eq!(page[0].keys, keys);
    assert_eq!(page[0].keys.algorithms(), PasswordAlgorithm::ALL);
    world
        .store
        .put_user(&north, "gorst", &key(7))
        .await
        .unwrap();
    let read = world.other.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(read.keys, key(7));
    assert!(world.store.delete_user(&north, "gorst").await.unwrap());
    world
        .store
        .put_user(&north, "gorst", &UserKeys::coturns(keys.md5))
        .await
        .unwrap();
    let read = world.other.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(
        read.keys.sha256, None,
        "nothing is left of a user that was deleted"
    );
}

async fn a_password_set_by_turnadmin_voids_the_sha256_key(world: &World) {
    let north = realm("north.gov");
    let ours = UserKeys::derive("gorst", "north.gov", "old password");
    world.store.put_user(&north, "gorst", &ours).await.unwrap();
    world.turnadmin(&["-a", "-u", "gorst", "-r", "north.gov", "-p", "hero"]);
    let read = world.store.user(&north, "gorst").await.unwrap().unwrap();
    let theirs = UserKeys::derive("gorst", "north.gov", "hero");
    assert_eq!(read.keys, UserKeys::coturns(theirs.md5.clone()));
    let page = world.store.users(Some(&north), None, 10).await.unwrap();
    assert_eq!(page[0].keys.algorithms(), [PasswordAlgorithm::Md5]);
    world
        .store
        .put_user(&north, "gorst", &theirs)
        .await
        .unwrap();
    let read = world.store.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(read.keys, theirs);
}

async fn a_user_is_found_by_its_hash_whoever_wrote_it(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    assert_eq!(name_of(world, &north, "gorst").await, None);
    world
        .store
        .put_user(&north, "gorst", &key(1))
        .await
        .unwrap();
    assert_eq!(
        name_of(world, &north, "gorst").await.as_deref(),
        Some("gorst")
    );
    assert_eq!(name_of(world, &realm("south.gov"), "gorst").await, None);
    world.store.delete_user(&north, "gorst").await.unwrap();
    // A look that found the key just before puts the name back for a moment; the next one sees that it is gone.
    wait_for_async("the index to forget a deleted user", FIVE, || async {
        let name = name_of(world, &north, "gorst").await;
        name.is_none().then_some(())
    })
    .await;
    world.turnadmin(&["-a", "-u", "bethod", "-r", "north.gov", "-p", "hero"]);
    wait_for_async("the index to hold turnadmin's user", FIVE, || async {
        name_of(world, &north, "bethod").await
    })
    .await;
    world.turnadmin(&["-d", "-u", "bethod", "-r", "north.gov"]);
    wait_for_async("the index to forget it", FIVE, || async {
        name_of(world, &north, "bethod")
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

async fn hostile_names_are_found_by_their_hash(world: &World) {
    let north = realm("north.gov");
    let long = "x".repeat(508);
    for name in [
        "%s",
        "{x}",
        "a b\n",
        "\u{30DE}",
        "'; DROP TABLE userhash; --",
        &long,
    ] {
        world.store.put_user(&north, name, &key(1)).await.unwrap();
        assert_eq!(name_of(world, &north, name).await.as_deref(), Some(name));
    }
    // A client sends the hash of the prepared name (RFC 8489 §14.4).
    world
        .store
        .put_user(&north, "e\u{301}", &key(1))
        .await
        .unwrap();
    let name = name_of(world, &north, "\u{e9}").await;
    assert_eq!(name.as_deref(), Some("e\u{301}"));
}

fn oauth_key(kid: &str) -> StoredOauthKey {
    StoredOauthKey {
        kid: kid.to_owned(),
        ikm: Secret::new(b"12345678901234567890123456789012".to_vec()),
        algorithm: OauthAlgorithm::A256gcm,
        since: 0,
        lifetime_secs: 0,
        realm: None,
    }
}

async fn oauth_keys_go_both_ways(world: &World) {
    ready(&world.other).await;
    let mut changes = world.other.changes();
    let is_ours = |change: &Change| *change == Change::OauthKeys;
    assert_eq!(world.store.oauth_keys().await.unwrap(), []);
    let full = StoredOauthKey {
        algorithm: OauthAlgorithm::A128gcm,
        since: 1_700_000_000,
        lifetime_secs: 86_400,
        realm: Some(realm("north.gov")),
        ..oauth_key("union")
    };
    world
        .store
        .put_oauth_key(&oauth_key("north"))
        .await
        .unwrap();
    world.store.put_oauth_key(&full).await.unwrap();
    told(&mut changes, is_ours).await;
    let keys = world.other.oauth_keys().await.unwrap();
    assert_eq!(keys, [oauth_key("north"), full.clone()]);
    // As coturn's own test data has it.
    world.by_hand(
        "INSERT INTO oauth_key (kid, ikm_key, timestamp, lifetime, as_rs_alg, realm) VALUES \
         ('oldempire', 'MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK', 0, 0, 'A256GCM', '')",
        &[
            "HMSET",
            "turn/oauth/kid/oldempire",
            "ikm_key",
            "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK",
            "as_rs_alg",
            "A256GCM",
        ],
    );
    let keys = wait_for_async("the foreign key", FIVE, || async {
        let keys = world.other.oauth_keys().await.unwrap();
        (keys.len() == 3).then_some(keys)
    })
    .await;
    assert_eq!(keys[1].kid, "oldempire");
    assert_eq!(keys[1].ikm.expose().len(), 33);
    world.by_hand(
        "DELETE FROM oauth_key WHERE kid = 'oldempire'",
        &["DEL", "turn/oauth/kid/oldempire"],
    );
    wait_for_async("it to be gone", FIVE, || async {
        let keys = world.other.oauth_keys().await.unwrap();
        (keys.len() == 2).then_some(())
    })
    .await;
    while changes.try_recv().is_ok() {}
    assert!(world.store.delete_oauth_key("north").await.unwrap());
    assert!(!world.store.delete_oauth_key("north").await.unwrap());
    told(&mut changes, is_ours).await;
    assert_eq!(world.other.oauth_keys().await.unwrap(), [full]);
    assert!(world.store.put_oauth_key(&oauth_key("")).await.is_err());
}

async fn oauth_keys_that_decrypt_nothing_hide_no_others(world: &World) {
    ready(&world.store).await;
    world.store.put_oauth_key(&oauth_key("good")).await.unwrap();
    world.by_hand(
        "INSERT INTO oauth_key (kid, ikm_key) VALUES ('a', 'short'), ('b', NULL)",
        &["HMSET", "turn/oauth/kid/a", "ikm_key", "short"],
    );
    world.by_hand(
        "INSERT INTO oauth_key (kid, ikm_key, as_rs_alg) VALUES ('c', 1, 2)",
        &["SET", "turn/oauth/kid/c", "no hash"],
    );
    world.store.put_oauth_key(&oauth_key("zeal")).await.unwrap();
    let keys = world.store.oauth_keys().await.unwrap();
    assert_eq!(keys, [oauth_key("good"), oauth_key("zeal")]);
}
