//! Whether the store is there.

use std::sync::{Mutex, PoisonError};

/// The last known state of the store.
#[derive(Debug)]
pub(super) struct StoreHealth(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Whether anything was observed yet.
    observed: bool,
    connected: bool,
    since_ms: u64,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Same,
    /// The first thing that was ever observed: it is there.
    First,
    /// It was there and is lost.
    Lost,
    /// It was away and is back.
    Back,
}

impl StoreHealth {
    /// Away until something worked. `observed`: that it is away is known already.
    #[must_use]
    pub(super) fn new(observed: bool, now_ms: u64) -> Self {
        Self(Mutex::new(State {
            observed,
            connected: false,
            since_ms: now_ms,
        }))
    }

    /// Whether the last operation worked, and since when it is so.
    #[must_use]
    pub(super) fn get(&self) -> (bool, u64) {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.connected, state.since_ms)
    }

    /// Whether the last operation failed; not before there was one.
    #[must_use]
    pub(super) fn is_lost(&self) -> bool {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.observed && !state.connected
    }

    /// Whether the last operation worked.
    #[must_use]
    pub(super) fn connected(&self) -> bool {
        self.get().0
    }

    /// Notes whether an operation worked.
    pub(super) fn note(&self, connected: bool, now_ms: u64) -> Turn {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *state;
        if before.observed && before.connected == connected {
            return Turn::Same;
        }
        *state = State {
            observed: true,
            connected,
            since_ms: now_ms,
        };
        match (before.observed, connected) {
            (false, true) => Turn::First,
            (true, true) => Turn::Back,
            (_, false) => Turn::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_told_once() {
        let health = StoreHealth::new(false, 0);
        assert_eq!(health.note(true, 1), Turn::First);
        assert_eq!(health.note(true, 2), Turn::Same);
        assert_eq!(health.note(false, 3), Turn::Lost);
        assert_eq!(health.note(false, 4), Turn::Same);
        assert_eq!(health.get(), (false, 3));
        assert_eq!(health.note(true, 5), Turn::Back);
        assert_eq!(StoreHealth::new(true, 0).note(false, 1), Turn::Same);
    }
}
