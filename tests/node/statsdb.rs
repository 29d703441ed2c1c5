//! Statistics as coturn tells them to Redis: one listener hears the same of both servers.

mod heard;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use heard::{Heard, Said, by_session, ended, of_kind, read, story, sums};
use kit::certificate::TestCertificate;
use kit::client::Login;
use kit::cluster::cluster_key;
use kit::coturn::{FOR_UCLIENT, Peer, Uclient, Way};
use kit::dtls_client::DtlsClient;
use kit::node::{Node, NodeOptions, REALM, SECRET, stored_login};
use kit::redis::{PASSWORD, RedisServer};
use kit::stream::{StreamClient, tls_config};
use kit::subscriber::{Message, Subscriber};
use kit::turnserver::{self, Turnserver};
use kit::wait::{wait_for, wait_until};
use turn_proto::stun::{AttributeType, MessageBuilder, Method};

/// What is told is told within a second, and after an absence of Redis within some.
const SOON: Duration = Duration::from_secs(30);
/// A run of uclient with its own pacing, on a busy machine.
const RUN: Duration = Duration::from_secs(120);

/// Sessions of one client of uclient: with one it tries the server, one is for RTP and one for RTCP.
const SESSIONS: usize = 3;

/// The user of the statistics, as relay/redis-acl/README.md has it.
const RULES: &str = "user stats on >test-password resetchannels ~turn/*/allocation/*/status &turn/* \
                     -@all +set +del +publish +ping +select";

fn options(redis: &RedisServer) -> NodeOptions {
    NodeOptions {
        top: FOR_UCLIENT.to_owned(),
        end: format!("[statsdb]\nurl = \"redis://127.0.0.1:{}/3\"\n", redis.port),
        ..NodeOptions::default()
    }
}

/// With a certificate for clients.
fn secured(options: NodeOptions, pair: &TestCertificate) -> NodeOptions {
    NodeOptions {
        end: options.end + &pair.section(),
        ..options
    }
}

fn coturn(redis: &RedisServer, pair: &TestCertificate) -> Turnserver {
    let statsdb = format!("--redis-statsdb=ip=127.0.0.1 dbname=3 port={}", redis.port);
    let certificate = format!("--cert={}", pair.certificate().display());
    let key = format!("--pkey={}", pair.key().display());
    Turnserver::start_with(&[&statsdb, &certificate, &key])
}

fn uclient(server: SocketAddr, messages: u32, flags: &'static [&'static str]) -> Uclient {
    Uclient {
        server,
        login: stored_login(),
        way: Way::Channels,
        clients: 1,
        messages,
        flags,
        peer: None,
    }
}

/// The same run against both servers: what listeners hear of each. `over`: sessions that end with it; a UDP
/// session with which uclient tries the server first stays until it expires. Also whether uclient lost any
/// message of either.
fn both(
    messages: u32,
    flags: &'static [&'static str],
    over: usize,
) -> ([BTreeMap<String, Vec<Heard>>; 2], bool) {
    let redis = [RedisServer::start(), RedisServer::start()];
    let [theirs, ours] = redis.each_ref().map(Subscriber::start);
    let pair = TestCertificate::ecdsa();
    let turnserver = coturn(&redis[0], &pair);
    let node = Node::start(secured(options(&redis[1]), &pair));
    let runs = [(turnserver.address, &theirs), (node.turn, &ours)];
    let mut lost = false;
    let heard = runs.map(|(server, subscriber)| {
        let totals = uclient(server, messages, flags).run(RUN);
        assert!(totals.sent >= messages.into(), "{}", totals.text);
        lost |= totals.received < totals.sent;
        ended(subscriber, over)
    });
    // A status key of a session that is over is gone.
    let left = (SESSIONS - over).to_string();
    for redis in &redis {
        assert_eq!(redis.cli(&["-n", "3", "dbsize"]), left);
    }
    (heard, lost)
}

/// Without what coturn says of clients that never had a session: traffic that has no beginning and no end.
fn allocations(of: &BTreeMap<String, Vec<Heard>>) -> BTreeMap<String, Vec<Heard>> {
    let has_status = |of: &Vec<Heard>| {
        let mut said = of.iter().map(|heard| &heard.said);
        said.any(|said| matches!(said, Said::Status { .. }))
    };
    let of = of.iter().filter(|(_, of)| has_status(of));
    of.map(|(id, of)| (id.clone(), of.clone())).collect()
}

