//! The cluster that the double starts with.

use std::collections::BTreeMap;

use shared::api::{
    Capacity, CredentialKinds, EventKind, EventView, NodeRole, NodeState, NodeView, OauthKeyView,
    RealmDocument, RealmRevision, RealmView, SecretState, SecretUsage, SecretUser, SecretView,
    SessionView, Severity, StoreState, UserView,
};
use shared::{
    NodeId, OauthAlgorithm, PasswordAlgorithm, Realm, RelayTransport, SessionId, Transport,
    WorkerId,
};

/// The time at which the double starts: 2026-01-01T12:00:00Z.
pub const START_MS: u64 = 1_767_268_800_000;

/// Names of the nodes.
pub const NODES: [&str; 3] = ["fra1", "ams1", "lon1"];
/// Names of the realms.
pub const REALMS: [&str; 2] = ["acme", "globex"];
const USERS: [&str; 5] = ["alice@web", "bob", "bot-114", "carol", "dora"];

pub(super) fn node_id(name: &str) -> NodeId {
    name.parse().expect("the names of the double are legal")
}

pub(super) fn realm_name(name: &str) -> Realm {
    name.parse().expect("the names of the double are legal")
}

/// The upper half of session ids of the node with that index.
fn base(node: usize) -> u32 {
    0x7f3a_9000 + node as u32
}

pub(super) fn node(index: usize) -> NodeView {
    let region = ["fra", "ams", "lon"][index];
    NodeView {
        id: node_id(NODES[index]),
        epoch: 3,
        version: "0.1.0".into(),
        roles: vec![NodeRole::Relay, NodeRole::Gateway],
        labels: BTreeMap::from([("region".into(), region.into())]),
        state: NodeState::Ready,
        session_base: format!("{:08x}", base(index)),
        restored_bases: Vec::new(),
        sends_to: Vec::new(),
        listeners: vec![([192, 0, 2, 10 + index as u8], 3478).into()],
        urls: Vec::new(),
        url_realms: BTreeMap::new(),
        credentials: CredentialKinds::Both,
        relays: vec![format!("192.0.2.{}:49152-65535", 10 + index)],
        workers: 4,
        uptime_secs: 90_000 + index as u64,
        heartbeat_age_secs: 0,
        sessions: 0,
        created_per_sec: 1.5,
        ended_per_sec: 1.0,
        rate_in_bps: 0,
        rate_out_bps: 0,
        packets_per_sec: 1200,
        drops: 7 * index as u64,
        transports: BTreeMap::new(),
        capacity: Capacity {
            percent: 12.5 * (index + 1) as f64,
            bound_by: "ports".into(),
            used_percent: None,
            ports_used: 2048 * (index as u64 + 1),
            ports_total: 16_384,
        },
        cpu_percent: 20.0 + index as f64,
        memory_bytes: 48_000_000,
        store: StoreState {
            troubles: Vec::new(),
            kind: "sqlite".into(),
            connected: true,
            since_ms: START_MS,
        },
        realm_revisions: BTreeMap::from([("acme".into(), 41), ("globex".into(), 3)]),
        config_revision: 2,
        refusals: BTreeMap::from([("401".into(), 120), ("486".into(), 4)]),
        refusals_per_sec: BTreeMap::from([("401".into(), 2.0), ("486".into(), 0.1)]),
        auth_failures_per_sec: 0.5,
        drops_per_sec: 0.0,
        realm_use: BTreeMap::new(),
        connections: 0,
        connections_closed: BTreeMap::new(),
        control_overflows: 0,
        certificates: Vec::new(),
        version_skew: false,
        elder_of: None,
        upgrade: None,
        drain: None,
        beside: None,
    }
}

pub(super) fn session(index: usize) -> SessionView {
    let node = index % NODES.len();
    let user = USERS[index % USERS.len()];
    let timed = index % 4 == 3;
    SessionView {
        id: SessionId::new(base(node), (index + 1) as u32),
        node: node_id(NODES[node]),
        worker: WorkerId((index % 4) as u16),
        user: user.into(),
        username: if timed {
            format!("1767355200:{user}")
        } else {
            user.into()
        },
        realm: realm_name(REALMS[index % REALMS.len()]),
        transport: Transport::Udp,
        relay_transport: RelayTransport::Udp,
        mobile: false,
        client: (
            [203, 0, 113, (index % 250) as u8 + 1],
            51_000 + (index % 1000) as u16,
        )
            .into(),
        server: ([192, 0, 2, 10 + node as u8], 3478).into(),
        relay: (
            [192, 0, 2, 10 + node as u8],
            49_152 + (index % 16_000) as u16,
        )
            .into(),
        relay_local: None,
        second_relay: None,
        started_at_ms: START_MS - 60_000 * (index as u64 + 1),
        age_secs: 60 * (index as u64 + 1),
        ttl_secs: 600 - (index as u64 * 37) % 540,
        peers: vec![format!("198.51.100.{}:40112", index % 200 + 1)],
        peer_count: 1,
        rate_in_bps: base_rate(index),
        rate_out_bps: base_rate(index) / 2,
        in_packets: 1000 * (index as u64 + 1),
        in_bytes: 160_000 * (index as u64 + 1),
        out_packets: 500 * (index as u64 + 1),
        out_bytes: 80_000 * (index as u64 + 1),
        drops: (index % 3) as u64,
        throttled: 0,
        new_peers_per_sec: (index % 5) as f64 / 10.0,
        max_rate_bps: None,
        secret_id: timed.then(|| "2f9c01ab44de".into()),
        software: None,
        stale: false,
    }
}

