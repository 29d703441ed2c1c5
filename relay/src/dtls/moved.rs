//! Associations that go from one worker to another (RFC 8016): keys and counters as they are.

use std::time::Instant;

use turn_proto::Arrival;

use super::association::{Association, Stage};
use super::{Associations, Key};

/// An association on its way to another worker.
#[derive(Debug)]
pub struct Moved {
    key: Key,
    association: Box<Association>,
}

impl Associations {
    /// Lets go of an association, as it is; `None`: there is none, or its handshake goes on.
    pub fn detach(&mut self, key: Key) -> Option<Moved> {
        let is_open = |association: &Association| association.stage == Stage::Open;
        if !self.map.get(&key).is_some_and(is_open) {
            return None;
        }
        let association = Box::new(self.map.remove(&key)?);
        let Key { client, server, .. } = key;
        self.timers.remove(&(association.scheduled, client, server));
        Some(Moved { key, association })
    }

    /// Gives up an association whose place one that comes will take: its client forgot it.
    pub fn make_way(&mut self, moved: &Moved) {
        self.remove(moved.key);
    }

    /// Takes an association over from another worker, with the place it has in the node.
    pub fn attach(&mut self, now: Instant, moved: Moved) -> (Key, Arrival) {
        let Moved { key, association } = moved;
        let arrival = Arrival {
            server_name: association.server_name.clone(),
            home: None,
        };
        self.map.insert(key, *association);
        self.wake_again(now, key);
        (key, arrival)
    }

    /// Closes an association that no worker can take.
    pub fn abandon(&mut self, moved: Moved) {
        let Moved {
            key,
            mut association,
        } = moved;
        let now = association.heard;
        association.close(now, key, &mut self.outbox);
        self.tally.end_open(association.counted);
    }
}
