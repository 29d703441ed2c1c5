//! `turnutils_natdiscovery` against `relayd` with RFC 5780 on two loopback addresses.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::client::fresh_id;
use kit::node::{Node, NodeOptions};
use kit::program;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};

const DEADLINE: Duration = Duration::from_secs(60);

/// A node with two addresses and two ports.
struct Discovery {
    _node: Node,
    first: SocketAddr,
    second: SocketAddr,
}

impl Discovery {
    fn start(top: &str) -> Self {
        let (first, second) = (free_port(fresh_ip()), fresh_ip());
        let second = SocketAddr::new(second, first.port());
        let node = Node::start(NodeOptions {
            top: format!("rfc5780 = true\n{top}"),
            environment: vec![("RELAYD_LISTEN".to_owned(), format!("{first},{second}"))],
            ..NodeOptions::default()
        });
        Self {
            _node: node,
            first,
            second,
        }
    }

    /// What coturn's tool says about the way to the first address.
    fn tool(&self, options: &[&str]) -> String {
        let (ip, port) = (self.first.ip().to_string(), self.first.port().to_string());
        let mut arguments = options.to_vec();
        arguments.extend(["-p", &port, &ip]);
        let output = program::run("coturn", "turnutils_natdiscovery", &arguments, DEADLINE);
        program::text(&output)
    }
}

#[test]
fn the_tool_finds_no_nat_in_front_of_loopback() {
    let discovery = Discovery::start("");
    let mapping = discovery.tool(&["-m", "-L", "127.0.0.1"]);
    assert!(mapping.contains("No NAT!"), "{mapping}");
    assert!(mapping.contains("No ALG"), "{mapping}");
    let mapping = discovery.tool(&["-m"]);
    assert!(
        mapping.contains("NAT with Endpoint Independent Mapping!"),
        "{mapping}"
    );
    let filtering = discovery.tool(&["-f"]);
    assert!(
        filtering.contains("NAT with Endpoint Independent Filtering!"),
        "{filtering}"
    );
}

#[test]
fn the_tool_gets_padding_and_response_port_where_they_are_switched_on() {
    let discovery = Discovery::start("rfc5780_padding = true\nrfc5780_response_port = true\n");
    for options in [&["-m", "-P"][..], &["-f", "-P"], &["-t", "-T", "1"]] {
        let text = discovery.tool(options);
        assert!(text.contains("RFC 5780 response 2"), "{text}");
        assert!(!text.contains("error"), "{text}");
    }
}

#[test]
fn what_is_switched_off_is_refused() {
    let discovery = Discovery::start("");
    let padding = discovery.tool(&["-m", "-P"]);
    assert!(padding.contains("error 420"), "{padding}");
    let lifetime = discovery.tool(&["-t", "-T", "1"]);
    assert!(!lifetime.contains("RFC 5780 response 2"), "{lifetime}");
}

#[test]
fn answers_leave_from_all_four_sockets() {
    let discovery = Discovery::start("");
    let (first, second) = (discovery.first, discovery.second);
    let alt = first.port() + 1;
    for (flags, source) in [
        (0, first),
        (4, second),
        (2, SocketAddr::new(first.ip(), alt)),
        (6, SocketAddr::new(second.ip(), alt)),
    ] {
        // From every worker: clients are spread by their ports.
        for _ in 0..8 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let request = MessageBuilder::request(Method::Binding, fresh_id())
                .attribute(A::CHANGE_REQUEST, &[0, 0, 0, flags])
                .finish();
            client.send_to(&request, first).unwrap();
            let mut buffer = [0; 500];
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(from, source);
            let answer = Message::parse(&buffer[..len]).unwrap();
            let origin = answer.plain_address(A::RESPONSE_ORIGIN).unwrap();
            assert_eq!(origin, Some(source));
            let other = answer.plain_address(A::OTHER_ADDRESS).unwrap();
            assert_eq!(other, Some(SocketAddr::new(second.ip(), alt)));
            let mapped = answer.plain_address(A::MAPPED_ADDRESS).unwrap();
            assert_eq!(mapped, Some(client.local_addr().unwrap()));
        }
    }
}
