use shared::Secret;
use shared::api::{NodeRole, RealmDocument};

use super::*;
use crate::control::testing::{config, parts, realm, store};
use crate::store::{StoredRealm, StoredSecret};

fn keeper(dir: &std::path::Path) -> PolicyKeeper {
    let config = config(dir, &[NodeRole::Relay]);
    PolicyKeeper::new(&parts(config, "n1", 1, store(dir)))
}

fn document(max: u32) -> RealmDocument {
    RealmDocument {
        max_sessions: Some(max),
        ..RealmDocument::default()
    }
}

#[test]
fn the_stored_document_wins_and_the_secrets_of_both_count() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    assert_eq!(keeper.current().realms[&realm("acme")].revision, 0);
    {
        let mut state = keeper.state();
        let stored = StoredRealm {
            name: realm("acme"),
            revision: 4,
            document: document(9),
            changed_at_ms: 1,
            changed_by: "unix:0".to_owned(),
        };
        state.sources.realms.insert(realm("acme"), stored);
        let secret = StoredSecret {
            value: Secret::new("from-the-store".to_owned()),
            label: String::new(),
            created_at_ms: 5,
            state: shared::api::SecretState::Active,
        };
        state.sources.secrets.insert(realm("acme"), vec![secret]);
    }
    assert!(keeper.rebuild());
    let policy = keeper.current();
    let acme = &policy.realms[&realm("acme")];
    assert_eq!((acme.revision, acme.max_sessions), (4, Some(9)));
    let values: Vec<_> = acme
        .secrets
        .iter()
        .map(|s| s.value.expose().clone())
        .collect();
    assert_eq!(
        values,
        [b"from-the-store".to_vec(), b"a-secret-of-the-file".to_vec()]
    );
    assert!(!keeper.rebuild(), "nothing changed");
}

#[test]
fn a_realm_that_is_only_options_of_other_tools_does_not_hide_the_config_file() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    let stored = |name: &str| StoredRealm {
        name: realm(name),
        revision: 0,
        document: document(1),
        changed_at_ms: 0,
        changed_by: "external".to_owned(),
    };
    for name in ["acme", "other"] {
        keeper
            .state()
            .sources
            .realms
            .insert(realm(name), stored(name));
    }
    keeper.rebuild();
    let policy = keeper.current();
    assert_eq!(policy.realms[&realm("acme")].max_sessions, None);
    assert_eq!(policy.realms[&realm("other")].max_sessions, Some(1));
}

#[test]
fn own_addresses_and_those_of_the_cluster_are_in_the_peer_rules() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    let other = RelayEndpoint {
        address: "198.51.100.1".parse().unwrap(),
        ports: 50_000..=50_010,
    };
    assert!(keeper.set_others(
        vec![other.clone()],
        vec!["198.51.100.1:3478".parse().unwrap()]
    ));
    assert!(keeper.rebuild());
    let peers = keeper.current().peers.clone();
    let addresses: Vec<_> = peers
        .relays
        .iter()
        .map(|relay| relay.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.0.0.1", "192.0.2.1", "198.51.100.1"]);
    assert_eq!(peers.services.len(), 2);
    assert_eq!(peers.external_to_local.len(), 1);
    assert!(!keeper.set_others(vec![other], vec!["198.51.100.1:3478".parse().unwrap()]));
}

#[test]
fn a_block_counts_at_once_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    let now = Moment::now().unix_ms;
    let block = BlockView {
        realm: realm("acme"),
        user: "eve".to_owned(),
        until_ms: now + 60_500,
        reason: String::new(),
        by: String::new(),
    };
    keeper.block_locally(block.clone());
    assert!(keeper.rebuild());
    let until = keeper.current().blocks[&(realm("acme"), Box::from("eve"))];
    assert!(until * 1000 >= block.until_ms);
    keeper.block_locally(BlockView {
        until_ms: now - 1,
        ..block
    });
    assert!(keeper.rebuild());
    assert!(keeper.current().blocks.is_empty());
}

#[tokio::test]
async fn what_the_store_has_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store
        .put_realm(&realm("acme"), &document(3), 0, &"t".into())
        .await
        .unwrap();
    let config = config(dir.path(), &[NodeRole::Relay]);
    let keeper = PolicyKeeper::new(&parts(config, "n1", 1, Arc::clone(&store)));
    keeper.read_store(&*store).await.unwrap();
    assert!(keeper.rebuild());
    assert_eq!(
        keeper.current().realms[&realm("acme")].max_sessions,
        Some(3)
    );
    let shown = format!("{:?} {:?}", keeper.state().sources, keeper.current());
    assert!(!shown.contains("a-secret-of-the-file"));
}
