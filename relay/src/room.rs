//! Room for clients with a connection: those over TCP, TLS and DTLS count together, over all workers
//! (`connections.max`).
//!
//! Touched when a connection or association begins or ends; never for a packet.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many clients have a connection.
#[derive(Debug, Default)]
pub struct Room(AtomicUsize);

impl Room {
    /// How many there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, who is there already.
    pub fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One more, if that makes no more than `most`.
    #[must_use]
    pub fn enter(&self, most: usize) -> bool {
        let more = |taken| (taken < most).then_some(taken + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, fetch, more).is_ok()
    }

    /// One fewer.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_each_end_makes_some() {
        let room = Room::default();
        assert!(room.enter(2) && room.enter(2) && !room.enter(2));
        room.leave();
        assert!(room.enter(2));
        room.take();
        assert_eq!(room.taken(), 3);
        assert!(!room.enter(2));
    }
}
