//! A process that takes over from the one that runs: nothing is lost, over no transport.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kit::certificate::TestCertificate;
use kit::client::Login;
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::dtls_client::DtlsClient;
use kit::node::{Node, NodeOptions, SECRET, rest_login, stored_login};
use kit::redis::{PASSWORD, RedisServer};
use kit::stream::{StreamClient, tls_config};
use kit::supervisor::Supervisor;
use kit::survivors::{CHANNEL, Survivors, sessions};
use kit::wait::{wait_for, wait_until};
use relay::succession::Heir;
use serde_json::Value;
use turn_proto::stun::{AttributeType, MessageBuilder, Method};

const SOON: Duration = Duration::from_secs(15);

#[expect(clippy::print_stderr, reason = "the gap is the result")]
fn report(text: &str) {
    eprintln!("{text}");
}

fn logins(count: usize) -> Vec<Login> {
    let login = |number| Login::rest(&format!("4000000000:user-{number}"), SECRET);
    (0..count).map(login).collect()
}

/// All sessions of the node and of its generations.
fn listed(node: &Node, count: usize) -> Vec<Value> {
    let ctl = node.ctl();
    wait_for("all sessions in the list", SOON, || {
        let rows = ctl.items(&["session", "list", "--limit", "2000"]);
        (rows.len() == count).then_some(rows)
    })
}

/// Waits until as much time has passed while clients talk.
fn talk_for(time: Duration) {
    let end = Instant::now() + time;
    wait_until("clients to talk for a while", time * 3, || {
        Instant::now() >= end
    });
}

/// A message to the peer, and its echo.
#[track_caller]
fn echoes(client: &mut StreamClient, text: &[u8]) {
    client.send_channel(CHANNEL, text).unwrap();
    let (_, heard) = client.recv_channel(SOON).unwrap().expect("an echo");
    assert_eq!(heard, text);
}

fn allocate_with_channel(client: &mut DtlsClient, peer: SocketAddr) {
    let udp = 17 << 24;
    let allocate =
        |message: MessageBuilder| message.number(AttributeType::REQUESTED_TRANSPORT, udp);
    client.request(Method::Allocate, allocate).unwrap();
    let bind = |message: MessageBuilder| {
        let number = u32::from(CHANNEL) << 16;
        let message = message.number(AttributeType::CHANNEL_NUMBER, number);
        message.xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
    };
    client.request(Method::ChannelBind, bind).unwrap();
}

/// Its datagrams reach the new process, which hands them to the one before.
fn dtls_echoes(client: &mut DtlsClient) {
    for number in 0..100_u32 {
        client.send_channel(CHANNEL, &number.to_be_bytes()).unwrap();
        let (_, heard) = client.recv_channel(SOON).unwrap().expect("an echo");
        assert_eq!(heard, number.to_be_bytes());
    }
}

fn is_listed_as_former(node: &Node, generation: &str) {
    let nodes = node.ctl().items(&["node", "list"]);
    let old = nodes.iter().find(|row| row["id"] == generation);
    let old = old.unwrap_or_else(|| panic!("{nodes:?}"));
    let shown = (&old["state"], &old["elder_of"]);
    assert_eq!(shown, (&"draining".into(), &"ams1".into()));
}

