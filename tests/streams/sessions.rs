//! A session lives and dies with its connection.

use kit::node::{Node, NodeOptions, stored_login};
use kit::stream::StreamClient;
use kit::wait::wait_until;

use crate::{Echo, SOON, closed, wait_closed, wait_none_left};

/// Ids of sessions as `relayctl session list` shows them, with their transport.
fn sessions(node: &Node) -> Vec<(String, String)> {
    let items = node.ctl().items(&["session", "list"]);
    let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap().to_owned();
    items
        .iter()
        .map(|item| (text(item, "id"), text(item, "transport")))
        .collect()
}

#[test]
fn a_session_over_tcp_relays_and_is_shown_as_such() {
    let node = Node::start(NodeOptions::default());
    let echo = Echo::start();
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    assert_eq!(
        client.binding().unwrap(),
        client.socket().local_addr().unwrap()
    );
    client.allocate().unwrap();
    client.bind_channel(0x4000, echo.address).unwrap();
    client.send_channel(0x4000, b"hello").unwrap();
    let back = client.recv_channel(SOON).unwrap();
    assert_eq!(back, Some((0x4000, b"hello".to_vec())));
    wait_until("the session to be listed", SOON, || {
        sessions(&node)
            .iter()
            .any(|(_, transport)| transport == "tcp")
    });
    let filtered = node
        .ctl()
        .items(&["session", "list", "-f", "transport=udp"]);
    assert!(filtered.is_empty(), "{filtered:?}");
}

#[test]
fn a_client_that_goes_takes_its_session_with_it() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    wait_until("the session", SOON, || !sessions(&node).is_empty());
    drop(client);
    wait_until("no session", SOON, || sessions(&node).is_empty());
    wait_until("both events", SOON, || {
        let events = node.ctl().items(&["event", "list"]);
        let told = |words: &str| events.iter().any(|event| event.to_string().contains(words));
        told("over tcp") && told("disconnected")
    });
    wait_none_left(&node);
}

#[test]
fn half_a_connection_is_none() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    client.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed(SOON));
    wait_closed(&node, "client", 1.0);
    wait_until("no session", SOON, || sessions(&node).is_empty());
}

#[test]
fn a_killed_session_closes_its_connection_at_once() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    let mut id = String::new();
    wait_until("the session", SOON, || {
        sessions(&node).pop().map(|(found, _)| id = found).is_some()
    });
    let answer = node.ctl().run(&["session", "kill", &id, "--yes"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(client.is_closed(SOON));
    assert_eq!(closed(&node, "ordered"), 1.0);
    wait_none_left(&node);
}

#[test]
fn a_released_session_leaves_its_connection_for_another() {
    let node = Node::start(NodeOptions::default());
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    client.refresh(0).unwrap();
    client.allocate().unwrap();
}
