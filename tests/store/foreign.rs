//! coturn's tools and an operator's hands beside us, in both directions.

use std::time::Duration;

use kit::wait::wait_for_async;
use relay::store::{Change, StoredSecret};
use shared::Secret;
use shared::api::RealmDocument;
use shared::api::SecretState;

use crate::for_coturns_stores;
use crate::world::{World, key, ready, realm, told};

for_coturns_stores!(
    turnadmin_adds_and_deletes_users_that_we_see,
    turnadmin_lists_what_we_wrote,
    secrets_of_other_tools_are_seen,
    a_document_is_projected_into_coturns_options,
    a_foreign_option_becomes_the_next_revision,
    a_realm_without_a_document_shows_coturns_options,
    rows_that_are_no_users_hide_no_others,
    origins_go_both_ways,
    a_realm_with_nothing_but_an_origin_is_one,
);

async fn turnadmin_adds_and_deletes_users_that_we_see(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    let mut changes = world.store.changes();
    let user = Change::User {
        realm: north.clone(),
        name: "gorst".to_owned(),
    };
    world.turnadmin(&["-a", "-u", "gorst", "-r", "north.gov", "-p", "hero"]);
    told(&mut changes, |change| *change == user).await;
    let stored = world.store.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(stored.keys.md5.expose()[..4], [0x7d, 0xa2, 0x27, 0x0c]);
    wait_for_async(
        "the page to hold the user",
        Duration::from_secs(5),
        || async {
            let page = world.store.users(None, None, 10).await.unwrap();
            (page.len() == 1 && world.store.user_count(None).await.unwrap() == 1).then_some(())
        },
    )
    .await;
    assert_eq!(world.store.realms().await.unwrap()[0].name, north);
    world.turnadmin(&["-d", "-u", "gorst", "-r", "north.gov"]);
    told(&mut changes, |change| *change == user).await;
    assert!(world.store.user(&north, "gorst").await.unwrap().is_none());
    assert!(world.store.users(None, None, 10).await.unwrap().is_empty());
    wait_for_async("the count to follow", Duration::from_secs(5), || async {
        (world.store.user_count(Some(&north)).await.unwrap() == 0).then_some(())
    })
    .await;
}

async fn turnadmin_lists_what_we_wrote(world: &World) {
    let north = realm("north.gov");
    world
        .store
        .put_user(&north, "gorst", &key(1))
        .await
        .unwrap();
    let secret = StoredSecret {
        value: Secret::new("deep-secret".to_owned()),
        label: "web".to_owned(),
        created_at_ms: 1,
        state: SecretState::Active,
    };
    world.store.put_secret(&north, &secret).await.unwrap();
    let users = world.turnadmin(&["-l"]);
    assert!(users.contains("gorst[north.gov]"), "{users}");
    let secrets = world.turnadmin(&["-S", "-r", "north.gov"]);
    assert!(secrets.contains("deep-secret"), "{secrets}");
    world.store.delete_user(&north, "gorst").await.unwrap();
    world
        .store
        .delete_secret(&north, "deep-secret")
        .await
        .unwrap();
    assert!(!world.turnadmin(&["-l"]).contains("gorst"));
    assert!(
        !world
            .turnadmin(&["-S", "-r", "north.gov"])
            .contains("deep-secret")
    );
}

async fn secrets_of_other_tools_are_seen(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    let mut changes = world.store.changes();
    let change = Change::Secrets {
        realm: north.clone(),
    };
    world.turnadmin(&["--set-secret=foreign-secret", "-r", "north.gov"]);
    told(&mut changes, |told| *told == change).await;
    let secrets = world.store.secrets(&north).await.unwrap();
    assert_eq!(secrets[0].value.expose(), "foreign-secret");
    assert_eq!(
        (secrets[0].label.as_str(), secrets[0].created_at_ms),
        ("", 0)
    );
    world.by_hand(
        "DELETE FROM turn_secret",
        &["DEL", "turn/realm/north.gov/secret"],
    );
    told(&mut changes, |told| *told == change).await;
    assert!(world.store.secrets(&north).await.unwrap().is_empty());
}