#[test]
fn no_datagram_is_lost_however_often_the_process_changes() {
    const SESSIONS: usize = 50;
    let mut node = Node::start(NodeOptions::default());
    // Ten peers: what one of them has to wait for must not fill its socket.
    let peers: Vec<_> = (0..10).map(|_| Peer::start()).collect();
    let clients = logins(SESSIONS)
        .chunks(SESSIONS / peers.len())
        .zip(&peers)
        .flat_map(|(logins, peer)| sessions(node.turn, logins.to_vec(), peer.address))
        .collect();
    let before = listed(&node, SESSIONS);
    let survivors = Survivors::start(clients, Duration::from_millis(20));
    talk_for(Duration::from_millis(500));
    for _ in 0..3 {
        survivors.mark();
        let mut elder = node.upgrade();
        assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
        talk_for(Duration::from_millis(500));
        report(&format!(
            "the longest silence: {:?}",
            survivors.summary().longest
        ));
    }
    let left = std::fs::read_dir(node.state_dir()).unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "directories of generations: {left:?}");
    let (mut clients, summary) = survivors.stop();
    assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
    let ids = |rows: &[Value]| -> Vec<_> {
        let mut ids: Vec<_> = rows.iter().map(|row| row["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&listed(&node, SESSIONS)), ids(&before));
    for client in &mut clients {
        assert_eq!(client.refresh(600).unwrap(), 600);
        client.refresh(0).unwrap();
    }
    listed(&node, 0);
    let mut fresh = node.client(&stored_login());
    fresh.allocate().unwrap();
}

#[test]
fn plain_connections_go_along_with_half_a_message_under_way() {
    let mut node = Node::start(NodeOptions::default());
    let peer = Peer::start();
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    client.bind_channel(CHANNEL, peer.address).unwrap();
    // One that said nothing yet, and one that stands before its Allocate.
    let mut silent = StreamClient::tcp(node.turn, rest_login("silent")).unwrap();
    let mut early = StreamClient::tcp(node.turn, rest_login("early")).unwrap();
    early.binding().unwrap();
    let message = [&CHANNEL.to_be_bytes()[..], &[0, 8], b"in parts"].concat();
    client.write(&message[..7]).unwrap();
    wait_until("the first half to be read", SOON, || {
        // The kernel has nothing of it left.
        node.ctl().items(&["session", "list"]).len() == 1
    });
    let mut elder = node.upgrade();
    assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
    client.write(&message[7..]).unwrap();
    let (_, heard) = client.recv_channel(SOON).unwrap().expect("an echo");
    assert_eq!(heard, b"in parts");
    for number in 0..100_u32 {
        echoes(&mut client, &number.to_be_bytes());
    }
    client.refresh(600).unwrap();
    silent.allocate().unwrap();
    early.allocate().unwrap();
    listed(&node, 3);
    drop(client);
    listed(&node, 2);
}

#[test]
fn clients_over_tls_and_dtls_stay_with_the_process_before_until_they_end() {
    let pair = TestCertificate::ecdsa();
    let mut node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    let peer = Peer::start();
    let mut by_tls = StreamClient::tls(
        node.turn,
        rest_login("tls"),
        &tls_config(&[&rustls::version::TLS13], &[]),
        "localhost",
    )
    .unwrap();
    by_tls.allocate().unwrap();
    by_tls.bind_channel(CHANNEL, peer.address).unwrap();
    let mut by_udp = node.client(&rest_login("udp"));
    by_udp.allocate().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut by_dtls = DtlsClient::over(socket, node.turn, rest_login("dtls")).unwrap();
    allocate_with_channel(&mut by_dtls, peer.address);
    let epoch = node.ctl().items(&["node", "list"])[0]["epoch"].clone();
    let mut elder = node.upgrade();
    for number in 0..100_u32 {
        echoes(&mut by_tls, &number.to_be_bytes());
    }
    dtls_echoes(&mut by_dtls);
    by_tls.refresh(600).unwrap();
    by_dtls.request(Method::Refresh, |message| message).unwrap();
    assert_eq!(by_udp.refresh(600).unwrap(), 600);
    let rows = listed(&node, 3);
    let of = |transport: &str| {
        let row = rows.iter().find(|row| row["transport"] == transport);
        row.unwrap_or_else(|| panic!("{rows:?}")).clone()
    };
    assert_eq!(of("udp")["node"], "ams1");
    let generation = format!("ams1.g{epoch}");
    assert_eq!(of("tls")["node"], generation.as_str());
    assert_eq!(of("dtls")["node"], generation.as_str());
    is_listed_as_former(&node, &generation);
    // New clients over TLS come to the new process.
    let config = tls_config(&[&rustls::version::TLS13], &[]);
    let mut fresh =
        StreamClient::tls(node.turn, rest_login("fresh"), &config, "localhost").unwrap();
    fresh.allocate().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut fresh_dtls = DtlsClient::over(socket, node.turn, rest_login("fresh")).unwrap();
    allocate_with_channel(&mut fresh_dtls, peer.address);
    assert!(elder.runs());
    // What operators do reaches the sessions of both.
    let ctl = node.ctl();
    let id = of("tls")["id"].as_str().unwrap().to_owned();
    let killed = ctl.run(&["session", "kill", &id, "--yes", "--reason", "test"]);
    assert_eq!(killed.code, 0, "{}{}", killed.stdout, killed.stderr);
    assert!(by_tls.is_closed(SOON));
    assert!(elder.runs(), "a DTLS client is left");
    by_dtls
        .request(Method::Refresh, |message| {
            message.number(AttributeType::LIFETIME, 0)
        })
        .unwrap();
    drop(by_dtls);
    assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
    wait_until("the registry to forget the generation", SOON, || {
        ctl.items(&["node", "list"]).len() == 1
    });
    for row in listed(&node, 3) {
        assert_eq!(row["node"], "ams1");
    }
}

/// Tries on both sides of a planned restart: a client over TLS that stays with the process before, and
/// one over UDP with the one that serves.
fn quota_over_a_planned_restart(options: NodeOptions) {
    let pair = TestCertificate::ecdsa();
    let mut node = Node::start(NodeOptions {
        max_sessions_per_user: Some(4),
        end: pair.section(),
        ..options
    });
    let tls = |node: &Node| {
        let config = tls_config(&[&rustls::version::TLS13], &[]);
        StreamClient::tls(node.turn, rest_login("alice"), &config, "localhost").unwrap()
    };
    let full = |node: &Node| {
        let refused = node.client(&rest_login("alice")).allocate().unwrap_err();
        assert_eq!(refused.code(), Some(486));
    };
    let (mut by_tls, mut late) = (tls(&node), tls(&node));
    by_tls.allocate().unwrap();
    let udp = |node: &Node| {
        let mut client = node.client(&rest_login("alice"));
        client
            .allocate()
            .map(|_| client)
            .map_err(|error| error.code())
    };
    let mut by_udp: Vec<_> = (0..3).map(|_| udp(&node).unwrap()).collect();
    full(&node);
    // A client over TLS that is connected and has no session yet.
    late.binding().unwrap();
    let mut elder = node.upgrade();
    for _ in 0..5 {
        full(&node);
    }
    assert_eq!(
        late.allocate().unwrap_err().code(),
        Some(486),
        "at the process before"
    );
    // One that moved ends, one that could not: each makes room for one, wherever it is asked for.
    by_udp.remove(0).refresh(0).unwrap();
    wait_until("the place of the one that moved", SOON, || {
        late.allocate().is_ok()
    });
    full(&node);
    by_tls.refresh(0).unwrap();
    let again = wait_for("the place of the one that stayed", SOON, || udp(&node).ok());
    full(&node);
    drop((by_tls, late));
    assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
    let last = wait_for("the place of the other one", SOON, || udp(&node).ok());
    full(&node);
    drop((again, last));
}

#[test]
fn a_quota_counts_over_both_processes_of_a_planned_restart() {
    quota_over_a_planned_restart(NodeOptions::default());
}

#[test]
fn a_quota_in_redis_counts_over_both_processes_of_a_planned_restart() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    quota_over_a_planned_restart(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
}

/// The rules that ship for nodes that only relay are enough for both processes: nothing is denied, and
/// nothing is left.
#[test]
fn the_process_before_a_relay_leaves_the_registry_under_the_rules_that_ship() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../relay/redis-acl/relay.acl");
    let rules = std::fs::read_to_string(file).unwrap();
    let rules = rules
        .replace("@PASSWORD@", PASSWORD)
        .replace("@NODE@", "ams1");
    let (redis, folder) = (
        RedisServer::start_with_acl(&rules),
        tempfile::tempdir().unwrap(),
    );
    let pair = TestCertificate::ecdsa();
    let mut node = Node::start(NodeOptions {
        redis: Some(format!(
            "redis://relayd-ams1:{PASSWORD}@127.0.0.1:{}/",
            redis.port
        )),
        cluster_key: Some(cluster_key(&folder)),
        top: "roles = [\"relay\"]\n".to_owned(),
        end: pair.section(),
        ..NodeOptions::default()
    });
    let peer = Peer::start();
    let config = tls_config(&[&rustls::version::TLS13], &[]);
    let mut by_tls = StreamClient::tls(node.turn, rest_login("tls"), &config, "localhost").unwrap();
    by_tls.allocate().unwrap();
    by_tls.bind_channel(CHANNEL, peer.address).unwrap();
    let mut by_udp = node.client(&rest_login("udp"));
    by_udp.allocate().unwrap();
    let names = || {
        let listed = redis.cli(&["ZRANGE", "relay:nodes", "0", "-1"]);
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["ams1"]);
    let mut elder = node.upgrade();
    let elders = wait_for("the process before in the registry", SOON, || {
        names().into_iter().find(|name| name != "ams1")
    });
    echoes(&mut by_tls, b"still here");
    assert_eq!(by_udp.refresh(600).unwrap(), 600);
    drop(by_tls);
    assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
    assert_eq!(names(), ["ams1"]);
    let left = redis.cli(&["KEYS", &format!("*{elders}*")]);
    assert_eq!(left, format!("relay:node:{{{elders}}}:epoch"));
    let denied = redis.cli(&["ACL", "LOG"]);
    assert_eq!(denied, "", "of what they tried");
}

#[test]
fn dtls_clients_of_each_generation_are_heard_after_further_upgrades() {
    let pair = TestCertificate::ecdsa();
    let mut node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    let peer = Peer::start();
    let mut generations = Vec::new();
    for number in 0..3 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let login = rest_login(&format!("dtls-{number}"));
        let mut client = DtlsClient::over(socket, node.turn, login).unwrap();
        allocate_with_channel(&mut client, peer.address);
        listed(&node, number + 1);
        generations.push((client, node.upgrade()));
        for (client, elder) in &mut generations {
            assert!(elder.runs());
            dtls_echoes(client);
        }
    }
    // They end in any order, and cost nobody else a datagram.
    while let Some((mut client, mut elder)) =
        (!generations.is_empty()).then(|| generations.remove(generations.len() / 2))
    {
        let release = |message: MessageBuilder| message.number(AttributeType::LIFETIME, 0);
        client.request(Method::Refresh, release).unwrap();
        drop(client);
        assert_eq!(elder.ended(SOON), Some(0), "{}", node.log());
        for (client, _) in &mut generations {
            dtls_echoes(client);
        }
    }
    wait_until("the registry to forget all generations", SOON, || {
        node.ctl().items(&["node", "list"]).len() == 1
    });
}

