//! NAT behaviour discovery (RFC 5780 §6, §7).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::Transport;
use turn_proto::stun::{AttributeType as A, Message, MessageBuilder, Method};
use turn_proto::{FiveTuple, NatDiscovery, Policy};

use crate::kit::*;

const A1: &str = "198.51.100.1";
const A2: &str = "198.51.100.2";
const P1: u16 = 3478;
const P2: u16 = 3479;

fn usage() -> NatDiscovery {
    let mut others = HashMap::new();
    for (ip, other_ip) in [(A1, A2), (A2, A1)] {
        for (port, other_port) in [(P1, P2), (P2, P1)] {
            let at = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
            others.insert(at(ip, port), at(other_ip, other_port));
        }
    }
    NatDiscovery {
        others,
        ..NatDiscovery::default()
    }
}

fn net(usage: NatDiscovery) -> Net {
    Net::with_policy(Policy {
        nat_discovery: Some(Arc::new(usage)),
        ..policy(vec![realm_policy(REALM)])
    })
}

fn at(server: &str) -> FiveTuple {
    FiveTuple {
        server: addr(server),
        ..tuple(CLIENT)
    }
}

fn change(flags: u8) -> MessageBuilder {
    ask_for(Method::Binding).attribute(A::CHANGE_REQUEST, &[0, 0, 0, flags])
}

/// Asks, and answers from where to where the answer went, with its bytes.
fn answer(net: &mut Net, tuple: FiveTuple, request: MessageBuilder) -> (FiveTuple, Answer) {
    net.sent.clear();
    assert!(net.client(tuple, &request.finish()).is_none());
    let (to, bytes) = net.sent.pop().expect("an answer");
    assert!(net.sent.is_empty());
    (to, Answer(bytes))
}

fn plain(message: &Message<'_>, kind: A) -> Option<String> {
    let address = message.plain_address(kind).unwrap();
    address.map(|address| address.to_string())
}

fn code(net: &mut Net, tuple: FiveTuple, request: MessageBuilder) -> u16 {
    let (to, answer) = answer(net, tuple, request);
    if answer.code() != 0 {
        assert_eq!(to, tuple, "errors go back the way they came");
    }
    answer.code()
}

#[test]
fn the_source_of_an_answer_follows_table_1() {
    let mut net = net(usage());
    for (da, ca) in [(A1, A2), (A2, A1)] {
        for (dp, cp) in [(P1, P2), (P2, P1)] {
            for (flags, ip, port) in [
                (None, da, dp),
                (Some(0), da, dp),
                (Some(4), ca, dp),
                (Some(2), da, cp),
                (Some(6), ca, cp),
            ] {
                let asked = at(&format!("{da}:{dp}"));
                let request = flags.map_or_else(|| ask_for(Method::Binding), change);
                let (to, answer) = answer(&mut net, asked, request);
                assert_eq!(answer.code(), 0);
                let source = format!("{ip}:{port}");
                assert_eq!(
                    to,
                    FiveTuple {
                        server: addr(&source),
                        ..asked
                    }
                );
                let message = answer.message();
                assert_eq!(plain(&message, A::RESPONSE_ORIGIN), Some(source));
                assert_eq!(
                    plain(&message, A::OTHER_ADDRESS),
                    Some(format!("{ca}:{cp}"))
                );
                assert_eq!(plain(&message, A::MAPPED_ADDRESS).unwrap(), CLIENT);
                let mapped = message.xor_address(A::XOR_MAPPED_ADDRESS).unwrap();
                assert_eq!(mapped, Some(addr(CLIENT)));
            }
        }
    }
}

#[test]
fn without_the_usage_its_attributes_are_unknown_and_answers_are_plain() {
    let mut net = Net::new();
    for kind in [A::CHANGE_REQUEST, A::RESPONSE_PORT, A::PADDING] {
        let request = ask_for(Method::Binding).attribute(kind, &[0; 4]);
        let (_, answer) = answer(&mut net, at(SERVER), request);
        assert_eq!(answer.code(), 420);
        let unknown = answer.message().attribute(A::UNKNOWN_ATTRIBUTES);
        assert_eq!(unknown, Some(&kind.0.to_be_bytes()[..]));
    }
    let (_, answer) = answer(&mut net, at(SERVER), ask_for(Method::Binding));
    let message = answer.message();
    for kind in [A::RESPONSE_ORIGIN, A::OTHER_ADDRESS, A::MAPPED_ADDRESS] {
        assert_eq!(message.attribute(kind), None);
    }
}

#[test]
fn a_listener_without_alternate_refuses_change_request_whatever_its_flags() {
    let mut net = net(NatDiscovery::default());
    for flags in [0, 2, 4, 6] {
        assert_eq!(code(&mut net, at(SERVER), change(flags)), 420);
    }
    let (_, answer) = answer(&mut net, at(SERVER), ask_for(Method::Binding));
    let message = answer.message();
    assert_eq!(plain(&message, A::RESPONSE_ORIGIN).unwrap(), SERVER);
    assert_eq!(message.attribute(A::OTHER_ADDRESS), None);
}

