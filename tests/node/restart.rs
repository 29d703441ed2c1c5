//! A node that ends without a word and starts again: its UDP sessions go on, with nothing but a gap.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use kit::client::{AllocateOptions, Login, TurnClient};
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::netns::{ip, isolated};
use kit::node::{Node, NodeOptions, Place, REALM, SECRET, stored_login};
use kit::redis::RedisServer;
use kit::survivors::{CHANNEL, Survivors, sessions};
use kit::wait::{wait_for, wait_until};
use relay::udp::selector::worker_of;
use serde_json::Value;

/// The gap that is promised.
const PROMISE: Duration = Duration::from_secs(2);
/// What a debug build on a busy machine may make of it.
const BACK: Duration = Duration::from_secs(10);

#[expect(clippy::print_stderr, reason = "the gap is the result")]
pub(crate) fn report(text: &str) {
    eprintln!("{text}");
}

fn logins(count: usize) -> Vec<Login> {
    let login = |number| Login::rest(&format!("4000000000:user-{number}"), SECRET);
    (0..count).map(login).collect()
}

/// Ids and totals of the sessions that the node lists.
fn listed(node: &Node, count: usize) -> Vec<Value> {
    let ctl = node.ctl();
    wait_for("all sessions in the list", Duration::from_secs(30), || {
        let rows = ctl.items(&["session", "list", "--limit", "2000"]);
        (rows.len() == count).then_some(rows)
    })
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    let ids = rows
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Waits until as much time has passed while clients talk.
fn talk_for(time: Duration) {
    let end = Instant::now() + time;
    wait_until("clients to talk for a while", time * 2, || {
        Instant::now() >= end
    });
}

/// Ends the node by `end`, starts it again, and waits until everybody is heard; the longest gap.
#[track_caller]
fn restart(node: &mut Node, survivors: &Survivors, end: impl FnOnce(&mut Node)) -> Duration {
    survivors.all_heard_within(BACK);
    node.wait_written();
    survivors.mark();
    end(node);
    node.launch();
    survivors.all_heard_within(BACK);
    survivors.summary().longest
}

/// Requests with the nonce and the key of before the restart.
fn everything_works(client: &mut TurnClient, other: SocketAddr) {
    client.permit(&[other.ip()]).unwrap();
    client.bind_channel(CHANNEL + 1, other).unwrap();
    assert_eq!(client.refresh(600).unwrap(), 600);
}

fn peer_of_mine() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

#[test]
fn a_thousand_sessions_go_on_after_a_kill() {
    const SESSIONS: usize = 1000;
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions::default());
    let clients = sessions(node.turn, logins(SESSIONS), peer.address);
    let before = ids(&listed(&node, SESSIONS));
    let survivors = Survivors::start(clients, Duration::from_millis(250));
    talk_for(Duration::from_secs(5));
    let gap = restart(&mut node, &survivors, Node::kill);
    talk_for(Duration::from_secs(15) - gap.min(BACK));
    survivors.all_heard_within(BACK);
    let (mut clients, summary) = survivors.stop();
    report(&format!(
        "{SESSIONS} sessions: longest gap {:?}, median {:?} (promised {PROMISE:?}); {summary:?}",
        summary.longest, summary.median
    ));
    assert!(summary.longest < 5 * PROMISE);
    assert_eq!(summary.doubled, 0);
    assert_eq!(ids(&listed(&node, SESSIONS)), before);
    assert_eq!(node.metric("relayd_sessions"), Some(SESSIONS as f64));
    let stranger = peer_of_mine();
    for client in clients.iter_mut().take(10) {
        everything_works(client, stranger.local_addr().unwrap());
        client.refresh(0).unwrap();
    }
    listed(&node, SESSIONS - 10);
}