/// The epoch of the node as it lists itself.
fn epoch(node: &Node) -> u64 {
    let nodes = node.ctl().items(&["node", "list"]);
    let own = nodes.iter().find(|row| row["id"] == node.id());
    own.and_then(|row| row["epoch"].as_u64()).expect("the node")
}

#[test]
fn relayctl_has_a_node_pass_everything_on_to_a_process_that_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    let peer = Peer::start();
    let clients = sessions(node.turn, logins(20), peer.address);
    let survivors = Survivors::start(clients, Duration::from_millis(20));
    let before = epoch(&node);
    let upgrade = ["node", "upgrade", "ams1", "--yes", "--reason", "release"];
    let upgraded = node.ctl().run(&upgrade);
    let said = format!("{}{}", upgraded.stdout, upgraded.stderr);
    assert_eq!(upgraded.code, 0, "{said}\n{}", node.log());
    assert!(said.contains("with 20 sessions"), "{said}");
    assert_eq!(epoch(&node), before + 1);
    // The process that the kit started has nothing left to do.
    assert_eq!(node.wait_exit(), Some(0), "{}", node.log());
    let (_, summary) = survivors.stop();
    assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
    let again = node.ctl().run(&upgrade);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(epoch(&node), before + 2);
    node.stop_heirs();
}

