//! Callers that wait for a session to end or to be described.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use shared::SessionId;
use tokio::sync::oneshot;

/// Callers that may wait at the same time; more are not kept waiting at all.
const MAX_WAITING: usize = 20_000;

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum News {
    /// The end of the session.
    Ended,
    /// A fresh description.
    Described,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Waiting>);

type Waiting = HashMap<(SessionId, News), Vec<oneshot::Sender<()>>>;

impl Waiters {
    /// Registers a caller. Register before the command is sent that makes the news. The receiver
    /// fails at once when too many wait.
    pub(super) fn wait(&self, id: SessionId, news: News) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            waiting.retain(|_, senders| {
                senders.retain(|sender| !sender.is_closed());
                !senders.is_empty()
            });
        }
        if waiting.len() < MAX_WAITING {
            waiting.entry((id, news)).or_default().push(sender);
        }
        receiver
    }

    /// Wakes whoever waits for this.
    pub(super) fn tell(&self, id: SessionId, news: News) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for sender in waiting.remove(&(id, news)).into_iter().flatten() {
            // A caller that gave up needs no news.
            let _ = sender.send(());
        }
    }
}
