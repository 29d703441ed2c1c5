//! What a node has little of, used up: relay ports, descriptors, permissions of a session. It refuses,
//! serves everything else, and makes room as soon as there is some.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kit::client::{AllocateOptions, TurnClient};
use kit::node::{Node, NodeOptions, rest_login, stored_login};
use kit::wait::{until, wait_for, wait_until};
use relayctl::client::AdminApi as _;

/// Workers tell once a second.
const SOON: Duration = Duration::from_secs(10);

fn with_four_ports(top: &str) -> Node {
    Node::start(NodeOptions {
        relay_ports: "50000-50003",
        max_sessions_per_user: Some(3),
        top: top.to_owned(),
        ..NodeOptions::default()
    })
}

fn used_ports(node: &Node) -> f64 {
    node.sample("relayd_relay_ports_used").unwrap()
}

/// A client with an allocation.
fn allocated(node: &Node, user: &str) -> TurnClient {
    let mut client = node.client(&rest_login(user));
    client.allocate().unwrap();
    client
}

#[test]
fn a_node_without_ports_answers_508_a_full_user_486_and_the_last_release_makes_room() {
    let node = with_four_ports("");
    let mut alice: Vec<_> = (0..3).map(|_| allocated(&node, "alice")).collect();
    let mut surplus = node.client(&rest_login("alice"));
    assert_eq!(surplus.allocate().unwrap_err().code(), Some(486));
    assert_eq!(
        used_ports(&node),
        3.0,
        "a quota bites before a port is taken"
    );
    let mut bob = allocated(&node, "bob");
    let mut carol = node.client(&rest_login("carol"));
    for _ in 0..3 {
        assert_eq!(carol.allocate().unwrap_err().code(), Some(508));
        // Whoever has too many is told so, ports or not: another server would not help.
        assert_eq!(surplus.allocate().unwrap_err().code(), Some(486));
        assert_eq!(carol.binding().unwrap(), carol.local());
        bob.refresh(600).unwrap();
    }
    assert_eq!(alice[0].refresh(0).unwrap(), 0);
    carol.allocate().unwrap();
    assert_eq!(used_ports(&node), 4.0);
    assert_eq!(
        node.client(&rest_login("dan"))
            .allocate()
            .unwrap_err()
            .code(),
        Some(508)
    );
}

#[test]
fn reserved_ports_of_a_small_range_all_come_back() {
    let node = with_four_ports("reservation_lifetime = \"1s\"\n");
    let reserving = AllocateOptions {
        even_port: Some(true),
        ..AllocateOptions::default()
    };
    for round in 0..3 {
        let mut first = node.client(&rest_login(""));
        let mut second = node.client(&rest_login(""));
        let answer = first.allocate_with(reserving).unwrap();
        assert_eq!(answer.relay.port() % 2, 0);
        second.allocate_with(reserving).unwrap();
        // Two in use and two reserved: nobody else has a port.
        let mut third = node.client(&rest_login(""));
        assert_eq!(
            third.allocate_with(reserving).unwrap_err().code(),
            Some(508)
        );
        if round == 0 {
            let claim = AllocateOptions {
                token: answer.token,
                ..AllocateOptions::default()
            };
            let claimed = third.allocate_with(claim).unwrap();
            assert_eq!(claimed.relay.port(), answer.relay.port() + 1);
            assert_eq!(third.refresh(0).unwrap(), 0);
        }
        first.refresh(0).unwrap();
        second.refresh(0).unwrap();
        wait_until("the reservations to end", SOON, || used_ports(&node) == 0.0);
    }
    let _all: Vec<_> = (0..4).map(|_| allocated(&node, "")).collect();
    assert_eq!(used_ports(&node), 4.0);
}

#[test]
fn out_of_descriptors_allocations_are_508_everything_else_works_and_nothing_spins() {
    let node = Node::start(NodeOptions::default());
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    node.limit_descriptors(node.descriptors().len() + 3);
    let mut sessions = Vec::new();
    let mut refused = wait_for("the descriptors to be used up", SOON, || {
        let mut client = node.client(&rest_login(""));
        match client.allocate() {
            Ok(_) => sessions.push(client),
            Err(error) => {
                assert_eq!(error.code(), Some(508), "{error}");
                return Some(client);
            }
        }
        None
    });
    let before = node.cpu_ticks().unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        assert_eq!(refused.allocate().unwrap_err().code(), Some(508));
        assert_eq!(refused.binding().unwrap(), refused.local());
        assert_eq!(client.refresh(600).unwrap(), 600);
        until(Instant::now() + Duration::from_millis(50));
    }
    let ticks = node.cpu_ticks().unwrap() - before;
    assert!(ticks < 50, "{ticks} ticks of 10 ms within a second");
    // One that ends makes room for one, without any new limit.
    if let Some(mut session) = sessions.pop() {
        session.refresh(0).unwrap();
        refused.allocate().unwrap();
    }
    node.limit_descriptors(4096);
    allocated(&node, "");
}

#[test]
fn a_spray_of_permissions_ends_at_the_cap_costs_no_memory_and_is_shown() {
    let node = Node::start(NodeOptions {
        end: "[limits]\npermissions_per_session = 100\n".to_owned(),
        ..NodeOptions::default()
    });
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    let peer = |number: u32| IpAddr::V4(Ipv4Addr::from(0x7f40_0000 + number));
    for number in 0..100 {
        client.permit(&[peer(number)]).unwrap();
    }
    let before = node.resident_bytes().unwrap();
    for number in 100..3_000 {
        let refused = match number % 3 {
            0 => client.bind_channel(0x4000, (peer(number), 9).into()),
            1 => client.permit(&[peer(number)]),
            _ => client.permit(&[peer(1), peer(number), peer(number + 10_000)]),
        };
        assert_eq!(refused.unwrap_err().code(), Some(508));
    }
    // The old ones are renewed as ever.
    client.permit(&[peer(0), peer(99)]).unwrap();
    let growth = node.resident_bytes().unwrap().saturating_sub(before);
    assert!(growth < 2 << 20, "grew by {growth} bytes");
    let id = wait_for("the session to be listed", SOON, || {
        let sessions = node.ctl().items(&["session", "list"]);
        Some(sessions.first()?["id"].as_str()?.to_owned())
    });
    wait_until("the session to show its refusals", SOON, || {
        let detail = node.admin().call(|api| api.session(&id)).unwrap();
        let told = detail
            .refusals
            .iter()
            .filter(|row| row.reason == "too_many_permissions");
        told.map(|row| row.count).sum::<u64>() > 100
    });
    wait_until("an event that says so", SOON, || {
        let events = node.ctl().items(&["event", "list"]);
        events.iter().any(|event| {
            let text = event.to_string();
            text.contains("too_many_permissions") && text.contains(&id)
        })
    });
}
