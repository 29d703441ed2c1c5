//! Banned networks on three nodes: of clients, whose sessions end and who come back nowhere, and of
//! peers, to whom no data passes any more. And the end of very many sessions at once.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kit::address::fresh_ip;
use kit::client::TurnClient;
use kit::cluster::Cluster;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, rest_login, stored_login};
use kit::program::{Sinks, ours, spawn};
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, FleetApi as _};
use serde_json::Value;
use shared::api::{BanCreate, BanKind, JobState, ListQuery, SessionsKill};

/// What is promised is a second; a debug build on a busy machine gets five.
const SOON: Duration = Duration::from_secs(5);
/// How long nodes may take to notice that Redis is back.
const BACK: Duration = Duration::from_secs(20);

fn from(ip: IpAddr, node: &Node, user: &str) -> TurnClient {
    TurnClient::bound(SocketAddr::new(ip, 0), node.turn, rest_login(user)).unwrap()
}

fn refused(client: &mut TurnClient) -> bool {
    let answer = client.allocate();
    answer.is_err_and(|error| error.code() == Some(403))
}

fn ban(node: &Node, arguments: &[&str]) -> Value {
    node.ctl().json(&[&["ban"], arguments].concat())
}

#[test]
fn a_banned_client_net_loses_its_sessions_and_is_refused_everywhere_also_after_a_restart() {
    let mut cluster = Cluster::start();
    let ip = fresh_ip();
    let net = format!("{ip}/32");
    let mut doomed: Vec<_> = cluster
        .nodes
        .iter()
        .flat_map(|node| [from(ip, node, "mallory"), from(ip, node, "neighbour")])
        .collect();
    let mut spared: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node.client(&stored_login()))
        .collect();
    for client in doomed.iter_mut().chain(&mut spared) {
        client.allocate().unwrap();
    }
    wait_until("the preview to know all of them", SOON * 2, || {
        let would = ban(&cluster.nodes[2], &["add", &net, "--dry-run"]);
        assert_eq!(would["dry_run"], true);
        (would["sessions"].as_u64(), would["users"].as_u64()) == (Some(6), Some(2))
    });
    for client in &mut doomed {
        client.refresh(600).expect("a dry run changes nothing");
    }
    let reason = ["--reason", "flood", "--yes"];
    let done = ban(&cluster.nodes[1], &[&["add", &net], &reason[..]].concat());
    assert_eq!(
        (&done["stored"], &done["sessions"]),
        (&true.into(), &6.into())
    );
    for client in &mut doomed {
        wait_until("the session to end", SOON, || client.refresh(600).is_err());
    }
    for node in &cluster.nodes {
        wait_until("new ones to be refused", SOON, || {
            refused(&mut from(ip, node, "mallory"))
        });
        let listed = node.ctl().items(&["ban", "list"]);
        assert_eq!(listed[0]["reason"], "flood", "{listed:?}");
        wait_until("two that were banned", SOON, || {
            let (_, metrics) = kit::http::get(node.metrics, "/metrics").unwrap();
            metrics.contains("relayd_allocations_ended_total{cause=\"banned\"} 2\n")
        });
    }
    for client in &mut spared {
        assert_eq!(client.refresh(600).unwrap(), 600, "of another net");
    }
    cluster.nodes[0].signal("TERM");
    assert_eq!(cluster.nodes[0].wait_exit(), Some(0));
    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    wait_until("it to be refused after a restart", SOON * 2, || {
        refused(&mut from(ip, &cluster.nodes[0], "mallory"))
    });
    let removed = cluster.nodes[2]
        .ctl()
        .run(&["ban", "rm", &ip.to_string(), "--yes"]);
    assert_eq!(removed.code, 0, "{}{}", removed.stdout, removed.stderr);
    for node in &cluster.nodes {
        wait_until("it to be served again", SOON, || {
            from(ip, node, "mallory").allocate().is_ok()
        });
    }
}

