//! What administration costs the calls that go on meanwhile: packets that a real node relays, with and
//! without somebody who asks for filtered pages all the time, or ends sessions, edits realms and sets limits.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use relayctl::client::{Address, AdminApi, ConnectOptions, HttpAdmin};
use shared::api::ListQuery;

use super::{Effort, Figure};
use crate::client::TurnClient;
use crate::node::{Node, NodeOptions, rest_login};
use crate::operator::Operator;

/// Sessions of the node: each takes a descriptor there and one here, and 20,000 are usual.
const SESSIONS: usize = 8_000;
/// Rows that all questions of a second look at: five pages over 100,000 sessions.
const ROWS_PER_SEC: usize = 500_000;
/// How long packets are counted at a time.
const WINDOW: Duration = Duration::from_secs(2);
/// How often a busy operator begins a round of changes.
const EDITS_EVERY: Duration = Duration::from_millis(100);
/// Windows of each kind, in turns.
const ROUNDS: usize = 5;

/// Relays as fast as one worker can, in turns with and without questions.
///
/// # Errors
/// The node refuses a session or does not answer.
pub async fn beside_lists(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let sessions = if effort.judge { SESSIONS } else { 200 };
    let node = tokio::task::spawn_blocking(|| {
        Node::start(NodeOptions {
            workers: 1,
            ..NodeOptions::default()
        })
    })
    .await?;
    let (turn, socket) = (node.turn, node.socket());
    let clients = tokio::task::spawn_blocking(move || open(turn, sessions)).await??;
    let api = HttpAdmin::new(Address::Unix(socket), ConnectOptions::default())?;
    let load = Load::start(clients)?;
    let asking = Duration::from_secs_f64(sessions as f64 / ROWS_PER_SEC as f64);
    let (mut quiet, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..if effort.judge { ROUNDS } else { 1 } {
        quiet.push(load.count(crate::wait::window(WINDOW)).await);
        asked.push(load.count(ask(&api, asking)).await);
    }
    load.stop();
    drop(node);
    let (quiet, asked) = (median(quiet), median(asked));
    let target = effort.target(5.0);
    Ok(vec![
        Figure {
            what: format!("packets relayed per second, {sessions} sessions"),
            value: quiet,
            target: None,
            unit: "/s",
        },
        Figure {
            what: format!("fewer of them while {ROWS_PER_SEC} rows a second are searched"),
            value: 100.0 * (1.0 - asked / quiet),
            target,
            unit: "%",
        },
    ])
}

/// Relays as fast as one worker can, in turns without an operator, with one who makes some rounds a
/// second, and with one who never rests.
///
/// # Errors
/// The node refuses a session or does not answer.
pub async fn beside_changes(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let node = tokio::task::spawn_blocking(|| {
        Node::start(NodeOptions {
            workers: 1,
            ..NodeOptions::default()
        })
    })
    .await?;
    let (turn, operator) = (node.turn, Operator::new(&node));
    let clients = tokio::task::spawn_blocking(move || open(turn, 1)).await??;
    let load = Load::start(clients)?;
    let operator = Arc::new(Mutex::new(operator));
    let (mut quiet, mut busy, mut restless) = (Vec::new(), Vec::new(), Vec::new());
    let mut restless_rounds = 0;
    for _ in 0..if effort.judge { ROUNDS } else { 1 } {
        quiet.push(load.count(crate::wait::window(WINDOW)).await);
        busy.push(beside(&load, &operator, EDITS_EVERY).await?.0);
        let (rate, rounds) = beside(&load, &operator, Duration::ZERO).await?;
        restless.push(rate);
        restless_rounds += rounds;
    }
    load.stop();
    // It has a runtime of its own, which may not end on a thread of this one.
    tokio::task::spawn_blocking(move || drop((operator, node))).await?;
    let windows = quiet.len() as u32;
    let (least, most) = (quiet.iter().copied(), quiet.iter().copied());
    let (least, most) = (least.fold(f64::MAX, f64::min), most.fold(0.0, f64::max));
    let quiet = median(quiet);
    let fewer = |rates| 100.0 * (1.0 - median(rates) / quiet);
    let per_sec = |rounds: u32| f64::from(rounds) / f64::from(windows) / WINDOW.as_secs_f64();
    Ok(vec![
        Figure {
            what: "packets per second without an operator differ by".to_owned(),
            value: 100.0 * (most - least) / quiet,
            target: None,
            unit: "%",
        },
        Figure {
            what: format!(
                "fewer while a session ends, realm, user and limits change {:.0} times a second",
                1.0 / EDITS_EVERY.as_secs_f64()
            ),
            value: fewer(busy),
            target: effort.target(5.0),
            unit: "%",
        },
        Figure {
            what: format!(
                "and {:.0} times a second, by an operator who never rests",
                per_sec(restless_rounds)
            ),
            value: fewer(restless),
            target: None,
            unit: "%",
        },
    ])
}

/// Packets per second beside an operator who begins a round each `every`, and how many he made.
async fn beside(
    load: &Load,
    operator: &Arc<Mutex<Operator>>,
    every: Duration,
) -> anyhow::Result<(f64, u32)> {
    let operator = Arc::clone(operator);
    let work = tokio::task::spawn_blocking(move || work(&operator, every));
    let mut done = Ok(Ok(0));
    let rate = load.count(async { done = work.await }).await;
    Ok((rate, done??))
}

/// Rounds of an operator for a window, one each `every` or as they can be made, and how many.
fn work(operator: &Mutex<Operator>, every: Duration) -> anyhow::Result<u32> {
    let mut operator = operator.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < WINDOW {
        operator.round()?;
        rounds += 1;
        crate::wait::until(start + rounds * every);
    }
    Ok(rounds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Sessions that stay open.
fn open(turn: std::net::SocketAddr, sessions: usize) -> anyhow::Result<Vec<TurnClient>> {
    let one = |number: usize| {
        let mut client = TurnClient::new(turn, rest_login(&format!("user-{number}")))?;
        client.allocate().context("a session")?;
        anyhow::Ok(client)
    };
    (0..sessions).map(one).collect()
}

/// Asks for filtered top pages, one each `every`, for a window.
async fn ask(api: &HttpAdmin, every: Duration) {
    let query = ListQuery {
        filter: Some("rate>1k user~user-".to_owned()),
        sort: Some("rate:desc".to_owned()),
        limit: Some(50),
        ..ListQuery::default()
    };
    let end = Instant::now() + WINDOW;
    let mut pace = tokio::time::interval(every);
    while Instant::now() < end {
        pace.tick().await;
        // A page that fails is a page less to answer: the count of packets is what matters.
        let _ = api.sessions(&query).await;
    }
}

/// One client that sends as fast as it can, and the peer that counts what arrives.
struct Load {
    arrived: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    _idle: Mutex<Vec<TurnClient>>,
}

impl Load {
    fn start(mut clients: Vec<TurnClient>) -> anyhow::Result<Self> {
        let peer = UdpSocket::bind("127.0.0.1:0")?;
        peer.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut sender = clients.pop().context("a session")?;
        sender.bind_channel(0x4000, peer.local_addr()?)?;
        let arrived = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (Arc::clone(&arrived), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if peer.recv(&mut buffer).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A full socket buffer drops; what arrives is what counts.
                let _ = sender.send_channel(0x4000, &[7; 160]);
            }
        });
        Ok(Self {
            arrived,
            stop,
            _idle: Mutex::new(clients),
        })
    }

    /// Packets per second that arrive while `meanwhile` goes on.
    async fn count(&self, meanwhile: impl Future<Output = ()>) -> f64 {
        let (start, before) = (Instant::now(), self.arrived.load(Ordering::Relaxed));
        meanwhile.await;
        let packets = self.arrived.load(Ordering::Relaxed) - before;
        packets as f64 / start.elapsed().as_secs_f64()
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
