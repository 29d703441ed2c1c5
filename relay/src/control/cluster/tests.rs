use std::time::{Duration, Instant};

use shared::api::Role;

use super::message::{self, FRESHNESS, Header, Ignored, NodeQuestion, ReplayGuard};
use super::registry::{parse_relay, show_relay};
use crate::control::clock::Moment;

const KEY: [u8; 32] = [3; 32];

fn header(now: Moment) -> Header {
    Header {
        id: "q1".to_owned(),
        answer: false,
        from: "a".parse().unwrap(),
        from_epoch: 1,
        to: "b".parse().unwrap(),
        to_epoch: 2,
        actor: "unix:0".to_owned(),
        role: Role::Operator,
        realms: Vec::new(),
        op: "kill".to_owned(),
        at_ms: now.unix_ms,
    }
}

fn sealed(now: Moment) -> Vec<u8> {
    message::seal(&KEY, &header(now), &NodeQuestion::Realms).unwrap()
}

fn open(message: &[u8], now: Moment) -> Result<Header, Ignored> {
    let own = "b".parse().unwrap();
    message::open(&KEY, (&own, 2), message, now).map(|(header, _)| header)
}

#[test]
fn a_message_arrives_as_it_was_sent() {
    let now = Moment::now();
    assert_eq!(open(&sealed(now), now), Ok(header(now)));
}

#[test]
fn no_byte_can_be_changed() {
    let now = Moment::now();
    let good = sealed(now);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let expected = if at == 0 {
            Ignored::Version(0)
        } else {
            Ignored::Forged
        };
        assert_eq!(open(&bad, now), Err(expected), "byte {at}");
    }
    assert_eq!(open(&good[..20], now), Err(Ignored::Malformed));
    assert_eq!(open(&[], now), Err(Ignored::Malformed));
    let other = message::seal(&[4; 32], &header(now), &NodeQuestion::Realms).unwrap();
    assert_eq!(open(&other, now), Err(Ignored::Forged));
}

#[test]
fn an_old_message_or_one_for_another_incarnation_is_ignored() {
    let now = Moment::now();
    let late = FRESHNESS.as_millis() as u64 + 1;
    let later = Moment {
        unix_ms: now.unix_ms + late,
        ..now
    };
    assert_eq!(open(&sealed(now), later), Err(Ignored::NotFresh));
    let own = "b".parse().unwrap();
    let opened = message::open(&KEY, (&own, 3), &sealed(now), now).map(|(header, _)| header);
    assert_eq!(opened, Err(Ignored::NotForUs));
}

#[test]
fn a_question_counts_once() {
    let now = Moment::now();
    let mut guard = ReplayGuard::default();
    let start = Instant::now();
    assert_eq!(guard.admit(&header(now), start), Ok(()));
    assert_eq!(
        guard.admit(&header(now), start + Duration::from_secs(5)),
        Err(Ignored::Replayed)
    );
    let other = Header {
        id: "q2".to_owned(),
        ..header(now)
    };
    assert_eq!(guard.admit(&other, start), Ok(()));
}

#[test]
fn relay_endpoints_survive_the_registry() {
    for text in ["192.0.2.1:49152-65535", "[2001:db8::1]:50000-50001"] {
        assert_eq!(show_relay(&parse_relay(text).unwrap()), text);
    }
    assert_eq!(parse_relay("nonsense"), None);
}
