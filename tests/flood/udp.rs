//! A million random and mutated datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::address::fresh_ip;
use kit::client::TurnClient;
use kit::node::{Node, NodeOptions, stored_login};
use kit::wait::wait_until;

use crate::datagrams::Datagrams;
use crate::{Over, assert_flat, settled_memory};

/// The counter of datagrams that came to listeners.
const RECEIVED: &str = "relayd_messages_received_total{transport=\"udp\"}";
const FIRST: u64 = 100_000;
const ALL: u64 = 1_000_000;
/// Datagrams between two looks at the counter.
const ROUND: u64 = 2_000;
/// How far the flood may run ahead of the node: less than its receive buffers hold.
const AHEAD: u64 = 500;

#[test]
fn a_million_bad_datagrams_cost_no_memory_and_keep_nobody_out() {
    let node = Node::start(NodeOptions::default());
    let done = AtomicBool::new(false);
    let (after_first, after_all, sessions) = std::thread::scope(|scope| {
        let genuine = scope.spawn(|| genuine_sessions(&node, &done));
        let over = Over(&done);
        let mut flood = Flood::new(&node);
        flood.run_until(FIRST);
        let after_first = settled_memory(&node);
        flood.run_until(ALL);
        let after_all = settled_memory(&node);
        drop(over);
        (after_first, after_all, genuine.join().unwrap())
    });
    let received = node.sample(RECEIVED).unwrap();
    assert!(received >= 0.9 * 1e6, "received only {received}");
    assert_flat(after_first, after_all);
    assert!(
        sessions > 10,
        "only {sessions} sessions of a genuine client meanwhile"
    );
}

/// Allocates and deletes until `done`; how often that worked. Every failure ends the test.
fn genuine_sessions(node: &Node, done: &AtomicBool) -> u32 {
    let (home, mut sessions) = (fresh_ip(), 0);
    while !done.load(Ordering::Relaxed) {
        // From an address of its own: what one source draws without a nonce is limited.
        let local = SocketAddr::new(home, 0);
        let mut client = TurnClient::bound(local, node.turn, stored_login()).unwrap();
        client.allocate().unwrap();
        assert_eq!(client.refresh(0).unwrap(), 0);
        sessions += 1;
    }
    sessions
}

struct Flood<'n> {
    node: &'n Node,
    sockets: Vec<UdpSocket>,
    datagrams: Datagrams,
    sent: u64,
}

impl<'n> Flood<'n> {
    fn new(node: &'n Node) -> Self {
        let sockets = (0..16)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            node,
            sockets,
            datagrams: Datagrams::seeded(),
            sent: 0,
        }
    }

    /// Sends until `total` were sent, no faster than the node receives.
    fn run_until(&mut self, total: u64) {
        while self.sent < total {
            for _ in 0..ROUND.min(total - self.sent) {
                let socket = &self.sockets[usize::try_from(self.sent % 16).unwrap()];
                // A full send buffer or an ICMP error costs one datagram, which the 90 % allow.
                let _ = socket.send_to(self.datagrams.next(), self.node.turn);
                self.sent += 1;
            }
            self.keep_pace();
        }
    }

    /// Waits until the node has received almost all, or clearly never will.
    fn keep_pace(&self) {
        let begun = Instant::now();
        let mut last = 0.0;
        wait_until(
            "the node to keep receiving",
            Duration::from_secs(30),
            || {
                let received = self.node.sample(RECEIVED).unwrap_or(0.0);
                let stuck = received <= last && begun.elapsed() > Duration::from_millis(300);
                last = received;
                #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
                let near = received + AHEAD as f64 >= self.sent as f64;
                near || stuck
            },
        );
    }
}
