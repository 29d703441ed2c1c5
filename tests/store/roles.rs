//! The rules that ship: what a node that only relays cannot do, and that it can do its work.

use std::time::Duration;

use kit::redis::RedisServer;
use kit::wait::wait_for_async;
use relay::store::quota::{QuotaTurn, RateTurn, UserTurn};
use relay::store::redis::{RedisOptions, RedisStore};
use relay::store::{Change, Mailbox, Mark, Removal, Seen, Store, StoreError, StoredSecret};
use shared::api::SecretState;
use shared::api::{BlockView, RealmDocument};
use shared::{NodeId, Secret};

use crate::cluster::{gone, node, now_ms, session};
use crate::world::{acl, key, options, realm, told};

struct Roles {
    server: RedisServer,
    gateway: RedisStore,
    relay: RedisStore,
}

fn roles() -> Roles {
    let rules = format!("{}\n{}", acl("gateway", ""), acl("relay", "fra-1"));
    let server = RedisServer::start_with_acl(&rules);
    let relay = RedisOptions {
        gateway: false,
        ..options(&server, "relayd-fra-1")
    };
    Roles {
        gateway: RedisStore::connect(&options(&server, "relayd-gateway")).unwrap(),
        relay: RedisStore::connect(&relay).unwrap(),
        server,
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
}

/// It says what it holds of limits over all nodes.
async fn counts(relay: &RedisStore) {
    let turn = QuotaTurn {
        realm: realm("north.gov"),
        holder: "fra-1/1".to_owned(),
        replaces: vec!["fra-1".to_owned()],
        sessions: 1,
        limit: Some(1),
        users: vec![UserTurn {
            user: "gorst".to_owned(),
            held: 1,
            ..UserTurn::default()
        }],
    };
    assert_eq!(relay.settle_quota(&turn).await.unwrap().others, 0);
    let turn = RateTurn {
        realm: realm("north.gov"),
        holder: turn.holder,
        replaces: Vec::new(),
        wishes: Vec::new(),
    };
    assert!(relay.share_rates(&turn).await.unwrap().shares.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_does_its_work() {
    let Roles {
        gateway,
        relay,
        server: _server,
    } = roles();
    let north = realm("north.gov");
    relay.ping().await.unwrap();
    let mut changes = relay.changes();
    gateway.put_user(&north, "gorst", &key(1)).await.unwrap();
    told(&mut changes, |change| matches!(change, Change::User { .. })).await;
    gateway
        .put_realm(&north, &RealmDocument::default(), 0, &"a".into())
        .await
        .unwrap();
    assert!(relay.user(&north, "gorst").await.unwrap().is_some());
    assert_eq!(relay.users(None, None, 10).await.unwrap().len(), 1);
    assert_eq!(relay.realms().await.unwrap().len(), 1);
    relay.secrets(&north).await.unwrap();
    relay.blocks().await.unwrap();
    counts(&relay).await;
    let body = serde_json::json!({"log.level": "debug"});
    gateway.put_document("config", &body, 0, "a").await.unwrap();
    told(&mut changes, |change| {
        matches!(change, Change::Document { revision: 1, .. })
    })
    .await;
    let document = relay.document("config").await.unwrap().unwrap();
    assert_eq!(document.body, body);
    relay.tokens().await.unwrap();
    let id = "fra-1".parse().unwrap();
    let epoch = relay.next_epoch(&id).await.unwrap();
    relay.heartbeat(&node("fra-1", epoch)).await.unwrap();
    let seen = Seen {
        mark: Some(Mark::default()),
        ..Seen::default()
    };
    relay.glance(&seen).await.unwrap();
    assert_eq!(relay.nodes().await.unwrap().len(), 1);
    let later = now_ms() + 60_000;
    relay
        .flush_sessions(&id, 1, &[session(1, later), session(2, 1)], &[])
        .await
        .unwrap();
    assert_eq!(relay.sessions(&id).await.unwrap().len(), 1);
    gateway
        .post(&Mailbox::Node(id.clone()), b"ask".to_vec())
        .await
        .unwrap();
    let asked = relay
        .receive(&Mailbox::Node(id), Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(asked, [b"ask"]);
    let reply = Mailbox::Reply("ams-1".parse().unwrap());
    relay.post(&reply, b"answer".to_vec()).await.unwrap();
    assert_eq!(
        gateway
            .receive(&reply, Duration::from_secs(2))
            .await
            .unwrap(),
        [b"answer"]
    );
    relay.events(None, 10).await.unwrap();
}

/// After an upgrade the process before goes on as a node of its own, and leaves nothing when it ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_before_a_relay_does_its_work_and_goes() {
    let Roles {
        gateway,
        relay,
        server,
    } = roles();
    let id = "fra-1.g12".parse().unwrap();
    let epoch = relay.next_epoch(&id).await.unwrap();
    relay.heartbeat(&node("fra-1.g12", epoch)).await.unwrap();
    let later = now_ms() + 60_000;
    relay
        .flush_sessions(&id, epoch, &[session(1, later), session(2, 1)], &[])
        .await
        .unwrap();
    assert_eq!(relay.sessions(&id).await.unwrap().len(), 1);
    let (mailbox, reply) = (Mailbox::Node(id.clone()), Mailbox::Reply(id.clone()));
    gateway.post(&mailbox, b"ask".to_vec()).await.unwrap();
    let wait = Duration::from_secs(2);
    assert_eq!(relay.receive(&mailbox, wait).await.unwrap(), [b"ask"]);
    gateway.post(&reply, b"late".to_vec()).await.unwrap();
    assert_eq!(relay.receive(&reply, wait).await.unwrap(), [b"late"]);
    gateway.post(&reply, b"later".to_vec()).await.unwrap();
    relay.heartbeat(&gone("fra-1.g12", epoch)).await.unwrap();
    assert_eq!(relay.remove_node(&id).await.unwrap(), Removal::Removed);
    assert!(gateway.nodes().await.unwrap().is_empty());
    let left = server.cli(&["KEYS", "*fra-1.g12*"]);
    assert_eq!(left, "relay:node:{fra-1.g12}:epoch");
    // Nodes of others, whatever they are called, and what everybody reads.
    for other in ["ams-1", "fra-1.gw", "fra-1.g", "fra-12"] {
        let other: NodeId = other.parse().unwrap();
        refused(relay.next_epoch(&other).await);
        gateway.next_epoch(&other).await.unwrap();
        gateway.heartbeat(&gone(other.as_str(), 1)).await.unwrap();
        refused(relay.remove_node(&other).await);
    }
    for key in [
        "relay:nodes",
        "relay:events",
        "relay:audit",
        "relay:reply:{ams-1}",
    ] {
        let said = server.cli(&["ACL", "DRYRUN", "relayd-fra-1", "UNLINK", key]);
        assert!(said.contains("no permissions"), "{key}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_reads_the_origins_that_other_tools_give_to_realms() {
    let Roles {
        gateway,
        relay,
        server,
    } = roles();
    gateway.ping().await.unwrap();
    server.cli(&["SET", "turn/origin/http://only.example:80", "west.gov"]);
    let stored = wait_for_async("the realm at the relay", Duration::from_secs(5), || async {
        let realms = relay.realms().await.unwrap();
        realms
            .into_iter()
            .find(|realm| realm.name.as_str() == "west.gov")
    })
    .await;
    assert_eq!(stored.document.origins, ["http://only.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_changes_no_user_realm_or_other_node() {
    let Roles {
        gateway,
        relay,
        server,
    } = roles();
    let north = realm("north.gov");
    gateway.put_user(&north, "gorst", &key(1)).await.unwrap();
    refused(relay.put_user(&north, "gorst", &key(2)).await);
    refused(relay.delete_user(&north, "gorst").await);
    refused(
        relay
            .put_user_record(&north, "gorst", &Default::default())
            .await,
    );
    refused(
        relay
            .put_realm(&north, &RealmDocument::default(), 0, &"a".into())
            .await,
    );
    refused(
        relay
            .put_document("config", &serde_json::json!({}), 0, "a")
            .await,
    );
    let secret = StoredSecret {
        value: Secret::new("s".into()),
        label: String::new(),
        created_at_ms: 0,
        state: SecretState::Active,
    };
    refused(relay.put_secret(&north, &secret).await);
    let block = BlockView {
        realm: north.clone(),
        user: "gorst".to_owned(),
        until_ms: now_ms() + 60_000,
        reason: String::new(),
        by: String::new(),
    };
    refused(relay.put_block(&block).await);
    refused(relay.delete_token("x").await);
    let other = "ams-1".parse().unwrap();
    refused(relay.next_epoch(&other).await);
    refused(relay.heartbeat(&node("ams-1", 1)).await);
    refused(relay.flush_sessions(&other, 1, &[session(1, 1)], &[]).await);
    refused(relay.post(&Mailbox::Node(other), vec![1]).await);
    refused(relay.audit(None, 1).await);
    let user = gateway.user(&north, "gorst").await.unwrap().unwrap();
    assert_eq!(user.keys, key(1), "nothing of it came through");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_role_may_stop_or_reconfigure_redis() {
    let Roles { server, .. } = roles();
    for user in ["relayd-gateway", "relayd-fra-1"] {
        for command in [
            &["FLUSHALL"][..],
            &["FLUSHDB"],
            &["CONFIG", "GET", "*"],
            &["KEYS", "*"],
            &["SAVE"],
            &["SHUTDOWN"],
            &["ACL", "LIST"],
            &["MONITOR"],
            &["SCRIPT", "FLUSH"],
            &["SET", "elsewhere", "x"],
            &["DEBUG", "SLEEP", "1"],
        ] {
            let dry = [&["ACL", "DRYRUN", user], command].concat();
            let said = server.cli(&dry);
            assert!(
                said.contains("no permissions"),
                "{user} {command:?}: {said}"
            );
        }
    }
}
