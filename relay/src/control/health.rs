//! Whether the store is there.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a refusal counts after it was heard last: what waits is tried again every second or so.
const REFUSAL_LASTS_MS: u64 = 5000;

/// The last known state of the store.
#[derive(Debug)]
pub(super) struct StoreHealth {
    state: Mutex<State>,
    refusal: Mutex<Option<Refusal>>,
}

/// What the store refuses for now, although it answers.
#[derive(Clone, Debug)]
struct Refusal {
    reason: String,
    last_ms: u64,
}

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
        Self {
            state: Mutex::new(State {
                observed,
                connected: false,
                since_ms: now_ms,
            }),
            refusal: Mutex::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the store refused something for now; `true`: it is the first time.
    pub(super) fn refused(&self, reason: &str, now_ms: u64) -> bool {
        let mut refusal = self.refusal();
        let is_new = refusal.is_none();
        *refusal = Some(Refusal {
            reason: reason.to_owned(),
            last_ms: now_ms,
        });
        is_new
    }

    /// What the store refuses for now.
    #[must_use]
    pub(super) fn refuses(&self) -> Option<String> {
        self.refusal()
            .as_ref()
            .map(|refusal| refusal.reason.clone())
    }

    /// Forgets a refusal that was not heard again; `true`: there was one.
    pub(super) fn accepts_again(&self, now_ms: u64) -> bool {
        let mut refusal = self.refusal();
        let over =
            |refusal: &mut Refusal| now_ms.saturating_sub(refusal.last_ms) > REFUSAL_LASTS_MS;
        refusal.take_if(over).is_some()
    }

    /// Whether the last operation worked, and since when it is so.
    #[must_use]
    pub(super) fn get(&self) -> (bool, u64) {
        let state = *self.state();
        (state.connected, state.since_ms)
    }

    /// Whether the last operation failed; not before there was one.
    #[must_use]
    pub(super) fn is_lost(&self) -> bool {
        let state = *self.state();
        state.observed && !state.connected
    }

    /// Whether the last operation worked.
    #[must_use]
    pub(super) fn connected(&self) -> bool {
        self.get().0
    }

    /// Notes whether an operation worked.
    pub(super) fn note(&self, connected: bool, now_ms: u64) -> Turn {
        let mut state = self.state();
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
        assert!(!health.is_lost(), "nobody asked it yet");
        assert_eq!(health.note(true, 1), Turn::First);
        assert_eq!(health.note(true, 2), Turn::Same);
        assert_eq!(health.note(false, 3), Turn::Lost);
        assert_eq!(health.note(false, 4), Turn::Same);
        assert_eq!((health.get(), health.is_lost()), ((false, 3), true));
        assert_eq!(health.note(true, 5), Turn::Back);
        assert_eq!(StoreHealth::new(true, 0).note(false, 1), Turn::Same);
    }

    #[test]
    fn a_refusal_is_told_once_and_ends_when_it_is_not_repeated() {
        let health = StoreHealth::new(false, 0);
        assert!(health.refused("full", 1000));
        assert!(!health.refused("full", 2000));
        assert!(!health.accepts_again(2000 + REFUSAL_LASTS_MS));
        assert_eq!(health.refuses().as_deref(), Some("full"));
        assert!(health.accepts_again(2001 + REFUSAL_LASTS_MS));
        assert!(!health.accepts_again(9000 + REFUSAL_LASTS_MS));
        assert_eq!(health.refuses(), None);
    }
}