#[test]
fn sessions_go_on_with_other_numbers_of_workers_and_after_every_kind_of_end() {
    const SESSIONS: usize = 60;
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions::default());
    let mut clients = sessions(node.turn, logins(SESSIONS - 1), peer.address);
    clients.extend(sessions(node.turn, vec![stored_login()], peer.address));
    let before = listed(&node, SESSIONS);
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    for workers in [3, 1, 4] {
        node.change(|options| options.workers = workers);
        let gap = restart(&mut node, &survivors, Node::kill);
        report(&format!("{workers} workers: longest gap {gap:?}"));
        for row in listed(&node, SESSIONS) {
            let client: SocketAddr = row["client"].as_str().unwrap().parse().unwrap();
            let worker = u64::from(worker_of(client, workers).0);
            assert_eq!(row["worker"].as_u64(), Some(worker), "{row}");
        }
    }
    // Killed again before it is ready, and stopped in an orderly way.
    let twice = |node: &mut Node| {
        node.kill();
        node.launch();
        node.kill();
    };
    let gap = restart(&mut node, &survivors, twice);
    report(&format!("killed twice: longest gap {gap:?}"));
    let relayed = |rows: &[Value]| -> u64 {
        let packets = rows.iter().map(|row| row["in_packets"].as_u64().unwrap());
        packets.sum()
    };
    let mut totals = 0;
    let orderly = |node: &mut Node| {
        wait_until("totals of this start", BACK, || {
            totals = relayed(&listed(node, SESSIONS));
            totals > 0
        });
        node.signal("TERM");
        assert_eq!(node.wait_exit(), Some(0));
    };
    let gap = restart(&mut node, &survivors, orderly);
    report(&format!("stopped: longest gap {gap:?}"));
    node.wait_ready();
    let after = listed(&node, SESSIONS);
    assert_eq!(ids(&after), ids(&before));
    // An orderly end writes totals, too.
    assert!(relayed(&after) >= totals, "{totals}");
    let (mut clients, _) = survivors.stop();
    let stranger = peer_of_mine();
    for client in &mut clients {
        everything_works(client, stranger.local_addr().unwrap());
        client.refresh(0).unwrap();
    }
    listed(&node, 0);
    wait_until("the ports to be free", BACK, || {
        node.metric("relayd_relay_ports_used") == Some(0.0)
    });
}

#[test]
fn sessions_go_on_from_redis_and_only_once() {
    const SESSIONS: usize = 100;
    let peer = Peer::start();
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let clients = sessions(node.turn, logins(SESSIONS), peer.address);
    listed(&node, SESSIONS);
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    let gap = restart(&mut node, &survivors, Node::kill);
    report(&format!(
        "{SESSIONS} sessions from Redis: longest gap {gap:?}"
    ));
    let (mut clients, _) = survivors.stop();
    node.wait_ready();
    // What ended is not there at the next start, however soon that is.
    for client in &mut clients[..50] {
        client.refresh(0).unwrap();
    }
    let ctl = node.ctl();
    wait_until("half of the records", BACK, || {
        let count = redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]);
        count.trim() == "50"
    });
    node.kill();
    node.launch();
    node.wait_ready();
    assert_eq!(ctl.items(&["session", "list", "--limit", "2000"]).len(), 50);
    for client in &mut clients[50..] {
        assert_eq!(client.refresh(600).unwrap(), 600);
    }
    assert_eq!(clients[0].refresh(600).unwrap_err().code(), Some(437));
}

#[test]
fn sessions_that_the_store_could_not_tell_come_back_when_it_does() {
    let peer = Peer::start();
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let mut clients = sessions(node.turn, logins(20), peer.address);
    listed(&node, 20);
    wait_until("all records", BACK, || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]).trim() == "20"
    });
    node.wait_written();
    redis.cli(&["SAVE"]);
    node.kill();
    redis.kill();
    node.launch();
    node.wait_answering("/healthz");
    // One of the clients starts anew meanwhile: what it had before is over then.
    let mut early = clients.remove(0);
    wait_until(
        "a new session without Redis",
        Duration::from_secs(20),
        || early.allocate().is_ok(),
    );
    early.bind_channel(CHANNEL, peer.address).unwrap();
    redis.restart();
    clients.push(early);
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    survivors.all_heard_within(Duration::from_secs(30));
    drop(survivors.stop());
    listed(&node, 20);
    wait_until("a record for each session", BACK, || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]).trim() == "20"
    });
}

