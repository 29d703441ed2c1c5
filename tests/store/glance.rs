//! Looks at the registry that bring what changed and no more.

use std::time::Duration;

use kit::wait::{wait_for_async, window};
use relay::store::{Glance, Mark, NODE_KEPT, NODE_SILENT, Removal, Seen, Store};
use shared::NodeId;
use shared::api::{NodeState, NodeView};

use crate::cluster::{gone, node};
use crate::for_both_stores;
use crate::world::{Backend, World};

for_both_stores!(looks_add_up_to_what_is_there);

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

/// A look that has to be partial: names of changed nodes, of those that are gone, of silent ones.
async fn part(
    store: &dyn Store,
    mark: Mark,
    turn: &[&str],
) -> (Vec<NodeView>, Vec<NodeId>, Vec<NodeId>, Mark) {
    let seen = Seen {
        mark: Some(mark),
        turn: turn.iter().map(|name| id(name)).collect(),
    };
    match store.glance(&seen).await.unwrap() {
        Glance::Part {
            nodes,
            gone,
            silent,
            mark,
        } => {
            let silent = silent.into_iter().map(|(id, _)| id).collect();
            (nodes, gone, silent, mark)
        }
        whole @ Glance::Whole { .. } => panic!("{whole:?}"),
    }
}

async fn whole(store: &dyn Store) -> (usize, Option<Mark>) {
    match store.glance(&Seen::default()).await.unwrap() {
        Glance::Whole { nodes, mark } => (nodes.len(), mark),
        part @ Glance::Part { .. } => panic!("{part:?}"),
    }
}

/// Old changes are told again for two seconds: past them.
async fn past_the_overlap() {
    window(Duration::from_millis(2_500)).await;
}

