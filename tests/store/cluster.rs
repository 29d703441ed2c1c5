//! Blocks, tokens, the registry and sessions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay::store::{Change, Removal, SessionRecord, StoreError, StoredToken};
use shared::api::{BlockView, NodeState, NodeView, Role, TokenView};
use shared::{NodeId, SessionId, Transport};

use crate::for_both_stores;
use crate::world::{World, ready, realm, told};

for_both_stores!(
    blocks_end_and_can_be_lifted,
    tokens_come_and_go,
    a_heartbeat_joins_and_ages,
    a_later_start_fences_the_earlier,
    a_removed_node_takes_its_sessions_along,
    a_node_that_lives_or_starts_is_not_removed,
    a_node_that_comes_back_while_it_is_removed_keeps_what_it_owns,
    sessions_come_back_unless_expired,
);

pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

pub(crate) fn node(id: &str, epoch: u64) -> NodeView {
    let json = serde_json::json!({
        "id": id, "epoch": epoch, "version": "0.1.0", "roles": ["relay", "gateway"],
        "labels": {"region": "eu"}, "state": "ready", "session_base": "deadbeef",
        "listeners": ["127.0.0.1:3478"], "relays": ["127.0.0.1:49152-65535"], "workers": 4,
        "uptime_secs": 1, "heartbeat_age_secs": 0, "sessions": 2, "created_per_sec": 0.5,
        "ended_per_sec": 0.0, "rate_in_bps": 1, "rate_out_bps": 2, "packets_per_sec": 3,
        "drops": 0, "transports": {"udp": 2},
        "capacity": {"percent": 1.0, "bound_by": "ports", "ports_used": 2, "ports_total": 16384},
        "cpu_percent": 0.0, "memory_bytes": 1,
        "store": {"kind": "redis", "connected": true, "since_ms": 1}
    });
    serde_json::from_value(json).unwrap()
}

pub(crate) fn session(count: u32, expires_at_ms: u64) -> SessionRecord {
    SessionRecord {
        v: SessionRecord::VERSION,
        first_expires_at_ms: None,
        algorithm: 1,
        key_id: 9,
        user_rate_bps: Some(64_000),
        token: None,
        mobility: Some((7, "203.0.113.7".parse().unwrap())),
        id: SessionId::new(0xdead_beef, count),
        epoch: 3,
        client: "203.0.113.7:54321".parse().unwrap(),
        server: "192.0.2.1:3478".parse().unwrap(),
        transport: Transport::Udp,
        realm: realm("example.org"),
        username: format!("1893456000:user{count}").parse().unwrap(),
        secret_id: Some("0123456789ab".to_owned()),
        credential_expiry: Some(1_893_456_000),
        relay_local: "192.0.2.1:50000".parse().unwrap(),
        relay_external: "[2001:db8::1]:50000".parse().unwrap(),
        created_at_ms: now_ms(),
        expires_at_ms,
        lifetime_secs: 600,
        permissions: vec![("198.51.100.9".parse().unwrap(), expires_at_ms)],
        channels: vec![(0x4000, "198.51.100.9:4000".parse().unwrap(), expires_at_ms)],
        totals: [1, 2, 3, u64::MAX],
        second_relay: Some((
            "10.0.0.5:50002".parse().unwrap(),
            "192.0.2.1:50002".parse().unwrap(),
            expires_at_ms,
        )),
    }
}

async fn blocks_end_and_can_be_lifted(world: &World) {
    let store = &world.store;
    ready(&world.other).await;
    let mut changes = world.other.changes();
    let block = |user: &str, until_ms| BlockView {
        realm: realm("north.gov"),
        user: user.to_owned(),
        until_ms,
        reason: "spam".to_owned(),
        by: "unix:0".to_owned(),
    };
    let later = now_ms() + 60_000;
    store.put_block(&block("past", now_ms() - 1)).await.unwrap();
    store.put_block(&block("b", later)).await.unwrap();
    store.put_block(&block("a/{x}", later)).await.unwrap();
    store.put_block(&block("b", later + 1)).await.unwrap();
    told(&mut changes, |change| *change == Change::Blocks).await;
    assert_eq!(
        world.other.blocks().await.unwrap(),
        [block("a/{x}", later), block("b", later + 1)]
    );
    assert!(store.delete_block(&realm("north.gov"), "b").await.unwrap());
    assert!(!store.delete_block(&realm("north.gov"), "b").await.unwrap());
    assert_eq!(store.blocks().await.unwrap().len(), 1);
}

