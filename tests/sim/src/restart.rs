//! A node that ends without a word and starts again: what its next start finds, and what the core makes
//! of it.

use std::collections::HashMap;
use std::sync::Arc;

use shared::{RelayTransport, SessionId, Transport, WorkerId};
use turn_proto::policy::Quota;
use turn_proto::{RestoreRefusal, RestoredSession, Server, ServerConfig};

use crate::world::World;

impl World {
    /// The sessions that a later start can take up.
    #[must_use]
    pub fn kept(&self) -> Vec<RestoredSession> {
        let sessions = self.server.snapshots();
        let kept = sessions.iter().filter(|session| {
            session.relay_transport == RelayTransport::Udp
                && session.tuple.transport == Transport::Udp
        });
        kept.map(RestoredSession::from).collect()
    }

    /// The same worker in the next start of the node. Connections are gone, and so is what waited.
    ///
    /// # Panics
    /// When the core refuses a session that nothing speaks against.
    pub fn restart(
        &mut self,
        sessions: Vec<RestoredSession>,
        relocated: &Arc<HashMap<SessionId, WorkerId>>,
    ) {
        let before = std::mem::take(self);
        *self = Self::new(before.habits);
        self.now = before.now;
        self.starts = before.starts + 1;
        self.revision = before.revision;
        self.policy = before.policy;
        self.next_port = before.next_port;
        self.entropy = before.entropy;
        let quota: Arc<dyn Quota> = Arc::clone(&self.quota) as Arc<dyn Quota>;
        let config = ServerConfig {
            session_base: self.starts,
            ..Self::config(self.habits)
        };
        self.server = Server::new(config, Arc::clone(&self.policy), quota);
        self.server.set_relocated(Arc::clone(relocated));
        for session in sessions {
            let (id, halves) = (session.id, [Some(session.first), session.second]);
            match self.server.restore(self.now, session) {
                Ok(names) => {
                    let named = [names.first, names.second].into_iter().zip(halves);
                    for (name, half) in named {
                        if let (Some(name), Some(half)) = (name, half) {
                            self.relays.insert(name, half.local);
                        }
                    }
                    self.sessions.push(id);
                }
                Err(
                    RestoreRefusal::Expired
                    | RestoreRefusal::TupleTaken
                    | RestoreRefusal::UnknownRealm,
                ) => {}
                Err(why) => panic!("{id} is not restored: {why:?}"),
            }
            self.settle();
        }
        self.audit();
    }
}
