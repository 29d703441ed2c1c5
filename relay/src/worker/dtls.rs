//! DTLS clients of this worker: what their associations say goes to the core and to the listeners.

use std::sync::Arc;
use std::time::Instant;

use turn_proto::Now;
use turn_proto::five_tuple::FiveTuple;
use turn_proto::server::Arrival;

use super::run::Core;
use crate::dtls::{Associations, EventKind};
use crate::listener::Listening;
use turn_udp::batch::SendBatch;

/// The DTLS associations of a worker that starts, with a secret of its own: the selector brings a
/// client to the same worker each time.
pub(super) fn associations(listening: &Listening) -> std::io::Result<Associations> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    let tally = Arc::clone(&listening.dtls_tally);
    Ok(Associations::new(
        listening.dtls(),
        tally,
        secret,
        Instant::now(),
    ))
}

impl Core {
    /// Hands what associations have to say to whom it is for, until they have nothing more.
    pub(super) fn pump_dtls(&mut self, now: Now, batch: &mut SendBatch<'_, '_>) {
        while self.dtls.has_events() {
            let mut outbox = self.dtls.take(std::mem::take(&mut self.spare_outbox));
            let mut batch = batch.apart();
            for (event, bytes) in outbox.events() {
                let tuple = event.key;
                match &event.kind {
                    EventKind::Transmit => {
                        if let Some(listener) = self.listener(tuple.server) {
                            batch.push(listener.outlet(), tuple.client, &[], bytes, 0);
                        }
                    }
                    EventKind::Connected { server_name } => {
                        let arrival = Arrival {
                            server_name: server_name.clone(),
                            home: None,
                        };
                        self.server.handle_connected(now, tuple, &arrival);
                    }
                    EventKind::Data => {
                        let forward = self.server.handle_client(now, tuple, bytes);
                        self.dispatch(now, forward, &mut batch);
                        if self.dtls.lacks_session(&tuple) && self.server.has_session(&tuple) {
                            self.dtls.note_session(&tuple);
                        }
                    }
                    EventKind::Disconnected => {
                        // What was let through before must leave before its socket closes.
                        batch.flush();
                        self.server.handle_disconnected(now, tuple);
                        self.drain_outputs(now);
                    }
                }
            }
            drop(batch);
            outbox.clear();
            self.spare_outbox = outbox;
        }
    }

    /// Retransmissions, and ends of handshakes and of associations without a session.
    pub(super) fn dtls_timers(&mut self, now: Now) {
        let server = &self.server;
        let has_session = |tuple: &FiveTuple| server.has_session(tuple);
        self.dtls.handle_timeout(now.mono, has_session);
    }
}
