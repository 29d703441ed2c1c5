//! Hosts with several addresses.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kit::client::fresh_id;
use kit::netns::{ip, isolated};
use kit::node::{Node, NodeOptions};
use turn_proto::stun::{MessageBuilder, Method};

#[test]
fn an_answer_leaves_from_the_address_its_request_came_to() {
    isolated(
        "addresses::an_answer_leaves_from_the_address_its_request_came_to",
        || {
            let addresses = ["10.1.0.1", "10.1.0.2", "fd01::1", "fd01::2"];
            for address in addresses {
                ip(&format!("address add {address} dev lo"));
            }
            let listen = "0.0.0.0:3478,[::]:3478".to_owned();
            let _node = Node::start(NodeOptions {
                environment: vec![("RELAYD_LISTEN".to_owned(), listen)],
                ..NodeOptions::default()
            });
            for address in addresses {
                let server = SocketAddr::new(address.parse().unwrap(), 3478);
                // The system picks the client's address, and would pick the server's too.
                let any = if server.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                for _ in 0..8 {
                    let client = UdpSocket::bind(any).unwrap();
                    let wait = Some(Duration::from_secs(5));
                    client.set_read_timeout(wait).unwrap();
                    let request = MessageBuilder::request(Method::Binding, fresh_id()).finish();
                    client.send_to(&request, server).unwrap();
                    let (_, source) = client.recv_from(&mut [0; 500]).unwrap();
                    assert_eq!(source, server);
                }
            }
        },
    );
}
