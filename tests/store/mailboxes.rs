//! Mailboxes: order, bounds, waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::store::{MAILBOX_CAPACITY, Mailbox};

use crate::for_both_stores;
use crate::world::World;

for_both_stores!(
    messages_arrive_in_order_and_once,
    a_receiver_waits_for_the_first_and_no_longer_than_asked,
    a_full_mailbox_keeps_the_newest,
    a_cancelled_receive_loses_nothing,
);

fn mailbox() -> Mailbox {
    Mailbox::Node("fra-1".parse().unwrap())
}

async fn drain(world: &World, count: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let more = world
            .store
            .receive(&mailbox(), Duration::from_secs(2))
            .await
            .unwrap();
        assert!(
            !more.is_empty(),
            "only {} of {count} messages",
            messages.len()
        );
        messages.extend(more);
    }
    messages
}

async fn messages_arrive_in_order_and_once(world: &World) {
    for i in 0..600_u32 {
        world
            .other
            .post(&mailbox(), i.to_be_bytes().to_vec())
            .await
            .unwrap();
    }
    let reply = Mailbox::Reply("fra-1".parse().unwrap());
    world
        .other
        .post(&reply, vec![0, 255, 13, 10])
        .await
        .unwrap();
    let numbers = drain(world, 600).await;
    assert_eq!(
        numbers,
        (0..600_u32)
            .map(|i| i.to_be_bytes().to_vec())
            .collect::<Vec<_>>()
    );
    assert!(
        world
            .store
            .receive(&mailbox(), Duration::from_millis(50))
            .await
            .unwrap()
            .is_empty()
    );
    let replies = world
        .store
        .receive(&reply, Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(replies, [vec![0, 255, 13, 10]]);
}

async fn a_receiver_waits_for_the_first_and_no_longer_than_asked(world: &World) {
    let started = Instant::now();
    let nothing = world
        .store
        .receive(&mailbox(), Duration::from_millis(300))
        .await
        .unwrap();
    assert!(nothing.is_empty());
    let waited = started.elapsed();
    assert!((250..5000).contains(&waited.as_millis()), "{waited:?}");
    let store = Arc::clone(&world.store);
    let waiting =
        tokio::spawn(async move { store.receive(&mailbox(), Duration::from_secs(10)).await });
    world
        .other
        .post(&mailbox(), b"hello".to_vec())
        .await
        .unwrap();
    let started = Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), [b"hello"]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

async fn a_full_mailbox_keeps_the_newest(world: &World) {
    let extra = 7;
    for i in 0..MAILBOX_CAPACITY + extra {
        world
            .store
            .post(&mailbox(), i.to_string().into_bytes())
            .await
            .unwrap();
    }
    let messages = drain(world, MAILBOX_CAPACITY).await;
    assert_eq!(messages.len(), MAILBOX_CAPACITY);
    assert_eq!(messages[0], extra.to_string().into_bytes());
}

async fn a_cancelled_receive_loses_nothing(world: &World) {
    let from = mailbox();
    for round in 0..20_u8 {
        // Gives up while the store may be about to hand out the message.
        let wait = world.store.receive(&from, Duration::from_secs(5));
        let _ = tokio::time::timeout(Duration::from_millis(u64::from(round % 4)), wait).await;
        world.other.post(&mailbox(), vec![round]).await.unwrap();
        let wait = world.store.receive(&from, Duration::from_secs(5));
        let taken = tokio::time::timeout(Duration::from_micros(u64::from(round) * 100), wait).await;
        let messages = match taken {
            Ok(messages) => messages.unwrap(),
            Err(_) => drain(world, 1).await,
        };
        assert_eq!(messages, [vec![round]]);
    }
}
