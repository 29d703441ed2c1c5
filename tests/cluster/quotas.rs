//! Sessions of a user and of a realm, counted over all nodes.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kit::client::{Login, TurnClient};
use kit::cluster::Cluster;
use kit::node::{Node, NodeOptions, REALM, rest_login};
use kit::wait::{wait_for, wait_until};

/// For what has no promise.
const EVENTUALLY: Duration = Duration::from_secs(20);
/// How long what a dead node held still counts.
const LEASE: Duration = Duration::from_secs(10);
/// Sessions that the user of these tests may have.
const LIMIT: u32 = 5;
/// Clients that ask for them, a third on each node.
const CLIENTS: usize = 18;
/// What each of them does so often.
const ROUNDS: u32 = 60;

#[expect(clippy::print_stdout, reason = "a run tells what it saw")]
fn report(text: &str) {
    println!("{text}");
}

fn limited() -> NodeOptions {
    NodeOptions {
        max_sessions_per_user: Some(LIMIT),
        ..NodeOptions::default()
    }
}

fn client(cluster: &Cluster, node: usize, user: &str) -> TurnClient {
    cluster.nodes[node].client(&rest_login(user))
}

/// A session, or `None` where a quota is reached; nothing else may be answered.
fn allocate(cluster: &Cluster, node: usize, user: &str) -> Option<TurnClient> {
    let mut client = client(cluster, node, user);
    match client.allocate() {
        Ok(_) => Some(client),
        Err(error) if error.code() == Some(486) => None,
        Err(error) => panic!("on node {node}: {error}"),
    }
}

/// As many sessions as the user gets, over all nodes in turn.
fn fill(cluster: &Cluster, nodes: &[usize], user: &str) -> Vec<TurnClient> {
    let mut clients = Vec::new();
    let mut refused = 0;
    for node in nodes.iter().copied().cycle() {
        match allocate(cluster, node, user) {
            Some(client) => clients.push(client),
            None => refused += 1,
        }
        if refused == 2 * nodes.len() {
            break;
        }
    }
    clients
}

/// Ends sessions, and waits until so many are to be had again, and not one more.
fn usable_again(cluster: &Cluster, clients: Vec<TurnClient>, nodes: &[usize], user: &str) {
    for mut client in clients {
        client.refresh(0).unwrap();
    }
    wait_until("every place to be there again", EVENTUALLY, || {
        let mut got = fill(cluster, nodes, user);
        let count = got.len() as u32;
        assert!(count <= LIMIT, "{count} sessions of a user with {LIMIT}");
        got.iter_mut().for_each(|client| {
            client.refresh(0).unwrap();
        });
        count == LIMIT
    });
}

/// A client that takes and gives back, and whoever counts along. A session is counted from the answer
/// that it is there until before the request that ends it: never more than there are.
struct Hammer<'a> {
    cluster: &'a Cluster,
    held: &'a AtomicI64,
    most: &'a AtomicI64,
    granted: &'a AtomicU32,
    refused: &'a AtomicU32,
}

impl Hammer<'_> {
    fn run(&self, number: usize) {
        let node = number % 3;
        let mut mine = VecDeque::new();
        // A walk that is the same in each run.
        let mut dice = 0x9e37_79b9_u32.wrapping_mul(number as u32 + 1);
        for _ in 0..ROUNDS {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if dice >> 30 == 0 || mine.len() > 2 {
                self.release(&mut mine);
                continue;
            }
            match allocate(self.cluster, node, "hammered") {
                Some(client) => {
                    let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
                    self.most.fetch_max(held, Ordering::SeqCst);
                    self.granted.fetch_add(1, Ordering::Relaxed);
                    mine.push_back(client);
                }
                None => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    self.release(&mut mine);
                }
            }
        }
        while !mine.is_empty() {
            self.release(&mut mine);
        }
    }

    fn release(&self, mine: &mut VecDeque<TurnClient>) {
        if let Some(mut client) = mine.pop_front() {
            self.held.fetch_sub(1, Ordering::SeqCst);
            client.refresh(0).unwrap();
        }
    }
}

