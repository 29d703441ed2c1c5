//! The live tail.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::Stream;
use shared::api::{ApiError, ErrorKind, EventView, Page, Role};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Caller, Service, need};
use crate::control::clock::Moment;
use crate::control::hub::Hub;

/// Followers at the same time.
const MAX_FOLLOWERS: usize = 64;
/// Events on their way to one follower.
const BUFFER: usize = 256;
/// Events read at once.
const CHUNK: usize = 256;
/// How often the tail is looked at when nobody says that there is something new.
const LOOK: Duration = Duration::from_secs(1);
/// A follower that takes nothing for so long is disconnected.
const PATIENCE: Duration = Duration::from_secs(15);

/// Events as they come.
pub type EventStream = Pin<Box<dyn Stream<Item = EventView> + Send>>;

/// Who follows.
#[derive(Debug, Default)]
pub(crate) struct LiveTail {
    /// Wakes the followers.
    pub wake: Notify,
    followers: AtomicUsize,
}

impl Service {
    /// Events after `after`, oldest first, or the newest `limit` of them.
    ///
    /// # Errors
    /// The store is away.
    pub async fn events(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<EventView>, ApiError> {
        need(caller, Role::Viewer)?;
        let limit = limit.clamp(1, 1000);
        let mut items = self.store(self.hub.store.events(after, limit).await)?;
        let next = items.last().map(|event| event.id.clone());
        items.retain(|event| visible(caller, event));
        let count = items.len() as u64;
        Ok(Page {
            schema: "events/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next,
            matched: count,
            total: count,
            missing: Vec::new(),
        })
    }

    /// Events as they come, after `after` or from now on. Ends when the node stops, or when the
    /// caller takes nothing for 15 seconds.
    ///
    /// # Errors
    /// Too many followers.
    pub async fn follow_events(
        &self,
        caller: &Caller,
        after: Option<String>,
    ) -> Result<EventStream, ApiError> {
        need(caller, Role::Viewer)?;
        let follower = Follower::enter(&self.hub).ok_or_else(|| {
            let message = format!("{MAX_FOLLOWERS} callers follow the events already");
            ApiError::new(ErrorKind::Unavailable, message)
        })?;
        let after = match after {
            Some(after) => Some(after),
            // Without a store, from whatever it has when it is back.
            None => {
                let newest = self.hub.store.events(None, 1).await;
                self.hub
                    .noted(newest)
                    .ok()
                    .and_then(|events| events.last().map(|e| e.id.clone()))
            }
        };
        let (sender, receiver) = mpsc::channel(BUFFER);
        tokio::spawn(follow(follower, caller.clone(), after, sender));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// Callers confined to realms see what concerns their realms.
fn visible(caller: &Caller, event: &EventView) -> bool {
    caller.realms.is_empty() || event.realm.as_ref().is_some_and(|realm| caller.sees(realm))
}

/// A place among the followers.
struct Follower(Arc<Hub>);

impl Follower {
    fn enter(hub: &Arc<Hub>) -> Option<Self> {
        let count = hub.tail.followers.fetch_add(1, Ordering::Relaxed);
        let follower = Self(Arc::clone(hub));
        (count < MAX_FOLLOWERS).then_some(follower)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.tail.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn follow(
    follower: Follower,
    caller: Caller,
    mut last: Option<String>,
    sender: mpsc::Sender<EventView>,
) {
    let hub = &follower.0;
    loop {
        let woken = hub.tail.wake.notified();
        let events = hub
            .store
            .events(last.as_deref(), CHUNK)
            .await
            .unwrap_or_default();
        let full = events.len() == CHUNK;
        for event in events {
            last = Some(event.id.clone());
            let wanted = visible(&caller, &event);
            if wanted && sender.send_timeout(event, PATIENCE).await.is_err() {
                return;
            }
        }
        if full {
            continue;
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = sender.closed() => return,
            () = woken => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