#[track_caller]
fn assert_same(theirs: &BTreeMap<String, Vec<Heard>>, ours: &BTreeMap<String, Vec<Heard>>) {
    assert_eq!(ours.len(), SESSIONS, "{ours:#?}");
    let theirs = &allocations(theirs);
    let stories = |of: &BTreeMap<String, Vec<Heard>>| {
        let mut stories: Vec<_> = of.values().map(|of| story(of)).collect();
        stories.sort();
        stories
    };
    assert_eq!(stories(theirs), stories(ours), "{theirs:#?}\n{ours:#?}");
    let who = |of: &BTreeMap<String, Vec<Heard>>| {
        let first = of.values().next().expect("a session");
        (first[0].realm.clone(), first[0].user.clone())
    };
    assert_eq!(who(theirs), who(ours));
    for of in theirs.values().chain(ours.values()) {
        for side in [false, true] {
            let (sum, whole, _) = sums(of, side);
            assert_eq!(sum, whole, "{of:#?}");
        }
    }
    let windows = |of: &BTreeMap<String, Vec<Heard>>| {
        of.values().map(|of| sums(of, true).2).max().unwrap_or(0)
    };
    // Twice at least: in the middle and at the end.
    assert!(windows(theirs) > 1 && windows(ours) > 1, "{ours:#?}");
}

/// The same of both, peers' traffic too. On a busy machine datagrams may be lost between any two programs:
/// of such a run it says nothing, and another one is made.
#[track_caller]
fn all_the_same(messages: u32, flags: &'static [&'static str], over: usize, header: u64) {
    for _ in 0..5 {
        let ([theirs, ours], lost) = both(messages, flags, over);
        assert_same(&theirs, &ours);
        if !lost {
            assert_same_traffic(&theirs, &ours, header);
            return;
        }
    }
    panic!("messages were lost in each run");
}

/// Peers hear the same on both, unless something was lost. `header`: bytes that coturn counts to peers with
/// each message and does not send to them.
#[track_caller]
fn assert_same_traffic(
    theirs: &BTreeMap<String, Vec<Heard>>,
    ours: &BTreeMap<String, Vec<Heard>>,
    header: u64,
) {
    let theirs = &allocations(theirs);
    // What went to and came from peers is the payload of the same messages.
    let peers = |of: &BTreeMap<String, Vec<Heard>>, header: u64| {
        let mut peers: Vec<_> = of.values().map(|of| sums(of, true).1).collect();
        for [_, _, messages, bytes] in &mut peers {
            *bytes -= *messages * header;
        }
        peers.sort_unstable();
        peers
    };
    assert_eq!(peers(theirs, header), peers(ours, 0));
}

/// Of channel messages over TCP 4.18 counts the header as what went to the peer.
fn header_over_tcp() -> u64 {
    match turnserver::release() >= [4, 18, 0] {
        true => 4,
        false => 0,
    }
}

/// With the uclient of 4.6.1: that of 4.18 ends none of its sessions over UDP.
#[test]
fn a_listener_hears_the_same_of_coturn_and_of_relayd() {
    all_the_same(3000, &["-z", "2"], 2, 0);
}

#[test]
fn a_listener_hears_the_same_of_clients_over_tcp() {
    all_the_same(3000, &["-z", "2", "-t"], 3, header_over_tcp());
}

#[test]
fn a_listener_hears_the_same_of_clients_over_tls() {
    // coturn and uclient lose messages over TLS at any pace that gets anywhere: what peers heard differs.
    let ([theirs, ours], _) = both(1200, &["-z", "10", "-t", "-S"], 3);
    assert_same(&theirs, &ours);
}