/// As a master that comes back without its data, until the replica that has it takes over.
#[test]
fn sessions_that_the_store_did_not_tell_of_are_not_removed_when_it_has_them_again() {
    const KEY: &str = "relay:node:{ams1}:sessions";
    let peer = Peer::start();
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let mut clients = sessions(node.turn, logins(20), peer.address);
    let is_stored = |count: &str| redis.cli(&["HLEN", KEY]).trim() == count;
    wait_until("all records", BACK, || is_stored("20"));
    node.wait_written();
    node.kill();
    assert_eq!(redis.cli(&["RENAME", KEY, "aside"]), "OK");
    node.launch();
    node.wait_ready();
    // Whoever came back meanwhile has a session of its own.
    let mut early = clients.remove(0);
    early.allocate().unwrap();
    early.bind_channel(CHANNEL, peer.address).unwrap();
    wait_until("the record of that one", BACK, || is_stored("1"));
    let bring_back = "local all = redis.call('HGETALL', 'aside') \
                      return redis.call('HSET', KEYS[1], unpack(all))";
    assert_eq!(redis.cli(&["EVAL", bring_back, "1", KEY]), "20");
    // The node doubts what it knows when it has to connect again.
    for kind in ["normal", "pubsub"] {
        redis.cli(&["CLIENT", "KILL", "TYPE", kind]);
    }
    clients.push(early);
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    survivors.all_heard_within(Duration::from_secs(30));
    let (mut clients, _) = survivors.stop();
    listed(&node, 20);
    wait_until("a record for each session", BACK, || is_stored("20"));
    // What ends here is over, whatever start had written it.
    for client in &mut clients[..10] {
        client.refresh(0).unwrap();
    }
    wait_until("half of the records", BACK, || is_stored("10"));
}

#[test]
fn a_port_that_something_else_has_is_asked_for_again() {
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions::default());
    let mut clients: Vec<_> = logins(3)
        .into_iter()
        .map(|login| node.client(&login))
        .collect();
    let relays: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let relay = client.allocate().unwrap().relay;
            client.bind_channel(CHANNEL, peer.address).unwrap();
            relay
        })
        .collect();
    listed(&node, 3);
    node.wait_written();
    node.kill();
    let _for_ever = UdpSocket::bind(relays[0]).unwrap();
    let for_a_while = UdpSocket::bind(relays[1]).unwrap();
    node.launch();
    node.wait_ready();
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    let start = Instant::now();
    wait_until("the one whose port is free", BACK, || {
        survivors.heard_since(start) == 1
    });
    drop(for_a_while);
    wait_until("the one whose port is free again", BACK, || {
        survivors.heard_since(start) == 2
    });
    listed(&node, 2);
    let ctl = node.ctl();
    wait_until("an event that says so", BACK, || {
        let events = ctl.items(&["event", "list", "--limit", "100"]);
        let text = |event: &Value| event["text"].as_str().unwrap_or_default().to_owned();
        events.iter().any(|event| {
            text(event).contains("2 sessions go on after the restart; 1 do not: port in use 1")
        })
    });
    let (mut clients, _) = survivors.stop();
    assert_eq!(clients[0].refresh(600).unwrap_err().code(), Some(437));
}

#[test]
fn sessions_of_both_families_and_new_algorithms_go_on() {
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions {
        end: "password_algorithms = [\"sha-256\", \"md5\"]\n".to_owned(),
        ..NodeOptions::default()
    });
    let mut client = node.client(&Login::rest("4000000000:sha", SECRET));
    client.be_patient();
    client.speak_rfc8489();
    client.allocate_with(AllocateOptions::default()).unwrap();
    client.bind_channel(CHANNEL, peer.address).unwrap();
    assert_eq!(client.speaks().0, Some(shared::PasswordAlgorithm::Sha256));
    listed(&node, 1);
    let survivors = Survivors::start(vec![client], Duration::from_millis(50));
    restart(&mut node, &survivors, Node::kill);
    let (mut clients, _) = survivors.stop();
    everything_works(&mut clients[0], peer_of_mine().local_addr().unwrap());
    assert_eq!(clients[0].retransmissions(), 0);
}

