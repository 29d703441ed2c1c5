//! Whether the store is there.

use std::sync::{Mutex, PoisonError};

/// The last known state of the store.
#[derive(Debug)]
pub(super) struct StoreHealth(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    connected: bool,
    since_ms: u64,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Same,
    /// It was there and is lost.
    Lost,
    /// It was away and is back.
    Back,
}

impl StoreHealth {
    /// Away until something worked.
    #[must_use]
    pub(super) fn new(now_ms: u64) -> Self {
        Self(Mutex::new(State {
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

    /// Whether the last operation worked.
    #[must_use]
    pub(super) fn connected(&self) -> bool {
        self.get().0
    }

    /// Notes whether an operation worked.
    pub(super) fn note(&self, connected: bool, now_ms: u64) -> Turn {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.connected == connected {
            return Turn::Same;
        }
        *state = State {
            connected,
            since_ms: now_ms,
        };
        if connected { Turn::Back } else { Turn::Lost }
    }
}
