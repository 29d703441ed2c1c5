//! Revisions of realms: kept with who and why, and counted beyond a deletion.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use relay::store::revision::REVISIONS_KEPT;
use relay::store::{Author, StoreError};
use shared::api::RealmDocument;

use crate::for_both_stores;
use crate::world::{Backend, World, realm};

for_both_stores!(
    every_change_of_a_realm_is_a_revision_with_who_and_why,
    a_realm_that_comes_back_goes_on_counting,
    so_many_revisions_are_kept,
    a_history_begins_with_what_was_there_before,
    what_is_not_stored_cannot_be_deleted,
);

fn limited(max_sessions: u32) -> RealmDocument {
    RealmDocument {
        max_sessions: Some(max_sessions),
        ..RealmDocument::default()
    }
}

fn author(actor: &str, reason: &str) -> Author {
    Author {
        actor: actor.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The revisions as number, limit (`None`: deleted), author and reason.
async fn told(world: &World) -> Vec<(u64, Option<u32>, String, String)> {
    let revisions = world.other.realm_revisions(&realm("north.gov")).await;
    let tell = |revision: relay::store::StoredRevision| {
        assert!(revision.changed_at_ms > 1_700_000_000_000);
        let limit = revision.document.map(|d| d.max_sessions.unwrap_or(0));
        (
            revision.revision,
            limit,
            revision.changed_by,
            revision.reason,
        )
    };
    revisions.unwrap().into_iter().map(tell).collect()
}

async fn every_change_of_a_realm_is_a_revision_with_who_and_why(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    assert!(store.realm_revisions(&north).await.unwrap().is_empty());
    let ann = author("token:ann", "more \"calls\"\n");
    store.put_realm(&north, &limited(1), 0, &ann).await.unwrap();
    let bob = author("unix:0", "");
    store.put_realm(&north, &limited(2), 1, &bob).await.unwrap();
    // One that lost leaves nothing.
    assert!(store.put_realm(&north, &limited(3), 1, &ann).await.is_err());
    assert_eq!(
        told(world).await,
        [
            (2, Some(2), "unix:0".to_owned(), String::new()),
            (1, Some(1), ann.actor.clone(), ann.reason.clone()),
        ]
    );
    let south = store.realm_revisions(&realm("south.gov")).await.unwrap();
    assert!(south.is_empty());
}

async fn a_realm_that_comes_back_goes_on_counting(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let ann = author("ann", "x");
    store.put_realm(&north, &limited(1), 0, &ann).await.unwrap();
    let gone = author("bob", "unused");
    store.delete_realm(&north, 1, &gone).await.unwrap();
    assert_eq!(
        told(world).await[0],
        (2, None, "bob".to_owned(), "unused".to_owned())
    );
    assert!(store.realms().await.unwrap().is_empty());
    let revision = store.put_realm(&north, &limited(7), 0, &ann).await.unwrap();
    assert_eq!(revision, 3);
    let realms = store.realms().await.unwrap();
    assert_eq!((realms.len(), realms[0].revision), (1, 3));
    let again = store.put_realm(&north, &limited(8), 3, &ann).await.unwrap();
    assert_eq!(again, 4);
    let numbers: Vec<_> = told(world).await.into_iter().map(|r| (r.0, r.1)).collect();
    assert_eq!(
        numbers,
        [(4, Some(8)), (3, Some(7)), (2, None), (1, Some(1))]
    );
}

async fn so_many_revisions_are_kept(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let ann = author("ann", "");
    let most = u32::try_from(REVISIONS_KEPT).unwrap();
    for n in 0..most + 5 {
        let document = limited(n + 1);
        let put = store.put_realm(&north, &document, n.into(), &ann).await;
        assert_eq!(put.unwrap(), u64::from(n) + 1);
    }
    let last = u64::from(most) + 5;
    store.delete_realm(&north, last, &ann).await.unwrap();
    let put = store.put_realm(&north, &limited(1), 0, &ann).await;
    assert_eq!(put.unwrap(), last + 2);
    let kept = told(world).await;
    assert_eq!(kept.len() as u64, REVISIONS_KEPT);
    assert_eq!((kept[0].0, kept[1].1), (last + 2, None));
    assert_eq!(kept.last().unwrap().0, last + 3 - REVISIONS_KEPT);
}

/// Takes the history away: the realm is as a release stored it that kept none.
fn forget_history(world: &World) {
    if let Backend::Sqlite { turndb, .. } = &world.backend {
        let status = Command::new("sqlite3")
            .args(["-cmd", ".timeout 2000"])
            .arg(turndb.with_file_name("relayd.db"))
            .arg("DELETE FROM realm_history")
            .status();
        let status = status.expect("sqlite3 runs (Debian package: sqlite3)");
        assert!(status.success());
        return;
    }
    let encoded = URL_SAFE_NO_PAD.encode("north.gov");
    let key = format!("relay:realm:{{{encoded}}}:history");
    world.by_hand("", &["DEL", &key]);
}

async fn a_history_begins_with_what_was_there_before(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let ann = author("ann", "because");
    for number in 0..2 {
        store
            .put_realm(&north, &limited(number + 1), number.into(), &ann)
            .await
            .unwrap();
    }
    forget_history(world);
    let first = (2, Some(2), "ann".to_owned());
    let told_now = async || {
        let told = told(world).await.into_iter();
        told.map(|(number, limit, who, _)| (number, limit, who))
            .collect::<Vec<_>>()
    };
    // It is there, and can be read.
    assert_eq!(told_now().await.first(), Some(&first));
    let bob = author("bob", "");
    store.put_realm(&north, &limited(3), 2, &bob).await.unwrap();
    let second = (3, Some(3), "bob".to_owned());
    assert_eq!(told_now().await, [second, first]);
    // Also where the first change is its end.
    forget_history(world);
    store.delete_realm(&north, 3, &bob).await.unwrap();
    let gone = (4, None, "bob".to_owned());
    let before = (3, Some(3), "bob".to_owned());
    assert_eq!(told_now().await, [gone, before]);
}

async fn what_is_not_stored_cannot_be_deleted(world: &World) {
    let (store, north) = (&world.store, realm("north.gov"));
    let ann = author("ann", "");
    let refused = store.delete_realm(&north, 0, &ann).await;
    assert!(
        matches!(refused, Err(StoreError::RevisionConflict { current: 0 })),
        "{refused:?}"
    );
    assert!(told(world).await.is_empty(), "nothing was written");
    store.put_realm(&north, &limited(1), 0, &ann).await.unwrap();
    store.delete_realm(&north, 1, &ann).await.unwrap();
    assert!(store.delete_realm(&north, 0, &ann).await.is_err());
    assert_eq!(told(world).await.len(), 2);
}
