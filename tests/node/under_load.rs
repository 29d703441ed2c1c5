//! Administration beside traffic at full rate: no packet of an untouched session is lost, doubled or changed.

use std::sync::atomic::{AtomicBool, Ordering};

use kit::flow::{Flow, Manner};
use kit::node::{Node, NodeOptions, rest_login};
use kit::operator::Operator;

/// Rounds of everything that an operator does.
const ROUNDS: usize = 12;
/// Payloads of each flow and direction that are on their way at once.
const BURST: [usize; 24] = [160; 24];

/// Ends the traffic when it is dropped, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn lists_kills_edits_and_limits_cost_untouched_sessions_no_packet() {
    let node = Node::start(NodeOptions {
        workers: 1,
        ..NodeOptions::default()
    });
    let numbered = (0..).zip(Manner::all());
    let mut flows: Vec<Flow> = numbered
        .map(|(number, manner)| {
            let login = rest_login(&format!("user-{number}"));
            Flow::open(node.turn, login, number, manner)
        })
        .collect();
    // Once before anything is touched, to know what one burst is.
    exchange(&mut flows);
    let first = arrived(&flows);
    assert_eq!(first, 8 * 2 * BURST.len() as u64);
    let done = AtomicBool::new(false);
    let mut operator = Operator::new(&node);
    std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            let _ending = Ending(&done);
            for _ in 0..ROUNDS {
                operator.round().unwrap();
            }
        });
        while !done.load(Ordering::Relaxed) {
            exchange(&mut flows);
        }
        rounds.join().unwrap();
    });
    let all = arrived(&flows);
    assert!(all > first * ROUNDS as u64, "{all} payloads");
    flows.into_iter().for_each(Flow::finish);
    assert_eq!(node.metric("relayd_sessions"), Some(8.0));
}

/// Sends a burst of each flow in both directions and takes all of it.
fn exchange(flows: &mut [Flow]) {
    for flow in flows.iter_mut() {
        flow.up(&BURST);
        flow.down(&BURST);
    }
    flows.iter_mut().for_each(Flow::settle);
}

fn arrived(flows: &[Flow]) -> u64 {
    flows.iter().map(Flow::arrived).sum()
}
