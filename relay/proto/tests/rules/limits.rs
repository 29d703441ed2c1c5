//! Limits of users, realms, the node and sources: in virtual time.

use std::sync::Arc;

use crate::kit::*;
use turn_proto::auth::credential::CredentialAnswer;
use turn_proto::stun::{Class, Method};
use turn_proto::{Command, Event, FiveTuple, Policy, RealmPolicy, RefusalReason, RelayId};

/// Bits of one packet of the tests.
const PACKET: u64 = 8 * 1000;

fn limited(realm: impl FnOnce(&mut RealmPolicy)) -> Policy {
    let mut wanted = realm_policy(REALM);
    realm(&mut wanted);
    policy(vec![wanted])
}

/// A session of a user with a channel to [`PEER`].
fn session(net: &mut Net, port: u16, user: &str, password: &str) -> (Client, RelayId) {
    let client = Client::at(&format!("192.0.2.10:{port}"), user, password).greet(net);
    assert_eq!(client.code(net, allocate()), 0);
    assert_eq!(client.bind(net, 0x4000, PEER), 0);
    (client, net.requests.last().unwrap().0)
}

/// Sends so many packets per millisecond of every client, and answers the bits of each that passed
/// in each millisecond.
fn flood(net: &mut Net, clients: &[FiveTuple], ms: usize, per_ms: usize) -> Vec<Vec<u64>> {
    let packet = channel_data(0x4000, &[0; 1000]);
    let mut passed = vec![Vec::new(); clients.len()];
    for _ in 0..ms {
        net.advance(0.001);
        let mut now = vec![0; clients.len()];
        for _ in 0..per_ms {
            for (index, client) in clients.iter().enumerate() {
                now[index] += u64::from(net.client(*client, &packet).is_some()) * PACKET;
            }
        }
        for (all, bits) in passed.iter_mut().zip(now) {
            all.push(bits);
        }
    }
    passed
}

fn told(net: &mut Net) -> Vec<(RefusalReason, u64)> {
    let refused = net.refused();
    refused.iter().map(|row| (row.reason, row.count)).collect()
}

#[test]
fn a_users_rate_is_that_of_all_its_sessions_and_overshoots_by_a_tenth_at_most_over_five_seconds() {
    let rate = 1_000_000;
    let mut net = Net::with_policy(limited(|realm| realm.max_user_rate_bps = Some(rate)));
    let (first, _) = session(&mut net, 40_000, "alice", "secret");
    let (second, _) = session(&mut net, 40_001, "alice", "secret");
    let (other, _) = session(&mut net, 40_002, "bob", "hunter2");
    let clients = [first.tuple, second.tuple];
    let passed = flood(&mut net, &clients, 12_000, 1);
    let both: Vec<u64> = (0..12_000)
        .map(|ms| passed[0][ms] + passed[1][ms])
        .collect();
    for window in both.windows(5000) {
        let sum: u64 = window.iter().sum();
        assert!(sum <= 5 * rate + rate / 2 + PACKET, "{sum}");
    }
    let steady: u64 = both[2000..].iter().sum();
    assert!(steady >= 98 * rate / 10, "{steady}");
    for one in &passed {
        let share = one.iter().sum::<u64>() * 100 / both.iter().sum::<u64>();
        assert!((35..=65).contains(&share), "{share} % for one of two");
    }
    let free = flood(&mut net, &[other.tuple], 100, 1);
    let free: u64 = free[0].iter().sum();
    let own = 500_000..=500_000 + PACKET;
    assert!(own.contains(&free), "another user's burst is whole: {free}");
}

#[test]
fn both_directions_of_a_user_have_a_rate_of_their_own() {
    let mut net = Net::with_policy(limited(|realm| realm.max_user_rate_bps = Some(200_000)));
    let (alice, relay) = session(&mut net, 40_000, "alice", "secret");
    let sent = flood(&mut net, &[alice.tuple], 1, 100);
    assert_eq!(sent[0][0], 80_000);
    let back = |net: &mut Net| {
        (0..100)
            .filter(|_| net.peer(relay, PEER, &[0; 1000]).is_some())
            .count()
    };
    assert_eq!(back(&mut net), 10);
}

