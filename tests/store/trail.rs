//! Events and audit records.

use relay::store::{Change, EVENTS_KEPT, StoreError};
use shared::api::{AuditView, EventKind, EventView, Severity};

use crate::for_both_stores;
use crate::world::{World, ready, told};

for_both_stores!(
    events_are_read_on_from_where_a_reader_was,
    the_tail_is_capped,
    audit_records_are_paged_newest_first,
);

fn event(number: usize) -> EventView {
    EventView {
        id: "ignored".to_owned(),
        at_ms: number as u64,
        node: "fra-1".parse().unwrap(),
        severity: Severity::Notice,
        kind: EventKind::UserChanged,
        text: format!("event {number}"),
        session: None,
        user: Some("a\nb".to_owned()),
        realm: None,
    }
}

fn numbers(events: &[EventView]) -> Vec<u64> {
    events.iter().map(|event| event.at_ms).collect()
}

async fn events_are_read_on_from_where_a_reader_was(world: &World) {
    let store = &world.store;
    ready(&world.other).await;
    let mut changes = world.other.changes();
    assert!(store.events(None, 10).await.unwrap().is_empty());
    store.append_events(&[]).await.unwrap();
    store
        .append_events(&(0..5).map(event).collect::<Vec<_>>())
        .await
        .unwrap();
    told(&mut changes, |change| *change == Change::Events).await;
    let newest = world.other.events(None, 3).await.unwrap();
    assert_eq!(numbers(&newest), [2, 3, 4]);
    assert_eq!(newest[0].user.as_deref(), Some("a\nb"));
    store
        .append_events(&(5..9).map(event).collect::<Vec<_>>())
        .await
        .unwrap();
    let next = store.events(Some(&newest[2].id), 2).await.unwrap();
    assert_eq!(numbers(&next), [5, 6]);
    let rest = store.events(Some(&next[1].id), 100).await.unwrap();
    assert_eq!(numbers(&rest), [7, 8]);
    assert!(
        store
            .events(Some(&rest[1].id), 100)
            .await
            .unwrap()
            .is_empty()
    );
    let nonsense = store.events(Some("not a position"), 1).await;
    assert!(
        matches!(nonsense, Err(StoreError::Refused(_))),
        "{nonsense:?}"
    );
}

async fn the_tail_is_capped(world: &World) {
    let all: Vec<EventView> = (0..EVENTS_KEPT + 2000).map(event).collect();
    for batch in all.chunks(1000) {
        world.store.append_events(batch).await.unwrap();
    }
    let kept = world.store.events(None, 100_000).await.unwrap();
    let allowed = EVENTS_KEPT..EVENTS_KEPT + 500;
    assert!(allowed.contains(&kept.len()), "{} kept", kept.len());
    assert_eq!(kept.last().unwrap().at_ms, all.last().unwrap().at_ms);
}

async fn audit_records_are_paged_newest_first(world: &World) {
    assert_eq!(world.store.audit_count().await.unwrap(), 0);
    for i in 0..4_u64 {
        let record = AuditView {
            id: String::new(),
            at_ms: i,
            node: "fra-1".parse().unwrap(),
            actor: "unix:0".to_owned(),
            action: "user.put".to_owned(),
            target: "north.gov/gorst".to_owned(),
            reason: "because".to_owned(),
            result: "ok".to_owned(),
        };
        world.store.append_audit(&record).await.unwrap();
    }
    let times = |page: &[AuditView]| page.iter().map(|one| one.at_ms).collect::<Vec<_>>();
    let newest = world.other.audit(None, 2).await.unwrap();
    assert_eq!(times(&newest), [3, 2]);
    assert_eq!(newest[0].action, "user.put");
    assert!(!newest[0].id.is_empty());
    assert_eq!(world.other.audit_count().await.unwrap(), 4);
    let before = newest[1].id.clone();
    let older = world.store.audit(Some(&before), 10).await.unwrap();
    assert_eq!(times(&older), [1, 0]);
    let last = older[1].id.clone();
    assert!(world.store.audit(Some(&last), 10).await.unwrap().is_empty());
    let nonsense = world.store.audit(Some("not a position"), 1).await;
    assert!(
        matches!(nonsense, Err(StoreError::Refused(_))),
        "{nonsense:?}"
    );
}