async fn a_document_is_projected_into_coturns_options(world: &World) {
    let north = realm("north.gov");
    let document = RealmDocument {
        max_sessions: Some(100),
        max_sessions_per_user: Some(7),
        max_rate_bps: Some(800_000),
        denied_peers: vec!["10.0.0.0/30".parse().unwrap()],
        ..RealmDocument::default()
    };
    world
        .store
        .put_realm(&north, &document, 0, &"a".into())
        .await
        .unwrap();
    let listed = world.turnadmin(&["-G", "-r", "north.gov"]);
    for (option, value) in [
        ("total-quota", "=100"),
        ("user-quota", "=7"),
        ("max-bps", "=100000"),
    ] {
        let shown = |line: &str| line.contains(option) && line.replace(' ', "").ends_with(value);
        assert!(listed.lines().any(shown), "{option} in {listed}");
    }
    let fewer = RealmDocument {
        max_sessions: None,
        denied_peers: vec![],
        ..document
    };
    world
        .store
        .put_realm(&north, &fewer, 1, &"a".into())
        .await
        .unwrap();
    let listed = world.turnadmin(&["-G", "-r", "north.gov"]);
    assert!(!listed.contains("total-quota"), "{listed}");
    world
        .store
        .delete_realm(&north, 2, &"a".into())
        .await
        .unwrap();
    let listed = world.turnadmin(&["-G", "-r", "north.gov"]);
    assert!(!listed.contains("user-quota"), "{listed}");
}

async fn a_foreign_option_becomes_the_next_revision(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    ready(&world.other).await;
    let document = RealmDocument {
        note: "kept".to_owned(),
        ..RealmDocument::default()
    };
    world
        .store
        .put_realm(&north, &document, 0, &"a".into())
        .await
        .unwrap();
    let (mut here, mut there) = (world.store.changes(), world.other.changes());
    world.turnadmin(&["-g", "-r", "north.gov", "--total-quota", "55"]);
    let second = |change: &Change| matches!(change, Change::Realm { revision: 2, .. });
    told(&mut here, second).await;
    told(&mut there, second).await;
    let stored = world.store.realms().await.unwrap().remove(0);
    assert_eq!(
        (stored.revision, stored.changed_by.as_str()),
        (2, "external")
    );
    assert_eq!(
        (stored.document.max_sessions, stored.document.note.as_str()),
        (Some(55), "kept")
    );
    world.by_hand(
        "INSERT INTO denied_peer_ip VALUES ('north.gov', '192.0.2.0-192.0.2.255')",
        &[
            "SADD",
            "turn/realm/north.gov/denied-peer-ip",
            "192.0.2.0-192.0.2.255",
        ],
    );
    told(&mut here, |change| {
        matches!(change, Change::Realm { revision: 3, .. })
    })
    .await;
    let stored = world.store.realms().await.unwrap().remove(0);
    assert_eq!(
        stored.document.denied_peers,
        ["192.0.2.0/24".parse().unwrap()]
    );
    // Our own edit is projected again and imported by nobody.
    let edited = RealmDocument {
        max_sessions: Some(56),
        ..stored.document
    };
    world
        .store
        .put_realm(&north, &edited, 3, &"a".into())
        .await
        .unwrap();
    world.turnadmin(&["-a", "-u", "marker", "-r", "north.gov", "-p", "x"]);
    told(&mut here, |change| matches!(change, Change::User { .. })).await;
    assert_eq!(world.store.realms().await.unwrap()[0].revision, 4);
}

async fn a_realm_without_a_document_shows_coturns_options(world: &World) {
    ready(&world.store).await;
    let mut changes = world.store.changes();
    world.turnadmin(&[
        "-g",
        "-r",
        "south.gov",
        "--max-bps",
        "2000",
        "--user-quota",
        "3",
    ]);
    told(&mut changes, |change| {
        matches!(change, Change::Realm { revision: 0, .. })
    })
    .await;
    let stored = wait_for_async("the realm", Duration::from_secs(2), || async {
        world.store.realms().await.unwrap().pop()
    })
    .await;
    assert_eq!((stored.revision, stored.name.as_str()), (0, "south.gov"));
    assert_eq!(stored.document.max_rate_bps, Some(16_000));
    assert_eq!(stored.document.max_sessions_per_user, Some(3));
}