#[test]
fn the_limit_that_bites_is_counted_and_told_once_per_session_and_interval() {
    let mut policy = limited(|realm| {
        realm.max_rate_bps = Some(1_000_000);
        realm.max_user_rate_bps = Some(800_000);
        realm.max_realm_rate_bps = Some(600_000);
    });
    policy.settings.max_rate_bps = Some(400_000);
    let mut net = Net::with_policy(policy);
    let (alice, _) = session(&mut net, 40_000, "alice", "secret");
    let dropped = |net: &mut Net| {
        let passed = flood(net, &[alice.tuple], 1, 100)[0][0] / PACKET;
        let rows = told(net);
        (100 - passed, rows)
    };
    let (lost, rows) = dropped(&mut net);
    assert!(lost > 0);
    assert_eq!(rows, [(RefusalReason::NodeRate, lost)]);
    let mut since = 0;
    for _ in 0..8 {
        let (lost, rows) = dropped(&mut net);
        since += lost;
        assert!(rows.is_empty(), "told a moment ago: {rows:?}");
    }
    net.advance(2.0);
    let (lost, rows) = dropped(&mut net);
    assert_eq!(rows, [(RefusalReason::NodeRate, since + lost)]);
}

#[test]
fn each_scope_has_its_own_counter_and_reason() {
    type Set = fn(&mut Policy);
    let scopes: [(Set, RefusalReason); 4] = [
        (
            |p| replace(p, |r| r.max_rate_bps = Some(200_000)),
            RefusalReason::SessionRate,
        ),
        (
            |p| replace(p, |r| r.max_user_rate_bps = Some(200_000)),
            RefusalReason::UserRate,
        ),
        (
            |p| replace(p, |r| r.max_realm_rate_bps = Some(200_000)),
            RefusalReason::RealmRate,
        ),
        (
            |p| p.settings.max_rate_bps = Some(200_000),
            RefusalReason::NodeRate,
        ),
    ];
    for (set, reason) in scopes {
        let mut net = Net::new();
        let (alice, _) = session(&mut net, 40_000, "alice", "secret");
        let mut next = limited(|_| {});
        next.revision = 2;
        set(&mut next);
        net.command(Command::SetPolicy(Arc::new(next)));
        let passed = flood(&mut net, &[alice.tuple], 1, 100)[0][0];
        assert_eq!(
            passed, 80_000,
            "{reason:?}: at once, and on a running session"
        );
        net.events.clear();
        net.advance(1.0);
        let usage = net.events.iter().find_map(|event| match event {
            Event::Usage(usage) => Some(usage.clone()),
            _ => None,
        });
        let usage = usage.unwrap();
        let counters = usage.sessions[0].1;
        assert_eq!(counters.throttled(), 90);
        let by_reason =
            |(_, r, _, count): &(_, RefusalReason, _, u64)| (*r == reason).then_some(*count);
        assert_eq!(usage.refusals.iter().find_map(by_reason), Some(90));
        let one = match reason {
            RefusalReason::SessionRate => counters.drop_over_rate,
            RefusalReason::UserRate => counters.drop_over_user_rate,
            RefusalReason::RealmRate => counters.drop_over_realm_rate,
            _ => counters.drop_over_node_rate,
        };
        assert_eq!(one, 90, "{reason:?}");
    }
}

fn replace(policy: &mut Policy, change: impl FnOnce(&mut RealmPolicy)) {
    let mut wanted = realm_policy(REALM);
    change(&mut wanted);
    policy.realms.insert(wanted.name.clone(), Arc::new(wanted));
}

#[test]
fn a_users_own_rate_goes_before_the_realms_and_changes_at_once() {
    let mut net = Net::with_policy(limited(|realm| realm.max_user_rate_bps = Some(200_000)));
    let own = |bps| match net_user("alice", "secret") {
        CredentialAnswer::Known(mut user) => {
            user.max_rate_bps = bps;
            CredentialAnswer::Known(user)
        }
        other => other,
    };
    net.users.insert("alice".into(), own(Some(400_000)));
    let (alice, _) = session(&mut net, 40_000, "alice", "secret");
    assert_eq!(flood(&mut net, &[alice.tuple], 1, 100)[0][0], 160_000);
    for (bps, bits) in [(Some(100_000), 40_000), (None, 80_000)] {
        let name = (REALM.parse().unwrap(), "alice".parse().unwrap());
        net.command(Command::SetUserLimits(Arc::new([(name, bps)].into())));
        net.advance(20.0);
        assert_eq!(flood(&mut net, &[alice.tuple], 1, 100)[0][0], bits);
    }
}

fn net_user(name: &str, password: &str) -> CredentialAnswer {
    let mut net = Net::new();
    net.add_user(name, password);
    net.users[name].clone()
}

#[test]
fn the_empty_user_shares_no_rate() {
    let mut wanted = realm_policy(REALM);
    wanted.secrets = vec![rest_secret("s", "north")];
    wanted.max_user_rate_bps = Some(200_000);
    let mut net = Net::with_policy(policy(vec![wanted]));
    let name = format!("{}", UNIX + 600);
    let password = turn_proto::auth::rest::password(b"north", &name);
    let (nobody, _) = session(&mut net, 40_000, &name, &password);
    assert_eq!(flood(&mut net, &[nobody.tuple], 1, 100)[0][0], 100 * PACKET);
}