#[test]
fn clients_that_hammer_three_nodes_never_have_more_than_the_quota() {
    let cluster = Cluster::start_with(&limited());
    let (held, most) = (AtomicI64::new(0), AtomicI64::new(0));
    let (granted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let hammer = Hammer {
        cluster: &cluster,
        held: &held,
        most: &most,
        granted: &granted,
        refused: &refused,
    };
    let start = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (hammer, start) = (&hammer, &start);
            scope.spawn(move || {
                start.wait();
                hammer.run(number);
            });
        }
    });
    let most = most.load(Ordering::SeqCst);
    report(&format!(
        "{granted:?} granted, {refused:?} refused, {most} at most at the same time of {LIMIT}"
    ));
    assert!(most <= i64::from(LIMIT), "{most} at the same time");
    assert_eq!(most, i64::from(LIMIT), "the quota is usable");
    assert!(refused.load(Ordering::Relaxed) > 0);
    usable_again(&cluster, Vec::new(), &[0, 1, 2], "hammered");
}

#[test]
fn a_realm_is_limited_over_all_nodes() {
    let cluster = Cluster::start_with(&NodeOptions {
        end: "max_sessions = 7\n".to_owned(),
        ..NodeOptions::default()
    });
    let mut clients: Vec<_> = (0..7)
        .map(|n| allocate(&cluster, n % 3, &format!("user-{n}")).expect("a place"))
        .collect();
    for node in 0..3 {
        assert!(allocate(&cluster, node, "one-more").is_none());
        // Nobody's users count for the realm, too.
        assert!(allocate(&cluster, node, "").is_none());
    }
    wait_until("the reason to be told", EVENTUALLY, || {
        let refusals = cluster.nodes[0].ctl().items(&["refusals"]);
        refusals.iter().any(|row| row["reason"] == "realm_quota")
    });
    clients.pop().unwrap().refresh(0).unwrap();
    let _last = wait_for("the place of who went", EVENTUALLY, || {
        allocate(&cluster, 2, "")
    });
    assert!(allocate(&cluster, 0, "one-more").is_none());
}

/// Waits until the first node could restore so many sessions.
fn in_the_store(cluster: &Cluster, sessions: u32) {
    wait_until("its sessions in the store", EVENTUALLY, || {
        let count = cluster.redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]);
        count.trim() == sessions.to_string()
    });
}

#[test]
fn what_a_dead_node_held_returns_and_counts_when_it_is_back_in_time() {
    let mut cluster = Cluster::start_with(&limited());
    let alive = [1, 2];
    let here = fill(&cluster, &[0], "alice");
    assert_eq!(here.len() as u32, LIMIT);
    in_the_store(&cluster, LIMIT);
    // Back in time: restored, counted, and once.
    cluster.nodes[0].kill();
    assert!(allocate(&cluster, 1, "alice").is_none());
    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    for node in [0, 1, 2, 0, 1, 2] {
        assert!(allocate(&cluster, node, "alice").is_none());
    }
    usable_again(&cluster, here, &[1, 2, 0], "alice");
    in_the_store(&cluster, 0);
    // Not back.
    let here = fill(&cluster, &[0], "alice");
    assert_eq!(here.len() as u32, LIMIT);
    in_the_store(&cluster, LIMIT);
    cluster.nodes[0].kill();
    let killed = Instant::now();
    assert!(allocate(&cluster, 1, "alice").is_none(), "it may come back");
    let there = wait_for("the places of the dead node", LEASE * 5, || {
        let there = fill(&cluster, &alive, "alice");
        (!there.is_empty()).then_some(there)
    });
    report(&format!("places came back after {:?}", killed.elapsed()));
    assert_eq!(there.len() as u32, LIMIT, "all of them");
    // Nobody is refused what he had, and no more begins until they are within the limit again.
    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    for mut client in here {
        client.refresh(600).unwrap();
    }
    for node in 0..3 {
        assert!(allocate(&cluster, node, "alice").is_none());
    }
}

