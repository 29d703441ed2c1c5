//! What a [`Server`](super::Server) is told once.

use std::time::Duration;

use shared::WorkerId;

/// Settings of one server that no policy changes.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The worker that drives it; copied into snapshots.
    pub worker: WorkerId,
    /// The upper 32 bits of session ids.
    pub session_base: u32,
    /// The lower 32 bits of the first session id.
    pub session_first: u32,
    /// The step between session ids: the number of workers, so that no two count the same.
    pub session_step: u32,
    /// How long a request waits for the store before it is answered 500.
    pub park_deadline: Duration,
    /// Bounds of tables.
    pub limits: ServerLimits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            worker: WorkerId(0),
            session_base: 0,
            session_first: 0,
            session_step: 1,
            park_deadline: Duration::from_secs(2),
            limits: ServerLimits::default(),
        }
    }
}

/// Bounds of the tables that clients fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections with peers of one session (RFC 6062).
    pub connections_per_session: usize,
    /// Connections with peers that are not bound yet, of all sessions of a worker.
    pub waiting_connections: usize,
    /// Requests that wait for the store.
    pub parked_requests: usize,
    /// Users whose keys are kept.
    pub cached_credentials: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_per_session: 64,
            waiting_connections: 4096,
            parked_requests: 1024,
            cached_credentials: 65_536,
        }
    }
}