#[test]
fn a_ban_holds_where_it_was_set_while_redis_is_away_and_everywhere_when_it_is_back() {
    let mut cluster = Cluster::start();
    let ip = fresh_ip();
    let mut doomed = from(ip, &cluster.nodes[0], "mallory");
    doomed.allocate().unwrap();
    cluster.redis.kill();
    let create = BanCreate {
        kind: BanKind::Client,
        net: ip.to_string().parse().unwrap(),
        secs: 600,
        dry_run: false,
        expected: None,
        reason: "flood".to_owned(),
    };
    let admin = cluster.nodes[0].admin();
    let done = admin.call(|api| api.create_ban(&create)).unwrap();
    assert!(!done.ban.stored, "{done:?}");
    wait_until("the session to end", SOON, || doomed.refresh(600).is_err());
    assert!(refused(&mut from(ip, &cluster.nodes[0], "mallory")));
    cluster.redis.restart();
    for node in &cluster.nodes {
        wait_until("the ban to reach every node", BACK, || {
            refused(&mut from(ip, node, "mallory"))
        });
    }
}

#[test]
fn a_banned_peer_is_cut_off_and_the_call_goes_on_with_others() {
    let cluster = Cluster::start_with(&NodeOptions {
        allowed_peers: Some("127.0.0.0/8"),
        ..NodeOptions::default()
    });
    let (bad, good) = (Peer::start_on(fresh_ip()), Peer::start_on(fresh_ip()));
    let mut client = cluster.nodes[0].client(&stored_login());
    client.allocate().unwrap();
    client.bind_channel(0x4000, bad.address).unwrap();
    client.bind_channel(0x4001, good.address).unwrap();
    let echoes = |client: &mut TurnClient, channel: u16| {
        client.send_channel(channel, b"hello").unwrap();
        let wait = Duration::from_millis(300);
        let answer = client.recv(wait).unwrap();
        answer.is_some()
    };
    wait_until("both to answer", SOON, || {
        echoes(&mut client, 0x4000) && echoes(&mut client, 0x4001)
    });
    let net = bad.address.ip().to_string();
    let done = ban(&cluster.nodes[1], &["add", &net, "--peer", "--yes"]);
    assert_eq!(done["sessions"], 1, "{done}");
    wait_until("the peer to be cut off", SOON * 2, || {
        !echoes(&mut client, 0x4000)
    });
    assert!(echoes(&mut client, 0x4001), "the others go on");
    assert_eq!(client.refresh(600).unwrap(), 600, "and so does the call");
    let permitted = client.permit(&[bad.address.ip()]).unwrap_err();
    assert_eq!(permitted.code(), Some(403));
    let bound = client.bind_channel(0x4002, bad.address).unwrap_err();
    assert_eq!(bound.code(), Some(403));
    let ctl = cluster.nodes[2].ctl();
    wait_until("its permission to be gone from the books", SOON, || {
        let peer = format!("peer={net}");
        ctl.items(&["session", "list", "-f", &peer]).is_empty()
    });
}

#[test]
fn a_net_that_is_too_wide_and_more_sessions_than_expected_are_refused() {
    let cluster = Cluster::start();
    let refuse = |arguments: &[&str], why: &str| {
        let answer = cluster.nodes[0]
            .ctl()
            .run(&[&["ban", "add"], arguments].concat());
        assert_ne!(answer.code, 0);
        assert!(answer.stderr.contains(why), "{}", answer.stderr);
    };
    refuse(&["0.0.0.0/0", "--yes"], "at most a /8");
    refuse(&["::/0", "--peer", "--yes"], "/19 of IPv6");
    refuse(&["203.0.113.0/24", "--for", "2y", "--yes"], "");
    let mut client = cluster.nodes[1].client(&stored_login());
    client.allocate().unwrap();
    let admin = cluster.nodes[2].admin();
    let create = BanCreate {
        kind: BanKind::Client,
        net: "127.0.0.1".parse().unwrap(),
        secs: 60,
        dry_run: false,
        expected: Some(0),
        reason: String::new(),
    };
    let would = BanCreate {
        dry_run: true,
        expected: None,
        ..create.clone()
    };
    wait_until("the session to be counted", SOON * 2, || {
        let would = admin.call(|api| api.create_ban(&would));
        would.is_ok_and(|would| would.sessions == 1)
    });
    let refused = admin.call(|api| api.create_ban(&create)).unwrap_err();
    assert!(refused.to_string().contains("look again"), "{refused}");
    assert_eq!(client.refresh(600).unwrap(), 600);
}

/// Sessions of each node: 10,002 in all.
const EACH: u64 = 3334;
/// What is promised for 10,000.
const PROMISED: Duration = Duration::from_secs(2);

/// Sessions of one program for each node, until they are dropped.
struct Crowd(Vec<Child>);

