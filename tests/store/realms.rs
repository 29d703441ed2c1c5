//! Realm documents and their compare-and-set.

use relay::store::{Change, StoreError};
use shared::api::RealmDocument;

use crate::for_both_stores;
use crate::world::{World, key, ready, realm, told};

for_both_stores!(
    revisions_count_and_conflicts_are_told,
    of_many_writers_one_wins_each_revision,
    unknown_fields_of_a_document_are_kept,
    a_deleted_realm_keeps_its_users,
    an_origin_belongs_to_one_realm,
);

fn limited(max_sessions: u32) -> RealmDocument {
    RealmDocument {
        max_sessions: Some(max_sessions),
        ..RealmDocument::default()
    }
}

async fn revisions_count_and_conflicts_are_told(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    ready(&world.other).await;
    let mut changes = world.other.changes();
    let conflict = |result: Result<u64, StoreError>, revision| match result {
        Err(StoreError::RevisionConflict { current }) => assert_eq!(current, revision),
        other => panic!("{other:?}"),
    };
    conflict(
        store.put_realm(&north, &limited(1), 3, &"a".into()).await,
        0,
    );
    assert_eq!(
        store
            .put_realm(&north, &limited(1), 0, &"unix:0".into())
            .await
            .unwrap(),
        1
    );
    conflict(
        store.put_realm(&north, &limited(2), 0, &"a".into()).await,
        1,
    );
    assert_eq!(
        world
            .other
            .put_realm(&north, &limited(2), 1, &"token:x".into())
            .await
            .unwrap(),
        2
    );
    conflict(
        store.put_realm(&north, &limited(3), 1, &"a".into()).await,
        2,
    );
    let wanted = Change::Realm {
        realm: north.clone(),
        revision: 2,
    };
    told(&mut changes, |change| *change == wanted).await;
    let realms = store.realms().await.unwrap();
    assert_eq!(realms.len(), 1);
    let stored = &realms[0];
    assert_eq!((&stored.name, stored.revision), (&north, 2));
    assert_eq!(
        (&stored.document, stored.changed_by.as_str()),
        (&limited(2), "token:x")
    );
    assert!(stored.changed_at_ms > 1_700_000_000_000);
    let gone = store.delete_realm(&north, 1, &"a".into()).await;
    assert!(
        matches!(gone, Err(StoreError::RevisionConflict { current: 2 })),
        "{gone:?}"
    );
    store.delete_realm(&north, 2, &"a".into()).await.unwrap();
    assert!(store.realms().await.unwrap().is_empty());
}

async fn of_many_writers_one_wins_each_revision(world: &World) {
    let north = realm("north.gov");
    let mut writers = tokio::task::JoinSet::<u64>::new();
    for writer in 0..8_u32 {
        let (north, me) = (north.clone(), writer);
        let store = if writer % 2 == 0 {
            &world.store
        } else {
            &world.other
        };
        let store = std::sync::Arc::clone(store);
        writers.spawn(async move {
            let (mut expected, mut won, mut unsure) = (0, 0, 0);
            while won < 5 {
                match store
                    .put_realm(&north, &limited(me + 1), expected, &"w".into())
                    .await
                {
                    Ok(revision) => (expected, won) = (revision, won + 1),
                    Err(StoreError::RevisionConflict { current }) => expected = current,
                    // A busy disk: it may have been written, or not.
                    Err(error) if error.may_pass() && unsure < 100 => unsure += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            unsure
        });
    }
    let unsure: u64 = writers.join_all().await.into_iter().sum();
    let revision = world.store.realms().await.unwrap()[0].revision;
    assert!((40..=40 + unsure).contains(&revision), "{revision}");
}

async fn unknown_fields_of_a_document_are_kept(world: &World) {
    let mut document = limited(1);
    document.extra.insert(
        "from_the_future".to_owned(),
        serde_json::json!({"a": [1, {}, []]}),
    );
    document.denied_peers = vec!["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()];
    document.allowed_peers = vec!["10.1.2.3".parse().unwrap()];
    world
        .store
        .put_realm(&realm("r"), &document, 0, &"a".into())
        .await
        .unwrap();
    assert_eq!(world.other.realms().await.unwrap()[0].document, document);
}

async fn a_deleted_realm_keeps_its_users(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    store
        .put_realm(&north, &limited(9), 0, &"a".into())
        .await
        .unwrap();
    store.put_user(&north, "gorst", &key(1)).await.unwrap();
    store.delete_realm(&north, 1, &"a".into()).await.unwrap();
    assert!(store.user(&north, "gorst").await.unwrap().is_some());
    let realms = store.realms().await.unwrap();
    assert_eq!(
        (realms[0].revision, realms[0].document.max_sessions),
        (0, None)
    );
}

async fn an_origin_belongs_to_one_realm(world: &World) {
    let (store, north, south) = (&world.store, realm("north.gov"), realm("south.gov"));
    let with = |origins: &[&str]| RealmDocument {
        origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        ..RealmDocument::default()
    };
    let (a, b) = ("https://a.example", "http://b.example:8080");
    store
        .put_realm(&north, &with(&[b, a]), 0, &"x".into())
        .await
        .unwrap();
    assert_eq!(
        world.other.realms().await.unwrap()[0].document,
        with(&[b, a])
    );
    let taken = world
        .other
        .put_realm(&south, &with(&["http://c", a]), 0, &"x".into())
        .await;
    match taken {
        Err(StoreError::OriginTaken { origin, realm }) => {
            assert_eq!(
                (origin.as_str(), realm.as_str()),
                ("https://a.example:443", "north.gov")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        store.realms().await.unwrap().len(),
        1,
        "nothing of it was written"
    );
    // Given up by the one, it is free for the other.
    store
        .put_realm(&north, &with(&[b]), 1, &"x".into())
        .await
        .unwrap();
    world
        .other
        .put_realm(&south, &with(&["http://c", a]), 0, &"x".into())
        .await
        .unwrap();
    store.delete_realm(&north, 2, &"a".into()).await.unwrap();
    world
        .other
        .put_realm(&south, &with(&[b]), 1, &"x".into())
        .await
        .unwrap();
    let realms = store.realms().await.unwrap();
    let left: Vec<_> = realms
        .iter()
        .map(|realm| (&realm.name, &realm.document))
        .collect();
    assert_eq!(left, [(&south, &with(&[b]))]);
}