#[test]
fn a_process_that_cannot_take_over_costs_nothing() {
    let mut node = Node::start(NodeOptions::default());
    let peer = Peer::start();
    let clients = sessions(node.turn, logins(10), peer.address);
    let survivors = Survivors::start(clients, Duration::from_millis(20));
    // A configuration that is wrong by now.
    let config = std::fs::read_to_string(node.config_path()).unwrap();
    std::fs::write(node.config_path(), format!("mistyped = 1\n{config}")).unwrap();
    let upgraded = node.ctl().run(&["node", "upgrade", "ams1", "--yes"]);
    assert_eq!(upgraded.code, 1, "{}{}", upgraded.stdout, upgraded.stderr);
    assert!(
        upgraded.stderr.contains("did not take over"),
        "{}",
        upgraded.stderr
    );
    assert!(node.log().contains("mistyped"), "{}", node.log());
    std::fs::write(node.config_path(), config).unwrap();
    // Some that ask for everything and never serve.
    for _ in 0..3 {
        let mut door = UnixStream::connect(node.state_dir().join("upgrade.sock")).unwrap();
        let _ = door.write_all(&[0; 64]);
    }
    let before = epoch(&node);
    let mut second = node.launch_beside(&[]);
    assert_eq!(
        second.ended(SOON),
        Some(1),
        "a second start without --upgrade"
    );
    assert!(node.log().contains("--upgrade"), "{}", node.log());
    // Killed while it prepares.
    for pause in [0, 10, 20] {
        let mut heir = node.launch_beside(&["--upgrade"]);
        talk_for(Duration::from_millis(pause));
        heir.kill();
    }
    // One that gets everything, while the node stands still, and dies before it serves.
    for _ in 0..2 {
        let heir = Heir::knock(&node.state_dir()).unwrap();
        let mut heir = heir.expect("the node that runs");
        let bequest = heir.take().unwrap();
        assert_eq!(bequest.relays.len(), 10);
        drop((heir, bequest));
        wait_until("the node to go on", SOON, || {
            node.log().contains("everything goes on here")
        });
    }
    talk_for(Duration::from_millis(200));
    survivors.all_heard_within(SOON);
    assert_eq!(epoch(&node), before);
    let (mut clients, summary) = survivors.stop();
    assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
    for client in &mut clients {
        assert_eq!(client.refresh(600).unwrap(), 600);
    }
}