#[test]
fn sessions_of_a_realm_that_is_gone_and_of_other_addresses_do_not_come_back() {
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions::default());
    let clients = sessions(node.turn, logins(2), peer.address);
    listed(&node, 2);
    node.wait_written();
    node.kill();
    let config = node.config();
    // A typing error in the configuration must not cost the sessions.
    let narrow = config.replace("49152-65535", "20000-20010");
    std::fs::write(node.config_path(), narrow).unwrap();
    node.launch();
    node.wait_ready();
    listed(&node, 0);
    node.kill();
    std::fs::write(node.config_path(), &config).unwrap();
    node.launch();
    let survivors = Survivors::start(clients, Duration::from_millis(100));
    survivors.all_heard_within(BACK);
    drop(survivors.stop());
    node.kill();
    std::fs::write(node.config_path(), config.replace(REALM, "south.gov")).unwrap();
    node.launch();
    node.wait_ready();
    listed(&node, 0);
}

/// The salt of the kernel's own hash is that of the namespace; a client's worker does not follow it.
#[test]
fn sessions_go_on_in_a_fresh_network_namespace() {
    isolated(
        "restart::sessions_go_on_in_a_fresh_network_namespace",
        || {
            ip("link add br0 type bridge");
            for address in ["10.9.0.1/24", "10.9.0.3/24"] {
                ip(&format!("address add {address} dev br0"));
            }
            ip("link set br0 up");
            let plug = |name: &str| {
                ip(&format!("netns add {name}"));
                ip(&format!(
                    "link add {name} type veth peer name eth0 address 02:00:00:00:00:02 netns {name}"
                ));
                ip(&format!("link set {name} master br0 up"));
                ip(&format!("-n {name} link set lo up"));
                ip(&format!("-n {name} address add 10.9.0.2/24 dev eth0"));
                ip(&format!("-n {name} link set eth0 up"));
            };
            plug("first");
            let place = |namespace: &str| Place {
                namespace: namespace.to_owned(),
                ip: "10.9.0.2".parse().unwrap(),
            };
            let peer = Peer::start_on("10.9.0.3".parse().unwrap());
            let mut node = Node::start(NodeOptions {
                workers: 4,
                allowed_peers: Some("10.9.0.0/24"),
                place: Some(place("first")),
                ..NodeOptions::default()
            });
            let make = |login: Login| {
                let local = "10.9.0.1:0".parse().unwrap();
                let mut client = TurnClient::bound(local, node.turn, login).unwrap();
                client.allocate().unwrap();
                client.bind_channel(CHANNEL, peer.address).unwrap();
                client
            };
            let clients: Vec<_> = logins(40).into_iter().map(make).collect();
            listed(&node, 40);
            let survivors = Survivors::start(clients, Duration::from_millis(100));
            let gap = restart(&mut node, &survivors, |node| {
                node.kill();
                ip("netns del first");
                plug("second");
                node.change(|options| options.place = Some(place("second")));
            });
            report(&format!("a fresh network: longest gap {gap:?}"));
            for row in listed(&node, 40) {
                let client: SocketAddr = row["client"].as_str().unwrap().parse().unwrap();
                let worker = u64::from(worker_of(client, 4).0);
                assert_eq!(row["worker"].as_u64(), Some(worker), "{row}");
            }
            drop(survivors.stop());
        },
    );
}

#[test]
fn calls_with_a_limited_rate_go_on_after_a_kill_and_after_a_planned_restart() {
    const SESSIONS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let limits = ["max_user_rate_bps=2000000", "max_realm_rate_bps=8000000"];
    let set = [&["realm", "set", REALM], &limits[..], &["--yes"]].concat();
    let done = node.ctl().run(&set);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let peer = Peer::start();
    // The rates are leased by then.
    let clients = sessions(node.turn, logins(SESSIONS), peer.address);
    let survivors = Survivors::start(clients, Duration::from_millis(20));
    talk_for(Duration::from_secs(2));
    let gap = restart(&mut node, &survivors, Node::kill);
    talk_for(Duration::from_secs(2));
    survivors.mark();
    let mut elder = node.upgrade();
    assert_eq!(elder.ended(BACK), Some(0), "{}", node.log());
    talk_for(Duration::from_secs(2));
    let upgraded = survivors.summary().longest;
    report(&format!(
        "with limited rates: {gap:?} after a kill, {upgraded:?} after a planned restart (a lease: 10 s)"
    ));
    // Both would be the lease of the start before, if that were waited for.
    assert!(gap < Duration::from_secs(6), "{gap:?}");
    assert!(upgraded < Duration::from_secs(3), "{upgraded:?}");
}