#[test]
fn a_listener_hears_the_version_and_the_cipher_of_clients_over_tls() {
    let redis = RedisServer::start();
    let subscriber = Subscriber::start(&redis);
    let pair = TestCertificate::ecdsa();
    let node = Node::start(secured(options(&redis), &pair));
    let news = || -> Vec<[String; 3]> {
        let messages = subscriber.messages();
        let kinds = messages
            .iter()
            .filter_map(|message| match read(message).said {
                Said::Status { word, kind, .. } if word == "new" => Some(kind),
                _ => None,
            });
        kinds.collect()
    };
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for (told, (version, name)) in versions.into_iter().zip(["TLSv1.2", "TLSv1.3"]).enumerate() {
        let config = tls_config(&[version], &[]);
        let mut client =
            StreamClient::tls(node.turn, stored_login(), &config, "localhost").unwrap();
        client.allocate().unwrap();
        let kind = wait_for("the beginning of a session", SOON, || {
            news().into_iter().nth(told)
        });
        assert_eq!(of_kind(&kind), "TLS/TCP");
        assert_eq!(kind[1], name);
    }
}

#[test]
fn a_listener_hears_the_version_of_clients_over_dtls() {
    let redis = RedisServer::start();
    let subscriber = Subscriber::start(&redis);
    let pair = TestCertificate::ecdsa();
    let node = Node::start(secured(options(&redis), &pair));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut client = DtlsClient::over(socket, node.turn, stored_login()).unwrap();
    let udp = 17 << 24;
    let allocate =
        |message: MessageBuilder| message.number(AttributeType::REQUESTED_TRANSPORT, udp);
    client.request(Method::Allocate, allocate).unwrap();
    let said = wait_for("the beginning of a session", SOON, || {
        let message = subscriber.messages().into_iter().next()?;
        Some(read(&message).said.shape())
    });
    let expected = ["1.2", "1.3"].map(|version| format!("new 600 DTLS DTLSv{version} UNKNOWN"));
    assert!(expected.contains(&said), "{said}");
}

/// The status keys that there are.
fn keys(redis: &RedisServer) -> Vec<String> {
    let text = redis.cli(&["-n", "3", "--scan", "--pattern", "turn/*/status"]);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn whatever_users_are_called_it_stays_one_key_and_one_channel() {
    let redis = RedisServer::start();
    let subscriber = Subscriber::start(&redis);
    let node = Node::start(options(&redis));
    for name in [
        "a b",
        "100%s%n%d%%",
        "say \"hi\" and 'ho'",
        "../x/y/allocation/7",
        "{tag}*?[a]",
        "\u{fc}\u{1f600}",
        "DEL turn",
    ] {
        let username = format!("4000000000:{name}");
        let mut client = node.client(&Login::rest(&username, SECRET));
        client.allocate().unwrap();
        let base = format!("turn/realm/{REALM}/user/{username}/allocation/");
        let is_there = || -> Vec<String> {
            // redis-cli quotes what is no plain text, so that keys are asked for by name.
            let messages = subscriber.messages().into_iter();
            let own = messages.filter(|(channel, _)| channel.starts_with(&base));
            own.map(|(channel, _)| channel).collect()
        };
        let key = wait_for("the beginning of a session", SOON, || is_there().pop());
        wait_until("its key", SOON, || {
            redis.cli(&["-n", "3", "exists", &key]) == "1"
        });
        assert_eq!(client.refresh(0).unwrap(), 0);
        wait_until("its end", SOON, || {
            is_there().len() == 7 && redis.cli(&["-n", "3", "exists", &key]) == "0"
        });
        let said = by_session(&subscriber.messages());
        let of = said.values().find(|of| of[0].user == username);
        assert_eq!(of.map(Vec::len), Some(7), "{said:#?}");
    }
    assert_eq!(redis.cli(&["-n", "3", "dbsize"]), "0");
    assert_eq!(node.metric("relayd_statsdb_dropped_total"), Some(0.0));
}

#[test]
fn a_statistics_database_is_reached_over_tls() {
    let redis = RedisServer::start_with_tls();
    let section = format!(
        "[statsdb]\nurl = \"rediss://localhost:{}/3\"\nca_file = \"{}\"\n",
        redis.port,
        redis.ca_file().display()
    );
    let node = Node::start(NodeOptions {
        end: section,
        ..options(&redis)
    });
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    wait_until("the key", SOON, || keys(&redis).len() == 1);
    assert_eq!(client.refresh(0).unwrap(), 0);
    wait_until("its end", SOON, || keys(&redis).is_empty());
}

#[test]
fn restarts_and_upgrades_keep_the_keys_of_sessions_that_go_on_and_no_others() {
    let redis = RedisServer::start();
    let subscriber = Subscriber::start(&redis);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..options(&redis)
    });
    // Somebody else's, which nobody may touch.
    let foreign = "turn/realm/other/user/bob/allocation/000000000000000001/status";
    redis.cli(&["-n", "3", "set", foreign, "new lifetime=600"]);
    let (mut stays, mut leaves) = (node.client(&stored_login()), node.client(&stored_login()));
    for client in [&mut stays, &mut leaves] {
        client.allocate().unwrap();
    }
    let own = || {
        keys(&redis)
            .into_iter()
            .filter(|key| key != foreign)
            .collect::<Vec<_>>()
    };
    wait_until("both keys", SOON, || own().len() == 2);
    for key in own() {
        // The lifetime, and a minute.
        let ttl: i64 = redis.cli(&["-n", "3", "ttl", &key]).parse().unwrap();
        assert!((1..=660).contains(&ttl), "{key}: {ttl}");
    }
    // Their records have to be in the store before the node may die.
    wait_until("both records", SOON, || {
        redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]).trim() == "2"
    });
    let before = subscriber.messages().len();
    node.kill();
    for key in own() {
        redis.cli(&["-n", "3", "del", &key]);
    }
    node.launch();
    node.wait_ready();
    wait_until("the keys of sessions that came back", SOON, || {
        own().len() == 2
    });
    let elder = node.upgrade();
    assert_eq!(leaves.refresh(0).unwrap(), 0);
    wait_until("the end of one of them", SOON, || own().len() == 1);
    assert!(stays.refresh(600).unwrap() > 0);
    let said = wait_for("what the new process says", SOON, || {
        let said = subscriber.messages().split_off(before);
        let refreshed = |(_, said): &Message| said.starts_with("refreshed lifetime=600");
        said.iter().any(refreshed).then_some(said)
    });
    // Neither the restart nor the upgrade was the beginning or the end of anything.
    let words = |start: &str| {
        said.iter()
            .filter(|(_, said)| said.starts_with(start))
            .count()
    };
    assert_eq!((words("new "), words("deleted")), (0, 1), "{said:#?}");
    assert_eq!(redis.cli(&["-n", "3", "get", foreign]), "new lifetime=600");
    drop(elder);
}

