//! Data that tries to break a screen: what strangers can put into names, and figures at their ends.

use super::FakeAdmin;
use super::state::State;

/// Names as an attacker, or the world, writes them.
const NAMES: [&str; 6] = [
    "\u{1b}]0;pwned\u{7}\u{1b}[2J",
    "日本語の利用者名がとても長い",
    "a\u{202e}dcba\u{2066}x",
    "عمر خيام",
    "\n\r\t\u{9b}31m\u{0}",
    "e\u{301}\u{200b}\u{200d}👩\u{200d}👩\u{200d}👧",
];

/// What the cluster is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// Wide, right-to-left and combining characters, and control sequences.
    Names,
    /// Names of a hundred characters.
    Long,
    /// The largest figures there are.
    Figures,
    /// Nothing at all.
    Empty,
    /// One row in every list.
    One,
}

impl Poison {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Names,
        Self::Long,
        Self::Figures,
        Self::Empty,
        Self::One,
    ];

    fn name(self, index: usize) -> Option<String> {
        match self {
            Self::Names => Some(NAMES[index % NAMES.len()].to_owned()),
            Self::Long => Some(format!("{:x>100}", index)),
            Self::Figures | Self::Empty | Self::One => None,
        }
    }
}

impl FakeAdmin {
    /// Replaces what strangers can write by the worst they could.
    pub fn poison(&self, poison: Poison) {
        let state = &mut *self.state();
        match poison {
            Poison::Names | Poison::Long => rename(state, poison),
            Poison::Figures => inflate(state),
            Poison::Empty => keep(state, 0),
            Poison::One => keep(state, 1),
        }
    }
}

fn keep(state: &mut State, rows: usize) {
    state.nodes.truncate(rows.max(1));
    let node = state.nodes[0].id.clone();
    state.sessions.retain(|s| s.node == node);
    state.sessions.truncate(rows);
    state.users.truncate(rows);
    state.realms.truncate(rows);
    state.secrets.truncate(rows);
    state.events.truncate(rows);
    state.audit.truncate(rows);
    state.recent_refusals.truncate(rows);
    state.alerts.truncate(rows);
    state.redirects.truncate(rows);
    state.bans.truncate(rows);
    state.count();
}

fn rename(state: &mut State, poison: Poison) {
    let name = |index| poison.name(index).unwrap_or_default();
    for (i, session) in state.sessions.iter_mut().enumerate() {
        session.user = name(i);
        session.username = name(i + 1);
        session.peers = vec![name(i + 2), "198.51.100.1:9".into()];
        session.secret_id = Some(name(i + 3));
    }
    for (i, node) in state.nodes.iter_mut().enumerate() {
        node.version = name(i);
        node.relays = vec![name(i + 1)];
        node.labels = [(name(i), name(i + 1))].into();
        node.capacity.bound_by = name(i + 2);
        node.store.kind = name(i + 3);
    }
    for (i, user) in state.users.iter_mut().enumerate() {
        user.name = name(i);
        user.note = name(i + 1);
    }
    for (i, realm) in state.realms.iter_mut().enumerate() {
        realm.changed_by = name(i);
        realm.document.note = name(i + 1);
        realm.document.origins = vec![name(i + 2)];
    }
    for (i, secret) in state.secrets.iter_mut().enumerate() {
        secret.label = name(i);
    }
    for (i, event) in state.events.iter_mut().enumerate() {
        event.text = name(i);
        event.user = Some(name(i + 1));
    }
    for (i, refusal) in state.recent_refusals.iter_mut().enumerate() {
        refusal.user = Some(name(i));
        refusal.peer = Some(name(i + 1));
        refusal.reason = name(i + 2);
    }
    for (i, alert) in state.alerts.iter_mut().enumerate() {
        alert.text = name(i);
        alert.rule = name(i + 1);
    }
    for (i, redirect) in state.redirects.iter_mut().enumerate() {
        redirect.note = name(i);
        redirect.domain = Some(name(i + 1));
    }
    for (i, ban) in state.bans.iter_mut().enumerate() {
        ban.reason = name(i);
        ban.by = name(i + 1);
    }
    for (i, record) in state.audit.iter_mut().enumerate() {
        record.actor = name(i);
        record.target = name(i + 1);
        record.reason = name(i + 2);
        record.result = name(i + 3);
    }
}

fn inflate(state: &mut State) {
    for session in &mut state.sessions {
        session.rate_in_bps = u64::MAX;
        session.rate_out_bps = u64::MAX;
        session.age_secs = u64::MAX;
        session.ttl_secs = u64::MAX;
        session.started_at_ms = u64::MAX;
        session.in_bytes = u64::MAX;
        session.out_bytes = u64::MAX;
        session.in_packets = u64::MAX;
        session.out_packets = u64::MAX;
        session.drops = u64::MAX;
        session.peer_count = u32::MAX;
        session.new_peers_per_sec = f64::MAX;
        session.max_rate_bps = Some(u64::MAX);
    }
    for node in &mut state.nodes {
        node.sessions = u64::MAX;
        node.rate_in_bps = u64::MAX;
        node.rate_out_bps = u64::MAX;
        node.packets_per_sec = u64::MAX;
        node.drops = u64::MAX;
        node.uptime_secs = u64::MAX;
        node.memory_bytes = u64::MAX;
        node.cpu_percent = f64::NAN;
        node.capacity.percent = f64::INFINITY;
        node.created_per_sec = f64::MAX;
        node.ended_per_sec = f64::NEG_INFINITY;
        node.config_revision = u64::MAX;
        node.heartbeat_age_secs = u64::MAX;
    }
    for user in &mut state.users {
        user.sessions = u64::MAX;
        user.rate_in_bps = u64::MAX;
        user.rate_out_bps = u64::MAX;
        user.blocked_until_ms = Some(u64::MAX);
        user.limit = Some(u32::MAX);
    }
    for realm in &mut state.realms {
        realm.sessions = u64::MAX;
        realm.users = u64::MAX;
        realm.rate_in_bps = u64::MAX;
        realm.rate_out_bps = u64::MAX;
        realm.refusals = u64::MAX;
        realm.revision = u64::MAX;
        realm.changed_at_ms = u64::MAX;
        realm.document.max_rate_bps = Some(u64::MAX);
        realm.document.max_sessions = Some(u32::MAX);
    }
    for refusal in &mut state.recent_refusals {
        refusal.at_ms = u64::MAX;
        refusal.count = u64::MAX;
        refusal.code = Some(u16::MAX);
    }
    for alert in &mut state.alerts {
        alert.since_ms = u64::MAX;
        alert.value = f64::NAN;
        alert.threshold = f64::INFINITY;
    }
    for ban in &mut state.bans {
        ban.until_ms = u64::MAX;
    }
    for redirect in &mut state.redirects {
        redirect.weight = u32::MAX;
        redirect.health_since_ms = u64::MAX;
    }
    for event in &mut state.events {
        event.at_ms = u64::MAX;
    }
}