#[test]
fn streams_and_dtls_learn_the_other_address_but_are_answered_where_they_are() {
    let everything = NatDiscovery {
        padding: true,
        response_port: true,
        ..usage()
    };
    let mut net = net(everything);
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let asked = FiveTuple {
            transport,
            ..at(SERVER)
        };
        let arrival = turn_proto::Arrival::default();
        net.server.handle_connected(net.now, asked, &arrival);
        for kind in [A::CHANGE_REQUEST, A::RESPONSE_PORT, A::PADDING] {
            let request = ask_for(Method::Binding).attribute(kind, &[0, 1, 0, 6]);
            assert_eq!(code(&mut net, asked, request), 420);
        }
        let (to, answer) = answer(&mut net, asked, ask_for(Method::Binding));
        assert_eq!(to, asked);
        let other = plain(&answer.message(), A::OTHER_ADDRESS);
        assert_eq!(other, Some(format!("{A2}:{P2}")));
    }
}

#[test]
fn response_port_has_a_switch_and_changes_the_port_only() {
    let port = |value: &[u8]| ask_for(Method::Binding).attribute(A::RESPONSE_PORT, value);
    let mut off = net(usage());
    assert_eq!(code(&mut off, at(SERVER), port(&[0x12, 0x34, 0, 0])), 420);
    let mut on = net(NatDiscovery {
        response_port: true,
        ..usage()
    });
    for value in [&[0x12, 0x34][..], &[0x12, 0x34, 0, 0]] {
        let (to, answer) = answer(&mut on, at(SERVER), port(value));
        assert_eq!(answer.code(), 0);
        assert_eq!(to.client, SocketAddr::new(addr(CLIENT).ip(), 0x1234));
        assert_eq!(to.server, addr(SERVER));
        // The address is still that of the request.
        assert_eq!(plain(&answer.message(), A::MAPPED_ADDRESS).unwrap(), CLIENT);
    }
    for value in [&[0, 0, 0, 0][..], &[1], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        assert_eq!(code(&mut on, at(SERVER), port(value)), 400);
    }
}

#[test]
fn padding_has_a_switch_and_makes_no_answer_longer_than_its_request() {
    let padded = |len| ask_for(Method::Binding).attribute(A::PADDING, &vec![b'x'; len]);
    let mut off = net(usage());
    assert_eq!(code(&mut off, at(SERVER), padded(1500)), 420);
    let mut on = net(NatDiscovery {
        padding: true,
        ..usage()
    });
    for len in [100, 101, 102, 103, 104, 500, 1500, 8000] {
        for request in [padded(len), padded(len).fingerprint()] {
            let asked = request.len();
            let (_, answer) = answer(&mut on, at(SERVER), request);
            assert_eq!(answer.code(), 0);
            assert!(answer.0.len() <= asked, "{} for {asked}", answer.0.len());
            assert!(answer.0.len() + 4 > asked, "as long as it may be");
            let padding = answer.message().attribute(A::PADDING).unwrap();
            assert!(padding.iter().all(|byte| *byte == 0));
        }
    }
    // Too short a request for any: the attribute alone.
    let (_, answer) = answer(&mut on, at(SERVER), padded(0));
    assert_eq!(answer.message().attribute(A::PADDING), Some(&[][..]));
}

#[test]
fn padding_and_response_port_exclude_each_other() {
    let mut net = net(NatDiscovery {
        padding: true,
        response_port: true,
        ..usage()
    });
    let request = ask_for(Method::Binding)
        .attribute(A::PADDING, &[0; 100])
        .attribute(A::RESPONSE_PORT, &[1, 2, 0, 0]);
    assert_eq!(code(&mut net, at(SERVER), request), 400);
}

#[test]
fn change_request_of_another_length_is_malformed() {
    let mut net = net(usage());
    for value in [&[][..], &[6], &[0, 6], &[0, 0, 0, 6, 0]] {
        let request = ask_for(Method::Binding).attribute(A::CHANGE_REQUEST, value);
        assert_eq!(code(&mut net, at(SERVER), request), 400);
    }
}

#[test]
fn only_binding_knows_the_usage() {
    let mut net = net(usage());
    let client = Client::alice().greet(&mut net);
    let request = allocate().attribute(A::CHANGE_REQUEST, &[0, 0, 0, 6]);
    assert_eq!(client.code(&mut net, request), 420);
    let (client, _) = Client::allocated(&mut net);
    let refresh = ask_for(Method::Refresh).attribute(A::PADDING, &[0; 4]);
    assert_eq!(client.code(&mut net, refresh), 420);
}

#[test]
fn behind_nat_the_public_addresses_are_told() {
    let mut net = net(NatDiscovery {
        public: vec![
            (A1.parse().unwrap(), "203.0.113.1".parse().unwrap()),
            (A2.parse().unwrap(), "203.0.113.2".parse().unwrap()),
        ],
        ..usage()
    });
    let (to, answer) = answer(&mut net, at(SERVER), change(6));
    assert_eq!(to.server, addr(&format!("{A2}:{P2}")));
    let message = answer.message();
    assert_eq!(
        plain(&message, A::RESPONSE_ORIGIN).unwrap(),
        "203.0.113.2:3479"
    );
    assert_eq!(
        plain(&message, A::OTHER_ADDRESS).unwrap(),
        "203.0.113.2:3479"
    );
}