#[test]
fn new_peers_per_second_are_limited_and_known_ones_are_not() {
    let mut net = Net::with_policy(limited(|realm| realm.max_user_new_peers_per_sec = Some(1)));
    let (alice, _) = session(&mut net, 40_000, "alice", "secret");
    let (second, _) = session(&mut net, 40_001, "alice", "secret");
    let peer = |number: usize| format!("8.8.{}.{}:1", number / 200, 1 + number % 200);
    let mut permitted = 2;
    while second.permit(&mut net, &peer(permitted)) == 0 {
        permitted += 1;
    }
    assert_eq!(permitted, 10, "ten seconds' worth, of both sessions");
    assert_eq!(alice.permit(&mut net, "8.8.8.8:1"), 508);
    assert_eq!(alice.bind(&mut net, 0x4001, "8.8.8.8:1"), 508);
    assert_eq!(alice.permit(&mut net, PEER), 0, "known");
    assert_eq!(alice.bind(&mut net, 0x4002, "9.9.9.9:1"), 0, "known");
    let rows = told(&mut net);
    assert!(rows.contains(&(RefusalReason::NewPeerRate, 1)), "{rows:?}");
    net.advance(1.0);
    assert_eq!(alice.permit(&mut net, "8.8.8.8:1"), 0);
}

#[test]
fn the_node_and_a_source_have_quotas_of_sessions() {
    let mut policy = limited(|_| {});
    policy.settings.max_sessions_per_source = Some(1);
    let mut net = Net::with_policy(policy);
    session(&mut net, 40_000, "alice", "secret");
    let bob = Client::at("192.0.2.10:40001", "bob", "hunter2").greet(&mut net);
    assert_eq!(bob.code(&mut net, allocate()), 486);
    let mut next = limited(|_| {});
    next.revision = 2;
    next.settings.max_sessions = Some(1);
    net.command(Command::SetPolicy(Arc::new(next)));
    assert_eq!(bob.code(&mut net, allocate()), 508);
    let rows: Vec<_> = told(&mut net)
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert!(rows.contains(&RefusalReason::SourceQuota) && rows.contains(&RefusalReason::NodeQuota));
}

#[test]
fn errors_to_a_source_without_a_nonce_are_limited_and_a_nonce_lifts_that() {
    let mut policy = limited(|_| {});
    policy.settings.unauthorized_ratelimit = Some(10);
    let mut net = Net::with_policy(policy);
    let known = Client::at("192.0.2.10:39999", "alice", "secret").greet(&mut net);
    let answered = (0..1000)
        .filter(|port| {
            let stranger = tuple(&format!("192.0.2.10:{}", 40_000 + port));
            net.ask(stranger, &allocate().finish()).is_some()
        })
        .count();
    assert_eq!(answered, 49, "five seconds' worth, with the first one");
    let wrong = Client {
        nonce: "obMatJos2AAAAxxxxxxxxxxxxxxxxxxx".into(),
        ..known.clone()
    };
    assert!(
        wrong.ask(&mut net, allocate()).is_none(),
        "a stale nonce proves nothing"
    );
    assert_eq!(known.code(&mut net, allocate()), 0);
    let elsewhere = Client::at("192.0.2.11:1", "alice", "secret").greet(&mut net);
    assert_eq!(elsewhere.code(&mut net, allocate()), 0);
    assert_eq!(net.server.counters().limited_errors, 952);
    net.advance(1.0);
    Client::at("192.0.2.10:1", "alice", "secret").greet(&mut net);
}

#[test]
fn binding_answers_to_a_source_are_limited_over_udp_only() {
    let mut policy = limited(|_| {});
    policy.settings.binding_ratelimit = Some(10);
    let mut net = Net::with_policy(policy);
    let mut answered = |client: FiveTuple| {
        (0..1000)
            .filter(|_| {
                net.ask(client, &ask_for(Method::Binding).finish())
                    .is_some()
            })
            .count()
    };
    assert_eq!(answered(tuple(CLIENT)), 50);
    let stream = FiveTuple {
        transport: shared::Transport::Tcp,
        ..tuple(CLIENT)
    };
    assert_eq!(answered(stream), 1000, "nobody can forge that source");
    assert_eq!(net.server.counters().limited_bindings, 950);
    let answer = net.ask(tuple("192.0.2.99:1"), &ask_for(Method::Binding).finish());
    assert_eq!(answer.unwrap().message().class(), Class::Success);
}
