//! Everything that the double tells of one session.

use shared::RelayTransport;
use shared::api::{
    ChannelView, PeerConnectionState, PeerConnectionView, PermissionView, RateLimits,
    SessionDetail, SessionView,
};

use super::state::State;

/// Everything about a session.
pub(super) fn detail(state: &State, session: &SessionView) -> SessionDetail {
    let peer = session
        .peers
        .first()
        .and_then(|p| p.parse::<std::net::SocketAddr>().ok());
    let of_user = |s: &&SessionView| s.user == session.user && s.node == session.node;
    SessionDetail {
        schema: "session/1".into(),
        as_of_ms: state.now_ms,
        session: session.clone(),
        lifetime_secs: 600,
        credential_expires_at_ms: session.secret_id.as_ref().map(|_| 1_767_355_200_000),
        permissions: peer
            .map(|peer| PermissionView {
                peer: peer.ip(),
                last_port: Some(peer.port()),
                ttl_secs: 240,
                in_bytes: session.in_bytes,
                out_bytes: session.out_bytes,
                rate_in_bps: session.rate_in_bps,
                rate_out_bps: session.rate_out_bps,
            })
            .into_iter()
            .collect(),
        permission_rates_ms: Some(1000),
        channels: peer
            .map(|peer| ChannelView {
                number: 0x4001,
                peer,
                ttl_secs: 500,
            })
            .into_iter()
            .collect(),
        peer_connections: connections(session),
        rate_limits: RateLimits {
            session_bps: session.max_rate_bps,
            ..RateLimits::default()
        },
        refused_new_peers: 0,
        drops_by_reason: [("no_permission".to_owned(), session.drops)].into(),
        refusals: state
            .recent_refusals
            .iter()
            .filter(|r| r.session == Some(session.id))
            .cloned()
            .collect(),
        user_sessions: state.sessions.iter().filter(of_user).count() as u32,
        user_limit: Some(12),
    }
}

/// Connections of a TCP allocation: one in each state.
fn connections(session: &SessionView) -> Vec<PeerConnectionView> {
    if session.relay_transport == RelayTransport::Udp {
        return Vec::new();
    }
    let connection = |last, state, incoming| PeerConnectionView {
        peer: ([198, 51, 100, last], 8080).into(),
        state,
        incoming,
        client: (state == PeerConnectionState::Bound).then(|| (session.client.ip(), 51_999).into()),
        in_bytes: match state {
            PeerConnectionState::Bound => session.in_bytes,
            _ => 0,
        },
        out_bytes: match state {
            PeerConnectionState::Bound => session.out_bytes,
            _ => 0,
        },
    };
    vec![
        connection(1, PeerConnectionState::Bound, false),
        connection(2, PeerConnectionState::Pending, true),
        connection(3, PeerConnectionState::Connecting, false),
    ]
}
