//! Client connections: what is known of a TCP, TLS or DTLS client besides its 5-tuple.
//!
//! The driver owns sockets, handshakes and framing; it tells the core when a connection begins and
//! ends, and closes the ones that the core asks it to ([`Output::Disconnect`]).

use shared::{Realm, WorkerId};

use super::{EndCause, Output, Server};
use crate::five_tuple::FiveTuple;
use crate::time::Now;

/// How a client connection came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The server name that the client asked for in its TLS or DTLS handshake (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// Of a DTLS association that was handed over: the worker that its datagrams reach.
    pub home: Option<WorkerId>,
}

/// A client connection that exists.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The realm that its server name selects.
    pub(crate) realm: Option<Realm>,
    /// The worker that its datagrams reach, if not this one.
    pub(crate) home: Option<WorkerId>,
}

impl Server {
    /// A TCP, TLS or DTLS client is connected; its frames come to
    /// [`handle_client`](Self::handle_client) from now on. UDP clients are never announced.
    pub fn handle_connected(&mut self, now: Now, tuple: FiveTuple, arrival: &Arrival) {
        self.catch_up(now);
        let names = &self.policy.server_names;
        let realm = arrival.server_name.as_ref().and_then(|n| names.get(n));
        let realm = realm.cloned();
        let home = arrival.home;
        self.guests.forget(&tuple);
        self.connections.insert(tuple, Connection { realm, home });
    }

    /// The connection of a client ended, whoever ended it: so does its session, since nothing can
    /// reach the client any more, unless it may come back from elsewhere (RFC 8016).
    pub fn handle_disconnected(&mut self, now: Now, tuple: FiveTuple) {
        self.catch_up(now);
        self.connections.remove(&tuple);
        if self.outlives_connection(&tuple) {
            return;
        }
        if let Some((relay, _)) = self.table.by_tuple(&tuple) {
            self.end(relay, EndCause::Disconnected);
        }
    }

    /// Whether the client has a session, or one is being made: its connection may idle as long as
    /// the session lives.
    #[must_use]
    pub fn has_session(&self, tuple: &FiveTuple) -> bool {
        self.table.slot(tuple).is_some()
    }

    /// A packet that was let through to a client found its connection full, and was dropped.
    pub fn handle_overrun(&mut self, now: Now, tuple: &FiveTuple) {
        self.want_report(now);
        if let Some((relay, _)) = self.table.by_tuple(tuple) {
            self.drop_packet(relay, |counters| &mut counters.drop_slow_client);
        }
    }

    /// Asks the driver to close a client's connection.
    /// That of a mobile session may have ended long before.
    pub(super) fn disconnect(&mut self, tuple: FiveTuple) {
        if self.connections.contains_key(&tuple) {
            self.outputs.push_back(Output::Disconnect { tuple });
        }
    }
}