/// Whoever follows from look to look knows what a look at everything tells, in either store.
async fn looks_add_up_to_what_is_there(world: &World) {
    let store = &*world.store;
    let mut known = std::collections::BTreeMap::new();
    let mut seen = Seen::default();
    for round in 0..12_u64 {
        let name = format!("n-{}", round % 5);
        let epoch = 1 + round / 5;
        let labelled = NodeView {
            labels: [("round".to_owned(), round.to_string())].into(),
            ..node(&name, epoch)
        };
        store.heartbeat(&labelled).await.unwrap();
        if round == 9 {
            store.heartbeat(&gone("n-0", 2)).await.unwrap();
            let removed = store.remove_node(&id("n-0")).await.unwrap();
            assert_eq!(removed, Removal::Removed);
        }
        seen.mark = match world.other.glance(&seen).await.unwrap() {
            Glance::Whole { nodes, mark } => {
                known = nodes.into_iter().map(|(n, _)| (n.id.clone(), n)).collect();
                mark
            }
            Glance::Part {
                nodes, gone, mark, ..
            } => {
                known.retain(|id, _| !gone.contains(id));
                known.extend(nodes.into_iter().map(|n| (n.id.clone(), n)));
                Some(mark)
            }
        };
        let all = store.nodes().await.unwrap().into_iter();
        let all = all.map(|(node, _)| (node.id.clone(), node)).collect();
        assert_eq!(known, all, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_read_in_turn_and_what_matters_at_once() {
    let world = World::redis();
    let store = &*world.store;
    for name in ["ams-1", "fra-1", "nyc-1"] {
        store.heartbeat(&node(name, 1)).await.unwrap();
    }
    past_the_overlap().await;
    let (count, mark) = whole(store).await;
    assert_eq!(count, 3);
    let busier = |name: &str| NodeView {
        sessions: 77,
        cpu_percent: 3.5,
        uptime_secs: 9,
        ..node(name, 1)
    };
    store.heartbeat(&busier("ams-1")).await.unwrap();
    store.heartbeat(&busier("fra-1")).await.unwrap();
    let (nodes, ..) = part(store, mark.unwrap(), &[]).await;
    assert!(nodes.is_empty(), "figures wait for their turn: {nodes:?}");
    let (nodes, _, _, mark) = part(store, mark.unwrap(), &["fra-1"]).await;
    assert_eq!(nodes, [busier("fra-1")]);
    let drained = NodeView {
        state: NodeState::Draining,
        ..busier("ams-1")
    };
    store.heartbeat(&drained).await.unwrap();
    let (nodes, gone, silent, mark) = part(&*world.other, mark, &[]).await;
    assert_eq!((nodes, gone, silent), (vec![drained], vec![], vec![]));
    // Another one joins: no look at everything.
    store.heartbeat(&node("par-1", 1)).await.unwrap();
    let (nodes, _, _, mark) = part(store, mark, &[]).await;
    assert!(nodes.contains(&node("par-1", 1)), "{nodes:?}");
    // Its record is gone, the list still has it.
    let Backend::Redis { server } = &world.backend else {
        unreachable!("a world of Redis")
    };
    server.cli(&["DEL", "relay:node:{par-1}"]);
    let (_, gone, ..) = part(store, mark, &["par-1"]).await;
    assert_eq!(gone, [id("par-1")]);
}

/// One that is gone for a day leaves the list in the moment in which another one joins it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_whose_place_another_one_takes_is_gone() {
    let world = World::redis();
    let store = &*world.store;
    for name in ["ams-1", "fra-1"] {
        store.heartbeat(&node(name, 1)).await.unwrap();
    }
    past_the_overlap().await;
    let (count, mark) = whole(store).await;
    assert_eq!(count, 2);
    let Backend::Redis { server } = &world.backend else {
        unreachable!("a world of Redis")
    };
    let long_ago = crate::cluster::now_ms() - (NODE_KEPT * 2).as_millis() as u64;
    server.cli(&["ZADD", "relay:nodes", &long_ago.to_string(), "ams-1"]);
    server.cli(&["DEL", "relay:node:{ams-1}"]);
    store.heartbeat(&node("par-1", 1)).await.unwrap();
    let listed = server.cli(&["ZRANGE", "relay:nodes", "0", "-1"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["fra-1", "par-1"]);
    let (nodes, gone, silent, _) = part(store, mark.unwrap(), &[]).await;
    assert_eq!(nodes, [node("par-1", 1)]);
    assert_eq!((gone, silent), (vec![id("ams-1")], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_nodes_are_named_and_everything_is_read_when_in_doubt() {
    let world = World::redis();
    let store = &*world.store;
    let begun = std::time::Instant::now();
    store.heartbeat(&node("ams-1", 1)).await.unwrap();
    let (_, mark) = whole(store).await;
    let mark = mark.unwrap();
    let found = wait_for_async("the silence", NODE_SILENT * 3, || async {
        store.heartbeat(&node("fra-1", 1)).await.unwrap();
        let (_, _, silent, _) = part(store, mark, &[]).await;
        silent.first().cloned()
    });
    assert_eq!(found.await, id("ams-1"));
    assert!(begun.elapsed() >= NODE_SILENT, "{:?}", begun.elapsed());
    // A list that lost somebody, one that won somebody unnamed, and a clock that went back.
    let Backend::Redis { server } = &world.backend else {
        unreachable!("a world of Redis")
    };
    for odd in [
        Mark { listed: 9, ..mark },
        Mark {
            at_ms: mark.at_ms + 3_600_000.0,
            ..mark
        },
        Mark {
            at_ms: mark.at_ms - 3_600_000.0,
            ..mark
        },
    ] {
        let seen = Seen {
            mark: Some(odd),
            turn: Vec::new(),
        };
        let glance = store.glance(&seen).await.unwrap();
        assert!(
            matches!(glance, Glance::Whole { .. }),
            "{odd:?}: {glance:?}"
        );
    }
    server.cli(&["DEL", "relay:{relay:nodes}:changed"]);
    let seen = Seen {
        mark: Some(mark),
        turn: Vec::new(),
    };
    let glance = store.glance(&seen).await.unwrap();
    assert!(matches!(glance, Glance::Whole { .. }), "{glance:?}");
}
