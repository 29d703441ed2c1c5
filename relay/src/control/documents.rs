//! The documents of the store, as this node last read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::NodeId;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use super::hub::Hub;
use crate::store::StoredDocument;
use crate::store::document::{ALERT_RULES, BANS, CONFIG, REDIRECTS, config_of};

/// How often they are compared, so that a lost message heals.
const COMPARE: Duration = Duration::from_secs(5);

/// Those that this node follows. What was read stays while the store is away.
#[derive(Debug)]
pub(super) struct Documents {
    names: Vec<String>,
    known: Mutex<BTreeMap<String, Arc<StoredDocument>>>,
    /// Wakes the task that reads them again.
    pub stale: Notify,
    /// Counts the readings that found something new.
    changed: watch::Sender<u64>,
    refreshing: tokio::sync::Mutex<()>,
    read: AtomicBool,
}

impl Documents {
    /// Those of a node, none of them read yet.
    #[must_use]
    pub(super) fn new(node: &NodeId) -> Self {
        let names = [CONFIG, ALERT_RULES, REDIRECTS, BANS].map(str::to_owned);
        Self {
            names: names.into_iter().chain([config_of(node)]).collect(),
            known: Mutex::default(),
            stale: Notify::new(),
            changed: watch::Sender::new(0),
            refreshing: tokio::sync::Mutex::default(),
            read: AtomicBool::new(false),
        }
    }

    /// A document as last read; `None`: there is none, or it was not read yet.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<Arc<StoredDocument>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    /// Whether they were all read at least once: a document that is absent is then none.
    #[must_use]
    pub(super) fn were_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// Tells when any of them changes.
    #[must_use]
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes a reading over, whatever its revision: a store may have been restored from a copy.
    fn learn(&self, name: &str, document: Option<StoredDocument>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(name).map(|old| &**old) == document.as_ref() {
            return;
        }
        match document {
            Some(document) => known.insert(name.to_owned(), Arc::new(document)),
            None => known.remove(name),
        };
        drop(known);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Reads all that this node follows; one that is unreadable stays as it was.
pub(super) async fn refresh(hub: &Hub) {
    // One at a time: an older reading never overwrites a newer one.
    let _turn = hub.documents.refreshing.lock().await;
    for name in &hub.documents.names {
        match hub.noted(hub.store.document(name).await) {
            Ok(document) => hub.documents.learn(name, document),
            Err(error) if error.may_pass() => return,
            Err(error) => {
                // Said where the document is missed; every five seconds would be too often.
                tracing::debug!(name, %error, "a document stays as it was");
            }
        }
    }
    hub.documents.read.store(true, Ordering::Release);
}

/// Keeps them current until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = compare.tick() => {}
            () = hub.documents.stale.notified() => {}
        }
        refresh(&hub).await;
    }
}
