//! What was ended stays ended: kills that were answered, and bans and blocks that the store did not hear
//! of, whatever becomes of the node.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use kit::address::fresh_ip;
use kit::client::{Login, TurnClient};
use kit::cluster::cluster_key;
use kit::node::{Node, NodeOptions, REALM, SECRET, rest_login};
use kit::redis::RedisServer;
use kit::wait::{wait_for, wait_until};
use relayctl::client::{AdminApi as _, FleetApi as _};
use shared::api::{
    BanCreate, BanKind, BlockRequest, JobState, KillRequest, ListQuery, SessionsKill,
};

/// How long a node may take to notice that Redis is back, and to make up for what it missed.
const BACK: Duration = Duration::from_secs(30);
/// For what has a promise of a second or less.
const SOON: Duration = Duration::from_secs(10);

fn node(redis: &RedisServer, folder: &tempfile::TempDir) -> Node {
    Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(folder)),
        max_sessions_per_user: Some(1000),
        ..NodeOptions::default()
    })
}

fn records(redis: &RedisServer) -> String {
    let count = redis.cli(&["HLEN", "relay:node:{ams1}:sessions"]);
    count.trim().to_owned()
}

fn from(ip: IpAddr, node: &Node, user: &str) -> TurnClient {
    TurnClient::bound(SocketAddr::new(ip, 0), node.turn, rest_login(user)).unwrap()
}

fn ban(node: &Node, ip: IpAddr) {
    let create = BanCreate {
        kind: BanKind::Client,
        net: ip.to_string().parse().unwrap(),
        secs: 600,
        dry_run: false,
        expected: None,
        reason: "flood".to_owned(),
    };
    let done = node.admin().call(|api| api.create_ban(&create)).unwrap();
    assert!(!done.ban.stored, "{done:?}");
}

fn is_forbidden(client: &mut TurnClient) -> bool {
    client
        .allocate()
        .is_err_and(|error| error.code() == Some(403))
}

/// The ids of all sessions, once there are so many.
fn listed(node: &Node, count: usize) -> Vec<shared::SessionId> {
    let query = ListQuery {
        limit: Some(1000),
        ..ListQuery::default()
    };
    wait_for("the sessions in the list", SOON, || {
        let page = node.admin().call(|api| api.sessions(&query)).ok()?;
        let ids: Vec<_> = page.items.iter().map(|session| session.id).collect();
        (ids.len() == count).then_some(ids)
    })
}

#[test]
fn a_kill_that_was_answered_is_in_the_store_whatever_the_moment() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut node = node(&redis, &folder);
    let request = KillRequest {
        reason: "test".to_owned(),
        block_secs: None,
    };
    let mut killed = Vec::new();
    for round in 0..20 {
        let mut client = node.client(&rest_login(&format!("user-{round}")));
        client.allocate().unwrap();
        let id = listed(&node, 1)[0].to_string();
        let done = node.admin().call(|api| api.kill_session(&id, &request));
        done.unwrap();
        assert_eq!(
            records(&redis),
            "0",
            "right after the answer, round {round}"
        );
        killed.push(client);
    }
    // The same for many at once, and nobody comes back.
    let crowd: Vec<_> = (0..300)
        .map(|number| {
            let mut client = node.client(&rest_login(&format!("crowd-{number}")));
            client.allocate().unwrap();
            client
        })
        .collect();
    let kill = SessionsKill {
        ids: listed(&node, crowd.len()),
        expected: crowd.len() as u64,
        rate: 10_000,
        reason: "test".to_owned(),
        ..SessionsKill::default()
    };
    let admin = node.admin();
    let job = admin.call(|api| api.start_kill_job(&kill)).unwrap();
    wait_until("all to be killed", SOON, || {
        let job = admin.call(|api| api.job(&job.id)).unwrap();
        assert_eq!(job.failed, 0, "{job:?}");
        job.state == JobState::Done && job.done == crowd.len() as u64
    });
    assert_eq!(records(&redis), "0");
    node.kill();
    node.launch();
    node.wait_ready();
    listed(&node, 0);
    for client in killed.iter_mut() {
        assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
    }
}

#[test]
fn bans_and_blocks_that_the_store_did_not_hear_of_outlive_the_process() {
    let (mut redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut node = node(&redis, &folder);
    let ip = fresh_ip();
    from(ip, &node, "mallory").allocate().unwrap();
    redis.kill();
    ban(&node, ip);
    let request = BlockRequest {
        secs: 600,
        reason: "spam".to_owned(),
    };
    let realm = REALM.parse().unwrap();
    let blocked = node
        .admin()
        .call(|api| api.put_block(&realm, "eve", &request));
    blocked.unwrap();
    let file = node.state_dir().join("bans.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "its owner's alone");

    for _ in 0..2 {
        node.kill();
        node.launch();
        node.wait_answering("/healthz");
        wait_until("the node to serve without Redis", BACK, || {
            node.client(&rest_login("somebody")).allocate().is_ok()
        });
        assert!(is_forbidden(&mut from(ip, &node, "mallory")));
        assert!(is_forbidden(&mut node.client(&rest_login("eve"))));
    }

    redis.restart();
    let bans = || node.admin().call(|api| api.bans());
    wait_until("the ban in the store", BACK, || {
        bans().is_ok_and(|page| page.items.len() == 1 && page.items[0].stored)
    });
    wait_until("nothing left to remember", BACK, || !file.exists());
    assert!(is_forbidden(&mut from(ip, &node, "mallory")));
    assert!(is_forbidden(&mut node.client(&rest_login("eve"))));
    let page = bans().unwrap();
    let (id, reason) = (page.items[0].id.clone(), "over");
    node.admin()
        .call(|api| api.delete_ban(&id, reason))
        .unwrap();
    wait_until("it to be served again", SOON, || {
        from(ip, &node, "mallory").allocate().is_ok()
    });
}

#[test]
fn sessions_that_come_back_late_meet_the_bans_of_the_meantime() {
    let (mut redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut node = node(&redis, &folder);
    let ip = fresh_ip();
    let mut doomed: Vec<_> = (0..5).map(|_| from(ip, &node, "mallory")).collect();
    let login = |number: usize| Login::rest(&format!("4000000000:user-{number}"), SECRET);
    let mut spared: Vec<_> = (0..5).map(|number| node.client(&login(number))).collect();
    for client in doomed.iter_mut().chain(&mut spared) {
        client.allocate().unwrap();
    }
    wait_until("all in the store", SOON, || records(&redis) == "10");
    redis.cli(&["SAVE"]);
    node.kill();
    redis.kill();
    node.launch();
    node.wait_answering("/healthz");
    wait_until("the node to serve without Redis", BACK, || {
        let mut early = node.client(&rest_login("early"));
        let served = early.allocate().is_ok();
        let _ = early.refresh(0);
        served
    });
    ban(&node, ip);
    // Their sessions are not there yet: nobody ends.
    redis.restart();
    wait_until("the others to go on", BACK, || {
        spared.iter_mut().all(|client| client.refresh(600).is_ok())
    });
    wait_until("those of the banned network to end", BACK, || {
        doomed.iter_mut().all(|client| {
            let refused = client.refresh(600);
            refused.is_err_and(|error| error.code() == Some(437))
        })
    });
    listed(&node, spared.len());
    wait_until("their records to be gone", SOON, || records(&redis) == "5");
    wait_until("five that were banned", SOON, || {
        let (_, metrics) = kit::http::get(node.metrics, "/metrics").unwrap();
        metrics.contains("relayd_allocations_ended_total{cause=\"banned\"} 5\n")
    });
}
