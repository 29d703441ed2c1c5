//! Which realm a client is in: by listener, server name, ORIGIN, default; and whom an ORIGIN cannot
//! move.

use shared::{Realm, Transport};
use turn_proto::auth::credential::{CredentialAnswer, LongTermKey, UserCredential};
use turn_proto::stun::{AttributeType as A, Method};
use turn_proto::{Arrival, FiveTuple, Policy};

use crate::kit::*;

const OF_NAME: &str = "by-name.example";
const OF_ORIGIN: &str = "by-origin.example";
const OF_LISTENER: &str = "by-listener.example";
const ORIGIN: &str = "https://app.example.org";
const SECOND: &str = "198.51.100.1:3479";

fn realm(name: &str) -> Realm {
    name.parse().unwrap()
}

fn all_realms() -> Policy {
    let names = [REALM, OF_NAME, OF_ORIGIN, OF_LISTENER];
    let mut policy = policy(names.map(realm_policy).into());
    let name = "turn.example.org".into();
    policy.server_names.insert(name, realm(OF_NAME));
    let origin = "https://app.example.org:443".into();
    policy.origins.insert(origin, realm(OF_ORIGIN));
    policy
        .listener_realms
        .insert(addr(SECOND), realm(OF_LISTENER));
    policy
}

fn tuple_of(transport: Transport, server: &str) -> FiveTuple {
    FiveTuple {
        client: addr(CLIENT),
        server: addr(server),
        transport,
    }
}

/// The realm that a client is challenged with.
fn challenge(net: &mut Net, tuple: FiveTuple, origin: Option<&str>) -> String {
    let mut request = allocate();
    if let Some(origin) = origin {
        request = request.attribute(A::ORIGIN, origin.as_bytes());
    }
    let answer = net.ask(tuple, &request.finish()).unwrap();
    assert_eq!(answer.code(), 401);
    answer.text(A::REALM).unwrap()
}

fn connect(net: &mut Net, server: &str, name: Option<&str>) -> FiveTuple {
    let tuple = tuple_of(Transport::Tls, server);
    let arrival = Arrival {
        server_name: name.map(Into::into),
        home: None,
    };
    net.server.handle_connected(net.now, tuple, &arrival);
    tuple
}

/// A user of the realm of the origin, with the nonce of a first request.
fn carol(net: &mut Net) -> Client {
    user_of_origin(net, "carol")
}

fn user_of_origin(net: &mut Net, name: &str) -> Client {
    let key = LongTermKey::derive(name, OF_ORIGIN, "pw");
    let known = UserCredential {
        key: key.clone(),
        key_id: 0,
        sha256: None,
        max_sessions: None,
        max_rate_bps: None,
    };
    let known = CredentialAnswer::Known(known);
    net.users.insert(name.into(), known);
    let user = Client {
        realm: OF_ORIGIN.into(),
        key,
        ..Client::at(CLIENT, name, "pw")
    };
    user.greet(net)
}

#[test]
fn a_listener_a_server_name_an_origin_and_the_default_choose_in_this_order() {
    let mut net = Net::with_policy(all_realms());
    let known = Some("turn.example.org");
    let both = connect(&mut net, SECOND, known);
    assert_eq!(challenge(&mut net, both, Some(ORIGIN)), OF_LISTENER);
    let named = connect(&mut net, SERVER, known);
    assert_eq!(challenge(&mut net, named, Some(ORIGIN)), OF_NAME);
    let unnamed = connect(&mut net, SERVER, Some("other.example.org"));
    assert_eq!(challenge(&mut net, unnamed, Some(ORIGIN)), OF_ORIGIN);
    assert_eq!(challenge(&mut net, unnamed, None), REALM);
}

#[test]
fn an_origin_is_one_whatever_case_and_port_it_is_written_with() {
    let mut net = Net::with_policy(all_realms());
    let udp = tuple(CLIENT);
    for same in ["https://app.example.org:443", "HTTPS://App.Example.org"] {
        assert_eq!(challenge(&mut net, udp, Some(same)), OF_ORIGIN);
    }
    for other in [
        "http://app.example.org",
        "https://app.example.org:8443",
        "x",
        "",
    ] {
        assert_eq!(challenge(&mut net, udp, Some(other)), REALM, "{other}");
    }
}

#[test]
fn an_origin_is_ignored_unless_switched_on() {
    let mut policy = all_realms();
    policy.origins.clear();
    let mut net = Net::with_policy(policy);
    assert_eq!(challenge(&mut net, tuple(CLIENT), Some(ORIGIN)), REALM);
}

#[test]
fn an_authenticated_request_names_a_realm_that_its_listener_serves() {
    let mut net = Net::with_policy(all_realms());
    let carol = carol(&mut net);
    // The realm of an origin is served where no other choice was made, with the ORIGIN or without.
    assert_eq!(carol.code(&mut net, allocate()), 0);
    let elsewhere = Client {
        tuple: tuple_of(Transport::Udp, SECOND),
        ..carol.clone()
    };
    let elsewhere = elsewhere.greet(&mut net);
    let refused = elsewhere.ask(&mut net, allocate()).unwrap();
    assert_eq!(refused.code(), 401);
    assert_eq!(refused.text(A::REALM).unwrap(), OF_LISTENER);
    let named = Client {
        tuple: connect(&mut net, SERVER, Some("turn.example.org")),
        ..carol
    };
    let named = named.greet(&mut net);
    let refused = named.ask(&mut net, allocate()).unwrap();
    assert_eq!(refused.text(A::REALM).unwrap(), OF_NAME);
}

#[test]
fn an_origin_without_credentials_moves_nobodys_session() {
    let mut net = Net::with_policy(all_realms());
    let (alice, _) = Client::allocated(&mut net);
    // Somebody writes an ORIGIN from her address, before and after she is known.
    assert_eq!(challenge(&mut net, alice.tuple, Some(ORIGIN)), OF_ORIGIN);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    assert_eq!(alice.permit(&mut net, PEER), 0);
    assert_eq!(challenge(&mut net, alice.tuple, None), REALM);
}

#[test]
fn an_origin_with_credentials_neither_moves_a_session_nor_opens_another_realms() {
    let mut net = Net::with_policy(all_realms());
    let (alice, _) = Client::allocated(&mut net);
    // Her own request with the ORIGIN of another realm: that realm is asked for, not hers.
    let request = ask_for(Method::Refresh).attribute(A::ORIGIN, ORIGIN.as_bytes());
    let refused = alice.ask(&mut net, request).unwrap();
    assert_eq!(refused.code(), 401);
    assert_eq!(refused.text(A::REALM).unwrap(), OF_ORIGIN);
    // A user of the other realm, from her address: 441, and the session stays what it was. So it
    // does where that one has her name.
    for name in ["carol", "alice"] {
        let other = user_of_origin(&mut net, name);
        let request = ask_for(Method::Refresh).attribute(A::ORIGIN, ORIGIN.as_bytes());
        assert_eq!(other.code(&mut net, request), 441, "{name}");
        assert_eq!(alice.refresh(&mut net, 600), 0);
    }
}