async fn rows_that_are_no_users_hide_no_others(world: &World) {
    let north = realm("north.gov");
    ready(&world.store).await;
    world.store.put_user(&north, "a", &key(1)).await.unwrap();
    world.store.put_user(&north, "c", &key(1)).await.unwrap();
    let mut changes = world.store.changes();
    world.by_hand(
        "INSERT INTO turnusers_lt VALUES ('north.gov', 'b', 'no key')",
        &["SET", "turn/realm/north.gov/user/b/key", "no key"],
    );
    world.by_hand(
        "INSERT INTO turnusers_lt VALUES ('north.gov', 'bb', x'00ff')",
        &["LPUSH", "turn/realm/north.gov/user/bb/key", "a list"],
    );
    told(
        &mut changes,
        |change| matches!(change, Change::User { name, .. } if name == "bb"),
    )
    .await;
    assert!(world.store.user(&north, "b").await.is_err());
    let names = wait_for_async("the page", Duration::from_secs(2), || async {
        let page = world.store.users(Some(&north), None, 3).await.unwrap();
        let names: Vec<String> = page.into_iter().map(|user| user.name).collect();
        (names.len() >= 2).then_some(names)
    })
    .await;
    assert_eq!(names, ["a", "c"]);
}

async fn origins_go_both_ways(world: &World) {
    let (north, south) = (realm("north.gov"), realm("south.gov"));
    ready(&world.store).await;
    ready(&world.other).await;
    let document = RealmDocument {
        origins: vec!["https://kept.example".to_owned()],
        ..RealmDocument::default()
    };
    world
        .store
        .put_realm(&north, &document, 0, &"a".into())
        .await
        .unwrap();
    let (empty, somebody) = (RealmDocument::default(), "a".into());
    let put = world.store.put_realm(&south, &empty, 0, &somebody).await;
    put.unwrap();
    let listed = world.turnadmin(&["-I"]);
    assert!(
        listed.contains("https://kept.example:443 ==>> north.gov"),
        "{listed}"
    );

    let origins = |name: &'static str| async move {
        let realms = world.other.realms().await.unwrap();
        let stored = realms.into_iter().find(|realm| realm.name.as_str() == name);
        stored.map_or_else(Vec::new, |realm| realm.document.origins)
    };
    let mut changes = world.other.changes();
    world.turnadmin(&["-O", "-o", "https://New.example", "-r", "north.gov"]);
    let second = |change: &Change| matches!(change, Change::Realm { revision: 2, .. });
    told(&mut changes, second).await;
    assert_eq!(
        origins("north.gov").await,
        ["https://kept.example", "https://new.example"]
    );
    // Given to another realm: the one loses what the other gains.
    world.turnadmin(&["-O", "-o", "https://new.example", "-r", "south.gov"]);
    wait_for_async(
        "the origin in its new realm",
        Duration::from_secs(5),
        || async {
            let moved = origins("south.gov").await == ["https://new.example"];
            (moved && origins("north.gov").await == ["https://kept.example"]).then_some(())
        },
    )
    .await;
    world.turnadmin(&["-R", "-o", "https://kept.example"]);
    wait_for_async("the origin to go", Duration::from_secs(5), || async {
        origins("north.gov").await.is_empty().then_some(())
    })
    .await;
    // What is no origin to us is nobody's business here.
    world.by_hand(
        "INSERT INTO turn_origin_to_realm VALUES ('null', 'north.gov')",
        &["SET", "turn/origin/null", "north.gov"],
    );
    let stored = world.store.realms().await.unwrap().remove(0);
    assert_eq!(stored.name, north);
    let next = world
        .store
        .put_realm(&north, &document, stored.revision, &"a".into())
        .await;
    assert_eq!(next.unwrap(), stored.revision + 1);
    let listed = world.turnadmin(&["-I"]);
    for line in [
        "https://kept.example:443 ==>> north.gov",
        "https://new.example:443 ==>> south.gov",
        "null ==>> north.gov",
    ] {
        assert!(listed.contains(line), "{line} in {listed}");
    }
    assert_eq!(origins("north.gov").await, ["https://kept.example"]);
}

async fn a_realm_with_nothing_but_an_origin_is_one(world: &World) {
    ready(&world.store).await;
    world.turnadmin(&["-O", "-o", "http://only.example:8080", "-r", "west.gov"]);
    let stored = wait_for_async("the realm", Duration::from_secs(5), || async {
        world.store.realms().await.unwrap().pop()
    })
    .await;
    assert_eq!((stored.revision, stored.name.as_str()), (0, "west.gov"));
    assert_eq!(stored.document.origins, ["http://only.example:8080"]);
    // A document replaces it, and says so to coturn.
    let document = RealmDocument::default();
    world
        .store
        .put_realm(&realm("west.gov"), &document, 0, &"a".into())
        .await
        .unwrap();
    let listed = world.turnadmin(&["-I"]);
    assert!(!listed.contains("only.example"), "{listed}");
}