impl Crowd {
    fn gather(cluster: &Cluster) -> Self {
        let (name, password) = kit::node::USER;
        let crowd = cluster.nodes.iter().map(|node| {
            let mut command = Command::new(ours("relayctl"));
            let (uri, each) = (format!("turn:{}", node.turn), EACH.to_string());
            command.args(["bench", "idle", &uri, "--sessions", &each, "--hold", "10m"]);
            command.args(["--user", name, "--password", password]);
            spawn(
                "this workspace",
                command,
                &Sinks::File("/dev/null".as_ref()),
            )
        });
        Self(crowd.collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sessions(node: &Node) -> u64 {
    let one = ListQuery {
        limit: Some(1),
        ..ListQuery::default()
    };
    let page = node.admin().call(|api| api.sessions(&one));
    page.map_or(u64::MAX, |page| page.total)
}

/// Waits until a crowd is in everybody's books.
fn gathered(node: &Node) {
    wait_until("the crowd", Duration::from_secs(120), || {
        sessions(node) == 3 * EACH
    });
}

/// Waits until nobody has a session, and says how long that took.
#[allow(
    clippy::print_stderr,
    reason = "a measurement is for whoever asks for it"
)]
fn all_gone(node: &Node, what: &str, since: Instant) {
    wait_until("all sessions to be gone", PROMISED * 5, || {
        sessions(node) == 0
    });
    eprintln!("{} sessions {what}: {:?}", 3 * EACH, since.elapsed());
}

fn kill_all(node: &Node) {
    let kill = SessionsKill {
        filter: Some(format!("user={}", kit::node::USER.0)),
        expected: 3 * EACH,
        rate: 10_000,
        block_secs: Some(1),
        reason: "test".to_owned(),
        ..SessionsKill::default()
    };
    let fewer = SessionsKill {
        expected: 3 * EACH - 1,
        dry_run: true,
        ..kill.clone()
    };
    let admin = node.admin();
    // Whoever is too busy to say in time whom it has is named as missing, and the others' are fewer.
    wait_until("a refusal of more than expected", PROMISED * 5, || {
        let refused = admin.call(|api| api.start_kill_job(&fewer)).err();
        refused.is_some_and(|error| error.to_string().contains("look again"))
    });
    let (mut killed, mut rounds) = (0, 0);
    while killed < 3 * EACH {
        rounds += 1;
        assert!(rounds <= 5, "{killed} after so many jobs");
        let job = wait_for("somebody to be found", PROMISED * 5, || {
            admin.call(|api| api.start_kill_job(&kill)).ok()
        });
        let whole = 3 * EACH - killed;
        assert!(job.total == whole || !job.missing.is_empty(), "{job:?}");
        wait_until("the job to end", PROMISED * 5, || {
            let job = admin.call(|api| api.job(&job.id)).unwrap();
            job.state == JobState::Done && job.failed == 0
        });
        killed += job.total;
    }
}

#[test]
fn thousands_of_sessions_are_killed_and_their_net_is_banned_within_what_is_promised() {
    let cluster = Cluster::start_with(&NodeOptions {
        max_sessions_per_user: Some(20_000),
        ..NodeOptions::default()
    });
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let crowd = Crowd::gather(&cluster);
    gathered(first);
    let begun = Instant::now();
    kill_all(first);
    all_gone(second, "killed, their user blocked", begun);
    drop(crowd);

    // On all of them: a crowd that one node refuses never gathers.
    for node in &cluster.nodes {
        wait_until("the block to end", SOON * 5, || {
            let mut client = node.client(&stored_login());
            let served = client.allocate().is_ok();
            let _ = client.refresh(0);
            served
        });
    }
    let _crowd = Crowd::gather(&cluster);
    gathered(third);
    let create = BanCreate {
        kind: BanKind::Client,
        net: "127.0.0.0/8".parse().unwrap(),
        secs: 60,
        dry_run: false,
        expected: Some(3 * EACH),
        reason: "test".to_owned(),
    };
    let begun = Instant::now();
    let done = third.admin().call(|api| api.create_ban(&create)).unwrap();
    assert_eq!((done.sessions, done.users), (3 * EACH, 1), "{done:?}");
    all_gone(second, "banned with their net", begun);
    let local = "127.0.0.1".parse().unwrap();
    assert!(refused(&mut from(local, first, "x")));
}
