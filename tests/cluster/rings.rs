//! Sessions of one cluster that talk to each other, and to what they must not.

use std::time::Duration;

use kit::client::{From, fresh_id};
use kit::cluster::Cluster;
use kit::node::{NodeOptions, stored_login};
use kit::wait::wait_until;
use turn_proto::stun::{MessageBuilder, Method};

const SOON: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(300);

#[test]
fn relays_of_two_nodes_talk_but_no_relay_reaches_a_listener_of_another_node() {
    let cluster = Cluster::start_with(&NodeOptions {
        allowed_peers: None,
        ..NodeOptions::default()
    });
    let [here, there, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let (mut alice, mut bob) = (here.client(&stored_login()), there.client(&stored_login()));
    let (near, far) = (
        alice.allocate().unwrap().relay,
        bob.allocate().unwrap().relay,
    );
    // Nothing but relay addresses of the cluster is open, and these as soon as nodes know each other.
    wait_until("the nodes' relays to be peers", SOON, || {
        alice.permit(&[far.ip()]).is_ok() && bob.permit(&[near.ip()]).is_ok()
    });
    alice.send(far, b"from relay to relay").unwrap();
    let got = bob.recv(SOON).unwrap();
    assert_eq!(
        got,
        Some((From::Peer(near), b"from relay to relay".to_vec()))
    );
    bob.send(near, b"and back").unwrap();
    let got = alice.recv(SOON).unwrap();
    assert_eq!(got, Some((From::Peer(far), b"and back".to_vec())));

    // A session at the other node whose client is this relay would be half a ring.
    let bound = alice.bind_channel(0x4000, there.turn);
    assert_eq!(bound.unwrap_err().code(), Some(403));
    for method in [Method::Binding, Method::Allocate] {
        let request = MessageBuilder::request(method, fresh_id()).finish();
        alice.send(there.turn, &request).unwrap();
        assert_eq!(alice.recv(MOMENT).unwrap(), None, "{method:?}");
    }
}
