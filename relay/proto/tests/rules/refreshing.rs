//! Refresh, deletion and expiry (RFC 8656 §5 and §8).

use std::sync::atomic::Ordering;

use crate::kit::*;
use turn_proto::stun::{AttributeType as A, Method};
use turn_proto::{Command, EndCause, Event};

fn ended(net: &Net) -> Option<EndCause> {
    net.events.iter().find_map(|event| match event {
        Event::SessionEnded { cause, .. } => Some(*cause),
        _ => None,
    })
}

#[test]
fn a_refresh_grants_lifetimes_by_the_rule_of_allocate() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    for (asked, granted) in [(30, 600), (1800, 1800), (u32::MAX, 3600)] {
        let request = ask_for(Method::Refresh).number(A::LIFETIME, asked);
        let answer = alice.ask(&mut net, request).unwrap();
        assert_eq!(answer.message().number(A::LIFETIME), Ok(Some(granted)));
    }
}

#[test]
fn a_session_lives_as_long_as_granted_last() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    net.advance(590.0);
    assert_eq!(alice.refresh(&mut net, 3600), 0);
    assert_eq!(alice.refresh(&mut net, 600), 0);
    net.advance(599.0);
    assert_eq!(net.server.sessions(), 1);
    net.advance(1.0);
    assert_eq!(
        (net.server.sessions(), ended(&net)),
        (0, Some(EndCause::Expired))
    );
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    assert_eq!(net.closed.len(), 1);
}

#[test]
fn lifetime_zero_deletes_at_once() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    assert_eq!(alice.refresh(&mut net, 0), 0);
    assert_eq!(
        (net.server.sessions(), ended(&net)),
        (0, Some(EndCause::Released))
    );
    assert_eq!(net.closed, [relay]);
    assert_eq!(net.quota.held.load(Ordering::Relaxed), 0);
    assert_eq!(alice.refresh(&mut net, 600), 437);
    assert_eq!(alice.refresh(&mut net, 0), 437);
    assert_eq!(alice.code(&mut net, allocate()), 0);
}

#[test]
fn requests_without_an_allocation_are_437() {
    let mut net = Net::new();
    let alice = Client::alice().greet(&mut net);
    assert_eq!(alice.refresh(&mut net, 600), 437);
    assert_eq!(alice.permit(&mut net, PEER), 437);
    assert_eq!(alice.bind(&mut net, 0x4000, PEER), 437);
}

#[test]
fn somebody_elses_allocation_is_441() {
    let mut net = Net::new();
    let _ = Client::allocated(&mut net);
    let bob = Client::at(CLIENT, "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.refresh(&mut net, 0), 441);
    assert_eq!(bob.permit(&mut net, PEER), 441);
    assert_eq!(bob.bind(&mut net, 0x4000, PEER), 441);
    assert_eq!(bob.code(&mut net, allocate()), 437);
    assert_eq!(net.server.sessions(), 1);
}

#[test]
fn a_refresh_for_another_family_is_443() {
    let mut net = Net::new();
    let (alice, _) = Client::allocated(&mut net);
    for (family, code) in [(1, 0), (2, 443), (9, 443)] {
        let request =
            ask_for(Method::Refresh).attribute(A::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        assert_eq!(alice.code(&mut net, request), code);
    }
}

#[test]
fn a_killed_session_is_437_at_its_next_refresh() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    let Some(Event::SessionCreated(session)) = net.events.last() else {
        panic!()
    };
    let session = session.id;
    net.command(Command::Kill {
        session,
        cause: EndCause::Killed,
    });
    assert_eq!(
        (net.closed.as_slice(), ended(&net)),
        (&[relay][..], Some(EndCause::Killed))
    );
    assert_eq!(alice.refresh(&mut net, 600), 437);
    net.command(Command::Kill {
        session,
        cause: EndCause::Killed,
    });
    assert_eq!(net.closed.len(), 1);
}

#[test]
fn churn_leaves_no_deadlines_behind() {
    let mut net = Net::new();
    for _ in 0..5000 {
        let (alice, _) = Client::allocated(&mut net);
        assert_eq!(alice.refresh(&mut net, 0), 0);
        net.events.clear();
        net.sent.clear();
        net.requests.clear();
    }
    assert_eq!(net.server.sessions(), 0);
    net.advance(5000.0);
    assert_eq!(net.server.poll_timeout(), None);
}
