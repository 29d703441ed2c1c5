//! What a client and the node may use, as coturn's numbers say it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use kit::client::{Login, TurnClient};
use kit::redis::RedisServer;
use kit::subscriber::Subscriber;
use kit::turnserver::{self, Turnserver};
use kit::wait::wait_until;

use crate::start::Migrated;

const BASE: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
const FLAGS: &[&str] = &[
    "-c",
    "turnserver.conf",
    "--allow-loopback-peers",
    "--accept-open-peers",
];
const SOON: Duration = Duration::from_secs(20);
/// Bytes per second that a client may have, how many times as much is offered, and how long it may save up what it
/// does not use (`limits.rate_burst_ms`).
const RATE: f64 = 50_000.0;
const OFFERED: f64 = 4.0;
const BURST: Duration = Duration::from_millis(400);
const PAYLOAD: usize = 1000;
const WINDOW: Duration = Duration::from_secs(6);
const CHANNEL: u16 = 0x4000;

fn alice() -> Login {
    Login::new("alice", "wonderland-wonder")
}

fn node(lines: &str) -> Migrated {
    Migrated::start(&format!("{BASE}{lines}\n"), FLAGS)
}

/// Offers both directions the same; the bytes that arrived of it in the peer and in the client, and in what time.
fn arrived(client: &mut TurnClient, peer: &UdpSocket) -> ([f64; 2], Duration) {
    let relay = client.allocate().unwrap().relay;
    client
        .bind_channel(CHANNEL, peer.local_addr().unwrap())
        .unwrap();
    peer.set_nonblocking(true).unwrap();
    client.socket().set_nonblocking(true).unwrap();
    let (payload, mut buffer) = ([7; PAYLOAD], [0; 2048]);
    let (begin, mut sent, mut arrived) = (Instant::now(), 0, [0_usize; 2]);
    while begin.elapsed() < WINDOW {
        let due = (begin.elapsed().as_secs_f64() * OFFERED * RATE) as usize / PAYLOAD;
        for _ in sent..due {
            client.send_channel(CHANNEL, &payload).unwrap();
            peer.send_to(&payload, relay).unwrap();
        }
        sent = due.max(sent);
        while peer.recv_from(&mut buffer).is_ok() {
            arrived[0] += 1;
        }
        while client.socket().recv_from(&mut buffer).is_ok() {
            arrived[1] += 1;
        }
        std::thread::yield_now();
    }
    (
        arrived.map(|count| (count * PAYLOAD) as f64),
        begin.elapsed(),
    )
}

#[test]
fn a_client_gets_its_rate_in_each_direction_and_not_more() {
    let peer = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let limited = node(&format!("max-bps={RATE}"));
    let (bytes, time) = arrived(&mut limited.client(&alice()), &peer());
    let most = RATE * (time + BURST).as_secs_f64();
    for bytes in bytes {
        // Who offers in fits and starts, on a busy machine, gets less than the rate.
        let least = most / 5.0;
        assert!(
            bytes > least && bytes <= most,
            "{least} < {bytes} <= {most} in {time:?}"
        );
    }
    let unlimited = node("");
    let (bytes, time) = arrived(&mut unlimited.client(&alice()), &peer());
    let most = RATE * (time + BURST).as_secs_f64();
    for bytes in bytes {
        assert!(bytes > most, "{bytes} in {time:?} without a limit");
    }
}

/// Answers to so many Allocate requests, one after the other: 0, or the code.
fn allocate(clients: &mut [TurnClient]) -> Vec<u16> {
    let answers = clients.iter_mut().map(|client| match client.allocate() {
        Ok(_) => 0,
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")),
    });
    answers.collect()
}

#[test]
fn a_capacity_takes_as_many_sessions_of_the_rate_as_coturns_and_refuses_the_next() {
    // Two and a half of them: the third gets what is left.
    let lines = "max-bps=64000\nbps-capacity=160000";
    let node = node(lines);
    let options = ["--max-bps=64000", "--bps-capacity=160000"];
    let coturn = Turnserver::start_with(&[&["--no-tls", "--no-dtls"], &options[..]].concat());
    let of_coturn = || {
        let (name, password) = turnserver::USER;
        TurnClient::new(coturn.address, Login::new(name, password)).unwrap()
    };
    let mut theirs: Vec<_> = (0..4).map(|_| of_coturn()).collect();
    let mut ours: Vec<_> = (0..4).map(|_| node.client(&alice())).collect();
    assert_eq!(allocate(&mut theirs), [0, 0, 0, 486]);
    assert_eq!(allocate(&mut ours), [0, 0, 0, 486]);
    ours[0].refresh(0).unwrap();
    wait_until("the place of a session that ended", SOON, || {
        node.client(&alice()).allocate().is_ok()
    });
}

#[test]
fn sessions_are_told_to_the_statistics_database_of_the_file() {
    let redis = RedisServer::start();
    let subscriber = Subscriber::start(&redis);
    let node = node(&format!(
        "redis-statsdb=\"ip=127.0.0.1 dbname=0 port={} connect_timeout=30\"",
        redis.port
    ));
    let mut client = node.client(&alice());
    client.allocate().unwrap();
    let told = |text: &str| {
        let messages = subscriber.messages().into_iter();
        let mut of_alice =
            messages.filter(|(name, _)| name.starts_with("turn/realm/north.gov/user/alice/"));
        of_alice.any(|(name, said)| name.ends_with("/status") && said.starts_with(text))
    };
    wait_until("its begin", SOON, || told("new lifetime=600"));
    client.refresh(0).unwrap();
    wait_until("its end", SOON, || told("deleted"));
}
