//! Users and secrets in bulk: who may, what is the same, what is refused, what is written down of it.

use shared::Secret;
use shared::api::{ImportOutcome, ImportedUser, RealmImport, RevealRequest, Role, SecretState};

use super::*;
use crate::config::cluster_key::parse_hex;
use crate::control::testing::FlakyStore;
use crate::store::{Store, StoredSecret, UserKeys};

const KEY: &str = "7da2270ccfa49786e0115366d3a3d14d";

fn import(users: &[(&str, &str)], secrets: &[&str], dry_run: bool) -> RealmImport {
    let users = users.iter().map(|(name, key)| ImportedUser {
        name: (*name).to_owned(),
        key: (*key).to_owned(),
    });
    RealmImport {
        users: users.collect(),
        secrets: secrets.iter().map(|&value| value.to_owned()).collect(),
        dry_run,
        reason: "move".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_there_once_and_what_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    // Its password is another one, and its SHA-256 key worth nothing with the key that comes.
    let before = UserKeys::derive("bob", "acme", "before");
    store.put_user(&acme, "bob", &before).await.unwrap();
    let users = [
        ("gorst", KEY),
        ("bob", &format!("0x{}", KEY.to_uppercase())),
        ("a/b", KEY),
        ("short", "7da2"),
    ];
    let rows = |dry_run| import(&users, &["north", "two words"], dry_run);
    let refused = |outcome: &ImportOutcome| matches!(outcome, ImportOutcome::Refused(_));
    for dry_run in [true, false] {
        let result = service
            .import(&admin(), &acme, rows(dry_run))
            .await
            .unwrap();
        assert_eq!(
            result.users[..2],
            [ImportOutcome::Added, ImportOutcome::Changed]
        );
        assert!(result.users[2..].iter().all(refused), "{result:?}");
        assert_eq!(result.secrets[0], ImportOutcome::Added);
        assert!(refused(&result.secrets[1]), "{result:?}");
    }
    let bob = store.user(&acme, "bob").await.unwrap().unwrap();
    assert_eq!(bob.keys.sha256, None);
    let again = service.import(&admin(), &acme, rows(false)).await.unwrap();
    assert_eq!(again.users[..2], [ImportOutcome::Same, ImportOutcome::Same]);
    assert_eq!(again.secrets[0], ImportOutcome::Same);
    let request = RevealRequest::default();
    let revealed = service.reveal(&admin(), &acme, &request).await.unwrap();
    let names: Vec<_> = revealed
        .users
        .iter()
        .map(|user| user.name.as_str())
        .collect();
    assert_eq!((names, revealed.next), (vec!["bob", "gorst"], None));
    assert!(revealed.users.iter().all(|user| user.key == KEY));
    assert_eq!(revealed.secrets.len(), 1);
    assert_eq!(revealed.secrets[0].value, "north");
    let listed = service.secrets(&admin(), &acme).await.unwrap().items;
    assert!(
        listed
            .iter()
            .any(|secret| secret.id == revealed.secrets[0].id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_move_keys_and_what_they_do_is_audited() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    for role in [Role::Viewer, Role::Operator] {
        let who = caller(role, &[]);
        let rows = import(&[("gorst", KEY)], &[], true);
        assert!(service.import(&who, &acme, rows).await.is_err());
        let asked = service.reveal(&who, &acme, &RevealRequest::default()).await;
        assert!(asked.is_err());
    }
    let too_many = vec![("x", KEY); RealmImport::MAX_IMPORTED + 1];
    let refused = service
        .import(&admin(), &acme, import(&too_many, &[], false))
        .await;
    assert!(refused.unwrap_err().message.contains("at most 500"));
    let rows = import(&[("gorst", KEY)], &["north"], false);
    service.import(&admin(), &acme, rows).await.unwrap();
    let request = RevealRequest {
        secrets_only: true,
        ..RevealRequest::default()
    };
    let revealed = service.reveal(&admin(), &acme, &request).await.unwrap();
    assert!(revealed.users.is_empty() && revealed.secrets.len() == 1);
    eventually("the audit", async || {
        let audit = service.audit(&admin(), &ListQuery::default()).await;
        let audit = format!("{:?}", audit.unwrap().items);
        assert!(!audit.contains(KEY) && !audit.contains("north"), "{audit}");
        audit.contains("realm.import") && audit.contains("realm.reveal")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_failure_is_counted_and_the_same_call_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::new(Arc::clone(&inner));
    flaky.set_unwritable("third");
    let away: Arc<dyn Store> = flaky;
    let node = TestNode::start("a", 1, &away, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    // Of users that are there already nothing is written.
    let key = parse_hex::<16>(KEY).map(Secret::new).unwrap();
    let keys = UserKeys::coturns(key);
    inner.put_user(&acme, "first", &keys).await.unwrap();
    let users = [("first", KEY), ("second", KEY), ("third", KEY)];
    let rows = |dry_run| import(&users, &["north"], dry_run);
    let failed = service.import(&admin(), &acme, rows(false)).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.error, ErrorKind::Unavailable);
    let told =
        " (1 users, 0 secrets were written; up to 1 more users may have been, or be written yet)";
    assert!(failed.message.ends_with(told), "{failed}");
    assert!(inner.user(&acme, "second").await.unwrap().is_some());
    eventually("the audit", async || {
        let audit = service.audit(&admin(), &ListQuery::default()).await;
        format!("{:?}", audit.unwrap().items).contains(told)
    })
    .await;
    let looked = service.import(&admin(), &acme, rows(true)).await.unwrap();
    let (same, added) = (ImportOutcome::Same, ImportOutcome::Added);
    assert_eq!(looked.users, [same.clone(), same, added]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_twice_in_a_call_is_the_same_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let acme = realm("acme");
    let other = "cd08cbe80a4ce12dbe350e2c9299c5df";
    // The last ones come in another lot than the first.
    let names: Vec<_> = (0..60).map(|n| format!("u{n}")).collect();
    let mut users = vec![("twice", KEY), ("twice", KEY), ("twice", other)];
    users.extend(names.iter().map(|name| (name.as_str(), KEY)));
    users.extend([("twice", other), ("twice", KEY)]);
    for dry_run in [true, false] {
        let rows = import(&users, &[], dry_run);
        let result = node.service.import(&admin(), &acme, rows).await.unwrap();
        let [added, same, refused] = &result.users[..3] else {
            panic!("{result:?}")
        };
        assert_eq!((added, same), (&ImportOutcome::Added, &ImportOutcome::Same));
        let is_refused = matches!(refused, ImportOutcome::Refused(why) if why.contains("before"));
        assert!(is_refused, "{refused:?}");
        assert_eq!(&result.users[63..], [refused.clone(), same.clone()]);
    }
    let stored = store.user(&acme, "twice").await.unwrap().unwrap();
    assert_eq!(stored.keys.md5, Secret::new(parse_hex::<16>(KEY).unwrap()));
}

/// Imports fifty users into a store that fails in the middle; what was said, and whether the trail and the
/// events say the same.
async fn fifty(prepare: impl Fn(&FlakyStore), written: usize, doubtful: usize) {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::new(Arc::clone(&inner));
    let passed_on: Arc<dyn Store> = Arc::clone(&flaky) as _;
    let node = TestNode::start("a", 1, &passed_on, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    let names: Vec<_> = (0..50).map(|n| format!("u{n:02}")).collect();
    let users: Vec<_> = names.iter().map(|name| (name.as_str(), KEY)).collect();
    prepare(&flaky);
    let failed = service
        .import(&admin(), &acme, import(&users, &[], false))
        .await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.error, ErrorKind::Unavailable);
    let more = match doubtful {
        0 => String::new(),
        more => format!("; up to {more} more users may have been, or be written yet"),
    };
    let told = format!(" ({written} users, 0 secrets were written{more})");
    assert!(failed.message.ends_with(&told), "{failed}");
    flaky.set_away(false);
    let more = match doubtful {
        0 => String::new(),
        more => format!(", and up to {more} more"),
    };
    let event = format!("{written} users of acme were imported by unix:0{more}\"");
    eventually("the audit and the event", async || {
        let audit = service.audit(&admin(), &ListQuery::default()).await;
        let events = service.events(&admin(), None, 100).await;
        let (Ok(audit), Ok(events)) = (audit, events) else {
            return false;
        };
        let (audit, events) = (format!("{:?}", audit.items), format!("{:?}", events.items));
        audit.contains(&told) && events.contains(&event)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_took_before_it_went_away_is_counted_or_said_to_be_doubtful() {
    // It is away for good: nobody knows.
    fifty(|store| store.leave_after(20), 0, 50).await;
    // It is back at once, and tells which it has.
    fifty(|store| store.set_unwritable("u20"), 20, 30).await;
    // It took all of them, and said so too late.
    fifty(|store| store.set_loses_answers(true), 50, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_store_refuses_keeps_the_others_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inner = store(dir.path());
    let flaky = FlakyStore::new(Arc::clone(&inner));
    flaky.set_refused("second");
    let passed_on: Arc<dyn Store> = flaky;
    let node = TestNode::start("a", 1, &passed_on, dir.path()).await;
    let acme = realm("acme");
    let users = [("first", KEY), ("second", KEY), ("third", KEY)];
    let rows = import(&users, &[], false);
    let result = node.service.import(&admin(), &acme, rows).await.unwrap();
    let refused = ImportOutcome::Refused("the store refused: WRONGTYPE in a test".to_owned());
    let added = ImportOutcome::Added;
    assert_eq!(result.users, [added.clone(), refused, added]);
    assert!(inner.user(&acme, "third").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_configuration_file_are_the_same_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let node = TestNode::start("a", 1, &store, dir.path()).await;
    let (service, acme) = (&node.service, realm("acme"));
    let rows = import(&[], &["a-secret-of-the-file"], false);
    let result = service.import(&admin(), &acme, rows).await.unwrap();
    assert_eq!(result.secrets, [ImportOutcome::Same]);
    assert_eq!(store.secrets(&acme).await.unwrap().len(), 0);
    let values: Vec<_> = (0..16).map(|n| format!("secret-{n}")).collect();
    let mut values: Vec<_> = values.iter().map(String::as_str).collect();
    values.push("a-secret-of-the-file");
    for dry_run in [true, false] {
        let rows = import(&[], &values, dry_run);
        let result = service.import(&admin(), &acme, rows).await.unwrap();
        let added = result
            .secrets
            .iter()
            .filter(|&one| *one == ImportOutcome::Added);
        assert_eq!(added.count(), 15);
        assert!(matches!(result.secrets[15], ImportOutcome::Refused(_)));
        assert_eq!(result.secrets[16], ImportOutcome::Same);
    }
    // One that is stored, too, is as the store says, and counts once.
    let retired = StoredSecret {
        value: Secret::new("a-secret-of-the-file".to_owned()),
        label: String::new(),
        created_at_ms: 1,
        state: SecretState::Retired,
    };
    store.delete_secret(&acme, "secret-0").await.unwrap();
    store.put_secret(&acme, &retired).await.unwrap();
    let rows = import(&[], &["a-secret-of-the-file", "one-more"], true);
    let result = service.import(&admin(), &acme, rows).await.unwrap();
    assert_eq!(
        result.secrets,
        [ImportOutcome::Changed, ImportOutcome::Added]
    );
    // In a realm that the file does not name it is a value like all others.
    let other = realm("other");
    let rows = import(&[], &values, false);
    let result = service.import(&admin(), &other, rows).await.unwrap();
    assert!(matches!(result.secrets[16], ImportOutcome::Refused(_)));
}