#[test]
fn an_absent_statistics_database_costs_nobody_a_packet_and_gets_its_keys_back() {
    // No more rights than it needs.
    let mut redis = RedisServer::start_with_acl(RULES);
    let url = format!("redis://stats:{PASSWORD}@127.0.0.1:{}/3", redis.port);
    let node = Node::start(NodeOptions {
        end: format!("[statsdb]\nurl = \"{url}\"\n"),
        ..options(&redis)
    });
    let peer = Peer::start();
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    client.bind_channel(0x4001, peer.address).unwrap();
    wait_until("the first key", SOON, || keys(&redis).len() == 1);
    redis.pause();
    let mut other = node.client(&stored_login());
    other.allocate().unwrap();
    wait_until("messages to be dropped", SOON, || {
        client.send_channel(0x4001, b"goes on").unwrap();
        let (_, heard) = client.recv(SOON).unwrap().expect("an echo");
        assert_eq!(heard, b"goes on");
        node.metric("relayd_statsdb_dropped_total") > Some(0.0)
    });
    assert_eq!(node.metric("relayd_statsdb_connected"), Some(0.0));
    let shown = || node.ctl().json(&["node", "show", node.id()]).to_string();
    wait_until("the node to say so", SOON, || {
        shown().contains("statistics database is out of reach")
    });
    redis.resume();
    wait_until("both keys", SOON, || keys(&redis).len() == 2);
    redis.kill();
    assert_eq!(other.refresh(0).unwrap(), 0);
    redis.restart_empty();
    wait_until("the key of the one that is left", SOON, || {
        keys(&redis).len() == 1
    });
    wait_until("the node to be content", SOON, || {
        !shown().contains("statistics")
    });
    assert_eq!(node.metric("relayd_statsdb_connected"), Some(1.0));
}
