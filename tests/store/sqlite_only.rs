//! What only SQLite has to stand: coturn's tools, which give up silently on a busy file.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::{now_ms, session};
use crate::world::{Backend, World, key, realm};

/// How many users are added as fast as `turnadmin` can.
const ADDED: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_quick_additions_beside_a_busy_node_all_arrive() {
    let world = World::sqlite();
    let north = realm("north.gov");
    world
        .store
        .put_user(&north, "known", &key(1))
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut busy = tokio::task::JoinSet::new();
    for worker in 0..3_u32 {
        let (store, stop, north) = (Arc::clone(&world.store), Arc::clone(&stop), north.clone());
        busy.spawn(async move {
            let node = "fra-1".parse().unwrap();
            let mut count = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                store.user(&north, "known").await.unwrap();
                store.user(&north, "unknown").await.unwrap();
                store.users(Some(&north), None, 100).await.unwrap();
                store.realms().await.unwrap();
                let record = session(worker * 1_000_000 + count, now_ms() + 60_000);
                store
                    .flush_sessions(&node, 1, &[record], &[])
                    .await
                    .unwrap();
            }
            count
        });
    }
    let Backend::Sqlite { turndb, .. } = &world.backend else {
        unreachable!()
    };
    let turndb = turndb.clone();
    let adding = tokio::task::spawn_blocking(move || {
        for i in 0..ADDED {
            let status = Command::new("turnadmin")
                .args([
                    "-a",
                    "-r",
                    "north.gov",
                    "-p",
                    "x",
                    "-u",
                    &format!("user{i}"),
                    "-b",
                ])
                .arg(&turndb)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.expect("turnadmin runs (Debian package: coturn)");
        }
    });
    adding.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut rounds = 0;
    while let Some(count) = busy.join_next().await {
        rounds += count.unwrap();
    }
    assert!(rounds > 100, "the node was hardly busy: {rounds} rounds");
    assert_eq!(
        world.store.user_count(Some(&north)).await.unwrap() as usize,
        ADDED + 1
    );
}
