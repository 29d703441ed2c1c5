//! `turnutils_uclient -M`: each of its clients changes its address and takes its session along.

use std::time::Duration;

use kit::coturn::{FOR_UCLIENT, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};

use crate::uclient::{assert_at_least, in_turn};

fn moved_clients_lose_nothing(workers: u16, way: Way) {
    let _turn = in_turn();
    let node = Node::start(NodeOptions {
        workers,
        max_sessions_per_user: Some(100),
        top: format!("{FOR_UCLIENT}mobility = true\n"),
        ..NodeOptions::default()
    });
    let uclient = Uclient {
        server: node.turn,
        login: stored_login(),
        way,
        clients: 10,
        messages: 50,
        flags: &["-M"],
        peer: None,
    };
    let totals = uclient.run(Duration::from_secs(120));
    assert_at_least(500, &totals);
    assert_eq!(totals.refusals, [0; 0], "{}", totals.text);
}

#[test]
fn moved_clients_lose_nothing_on_one_worker() {
    moved_clients_lose_nothing(1, Way::Channels);
}

#[test]
fn moved_clients_lose_nothing_on_four_workers() {
    moved_clients_lose_nothing(4, Way::Channels);
    moved_clients_lose_nothing(4, Way::Indications);
}