/// A rate that differs per session and does not grow with the index.
pub(super) fn base_rate(index: usize) -> u64 {
    40_000 + (index as u64 * 7919 % 97) * 13_000
}

pub(super) fn users() -> Vec<UserView> {
    let all = REALMS
        .iter()
        .flat_map(|realm| USERS.map(|user| (*realm, user)));
    all.map(|(realm, name)| UserView {
        realm: realm_name(realm),
        name: name.into(),
        stored: name != "dora",
        disabled: false,
        max_sessions: None,
        max_rate_bps: None,
        rate_limit_bps: None,
        limit: Some(RealmDocument::DEFAULT_SESSIONS_PER_USER),
        note: String::new(),
        algorithms: match name {
            "dora" => Vec::new(),
            "bob" => vec![PasswordAlgorithm::Md5],
            _ => PasswordAlgorithm::ALL.to_vec(),
        },
        blocked_until_ms: None,
        sessions: 0,
        rate_in_bps: 0,
        rate_out_bps: 0,
    })
    .collect()
}

pub(super) fn realms() -> Vec<RealmView> {
    let realm = |name, revision| RealmView {
        name: realm_name(name),
        revision,
        changed_at_ms: START_MS - 86_400_000,
        changed_by: "unix:0".into(),
        document: RealmDocument::default(),
        secrets: 0,
        sessions: 0,
        users: 0,
        rate_in_bps: 0,
        rate_out_bps: 0,
        refusals: 4,
        applied: Vec::new(),
    };
    vec![realm(REALMS[0], 41), realm(REALMS[1], 3)]
}

/// Of acme the last two, newest first.
pub(super) fn revisions() -> Vec<(Realm, RealmRevision)> {
    let revision = |revision, by: &str, reason: &str, document, changed: &[&str]| {
        let revision = RealmRevision {
            revision,
            changed_at_ms: START_MS - 86_400_000,
            changed_by: by.into(),
            reason: reason.into(),
            deleted: false,
            changed: changed.iter().map(|field| (*field).to_owned()).collect(),
            document: Some(document),
        };
        (realm_name(REALMS[0]), revision)
    };
    let before = RealmDocument {
        max_sessions: Some(800),
        ..RealmDocument::default()
    };
    let after = RealmDocument::default();
    vec![
        revision(41, "unix:0", "room for all", after, &["max_sessions"]),
        revision(40, "token:cafe0001", "launch", before, &[]),
    ]
}

pub(super) fn secrets() -> Vec<SecretView> {
    vec![SecretView {
        id: "2f9c01ab44de".into(),
        realm: realm_name("acme"),
        label: "web".into(),
        created_at_ms: START_MS - 864_000_000,
        state: SecretState::Active,
        sessions: 0,
    }]
}

/// Two people use the first secret, and nobody any other one.
pub(super) fn secret_usage(secret: &SecretView) -> SecretUsage {
    let used = secret.id.starts_with("2f9c");
    let user = |(user, sessions): (&str, u64)| SecretUser {
        user: user.to_owned(),
        sessions,
    };
    let users = [("alice", 3), ("bob", 1)];
    let top_users: Vec<_> = users.into_iter().filter(|_| used).map(user).collect();
    SecretUsage {
        secret: SecretView {
            sessions: top_users.iter().map(|user| user.sessions).sum(),
            ..secret.clone()
        },
        users: top_users.len() as u64,
        users_complete: true,
        top_users,
        last_used_at_ms: if used { START_MS - 60_000 } else { 0 },
    }
}

pub(super) fn oauth_keys() -> Vec<OauthKeyView> {
    vec![OauthKeyView {
        kid: "north".into(),
        algorithm: OauthAlgorithm::A256gcm,
        realm: Some(realm_name("acme")),
        since_ms: Some(START_MS - 864_000_000),
        until_ms: Some(START_MS + 30 * 86_400_000),
    }]
}

pub(super) fn events() -> Vec<EventView> {
    let event = |id: u64, severity, kind, user: Option<&str>, text: &str| EventView {
        id: format!("{id:06}"),
        at_ms: START_MS - 10_000 + id * 1000,
        node: node_id("fra1"),
        severity,
        kind,
        text: text.into(),
        session: None,
        user: user.map(str::to_owned),
        realm: Some(realm_name("acme")),
    };
    vec![
        event(
            1,
            Severity::Notice,
            EventKind::NodeChanged,
            None,
            "node fra1 is ready",
        ),
        event(
            2,
            Severity::Info,
            EventKind::SessionCreated,
            Some("bob"),
            "session created",
        ),
        event(
            3,
            Severity::Warn,
            EventKind::Refused,
            Some("bot-114"),
            "486 user quota (x12)",
        ),
    ]
}
