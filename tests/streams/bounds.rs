//! What strangers may not take up: time, connections, descriptors (security classes "slowloris",
//! "idle TCP", "fd exhaustion").

use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use kit::node::{Node, NodeOptions, stored_login};
use kit::stream::{StreamClient, closes, connect_from};
use kit::wait::{until, wait_until};

use crate::{SOON, closed, node_with, wait_closed, wait_none_left};

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let node = node_with("first_message_timeout = \"1s\"");
    let begin = Instant::now();
    let mut silent = TcpStream::connect(node.turn).unwrap();
    assert!(closes(&mut silent, SOON));
    assert!(begin.elapsed() >= Duration::from_millis(900));
    wait_closed(&node, "first_message_timeout", 1.0);
    wait_none_left(&node);
}

#[test]
fn a_message_that_drips_in_has_no_more_time_than_one_that_does_not_come() {
    let node = node_with("first_message_timeout = \"1s\"");
    let mut drip = TcpStream::connect(node.turn).unwrap();
    let begin = Instant::now();
    let bytes = [0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
    // A byte each 100 ms would take minutes for the 4 KiB that it claims.
    let mut sent = bytes.iter().chain(std::iter::repeat(&0));
    let mut next = begin;
    while drip.write_all(&[*sent.next().unwrap()]).is_ok() {
        assert!(begin.elapsed() < SOON, "still open");
        next += Duration::from_millis(100);
        until(next);
    }
    assert_eq!(closed(&node, "first_message_timeout"), 1.0);
}

#[test]
fn a_connection_without_a_session_is_closed_however_much_it_talks() {
    let node = node_with("max_allocate_timeout = \"1s\"");
    let mut chatty = StreamClient::tcp(node.turn, stored_login()).unwrap();
    let begin = Instant::now();
    while chatty.binding().is_ok() {
        assert!(begin.elapsed() < SOON, "still open");
    }
    assert_eq!(closed(&node, "allocate_timeout"), 1.0);
}

#[test]
fn a_session_keeps_its_connection_and_its_end_starts_the_clock_again() {
    let node = node_with("max_allocate_timeout = \"1s\"\nfirst_message_timeout = \"1s\"");
    let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
    client.allocate().unwrap();
    assert!(!client.is_closed(Duration::from_secs(3)));
    client.refresh(0).unwrap();
    assert!(client.is_closed(SOON));
    assert_eq!(closed(&node, "allocate_timeout"), 1.0);
}

#[test]
fn a_source_has_so_many_connections_and_those_with_a_session_do_not_count() {
    let node = node_with("max_per_source = 3");
    let mut sessions: Vec<_> = (0..5)
        .map(|_| {
            let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
            client.allocate().unwrap();
            client
        })
        .collect();
    let open: Vec<_> = (0..3)
        .map(|_| {
            let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
            client.binding().unwrap();
            client
        })
        .collect();
    let mut surplus = TcpStream::connect(node.turn).unwrap();
    assert!(closes(&mut surplus, SOON));
    assert_eq!(closed(&node, "source_limit"), 1.0);
    // Another source is none of their business.
    let other: IpAddr = "127.0.0.99".parse().unwrap();
    let socket = connect_from(other, node.turn).unwrap();
    let mut stranger = StreamClient::over(socket, stored_login()).unwrap();
    stranger.binding().unwrap();
    for client in &mut sessions {
        client.refresh(600).unwrap();
    }
    drop(open);
    wait_until("a place for another one", SOON, || {
        StreamClient::tcp(node.turn, stored_login())
            .and_then(|mut client| client.binding().map_err(std::io::Error::other))
            .is_ok()
    });
}

#[test]
fn the_node_has_so_many_connections_and_udp_does_not_notice() {
    let node = node_with("max = 4");
    let open: Vec<_> = (0..4)
        .map(|_| {
            let mut client = StreamClient::tcp(node.turn, stored_login()).unwrap();
            client.binding().unwrap();
            client
        })
        .collect();
    let mut surplus = TcpStream::connect(node.turn).unwrap();
    assert!(closes(&mut surplus, SOON));
    assert_eq!(closed(&node, "node_limit"), 1.0);
    node.client(&stored_login()).allocate().unwrap();
    drop(open);
    wait_none_left(&node);
}

#[test]
fn limits_change_while_the_node_serves() {
    let node = node_with("max_per_source = 1");
    let mut first = StreamClient::tcp(node.turn, stored_login()).unwrap();
    first.binding().unwrap();
    let mut surplus = TcpStream::connect(node.turn).unwrap();
    assert!(closes(&mut surplus, SOON));
    let set = [
        "config",
        "set",
        "connections.max_per_source=2",
        "--all",
        "--yes",
    ];
    let answer = node.ctl().run(&set);
    assert_eq!(answer.code, 0, "{answer:?}");
    wait_until("the new limit", SOON, || {
        StreamClient::tcp(node.turn, stored_login())
            .and_then(|mut client| client.binding().map_err(std::io::Error::other))
            .is_ok()
    });
}

#[test]
fn out_of_descriptors_accepting_pauses_without_spinning_and_recovers() {
    let node = Node::start(NodeOptions::default());
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    node.limit_descriptors(node.descriptors().len() + 2);
    let waiting: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(node.turn).unwrap())
        .collect();
    wait_until("accepting to pause", SOON, || {
        node.metric("relayd_accept_pauses_total")
            .is_none_or(|n| n > 0.0)
    });
    // The clients of UDP notice nothing, and nothing spins.
    let before = node.cpu_ticks().unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        client.refresh(600).unwrap();
        until(Instant::now() + Duration::from_millis(50));
    }
    let ticks = node.cpu_ticks().unwrap() - before;
    assert!(ticks < 50, "{ticks} ticks of 10 ms within a second");
    node.limit_descriptors(4096);
    drop(waiting);
    let mut late = StreamClient::tcp(node.turn, stored_login()).unwrap();
    late.binding().unwrap();
}