#[test]
fn sessions_that_a_standby_took_over_count_once() {
    let mut cluster = Cluster::start_with(&limited());
    let here = fill(&cluster, &[0], "alice");
    in_the_store(&cluster, LIMIT);
    cluster.nodes[0].kill();
    let mut standby = Node::in_place_of(&cluster.nodes[0], "ams2");
    standby.arguments = vec!["--adopt".to_owned(), "ams1".to_owned()];
    standby.launch();
    standby.wait_ready();
    std::mem::swap(&mut cluster.nodes[0], &mut standby);
    for node in [0, 1, 2] {
        assert!(allocate(&cluster, node, "alice").is_none());
    }
    let taken = Instant::now();
    usable_again(&cluster, here, &[1, 2, 0], "alice");
    let within = taken.elapsed();
    report(&format!(
        "the standby's places were usable after {within:?}"
    ));
}

/// Sessions of the user that this node lets begin while it is alone; all others are refused.
fn alone(cluster: &Cluster, node: usize, user: &str) -> Vec<TurnClient> {
    let mut clients = fill(cluster, &[node], user);
    // What one gives back another gets.
    if let Some(mut client) = clients.pop() {
        client.refresh(0).unwrap();
        clients.extend(fill(cluster, &[node], user));
    }
    clients
}

/// Sessions of the user that the store knows.
fn counted(cluster: &Cluster, user: &str) -> u32 {
    let encoded = |name: &str| URL_SAFE_NO_PAD.encode(name);
    let key = format!(
        "relay:quota:{{{}}}:sessions:{}",
        encoded(REALM),
        encoded(user)
    );
    let held = cluster.redis.cli(&["HVALS", &key]);
    held.lines()
        .filter_map(|held| held.trim().parse::<u32>().ok())
        .sum()
}

fn all_know_that_redis_is(cluster: &Cluster, there: bool) {
    for node in &cluster.nodes {
        wait_until("each node to notice", EVENTUALLY, || {
            let rows = node.ctl().items(&["node", "list"]);
            let own = rows.iter().find(|row| row["id"] == node.id());
            own.is_some_and(|row| row["store"]["connected"] == there)
        });
    }
}

#[test]
fn without_redis_each_node_lets_one_more_session_of_a_user_begin() {
    let mut cluster = Cluster::start_with(&limited());
    // Two and one of five places.
    let mut before: Vec<_> = [0, 0, 1]
        .map(|node| allocate(&cluster, node, "alice").expect("a place"))
        .into();
    for (round, kind) in ["paused", "killed"].into_iter().enumerate() {
        wait_until("the store to know of three", EVENTUALLY, || {
            counted(&cluster, "alice") == 3 && counted(&cluster, "bob") == 0
        });
        match round {
            0 => cluster.redis.pause(),
            _ => cluster.redis.kill(),
        }
        // The first ones find out.
        let first = allocate(&cluster, 2, "bob").expect("one more than none");
        all_know_that_redis_is(&cluster, false);
        let mut more = Vec::new();
        for (node, had) in [(0, 2), (1, 1), (2, 0)] {
            let got = alone(&cluster, node, "alice");
            report(&format!(
                "{kind}: {} more on the node with {had}",
                got.len()
            ));
            assert_eq!(got.len(), 1, "one more on the node with {had}");
            more.extend(got);
        }
        assert!(allocate(&cluster, 2, "bob").is_none());
        match round {
            0 => cluster.redis.resume(),
            _ => cluster.redis.restart(),
        }
        all_know_that_redis_is(&cluster, true);
        // Six of five: none is ended, none begins.
        wait_until("every node to count with the others", EVENTUALLY, || {
            (0..3).all(|node| allocate(&cluster, node, "alice").is_none())
        });
        for mut client in more.into_iter().chain([first]) {
            client.refresh(0).unwrap();
        }
        let again = wait_for("two of the five", EVENTUALLY, || {
            let got = fill(&cluster, &[2, 0, 1], "alice");
            assert!(got.len() <= 2, "{} more than three", got.len());
            if got.len() == 2 {
                return Some(got);
            }
            for mut client in got {
                client.refresh(0).unwrap();
            }
            None
        });
        for mut client in again {
            client.refresh(0).unwrap();
        }
    }
    usable_again(&cluster, std::mem::take(&mut before), &[0, 1, 2], "alice");
}

