//! `turnutils_uclient` through `relayd`: nothing may be lost, and quotas hold.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::certificate::TestCertificate;
use kit::coturn::{FOR_UCLIENT, Totals, Uclient, Way};
use kit::node::{Node, NodeOptions, stored_login};

/// A run of 10 clients with 200 messages each takes 12 s of its own pacing.
const DEADLINE: Duration = Duration::from_secs(120);
/// Above what 10 clients of uclient need: each has an RTP and an RTCP session.
const RAISED: u32 = 100;

/// A run of uclient waits most of its time, and must not be starved in the rest: one at a time for every two
/// cores. Six at once on two would measure the machine's scheduler.
pub(crate) fn in_turn() -> MutexGuard<'static, ()> {
    static PLACES: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let places = (cores / 2).clamp(1, PLACES.len());
    let place = NEXT.fetch_add(1, Ordering::Relaxed) % places;
    PLACES[place].lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(way: Way, workers: u16) -> Totals {
    run_with(way, workers, &[], NodeOptions::default())
}

fn run_with(
    way: Way,
    workers: u16,
    flags: &'static [&'static str],
    options: NodeOptions,
) -> Totals {
    let _turn = in_turn();
    let node = Node::start(NodeOptions {
        workers,
        max_sessions_per_user: Some(RAISED),
        top: format!("{FOR_UCLIENT}{}", options.top),
        ..options
    });
    let uclient = Uclient {
        server: node.turn,
        login: stored_login(),
        way,
        clients: 10,
        // At its own pace, 12 s for 200: plain UDP gets the long runs, other transports short ones.
        messages: if flags.is_empty() { 200 } else { 50 },
        flags,
        peer: None,
    };
    uclient.run(DEADLINE)
}

#[track_caller]
fn assert_nothing_lost(totals: &Totals) {
    assert_at_least(2000, totals);
}

/// Sent at least so many, and got all of them back.
#[track_caller]
pub(crate) fn assert_at_least(sent: u64, totals: &Totals) {
    assert!(
        totals.sent >= sent,
        "sent {}:\n{}",
        totals.sent,
        totals.text
    );
    assert_eq!(totals.received, totals.sent, "{}", totals.text);
    assert_eq!(totals.lost, 0, "{}", totals.text);
}

#[test]
fn channels_lose_nothing_on_two_workers() {
    assert_nothing_lost(&run(Way::Channels, 2));
}

#[test]
fn channels_lose_nothing_on_four_workers() {
    assert_nothing_lost(&run(Way::Channels, 4));
}

#[test]
fn indications_lose_nothing_on_two_workers() {
    assert_nothing_lost(&run(Way::Indications, 2));
}

#[test]
fn indications_lose_nothing_on_four_workers() {
    assert_nothing_lost(&run(Way::Indications, 4));
}

#[test]
fn reserved_ports_among_clients_lose_nothing_on_two_workers() {
    assert_nothing_lost(&run(Way::ClientToClient, 2));
}

#[test]
fn reserved_ports_among_clients_lose_nothing_on_four_workers() {
    assert_nothing_lost(&run(Way::ClientToClient, 4));
}

#[test]
fn channels_over_tcp_lose_nothing_on_two_workers() {
    let options = NodeOptions::default();
    assert_at_least(500, &run_with(Way::Channels, 2, &["-t"], options));
}

#[test]
fn indications_over_tcp_lose_nothing_on_two_workers() {
    let options = NodeOptions::default();
    assert_at_least(500, &run_with(Way::Indications, 2, &["-t"], options));
}

#[test]
fn clients_over_tcp_among_themselves_lose_nothing_on_four_workers() {
    let options = NodeOptions::default();
    assert_at_least(500, &run_with(Way::ClientToClient, 4, &["-t"], options));
}

fn run_over_dtls(way: Way) -> Totals {
    let pair = TestCertificate::ecdsa();
    let options = NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    };
    run_with(way, 2, &["-S"], options)
}

#[test]
fn dtls_loses_nothing_by_channels() {
    assert_at_least(500, &run_over_dtls(Way::Channels));
}

#[test]
fn dtls_loses_nothing_by_indications() {
    assert_at_least(500, &run_over_dtls(Way::Indications));
}

fn over_tls(certificate: &TestCertificate, way: Way) -> Totals {
    let options = NodeOptions {
        end: certificate.section(),
        ..NodeOptions::default()
    };
    run_with(way, 2, &["-t", "-S"], options)
}

#[test]
fn channels_over_tls_with_an_ecdsa_key_lose_nothing() {
    assert_at_least(500, &over_tls(&TestCertificate::ecdsa(), Way::Channels));
}

#[test]
fn indications_over_tls_with_an_rsa_key_lose_nothing() {
    assert_at_least(500, &over_tls(&TestCertificate::rsa(), Way::Indications));
}

#[test]
fn clients_over_tls_among_themselves_lose_nothing() {
    assert_at_least(500, &over_tls(&TestCertificate::rsa(), Way::ClientToClient));
}

#[test]
fn the_default_quota_refuses_the_surplus_with_486() {
    let node = Node::start(NodeOptions {
        top: FOR_UCLIENT.to_owned(),
        ..NodeOptions::default()
    });
    let uclient = Uclient {
        server: node.turn,
        login: stored_login(),
        way: Way::Channels,
        clients: 10,
        messages: 5,
        flags: &[],
        peer: None,
    };
    let totals = uclient.run(DEADLINE);
    assert!(
        totals.refusals.contains(&486),
        "{:?}\n{}",
        totals.refusals,
        totals.text
    );
}
