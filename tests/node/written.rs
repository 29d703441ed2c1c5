//! What an answer is worth when the node is killed at any moment: what was acknowledged 250 ms before is in the store,
//! whatever else is being written.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::client::{Login, TurnClient};
use kit::cluster::cluster_key;
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, SECRET};
use kit::redis::RedisServer;
use kit::survivors::CHANNEL;
use kit::wait::wait_until;
use serde_json::Value;

/// What was acknowledged longer ago is in the store.
const PROMISE: Duration = Duration::from_millis(250);
/// Clients that come and go at once.
const CALLERS: usize = 12;
/// How old a session gets before its caller releases it. The oldest are older than what may be lost, however fast
/// the callers are.
const KEPT: Duration = PROMISE.saturating_mul(6);
/// How long they come and go before the end.
const CHURN: Duration = Duration::from_secs(4);
/// Sessions that are asked for an echo afterwards.
const ASKED: usize = 50;
const SOON: Duration = Duration::from_secs(15);

/// User, client and relay address, as the list of sessions has them. Each session has a user of its own: addresses
/// alone come again.
type Row = [String; 3];

/// A session, by the last answer about it.
struct Acknowledged {
    user: String,
    client: TurnClient,
    relay: SocketAddr,
    at: Instant,
}

impl Acknowledged {
    fn row(&self) -> Row {
        let [client, relay] = [self.client.local(), self.relay].map(|address| address.to_string());
        [self.user.clone(), client, relay]
    }

    /// Whether an echo of the peer comes through the channel.
    fn goes_on(&mut self) -> bool {
        let mut echo = || {
            self.client.send_channel(CHANNEL, b"still there?").ok()?;
            self.client.recv(Duration::from_millis(500)).ok()?
        };
        (0..6).any(|_| echo().is_some())
    }
}

/// What one caller was told.
#[derive(Default)]
struct Told {
    lives: VecDeque<Acknowledged>,
    /// With the time of the answer.
    released: Vec<(Row, Instant)>,
}

impl Told {
    /// Calls, binds a channel and hangs up again until `stop`.
    fn churn(server: SocketAddr, caller: usize, peer: SocketAddr, stop: &AtomicBool) -> Self {
        let mut told = Self::default();
        for call in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let user = format!("4000000000:user-{caller}-{call}");
            let login = Login::rest(&user, SECRET);
            let mut client = TurnClient::new(server, login).unwrap();
            // The node ends under one of these requests; what comes of that one is nobody's promise.
            let Ok(allocated) = client.allocate() else {
                continue;
            };
            if client.bind_channel(CHANNEL, peer).is_err() {
                continue;
            }
            told.lives.push_back(Acknowledged {
                user,
                client,
                relay: allocated.relay,
                at: Instant::now(),
            });
            told.release_older();
        }
        told
    }

    /// Releases one that is old enough, so that they come and go equally fast, or two where there are more.
    fn release_older(&mut self) {
        let is_old = |one: &mut Acknowledged| one.at.elapsed() > KEPT;
        for _ in 0..2 {
            let Some(mut oldest) = self.lives.pop_front_if(is_old) else {
                return;
            };
            if oldest.client.refresh(0).is_ok() {
                self.released.push((oldest.row(), Instant::now()));
            }
        }
    }
}

/// The age at the end of the youngest acknowledgement of which all older ones hold.
fn worth(broken: impl Iterator<Item = Instant>, killed: Instant) -> Duration {
    let ages = broken.map(|at| killed.saturating_duration_since(at));
    ages.max().unwrap_or_default()
}

/// Client and relay addresses of all sessions.
fn listed(node: &Node) -> HashSet<Row> {
    let rows = node.ctl().items(&["session", "list", "--all"]);
    let row = |row: &Value| {
        ["username", "client", "relay"].map(|name| row[name].as_str().unwrap().to_owned())
    };
    rows.iter().map(row).collect()
}

/// What all callers were told while the node ended amid their requests, and when it did.
fn kill_amid_churn(node: &mut Node, peer: SocketAddr) -> (Vec<Told>, Instant) {
    let stop = &AtomicBool::new(false);
    let server = node.turn;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || Told::churn(server, caller, peer, stop)))
            .collect();
        let end = Instant::now() + CHURN;
        wait_until("clients to come and go", SOON, || Instant::now() >= end);
        node.kill();
        let killed = Instant::now();
        stop.store(true, Ordering::Relaxed);
        node.launch();
        node.wait_ready();
        let told = callers.into_iter().map(|one| one.join().unwrap());
        (told.collect(), killed)
    })
}

#[expect(clippy::print_stderr, reason = "the bound is the result")]
fn holds(mut node: Node, store: &str) {
    let _ = turn_udp::sys::raise_descriptor_limit();
    let peer = Peer::start();
    let (told, killed) = kill_amid_churn(&mut node, peer.address);
    let (mut lives, mut released) = (Vec::new(), Vec::new());
    for one in told {
        lives.extend(one.lives.into_iter().filter(|one| one.at < killed));
        released.extend(one.released.into_iter().filter(|(_, at)| *at < killed));
    }
    let listed = listed(&node);
    let back = released.iter().filter(|(row, _)| listed.contains(row));
    let revived = worth(back.map(|(_, at)| *at), killed);
    let gone = lives.iter().filter(|one| !listed.contains(&one.row()));
    let lost = worth(gone.map(|one| one.at), killed);
    let oldest = worth(lives.iter().map(|one| one.at), killed);
    eprintln!(
        "{store}: of {} sessions with a channel, up to {oldest:?} old, and {} released in {CHURN:?}, what was older \
         than {lost:?} was all there, and what was older than {revived:?} all gone (promised {PROMISE:?})",
        lives.len(),
        released.len()
    );
    assert!(oldest > 5 * PROMISE, "too young to tell");
    assert!(!released.is_empty(), "nobody hung up");
    assert!(lost < 5 * PROMISE, "lost after {lost:?}");
    assert!(revived < 5 * PROMISE, "revived after {revived:?}");
    lives.retain(|one| listed.contains(&one.row()));
    let step = lives.len().div_ceil(ASKED);
    for one in lives.iter_mut().step_by(step) {
        assert!(one.goes_on(), "{} is listed and silent", one.relay);
    }
}

#[test]
fn what_was_acknowledged_250_ms_ago_is_in_sqlite() {
    holds(Node::start(NodeOptions::default()), "SQLite");
}

#[test]
fn what_was_acknowledged_250_ms_ago_is_in_redis() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        ..NodeOptions::default()
    });
    holds(node, "Redis");
}