/// Adds a stored user with a session limit of its own.
fn add_user(cluster: &Cluster, name: &str, limit: u32) -> Login {
    let mut password = tempfile::NamedTempFile::new().unwrap();
    writeln!(password, "rabbit-hole").unwrap();
    let limit = limit.to_string();
    let add = ["user", "add", name, "--realm", REALM, "--password-stdin"];
    let add = [&add[..], &["--max-sessions", &limit]].concat();
    let added = cluster.nodes[1]
        .ctl()
        .run_with_input(&add, Some(password.path()));
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    Login::new(name, "rabbit-hole")
}

#[test]
fn a_place_that_redis_gave_too_late_is_returned() {
    let cluster = Cluster::start();
    // Nobody else is limited: about users without sessions nothing would be said.
    let [stays, leaves] = ["bob", "dinah"].map(|name| add_user(&cluster, name, 1));
    // His session keeps the lease of what the node said.
    let mut bob = cluster.nodes[0].client(&stays);
    bob.allocate().unwrap();
    for round in 0..3 {
        // Known to the node by then, so that only the place is asked for.
        wait_until("the place to be free", EVENTUALLY, || {
            let mut dinah = cluster.nodes[0].client(&leaves);
            dinah.allocate().is_ok_and(|_| dinah.refresh(0).is_ok())
        });
        wait_until("the store to know", EVENTUALLY, || {
            counted(&cluster, "dinah") == 0
        });
        cluster.redis.pause();
        let mut dinah = cluster.nodes[0].client(&leaves);
        dinah.allocate().unwrap();
        dinah.refresh(0).unwrap();
        // What was written into its socket is read now.
        cluster.redis.resume();
        let back = Instant::now();
        wait_until("the place on another node", EVENTUALLY, || {
            let mut dinah = cluster.nodes[1].client(&leaves);
            dinah.allocate().is_ok_and(|_| dinah.refresh(0).is_ok())
        });
        report(&format!(
            "round {round}: usable again after {:?}",
            back.elapsed()
        ));
    }
    bob.refresh(600).unwrap();
}

#[test]
fn what_a_full_redis_did_not_hear_counts_when_it_has_room() {
    let cluster = Cluster::start_with(&limited());
    let mut clients = vec![allocate(&cluster, 0, "alice").expect("a place")];
    wait_until("the store to know", EVENTUALLY, || {
        counted(&cluster, "alice") == 1
    });
    cluster.redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    // One more than the store knows begins on each node; others come and go.
    clients.push(allocate(&cluster, 0, "alice").expect("one more"));
    assert!(allocate(&cluster, 0, "alice").is_none(), "nobody counts it");
    for number in 0..20 {
        let mut client = allocate(&cluster, 1, &format!("guest {number}")).expect("the first");
        client.refresh(0).unwrap();
    }
    assert_eq!(counted(&cluster, "alice"), 1);
    cluster.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("the store to know", EVENTUALLY, || {
        counted(&cluster, "alice") == 2
            && (0..20).all(|n| counted(&cluster, &format!("guest {n}")) == 0)
    });
    clients.extend(fill(&cluster, &[1, 2, 0], "alice"));
    assert_eq!(clients.len() as u32, LIMIT);
    usable_again(&cluster, clients, &[0, 1, 2], "alice");
}

#[test]
fn limits_that_reach_as_far_as_the_node_count_on_each() {
    let cluster = Cluster::start_with(&NodeOptions {
        end: "[limits]\nreach = \"node\"\n".to_owned(),
        ..limited()
    });
    for node in 0..3 {
        let clients = fill(&cluster, &[node], "alice");
        assert_eq!(clients.len() as u32, LIMIT);
    }
    assert_eq!(cluster.redis.cli(&["KEYS", "relay:quota:*"]).trim(), "");
}
