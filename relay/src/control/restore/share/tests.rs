//! Records of all kinds, and what becomes of them.

use super::*;

fn record(id: u32, client: &str) -> SessionRecord {
    let now = Moment::now();
    SessionRecord {
        v: SessionRecord::VERSION,
        id: SessionId::new(1, id),
        epoch: 3,
        client: client.parse().unwrap(),
        server: "192.0.2.1:3478".parse().unwrap(),
        transport: Transport::Udp,
        realm: "example.org".parse().unwrap(),
        username: "alice".parse().unwrap(),
        secret_id: None,
        credential_expiry: None,
        relay_local: SocketAddr::new("192.0.2.1".parse().unwrap(), 50_000 + id as u16),
        relay_external: SocketAddr::new("203.0.113.1".parse().unwrap(), 50_000 + id as u16),
        created_at_ms: now.unix_ms - 60_000,
        expires_at_ms: now.unix_ms + 540_000,
        lifetime_secs: 600,
        permissions: vec![("198.51.100.7".parse().unwrap(), now.unix_ms + 240_000)],
        channels: vec![(
            0x4000,
            "198.51.100.7:9".parse().unwrap(),
            now.unix_ms + 540_000,
        )],
        totals: [1, 2, 3, 4],
        second_relay: None,
        first_expires_at_ms: None,
        algorithm: 1,
        user_rate_bps: Some(64_000),
        token: None,
        mobility: None,
        key_id: 5,
    }
}

fn clients() -> impl Iterator<Item = String> {
    (0..200).map(|n| format!("198.51.100.{}:{}", n % 250, 40_000 + 7 * n))
}

fn of_all(shared: &Shared) -> Vec<RestoredSession> {
    let sessions = shared.workers.iter().map(|worker| worker.sessions.clone());
    sessions.flatten().collect()
}

#[test]
fn sessions_go_to_the_worker_that_their_clients_reach() {
    for workers in [1, 2, 3, 8] {
        let records = clients().zip(0..).map(|(client, id)| record(id, &client));
        let shared = share_out(records.collect(), workers);
        assert_eq!(
            (shared.workers.len(), shared.refused.len()),
            (usize::from(workers), 0)
        );
        for (number, worker) in shared.workers.iter().enumerate() {
            for session in &worker.sessions {
                let reached = worker_of(session.tuple.client, workers);
                assert_eq!(usize::from(reached.0), number);
            }
        }
        assert_eq!(of_all(&shared).len(), 200);
    }
}

#[test]
fn of_two_that_claim_the_same_the_newer_one_is_right() {
    let client = "198.51.100.7:40000";
    let older = SessionRecord {
        epoch: 2,
        ..record(1, client)
    };
    let earlier = SessionRecord {
        created_at_ms: 5,
        ..record(2, client)
    };
    let right = record(3, client);
    let same_port = SessionRecord {
        created_at_ms: 6,
        relay_local: right.relay_local,
        ..record(4, "198.51.100.8:40000")
    };
    let second = Some((right.relay_local, right.relay_external, u64::MAX));
    let same_second = SessionRecord {
        created_at_ms: 7,
        second_relay: second,
        ..record(5, "198.51.100.9:40000")
    };
    let id = right.id;
    let shared = share_out(vec![same_second, older, earlier, right, same_port], 2);
    assert_eq!(
        of_all(&shared)
            .iter()
            .map(|session| session.id)
            .collect::<Vec<_>>(),
        [id]
    );
    assert_eq!(shared.refused.len(), 4);
}

#[test]
fn a_wrong_clock_revives_nothing_for_long() {
    let now = Moment::now();
    let mut odd = record(1, "198.51.100.7:40000");
    odd.expires_at_ms = u64::MAX;
    odd.permissions[0].1 = u64::MAX;
    odd.channels[0].2 = 1;
    odd.created_at_ms = u64::MAX;
    let shared = share_out_at(vec![odd], 1, now);
    let [session] = &of_all(&shared)[..] else {
        panic!("one session")
    };
    assert_eq!(session.first.expires, now.mono + Duration::from_secs(600));
    assert_eq!(session.permissions[0].1, now.mono + LONGEST);
    assert_eq!(session.channels[0].2, now.mono);
    assert_eq!(session.created, now.mono);
}

#[test]
fn connections_and_unclear_tokens_do_not_come_back() {
    let tcp = SessionRecord {
        transport: Transport::Tcp,
        ..record(1, "198.51.100.7:40000")
    };
    let unclear = SessionRecord {
        secret_id: Some("oauth:k1".to_owned()),
        ..record(2, "198.51.100.8:40000")
    };
    let token = SessionRecord {
        token: Some((5, 6)),
        ..unclear.clone()
    };
    let token = SessionRecord {
        id: SessionId::new(1, 3),
        ..token
    };
    let shared = share_out(vec![tcp, unclear, token], 1);
    assert_eq!(shared.refused, [SessionId::new(1, 1), SessionId::new(1, 2)]);
    let span = of_all(&shared)[0].details.token.unwrap();
    assert_eq!((span.made, span.lifetime), (5, 6));
}

#[test]
fn every_worker_knows_where_mobile_sessions_are() {
    let source = "203.0.113.9".parse().unwrap();
    let mobile = SessionRecord {
        mobility: Some((4, source)),
        ..record(1, "198.51.100.7:40000")
    };
    let id = mobile.id;
    let shared = share_out(vec![mobile, record(2, "198.51.100.8:40000")], 3);
    let owner = worker_of("198.51.100.7:40000".parse().unwrap(), 3);
    for worker in &shared.workers {
        assert_eq!(*worker.relocated, HashMap::from([(id, owner)]));
    }
}
