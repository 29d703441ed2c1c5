//! What the core promises, held against what it did.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use shared::Transport;
use turn_proto::channel_data::ChannelData;
use turn_proto::demux::Protocol;
use turn_proto::stun::{AttributeType as A, Class, HEADER_LEN, Message, Method};
use turn_proto::{FiveTuple, Forward, Policy, RelayId, SessionSnapshot, UsageReport};

use crate::world::Passed;

/// What a request that nobody signed may draw, in times of its own length.
const FACTOR: usize = 3;
/// What it may draw in bytes, where it is more than a bare header: a challenge.
const LONGEST_CHALLENGE: usize = 200;
/// Rows of refusals in one report.
const MAX_TOLD: usize = 64;

/// Holds what was sent right after `bytes` came from `tuple` against it.
///
/// # Panics
/// When it was no answer that may be given.
pub fn answers(tuple: FiveTuple, bytes: &[u8], sent: &[(FiveTuple, Vec<u8>)]) {
    let Ok(request) = Message::parse(bytes) else {
        return;
    };
    let same = |message: &Message<'_>| message.transaction() == request.transaction();
    let answers = sent
        .iter()
        .filter_map(|(to, answer)| Some((to, Message::parse(answer).ok()?)))
        .filter(|(_, answer)| same(answer));
    let answers: Vec<_> = answers.collect();
    if request.class() != Class::Request {
        assert!(answers.is_empty(), "an answer to what is no request");
    }
    assert!(answers.len() <= 1, "two answers to one request");
    let Some((to, answer)) = answers.first() else {
        return;
    };
    assert_eq!(
        to.client.ip(),
        tuple.client.ip(),
        "an answer goes to who asked"
    );
    assert_eq!(answer.method(), request.method());
    assert!(matches!(answer.class(), Class::Success | Class::Error));
    if tuple.transport == Transport::Udp && request.integrity_kind().is_none() {
        // RFC 5780 demands four addresses, which is what an operator takes on with it.
        let discovered = answer.attribute(A::RESPONSE_ORIGIN).is_some();
        let most = match bytes.len() {
            HEADER_LEN if !discovered => FACTOR * HEADER_LEN,
            len => LONGEST_CHALLENGE.max(FACTOR * len),
        };
        let len = answer.as_bytes().len();
        assert!(len <= most, "{len} bytes for {} of a stranger", bytes.len());
        let done = answer.class() == Class::Success;
        assert!(
            !done || answer.method() == Method::Binding,
            "for a stranger"
        );
    }
}

/// Holds a forwarded packet against what is open and what the policy says.
///
/// # Panics
/// When it may not go there.
#[must_use]
pub fn passed(
    relays: &HashMap<RelayId, SocketAddr>,
    prepared: &HashSet<RelayId>,
    policy: &Policy,
    forward: Forward<'_>,
) -> Passed {
    match forward {
        Forward::ToPeer {
            relay,
            peer,
            payload,
            ..
        } => {
            let from = *relays
                .get(&relay)
                .expect("a packet leaves from an open relay");
            assert!(prepared.contains(&relay), "{relay:?} is not ready");
            assert_eq!(peer.is_ipv4(), from.is_ipv4(), "of the relay's family");
            peer_is_allowed(policy, peer);
            Passed::ToPeer {
                from,
                peer,
                payload: payload.to_vec(),
            }
        }
        Forward::ToClient {
            tuple,
            header,
            payload,
            pad,
        } => {
            let mut bytes = header.as_slice().to_vec();
            bytes.extend_from_slice(payload);
            bytes.resize(bytes.len() + usize::from(pad), 0);
            assert_eq!(carried(&bytes), payload, "a client reads what a peer wrote");
            Passed::ToClient { tuple, bytes }
        }
    }
}

/// Whether some realm of the policy in force lets datagrams pass to that address.
fn peer_is_allowed(policy: &Policy, peer: SocketAddr) {
    assert_ne!(peer.port(), 0, "no host listens there");
    assert!(!peer.ip().is_loopback(), "loopback is denied");
    // Sent to is the local address, and the rules are about the external one.
    let peers = &policy.peers;
    let mut known_as: Vec<_> = peers.to_external(peer.ip()).collect();
    known_as.push(peer.ip());
    let mut realms = policy.realms.values();
    let allowed = realms.any(|realm| {
        let named = |ip| peers.allows(realm, SocketAddr::new(ip, peer.port()));
        known_as.iter().copied().any(named)
    });
    assert!(allowed, "{peer} is denied");
}

/// The payload of what goes out to a client.
fn carried(bytes: &[u8]) -> Vec<u8> {
    if Protocol::of(bytes) == Protocol::Stun {
        let message = Message::parse(bytes).expect("a whole indication");
        assert_eq!(
            (message.class(), message.method()),
            (Class::Indication, Method::Data)
        );
        let peer = message.xor_address(A::XOR_PEER_ADDRESS);
        assert!(matches!(peer, Ok(Some(_))), "it says whose it is");
        return message.attribute(A::DATA).expect("its payload").to_vec();
    }
    // The old numbers (0x5000 to 0x7FFF) are spoken where the policy says so.
    let number = u16::from_be_bytes([bytes[0], bytes[1]]);
    assert!((0x4000..0x8000).contains(&number), "{number:#06x}");
    match ChannelData::parse(bytes) {
        Some(data) => data.payload.to_vec(),
        None => panic!("no ChannelData"),
    }
}

/// Holds the books against what is open: every relay socket belongs to a session, or to one that is
/// being made (`opening`: sockets that were asked for and are not there yet).
///
/// # Panics
/// When something was forgotten.
pub fn books(
    sessions: &[SessionSnapshot],
    relays: &HashMap<RelayId, SocketAddr>,
    links: usize,
    opening: usize,
) {
    let mut used = 0;
    for session in sessions {
        let second = session.second_relay.as_ref().map(|second| second.local);
        for local in [Some(session.relay_local), second].into_iter().flatten() {
            used += 1;
            assert!(
                relays.values().any(|open| *open == local),
                "{local} of a session is closed"
            );
        }
    }
    assert!(used <= relays.len(), "two sessions share a relay");
    // One half of a dual allocation may wait for the other.
    assert!(relays.len() <= used + opening, "a relay of no session");
    let of_sessions: usize = sessions.iter().map(|session| session.links.len()).sum();
    assert_eq!(of_sessions, links, "connections with peers");
}

/// Holds a report against its bounds.
///
/// # Panics
/// When it exceeds them.
pub fn report(report: &UsageReport) {
    assert!(report.refused.len() <= MAX_TOLD);
    let begun = report.server.allocations + report.server.restored;
    assert!(report.server.ended.total() <= begun);
    assert!(report.server.malformed.total() <= report.server.received.total());
}
