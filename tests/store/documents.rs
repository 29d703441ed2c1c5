//! Documents and their compare-and-set.

use relay::store::document::{CONFIG, REDIRECTS, config_of};
use relay::store::{Change, StoreError};
use serde_json::{Value, json};

use crate::for_both_stores;
use crate::world::{World, ready, told};

for_both_stores!(
    revisions_count_and_conflicts_are_told,
    of_many_writers_one_wins_each_revision,
    a_body_comes_back_as_it_was,
    what_would_not_fit_is_refused,
);

fn conflict(result: Result<u64, StoreError>, revision: u64) {
    match result {
        Err(StoreError::RevisionConflict { current }) => assert_eq!(current, revision),
        other => panic!("{other:?}"),
    }
}

async fn revisions_count_and_conflicts_are_told(world: &World) {
    let (store, other) = (&world.store, &world.other);
    ready(other).await;
    let mut changes = other.changes();
    let body = json!({"log.level": "debug"});
    assert_eq!(store.document(CONFIG).await.unwrap(), None);
    conflict(store.put_document(CONFIG, &body, 3, "a").await, 0);
    let put = store.put_document(CONFIG, &body, 0, "unix:0").await;
    assert_eq!(put.unwrap(), 1);
    conflict(store.put_document(CONFIG, &body, 0, "a").await, 1);
    let put = other.put_document(CONFIG, &json!({}), 1, "token:x").await;
    assert_eq!(put.unwrap(), 2);
    conflict(store.put_document(CONFIG, &body, 1, "a").await, 2);
    let wanted = Change::Document {
        name: CONFIG.to_owned(),
        revision: 2,
    };
    told(&mut changes, |change| *change == wanted).await;
    let stored = store.document(CONFIG).await.unwrap().unwrap();
    assert_eq!((stored.revision, stored.body), (2, json!({})));
    assert_eq!(stored.changed_by, "token:x");
    assert!(stored.changed_at_ms > 1_700_000_000_000);
    let own = config_of(&"fra-1".parse().unwrap());
    assert_eq!(store.document(&own).await.unwrap(), None, "another one");
}

async fn of_many_writers_one_wins_each_revision(world: &World) {
    let mut writers = tokio::task::JoinSet::<u64>::new();
    for writer in 0..8_u32 {
        let store = if writer % 2 == 0 {
            &world.store
        } else {
            &world.other
        };
        let store = std::sync::Arc::clone(store);
        writers.spawn(async move {
            let (mut expected, mut won, mut unsure) = (0, 0, 0);
            while won < 5 {
                let body = json!({"writer": writer, "won": won});
                match store.put_document(REDIRECTS, &body, expected, "w").await {
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
    let stored = world.store.document(REDIRECTS).await.unwrap().unwrap();
    let revision = stored.revision;
    assert!((40..=40 + unsure).contains(&revision), "{revision}");
}

async fn a_body_comes_back_as_it_was(world: &World) {
    let mut deep = json!(null);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let body = json!({
        "empty": [{}, [], "", null], "deep": deep, "large": u64::MAX, "small": -0.125,
        "hostile": "\u{202e}\u{0}\"}{'%s\n", "wide": "\u{1f980}",
    });
    let put = world.store.put_document(CONFIG, &body, 0, "a");
    put.await.unwrap();
    let stored = world.other.document(CONFIG).await.unwrap().unwrap();
    assert_eq!(stored.body, body);
}

async fn what_would_not_fit_is_refused(world: &World) {
    let large = Value::String("x".repeat(300 * 1024));
    let refused = world.store.put_document(CONFIG, &large, 0, "a").await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(why)) if why.contains("at most")),
        "{refused:?}"
    );
    for name in ["", "a b", "a{b}", "\u{e9}", &"x".repeat(101)] {
        let refused = world.store.put_document(name, &json!({}), 0, "a").await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{name:?}");
    }
    assert_eq!(world.store.document(CONFIG).await.unwrap(), None);
}
