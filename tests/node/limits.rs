//! Limits of users over the workers of a node, measured by what arrives.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kit::client::TurnClient;
use kit::node::{Node, NodeOptions, REALM, USER, stored_login};
use kit::wait::{wait_for, wait_until};
use relayctl::client::AdminApi as _;

const RATE: u64 = 1_000_000;
const WINDOW: Duration = Duration::from_secs(5);
const PAYLOAD: usize = 1000;
const SOON: Duration = Duration::from_secs(5);

/// Two sessions of one user on two workers, each with a channel to the sink.
fn sessions(node: &Node, sink: std::net::SocketAddr) -> Vec<TurnClient> {
    let mut clients = Vec::new();
    wait_for("sessions on both workers", Duration::from_secs(20), || {
        let mut client = node.client(&stored_login());
        client.allocate().ok()?;
        client.bind_channel(0x4000, sink).ok()?;
        clients.push(client);
        let rows = node.ctl().items(&["session", "list"]);
        let workers: BTreeSet<_> = rows
            .iter()
            .filter_map(|row| row["worker"].as_u64())
            .collect();
        (workers.len() == 2).then_some(())
    });
    clients
}

#[test]
fn the_rate_of_a_user_holds_over_the_workers_and_shows_where_an_operator_looks() {
    let node = Node::start(NodeOptions {
        end: format!("max_user_rate_bps = {RATE}\n"),
        ..NodeOptions::default()
    });
    let sink = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_nonblocking(true).unwrap();
    let clients = sessions(&node, sink.local_addr().unwrap());
    let (payload, mut buffer) = ([7; PAYLOAD], [0; 2048]);
    let (begin, mut arrived) = (Instant::now(), Vec::new());
    // Four times the limit, in all, for two seconds longer than the window.
    let mut sent = 0;
    while begin.elapsed() < WINDOW + Duration::from_secs(2) {
        let due = (begin.elapsed().as_secs_f64() * 4.0 * RATE as f64 / 8.0) as usize / PAYLOAD;
        for number in sent..due.max(sent) {
            clients[number % clients.len()]
                .send_channel(0x4000, &payload)
                .unwrap();
        }
        sent = due.max(sent);
        while let Ok((bytes, _)) = sink.recv_from(&mut buffer) {
            arrived.push((begin.elapsed(), bytes as u64 * 8));
        }
        std::thread::yield_now();
    }
    let bound = 5 * RATE * 11 / 10 + PAYLOAD as u64 * 8;
    for (start, _) in &arrived {
        let inside = arrived
            .iter()
            .filter(|(at, _)| at >= start && *at < *start + WINDOW);
        let bits: u64 = inside.map(|(_, bits)| bits).sum();
        assert!(bits <= bound, "{bits} bits in five seconds from {start:?}");
    }
    let first: u64 = arrived
        .iter()
        .filter(|(at, _)| *at < WINDOW)
        .map(|(_, b)| b)
        .sum();
    assert!(
        first >= 5 * RATE * 8 / 10,
        "{first}: the user gets what it may have"
    );
    let refused = wait_for("the explanation", SOON, || {
        let rows = node
            .ctl()
            .items(&["refusals", "--recent", "--filter", "reason=user_rate"]);
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(refused[0]["user"], USER.0);
    assert_eq!(refused[0]["realm"], REALM);
    let row = &node
        .ctl()
        .items(&["session", "list", "--sort", "throttled:desc"])[0];
    assert!(row["throttled"].as_u64() > Some(0), "{row}");
    let id = row["id"].as_str().unwrap().to_owned();
    let detail = node.admin().call(|api| api.session(&id)).unwrap();
    assert_eq!(detail.rate_limits.user_bps, Some(RATE));
    assert!(detail.drops_by_reason["over_user_rate"] > 0);
    let answer = node.ctl().run(&["refusals", "--explain", "user_rate"]);
    assert!(answer.stdout.contains("max_user_rate_bps"), "{answer:?}");
}

#[test]
fn a_limit_that_is_set_while_the_node_serves_holds_at_once_and_ends_with_its_override() {
    let node = Node::start(NodeOptions::default());
    let mut first = node.client(&stored_login());
    first.allocate().unwrap();
    let config = |words: &[&str]| {
        let done = node
            .ctl()
            .run(&[&["config"], words, &["--node", "ams1", "--yes"]].concat());
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    };
    config(&["set", "limits.max_sessions=1", "redirects.probe_misses=7"]);
    wait_until("the limit to hold", SOON, || {
        let answer = node.client(&stored_login()).allocate();
        answer.err().and_then(|refused| refused.code()) == Some(508)
    });
    let misses = node
        .ctl()
        .json(&["config", "get", "redirects.probe_misses"]);
    assert_eq!(
        (&misses["value"], &misses["applies"]),
        (&7.into(), &"live".into())
    );
    first.refresh(600).unwrap();
    config(&["unset", "limits.max_sessions"]);
    wait_until("the limit to be gone", SOON, || {
        node.client(&stored_login()).allocate().is_ok()
    });
}