async fn tokens_come_and_go(world: &World) {
    let token = |id: &str, label: &str| StoredToken {
        view: TokenView {
            id: id.to_owned(),
            label: label.to_owned(),
            role: Role::Operator,
            realms: vec![realm("north.gov")],
            created_at_ms: 1,
            created_by: "unix:0".to_owned(),
            expires_at_ms: None,
            last_used_at_ms: Some(2),
        },
        hash: "00ff".to_owned(),
    };
    let store = &world.store;
    store.put_token(&token("b", "one")).await.unwrap();
    store.put_token(&token("a", "two")).await.unwrap();
    store.put_token(&token("b", "three")).await.unwrap();
    assert_eq!(
        world.other.tokens().await.unwrap(),
        [token("a", "two"), token("b", "three")]
    );
    assert!(store.delete_token("a").await.unwrap());
    assert!(!store.delete_token("a").await.unwrap());
    assert_eq!(store.tokens().await.unwrap(), [token("b", "three")]);
}

async fn a_heartbeat_joins_and_ages(world: &World) {
    let store = &world.store;
    ready(&world.other).await;
    let mut changes = world.other.changes();
    let id: NodeId = "fra-1".parse().unwrap();
    assert_eq!(store.next_epoch(&id).await.unwrap(), 1);
    store.heartbeat(&node("fra-1", 1)).await.unwrap();
    told(&mut changes, |change| *change == Change::Nodes).await;
    store.heartbeat(&node("ams-1", 1)).await.unwrap();
    let nodes = world.other.nodes().await.unwrap();
    assert_eq!(
        nodes
            .iter()
            .map(|(view, _)| view.id.as_str())
            .collect::<Vec<_>>(),
        ["ams-1", "fra-1"]
    );
    assert_eq!(nodes[1].0, node("fra-1", 1));
    assert!(
        nodes.iter().all(|(_, age)| *age < Duration::from_secs(5)),
        "{nodes:?}"
    );
    let age = |nodes: Vec<(NodeView, Duration)>| nodes[1].1;
    let first = age(nodes);
    kit::wait::wait_for_async("the age to grow", Duration::from_secs(5), || async {
        let now = age(store.nodes().await.unwrap());
        (now > first).then_some(())
    })
    .await;
}

async fn a_later_start_fences_the_earlier(world: &World) {
    let store = &world.store;
    let id: NodeId = "fra-1".parse().unwrap();
    let old = store.next_epoch(&id).await.unwrap();
    store.heartbeat(&node("fra-1", old)).await.unwrap();
    let new = world.other.next_epoch(&id).await.unwrap();
    assert_eq!(new, old + 1);
    world.other.heartbeat(&node("fra-1", new)).await.unwrap();
    let fenced = store.heartbeat(&node("fra-1", old)).await;
    assert!(
        matches!(fenced, Err(StoreError::Fenced { epoch }) if epoch == new),
        "{fenced:?}"
    );
    assert_eq!(store.nodes().await.unwrap()[0].0.epoch, new);
    // Forgetting the node does not let the earlier one back in.
    store.heartbeat(&gone("fra-1", new)).await.unwrap();
    assert_eq!(store.remove_node(&id).await.unwrap(), Removal::Removed);
    assert!(store.heartbeat(&node("fra-1", old)).await.is_err());
}

/// The record of a node that stopped cleanly.
pub(crate) fn gone(id: &str, epoch: u64) -> NodeView {
    NodeView {
        state: NodeState::Gone,
        ..node(id, epoch)
    }
}

async fn a_removed_node_takes_its_sessions_along(world: &World) {
    let store = &world.store;
    let id: NodeId = "fra-1".parse().unwrap();
    assert_eq!(store.remove_node(&id).await.unwrap(), Removal::Unknown);
    let epoch = store.next_epoch(&id).await.unwrap();
    assert!(store.heartbeat(&node("fra-1", epoch)).await.unwrap());
    assert!(!store.heartbeat(&gone("fra-1", epoch)).await.unwrap());
    store
        .flush_sessions(&id, 1, &[session(1, now_ms() + 60_000)], &[])
        .await
        .unwrap();
    assert_eq!(store.remove_node(&id).await.unwrap(), Removal::Removed);
    assert!(store.nodes().await.unwrap().is_empty());
    assert!(store.sessions(&id).await.unwrap().is_empty());
    assert_eq!(store.remove_node(&id).await.unwrap(), Removal::Unknown);
    let back = store.heartbeat(&node("fra-1", epoch)).await.unwrap();
    assert!(back, "it is told that it was forgotten");
    assert_eq!(store.next_epoch(&id).await.unwrap(), epoch + 1);
}

