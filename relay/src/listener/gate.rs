//! One connection per 5-tuple, over all workers.
//!
//! Locked when a proxied connection begins or ends; never for a packet.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// No larger than the number of connections.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Client and server addresses of proxied connections: only there can two be the same.
    claims: Mutex<HashSet<(SocketAddr, SocketAddr)>>,
}

impl Gate {
    fn claims(&self) -> MutexGuard<'_, HashSet<(SocketAddr, SocketAddr)>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a 5-tuple for a proxied connection; `false`: another one has it.
    pub(super) fn claim(&self, client: SocketAddr, server: SocketAddr) -> bool {
        self.claims().insert((client, server))
    }

    /// Gives a 5-tuple back.
    pub(super) fn release(&self, client: SocketAddr, server: SocketAddr) {
        self.claims().remove(&(client, server));
    }
}
