//! The TURN server as a state machine.

pub mod config;
pub mod output;
pub mod rejection;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

pub use config::{ServerConfig, ServerLimits};
pub use output::*;
pub use rejection::RefusalReason;

use crate::five_tuple::{FiveTuple, RelayId};
use crate::policy::{Policy, Quota};
use crate::time::Now;

/// A TURN server without sockets, clock or threads.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    policy: Arc<Policy>,
    quota: Arc<dyn Quota>,
    outputs: VecDeque<Output>,
    counters: ServerCounters,
}

impl Server {
    /// A server without sessions.
    #[must_use]
    pub fn new(config: ServerConfig, policy: Arc<Policy>, quota: Arc<dyn Quota>) -> Self {
        Self {
            config,
            policy,
            quota,
            outputs: VecDeque::new(),
            counters: ServerCounters::default(),
        }
    }

    /// Takes a datagram or frame from a client.
    pub fn handle_client<'b>(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        let _ = (now, tuple, bytes, &self.config, &self.quota);
        self.counters.received += 1;
        None
    }

    /// Takes a datagram from a peer.
    pub fn handle_peer<'b>(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        bytes: &'b [u8],
    ) -> Option<Forward<'b>> {
        let _ = (now, relay, peer, bytes);
        None
    }

    /// Takes the answer to [`Output::OpenRelay`].
    pub fn handle_relay_opened(
        &mut self,
        now: Now,
        relay: RelayId,
        opened: Result<RelayOpened, OpenError>,
    ) {
        let _ = (now, relay, opened);
    }

    /// Ends the session whose relay socket died.
    pub fn handle_relay_failed(&mut self, now: Now, relay: RelayId) {
        let _ = (now, relay);
    }

    /// Obeys the control plane.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        let _ = now;
        if let Command::SetPolicy(policy) = command {
            self.policy = policy;
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] wants to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do, besides forwarding.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Sessions that exist.
    #[must_use]
    pub fn sessions(&self) -> usize {
        0
    }

    /// Checks that the tables agree with each other.
    ///
    /// # Panics
    /// When they do not: a bug. For tests and simulations.
    pub fn check(&self) {}
}
