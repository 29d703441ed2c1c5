//! Tests that need the inside of the SQLite store; behaviour is in the suite `tests/store`.

use super::*;

async fn next(changes: &mut broadcast::Receiver<Change>) -> Change {
    tokio::time::timeout(Duration::from_secs(2), changes.recv())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn reads_hold_no_lock_that_another_writer_would_meet() {
    let dir = tempfile::tempdir().unwrap();
    let turndb = dir.path().join("turn db?#%.db");
    let store = SqliteStore::open(&turndb, &dir.path().join("relayd.db")).unwrap();
    let mut changes = store.changes();
    let foreign = Connection::open(&turndb).unwrap();
    foreign.busy_timeout(Duration::ZERO).unwrap();
    let inside = store.inner.turn.read(|_| {
        // A commit in the middle of our read succeeds at once, and the read is done again.
        foreign.execute(
            "INSERT OR IGNORE INTO turnusers_lt VALUES ('r', 'u', '7da2270ccfa49786e0115366d3a3d14d')",
            [],
        )
    });
    assert_eq!(inside.unwrap(), 0, "the second time the row is there");
    let realm: Realm = "r".parse().unwrap();
    assert!(store.user(&realm, "u").await.unwrap().is_some());
    assert_eq!(
        next(&mut changes).await,
        Change::User {
            realm,
            name: "u".to_owned()
        }
    );
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (turndb, db) = (dir.path().join("turndb"), dir.path().join("relayd.db"));
    let store = SqliteStore::open(&turndb, &db).unwrap();
    let refusal = SqliteStore::open(&turndb, &db).unwrap_err().to_string();
    assert!(refusal.contains("in use by another relayd"), "{refusal}");
    drop(store);
    SqliteStore::open(&turndb, &db).unwrap();
}

#[tokio::test]
async fn a_replaced_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (turndb, db) = (dir.path().join("turndb"), dir.path().join("relayd.db"));
    let store = SqliteStore::open(&turndb, &db).unwrap();
    let realm: Realm = "r".parse().unwrap();
    store
        .put_user(&realm, "u", &UserKeys::coturns([1; 16].into()))
        .await
        .unwrap();
    std::fs::remove_file(&turndb).unwrap();
    assert!(store.user(&realm, "u").await.unwrap().is_none());
    store
        .put_user(&realm, "u", &UserKeys::coturns([2; 16].into()))
        .await
        .unwrap();
    let user = store.user(&realm, "u").await.unwrap().unwrap();
    assert_eq!(user.keys.md5.expose(), &[2; 16]);
}

#[tokio::test]
async fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (turndb, db) = (dir.path().join("turndb"), dir.path().join("relayd.db"));
    let _store = SqliteStore::open(&turndb, &db).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.path()
        );
    }
}

#[tokio::test]
async fn a_file_of_the_first_schema_gets_what_it_lacks_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (turndb, db) = (dir.path().join("turndb"), dir.path().join("relayd.db"));
    let node = "fra-1".parse().unwrap();
    let store = SqliteStore::open(&turndb, &db).unwrap();
    store.next_epoch(&node).await.unwrap();
    let north: Realm = "north.gov".parse().unwrap();
    let keys = UserKeys::coturns([1; 16].into());
    store.put_user(&north, "gorst", &keys).await.unwrap();
    drop(store);
    let old = Connection::open(&db).unwrap();
    old.execute_batch(
        "DROP TABLE document; DROP TABLE user_key; DROP TABLE userhash; DROP TABLE secret_aside; \
         ALTER TABLE secret_label DROP COLUMN state; ALTER TABLE realm_history DROP COLUMN reason; \
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let store = SqliteStore::open(&turndb, &db).unwrap();
    assert_eq!(store.next_epoch(&node).await.unwrap(), 2);
    let hash = turn_proto::auth::credential::userhash("gorst", "north.gov");
    let known = store.user_by_hash(&north, &hash).await.unwrap();
    assert_eq!(
        known.as_deref(),
        Some("gorst"),
        "users of before are indexed"
    );
    let body = serde_json::json!({"log.level": "debug"});
    assert_eq!(
        store.put_document("config", &body, 0, "a").await.unwrap(),
        1
    );
}