#[test]
fn a_supervisor_keeps_everything_from_a_stop_to_the_next_start() {
    const SESSIONS: usize = 20;
    let supervisor = Supervisor::start();
    let mut node = Node::prepare(NodeOptions {
        top: "descriptor_store = true\n".to_owned(),
        ..NodeOptions::default()
    });
    node.launch_under(&supervisor);
    node.wait_ready();
    wait_until("the start to be told", SOON, || supervisor.heard("READY=1"));
    let peer = Peer::start();
    let mut by_tcp = StreamClient::tcp(node.turn, stored_login()).unwrap();
    by_tcp.allocate().unwrap();
    by_tcp.bind_channel(CHANNEL, peer.address).unwrap();
    let clients = sessions(node.turn, logins(SESSIONS), peer.address);
    let survivors = Survivors::start(clients, Duration::from_millis(50));
    talk_for(Duration::from_millis(300));
    for _ in 0..2 {
        survivors.mark();
        node.signal("TERM");
        assert_eq!(node.wait_exit(), Some(0), "{}", node.log());
        wait_until("everything to be left", SOON, || {
            supervisor.kept() > 2 * SESSIONS / 2 + 2
        });
        // Half a message comes while nobody is there.
        by_tcp.write(&CHANNEL.to_be_bytes()).unwrap();
        node.launch_under(&supervisor);
        node.wait_ready();
        by_tcp.write(&[&[0, 8], &b"in parts"[..]].concat()).unwrap();
        let (_, heard) = by_tcp.recv_channel(SOON).unwrap().expect("an echo");
        assert_eq!(heard, b"in parts");
        survivors.all_heard_within(SOON);
        report(&format!(
            "the longest silence: {:?}",
            survivors.summary().longest
        ));
        wait_until("the supervisor to be told to keep nothing", SOON, || {
            supervisor.kept() == 0
        });
        talk_for(Duration::from_millis(300));
    }
    let (mut clients, summary) = survivors.stop();
    assert_eq!((summary.lost, summary.doubled), (0, 0), "{summary:?}");
    listed(&node, SESSIONS + 1);
    for client in &mut clients {
        assert_eq!(client.refresh(600).unwrap(), 600);
    }
}