async fn a_node_that_lives_or_starts_is_not_removed(world: &World) {
    let store = &world.store;
    let id: NodeId = "fra-1".parse().unwrap();
    let epoch = store.next_epoch(&id).await.unwrap();
    store.heartbeat(&node("fra-1", epoch)).await.unwrap();
    let kept = session(1, now_ms() + 60_000);
    let flush = async || {
        store
            .flush_sessions(&id, 1, std::slice::from_ref(&kept), &[])
            .await
    };
    flush().await.unwrap();
    assert_eq!(world.other.remove_node(&id).await.unwrap(), Removal::Alive);
    store.heartbeat(&gone("fra-1", epoch)).await.unwrap();
    // Its next process has counted its start, and has not beaten yet.
    store.next_epoch(&id).await.unwrap();
    assert_eq!(world.other.remove_node(&id).await.unwrap(), Removal::Alive);
    assert_eq!(store.sessions(&id).await.unwrap(), [kept]);
    assert_eq!(store.nodes().await.unwrap().len(), 1);
}

/// A node stops and comes back again and again while another removes it: whatever comes first, who
/// lives at the end has its record and its sessions.
async fn a_node_that_comes_back_while_it_is_removed_keeps_what_it_owns(world: &World) {
    let store = &world.store;
    let id: NodeId = "fra-1".parse().unwrap();
    let epoch = store.next_epoch(&id).await.unwrap();
    let sessions = [session(1, now_ms() + 600_000)];
    let (mut removed, mut alive) = (0, 0);
    for round in 0..150 {
        store.heartbeat(&gone("fra-1", epoch)).await.unwrap();
        store.flush_sessions(&id, 1, &sessions, &[]).await.unwrap();
        let back = NodeView {
            uptime_secs: round,
            ..node("fra-1", epoch)
        };
        let come_back = async {
            if store.heartbeat(&back).await.unwrap() {
                store.flush_sessions(&id, 1, &sessions, &[]).await.unwrap();
            }
        };
        let (removal, ()) = tokio::join!(world.other.remove_node(&id), come_back);
        match removal.unwrap() {
            Removal::Removed => removed += 1,
            Removal::Alive => alive += 1,
            Removal::Unknown => {}
        }
        assert_eq!(store.sessions(&id).await.unwrap(), sessions, "{round}");
        assert_eq!(store.nodes().await.unwrap().len(), 1, "{round}");
    }
    assert!(removed + alive > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_start_changes_no_sessions_any_more() {
    for world in [World::sqlite(), World::redis()] {
        fences(&world).await;
    }
}

async fn fences(world: &World) {
    let (store, id): (_, NodeId) = (&world.store, "fra-1".parse().unwrap());
    let old = store.next_epoch(&id).await.unwrap();
    let later = now_ms() + 600_000;
    let (first, second) = (session(1, later), session(2, later));
    let both = [first.clone(), second.clone()];
    store.flush_sessions(&id, old, &both, &[]).await.unwrap();
    let new = world.other.next_epoch(&id).await.unwrap();
    let third = [session(3, later)];
    let written = store.flush_sessions(&id, old, &third, &[]).await;
    assert!(matches!(written, Err(StoreError::Fenced { epoch }) if epoch == new));
    let removed = store.flush_sessions(&id, old, &[], &[first.id]).await;
    assert!(matches!(removed, Err(StoreError::Fenced { epoch }) if epoch == new));
    assert_eq!(store.sessions(&id).await.unwrap(), both);
    let gone = [first.id];
    let removed = world.other.flush_sessions(&id, new, &[], &gone).await;
    removed.unwrap();
    assert_eq!(store.sessions(&id).await.unwrap(), [second]);
}

async fn sessions_come_back_unless_expired(world: &World) {
    let store = &world.store;
    let (fra, ams): (NodeId, NodeId) = ("fra-1".parse().unwrap(), "ams-1".parse().unwrap());
    let later = now_ms() + 600_000;
    let many: Vec<SessionRecord> = (0..2000).map(|i| session(i, later)).collect();
    store.flush_sessions(&fra, 1, &many, &[]).await.unwrap();
    store
        .flush_sessions(&fra, 1, &[session(9000, now_ms() - 1)], &[])
        .await
        .unwrap();
    let seventh = session(7, later);
    store
        .flush_sessions(&ams, 1, std::slice::from_ref(&seventh), &[])
        .await
        .unwrap();
    let deleted: Vec<SessionId> = many[..1000].iter().map(|record| record.id).collect();
    let changed = SessionRecord {
        lifetime_secs: 777,
        ..many[1500].clone()
    };
    store
        .flush_sessions(&fra, 1, std::slice::from_ref(&changed), &deleted)
        .await
        .unwrap();
    let back = world.other.sessions(&fra).await.unwrap();
    assert_eq!(back.len(), 1000);
    assert_eq!(back[0], many[1000]);
    assert_eq!(back[500], changed);
    assert_eq!(store.sessions(&ams).await.unwrap(), [seventh]);
}
