//! What somebody with a forged source address can make the server send to it: never more than three
//! times what a bare request brought, and never anything about what was no request.

use std::sync::Arc;

use turn_proto::stun::{AttributeType as A, Class, MessageBuilder, Method, TransactionId};
use turn_proto::{NatDiscovery, Policy};

use crate::kit::*;

/// The most that a request of a bare header may draw, in bytes.
const FACTOR: usize = 3;

/// The longest answer to whoever did not authenticate, in bytes, in a realm of eleven letters.
const LONGEST_CHALLENGE: usize = 200;

const V4: &str = "192.0.2.66:40000";
const V6: &str = "[2001:db8::66]:40000";

/// The bytes that `packet` draws, from a client that was never heard of.
fn drawn(net: &mut Net, client: &str, packet: &[u8]) -> usize {
    net.sent.clear();
    assert!(net.client(tuple(client), packet).is_none());
    net.sent.iter().map(|(_, bytes)| bytes.len()).sum()
}

fn header(message_type: u16, id: u8) -> Vec<u8> {
    let mut packet = message_type.to_be_bytes().to_vec();
    packet.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
    packet.extend([id; 12]);
    packet
}

#[test]
fn a_bare_header_of_any_type_draws_at_most_three_times_its_size() {
    let mut net = Net::new();
    let mut answered = 0;
    for client in [V4, V6] {
        for message_type in 0..=u16::MAX {
            let packet = header(message_type, message_type as u8);
            let bytes = drawn(&mut net, client, &packet);
            assert!(
                bytes <= FACTOR * packet.len(),
                "{message_type:#06x}: {bytes}"
            );
            answered += usize::from(bytes > 0);
        }
    }
    // Binding, Allocate, Refresh, CreatePermission and ChannelBind at least, from both families.
    assert!(answered >= 10, "{answered}");
}

#[test]
fn what_is_no_request_draws_nothing() {
    let mut net = Net::new();
    let methods = [
        Method::Binding,
        Method::Allocate,
        Method::Refresh,
        Method::Send,
        Method::Data,
        Method::CreatePermission,
        Method::ChannelBind,
        Method::Connect,
        Method::ConnectionBind,
        Method::ConnectionAttempt,
    ];
    for method in methods {
        for class in [Class::Indication, Class::Success, Class::Error] {
            let message = MessageBuilder::new(class, method, TransactionId([1; 12]));
            let message = message.attribute(A::PADDING, &[0; 100]).finish();
            assert_eq!(drawn(&mut net, V4, &message), 0, "{class:?} {method:?}");
        }
    }
    for first in 0..=u8::MAX {
        for len in [1, 4, 19, 20, 100, 1500] {
            let mut packet = vec![0xff; len];
            packet[0] = first;
            assert_eq!(drawn(&mut net, V4, &packet), 0, "{first:#04x}, {len} bytes");
        }
    }
    assert_eq!(drawn(&mut net, V4, b""), 0);
    assert_eq!(drawn(&mut net, V4, &channel_data(0x4000, &[0; 1000])), 0);
    assert_eq!(drawn(&mut net, V4, &send_to(PEER, &[0; 1000])), 0);
}

#[test]
fn one_request_draws_one_answer_whatever_it_claims() {
    let mut net = Net::new();
    let stranger = Client::at(V4, "mallory", "guess");
    let mut forged = stranger.clone();
    forged.nonce = "x".repeat(60);
    for method in [
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
        Method::ChannelBind,
    ] {
        for request in [
            ask_for(method).finish(),
            ask_for(method).attribute(A::SOFTWARE, b"").finish(),
            ask_for(method).attribute(A(0x7fff), b"").finish(),
            ask_for(method).integrity(b"no key").finish(),
            stranger.sign(ask_for(method)),
            forged.sign(ask_for(method)),
        ] {
            net.sent.clear();
            net.client(tuple(V4), &request);
            assert!(net.sent.len() <= 1, "{method:?}");
            let bytes = net.sent.first().map_or(0, |(_, bytes)| bytes.len());
            // A challenge has the realm's name and a nonce, but no reason and no SOFTWARE.
            assert!(bytes <= LONGEST_CHALLENGE, "{method:?}: {bytes}");
        }
    }
}

#[test]
fn unknown_attributes_are_listed_in_less_than_they_brought() {
    let mut net = Net::new();
    let mut request = ask_for(Method::Binding);
    for kind in 0x1000..0x1100 {
        request = request.attribute(A(kind), b"");
    }
    let request = request.finish();
    assert!(drawn(&mut net, V4, &request) <= request.len());
}

/// What an operator takes on with RFC 5780, which demands four addresses in an answer.
#[test]
fn nat_discovery_draws_what_its_four_addresses_take_and_nothing_beyond() {
    let usage = NatDiscovery {
        others: [(addr(SERVER), addr("198.51.100.2:3479"))].into(),
        padding: true,
        response_port: true,
        ..NatDiscovery::default()
    };
    let mut net = Net::with_policy(Policy {
        nat_discovery: Some(Arc::new(usage)),
        ..policy(vec![realm_policy(REALM)])
    });
    assert_eq!(drawn(&mut net, V4, &ask_for(Method::Binding).finish()), 68);
    for len in [0, 40, 80, 1000, 10_000] {
        let request = ask_for(Method::Binding).attribute(A::PADDING, &vec![0; len]);
        let request = request.finish();
        let bytes = drawn(&mut net, V4, &request);
        assert!(bytes <= request.len().max(72), "{len}: {bytes}");
    }
}
