//! Sessions of an earlier start: their ports are bound again, and the core takes them up.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::{SessionId, Transport, WorkerId};
use turn_proto::Now;
use turn_proto::five_tuple::RelayId;
use turn_proto::server::{RestoreRefusal, RestoredRelay, RestoredSession};

use super::mailbox::WorkerNews;
use super::run::{Core, Listener};

/// Sessions of an earlier start that a worker takes up.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// Those whose clients' packets reach this worker.
    pub sessions: Vec<RestoredSession>,
    /// Sessions of all workers whose clients may move, and who has them now (RFC 8016).
    pub relocated: Arc<HashMap<SessionId, WorkerId>>,
}

/// Why a session of an earlier start is not restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotRestored {
    /// The core says so.
    Refused(RestoreRefusal),
    /// No listener of the node has the address that the client came to.
    UnknownListener,
    /// No relay address of the node is that of the session, or the port is none of its ports.
    UnknownRelayAddress,
    /// Something else has the port now.
    PortTaken,
}

/// A socket that is bound again.
#[derive(Debug)]
struct Reopened {
    socket: std::net::UdpSocket,
    local: SocketAddr,
    /// It was never closed: the process before this one passed it on.
    in_use: bool,
}

impl Core {
    /// Takes up sessions, and tells control what became of each.
    pub(super) fn restore(&mut self, now: Now, restore: Restore) {
        if !restore.relocated.is_empty() {
            self.server.set_relocated(restore.relocated);
        }
        let mut refused = Vec::new();
        let mut restored = HashSet::new();
        for session in restore.sessions {
            match self.restore_one(now, &session) {
                Ok(()) => {
                    restored.insert(session.id);
                }
                Err(why) => refused.push((session, why)),
            }
        }
        self.relays.all_taken_up();
        let mut sessions = self.server.snapshots();
        sessions.retain(|session| restored.contains(&session.id));
        self.news.send(WorkerNews::Restored { sessions, refused });
    }

    fn restore_one(&mut self, now: Now, session: &RestoredSession) -> Result<(), NotRestored> {
        let mut session = session.clone();
        let listener = self.listener(session.tuple.server);
        let is_reached = match session.tuple.transport {
            Transport::Udp => listener.is_some_and(Listener::serves_udp),
            // Its connection came along.
            _ => self.streams.find(&session.tuple).is_some(),
        };
        if !is_reached {
            return Err(NotRestored::UnknownListener);
        }
        let alive = |relay: &RestoredRelay| now.mono < relay.expires;
        let mut first = Err(NotRestored::Refused(RestoreRefusal::Expired));
        if alive(&session.first) {
            first = self.reopen(session.first.local);
        }
        let mut second = None;
        if let Some(relay) = session.second.filter(alive) {
            match self.reopen(relay.local) {
                Ok(socket) => second = Some(socket),
                // One of two is better than none, as when they were asked for.
                Err(_) => session.second = None,
            }
        }
        let first = match (first, &second) {
            (Ok(first), _) => Some(first),
            (Err(why), None) => return Err(why),
            (Err(_), Some(_)) => {
                session.first.expires = now.mono;
                None
            }
        };
        match self.server.restore(now, session) {
            Ok(names) => {
                self.file(names.first, first);
                self.file(names.second, second);
                self.drain_outputs(now);
                Ok(())
            }
            Err(why) => {
                for socket in [first, second].into_iter().flatten() {
                    drop(socket.socket);
                    self.ports.close(socket.local);
                }
                Err(NotRestored::Refused(why))
            }
        }
    }

    fn reopen(&self, local: SocketAddr) -> Result<Reopened, NotRestored> {
        match self.ports.reopen(local) {
            Ok((socket, in_use)) => Ok(Reopened {
                socket,
                local,
                in_use,
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                Err(NotRestored::UnknownRelayAddress)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::AddrInUse {
                    tracing::warn!(%error, %local, "A relay port cannot be bound again.");
                }
                Err(NotRestored::PortTaken)
            }
        }
    }

    fn file(&mut self, name: Option<RelayId>, socket: Option<Reopened>) {
        let (Some(relay), Some(reopened)) = (name, socket) else {
            return;
        };
        if reopened.in_use {
            self.relays.note_in_use(relay);
        }
        self.relays.insert(relay, reopened.socket, reopened.local);
    }
}
